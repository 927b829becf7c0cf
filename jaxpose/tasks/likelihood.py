"""Log density of hypotheses under a lifting model, given the keypoints they were drawn from.

    log p(X | keypoints) = log_likelihood(state of X, condition) + constant        (diffusion/likelihood.py)

The exact trace costs a derivative for each of 51 numbers at every call. To compare hypotheses of one pose, one probe
will do, if all of them share it: its error is then nearly the same for all and drops out of their weights.
"""

from functools import partial

import jax

from jaxpose.base import Array, Key
from jaxpose.diffusion import time_grid
from jaxpose.diffusion.likelihood import log_likelihood
from jaxpose.model import Model, require
from jaxpose.spaces.person import encode_keypoints, encode_pose

_ROWS = 2048  # poses in flight at once


@partial(jax.jit, static_argnames=("num_steps", "num_probes"))
def lifted_log_density(
    key: Key,
    model: Model,
    samples: Array,
    keypoints: Array,
    confidence: Array,
    *,
    intrinsics: Array,
    distortion: Array | None = None,
    num_steps: int = 4,
    num_probes: int | None = 1,
) -> Array:
    """Log density [H, N] in nats of the model's state, of hypotheses of N detections: comparable within a detection.

    Compiled once for a shape.

    samples:    [H, N, J, 3] metres in camera axes, wherever they stand; as `Lifted.samples`, without a given height.
    keypoints, confidence, intrinsics, distortion: as in `lift`; what is not finite must have confidence 0.
    num_steps:  of the flow, four network calls each. num_probes: as in `log_likelihood`, shared by the hypotheses of a
                pose; None: the exact trace.
    ValueError for a model that is not one network of the person-centred codec.
    """
    require(model, "lifted_log_density", "joints", "score")
    cond, view = encode_keypoints(intrinsics, keypoints, confidence, distortion)
    states = encode_pose(model.statistics, view, samples)
    sde, predict_fn = model.spec.sde(), model.predict_fn()
    times = time_grid(sde, num_steps, model.spec.spacing)
    probe_key = None if num_probes is None else key

    def of_one(state: Array) -> Array:
        return log_likelihood(sde, predict_fn, state, times, cond, key=probe_key, num_probes=num_probes)

    return jax.lax.map(of_one, states, batch_size=max(1, min(len(states), _ROWS // states.shape[1])))
