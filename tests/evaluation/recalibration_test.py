"""Gaussian hypotheses of a wrong width, per joint and axis, are set right; the radius then holds what it says."""

import numpy as np
import pytest

from jaxpose.evaluation import calibration
from jaxpose.evaluation import calibration as r

H, N, J = 100, 1500, 4
WIDTH = np.linspace(0.5, 1.8, 3 * (J - 1)).reshape(J - 1, 3)  # of the hypotheses, over what is true
SLOPE = np.array([0.6, 0.3, 0.0])


@pytest.fixture(scope="module")
def drawn():
    """Samples [H, N, J, 3], truth [N, J, 3], level [N]: truths wider by exp(SLOPE level), samples by WIDTH."""
    rng = np.random.default_rng(0)
    level = rng.uniform(-1.7, 1.7, N)  # of about unit spread
    mean = rng.normal(size=(N, J, 3))
    width = np.concatenate([np.zeros((1, 3)), WIDTH])
    samples = mean + 0.1 * width * rng.normal(size=(H, N, J, 3))
    truth = mean + 0.1 * np.exp(level[:, None, None] * SLOPE) * rng.normal(size=(N, J, 3)) * (width > 0)
    return samples.astype(np.float32), truth.astype(np.float32), level.astype(np.float32)


def test_the_radius_holds_nine_in_ten_of_other_truths(drawn):
    samples, truth, _ = drawn
    mean = samples.mean(0)
    radius = np.quantile(np.linalg.norm(samples - mean, axis=-1), 0.9, axis=0)
    errors = np.linalg.norm(truth - mean, axis=-1)
    factor = np.asarray(r.fit_radius(radius[::2], errors[::2]))
    assert factor[0] == 1  # the root, which has no radius
    assert factor[1] > 1.3  # too sure
    assert factor[3] < 0.8  # too wide
    held = calibration.radius_coverage(radius[1::2] * factor, mean[1::2], truth[1::2])
    np.testing.assert_allclose(held[1:], 0.9, atol=0.035)


def test_the_radius_of_few_cases_is_the_quantile_of_one_more():
    # of 18 ratios 1..18, rank ceil(19 * 0.9) = 18, where ceil(18 * 0.9) is 17; what has no weight does not count
    errors = np.arange(1.0, 20.0)[:, None]
    weights = np.ones_like(errors)
    weights[18] = 0
    assert float(r.fit_radius(np.ones_like(errors), errors, weights)[0]) == 18
    assert float(r.fit_radius(np.ones_like(errors), errors, 0 * weights)[0]) == 1


def test_the_covariance_has_the_trace_of_the_squared_error(drawn):
    samples, truth, level = drawn
    factor = np.asarray(r.fit_covariance(samples, truth))
    expected = np.exp(2 * level[:, None] * SLOPE).mean(0).sum() / (WIDTH**2).sum(-1)
    np.testing.assert_allclose(factor[1:], expected, rtol=0.12)
    assert factor[0] == 1
