"""Live input: some new frames of a person in, their poses out, as the last window of frames tells them.

A step is `lift` of the last F frames, the network's window, of which the newest L are answered: a frame waits for at
most L - 1 others. The key is the same in every step, and so is the noise of a hypothesis; a model of motions draws the
noise of a frame by its number. So a hypothesis moves as smoothly as what the network is told, and the errors of earlier
frames do not add up.
"""

from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Camera, Hypotheses, Key, Numbers
from jaxpose.compiled import check_shape, check_values, checked
from jaxpose.geometry.camera import check_pixels
from jaxpose.model import Model, needs
from jaxpose.tasks.draw import hypotheses
from jaxpose.tasks.lift import Initial, problem_for
from jaxpose.tasks.samplers import Sampler, stochastic

_LEAST_JOINTS = 2  # the codec's unit is the extent of a person, which one joint does not have
_STEPS = 3  # of a model with a window


@flax.struct.dataclass
class Stream:
    """State of a stream of one person; arrays of fixed shape, so it passes through jit, scan and vmap.

    keypoints [F, J, 2] pixels and confidence [F, J] of the last frames, 0 where there was none.
    key:      of all steps. count: [] int32, frames so far.
    """

    keypoints: Array
    confidence: Array
    key: Key
    count: Array
    num_hypotheses: int = flax.struct.field(pytree_node=False, default=20)


@needs("stream", "joints")
def start_stream(key: Key, model: Model, *, num_hypotheses: int = 20) -> Stream:
    """A stream that has seen nothing yet; after a cut, half a second of nobody, or for another person, start again.

    key: all randomness of the stream. ValueError for a model that does not lift, or num_hypotheses < 1.
    """
    window = (model.spec.network.window or 1, len(model.skeleton.joints))
    return Stream(jnp.zeros((*window, 2)), jnp.zeros(window), key, jnp.zeros((), jnp.int32), num_hypotheses)


@checked
def step_stream(
    model: Model,
    stream: Stream,
    keypoints: Numbers,
    confidence: Numbers | None = None,
    *,
    camera: Camera,
    height: float | Numbers | None = None,
    up: Numbers | None = None,
    sampler: Sampler | None = None,
) -> tuple[Hypotheses, Stream]:
    """Poses of the newest L frames, `Hypotheses` of L rows, and the stream after them; compiled once for a shape.

    keypoints:  [J, 2] pixels of a frame in the model's joint set, or of a model with a window [L, J, 2], L from 1 to
                F - 1, about 1/30 s apart. confidence: [J] or [L, J] in [0, 1], 0 where a joint is missing, or None.
    camera:     intrinsics [4] and distortion [5] or None; both may change from step to step.
    height, up: as in `lift`.
    sampler:    as in `lift`; None: three steps of a model with a window.

    A frame without a person (fewer than two joints with confidence > 0 and finite keypoints) has weights of 0. A model
    of motions draws it from the frames around it; others repeat what the last frame with a person shows, and before the
    first the result is NaN. ValueError for shapes that are not as above, or a stream of another model.
    """
    window, num = model.spec.network.window or 1, len(model.skeleton.joints)
    started = f" of {model.spec.name!r}; it was started with another model"
    check_shape("stream", stream.confidence, (window, num), note=started)
    blocks = (range(1, max(window, 2)), num, 2)
    check_shape("keypoints", keypoints, (num, 2), blocks, note=f" of one person in the order of {model.skeleton.name}")
    check_shape("camera: intrinsics", camera.intrinsics, (4,))
    check_values(check_pixels, keypoints, camera.intrinsics)
    trust = jnp.ones(np.shape(keypoints)[:-1]) if confidence is None else confidence
    check_shape("confidence", trust, np.shape(keypoints)[:-1], note=" as keypoints")
    frames = jnp.asarray(keypoints, jnp.float32).reshape(-1, num, 2), jnp.asarray(trust, jnp.float32).reshape(-1, num)
    given = camera._replace(size=None), height, up
    return _step(model, stream, *frames, given, sampler=sampler or stochastic(_STEPS if window > 1 else None))


@partial(jax.jit, static_argnames="sampler")
def _step(
    model: Model, stream: Stream, keypoints: Array, confidence: Array, given: tuple[Any, ...], *, sampler: Sampler
) -> tuple[Hypotheses, Stream]:
    new, window = len(keypoints), model.spec.network.window
    sure = jnp.where(jnp.isfinite(keypoints).all(-1) & (confidence > 0), confidence, 0)
    keypoints = jnp.concatenate([stream.keypoints, jnp.where(sure[..., None] > 0, keypoints, 0)])[new:]
    sure = jnp.concatenate([stream.confidence, sure])[new:]
    visible = (sure > 0).sum(-1) >= _LEAST_JOINTS
    motion = "motion" in model.capabilities
    if not motion:  # each frame shows the last one with a person, and those before the first show the first
        last = jax.lax.cummax(jnp.where(visible, jnp.arange(len(visible)), -1))
        shown = jnp.where(last < 0, jnp.argmax(visible), last)
        keypoints, sure = keypoints[shown], sure[shown]
    after = Stream(keypoints, sure, stream.key, stream.count + new, stream.num_hypotheses)
    whole = None if motion or window is None else (jnp.arange(window)[None], jnp.ones((1, window), bool))
    last_rows = Initial(windows=whole, newest=new if window else None)
    make = problem_for(model, sampler)
    numbers = after.count + jnp.arange(len(sure)) if motion else None
    problem = make(stream.key, model, keypoints, sure, *given, None, numbers, last_rows)
    drawn = hypotheses(stream.key, model, problem, num=stream.num_hypotheses, sampler=sampler)
    drawn = drawn.of_rows(slice(-new, None))
    known = motion | (sure > 0).any()
    drawn = jax.tree.map(lambda x: jnp.where(known, x, jnp.nan), drawn)
    return drawn._replace(
        weights=jnp.where(visible[-new:], 1 / stream.num_hypotheses, jnp.zeros_like(drawn.weights))
    ), after
