"""Verdicts of poses and keypoints whose faults are known: no network draws them."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose.base import Camera, Hypotheses
from jaxpose.geometry.camera import project
from jaxpose.geometry.sides import exchanged, mirrored, mirrored_sides
from jaxpose.geometry.skeleton import COCO_17, H36M_17, get_skeleton
from jaxpose.model import ASSETS
from jaxpose.tasks.verdict import DOUBTS, summary

CAMERA = Camera(np.array([1000.0, 1000, 500, 500], np.float32))
ALL = np.ones(40, bool)


def clip():
    """Poses [40, 17, 3] metres, camera axes, of the clip that comes with the package."""
    with np.load(ASSETS / "demo_clip.npz") as z:
        return z["joints_cam"][:40].astype(np.float32)


def result(x, spread=0.05):
    """Hypotheses that differ from poses in camera axes by a normal spread, metres."""
    noise = np.random.default_rng(0).normal(0, spread, (20, *x.shape))
    pose, root = x - x[:, :1], np.repeat(x[None, :, 0], 20, 0)
    radius = np.full(x.shape[:2], 2.5 * spread)
    return Hypotheses(pose + noise, pose, np.zeros((*x.shape, 3)), radius, np.full((20, len(x)), 0.05), root)


def pixels(x):
    return np.asarray(project(CAMERA.intrinsics, jnp.asarray(x)))


def test_what_is_right_is_reliable():
    found = summary(result(clip()), keypoints=pixels(clip()), camera=CAMERA)
    assert (found.verdict, found.reliable) == ("reliable", True)
    assert not found.doubtful.any()
    assert set(found.doubts) == set(DOUBTS) - {"typicality"}
    assert found.radius_90 == pytest.approx(0.125)


WRONG = {
    "place": lambda x: x + np.array([0, 0, 90]),
    "order": lambda x: x[..., [1, 0, 2]],
    "bones": lambda x: x[:, :1] + (x - x[:, :1]) * np.where(np.arange(17) == 10, 4, 1)[:, None],
}


@pytest.mark.parametrize("doubt", WRONG)
def test_a_fault_of_the_poses_is_named(doubt):
    found = summary(result(WRONG[doubt](clip())))
    assert found.verdict.startswith("doubtful: ")
    assert DOUBTS[doubt] in found.verdict
    assert found.doubts[doubt].all()


def test_a_wide_radius_and_keypoints_that_are_not_met_are_named():
    x = clip()
    assert DOUBTS["radius"] in summary(result(x, 0.2)).verdict
    assert DOUBTS["keypoints"] in summary(result(x), keypoints=pixels(x[:, ::-1]), camera=CAMERA).verdict
    one_pixel = np.full((40, 17, 2), 500.0)
    assert DOUBTS["keypoints"] in summary(result(x), keypoints=one_pixel, camera=CAMERA).verdict


def test_a_joint_whose_keypoint_contradicts_all_hypotheses_is_named():
    """A wrist marked three tenths of the person's extent away; noise of the hypotheses brings none of them there."""
    x, wrist = clip(), H36M_17.joints.index("left_wrist")
    uv, sure = pixels(x).copy(), np.ones((40, 17))
    uv[:8, wrist, 1] -= 0.3 * np.ptp(uv[:8], 1).max(-1)
    found = summary(result(x, 0.02), keypoints=uv, confidence=sure, camera=CAMERA)
    assert found.verdict == "doubtful: all hypotheses miss the keypoint of left_wrist (8 of 40 poses)"
    assert np.flatnonzero(found.doubts["left_wrist"]).tolist() == list(range(8))
    sure[:8, wrist] = 0
    assert summary(result(x, 0.02), keypoints=uv, confidence=sure, camera=CAMERA).verdict == "reliable"


def test_a_few_poses_in_doubt_are_counted_and_the_result_stays_reliable():
    x = clip()
    x[7] = WRONG["place"](x)[7]
    found = summary(result(x))
    assert found.verdict == "reliable but for 1 of 40 poses, the first in row 7"
    assert np.flatnonzero(found.doubtful).tolist() == [7]


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
