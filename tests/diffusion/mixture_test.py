"""Mixtures of Gaussians against scikit-learn, quadrature and closed forms, and what degenerate samples give."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from jaxpose.diffusion.mixture import Mixture, check_mixture, draw_component, fit_mixture, take_component

pytestmark = pytest.mark.usefixtures("x64")

KEY = jax.random.key(11)
# components, samples and coordinates, and 2 x 3 fits a batch: few shapes are few compilations
NUM, SAMPLES, DIM = 3, 240, 2
BATCH = (2, 3, SAMPLES, DIM)
TRUTH = Mixture(
    np.array([0.5, 0.3, 0.2]),
    np.array([[0.0, 0.0], [2.0, 1.0], [-1.0, 3.0]]),
    np.array([[0.5, 0.2], [0.1, 0.3], [0.4, 0.02]]),
)


def draws(seed, truth=TRUTH, num=SAMPLES):
    """Samples [num, D] of a mixture and their components [num], by numpy."""
    rng = np.random.default_rng(seed)
    which = rng.choice(len(truth.weight), num, p=truth.weight)
    return truth.mean[which] + truth.std[which] * rng.normal(size=(num, truth.mean.shape[-1])), which


def overlapping(seed):
    return draws(seed, TRUTH._replace(mean=TRUTH.mean / 3))[0]


def poor_start(x):
    """Far from any optimum, and different in every number."""
    rng = np.random.default_rng(5)
    shape = (NUM, x.shape[-1])
    return Mixture(np.array([0.25, 0.125, 0.625]), rng.normal(size=shape) + x.mean(0), rng.uniform(0.5, 1.5, shape))


@jax.jit
@jax.vmap
def mapped_fit(key, x, weights):
    return fit_mixture(key, x, NUM, weights=weights)


def sklearn_fit(x, num=NUM, start=None, num_steps=100, tolerance=1e-3, floor=1e-6, seed=0):
    given = (
        {}
        if start is None
        else {"weights_init": start.weight, "means_init": start.mean, "precisions_init": start.std**-2.0}
    )
    other = GaussianMixture(
        num, covariance_type="diag", max_iter=num_steps, tol=tolerance, reg_covar=floor, random_state=seed, **given
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of tests that stop it early
        return other.fit(x)


def assert_same(ours, other, rtol=1e-7):
    """Ours is scikit-learn's mixture, component by component."""
    np.testing.assert_allclose(ours.weight, other.weights_, rtol, 1e-12)
    np.testing.assert_allclose(ours.mean, other.means_, rtol, 1e-12)
    np.testing.assert_allclose(ours.std, np.sqrt(other.covariances_), rtol)


@pytest.mark.parametrize("floor", [1e-6, 0.03])
@pytest.mark.parametrize(("num_steps", "tolerance"), [(1, 1e-9), (4, 1e-9), (100, 1e-3), (100, 1e-6)])
def test_steps_and_their_end_equal_scikit_learn(num_steps, tolerance, floor):
    """From one start: the same parameters, so the same step, the same added floor and the same last step."""
    x = overlapping(0)
    start = poor_start(x)
    other = sklearn_fit(x, NUM, start, num_steps, tolerance, floor)
    ours, likelihood = fit_mixture(KEY, x, NUM, num_steps=num_steps, tolerance=tolerance, floor=floor, start=start)
    assert_same(ours, other)
    np.testing.assert_allclose(likelihood, other.score(x), 1e-9)
    assert other.n_iter_ == num_steps or other.converged_


def test_single_precision_holds_far_from_the_origin():
    """Pixels around 1000 with deviations near 1: moments as differences of large squares would be lost."""
    x = (1000 + 10 * overlapping(3)).astype(np.float32)
    start = Mixture(*(np.asarray(a, np.float32) for a in poor_start(x)))
    ours, _ = fit_mixture(KEY, x, NUM, num_steps=8, tolerance=0, start=start)
    assert ours.std.dtype == jnp.float32
    other = sklearn_fit(x.astype(float), NUM, Mixture(*(a.astype(float) for a in start)), 8, 1e-12)
    np.testing.assert_allclose(ours.mean, other.means_, 2e-6)
    np.testing.assert_allclose(ours.std, np.sqrt(other.covariances_), 2e-3)


def test_own_start_finds_clear_clusters():
    """Every cluster of every set: the moments of the samples that were drawn from it."""
    x, which = (np.stack(a) for a in zip(*(draws(seed) for seed in range(6)), strict=True))
    fitted = fit_mixture(KEY, x.reshape(BATCH), NUM)
    ours, likelihood = jax.tree.map(lambda a: a.reshape(6, *a.shape[2:]), fitted)
    for n in range(len(x)):
        order = np.argsort(ours.mean[n, :, 0])[[1, 2, 0]]
        for m, k in enumerate(order):
            own = x[n][which[n] == m]
            np.testing.assert_allclose(ours.weight[n, k], len(own) / SAMPLES, atol=5e-3)
            np.testing.assert_allclose(ours.mean[n, k], own.mean(0), atol=0.02)
            np.testing.assert_allclose(ours.std[n, k], own.std(0), atol=0.02)
        assert likelihood[n] >= sklearn_fit(x[n], seed=n).score(x[n]) - 1e-3


