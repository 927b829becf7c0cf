"""Motions live: some new frames in, their poses in H motions out, each of which goes on from its own past.

A block of L frames is drawn together with the F - L frames before it, which stay as they were drawn. So a frame waits
for at most L - 1 others, and every hypothesis is one motion for as long as the stream lasts.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Camera, Hypotheses, Key, Numbers
from jaxpose.compiled import check_shape, check_values, checked
from jaxpose.geometry.camera import check_pixels
from jaxpose.model import Model, needs
from jaxpose.tasks.lift import lift
from jaxpose.tasks.samplers import Sampler, stochastic


class MotionStream(NamedTuple):
    """State of a stream of one person; arrays of fixed shape, so it passes through jit, scan and vmap.

    keypoints [F, J, 2] pixels and confidence [F, J] of the last F frames, 0 where there was none.
    samples:  [H, F, J, 3] metres, as they were drawn; NaN before the first frame.
    key:      of all steps. count: [] int32, steps so far.
    """

    keypoints: Array
    confidence: Array
    samples: Array
    key: Key
    count: Array  # type: ignore[assignment]  # hides tuple.count, which nothing uses


@needs("stream", "motion")
def start_motions(key: Key, model: Model, *, num_hypotheses: int = 20) -> MotionStream:
    """A stream that has seen nothing yet; after a cut, or for another person, start again.

    ValueError for a model that is not one of motions, or num_hypotheses < 1.
    """
    window = (model.spec.network.window, len(model.skeleton.joints))
    samples = jnp.full((num_hypotheses, *window, 3), jnp.nan)
    return MotionStream(jnp.zeros((*window, 2)), jnp.zeros(window), samples, key, jnp.zeros((), jnp.int32))


@checked
def step_motions(
    model: Model,
    stream: MotionStream,
    keypoints: Numbers,
    confidence: Numbers | None = None,
    *,
    camera: Camera,
    height: float | Numbers | None = None,
    up: Numbers | None = None,
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
    needed = f" of {model.spec.name!r}; it was started with another model"
    check_shape("stream", stream.confidence, (model.spec.network.window or 0, len(model.skeleton.joints)), note=needed)
    check_shape("keypoints", keypoints, (range(1, length), num_joints, 2))
    check_values(check_pixels, keypoints, camera.intrinsics)
    trust = jnp.ones(len(keypoints)) if confidence is None else confidence
    check_shape("confidence", trust, np.shape(keypoints)[:2], note=" as keypoints")
    trust = jnp.asarray(trust, jnp.float32)
    options = {"camera": camera._replace(size=None), "height": height, "up": up}
    keypoints = jnp.asarray(keypoints, jnp.float32)
    return _step(model, stream, keypoints, trust, options, sampler=sampler or stochastic(3))


@partial(jax.jit, static_argnames="sampler")
def _step(
    model: Model,
    stream: MotionStream,
    keypoints: Array,
    confidence: Array,
    options: dict[str, Any],
    *,
    sampler: Sampler,
) -> tuple[Hypotheses, MotionStream]:
    num = len(keypoints)
    sure = jnp.where(jnp.isfinite(keypoints).all(-1), confidence, 0)
    keypoints = jnp.concatenate([stream.keypoints[num:], jnp.where(sure[..., None] > 0, keypoints, 0)])
    sure = jnp.concatenate([stream.confidence[num:], sure])
    past, key = stream.samples[:, num:], jax.random.fold_in(stream.key, stream.count)
    how: dict[str, Any] = {"num_hypotheses": len(past), "sampler": sampler, "past": past, **options}
    newest = lift(key, model, keypoints, sure, **how).of_rows(slice(-num, None))
    samples = jnp.concatenate([past, newest.samples], 1)
    return newest, MotionStream(keypoints, sure, samples, stream.key, stream.count + 1)
