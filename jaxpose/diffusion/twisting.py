"""Twists: estimates of log p(y | x_t) for a measurement y of a pose, as a value and as a change of the score.

A twist gives log p(y | x_t) and a direction in which it rises. It guides one sampler (`steered`), or weights particles
(`smc.py`), which corrects the error of the estimate. With r = y - A(x0_hat), J the derivative of A at x0_hat, and N the
measurement's noise:

    log N(r; 0, N^2 + J C J'),     change (d x0_hat / d x_t)' J' (N^2 + J C J')^-1 r          (pseudo_inverse)

C = (S^-1 + alpha^2 / sigma^2)^-1 is the covariance of x0 given x_t, for Gaussian data of covariance S: with S = s^2 it
is the r_t^2 of `guidance.py`. So it is exact for Gaussian data and linear A, whatever S, A and N >= 0 are.

`robust` takes the noise for Student's t of so many degrees of freedom: an outlier r_i counts as noise of variance
N_i^2 (d + r_i^2 / (N_i^2 + [J C J']_ii)) / (d + 1).

Source: Song et al., Pseudoinverse-guided diffusion models (ICLR 2023); Wu et al., Practical and asymptotically exact
conditional sampling (NeurIPS 2023) for the name and use; Lange et al., Robust modeling using the t distribution (1989).
"""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jax.scipy.stats import t as student

from jaxpose.base import Array, PredictFn, Prediction
from jaxpose.diffusion.sde import SDE


class Measurement(NamedTuple):
    """Measurement of one pose.

    residual_fn: x0 [J, D] -> [M], observed minus predicted, 0 where nothing was observed.
    noise:       [M] standard deviations >= 0. seen: [M] bool, what was observed.
    robust:      degrees of freedom of Student's t, or None for Gaussian noise.
    """

    residual_fn: Callable[[Array], Array]
    noise: Array
    seen: Array
    robust: float | None = None


class Twist(NamedTuple):
    """prediction: the prior's own at x_t [J, D]; change: of the score, [J, D]; log_value: [] nats."""

    prediction: Prediction
    change: Array
    log_value: Array


# (x_t [J, D], t scalar) -> Twist, for one pose: many are a vmap
TwistFn: TypeAlias = Callable[[Array, Array], Twist]


def log_likelihood(measurement: Measurement, x0: Array) -> Array:
    """log p(y | x0) [] of one pose [J, D], in nats, constants included."""
    return _log_density(measurement, measurement.residual_fn(x0), measurement.noise)


def pseudo_inverse(predict_fn: PredictFn, sde: SDE, measurement: Measurement, covariance: Array) -> TwistFn:
    """The twist of pseudo-inverse guidance for states of covariance [J D, J D].

    One backward pass through the network, the derivative of the measurement, and per call a solve of min(M, J D)
    unknowns. With more entries than the pose has numbers, a noise counts as at least 3e-3 of what x_t leaves open.
    """
    values, axes = jnp.linalg.eigh(covariance)

    def twist(x_t: Array, t: Array) -> Twist:
        def denoised(x_t: Array) -> tuple[Array, Prediction]:
            prediction = predict_fn(x_t, t, None)
            return prediction.x0, prediction

        alpha, sigma = sde.alpha(t), sde.sigma(t)
        x0, pull, prediction = jax.vjp(denoised, x_t, has_aux=True)
        residual = measurement.residual_fn(x0)
        many = len(residual) > x0.size
        derivative = jax.jacfwd if many else jax.jacrev
        slope = -derivative(measurement.residual_fn)(x0).reshape(len(residual), -1)
        # rounding makes the eigenvalues of what never moves negative
        spread = jnp.maximum(values, 0)
        scale = sigma * jnp.sqrt(spread / (alpha**2 * spread + sigma**2))
        factor = jnp.matmul(slope, axes, precision="highest") * scale
        noise = _effective_noise(measurement, residual, jnp.square(factor).sum(-1))
        if many:
            z, log_value = _solve_many(residual, factor, noise, measurement.seen)
            pulled = jnp.matmul(axes, jnp.where(scale > 0, z / jnp.where(scale > 0, scale, 1), 0), precision="highest")
        else:
            solved, log_value = _solve(residual, factor, noise, measurement.seen)
            pulled = jnp.matmul(solved, slope, precision="highest")
        if measurement.robust is not None:
            log_value = _log_density(measurement, residual, jnp.sqrt(measurement.noise**2 + jnp.square(factor).sum(-1)))
        (change,) = pull(pulled.reshape(x0.shape))
        return Twist(prediction, change, log_value)

    return twist


