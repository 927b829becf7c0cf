"""GFPose's protocol: what it forgives, what it averages, and the honest figures beside it."""

import jax
import numpy as np
import pytest
from shared import refuses

from jaxpose.originals.evaluation import h36m as gfpose


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(0)
    return (rng.normal(0, 0.3, (6, 17, 3)) + np.array([0, 0, 5])).astype(np.float32)


ACTION = np.array([2, 2, 2, 5, 5, 16])


def test_a_mirrored_pose_is_right_only_for_the_original(truth):
    row = gfpose.gfpose_row(truth[None] * np.float32([-1.3, 1.3, 1.3]), truth, ACTION)
    assert row["p_mpjpe_gfpose_mm"] == pytest.approx(0, abs=0.02)
    assert row["p_mpjpe_best_mm"] > 50


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
    refuses("gaussian, uniform", gfpose.image_noise, jax.random.key(0), np.zeros((1, 3)), 5.0, "laplace")
