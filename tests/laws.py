"""Oracles: data laws whose score, denoiser and probability flow are known at every time.

For data sum_k w_k N(m_k, S_k) the state has the law sum_k w_k N(alpha m_k, C_k), C_k = alpha^2 S_k + sigma^2.
With one component every step of a solver is affine in x, so its law after any number of steps is known
exactly (`propagate`): no sampling error stands between a solver and its claim.
"""

import functools
from typing import NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxpose.base import Prediction
from jaxpose.diffusion import from_betas, solvers, sub_vp, time_grid, ve, vp

SHAPE = (2, 2)  # J, D
BETAS = np.linspace(1e-3, 0.3, 50)
PROCESSES = {"ve": ve(), "vp": vp(), "sub_vp": sub_vp(), "from_betas": from_betas(BETAS)}


@functools.cache
def grid(process: str, num_steps: int) -> np.ndarray:
    """The log-SNR grid of a process, computed once for all tests, in double precision."""
    with jax.enable_x64(True):
        return np.asarray(jax.jit(lambda: time_grid(PROCESSES[process], num_steps, "log_snr"))())


class Law(NamedTuple):
    """A Gaussian mixture over [J, D]; covariances by their eigenvalues and eigenvectors (n = J D)."""

    weights: np.ndarray  # [K]
    means: np.ndarray  # [K, J, D]
    values: np.ndarray  # [K, n]
    vectors: np.ndarray  # [K, n, n], columns

    @property
    def covs(self) -> np.ndarray:
        return np.einsum("kij,kj,klj->kil", self.vectors, self.values, self.vectors)


def mixture(weights, means, covs) -> Law:
    values, vectors = np.linalg.eigh(np.asarray(covs, np.float64))
    return Law(np.asarray(weights, np.float64), np.asarray(means, np.float64), values, vectors)


def gaussian(mean, cov) -> Law:
    return mixture([1.0], np.asarray(mean)[None], np.asarray(cov)[None])


def correlated(seed: int = 0) -> Law:
    """A Gaussian over SHAPE with standard deviations 0.2 to 1 along oblique axes."""
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    return gaussian(rng.normal(size=SHAPE), axes @ np.diag([0.04, 0.2, 0.5, 1.0]) @ axes.T)


def two_modes() -> Law:
    """Weights 0.3 and 0.7 on two well separated modes over SHAPE."""
    means = np.stack([np.full(SHAPE, -1.0), np.full(SHAPE, 1.0)])
    return mixture([0.3, 0.7], means, np.stack([np.eye(4) * 0.04, np.diag([0.02, 0.05, 0.02, 0.05])]))


def oracle(law: Law, sde):
    """The PredictFn that knows the law: x0 the posterior mean, score the gradient of the log density."""
    num, n = law.values.shape
    einsum = functools.partial(jnp.einsum, precision="highest")  # it knows the law on every device

    def predict(x_t, t, cond=None) -> Prediction:
        alpha, sigma = sde.alpha(t), sde.sigma(t)
        means, values, vectors = (jnp.asarray(a, x_t.dtype) for a in law[1:])
        variance = alpha**2 * values + sigma**2
        away = x_t.reshape(*x_t.shape[:-2], 1, n) - alpha * means.reshape(num, n)
        along = einsum("...ki,kij->...kj", away, vectors)
        log_density = (
            jnp.asarray(np.log(law.weights), x_t.dtype) - (along**2 / variance + jnp.log(variance)).sum(-1) / 2
        )
        share = jax.nn.softmax(log_density, -1)[..., None]
        x0 = means.reshape(num, n) + einsum("...kj,kij->...ki", along * alpha * values / variance, vectors)
        score = -einsum("...kj,kij->...ki", along / variance, vectors)
        x0, score = ((share * view).sum(-2).reshape(x_t.shape).astype(x_t.dtype) for view in (x0, score))
        return Prediction(x0, -sigma * score, score)

    return predict


def marginal(law: Law, sde, t):
    """(mean [n], covariance [n, n]) of x_t for a law of one component."""
    alpha, sigma = np.float64(sde.alpha(t)), np.float64(sde.sigma(t))
    return alpha * law.means[0].ravel(), alpha**2 * law.covs[0] + sigma**2 * np.eye(law.values.shape[1])


def flow(law: Law, sde, x_t, t, s):
    """Where the probability flow carries x_t [..., J, D] from t to s, for a law of one component."""
    spread = [sde.alpha(u) ** 2 * law.values[0] + sde.sigma(u) ** 2 for u in (t, s)]
    linear = law.vectors[0] * np.sqrt(spread[1] / spread[0]) @ law.vectors[0].T
    away = (x_t - sde.alpha(t) * law.means[0]).reshape(*x_t.shape[:-2], -1)
    return sde.alpha(s) * law.means[0] + (away @ linear.T).reshape(x_t.shape)


def propagate(solver, predict, max_steps: int):
    """Exact law of a solver with affine steps: (x [J, D], cov [n, n], times [T+1]) -> (x, cov).

    x goes without noise (its path is the mean's); cov gathers what is carried on and the noise of each step.
    The solver's draws are replaced by inputs, and what they do is read off by differentiation. Compiled once
    for every T up to max_steps.
    """
    key = jax.random.key(0)

    @jax.jit
    def run(x, cov, times, num):
        flat, unravel = ravel_pytree((x, solver.init(x)))
        n, m = x.size, flat.size

        def move(both, t, s):
            draws = iter(both[m:].reshape(2, *x.shape))
            with mock.patch.object(solvers, "_normal", side_effect=lambda key, x: next(draws)):
                after = ravel_pytree(solver.step(key, *unravel(both[:m]), t, s, predict))[0]
            return after, after

        def step(i, carry):
            flat, cov = carry
            both = jnp.concatenate([flat, jnp.zeros(2 * n, flat.dtype)])
            by, after = jax.jacfwd(move, has_aux=True)(both, times[i], times[i + 1])
            return after, by[:, :m] @ cov @ by[:, :m].T + by[:, m:] @ by[:, m:].T

        cov = jnp.zeros((m, m), x.dtype).at[:n, :n].set(cov)
        flat, cov = jax.lax.fori_loop(0, num, step, (flat, cov))
        return unravel(flat)[0], cov[:n, :n]

    def call(x, cov, times):
        padded = np.concatenate([times, np.zeros(max_steps + 1 - len(times))])
        return run(jnp.asarray(x), jnp.asarray(cov), padded, len(times) - 1)

    return call
