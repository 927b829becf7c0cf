"""Energies of Gaussians against scipy's densities."""

import jax
import numpy as np
from scipy.stats import multivariate_normal

from experiments.evaluate.gaussians import fit_mixture


def test_one_is_the_gaussian_of_the_samples():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3)) + 2
    law = multivariate_normal(x.mean(0), np.cov(x.T, bias=True) + 1e-3 * x.var(0).mean() * np.eye(3))
    expected = law.logpdf(law.mean) - law.logpdf(x)
    np.testing.assert_allclose(jax.jit(fit_mixture(x))(x), expected, rtol=1e-3, atol=1e-4)


def test_several_have_the_energy_of_the_nearest_mode():
    rng = np.random.default_rng(0)
    middle, std, share = np.array([[0.0, 0], [20, 0]]), np.array([1.0, 2.0]), np.array([0.7, 0.3])
    which = rng.choice(2, 20000, p=share)
    x = middle[which] + std[which, None] * rng.normal(size=(20000, 2))
    away = ((x[:, None] - middle) ** 2).sum(-1) / std**2 / 2
    peak = np.log(share) - 2 * np.log(std)
    expected = (away - (peak - np.max(-2 * np.log(std)))).min(-1)
    np.testing.assert_allclose(fit_mixture(x, 2)(x), expected, rtol=0.1, atol=0.1)