def test_own_start_ends_as_high_as_scikit_learn():
    """On overlapping clusters, where both end in different optima, over 12 sets."""
    x = np.stack([overlapping(seed) for seed in range(12)])
    ours = np.concatenate([fit_mixture(KEY, half.reshape(BATCH), NUM)[1].ravel() for half in (x[:6], x[6:])])
    other = [sklearn_fit(one, seed=n).score(one) for n, one in enumerate(x)]
    assert np.mean(ours) > np.mean(other) - 1e-2
    assert np.quantile(ours - np.asarray(other), 0.2) > -1e-2


def test_batch_equals_one_by_one():
    """Inside and outside of jit and vmap; and fits that end early stay, while others go on to their own end."""
    x = np.stack([overlapping(seed) for seed in range(6)]).reshape(BATCH)
    batch, likelihood = fit_mixture(KEY, x, NUM)
    keys = jax.vmap(lambda i: jax.random.fold_in(KEY, i))(jnp.arange(6))
    mapped, _ = mapped_fit(keys, x.reshape(6, SAMPLES, DIM), jnp.ones((6, SAMPLES)))
    lengths = set()
    for i in range(6):
        place = divmod(i, 3)
        key = jax.random.fold_in(KEY, i)
        one, its_likelihood = fit_mixture(key, x[place], NUM)
        for ours, inside, single in zip(batch, mapped, one, strict=True):
            np.testing.assert_allclose(ours[place], single, 1e-9)
            np.testing.assert_allclose(inside[i], single, 1e-9)
        np.testing.assert_allclose(likelihood[place], its_likelihood, 1e-12)
        start, _ = fit_mixture(key, x[place], NUM, num_steps=0)
        lengths.add(sklearn_fit(x[place], start=Mixture(*map(np.asarray, start))).n_iter_)
    assert len(lengths) > 2


def test_weight_counts_repetitions():
    x = overlapping(6)
    times = np.random.default_rng(0).integers(0, 4, SAMPLES)
    start = poor_start(x)
    ours, likelihood = fit_mixture(KEY, x, NUM, weights=0.1 * times, start=start)
    other = sklearn_fit(np.repeat(x, times, 0), start=start)
    assert_same(ours, other)
    np.testing.assert_allclose(likelihood, other.score(np.repeat(x, times, 0)), 1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fewer_distinct_samples_than_components(dtype):
    """Each distinct sample is one component of deviation sqrt(floor); the rest are dead, and all is finite."""
    points, counts = np.array([[1.25, -2.0], [3.0, 4.0]]), (80, 160)
    x = np.repeat(points, counts, 0).astype(dtype)
    ours, likelihood = fit_mixture(KEY, x, NUM, floor=1e-4)
    check_mixture(ours)
    order = np.argsort(ours.weight)
    np.testing.assert_allclose(ours.weight[order], [0, 1 / 3, 2 / 3], 1e-5)
    assert ours.weight[order[0]] == 0
    np.testing.assert_allclose(ours.mean[order[1:]], points, 1e-6)
    np.testing.assert_allclose(ours.std, 0.01, 1e-3)
    # ln of the shares, and the peak of N(0, 1e-4 I) in two dimensions
    expected = np.log(1 / 3) / 3 + np.log(2 / 3) * 2 / 3 - np.log(2 * np.pi * 1e-4)
    np.testing.assert_allclose(likelihood, expected, 1e-4)


def spread_out(num):
    """`num` copies of TRUTH with a dead component, as independent mixtures."""
    weight = np.append(TRUTH.weight, 0)
    mean, std = (np.concatenate([a, np.full((1, DIM), 99.0)]) for a in TRUTH[1:])
    return Mixture(*(jnp.broadcast_to(a, (num, *a.shape)) for a in (weight, mean, std)))


def test_components_are_drawn_by_weight():
    """Within 4 deviations of the binomial law, the dead one never; and each brings its own mean and deviation."""
    num = 20000
    many = spread_out(num)
    index = draw_component(KEY, many)
    shares = np.bincount(index, minlength=4) / num
    bound = 4 * np.sqrt(TRUTH.weight * (1 - TRUTH.weight) / num)
    assert (abs(shares[:3] - TRUTH.weight) <= bound).all()
    assert shares[3] == 0
    mean, std = take_component(many, index)
    np.testing.assert_array_equal(mean, TRUTH.mean[index])
    np.testing.assert_array_equal(std, TRUTH.std[index])


def test_a_set_without_weight():
    """Refused by name where it can be seen; under jit it is NaN, and its neighbours are what they are alone."""
    x = np.stack([overlapping(seed) for seed in range(6)])
    weights = np.ones((6, SAMPLES))
    weights[4] = 0
    with pytest.raises(ValueError, match=r"weights: needed a sum over S > 0, got 0.0 at \[1, 1\]"):
        fit_mixture(KEY, x.reshape(BATCH), NUM, weights=weights.reshape(BATCH[:-1]))
    keys = jax.random.split(KEY, 6)
    ours, likelihood = mapped_fit(keys, x, weights)
    assert np.isnan(ours.weight[4]).all()
    assert np.isnan(likelihood[4])
    alone, _ = fit_mixture(keys[3], x[3], NUM)
    for a, b in zip(ours, alone, strict=True):
        np.testing.assert_allclose(a[3], b, 1e-9)
