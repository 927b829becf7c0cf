"""The DPoser regulariser: how far a pose lies from what the prior makes of it after some noise.

    x_t = alpha x0 + sigma z,     L = w(t) |x0 - stop_gradient(x0_hat(x_t, t))|^2

Its gradient 2 w (x0 - x0_hat) points from the pose to the nearest that the prior finds plausible at the scale of the
noise; nothing is propagated back through the network.

    weight         w(t), a / s = alpha / sigma           used by the originals for (spec/dposer.md, section 6)
    unit           1 / 2                                 motion denoising, hand IK
    snr            sqrt(1 + a / s) / 2                   completion, mesh recovery of the first release
    snr_squared    sqrt(1 + (a / s)^2) / 2               mesh recovery later

A schedule says t at step k of S: (key, k, S) -> t. It is a hashable value, so a fit under an equal one is found again.

    truncated        t_max - (t_max - t_min) k / (S - 1)        the paper's; t_max 1 is its "uniform"
    fixed            t

The schedules of the published codes are in tests/originals/recipes/dposer_test.py.
Source: Lu et al., DPoser (2023) and DPoser-X (2025), as described in spec/dposer.md, section 6.
"""

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Key, PredictFn
from jaxpose.diffusion.sde import SDE, perturb

Weight: TypeAlias = Callable[[Array], Array]  # alpha / sigma -> w
Reduction: TypeAlias = Callable[[Array], Array]  # squared errors [..., J, D] -> [...]


def unit(ratio: Array) -> Array:
    """The weight 1 / 2 at every alpha / sigma."""
    return jnp.full_like(ratio, 0.5)


def snr(ratio: Array) -> Array:
    """The weight sqrt(1 + r) / 2 of r = alpha / sigma."""
    return jnp.sqrt(1 + ratio) / 2


def snr_squared(ratio: Array) -> Array:
    """The weight sqrt(1 + r^2) / 2 of r = alpha / sigma."""
    return jnp.sqrt(1 + ratio**2) / 2


def averaged(error: Array) -> Array:
    """The mean [...] over the J D entries of [..., J, D]."""
    return error.mean((-2, -1))


def summed(error: Array) -> Array:
    """The sum [...] over the J D entries of [..., J, D]."""
    return error.sum((-2, -1))


def regulariser(
    key: Key,
    predict_fn: PredictFn,
    sde: SDE,
    x0: Array,
    t: Array,
    *,
    weight: Weight = snr,
    reduction: Reduction = averaged,
) -> Array:
    """L [...] of states x0 [..., J, D] under fresh noise at the scalar time t; poses are not averaged."""
    t = jnp.asarray(t, x0.dtype)
    away = x0 - target(key, predict_fn, sde, x0, t)
    return weight(sde.alpha(t) / sde.sigma(t)) * reduction(jnp.square(away))


def target(key: Key, predict_fn: PredictFn, sde: SDE, x0: Array, t: Array) -> Array:
    """Prediction of states x0 [..., J, D] by the prior under fresh noise at the time t; a constant to gradients."""
    t = jnp.asarray(t, x0.dtype)
    x_t, _ = perturb(key, sde, jax.lax.stop_gradient(x0), t)
    return jax.lax.stop_gradient(predict_fn(x_t, t, None).x0)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """t [] at step k of `total` steps; equal where the function and its numbers are.

    function: (key, k, total, *numbers) -> t, of module level.
    """

    function: Callable[..., Array]
    numbers: tuple[float, ...]

    def __call__(self, key: Key, step: Array, total: int) -> Array:
        """t at this step; `key` is for random times."""
        return self.function(key, step, total, *self.numbers)


def truncated(t_max: float, t_min: float) -> Schedule:
    """Falling linearly over the steps from t_max to t_min, both included (the paper's schedule)."""
    return Schedule(_linear, checked_range(t_max, t_min))


def fixed(t: float) -> Schedule:
    """The same t at every step."""
    return Schedule(_linear, checked_range(t, t))


def _linear(key: Key, step: Array, total: int, t_max: float, t_min: float) -> Array:
    return t_max - (t_max - t_min) * step / max(total - 1, 1)


def checked_range(t_max: float, t_min: float) -> tuple[float, float]:
    """Both times; ValueError unless 0 < t_min <= t_max <= 1."""
    if not 0 < t_min <= t_max <= 1:
        raise ValueError(f"a schedule needs 0 < t_min <= t_max <= 1, got t_max={t_max}, t_min={t_min}")
    return t_max, t_min
