"""Pages of poses hold the poses they were given, at their places, in their axes, for their frames and people."""

import numpy as np
import pytest
from drawn import H, J, N, Read, random_pose_set

from jaxpose.app.viz import motion_page
from jaxpose.geometry.axes import to_camera
from jaxpose.geometry.skeleton import H36M_17

WITHIN = 2.6e-4  # metres: half a step


def read(*args, **options):
    return Read(motion_page(*args, H36M_17, **options).html())


def test_layers_hold_hypotheses_their_mean_and_the_truth_of_every_frame():
    samples, keypoints, confidence, truth = random_pose_set()
    page = read(samples, keypoints=keypoints, confidence=confidence, truth=truth, fps=25)
    np.testing.assert_allclose(page.poses("hypotheses"), samples, atol=WITHIN)
    np.testing.assert_allclose(page.poses("mean")[0], samples.mean(0), atol=WITHIN)
    np.testing.assert_allclose(page.poses("truth")[0], truth, atol=WITHIN)
    (flat,) = page.content["flat"]["layers"]
    np.testing.assert_allclose(page.positions(flat["poses"])[0], keypoints, atol=0.13)
    np.testing.assert_allclose(page.whole(flat["strength"])[0] / 255, confidence, atol=0.5 / 255)
    (skeleton,) = page.content["skeletons"]
    assert skeleton["joints"] == list(H36M_17.joints)
    sides = dict(zip(skeleton["joints"], skeleton["sides"], strict=True))
    assert (sides["left_knee"], sides["right_wrist"], sides["spine"]) == (0, 1, 2)


def test_several_people_stand_in_one_space_at_their_roots():
    """Rows of two people in any order; one of them is missing in a frame."""
    rng = np.random.default_rng(0)
    frame, person = np.array([5, 3, 3, 4, 5]), np.array([1, 7, 1, 7, 7])
    samples, root = rng.normal(0, 0.3, (2, 5, J, 3)), rng.uniform(-3, 3, (5, 3))
    page = read(samples, frame=frame, person=person, root=root, mean=samples[0], mean_name="medoid")
    assert [layer["name"] for layer in page.content["layers"]] == ["hypotheses", "medoid"]
    assert page.content["people"] == ["person 1", "person 7"]
    assert [label.split(" · ")[0] for label in page.content["steps"]["labels"]] == ["frame 3", "frame 4", "frame 5"]
    poses = page.poses("hypotheses").reshape(2, 2, 3, J, 3)  # H, people, frames
    for row in range(5):
        found = poses[:, [1, 7].index(person[row]), frame[row] - 3]
        np.testing.assert_allclose(found, samples[:, row] + root[row], atol=WITHIN)
    assert np.isnan(poses[:, 0, 1]).all()
    assert np.isfinite(np.delete(poses.reshape(2, 6, -1), 1, 1)).all()
    assert "2 people" in page.content["caption"]
    assert any("at the place of each root" in part for part in page.content["caption"])


def test_people_without_a_known_place_stand_side_by_side():
    samples = np.random.default_rng(0).normal(0, 0.1, (1, 2, J, 3))
    page = read(samples, frame=np.zeros(2, int), person=np.arange(2))
    left, right = page.poses("pose")[:, 0].mean(1)
    assert right[0] - left[0] == pytest.approx(1.2, abs=0.1)


@pytest.mark.parametrize(("up", "words"), [("-y", "camera axes"), ("z", "world axes: z up"), ("y", "world axes: y up")])
def test_axes_are_those_of_the_data(up, words):
    """The page tells a position in the axes that the data had before it was turned to a camera's."""
    world = np.random.default_rng(0).normal(size=(1, 1, J, 3))
    page = read(to_camera(world, up), up=up)
    axes = page.content["axes"]
    assert axes["said"].startswith(words)
    told = page.positions(page.layers("pose")[0]["poses"]) @ np.array(axes["turn"]).T
    np.testing.assert_allclose(told[0, 0], world[0, 0], atol=WITHIN)
    assert words.partition(":")[0] in " ".join(page.content["caption"])


