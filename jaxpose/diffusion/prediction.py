"""Conversion of a network's output to a prediction of x0, eps and score.

    x_t = alpha x0 + sigma eps,    score = -eps / sigma,    v = alpha eps - sigma x0

Given x_t, any one of them fixes the others, under every process.

Where the coordinates of x0 have different standard deviations s ("spread"), a network with inputs and targets of unit
size puts out f ("edm"), with r^2 = alpha^2 s^2 + sigma^2 the variance of x_t:

    input x_t / r,    x0 = (alpha s^2 / r^2) x_t + (sigma s / r) f

For s = 1 under VP this is f = -v.

Source: Song et al. (2021); Salimans and Ho, Progressive distillation (2022) for v; Karras et al., EDM (2022), table 1.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Condition, PredictFn, Prediction
from jaxpose.diffusion.sde import SDE

# (x_t [..., J, D], t scalar, condition) -> raw output like x_t: a network with its parameters closed over.
ApplyFn: TypeAlias = Callable[[Array, Array, Condition | None], Array]


def from_x0(sde: SDE, x_t: Array, t: Array, x0: Array) -> Prediction:
    """Prediction at x_t [..., J, D], scalar t, given x0 of the same shape."""
    sigma = sde.sigma(t)
    eps = (x_t - sde.alpha(t) * x0) / sigma
    return Prediction(x0, eps, -eps / sigma)


def from_eps(sde: SDE, x_t: Array, t: Array, eps: Array) -> Prediction:
    """Prediction at x_t [..., J, D], scalar t, given the unit noise eps of the same shape."""
    sigma = sde.sigma(t)
    return Prediction((x_t - sigma * eps) / sde.alpha(t), eps, -eps / sigma)


def from_score(sde: SDE, x_t: Array, t: Array, score: Array) -> Prediction:
    """Prediction at x_t [..., J, D], scalar t, given the score (gradient of the log density) of the same shape."""
    return from_eps(sde, x_t, t, -sde.sigma(t) * score)._replace(score=score)


def from_v(sde: SDE, x_t: Array, t: Array, v: Array) -> Prediction:
    """Prediction at x_t [..., J, D], scalar t, given v = alpha eps - sigma x0 of the same shape."""
    alpha, sigma = sde.alpha(t), sde.sigma(t)
    scale = alpha**2 + sigma**2
    eps = (sigma * x_t + alpha * v) / scale
    return Prediction((alpha * x_t - sigma * v) / scale, eps, -eps / sigma)


def from_edm(sde: SDE, x_t: Array, t: Array, f: Array, spread: Array | float) -> Prediction:
    """Prediction at x_t [..., J, D], scalar t, given f: x0 is the best linear estimate plus (sigma s / r) f."""
    alpha, sigma = sde.alpha(t), sde.sigma(t)
    variance = (alpha * spread) ** 2 + sigma**2
    x0 = alpha * spread**2 / variance * x_t + sigma * spread / jnp.sqrt(variance) * f
    return from_x0(sde, x_t, t, x0)


# what a network was trained to put out -> its three views
TARGETS: dict[str, Callable[[SDE, Array, Array, Array], Prediction]] = {
    "eps": from_eps,
    "x0": from_x0,
    "v": from_v,
    "score": from_score,
}


def bind(apply: ApplyFn, sde: SDE, target: str = "eps", spread: Array | float = 1.0) -> PredictFn:
    """The PredictFn of a network under a process; target: its output, "eps", "x0", "v", "score" or "edm".

    spread: standard deviation of the data, broadcasting to [..., J, D]; for "edm" only.
    """
    if target != "edm" and target not in TARGETS:
        raise ValueError(f"bind: unknown target {target!r}; must be one of {', '.join(TARGETS)}, edm")

    def predict(x_t: Array, t: Array, cond: Condition | None) -> Prediction:
        # a bfloat16 network must not lower the state's precision
        if target != "edm":
            return TARGETS[target](sde, x_t, t, apply(x_t, t, cond).astype(x_t.dtype))
        unit = x_t / jnp.sqrt((sde.alpha(t) * spread) ** 2 + sde.sigma(t) ** 2)
        return from_edm(sde, x_t, t, apply(unit, t, cond).astype(x_t.dtype), spread)

    return predict


def over_windows(predict_fn: PredictFn, sde: SDE, index: Any, share: Any, most: float) -> PredictFn:
    """The predictions of a network of windows for all N frames of a motion, in agreement where windows overlap.

    index: [W, F] rows of each window; share: [W, F], summing to 1 over the places of a row. So overlapping windows have
    one state and one prediction of x0 (Bar-Tal et al., MultiDiffusion, ICML 2023), of numbers of at most `most`.
    """

    def predict(x: Array, t: Array, cond: Condition | None) -> Prediction:
        of_windows = None if cond is None else jax.tree.map(lambda v: v[index], cond)
        x0 = predict_fn(x[index], t, of_windows).x0 * share[..., None, None]
        return from_x0(sde, x, t, jnp.clip(jnp.zeros_like(x).at[index].add(x0), -most, most))

    return predict


def blend(weight: float | Array, first: Prediction, second: Prediction) -> Prediction:
    """first + weight (second - first) for x0, eps and score: consistent, as the three are related linearly."""
    return jax.tree.map(lambda a, b: a + jnp.asarray(weight, a.dtype) * (b - a), first, second)
