"""Calibration and scoring rules against closed forms of the Gaussian and brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from shared import refuses

from jaxpose.evaluation import calibration as c

ECE = jax.jit(c.ece, static_argnames="root")
COVERAGE = jax.jit(c.coverage, static_argnames="level")


def gaussian(num, shape, spread=1.0, seed=0):
    """Hypotheses of a forecast `spread` times as wide as the truth's own distribution, off the origin."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=shape) + 5
    samples = mean + spread * 0.1 * rng.normal(size=(num, *shape))
    return samples.astype(np.float32), (mean + 0.1 * rng.normal(size=shape)).astype(np.float32)


@pytest.mark.parametrize("spread", [1.0, 0.5, 2.0])
def test_ece_is_that_of_the_chi_distribution(spread):
    # |X - median| and |y - median| are chi with 3 degrees, the first times `spread`: the share within its
    # q-quantile is F(spread F^-1(q)), q itself for calibrated hypotheses. The last quantile is the largest of
    # the H distances, which has the distribution F^H.
    num, levels, chi = 300, np.linspace(0, 1, 21), stats.chi(3)
    result = ECE(*gaussian(num, (800, 3, 3), spread), root=None)
    curve = chi.cdf(spread * chi.ppf(levels))
    curve[-1] = chi.cdf(spread * chi.ppf(((np.arange(2000) + 0.5) / 2000) ** (1 / num))).mean()
    np.testing.assert_allclose(result.levels, levels, atol=1e-6)
    np.testing.assert_allclose(result.curve, np.tile(curve[:, None], 3), atol=0.06)
    np.testing.assert_allclose(result.ece, abs(curve - levels).mean(), atol=0.015)
    assert (result.ece > 0.1) == (spread != 1)


def test_the_root_at_the_origin_is_left_out_of_the_ece():
    samples, truth = gaussian(100, (400, 4, 3))
    samples, truth = samples - samples[:, :, :1], truth - truth[:, :1]
    result = ECE(samples, truth)
    assert (result.curve[:, 0] == 1).all()
    others = ECE(samples[:, :, 1:], truth[:, 1:], root=None)
    np.testing.assert_allclose(result.ece, others.ece, atol=1e-6)
    # Counted, the root adds a mean gap of 0.5 to its quarter of the joints.
    np.testing.assert_allclose(ECE(samples, truth, root=None).ece, 0.75 * others.ece + 0.25 * 0.5, atol=1e-6)
    refuses(r"0\.\.3", c.ece, samples, truth, root=4)


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_coverage_of_gaussian_hypotheses(level):
    for spread in (1.0, 0.5):
        samples, truth = gaussian(300, (1000, 2, 3), spread)
        half_width = spread * stats.norm.ppf((1 + level) / 2)
        expected = 2 * stats.norm.cdf(half_width) - 1
        np.testing.assert_allclose(COVERAGE(samples, truth, level), np.full((2, 3), expected), atol=0.05)
    refuses("got 95", c.coverage, samples, truth, 95)


def test_pit_by_hand_and_nan_stays_where_it_is():
    samples = jnp.array([1.0, 2.0, 2.0, 5.0]).reshape(4, 1, 1)
    for truth, rank in ((0.0, 0.0), (2.0, 0.5), (4.0, 0.75), (6.0, 1.0)):
        assert float(c.pit(samples, jnp.array([[truth]]))[0, 0]) == rank
    samples, truth = gaussian(5, (2, 3, 3))
    truth[1, 2, 0] = np.nan
    for score in (c.pit, c.crps):
        np.testing.assert_array_equal(np.isnan(score(samples, truth)), np.isnan(truth))
    np.testing.assert_array_equal(np.isnan(c.energy_score(samples, truth)), np.isnan(truth).any(-1))


def test_reliability_per_axis_is_the_normal_distributions():
    # PIT <= q where y is below the q-quantile of the hypotheses: Phi(spread Phi^-1(q)), q itself where calibrated.
    levels = (0.1, 0.5, 0.9)
    for spread in (1.0, 0.5):
        curve = c.reliability(*gaussian(200, (3000, 2, 3), spread), levels=levels)
        expected = stats.norm.cdf(spread * stats.norm.ppf(levels))
        np.testing.assert_allclose(curve, np.broadcast_to(expected[:, None, None], curve.shape), atol=0.035)
    samples, truth = gaussian(200, (3000, 2, 3))
    shifted = c.reliability(samples + np.array([0, 0, 0.1], np.float32), truth, levels=levels)
    np.testing.assert_allclose(shifted[1, :, 2], stats.norm.cdf(1), atol=0.03)  # one deviation too far along z
    np.testing.assert_allclose(shifted[1, :, 0], 0.5, atol=0.03)


def test_pit_histogram_is_flat_where_calibrated_and_its_gap_is_the_total_variation():
    flat = c.pit_histogram(*gaussian(200, (3000, 2, 3)))
    np.testing.assert_allclose(flat.sum(0), 1, atol=1e-5)
    assert (c.pit_gap(flat) < 0.05).all()
    heaped = c.pit_histogram(*gaussian(200, (3000, 2, 3), 0.3))
    edges = stats.norm.cdf(0.3 * stats.norm.ppf(np.linspace(0, 1, 11)))
    np.testing.assert_allclose(heaped, np.broadcast_to(np.diff(edges)[:, None, None], heaped.shape), atol=0.035)
    expected = 0.5 * np.abs(np.diff(edges) - 0.1).sum()
    np.testing.assert_allclose(c.pit_gap(heaped), np.full((2, 3), expected), atol=0.04)
    refuses("got 0", c.pit_histogram, *gaussian(3, (2, 2, 3)), num_bins=0)


def test_radius_coverage_of_an_exact_sampler_and_by_hand():
    samples, truth = gaussian(400, (3000, 2, 3), seed=3)
    mean = samples.mean(0)
    radius = np.quantile(np.linalg.norm(samples - mean, axis=-1), 0.9, axis=0)
    np.testing.assert_allclose(c.radius_coverage(radius, mean, truth), 0.9, atol=0.02)
    np.testing.assert_allclose(
        c.radius_coverage(radius / 2, mean, truth), stats.chi(3).cdf(stats.chi(3).ppf(0.9) / 2), atol=0.03
    )
    away = np.array([[[0.0, 0, 3]], [[0, 4, 0]], [[np.nan, 0, 0]]], np.float32)
    radius = np.array([[3.0], [3.0], [3.0]], np.float32)
    assert np.isnan(c.radius_coverage(radius, np.zeros_like(away), away)[0])
    np.testing.assert_allclose(c.radius_coverage(radius[:2], np.zeros_like(away[:2]), away[:2]), 0.5)
