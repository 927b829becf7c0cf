"""What each method of `posterior` gets wrong where the posterior is known: a Gaussian prior, and one of two modes.

    python -m experiments.evaluate oracle [--noise=0.5,0.1,0.01] [--hypotheses=500] [--observations=16] [--out=DIR]

Four numbers of oblique covariance, two of them observed with Gaussian noise; every figure is the mean over observations
drawn from the law itself, in units of the posterior's own standard deviations.

    mean     distance of the mean, root mean square over coordinates (0.045 is the noise of 500 independent draws)
    std      standard deviation over the true one, mean over coordinates
    mode     error of the weight of the first of two modes
    ECE      mean over coordinates and levels q of |F(quantile q of the draws) - q|, F the true distribution function
    ESS      the smallest effective number on the way, in percent

pseudo_inverse takes the prior's covariance; "C = 1" that of independent numbers of deviation 1.
"""

import dataclasses
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jax.scipy.stats import multivariate_normal, norm

from experiments.evaluate import harness
from experiments.evaluate.harness import Column, Item, Row, Table
from experiments.options import option
from jaxpose.base import Array, Condition, Key, PredictFn, Prediction
from jaxpose.diffusion import SDE, from_score, vp
from jaxpose.tasks.methods import METHODS, Masked
from jaxpose.tasks.posterior import Observed, Posterior, posterior
from jaxpose.tasks.priors import Prior


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    """Of known posteriors."""

    model: str = option("", "None: the laws are known.")
    noise: tuple[float, ...] = option((0.5, 0.1, 0.01), "Deviations of the observations.", low=0)
    hypotheses: int = option(500, "Draws of each posterior.", low=10)
    observations: int = option(16, "Observations that the figures are means over.", low=1)
    steps: int = option(50, "Solver steps; dposer has its own.", low=1)


_MASK = np.array([[1.0, 0.0], [1.0, 0.0]])
_LEVELS = np.arange(0.05, 1, 0.05)
_METHODS = (
    ("replacement", False),
    ("dps", False),
    ("pseudo_inverse, C = 1", False),
    ("pseudo_inverse", False),
    ("dposer", False),
    ("replacement", True),
    ("dps", True),
    ("pseudo_inverse", True),
)


class Law(NamedTuple):
    """A mixture of Gaussians over n numbers: weights [K], means [K, n], covariances [K, n, n]."""

    weights: Array
    means: Array
    covs: Array


def laws(seed: int) -> dict[str, Law]:
    """Deviations 0.2 to 1 along oblique axes: alone (as two halves), and half or less around two modes."""
    axes, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(4, 4)))
    cov = axes @ np.diag([0.04, 0.2, 0.5, 1.0]) @ axes.T
    one, two = np.zeros((2, 4)), np.array([[-1.0] * 4, [1.0] * 4])
    return {
        "gaussian": Law(*(jnp.asarray(a) for a in ([0.5, 0.5], one, np.stack([cov, cov])))),
        "two modes": Law(*(jnp.asarray(a) for a in ([0.3, 0.7], two, np.stack([cov / 4, cov / 8])))),
    }


def covariance(law: Law) -> Array:
    """Of the whole law [n, n]."""
    away = law.means - law.weights @ law.means
    return jnp.einsum("k,kij->ij", law.weights, law.covs + away[:, :, None] * away[:, None, :])


def predictor(law: Law, sde: SDE) -> PredictFn:
    """The prediction that knows the law, by the gradient of its log density."""

    def predict(x_t: Array, t: Array, cond: Condition | None) -> Prediction:
        alpha, sigma = sde.alpha(t), sde.sigma(t)

        def log_density(x: Array) -> Array:
            covs = alpha**2 * law.covs + sigma**2 * jnp.eye(law.covs.shape[-1])
            each = jax.vmap(partial(multivariate_normal.logpdf, x.ravel()))(alpha * law.means, covs)
            return logsumexp(each, b=law.weights)

        gradient = jax.grad(log_density)
        for _ in x_t.shape[:-2]:
            gradient = jax.vmap(gradient)
        return from_score(sde, x_t, t, gradient(x_t))

    return predict


def conditioned(law: Law, value: Array, noise: Array) -> Law:
    """The law of x given its observed numbers [m] with noise, by the rules of joint Gaussians."""
    matrix = jnp.eye(_MASK.size)[np.flatnonzero(_MASK)]

    def one(mean: Array, cov: Array) -> tuple[Array, Array, Array]:
        joint = matrix @ cov @ matrix.T + noise**2 * jnp.eye(len(matrix))
        gain = jnp.linalg.solve(joint, matrix @ cov).T
        there = jnp.asarray(multivariate_normal.logpdf(value, matrix @ mean, joint))
        return there, mean + gain @ (value - matrix @ mean), cov - gain @ matrix @ cov

    there, means, covs = jax.vmap(one)(law.means, law.covs)
    return Law(jax.nn.softmax(jnp.log(law.weights) + there), means, covs)


