"""Motions live: some new frames in, their poses in H motions out, each of which goes on from its own past.

A block of L frames is drawn together with the F - L frames before it, which stay as they were drawn. So a frame waits
for at most L - 1 others, and every hypothesis is one motion for as long as the stream lasts.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Camera, Hypotheses, Key
from jaxpose.model import Model, require
from jaxpose.tasks.draw import check_num
from jaxpose.tasks.lift import lift
from jaxpose.tasks.samplers import Sampler, stochastic


class MotionStream(NamedTuple):
    """What a stream of one person knows; arrays of fixed shape, so it passes through jit, scan and vmap.

    keypoints [F, J, 2] pixels and confidence [F, J] of the last F frames, 0 where there was none.
    samples:  [H, F, J, 3] metres, as they were drawn; NaN before the first frame.
    key:      of all steps. count: [] int32, steps so far.
    """

    keypoints: Array
    confidence: Array
    samples: Array
    key: Key
    count: Array  # type: ignore[assignment]  # hides tuple.count, which nothing uses


def start_motions(key: Key, model: Model, *, num_hypotheses: int = 20) -> MotionStream:
    """A stream that has seen nothing yet; after a cut, or for another person, start again.

    ValueError for a model that is not one of motions, or num_hypotheses < 1.
    """
    require(model, "stream", "motion")
    check_num(num_hypotheses)
    window = (model.spec.network.window, len(model.skeleton.joints))
    samples = jnp.full((num_hypotheses, *window, 3), jnp.nan)
    return MotionStream(jnp.zeros((*window, 2)), jnp.zeros(window), samples, key, jnp.zeros((), jnp.int32))


def step_motions(
    model: Model,
    stream: MotionStream,
    keypoints: Array,
    confidence: Array | None = None,
    *,
    camera: Camera,
    height: float | Array | None = None,
    up: Array | None = None,
    sampler: Sampler | None = None,
) -> tuple[Hypotheses, MotionStream]:
    """Poses of the newest L frames, and the stream after them; compiled once for a shape.

    keypoints:  [L, J, 2] pixels in the model's joint set, L from 1 to F - 1, about 1/30 s apart. confidence: [L, J] in
                [0, 1]; a frame without a person has 0 in all joints, and gets its pose from those around it.
    camera:     intrinsics [4] and distortion [5] or None. height, up: as in `lift`.
    sampler:    as in `lift`; None: three steps.

    ValueError for shapes that are not as above, or a stream of another model.
    """
    length, num_joints = stream.confidence.shape
    if (model.spec.network.window, len(model.skeleton.joints)) != (length, num_joints):
        raise ValueError(
            f"stream: started with a model of {length} frames of {num_joints} joints, not {model.spec.name!r}"
        )
    keypoints = jnp.asarray(keypoints, jnp.float32)
    if keypoints.shape[1:] != (num_joints, 2) or not 1 <= len(keypoints) < length:
        raise ValueError(f"keypoints: needed [1..{length - 1}, {num_joints}, 2], got {list(keypoints.shape)}")
    trust = jnp.ones(keypoints.shape[:2]) if confidence is None else jnp.asarray(confidence, jnp.float32)
    if trust.shape != keypoints.shape[:2]:
        raise ValueError(f"confidence: needed {list(keypoints.shape[:2])} as keypoints, got {list(trust.shape)}")
    return _step(
        model, stream, keypoints, trust, camera._replace(size=None), height, up, sampler=sampler or stochastic(3)
    )


@partial(jax.jit, static_argnames="sampler")
def _step(
    model: Model,
    stream: MotionStream,
    keypoints: Array,
    confidence: Array,
    camera: Camera,
    height: float | Array | None,
    up: Array | None,
    *,
    sampler: Sampler,
) -> tuple[Hypotheses, MotionStream]:
    num = len(keypoints)
    sure = jnp.where(jnp.isfinite(keypoints).all(-1), confidence, 0)
    keypoints = jnp.concatenate([stream.keypoints[num:], jnp.where(sure[..., None] > 0, keypoints, 0)])
    sure = jnp.concatenate([stream.confidence[num:], sure])
    past, key = stream.samples[:, num:], jax.random.fold_in(stream.key, stream.count)
    how = {"num_hypotheses": len(past), "sampler": sampler, "height": height, "up": up, "past": past}
    result = lift(key, model, keypoints, sure, camera=camera, **how)  # type: ignore[arg-type]  # of many types
    last_rows = slice(-num, None)
    assert result.root is not None, "what is lifted has a place"
    newest = Hypotheses(
        result.samples[:, last_rows],
        result.mean[last_rows],
        result.covariance[last_rows],
        result.radius_90[last_rows],
        result.weights[:, last_rows],
    )
    newest = newest._replace(root=result.root[:, last_rows])
    samples = jnp.concatenate([past, newest.samples], 1)
    return newest, MotionStream(keypoints, sure, samples, stream.key, stream.count + 1)
