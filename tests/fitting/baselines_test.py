"""Baseline priors against scipy's densities and scikit-learn's EM from the same start."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from jaxpose.fitting import priors as baselines
from jaxpose.fitting.priors import Gaussians, fit_gaussian, fit_mixture, l2_energy

pytestmark = pytest.mark.usefixtures("x64")

DIM, RIDGE = 5, 1e-3


def clusters(seed=0, num=900):
    """Three oblique Gaussians that overlap, far from the origin [num, DIM]."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(3, DIM, DIM)) * 0.5
    which = rng.choice(3, num, p=[0.5, 0.3, 0.2])
    return (
        20 + rng.normal(size=(3, DIM))[which] * 1.5 + np.einsum("nij,nj->ni", roots[which], rng.normal(size=(num, DIM)))
    )


X = clusters()
FLOOR = RIDGE * X.var(0).mean()


def poor_start():
    rng = np.random.default_rng(7)
    return Gaussians(
        np.array([0.2, 0.3, 0.5]), X[rng.choice(len(X), 3)], np.stack([np.eye(DIM) * s for s in (0.5, 1, 3)])
    )


def sklearn_fit(start, num_steps, tolerance=1e-3):
    model = GaussianMixture(
        3,
        max_iter=num_steps,
        tol=tolerance,
        reg_covar=FLOOR,
        weights_init=start.weight,
        means_init=start.mean,
        precisions_init=np.linalg.inv(start.covariance),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X)


def test_gaussian_is_scipy_s_up_to_its_constant():
    got = fit_gaussian(X).energy(X)
    law = stats.multivariate_normal(X.mean(0), np.cov(X.T, bias=True) + FLOOR * np.eye(DIM))
    np.testing.assert_allclose(got, law.logpdf(X.mean(0)) - law.logpdf(X), rtol=1e-7)


@pytest.mark.parametrize(("num_steps", "block"), [(1, 10_000), (1, 100), (60, 250)])
def test_mixture_is_scikit_learn_s_from_the_same_start(monkeypatch, num_steps, block):
    """One step number for number; then until both stop by the same rule. In blocks or at once."""
    monkeypatch.setattr(baselines, "BLOCK", block)
    got = fit_mixture(jax.random.key(0), X, 3, start=poor_start(), num_steps=num_steps)
    model = sklearn_fit(poor_start(), num_steps)
    np.testing.assert_allclose(got.mean, model.means_, rtol=1e-8)
    precision = np.einsum("mde,mfe->mdf", got.whiten, got.whiten)
    np.testing.assert_allclose(precision, model.precisions_, rtol=1e-6, atol=1e-8)
    # energies are densities up to one constant
    shift = np.asarray(got.energy(X)) + model.score_samples(X)
    np.testing.assert_allclose(shift, shift[0], atol=1e-7)
    assert model.converged_ == (num_steps > 1)


def test_own_start_is_as_good_as_scikit_learn_s_best_of_five():
    got = fit_mixture(jax.random.key(0), X, 3, tolerance=1e-6)
    best = GaussianMixture(3, n_init=5, reg_covar=FLOOR, tol=1e-6, max_iter=300, random_state=0).fit(X)
    precision = np.einsum("mde,mfe->mdf", got.whiten, got.whiten)
    peak = np.asarray(got.log_peak) - np.linalg.slogdet(precision)[1] / 2
    weight = np.exp(peak - np.logaddexp.reduce(peak))
    density = np.logaddexp.reduce(
        [
            np.log(w) + stats.multivariate_normal(m, np.linalg.inv(p)).logpdf(X)
            for w, m, p in zip(weight, got.mean, precision, strict=True)
        ]
    )
    assert density.mean() > best.score(X) - 1e-3


def test_one_component_is_the_gaussian():
    mixture = fit_mixture(jax.random.key(0), X, 1)
    for energy in (mixture.energy, mixture.nearest_energy):
        np.testing.assert_allclose(energy(X), fit_gaussian(X).energy(X), rtol=1e-6)


def test_nearest_energy_is_smplify_s():
    """min over m of d' P d / 2 - log(w_m / (sqrt|S_m| / min sqrt|S|)), written out with the covariances."""
    model = sklearn_fit(poor_start(), 20)
    prior = baselines._prior(Gaussians(model.weights_, model.means_, model.covariances_))
    roots = np.sqrt(np.linalg.det(model.covariances_))
    away = X[:, None] - model.means_
    half = np.einsum("nmd,mde,nme->nm", away, model.precisions_, away) / 2
    np.testing.assert_allclose(prior.nearest_energy(X), (half - np.log(model.weights_ / (roots / roots.min()))).min(1))
    gap = np.asarray(prior.nearest_energy(X) - prior.energy(X))
    assert gap.min() >= 0
    assert 0.1 < gap.max() <= np.log(3)
    assert prior.energy(X).min() >= 0


def test_a_coordinate_that_never_moves_costs_as_its_ridge():
    still = np.concatenate([X, np.full((len(X), 1), 0.7)], 1)
    floor = RIDGE * still.var(0).mean()
    gaussian = fit_gaussian(still)
    away = np.concatenate([X.mean(0), [0.7 + 2 * floor**0.5]])
    np.testing.assert_allclose(gaussian.energy(away), 2.0, rtol=1e-6)
    mixture = fit_mixture(jax.random.key(0), still, 3)
    moved = still + np.array([0, 0, 0, 0, 0, 2 * floor**0.5])
    np.testing.assert_allclose(mixture.energy(moved) - mixture.energy(still), 2.0, rtol=1e-6)


def test_fewer_poses_than_modes_leave_dead_ones_that_do_no_harm():
    two = np.repeat([[0.0, 0.0], [1.0, 2.0]], 50, 0)
    mixture = fit_mixture(jax.random.key(0), two, 4)
    slope = jax.grad(lambda x: mixture.energy(x).sum())(jnp.asarray(two + 0.01))
    assert np.isfinite(slope).all()
    np.testing.assert_allclose(mixture.nearest_energy(two), np.log(2), atol=0.01)


def test_energies_are_differentiable_in_a_jit_and_of_any_leading_shape():
    mixture, gaussian = fit_mixture(jax.random.key(0), X, 3), fit_gaussian(X)
    x = jnp.asarray(X[:6].reshape(2, 3, DIM))
    slopes = jax.jit(lambda prior, x: jax.grad(lambda x: prior.energy(x).sum())(x))
    step = 1e-5 * jnp.ones(DIM)
    for prior in (gaussian, mixture):
        rise = (prior.energy(x + step) - prior.energy(x - step)) / 2
        np.testing.assert_allclose((slopes(prior, x) * step).sum(-1), rise, rtol=1e-4, atol=1e-9)
        assert prior.energy(x).shape == (2, 3)
    np.testing.assert_allclose(l2_energy(x), np.linalg.norm(x, axis=-1) ** 2)


@pytest.mark.parametrize("fit", [fit_gaussian, lambda x, **kw: fit_mixture(jax.random.key(0), x, 2, **kw)])
def test_illegal_samples_are_named(fit):
    for x, fault in ((X[0], "shape"), (np.ones((5, 3)), "all alike"), (np.full((5, 3), np.nan), r"at \[0, 0\]")):
        with pytest.raises(ValueError, match=fault):
            fit(x)
    with pytest.raises(ValueError, match="ridge=0"):
        fit(X, ridge=0)


def test_more_components_than_samples_are_refused():
    with pytest.raises(ValueError, match=r"num_components in \[1, 4\]"):
        fit_mixture(jax.random.key(0), X[:4], 8)