def draw(key: Key, law: Law, noise: Array) -> Array:
    """An observation [J, D] of a pose of the law."""
    k_key, x_key, z_key = jax.random.split(key, 3)
    k = jax.random.categorical(k_key, jnp.log(law.weights))
    x = jax.random.multivariate_normal(x_key, law.means[k], law.covs[k])
    return (x + noise * jax.random.normal(z_key, x.shape)).reshape(_MASK.shape)


def figures(truth: Law, found: Posterior) -> dict[str, Array]:
    """One observation's figures."""
    x = found.samples.reshape(len(found.weights), -1)
    mean, true_mean = found.weights @ x, truth.weights @ truth.means
    std = jnp.sqrt(found.weights @ (x - mean) ** 2)
    true_std = jnp.sqrt(jnp.diagonal(covariance(truth)))
    order = jnp.argsort(x, 0)
    heights = jnp.cumsum(found.weights[order], 0)
    places = jax.vmap(lambda h: jnp.searchsorted(h, _LEVELS), 1, 1)(heights)
    quantile = jnp.take_along_axis(jnp.take_along_axis(x, order, 0), jnp.clip(places, 0, len(x) - 1), 0)
    widths = jnp.sqrt(jnp.diagonal(truth.covs, axis1=1, axis2=2))
    reached = jnp.einsum("k,kqd->qd", truth.weights, norm.cdf(quantile, truth.means[:, None], widths[:, None]))
    nearest = jnp.square(x[:, None] - truth.means).sum(-1).argmin(-1)
    return {
        "mean": jnp.sqrt(jnp.square((mean - true_mean) / true_std).mean()),
        "std": (std / true_std).mean(),
        "mode": jnp.abs(found.weights @ (nearest == 0) - truth.weights[0]),
        "ece": jnp.abs(reached - _LEVELS[:, None]).mean(),
        "ess": 100 * found.ess / len(x),
    }


@cache
def runner(name: str, smc: bool, options: Options) -> Callable[[Law, Array, Array], dict[str, Array]]:
    """(law, noise, keys) -> the figures of a method, means over observations; compiled once for all laws and noises."""
    sde, kind = vp(), name.split(",")[0]
    method = METHODS[kind]() if kind == "dposer" else METHODS[kind](options.steps, smc=smc)

    def one(law: Law, noise: Array, key: Key) -> dict[str, Array]:
        prior = Prior(predictor(law, sde), sde, (2, 2), covariance=jnp.eye(4) if "C = 1" in name else covariance(law))
        y_key, key = jax.random.split(key)
        y = draw(y_key, law, noise)
        seen = Observed(y, Masked(jnp.asarray(_MASK)), noise)  # type: ignore[arg-type]  # called by position
        found = posterior(key, prior, seen, method=method, num_hypotheses=options.hypotheses)
        return figures(conditioned(law, y.ravel()[np.flatnonzero(_MASK)], noise), found)

    def mean(law: Law, noise: Array, keys: Array) -> dict[str, Array]:
        return jax.tree.map(lambda v: v.mean(0), jax.vmap(partial(one, law, noise))(keys))

    return jax.jit(mean)


def oracle(model: None, options: Options) -> Iterator[Item]:
    """Rows of (law, noise, method)."""
    del model
    columns: dict[str, Column] = {
        "mean": "mean:.3f",
        "std": "std:.3f",
        "mode": lambda v: "-" if v["law"] == "gaussian" else f"{v['mode']:.3f}",
        "ECE": "ece:.3f",
        "ESS %": "ess:.0f",
    }
    yield Table("law, noise, method", "the law is known exactly", "nothing", columns)
    keys = jax.random.split(jax.random.key(options.seed), options.observations)
    for law_name, law in laws(options.seed).items():
        for noise in options.noise:
            for name, smc in _METHODS:
                if options.wants(name):
                    means = runner(name, smc, options)(law, jnp.asarray(noise), keys)
                    row = {k: float(v) for k, v in means.items()}
                    about = {"law": law_name, "noise": noise, "method": name, "smc": smc}
                    yield Row(f"{law_name}, {noise:g}, {name}{' + smc' if smc else ''}", about | row)
