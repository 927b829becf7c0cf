"""The DPoser regulariser: how far a pose lies from what the prior makes of it after some noise.

    x_t = alpha x0 + sigma z,     L = w(t) |x0 - stop_gradient(x0_hat(x_t, t))|^2

Its gradient 2 w (x0 - x0_hat) points from the pose to the nearest that the prior finds plausible at the scale of the
noise; nothing is propagated back through the network. One function serves every task: the weight, the reduction and
the schedule of t are arguments.

    weight            w(t), a / s = alpha / sigma           used by the originals for (spec/dposer.md, section 6)
    "unit"            1 / 2                                 motion denoising, hand IK
    "snr"             sqrt(1 + a / s) / 2                   completion, mesh recovery of the first release
    "snr_squared"     sqrt(1 + (a / s)^2) / 2               mesh recovery later

A schedule says t at step k of S: (key, k, S) -> t.

    truncated         t_max - (t_max - t_min) k / (S - 1)                        the paper's; "uniform" is 1 to t_min
    truncated_range   t_min + (t_max - t_min) (S - k - 1) / S                    the second code's: never at t_max
    truncated_index   node N - floor((S - k - 1) N / (trunc S)) - c of N falling from 1 to 1e-3      the first code's
    uniform_random    U(t_min, t_max), new at every step
    fixed             t

Source: Lu et al., DPoser (2023) and DPoser-X (2025), as described in spec/dposer.md, section 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Condition, Key, PredictFn, Prediction
from jaxpose.diffusion.prediction import from_x0
from jaxpose.diffusion.sde import SDE, perturb

# (key, step k scalar, total steps S) -> t scalar
ScheduleFn: TypeAlias = Callable[[Key, Array, int], Array]

# name -> w of alpha / sigma
WEIGHTS: dict[str, Callable[[Array], Array]] = {
    "unit": lambda ratio: jnp.full_like(ratio, 0.5),
    "snr": lambda ratio: jnp.sqrt(1 + ratio) / 2,
    "snr_squared": lambda ratio: jnp.sqrt(1 + ratio**2) / 2,
}
REDUCTIONS: dict[str, Callable[[Array], Array]] = {
    "mean": lambda error: error.mean((-2, -1)),
    "sum": lambda error: error.sum((-2, -1)),
}


def regulariser(
    key: Key, predict_fn: PredictFn, sde: SDE, x0: Array, t: Array, *, weight: str = "snr", reduction: str = "mean"
) -> Array:
    """L [...] of states x0 [..., J, D] under fresh noise at the scalar time t.

    weight: "unit", "snr" or "snr_squared"; reduction: "mean" or "sum" over the J D entries. Poses are not averaged.
    """
    for name, value, legal in (("weight", weight, WEIGHTS), ("reduction", reduction, REDUCTIONS)):
        if value not in legal:
            raise ValueError(f"regulariser: {name} {value!r}; legal are {', '.join(legal)}")
    t = jnp.asarray(t, x0.dtype)
    x_t, _ = perturb(key, sde, jax.lax.stop_gradient(x0), t)
    target = jax.lax.stop_gradient(predict_fn(x_t, t, None).x0)
    w = WEIGHTS[weight](sde.alpha(t) / sde.sigma(t))
    return w * REDUCTIONS[reduction](jnp.square(x0 - target))


def denoised_in_steps(predict_fn: PredictFn, sde: SDE, num_steps: int, last: float = 0.1) -> PredictFn:
    """The opinion after `num_steps` deterministic steps (DDIM) from t to last * t, evenly in t; 1 is predict_fn's own.

    DPoser's second code estimates the clean pose in 10 steps for mesh recovery; its paper finds 1 better.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps: needed at least 1, got {num_steps}")
    if num_steps == 1:
        return predict_fn

    def predict(x_t: Array, t: Array, cond: Condition | None) -> Prediction:
        times = t * jnp.linspace(1.0, last, num_steps + 1)

        def step(x: Array, pair: Array) -> tuple[Array, None]:
            opinion = predict_fn(x, pair[0], cond)
            return sde.alpha(pair[1]) * opinion.x0 + sde.sigma(pair[1]) * opinion.eps, None

        x, _ = jax.lax.scan(step, x_t, jnp.stack([times[:-1], times[1:]], -1))
        return from_x0(sde, x_t, t, predict_fn(x, times[-1], cond).x0)

    return predict


def truncated(t_max: float, t_min: float) -> ScheduleFn:
    """Falling linearly over the steps from t_max to t_min, both included (the paper's schedule)."""
    _check_range(t_max, t_min)
    return lambda key, step, total: t_max - (t_max - t_min) * step / max(total - 1, 1)


def truncated_range(t_max: float, t_min: float) -> ScheduleFn:
    """Falling linearly to t_min from one step below t_max (the second and third code's schedule)."""
    _check_range(t_max, t_min)
    return lambda key, step, total: t_min + (t_max - t_min) * (total - step - 1) / total


def truncated_index(num: int, trunc: float, last: int) -> ScheduleFn:
    """The first code's: falling from about 1 / trunc to about last / num through nodes of linspace(1, 1e-3, num)."""
    if not (num >= 2 and trunc >= 1 and 1 <= last < num):
        raise ValueError(f"truncated_index needs num >= 2, trunc >= 1, 1 <= last < num; got {num}, {trunc}, {last}")
    nodes = np.linspace(1.0, 1e-3, num)

    def schedule(key: Key, step: Array, total: int) -> Array:
        index = num - jnp.floor((total - step - 1) * (num / (trunc * total))).astype(int) - last
        return jnp.asarray(nodes)[jnp.clip(index, 0, num - 1)]

    return schedule


def uniform_random(t_max: float = 1.0, t_min: float = 1e-3) -> ScheduleFn:
    """A new t from U(t_min, t_max) at every step."""
    _check_range(t_max, t_min)
    return lambda key, step, total: jax.random.uniform(key, minval=t_min, maxval=t_max)


def fixed(t: float) -> ScheduleFn:
    """The same t at every step."""
    _check_range(t, t)
    return lambda key, step, total: jnp.asarray(t)


def _check_range(t_max: float, t_min: float) -> None:
    if not 0 < t_min <= t_max <= 1:
        raise ValueError(f"a schedule needs 0 < t_min <= t_max <= 1, got t_max={t_max}, t_min={t_min}")
