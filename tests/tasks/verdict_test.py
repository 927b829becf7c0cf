"""Verdicts of poses and keypoints whose faults are known: no network draws them."""

import jax.numpy as jnp
import numpy as np
import pytest
from compilations import counted
from scipy.spatial.transform import Rotation

from jaxpose.base import Camera, Hypotheses
from jaxpose.geometry.camera import project
from jaxpose.geometry.sides import exchanged, mirrored, mirrored_sides
from jaxpose.geometry.skeleton import COCO_17, H36M_17, bone_lengths, get_skeleton
from jaxpose.model import ASSETS
from jaxpose.tasks.verdict import _USUAL, DOUBTS, doubtful_sides, summary

CAMERA = Camera(np.array([1000.0, 1000, 500, 500], np.float32))
WRIST = H36M_17.joints.index("left_wrist")


def clip():
    """Poses [40, 17, 3] metres, camera axes, of the clip that comes with the package."""
    with np.load(ASSETS / "demo_clip.npz") as z:
        return z["joints_cam"][:40].astype(np.float32)


def result(x, spread=0.05):
    """Hypotheses that differ from poses in camera axes by a normal spread, metres."""
    noise = np.random.default_rng(0).normal(0, spread, (20, *x.shape))
    pose, root = x - x[:, :1], np.repeat(x[None, :, 0], 20, 0)
    radius = np.where(np.arange(17) < 9, 2.5 * spread, 9.0) * np.ones((len(x), 1))  # told by its median
    return Hypotheses(pose + noise, pose, np.zeros((*x.shape, 3)), radius, np.full((20, len(x)), 0.05), root)


def pixels(x):
    return np.asarray(project(CAMERA.intrinsics, jnp.asarray(x)))


def test_what_is_right_is_reliable_and_keypoints_on_one_pixel_are_not_met():
    found = summary(result(clip()), keypoints=pixels(clip()), camera=CAMERA)
    assert (found.verdict, found.reliable) == ("reliable", True)
    assert not found.doubtful.any()
    assert set(found.doubts) == set(DOUBTS) - {"typicality"}
    assert found.radius_90 == pytest.approx(0.125)
    assert summary(result(clip()), keypoints=np.full((40, 17, 2), 500.0), camera=CAMERA).doubts["keypoints"].all()


def test_a_vertical_of_each_pose_is_that_of_a_camera_that_rolls():
    x, turns = clip(), Rotation.from_euler("z", np.linspace(0, 120, 40)[:, None], degrees=True).as_matrix()
    rolled = result(np.einsum("nij,nkj->nki", turns, x))
    assert summary(rolled).doubts["order"][20:].any()
    assert not summary(rolled, up=-turns[..., 1]).doubts["order"].any()


def test_another_number_of_hypotheses_compiles_nothing():
    whole, uv = result(clip()), pixels(clip())
    lens = CAMERA._replace(distortion=np.zeros(5, np.float32))
    expected = summary(whole, keypoints=uv, camera=lens).verdict
    few = whole._replace(samples=whole.samples[:17], root=whole.root[:17])
    with counted() as programs:
        assert summary(few, keypoints=uv, camera=lens).verdict == expected
    assert programs.count == 0


def scaled(share):
    x = clip()
    longest = np.max(np.asarray(bone_lengths(x, H36M_17)) / _USUAL, -1)[:, None, None]
    return share * np.exp(0.9) / longest * x


def leaning(cosine):
    x, at = clip(), H36M_17.joints.index
    x[:, at("thorax")] = x[:, 0] + [0.5 * np.sqrt(1 - cosine**2), -0.5 * cosine, 0]
    x[:, [at("left_ankle"), at("right_ankle")]] = x[:, [at("head")]] - [1, 0, 0]
    return x


def moved(share, joints=slice(None)):
    """What is said of poses whose keypoints lie a share of the person's extent above them."""
    uv = pixels(clip()).copy()
    uv[:, joints, 1] -= share * np.ptp(uv, 1).max(-1)[:, None]
    return summary(result(clip(), 0.001), keypoints=uv, camera=CAMERA)


