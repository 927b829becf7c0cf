"""Ellipsoids and radii of hypotheses: they hold the share that they say, follow a given covariance, and keep gaps."""

import numpy as np
import pytest

from jaxpose.app.viz.scenes import spread_of

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("draw", [RNG.standard_normal, lambda size: RNG.standard_t(3, size)])
def test_half_and_nine_in_ten_of_the_samples_lie_inside(draw):
    A = RNG.normal(size=(2, 17, 3, 3)) * 0.1
    samples = np.einsum("njik,hnjk->hnji", A, draw((400, 2, 17, 3)))
    found = spread_of(samples)
    away = np.linalg.norm(np.einsum("njik,hnjk->hnji", np.linalg.inv(found.shape), samples - found.mean), axis=-1)
    assert (away <= 1 + 1e-9).mean() == pytest.approx(0.9, abs=2e-3)
    assert (away <= found.inner).mean() == pytest.approx(0.5, abs=2e-3)
    np.testing.assert_allclose((np.linalg.norm(samples - found.mean, axis=-1) <= found.radius).mean(0), 0.9, atol=3e-3)
    np.testing.assert_allclose(found.shape, np.swapaxes(found.shape, -1, -2), atol=1e-12)


def test_a_recalibrated_covariance_scales_the_ellipsoid_and_a_given_radius_is_kept():
    samples = RNG.normal(0, 0.1, (300, 1, 2, 3))
    own = spread_of(samples)
    covariance = np.einsum("hnji,hnjk->njik", samples - own.mean, samples - own.mean) / 300
    wide = spread_of(samples, 4 * covariance, np.full((1, 2), 0.7))
    np.testing.assert_allclose(wide.shape, 2 * own.shape, rtol=1e-9)
    np.testing.assert_allclose(wide.radius, 0.7)


def test_few_samples_are_taken_as_gaussian_and_need_a_covariance():
    samples = np.zeros((1, 1, 2, 3))
    assert spread_of(samples) is None
    assert spread_of(samples, np.zeros((1, 2, 3, 3))) is None
    found = spread_of(samples, np.broadcast_to(0.01 * np.eye(3), (1, 2, 3, 3)))
    # 90 % of a 3D Gaussian of unit variance lie within 2.5003 and 50 % within 1.5382 (chi square, 3 degrees of freedom)
    np.testing.assert_allclose(found.shape[0, 0], 0.25 * np.eye(3), atol=1e-4)
    np.testing.assert_allclose(found.inner, 1.5382 / 2.5003, atol=1e-3)
    np.testing.assert_allclose(found.radius, 0.25, atol=1e-4)


def test_an_exact_joint_has_no_extent_and_a_missing_one_is_a_gap():
    samples = RNG.normal(0, 0.1, (50, 1, 3, 3))
    samples[:, 0, 1] = 0.3
    samples[:, 0, 2] = np.nan
    found = spread_of(samples)
    assert (found.shape[0, 1] == 0).all()
    assert found.radius[0, 1] == pytest.approx(0, abs=1e-12)
    assert np.isnan(found.shape[0, 2]).all()
    assert np.isfinite(found.shape[0, 0]).all()
