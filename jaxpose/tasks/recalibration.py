"""Recalibration of lifting: the spread of hypotheses is scaled to their error on people left out of training.

    c   = the middle of the posterior, the same for any number H: of a score network, x0 of one call at the process'
          start, from x = 0; of DiffPose, the encoder's pose
    e   = what is known of the case without the truth (EVIDENCE), in units of its spread over the cases fitted on
    x'  = c + exp(v (offset + slope . e)) (x - c)         per joint and axis of the view, about the root

v is the share of joints that are seen, so that where nothing is, nothing changes. The evidence is

    misfit   log of the rms distance, in extents of the person, at which the joints of c reproject from the keypoints:
             how good the keypoints are, which a confidence of 1 does not show
    tilt     1 - cosine of the angle between c's trunk and the upward direction of the view
    trust, seen   mean confidence of the joints that are seen, and their share
    extent   log of the person's extent on the plane z = 1: large where a camera is near

offset and slope come from `evaluation.calibration.fit_spread`, by `python -m experiments.models.recalibrate`.
"""

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Condition, PredictFn
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.model import Model, Recalibration
from jaxpose.spaces.person import Statistics, View, decode_view, place

FARTHEST = 2.5  # in units of the evidence: beyond what was seen in fitting nothing is known
_LEAST_MISFIT = 1e-3  # of the extent
_PLANE = (1.0, 1.0, 0.0, 0.0)  # intrinsics of the plane z = 1


def respread(
    recalibration: Recalibration, statistics: Statistics, cond: Condition, view: View, centre: Array, states: Array
) -> Array:
    """States [H, N, J, 3] of lifting, moved away from or towards the middle [N, J, 3] of their law."""
    share = cond.mask[..., 0].mean(-1)
    signs = evidence(cond, view, decode_view(statistics, centre))
    signs = jnp.clip((signs - recalibration.centre) / recalibration.scale, -FARTHEST, FARTHEST)
    log_factor = recalibration.offset + (signs @ recalibration.slope)[:, None]
    deviation = states - centre
    root = deviation[..., :1, :]
    return centre + root + jnp.exp(share[:, None, None] * log_factor) * (deviation - root)


def middle(model: Model, cond: Condition, predict: PredictFn | None = None) -> Array:
    """Approximate posterior mean [N, J, 3], a state, of a score network under a condition of N rows.

    predict: the network, where rows see each other; None: the model's.
    """
    start = model.spec.times[0] if model.spec.times else model.spec.sde().t_max
    return (predict or model.predict_fn())(jnp.zeros_like(cond.value), jnp.asarray(start, cond.value.dtype), cond).x0


def evidence(cond: Condition, view: View, x_view: Array) -> Array:
    """EVIDENCE [N, K] of poses [N, J, 3] metres in view axes, the middles of what the condition allows.

    cond, view: of `encode_keypoints`. Where fewer than two joints are seen nothing fits badly.
    """
    extent, centre = jnp.asarray(view.extent)[:, None, None], jnp.asarray(view.centre)[:, None]
    num_joints = x_view.shape[1]
    trust = cond.mask[..., 0] if cond.context is None else cond.context[..., :num_joints]
    x = x_view - x_view[:, :1]
    xy = cond.value[..., :2] * extent + centre
    x_placed = x + place(jnp.asarray(_PLANE), xy, trust, x)[:, None]
    away = (x_placed[..., :2] / x_placed[..., 2:] - xy) / extent
    square = (trust * (away**2).sum(-1)).sum(-1) / jnp.maximum(trust.sum(-1), 1e-6)
    enough = (trust > 0).sum(-1) >= 2
    share = (trust > 0).mean(-1)
    trunk = x[:, H36M_17.joints.index("thorax")]
    return jnp.stack(
        [
            jnp.where(enough, 0.5 * jnp.log(jnp.maximum(square, _LEAST_MISFIT**2)), np.log(_LEAST_MISFIT)),
            1 + trunk[:, 1] / jnp.maximum(jnp.linalg.norm(trunk, axis=-1), 1e-6),  # y points down
            trust.sum(-1) / jnp.maximum(num_joints * share, 1e-6),
            share,
            jnp.log(extent[:, 0, 0]),
        ],
        -1,
    )