def steered(sde: SDE, twist: Twist, t: Array) -> Prediction:
    """The prior's prediction at t [J, D] with the full change of the twist."""
    alpha, sigma = sde.alpha(t), sde.sigma(t)
    x0, eps, score = twist.prediction
    change = twist.change
    return Prediction(x0 + sigma**2 / alpha * change, eps - sigma * change, score + change)


def _log_density(measurement: Measurement, residual: Array, scale: Array) -> Array:
    scale = jnp.where(measurement.seen, scale, 1)
    if measurement.robust is None:
        each = norm.logpdf(residual, scale=scale)
    else:
        each = student.logpdf(residual, measurement.robust, scale=scale)
    return jnp.where(measurement.seen, each, 0).sum()


def _effective_noise(measurement: Measurement, residual: Array, open_variance: Array) -> Array:
    """Noise [M] that a Gaussian needs to weigh each entry as Student's t does."""
    if measurement.robust is None:
        return measurement.noise
    degrees, variance = measurement.robust, measurement.noise**2
    total = jnp.where(measurement.seen, variance + open_variance, 1)
    return jnp.sqrt(variance * (degrees + residual**2 / total) / (degrees + 1))


@jax.default_matmul_precision("highest")
def _solve(residual: Array, factor: Array, noise: Array, seen: Array) -> tuple[Array, Array]:
    """(N^2 + F F')^-1 r and log N(r; 0, N^2 + F F'), by Cholesky at unit diagonal: units and noises may differ."""
    covariance = factor @ factor.T + jnp.diag(noise**2)
    scale = jnp.sqrt(jnp.maximum(jnp.where(seen, jnp.diagonal(covariance), 1), jnp.finfo(residual.dtype).tiny))
    correlation = covariance / scale[:, None] / scale
    # more entries than the pose has numbers, all nearly exact, are singular in single precision
    jitter = 10 * jnp.finfo(residual.dtype).eps + jnp.where(seen, 0, 1)
    lower = jnp.linalg.cholesky(correlation + jnp.diag(jitter))
    whitened = jax.scipy.linalg.solve_triangular(lower, residual / scale, lower=True)
    solved = jax.scipy.linalg.solve_triangular(lower, whitened, lower=True, trans=1) / scale
    log_scales = jnp.where(seen, jnp.log(scale) + jnp.log(jnp.diagonal(lower)) + math.log(2 * math.pi) / 2, 0).sum()
    return solved, -jnp.square(whitened).sum() / 2 - log_scales


@jax.default_matmul_precision("highest")
def _solve_many(residual: Array, factor: Array, noise: Array, seen: Array) -> tuple[Array, Array]:
    """z = F' (N^2 + F F')^-1 r, and log N(r; 0, N^2 + F F'), for more entries M than columns D of F.

    By the Woodbury identity z minimises |(r - F z) / N|^2 + |z|^2, which has D unknowns.
    """
    noise = jnp.maximum(noise, 3e-3 * jnp.sqrt(jnp.square(factor).sum(-1)))
    weight = jnp.where(seen, 1 / jnp.maximum(noise, jnp.finfo(residual.dtype).tiny), 0)
    whitened = factor * weight[:, None]
    lower = jnp.linalg.cholesky(whitened.T @ whitened + jnp.eye(factor.shape[1], dtype=factor.dtype))
    z = jax.scipy.linalg.cho_solve((lower, True), whitened.T @ (weight * residual))
    # one step of refinement: what the squares lost in single precision, some percent of z on some processors
    z = z + jax.scipy.linalg.cho_solve((lower, True), whitened.T @ (weight * residual - whitened @ z) - z)
    left = weight * residual - whitened @ z
    log_scales = jnp.log(jnp.diagonal(lower)).sum() - jnp.where(seen, jnp.log(jnp.where(seen, weight, 1)), 0).sum()
    log_scales += seen.sum() * math.log(2 * math.pi) / 2
    return z, -(jnp.square(left).sum() + jnp.square(z).sum()) / 2 - log_scales
