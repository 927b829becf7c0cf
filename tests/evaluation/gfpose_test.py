"""GFPose's protocol: what it forgives, what it averages, and the honest figures beside it."""

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxpose.originals.evaluation import h36m as gfpose


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(0)
    return (rng.normal(0, 0.3, (6, 17, 3)) + np.array([0, 0, 5])).astype(np.float32)


ACTION = np.array([2, 2, 2, 5, 5, 16])


def test_actions_weigh_alike_and_empty_ones_are_named():
    got = gfpose.action_mean(np.array([1.0, 2, 3, 10, 20, 100]), ACTION)
    assert got.average == pytest.approx((2 + 15 + 100) / 3)
    assert got.per_action == {"Directions": 2.0, "Greeting": 15.0, "WalkTogether": 100.0}
    assert len(got.empty) == 12
    assert "Walking" in got.empty
    with pytest.raises(ValueError, match=r"\[1, 17\]; must be 2\.\.16"):
        gfpose.action_mean(np.zeros(3), np.array([1, 2, 17]))
    with pytest.raises(ValueError, match="N >= 1"):
        gfpose.action_mean(np.zeros(0), np.zeros(0, int))


def test_a_shifted_pose_is_wrong_only_where_the_root_is_not_aligned(truth):
    row = gfpose.gfpose_row(truth[None] + np.float32([0.03, 0, 0.04]), truth, ACTION)
    assert row["mpjpe_gfpose_mm"] == pytest.approx(50, rel=1e-4)
    for name in ("mpjpe_best_mm", "mpjpe_mean_mm", "p_mpjpe_gfpose_mm", "p_mpjpe_best_mm"):
        assert row[name] == pytest.approx(0, abs=0.02)


def test_a_mirrored_pose_is_right_only_for_the_original(truth):
    row = gfpose.gfpose_row(truth[None] * np.float32([-1.3, 1.3, 1.3]), truth, ACTION)
    assert row["p_mpjpe_gfpose_mm"] == pytest.approx(0, abs=0.02)
    assert row["p_mpjpe_best_mm"] > 50


def test_best_is_over_whole_poses_and_mean_is_of_all(truth):
    """Hypotheses off by +d and -3d in one joint: best d / 17, single 2 d / 17, mean pose d / 17."""
    off = np.zeros((2, 6, 17, 3), np.float32)
    off[0, :, 4, 0], off[1, :, 4, 0] = 0.17, -0.51
    row = gfpose.gfpose_row(truth + off, truth, ACTION)
    assert row["mpjpe_gfpose_mm"] == pytest.approx(10, rel=1e-3)
    assert row["mpjpe_best_mm"] == pytest.approx(10, rel=1e-3)
    assert row["mpjpe_single_mm"] == pytest.approx(20, rel=1e-3)
    assert row["mpjpe_mean_mm"] == pytest.approx(10, rel=1e-3)
    assert row["hypotheses"] == 2


def test_procrustes_figures_forgive_a_similarity(truth):
    R = Rotation.from_rotvec([0.4, -0.2, 1.0]).as_matrix().astype(np.float32)
    row = gfpose.gfpose_row(1.7 * (truth @ R.T)[None] + 0.3, truth, ACTION)
    assert row["p_mpjpe_gfpose_mm"] == pytest.approx(0, abs=0.02)
    assert row["p_mpjpe_mean_mm"] == pytest.approx(0, abs=0.02)
    assert row["mpjpe_mean_mm"] > 100


def test_diversity_is_per_axis_over_the_joints_but_the_root(truth):
    """Deviation 20 mm in x, 0 in y, 10 mm in z of every joint but the root, whose own is added by moving all."""
    sign = np.float32([1, -1])[:, None, None, None]
    off = np.zeros((2, 6, 17, 3), np.float32) + sign * np.float32([0.02, 0, 0.01])
    off[:, :, 0] = 0
    moved = truth + off + sign * 0.5
    row = gfpose.gfpose_row(moved, truth, ACTION)
    np.testing.assert_allclose([row["diversity_mm"][a] for a in "xyz"], [20, 0, 10], atol=1e-2)


def test_blocks_do_not_change_figures(truth, monkeypatch):
    samples = truth + np.random.default_rng(1).normal(0, 0.05, (2, *truth.shape)).astype(np.float32)
    whole = gfpose.gfpose_row(samples, truth, ACTION)
    monkeypatch.setattr(gfpose, "_BLOCK", 3)
    split = gfpose.gfpose_row(samples, truth, ACTION)
    assert split["p_mpjpe_gfpose_mm"] == pytest.approx(whole["p_mpjpe_gfpose_mm"], rel=1e-5)
    assert split["mpjpe_gfpose_per_action_mm"] == pytest.approx(whole["mpjpe_gfpose_per_action_mm"], rel=1e-5)


def test_denoising_tells_what_the_alignment_hides(truth):
    """Poses blown up by 1.35 (spec/gfpose.md, 5.5) are free of error after the best similarity."""
    noisy = truth + np.random.default_rng(2).normal(0, 0.02, truth.shape).astype(np.float32)
    row = gfpose.denoising_row(noisy, 1.35 * truth, truth, ACTION)
    assert row["p_mpjpe_gfpose_after_mm"] == pytest.approx(0, abs=0.02)
    assert row["p_mpjpe_gfpose_before_mm"] > 10
    assert row["mpjpe_after_mm"] > row["mpjpe_before_mm"]


@pytest.mark.parametrize(("kind", "deviation"), [("gaussian", 5.0), ("uniform", 5 / 12**0.5)])
def test_image_noise(kind, deviation):
    noise = np.asarray(gfpose.image_noise(jax.random.key(0), np.zeros((500, 17, 3), np.float32), 5.0, kind))
    np.testing.assert_allclose(noise.std((0, 1)), deviation, rtol=0.03)
    np.testing.assert_allclose(gfpose.NOISE_KINDS[kind][1] * 5, deviation)
    if kind == "uniform":
        assert np.abs(noise).max() <= 2.5
    with pytest.raises(ValueError, match="gaussian, uniform"):
        gfpose.image_noise(jax.random.key(0), np.zeros((1, 3)), 5.0, "laplace")


def test_wrong_shapes_are_named(truth):
    with pytest.raises(ValueError, match=r"\(2, 5, 17, 3\)"):
        gfpose.gfpose_row(np.zeros((2, 5, 17, 3)), truth, ACTION)
