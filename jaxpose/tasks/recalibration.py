"""Recalibration: the spread of hypotheses is scaled to their error on validation data.

    c   = x0 of one network call at the process' start, from x = 0: the posterior's middle, the same for any number H
    u   = log of the rms distance, in extents of the person, at which the joints of c reproject from the keypoints
    x'  = c + exp(v (offset + slope (u - u_0))) (x - c)         per joint and axis of the view, about the root

v is the share of joints that are seen, so that where nothing is, nothing changes. u says how good the keypoints are,
which a confidence of 1 does not: the model was trained on a detector that is never exact, and on exact keypoints its
hypotheses are nearly twice too wide along the image. offset and slope come from `evaluation.calibration.fit_spread`, by
`python -m experiments.jobs.recalibrate`.
"""

import jax.numpy as jnp

from jaxpose.base import Array, Condition
from jaxpose.model import Model, Recalibration
from jaxpose.spaces.person import View, decode_view, place

# u_0 and how far u counts: the middle and the range of what exact and detected keypoints of validation give.
MISFIT, MISFIT_RANGE = -3.4, 0.8
_PLANE = (1.0, 1.0, 0.0, 0.0)  # intrinsics of the plane z = 1


def respread(model: Model, cond: Condition, view: View, states: Array, recalibration: Recalibration) -> Array:
    """States [H, N, J, 3] of lifting, moved away from or towards the middle of their law; one network call."""
    centre = middle(model, cond)
    seen = cond.mask[..., 0].mean(-1)
    level = misfit(cond, view, decode_view(model.statistics, centre))
    log_factor = recalibration.offset + recalibration.slope * level[:, None, None]
    deviation = states - centre
    root = deviation[..., :1, :]
    return centre + root + jnp.exp(seen[:, None, None] * log_factor) * (deviation - root)


def middle(model: Model, cond: Condition) -> Array:
    """Approximate posterior mean [N, J, 3], a state, of the model under a condition of N rows."""
    start = model.spec.times[0] if model.spec.times else model.spec.sde().t_max
    return model.predict_fn()(jnp.zeros_like(cond.value), jnp.asarray(start, cond.value.dtype), cond).x0


def misfit(cond: Condition, view: View, x_view: Array) -> Array:
    """u - u_0 [N] of poses [N, J, 3] metres in view axes, within +- MISFIT_RANGE; 0 where fewer than 2 are seen.

    cond, view: of `encode_keypoints`.
    """
    extent, centre = jnp.asarray(view.extent)[:, None, None], jnp.asarray(view.centre)[:, None]
    trust = cond.mask[..., 0] if cond.context is None else cond.context
    x = x_view - x_view[:, :1]
    xy = cond.value[..., :2] * extent + centre
    placed = x + place(jnp.asarray(_PLANE), xy, trust, x)[:, None]
    away = (placed[..., :2] / placed[..., 2:] - xy) / extent
    square = (trust * (away**2).sum(-1)).sum(-1) / jnp.maximum(trust.sum(-1), 1e-6)
    level = jnp.clip(0.5 * jnp.log(jnp.maximum(square, 1e-12)) - MISFIT, -MISFIT_RANGE, MISFIT_RANGE)
    return jnp.where((trust > 0).sum(-1) >= 2, level, 0.0)
