"""Aggregates against numpy, scipy's optimiser and repeated hypotheses; weights against closed forms; the blind root."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from jaxpose.evaluation import aggregate
from jaxpose.geometry.camera import project
from jaxpose.spaces.person import place

NAMES = ("mean", "median", "geometric_median", "medoid", "mode", "pose_mode")
AGGREGATES = {name: jax.jit(getattr(aggregate, name)) for name in NAMES}
REPROJECTION = jax.jit(aggregate.reprojection_weights, static_argnames="added")
LIKELIHOOD = jax.jit(aggregate.likelihood_weights, static_argnames="added")
PLACE = jax.jit(place)
INTRINSICS = jnp.array([1100.0, 1080.0, 500.0, 520.0])


@pytest.fixture(scope="module")
def samples():
    """[9, 2, 4, 3] skewed hypotheses, metres."""
    rng = np.random.default_rng(0)
    return (rng.exponential(size=(9, 2, 4, 3)) ** 2 * 0.1 + rng.normal(size=(2, 4, 3))).astype(np.float32)


@pytest.fixture(scope="module")
def scene():
    """Hypotheses [9, 2, 6, 3] about the root, of which number 4 is the truth; its root and exact keypoints."""
    rng = np.random.default_rng(1)
    hypotheses = (rng.normal(0, 0.4, (2, 6, 3)) + rng.normal(0, 0.03, (9, 2, 6, 3))).astype(np.float32)
    hypotheses -= hypotheses[:, :, :1]
    root = np.array([[0.3, -0.2, 4.0], [-0.5, 0.1, 5.5]], np.float32)
    return hypotheses, root, project(INTRINSICS, jnp.asarray(hypotheses[4] + root[:, None]))


def test_unweighted_they_are_numpys_and_the_nearest_hypothesis(samples):
    np.testing.assert_allclose(AGGREGATES["mean"](samples), np.mean(samples, 0), atol=1e-6)
    np.testing.assert_allclose(AGGREGATES["median"](samples), np.median(samples, 0), atol=1e-6)
    nearest = np.linalg.norm(samples[:, None] - samples[None], axis=-1).mean((1, -1)).argmin(0)
    expected = np.stack([samples[h, b] for b, h in enumerate(nearest)])
    np.testing.assert_array_equal(AGGREGATES["medoid"](samples), expected)


def test_geometric_median_is_scipys_minimum(samples):
    ours = np.asarray(AGGREGATES["geometric_median"](samples))
    for b in range(2):
        for j in range(4):
            points = samples[:, b, j].astype(np.float64)
            cost = lambda x, points=points: np.linalg.norm(points - x, axis=-1).sum()  # noqa: E731
            best = minimize(cost, points.mean(0), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10})
            assert cost(ours[b, j]) <= best.fun * (1 + 1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_aggregates_move_with_the_poses_and_ignore_the_order_of_hypotheses(samples, name):
    base = AGGREGATES[name](samples)
    shuffled = np.random.default_rng(1).permutation(samples)
    np.testing.assert_allclose(AGGREGATES[name](shuffled), base, atol=2e-6)
    np.testing.assert_allclose(AGGREGATES[name](3 * samples + 1), 3 * base + 1, atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_weight_is_so_many_hypotheses_and_a_common_factor_nothing(samples, name):
    counts = np.array([2, 1, 0, 3, 1, 1, 2, 1, 1])
    repeated = np.repeat(samples, counts, 0)
    weights = np.broadcast_to(0.7 * counts[:, None], samples.shape[:2]).astype(np.float32)
    if "mode" in name:  # Scott's width goes by the effective number, which repeating would overstate
        equal = jnp.full(samples.shape[:2], 0.3)
        expected, found = AGGREGATES[name](samples), AGGREGATES[name](samples, equal)
    else:
        expected, found = AGGREGATES[name](repeated), AGGREGATES[name](samples, weights)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_weighted_mean_and_median_are_numpys(samples):
    weights = np.random.default_rng(2).uniform(size=samples.shape[:2])
    found = AGGREGATES["mean"](samples, weights)
    for b in range(2):
        np.testing.assert_allclose(found[b], np.average(samples[:, b], 0, weights[:, b]), atol=1e-6)
    found = np.asarray(AGGREGATES["median"](samples, weights))
    for b, j, d in np.ndindex(found.shape):
        x, w = samples[:, b, j, d], weights[:, b] / weights[:, b].sum()
        assert w[x < found[b, j, d]].sum() <= 0.5 <= w[x <= found[b, j, d]].sum()


@pytest.mark.parametrize("name", NAMES)
def test_nan_hypotheses_and_weights_that_are_all_0_are_not_hidden(samples, name):
    weights = np.ones(samples.shape[:2], np.float32)
    weights[:, 1] = 0
    assert np.isnan(AGGREGATES[name](samples, weights)[1]).all()
    spoiled = samples.copy()
    spoiled[3, 1, 2] = np.nan
    weights = np.ones(samples.shape[:2], np.float32)
    weights[3] = 0
    found = np.asarray(AGGREGATES[name](spoiled, weights))
    assert np.isnan(found[1, 2]).all()
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all() == (name in ("medoid", "pose_mode"))


def test_mode_of_whole_poses_keeps_the_joints_of_one_pose_together():
    """Three kinds of poses with joints at 0 or 1: each joint is mostly 0, but (0, 0, 0) is nobody's pose."""
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.eye(3), [40, 33, 27], 0)[:, :, None] * np.ones(3)
    samples = kinds + rng.normal(0, 0.02, (100, 3, 3))
    np.testing.assert_allclose(AGGREGATES["pose_mode"](samples), kinds[0], atol=0.02)
    np.testing.assert_allclose(AGGREGATES["mode"](samples), np.zeros((3, 3)), atol=0.02)
    nobody = np.where(np.arange(100) < 40, 0.0, 1.0)
    np.testing.assert_allclose(AGGREGATES["pose_mode"](samples, nobody), kinds[50], atol=0.02)


