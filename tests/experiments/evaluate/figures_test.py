"""What published tables print, of data whose figures are known by construction: no model, no benchmark's files."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from experiments.evaluate import aggregates, bench, blazepose, diffpose, fusion, lifting, motions, world
from jaxpose.base import Camera, Hypotheses
from jaxpose.evaluation.protocols import LiftingBench
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.tasks.world import World

RNG = np.random.default_rng(0)
AWAY = np.tile([0.05, 0.09, 0.11, 0.15, 0.19], 2)  # metres of ten limb joints from the truth: two in five within 0.1
LIMBS = [H36M_17.joints.index(joint) for joint in blazepose.LIMBS]
HIPS = [blazepose.LIMBS.index(f"{side}_hip") for side in ("left", "right")]
OTHERS = [j for j in range(12) if j not in HIPS]


def moved(poses, joints, away):
    """Poses [F, J, 3] with some joints moved by distances in random directions."""
    step = RNG.normal(size=(len(poses), len(joints), 3))
    poses = poses.copy()
    poses[:, joints] += away[:, None] * step / np.linalg.norm(step, axis=-1, keepdims=True)
    return poses


def test_shares_within_the_radius_are_of_joints_about_the_hips():
    mean, radius = RNG.normal(0, 0.3, (4, 12, 3)), np.full((4, 12), 0.1)
    truth = moved(mean, OTHERS, AWAY) + np.array([0, 0, 7])
    samples = np.stack([mean, mean])
    found = blazepose.calibration(samples, mean, radius, truth, np.ones((4, 12), bool))
    assert found["within_90"] == pytest.approx((2 + 4) / 12)  # the hips are always within
    known = np.ones((4, 12), bool)
    known[0, 3] = False
    errors = 4 * AWAY.sum() - AWAY[OTHERS.index(3)]
    np.testing.assert_allclose(blazepose.rooted_mm(mean, truth, known), 1000 * errors / 47, rtol=1e-6)
    np.testing.assert_allclose(blazepose.aligned_mm(2 * mean @ Rotation.random().as_matrix(), mean, known), 0, atol=0.1)

    whole = np.zeros((2, 4, 17, 3))
    whole[:, :, LIMBS] = mean
    lifted = Hypotheses(jnp.asarray(whole), whole[0], None, np.full((4, 17), 0.1), None)
    row = lifting.about_hips(lifted, np.array(LIMBS), jnp.asarray(truth))
    assert (row["within_90"], row["mean_mm"]) == (pytest.approx(0.4), pytest.approx(1000 * AWAY.mean(), rel=1e-4))


def test_detected_rows_are_told_what_was_detected_and_exact_ones_the_truth():
    data = LiftingBench(*(RNG.uniform(0.1, 1, (3, *shape)) for shape in ((17, 2), (17, 2), (17,), (4,), (17, 3))), None)
    detected, _, exact, unknown = bench.lifting_inputs(data)
    for row, keypoints, sure in (
        (detected, data.keypoints, data.confidence),
        (unknown, data.keypoints, data.confidence),
        (exact, data.keypoints_true, np.ones((3, 17))),
    ):
        np.testing.assert_array_equal(row[0], keypoints)
        np.testing.assert_array_equal(row[1], sure)
        assert np.array_equal(row[2], data.intrinsics) == (row is not unknown)


def test_points_are_where_the_rays_of_two_cameras_meet():
    points, R = RNG.normal(0, 0.5, (3, 5, 3)), Rotation.random(4, random_state=0).as_matrix()
    t = np.array([[0, 0, 4.0]] * 4)
    x_cam = np.einsum("cij,fkj->fcki", R, points) + t[:, None]
    weight = RNG.uniform(0.5, 1, (3, 4, 5))
    weight[0, 1:, 0] = 0  # seen by one camera alone
    found = bench.triangulate(x_cam[..., :2] / x_cam[..., 2:], weight, R, t)
    assert np.isnan(found[0, 0]).all()
    points[0, 0] = np.nan
    np.testing.assert_allclose(found, points, atol=1e-9)
    wrong = x_cam[..., :2] / x_cam[..., 2:] + np.array([0, 0, 0, 0.1])[:, None, None] * [1, 0]
    weight[:, 3] *= 1e-9  # what weighs nothing changes nothing
    np.testing.assert_allclose(bench.triangulate(wrong, weight, R, t)[1:], points[1:], atol=1e-6)


def test_simulated_detectors_err_by_their_table_in_pixels_of_the_crop():
    table = np.array([[1.0, -2.0, 0.5, 0.25, 0.9]])
    noise = RNG.normal(size=(20_000, 1, 2))
    error = bench.detector_errors(RNG, table, noise, 2.0)
    exact = np.isclose(error, 2 * (table[:, :2] + table[:, 2:4] * noise)).all(-1)
    assert exact.mean() == pytest.approx(0.9, abs=0.01)
    assert error[~exact].std() == pytest.approx(bench.OUTLIER_STD_PX, rel=0.05)
    corners = np.array([[[100.0, 50], [260, 690]]])  # 640 px high: the crop's 256 pixels are 1.2 times that
    np.testing.assert_allclose(bench.crop_pixel(corners), [[[3.0]]])


def walk(monkeypatch, tilt, std):
    """The figures of a clip of 10 frames whose path is 0.3 m too far and waves by 0.1 m; the last is unknown."""
    frames = 10
    root = np.stack([np.linspace(-1, 1, frames), np.zeros(frames), np.full(frames, 4.0)], -1)
    R = Rotation.from_euler("x", 20, degrees=True).as_matrix() @ np.diag([1.0, -1.0, -1.0])
    up = Rotation.from_rotvec(np.radians(tilt) * R[0]).apply(R[1])
    t = np.array([0, 1.5, 0])
    off = np.array([0, 0, 0.3]) + 0.1 * np.array([1, -1] * 5)[:, None] * [1, 0, 0]
    radius = np.where(np.arange(frames) < 6, 0.32, 0.31)  # 0.316 m are away
    stands = np.array([[True, False]] * frames)
    chance = np.where(np.arange(frames) < 6, 0.9, 0.2)[:, None] * np.ones(9)
    joints = np.zeros((frames, 17, 3))
    joints[:, world._FEET[0], 0] = 0.02 * np.arange(frames)  # the left ankle slides by 2 cm a frame
    path = (root + off) @ R.T + t
    found = World(R, t, path, radius, path[None], chance, joints, std, 1.5, True, ())
    lifted = Hypotheses(None, np.zeros((256, 17, 3)), None, None, None, root=np.tile(root[-1], (2, 256, 1)))
    monkeypatch.setattr(world, "lift", lambda *_, **__: lifted)
    monkeypatch.setattr(world, "to_world", lambda *_, **__: found)
    known = np.arange(frames) < 9
    seen = np.zeros((frames, 17, 2)), np.ones((frames, 17)), np.ones(4)
    return world._scored(None, world.Clip("a", *seen, 30.0, root, up, 1.7, stands, known, joints), world.Options())


def test_figures_of_a_world(monkeypatch):
    row, steep = walk(monkeypatch, 2.0, 1.0), walk(monkeypatch, 2.3, 1.0)
    assert row["up_deg"] == pytest.approx(2.0)
    assert (row["up_in_90"], steep["up_in_90"]) == (True, False)  # 2.146 deviations: 90 % of a Gaussian on two axes
    assert row["height_error_m"] == pytest.approx(0.2)
    assert row["in_radius"].mean() == pytest.approx(6 / 9)
    assert row["root_mm"] == pytest.approx(1000 * np.hypot(0.3, 0.1))
    assert row["path_mm"] == pytest.approx(1000 * 0.1 * (5 * 8 / 9 + 4 * 10 / 9) / 9)  # less their mean of 0.1 / 9
    lost = steep | {"found": False, "up_deg": 50.0}
    seen = {"touches": np.arange(4) < 3, "chance_of_others": np.array([0.9, 0.1, 0.2, 0.1])}
    one = world._together([row | seen])
    assert (one["others_precision"], one["others_recall"]) == (1, pytest.approx(1 / 3))
    lying = np.full((10, 17, 3), 0.05)
    lying[:, 8, 0] = 0.6
    above = world._lying(SimpleNamespace(joints=lying + np.array([0, 0.2, 0]), contacts=np.zeros((10, 9))), lying)
    assert above["hovers"].tolist() == [True] * 10
    whole = world._together([row, row, steep, lost])
    assert (whole["found"], whole["clips"], whole["up_deg"]) == (0.75, 4, pytest.approx(2.0))
    assert whole["up_in_90"] == pytest.approx(2 / 3)
    assert (whole["precision"], whole["recall"]) == (0.5, pytest.approx(6 / 9))
    squares = (6 * (0.1**2 + 0.9**2) + 3 * (0.8**2 + 0.2**2)) / 18
    assert whole["slides_in_steps_cm"] == pytest.approx(18)  # of ten frames
    assert (whole["brier"], whole["brier_base"]) == (pytest.approx(squares), pytest.approx(0.25))
    np.testing.assert_allclose(world._speed(np.arange(9.0)[:, None, None] * [0.01, 0, 0], 60.0), 0.6, rtol=1e-6)


def test_figures_of_a_fusion(monkeypatch):
    """Draws along one line at 1 to 100 mm from their mean, and truths 80 and 95 mm from it: one of two in 90 mm."""
    line = np.concatenate([np.arange(1, 101), -np.arange(1, 101)]) / 1000
    pose = RNG.normal(0, 0.3, (2, 12, 3))
    world_draws = pose + line[:, None, None, None] * np.array([1.0, 0, 0])
    truth = pose + np.array([0.08, 0.095])[:, None, None] * [0, 1.0, 0]
    K = np.tile([1000.0, 1000, 500, 500], (4, 1))
    R, t = np.tile(np.eye(3), (4, 1, 1)), np.array([[c, 0, 4.0] for c in range(4)])
    camera = Camera(*(jnp.asarray(x, jnp.float32) for x in (K, np.zeros((4, 5)), R, t)))
    xy = RNG.normal(500, 100, (2, 4, 17, 2))  # of joints that do not count; equal ones would be on parallel rays
    seen = pose[:, None] + t[:, None]
    xy[:, :, fusion._OURS] = 1000 * seen[..., :2] / seen[..., 2:] + 500 + np.array([3.0, 4.0])
    xy[:, 2:] += 100  # of the cameras that are used
    scene = fusion.Scene(xy, np.ones((2, 4, 17)), camera, truth, "z", np.arange(2))
    row = fusion.figures(scene, (2, 3), world_draws)
    assert row["absolute_mm"] == pytest.approx(87.5)
    np.testing.assert_array_equal(row["absolute_within"][0], [1, 0])
    assert row["hips_mm"] == pytest.approx(0, abs=1e-3)
    assert row["p_mm"] == pytest.approx(0, abs=1e-2)
    assert row["spread_mm"] == pytest.approx(1000 * line.std())
    assert row["other_cameras_px"] == pytest.approx(5, rel=1e-3)
    both = fusion.averaged([row, row | {"absolute_mm": 100.0, "absolute_within": (np.ones(2), np.arange(2))}])
    assert (both["absolute_mm"], both["absolute_90"][0]) == (pytest.approx(93.75), 0.75)
    exact = scene._replace(xy=xy - [3.0, 4.0])
    np.testing.assert_allclose(fusion.triangulate(exact, (0, 1)), pose, atol=1e-5)
    assert fusion.against(exact, (2, 3), world_draws)["absolute_mm"] == pytest.approx(0, abs=0.1)  # by cameras 0 and 1
    both = fusion._both(world_draws, 2 * world_draws + 1)
    np.testing.assert_allclose(both.mean(0), pose, atol=1e-6)
    np.testing.assert_allclose(both.var(0), 5 * world_draws.var(0), atol=2e-3)

    def fused(key, prior, xy, noise, sure, *_, **__):
        assert np.asarray(sure > 0).any((0, 2)).tolist() == [True, True, False, False]
        np.testing.assert_allclose(xy, exact.xy[:, [2, 0, 1, 3]], rtol=1e-6)
        return {"samples": xy[None, :, 0] @ jnp.zeros((2, 3)), "root": jnp.zeros((1, 2, 3))}

    monkeypatch.setattr(fusion, "fuse_rows", fused)
    fusion.drawn("independent", exact, (2, 0), None, fusion.Options())


def test_figures_of_clips():
    """The best motion is the best in the mean of its frames; the root, always within, is not counted."""
    truth = RNG.normal(0, 0.3, (1, 4, 17, 3))
    truth -= truth[:, :, :1]
    off = np.zeros((2, 1, 4, 17, 3))
    off[0, ..., 1:, 0], off[1, :, 3, 1:, 0] = 0.1, 0.2
    clips = diffpose.Clips(None, None, None, truth, np.arange(4))
    radius = np.broadcast_to(np.where(np.arange(4) < 3, 0.06, 0.1)[:, None], (1, 4, 17))
    drawn = motions.Drawn(jnp.asarray(truth + off), jnp.asarray(radius))
    row = motions.row_of(drawn, clips, np.full(4, 100.0), 0)
    assert row["holds"] == pytest.approx(0.75)  # the mean is 50 mm off, and 150 mm in the last frame
    assert (row["best_motion_mm"], row["mean_mm"], row["ratio"][0]) == pytest.approx(
        (800 / 17, 1200 / 17, 12 / 17), rel=1e-4
    )
    twice = diffpose.Clips(None, None, None, np.tile(truth, (2, 1, 1, 1)), np.arange(8))
    row = diffpose.figures(
        jnp.asarray(twice.truth + off[1] * np.reshape([1, -1], (2, 1, 1, 1, 1))), twice, np.full(8, 100.0), 0
    )
    assert (row["acceleration_mm"], row["acceleration_single_mm"]) == pytest.approx((0, 1600 / 17), abs=0.01)


def test_aggregates_are_scored_about_the_root_and_in_place():
    truth = RNG.normal(0, 0.3, (3, 17, 3)).astype(np.float32)
    pose = truth + np.float32([0.3, 0, 0])
    pose[:, 5] += np.float32([0, 0.17, 0])
    case = aggregates.Case(None, None, None, truth)
    errors = aggregates.scores(case, jnp.asarray(pose), jnp.asarray(truth + np.float32([0, 0, 0.2])))
    own, placed = errors["mpjpe_mm"], errors["absolute_mm"]
    np.testing.assert_allclose(own, 10, rtol=1e-4)
    np.testing.assert_allclose(placed, 200, rtol=1e-4)
    gap = aggregates.against(0, errors, {name: error - 3 for name, error in errors.items()})["mpjpe_minus_mean_mm"]
    np.testing.assert_allclose(gap, 3, rtol=1e-4)


def test_weights_of_hypotheses_are_those_of_their_places(monkeypatch):
    samples, root = jnp.asarray(RNG.normal(size=(3, 2, 17, 3))), jnp.asarray(RNG.normal(size=(3, 2, 3)))
    second = jnp.tile(jnp.array([[0.0], [1], [0]]), 2)
    monkeypatch.setattr(aggregates, "_reprojection", lambda *_, **__: second)
    found = {how: (pose, placed) for how, pose, placed, _ in
             aggregates.candidates(aggregates.Options(), samples, root, [], None)}  # fmt: skip
    for pose, expected in zip(found["reprojection"], (samples[1], samples[1] + root[1][:, None]), strict=True):
        np.testing.assert_allclose(pose, expected, atol=1e-6)
