"""Blind aggregates against brute force, scipy's optimiser and their defining inequalities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from jaxpose.evaluation import aggregate
from jaxpose.evaluation.metrics import mpjpe

AGGREGATES = {name: jax.jit(getattr(aggregate, name)) for name in ("mean", "median", "geometric_median", "medoid")}


@pytest.fixture(scope="module")
def samples():
    """Skewed hypotheses, metres: the aggregates all differ."""
    rng = np.random.default_rng(0)
    return (rng.exponential(size=(21, 4, 5, 3)) ** 2 * 0.1 + rng.normal(size=(4, 5, 3))).astype(np.float32)


def test_mean_and_median_are_numpys(samples):
    np.testing.assert_allclose(AGGREGATES["mean"](samples), np.mean(samples, 0), atol=1e-6)
    np.testing.assert_allclose(AGGREGATES["median"](samples), np.median(samples, 0), atol=1e-6)


def test_geometric_median_is_scipys_minimum(samples):
    ours = np.asarray(AGGREGATES["geometric_median"](samples))
    for b in range(2):
        for j in range(5):
            points = samples[:, b, j].astype(np.float64)
            cost = lambda x, points=points: np.linalg.norm(points - x, axis=-1).sum()  # noqa: E731
            best = minimize(cost, points.mean(0), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10})
            assert cost(ours[b, j]) <= best.fun * (1 + 1e-5)


def test_geometric_median_of_a_majority_at_one_point_is_that_point():
    samples = jnp.concatenate([jnp.tile(jnp.array([[[1.0, 2, 3]]]), (6, 1, 1)), 100 * jnp.ones((4, 1, 3))])
    np.testing.assert_allclose(aggregate.geometric_median(samples)[0], [1, 2, 3], atol=1e-3)
    same = jnp.full((5, 2, 3), 0.7)
    np.testing.assert_allclose(aggregate.geometric_median(same), same[0], rtol=1e-6)


def test_geometric_median_has_the_least_expected_mpjpe(samples):
    risk = {name: mpjpe(samples, f(samples)).mean(0) for name, f in AGGREGATES.items()}
    for name in ("mean", "median", "medoid"):
        assert (risk["geometric_median"] < risk[name]).all(), name


def test_medoid_is_the_hypothesis_nearest_to_the_others(samples):
    distance = np.linalg.norm(samples[:, None] - samples[None], axis=-1).mean((1, -1))
    nearest = distance.argmin(0)
    expected = np.stack([samples[h, b] for b, h in enumerate(nearest)])
    np.testing.assert_array_equal(AGGREGATES["medoid"](samples), expected)
    assert len(set(nearest.tolist())) > 1


@pytest.mark.parametrize("name", AGGREGATES)
def test_aggregates_move_with_the_poses_and_ignore_the_order_of_hypotheses(samples, name):
    base = AGGREGATES[name](samples)
    shuffled = np.random.default_rng(1).permutation(samples)
    np.testing.assert_allclose(AGGREGATES[name](shuffled), base, atol=2e-6)
    np.testing.assert_allclose(AGGREGATES[name](3 * samples + 1), 3 * base + 1, atol=2e-5)


@pytest.mark.parametrize("name", AGGREGATES)
def test_an_outlier_moves_only_the_mean_far(samples, name):
    spoiled = samples.copy()
    spoiled[0] += 100
    moved = np.linalg.norm(AGGREGATES[name](spoiled) - AGGREGATES[name](samples), axis=-1).max()
    assert (moved > 5) == (name == "mean")


@pytest.mark.parametrize("name", AGGREGATES)
def test_nan_is_not_hidden(samples, name):
    spoiled = samples.copy()
    spoiled[3, 1, 2] = np.nan
    result = np.asarray(AGGREGATES[name](spoiled))
    assert np.isnan(result[1, 2]).all() if name != "medoid" else True
    np.testing.assert_allclose(np.delete(result, 1, 0), np.delete(AGGREGATES[name](samples), 1, 0), atol=1e-6)


def test_mode_is_the_denser_of_two_places_and_the_mean_of_one():
    rng = np.random.default_rng(0)
    near, far = rng.normal(0, 0.02, (70, 2, 3)), 1 + rng.normal(0, 0.02, (30, 2, 3))
    samples = np.concatenate([near, far])
    np.testing.assert_allclose(aggregate.mode(samples), np.zeros((2, 3)), atol=0.02)
    np.testing.assert_allclose(aggregate.mode(1 - samples), np.ones((2, 3)), atol=0.02)
    alike = np.full((5, 2, 3), 0.3)
    np.testing.assert_allclose(aggregate.mode(alike), alike[0], rtol=1e-6)