def test_the_blind_root_of_exact_keypoints_is_the_truth(scene):
    hypotheses, root, keypoints = scene
    found = PLACE(INTRINSICS, keypoints, jnp.ones((2, 6)), hypotheses)
    np.testing.assert_allclose(found[4], root, atol=2e-3)
    placed = aggregate.mean(hypotheses + found[:, :, None], np.eye(9, dtype=np.float32)[4][:, None] * np.ones(2))
    np.testing.assert_allclose(placed, hypotheses[4] + root[:, None], atol=2e-3)


def test_a_hypothesis_that_reprojects_exactly_gets_the_weight(scene):
    hypotheses, _, keypoints = scene
    confidence = jnp.ones((2, 6)).at[:, 5].set(0)
    keypoints = keypoints.at[:, 5].set(jnp.nan)  # not seen
    weights = REPROJECTION(hypotheses, keypoints, confidence, INTRINSICS, noise_px=1.0, added=np.inf)
    np.testing.assert_allclose(weights, np.eye(9)[4][:, None] * np.ones(2), atol=1e-4)
    tempered = REPROJECTION(hypotheses, keypoints, confidence, INTRINSICS)
    assert (tempered.argmax(0) == 4).all()
    np.testing.assert_allclose(jnp.square(tempered).sum(0), 1 / 9 + aggregate.ADDED, rtol=1e-4)


def test_reprojection_weights_are_the_gaussian_likelihood_of_the_keypoints(scene):
    hypotheses, _, keypoints = scene
    confidence = jnp.asarray(np.random.default_rng(3).uniform(0.2, 1, (2, 6)), jnp.float32)
    found = REPROJECTION(hypotheses, keypoints, confidence, INTRINSICS, noise_px=10.0, added=np.inf)
    x = hypotheses + np.asarray(PLACE(INTRINSICS, keypoints, confidence, hypotheses))[:, :, None]
    fx, fy, cx, cy = np.asarray(INTRINSICS)
    seen = np.stack([fx * x[..., 0] / x[..., 2] + cx, fy * x[..., 1] / x[..., 2] + cy], -1)
    nats = -0.5 * (confidence[..., None] * ((seen - keypoints) / 10) ** 2).sum((-1, -2))
    expected = np.exp(nats - nats.max(0))
    np.testing.assert_allclose(found, expected / expected.sum(0), rtol=1e-2, atol=1e-5)
    blind = REPROJECTION(hypotheses, keypoints, jnp.zeros((2, 6)), INTRINSICS)
    np.testing.assert_allclose(blind, 1 / 9, rtol=1e-5)  # nothing seen, nothing to choose by


def test_likelihood_weights_turn_draws_of_one_gaussian_into_a_narrower_one():
    """Draws of N(0, 1) weighted by their own density are N(0, 1 / 2): the product of two densities."""
    x = np.random.default_rng(0).normal(size=(40000, 1))
    weights = np.asarray(LIKELIHOOD(-0.5 * x**2, added=np.inf))
    np.testing.assert_allclose((weights * x**2).sum(0), 0.5, atol=0.01)
    np.testing.assert_allclose(aggregate.effective_number(weights) / 40000, np.sqrt(3) / 2, atol=0.01)


def test_tempering_holds_the_effective_number_and_drops_the_impossible():
    nats = np.random.default_rng(0).normal(0, [[0.01, 5, 500]], (200, 3)).astype(np.float32)
    nats[:20, 1] = -np.inf
    weights = LIKELIHOOD(nats)
    np.testing.assert_allclose(aggregate.effective_number(weights)[1:], 1 / (1 / 200 + 0.01), rtol=1e-3)
    plain = np.exp(nats[:, 0]) / np.exp(nats[:, 0]).sum()  # already even: taken whole
    np.testing.assert_allclose(weights[:, 0], plain, rtol=1e-5)
    assert (weights[:20, 1] == 0).all()
    np.testing.assert_array_equal(np.argsort(weights[:, 1])[-50:], np.argsort(nats[:, 1])[-50:])  # order is kept


def test_a_hypothesis_that_the_camera_cannot_see_has_weight_0(scene):
    hypotheses, _, keypoints = scene
    confidence = jnp.ones((2, 6))
    deep = jnp.asarray(hypotheses).at[2, 0].multiply(jnp.array([0.1, 0.1, 60.0]))  # tens of metres: a joint is behind
    weights = np.asarray(REPROJECTION(deep, keypoints, confidence, INTRINSICS))
    assert weights[2, 0] == 0
    np.testing.assert_allclose(weights.sum(0), 1, rtol=1e-6)
    np.testing.assert_allclose(
        weights[:, 1], REPROJECTION(hypotheses, keypoints, confidence, INTRINSICS)[:, 1], atol=1e-6
    )
    nobody = REPROJECTION(jnp.stack([deep[2]] * 3), keypoints[0], confidence[0], INTRINSICS)
    np.testing.assert_allclose(nobody[:, 0], 1 / 3, rtol=1e-6)


def test_log_densities_of_minus_infinity_are_weight_0_or_all_equal():
    log_density = np.array([[0.0, -np.inf], [-np.inf, -np.inf], [-1e10, -np.inf]], np.float32)
    weights = np.asarray(LIKELIHOOD(log_density))
    assert weights[1, 0] == 0
    np.testing.assert_allclose(weights[:, 1], 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(weights.sum(0), 1, rtol=1e-6)