LIMITS = {
    "radius": lambda share: summary(result(clip(), 0.12 * share)),
    "place": lambda share: summary(result(clip() - clip()[:, :1] + [0, 0, 0.5 / share])),
    "place, far": lambda share: summary(result(clip() - clip()[:, :1] + [0, 0, 50 * share])),
    "bones": lambda share: summary(result(scaled(share))),
    "order": lambda share: summary(result(leaning(0.15 / share))),
    "keypoints": lambda share: moved(0.1 * share),
    "left_wrist": lambda share: moved(0.2 * share, [WRIST]),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_doubt_begins_at_its_limit(name):
    doubt = name.partition(",")[0]
    assert not LIMITS[name](0.95).doubts.get(doubt, np.zeros(1)).any()
    found = LIMITS[name](1.05)
    assert found.doubts[doubt].all()
    assert found.verdict.startswith("doubtful: ")
    assert DOUBTS.get(doubt, "all hypotheses miss the keypoint of left_wrist") in found.verdict


def test_a_joint_whose_keypoint_contradicts_all_hypotheses_is_named():
    """A wrist marked three tenths of the person's extent away; noise of the hypotheses brings none of them there."""
    x, wrist = clip(), WRIST
    uv, sure = pixels(x).copy(), np.ones((40, 17))
    uv[:8, wrist, 1] -= 0.3 * np.ptp(uv[:8], 1).max(-1)
    found = summary(result(x, 0.02), keypoints=uv, confidence=sure, camera=CAMERA)
    assert found.verdict == "doubtful: all hypotheses miss the keypoint of left_wrist (8 of 40 poses)"
    assert np.flatnonzero(found.doubts["left_wrist"]).tolist() == list(range(8))
    found = result(x, 0.02)
    found.samples[3, :8, wrist, 1] -= 0.3 * np.ptp(x[:8, :, 1], 1)  # one that is where it is marked
    assert summary(found, keypoints=uv, confidence=sure, camera=CAMERA).verdict == "reliable"
    sure[:8, wrist] = 0
    assert summary(result(x, 0.02), keypoints=uv, confidence=sure, camera=CAMERA).verdict == "reliable"


def test_a_few_poses_in_doubt_are_counted_and_the_result_stays_reliable():
    x = clip()
    x[7:11] += [0, 0, 90]
    found = summary(result(x))
    assert found.verdict == "reliable but for 4 of 40 poses, the first in row 7"
    assert np.flatnonzero(found.doubtful).tolist() == [7, 8, 9, 10]
    x[20] = x[7]
    assert summary(result(x)).verdict == f"doubtful: {DOUBTS['place']} (5 of 40 poses)"


def face_or_feet(name, away=False):
    """A person who stands before the camera, in joints of a set: [1, K, 2] px and confidence [1, K]."""
    skeleton, side = get_skeleton(name), -1 if away else 1
    place = {"nose": (0, 50), "left_eye": (10 * side, 45), "right_eye": (-10 * side, 45)}
    toes = 530 if not away else 490
    for part, (x, y) in {"shoulder": (60, 120), "hip": (40, 300), "heel": (40, 510), "big_toe": (45, toes)}.items():
        place |= {f"left_{part}": (side * x, y), f"right_{part}": (-side * x, y)}
    seen = np.array(
        [joint in place and not (away and joint in ("nose", "left_eye", "right_eye")) for joint in skeleton.joints]
    )
    xy = np.array([place.get(joint, (0, 0)) for joint in skeleton.joints], float)
    return skeleton, xy[None] + 500 * seen[:, None], seen[None].astype(float)


@pytest.mark.parametrize("name", ["coco17", "halpe26"])
@pytest.mark.parametrize("away", [False, True])
def test_sides_are_told_by_face_and_feet_however_the_image_is_turned(name, away):
    skeleton, xy, sure = face_or_feet(name, away)
    assert mirrored(xy, sure, skeleton) == -1
    turned = xy @ np.array([[0.6, 0.8], [-0.8, 0.6]])
    assert mirrored(turned, sure, skeleton) == -1
    swapped = [mirrored_sides(x, skeleton, np.array([True])) for x in (xy, sure)]
    assert mirrored(*swapped, skeleton) == 1
    assert mirrored(xy[..., ::-1], sure, skeleton) == 1
    assert mirrored(xy * [-1, 1], sure, skeleton) == 1
    assert mirrored(xy[:, :17] * 0, np.zeros((1, 17)), H36M_17) == 0
    for rows, doubtful in (([1, 1, 0, 2], [1, 1, 1, 1]), ([1, 0, 0, 2], [1, 0, 0, 0])):  # exchanged, right, not told
        given = [np.concatenate([(x, y, 0 * x)[row] for row in rows]) for x, y in zip((xy, sure), swapped, strict=True)]
        assert doubtful_sides(*given, skeleton).tolist() == doubtful


def test_sides_exchanged_for_some_frames_are_found_and_a_turn_is_none():
    """A person who turns round in a second, 30 frames a second, in whom five frames are exchanged."""
    angle = np.linspace(0, 2 * np.pi, 60)
    xy, sure = (np.repeat(x, 60, 0) for x in face_or_feet("coco17")[1:])
    xy[..., 0] = 500 + (xy[..., 0] - 500) * np.cos(angle)[:, None]
    frame, person = np.arange(60), np.zeros(60, int)
    given = {"frame": frame, "person": person, "fps": 30.0}
    assert not exchanged(xy, sure, COCO_17, **given).any()
    for first in (2, 30, 50):
        rows = (frame >= first) & (frame < first + 5)
        swapped = mirrored_sides(xy, COCO_17, rows)
        np.testing.assert_array_equal(exchanged(swapped, sure, COCO_17, **given), rows)
        np.testing.assert_array_equal(mirrored_sides(swapped, COCO_17, rows), xy)