def test_the_spread_is_that_of_the_samples_about_their_mean_at_the_persons_place():
    samples = np.random.default_rng(0).normal(0, [0.02, 0.05, 0.2], (200, N, J, 3))
    samples[:, 2, 5] = 0.1
    root = np.random.default_rng(1).normal(size=(N, 3))
    radius = np.random.default_rng(2).uniform(0.01, 0.4, (N, J))
    page = read(samples, root=root, radius_90=radius)
    given = page.content["uncertainty"]
    np.testing.assert_allclose(page.camera(given["mean"])[0], samples.mean(0) + root[:, None], atol=WITHIN)
    np.testing.assert_array_equal(page.whole(given["radius_mm"])[0], np.rint(1000 * radius))
    xx, yy, zz = np.moveaxis(page.positions(given["shape"])[0, ..., :3], -1, 0)
    moving = np.ones((N, J), bool)
    moving[2, 5] = False
    for axis, std in ((xx, 0.02), (yy, 0.05), (zz, 0.2)):
        np.testing.assert_allclose(axis[moving], 2.5 * std, rtol=0.25)
        assert axis[2, 5] == pytest.approx(0, abs=WITHIN)
    assert "uncertainty" not in read(samples[:3]).content


def test_missing_and_unusual_are_marked_by_frame_person_and_joint():
    samples, keypoints, confidence, _ = random_pose_set()
    confidence = np.maximum(confidence, 0.01)
    confidence[1, 4], keypoints[3, 6] = 0, np.nan
    unusual = np.array([False, True, False, False])
    page = read(samples, keypoints=keypoints, confidence=confidence, unusual=unusual)
    assert np.argwhere(page.whole(page.content["marks"]["missing"])).tolist() == [[0, 1, 4], [0, 3, 6]]
    assert page.whole(page.content["marks"]["unusual"]).tolist() == [[0, 1, 0, 0]]
    given = np.where(np.arange(J)[:, None] == 8, np.nan, samples[0])
    page = read(samples, given=given)
    assert np.argwhere(page.whole(page.content["marks"]["missing"]))[:, 2].tolist() == [8] * N


def test_reprojected_hypotheses_are_in_the_2d_part():
    samples, keypoints, _, _ = random_pose_set()
    shift = 10.0 * np.arange(H)[:, None, None, None]
    page = read(samples, reprojected=keypoints + shift, keypoints=keypoints, max_hypotheses=3)
    lines, dots = page.content["flat"]["layers"]
    wanted = (keypoints + shift)[[0, 2, 4]]
    np.testing.assert_allclose(page.positions(lines["poses"]), wanted, atol=0.13)
    assert lines["group"] == page.layers("hypotheses")[0]["group"]
    assert dots["name"] == "2D input"


def test_a_film_has_a_picture_for_each_frame():
    samples, keypoints, _, _ = random_pose_set()
    film = [b"\xff\xd8first", None, b"\xff\xd8third", b"\xff\xd8fourth"]
    page = read(samples, keypoints=keypoints, film=film, image_size=(1000, 900), max_frames=2)
    found = [page.whole(part).astype(np.uint8).tobytes() for part in page.content["flat"]["film"]]
    assert found == [film[0], film[2]]
    assert (page.content["flat"]["low"], page.content["flat"]["high"]) == ([0, 0], [1000, 900])


@pytest.mark.parametrize(
    ("count", "limit", "rows"), [(10, 4, [0, 3, 6, 9]), (10, 10, range(10)), (3, 300, range(3)), (7, 1, [0])]
)
def test_frames_are_thinned_with_a_constant_stride_and_the_page_says_so(count, limit, rows):
    samples = np.random.default_rng(0).normal(size=(2, count, J, 3))
    page = read(samples, max_frames=limit, fps=30)
    steps = page.content["steps"]
    assert steps["labels"] == [f"frame {r} · {r / 30:.2f} s" for r in rows]
    if len(rows) > 1:
        assert steps["seconds"] == pytest.approx((rows[1] - rows[0]) / 30)
    np.testing.assert_allclose(page.poses("mean")[0], samples.mean(0)[list(rows)], atol=WITHIN)
    assert f"{len(rows)} of {count} frames" in page.content["caption"]


def test_a_page_of_300_frames_by_30_hypotheses_is_below_3_megabytes():
    samples = np.random.default_rng(0).normal(size=(30, 300, J, 3))
    keypoints = np.random.default_rng(1).uniform(0, 1000, (300, J, 2))
    page = motion_page(samples, H36M_17, keypoints=keypoints, confidence=np.ones((300, J)), truth=samples[0])
    assert "30 of 30 hypotheses" in page.content["caption"]
    assert len(page.html().encode()) < 3e6


def test_gaps_and_diverged_hypotheses_are_left_out():
    samples = random_pose_set()[0]
    samples[1, 0, 16] = [0.3, np.nan, 0.3]
    samples[2, 1] *= 1e9
    found = read(samples).poses("hypotheses")
    assert np.isnan(found[1, 0, 16]).all()
    assert np.isnan(found[2, 1]).all()
    np.testing.assert_allclose(found[3], samples[3], atol=WITHIN)
