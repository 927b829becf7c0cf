"""Denoising score matching for one example; a batch is the caller's vmap over keys and examples.

    loss = w(t) 1/2 sum_{J,D} (eps - eps_hat)^2,    x_t = alpha x0 + sigma eps

The sum over entries with the factor 1/2 is GFPose's (spec, 3.2); for a mean over entries multiply by 2 / (J D).

    weighting           w(t)                          the same as
    "eps"               1                             the plain noise error
    "x0"                sigma^2 / alpha^2             1/2 |x0 - x0_hat|^2
    "min_snr"           min(1, 5 / SNR)               1/2 min(SNR, 5) |x0 - x0_hat|^2   Hang et al. (2023)
    "v"                 (alpha + sigma^2 / alpha)^2   1/2 |v - v_hat|^2                 Salimans and Ho (2022)
    "score_likelihood"  g^2 / sigma^2                 1/2 g^2 |score - score_hat|^2     Song et al. (2021b)
    "edm"               1 + sigma^2 / (alpha s)^2     1/2 |f - f_hat|^2                 Karras et al. (2022)

s, the spread, is the data's standard deviation in each coordinate; only "edm" uses it, and where it is 0 the weight is
0 too.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Example, Key
from jaxpose.diffusion.prediction import ApplyFn, bind
from jaxpose.diffusion.sde import SDE, drift_diffusion, log_snr, perturb, time_at

MIN_SNR_GAMMA = 5.0  # Hang et al. (2023), section 4.1

# key -> scalar time
TimesFn: TypeAlias = Callable[[Key], Array]
# (process, t, spread) -> w(t), the factor of the plain noise error
WeightFn: TypeAlias = Callable[[SDE, Array, Array | float], Array]


def uniform_times(sde: SDE, t_min: float | None = None) -> TimesFn:
    """Training times uniform in [t_min, t_max]; by default the process' own t_min (GFPose: 1e-5)."""
    low = sde.t_min if t_min is None else t_min
    if not 0 < low < sde.t_max:
        raise ValueError(f"uniform_times needs 0 < t_min < {sde.t_max} (the process' t_max), got {low}")
    return lambda key: jax.random.uniform(key, minval=low, maxval=sde.t_max)


def log_snr_times(sde: SDE) -> TimesFn:
    """Training times whose log signal-to-noise ratio is uniform between those of t_max and t_min."""

    def draw(key: Key) -> Array:
        low, high = log_snr(sde, jnp.asarray([sde.t_max, sde.t_min]))
        return time_at(sde, jax.random.uniform(key, minval=low, maxval=high))

    return draw


def _edm(sde: SDE, t: Array, spread: Array | float) -> Array:
    moves = jnp.asarray(spread) > 0
    return jnp.where(moves, 1 + jnp.exp(-log_snr(sde, t)) / jnp.where(moves, spread, 1) ** 2, 0)


WEIGHTINGS: dict[str, WeightFn] = {
    "eps": lambda sde, t, _: jnp.ones_like(t),
    "x0": lambda sde, t, _: jnp.exp(-log_snr(sde, t)),
    "min_snr": lambda sde, t, _: jnp.minimum(1, MIN_SNR_GAMMA * jnp.exp(-log_snr(sde, t))),
    "v": lambda sde, t, _: (sde.alpha(t) + sde.sigma(t) ** 2 / sde.alpha(t)) ** 2,
    "score_likelihood": lambda sde, t, _: drift_diffusion(sde, t)[1] / sde.sigma(t) ** 2,
    "edm": _edm,
}


def next_state(num_steps: int) -> WeightFn:
    """w(t) of 1/2 |x_s - x_s_hat|^2, s one of `num_steps` equal steps before t: DiffPose's loss on h_{k-1}.

    x_s is where the flow carries x_t under a predicted x0: sigma_s / sigma_t x_t + c x0. So the error is that of x0
    times c = alpha_s - sigma_s alpha_t / sigma_t.
    """
    if num_steps < 1:
        raise ValueError(f"next_state needs num_steps >= 1, got {num_steps}")

    def weight(sde: SDE, t: Array, _: Array | float) -> Array:
        s = jnp.maximum(t - sde.t_max / num_steps, 0.0)
        c = sde.alpha(s) - sde.sigma(s) * sde.alpha(t) / sde.sigma(t)
        return jnp.square(c * sde.sigma(t) / sde.alpha(t))

    return weight


def denoising_loss(
    key: Key,
    apply: ApplyFn,
    sde: SDE,
    example: Example,
    *,
    target: str = "eps",
    weighting: str | WeightFn = "eps",
    spread: Array | float = 1.0,
    times: TimesFn | None = None,
    t: Array | None = None,
) -> tuple[Array, dict[str, Array]]:
    """Loss of one example, (scalar, metrics): the weighted squared error of the predicted noise.

    apply:   (x_t, t, cond) -> raw output, parameters closed over; `target`, `spread`: as in `bind`.
    example: x0 [..., J, D] of any shape, and its condition.
    weighting: a name of WEIGHTINGS, or w(t) itself, such as `next_state` makes.
    times:   draws t from a key; `uniform_times(sde)` by default.
    t:       the time itself, where the caller draws it (a stratified batch); `times` is then not called.
    Metrics: "eps_mse" (unweighted, mean over entries), "x0_mse" (squared units of x0).
    """
    if isinstance(weighting, str) and weighting not in WEIGHTINGS:
        raise ValueError(f"denoising_loss: unknown weighting {weighting!r}; must be one of {', '.join(WEIGHTINGS)}")
    weight = WEIGHTINGS[weighting] if isinstance(weighting, str) else weighting
    time_key, noise_key = jax.random.split(key)
    if t is None:
        t = (times or uniform_times(sde))(time_key)
    x0 = example.x0
    t = jnp.asarray(t, x0.dtype)
    x_t, eps = perturb(noise_key, sde, x0, t)
    prediction = bind(apply, sde, target, spread)(x_t, t, example.cond)
    error = jnp.square(prediction.eps - eps)
    metrics = {"eps_mse": error.mean(), "x0_mse": jnp.square(prediction.x0 - x0).mean()}
    return (weight(sde, t, spread) * error).sum() / 2, metrics
