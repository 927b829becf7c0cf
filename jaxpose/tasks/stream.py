"""DiffPose live: one frame in, H poses out, with a state that carries what the next frame starts from.

    window_k = window_(k-1) moved on by one frame      the last F frames, which end with the newest
    (mu_k, features_k) = encoder(window_k), last frame
    x_t = (w r_(k-1) + q n) / (w + q)                  q = sqrt(1 - w^2), at the time t with alpha_t / sigma_t = w / q
    r_k = probability flow of x_t from t to 0          h = mu_k + s r_k, as in tasks/diffpose.py

The noise n of a hypothesis never changes, so it moves as smoothly as its context does and keeps its identity. After
the first frame r_(k-1) and n are no longer independent: in the plain w r + q n their deviations add up, and the spread
of the hypotheses grows by sqrt((1 + w) / (1 - w)), twofold at w = 0.6. Divided by w + q, a standard normal r stays so.

Only the new frame passes the encoder of single frames. The warm start and its constants are ours; the paper has no
stream.
"""

from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Camera, Condition, Hypotheses, Key, Numbers, PredictFn
from jaxpose.compiled import check_shape, check_values, checked
from jaxpose.diffusion import heun, sample, time_grid
from jaxpose.diffusion.sde import SDE, time_at
from jaxpose.geometry.camera import check_pixels
from jaxpose.model import Model, needs
from jaxpose.spaces.person import encode_keypoints
from jaxpose.tasks.diffpose import Encoded, context_of, encoder_input, network_of, one_gaussian
from jaxpose.tasks.draw import spread
from jaxpose.tasks.lift import Sighting, placed
from jaxpose.tasks.samplers import Run, probability_flow

_NEVER = jnp.iinfo(jnp.int32).max // 2  # frames ago that a person was seen, before the first was
_FARTHEST = 8.0  # of r in standard deviations
_LEAST_JOINTS = 2  # the codec's unit is the extent of a person, which one joint does not have


class Stream(NamedTuple):
    """State of a stream of one person; arrays of fixed shape, so it passes through jit, scan and vmap.

    window:   [F, J, C] what the video encoder is shown of the last F frames: u, v, confidence and, where there is an
              encoder of single frames, its pose. F = 1 for a model of single frames.
    missed:   [] int32, frames since one with a person; very large before the first.
    noise:    [H, J, 5] standard normal, of each hypothesis for all time.
    residual: [H, J, 5] the last samples as r = (h - mu) / s.
    last:     the last result, of one row; NaN with weights 0 before the first.
    """

    window: Array
    missed: Array
    noise: Array
    residual: Array
    last: Hypotheses


@needs("stream", "joints")
def start_stream(key: Key, model: Model, *, num_hypotheses: int = 20) -> Stream:
    """A stream that has seen nothing yet; after a cut, or for another person, start again with the same key.

    key: all randomness of the stream: the noise that `draw_poses` of the same key gives to its first row, or to a clip.
    ValueError for a model that is not of DiffPose's paper profile, or num_hypotheses < 1.
    """
    network = network_of(model)
    num_joints = len(model.skeleton.joints)

    def noise(h: Array) -> Array:
        _, noise_key, _ = jax.random.split(jax.random.fold_in(key, h), 3)
        return jax.random.normal(noise_key, (1, num_joints, 5))[0]

    frames = network.window or 1
    channels = 3 if network.video is None or network.frame is None else 6
    row = jnp.full((num_hypotheses, 1, num_joints, 3), jnp.nan)
    unknown = jnp.full((*row.shape[1:], 3), jnp.nan)
    last = Hypotheses(row, row[0], unknown, row[0, ..., 0], jnp.zeros(row.shape[:2]), row[:, :, 0])
    start = jax.vmap(noise)(jnp.arange(num_hypotheses))
    window = jnp.zeros((frames, num_joints, channels))
    return Stream(window, jnp.asarray(_NEVER, jnp.int32), start, jnp.zeros_like(start), last)


@checked
def step_stream(
    model: Model,
    stream: Stream,
    keypoints: Numbers,
    confidence: Numbers | None = None,
    *,
    camera: Camera,
    num_steps: int = 2,
    first_steps: int | None = None,
    warmth: float | Numbers = 0.7,
    max_gap: int | Numbers = 15,
    height: float | Numbers | None = None,
) -> tuple[Hypotheses, Stream]:
    """Poses of the newest frame, `Hypotheses` of one row, and the stream after it; compiled once for a shape.

    keypoints:  [J, 2] pixels in the model's joint set; confidence [J] in [0, 1], 0 where a joint is missing, or None.
    camera:     intrinsics [4] and distortion [5] or None; both may change from frame to frame.
    num_steps:  Heun steps of a frame, two network calls each. first_steps: solver steps of a first frame, which starts
                from noise alone; None: what validation chose.
    warmth:     w in [0, 1), how much of the last sample is kept; 0 starts every frame from noise.
    max_gap:    frames without a person that a stream bridges; after more, the next one is a first frame. The default
                is half a second at 30 fps.
    height:     of the person in metres, as in `lift`.

    A frame without a person (fewer than two joints with confidence > 0 and finite keypoints) repeats the last result,
    flagged by weights of 0, and the last frame's place in the window; before the first person the result is NaN.
    ValueError for a shape that is not as above.
    """
    _check(model, stream, keypoints, confidence, camera)
    if not isinstance(warmth, jax.core.Tracer) and not 0 <= float(warmth) < 1:
        raise ValueError(f"warmth: needed a number in [0, 1), got {warmth}")
    trust = jnp.ones(len(keypoints)) if confidence is None else jnp.asarray(confidence, jnp.float32)
    frame = _Frame(jnp.asarray(keypoints, jnp.float32), trust, camera._replace(size=None), height)
    return _step(model, stream, frame, warmth, max_gap, num_steps=num_steps, first_steps=first_steps)


class _Frame(NamedTuple):
    """A frame as it is given: keypoints [J, 2] px, confidence [J], the camera, and the stature or None."""

    keypoints: Array
    confidence: Array
    camera: Camera
    height: float | Numbers | None


@partial(jax.jit, static_argnames=("num_steps", "first_steps"))
def _step(
    model: Model,
    stream: Stream,
    frame: _Frame,
    warmth: float | Array,
    max_gap: int | Array,
    *,
    num_steps: int,
    first_steps: int | None,
) -> tuple[Hypotheses, Stream]:
    keypoints, trust = frame[:2]
    confidence = jnp.where(jnp.isfinite(keypoints).all(-1) & (trust > 0), trust, 0.0)

    def follow() -> tuple[Hypotheses, Stream]:
        cond, view = encode_keypoints(frame.camera.intrinsics, keypoints, confidence, frame.camera.distortion)
        first, new = stream.missed > max_gap, _row(model, cond)
        window = jnp.where(first, new, jnp.concatenate([stream.window[1:], new[None]]))
        encoded = _newest(model, window)
        component = one_gaussian(encoded, model.params["start"]["residual"])
        given = cond._replace(context=context_of(encoded, component))
        sde, predict = model.spec.sde(), model.predict_fn()
        how: dict[str, Any] = {"num_steps": num_steps, "warmth": warmth}
        r = jax.lax.cond(
            first,
            lambda: _carried(stream.noise, predict, probability_flow(first_steps).run(model.spec, sde), given),
            lambda: draw_next(sde, predict, stream.noise, stream.residual, given, **how),
        )
        states = (component.mean + component.std * r)[:, None, :, 2:]  # the 3D part of h, of one row
        sighting = Sighting(view, keypoints[None], confidence[None], frame.camera, frame.height)
        decoded = placed(model, sighting, states)
        lifted = Hypotheses(decoded.samples, *spread(decoded.samples), decoded.root)
        return lifted, Stream(window, jnp.zeros_like(stream.missed), stream.noise, r, lifted)

    def hold() -> tuple[Hypotheses, Stream]:
        window = jnp.concatenate([stream.window[1:], stream.window[-1:]])
        missed = jnp.minimum(stream.missed + 1, _NEVER)
        held = stream.last._replace(weights=jnp.zeros_like(stream.last.weights))
        return held, stream._replace(window=window, missed=missed)

    return jax.lax.cond((confidence > 0).sum() >= _LEAST_JOINTS, follow, hold)


def draw_next(
    sde: SDE,
    predict_fn: PredictFn,
    noise: Array,
    residual: Array,
    cond: Condition | None = None,
    *,
    num_steps: int = 2,
    warmth: float | Array = 0.7,
) -> Array:
    """Samples r [H, J, 5] that follow on those of the last frame, `residual`, with the noise of their hypotheses.

    Heun steps, even in t: where r has unit spread they keep it within 5 %; as many calls of `dpmpp_2m` on the grid of
    a first frame lose a fifth. There is no last denoising: what is left of the noise at t_min is 1 % of r.
    """
    kept, fresh = jnp.asarray(warmth), jnp.sqrt(1 - jnp.square(warmth))
    below = sde._replace(t_max=time_at(sde, 2 * (jnp.log(kept) - jnp.log(fresh))))
    # an outlier cannot carry itself on: the denoiser was trained on residuals in this range
    x = (kept * jnp.clip(residual, -_FARTHEST, _FARTHEST) + fresh * noise) / (kept + fresh)
    times = time_grid(below, num_steps, "uniform")
    return _carried(x, predict_fn, Run(heun(sde), times, False), cond)


def _carried(x: Array, predict_fn: PredictFn, run: Run, cond: Condition | None) -> Array:
    """States at the end of a probability flow, which needs no key."""
    return sample(jax.random.key(0), x, predict_fn, run.solver, run.times, cond, finish=run.finish)


def _row(model: Model, cond: Condition) -> Array:
    """A frame as the window keeps it, [J, C]."""
    network, keypoints = network_of(model), encoder_input(cond)
    if network.video is None or network.frame is None:
        return keypoints
    return jnp.concatenate([keypoints, _apply(model, keypoints, "frame")[0]], -1)


def _newest(model: Model, window: Array) -> Encoded:
    """The encoder's output for the last frame of a window [F, J, C]."""
    network, keypoints, single = network_of(model), window[-1, :, :3], window[-1, :, 3:]
    if network.video is None:
        return Encoded(*_apply(model, keypoints, "frame"), keypoints)
    pose, features = _apply(model, window, "video")
    return Encoded(pose[-1] + single if network.frame is not None else pose[-1], features[-1], keypoints)


def _apply(model: Model, x: Array, part: str) -> tuple[Array, Array]:
    """Pose and features of one part of the encoder, "frame" or "video"."""
    run = network_of(model).apply(model.params, x, method=lambda net, x: net.encode_part(part, x))
    return cast(tuple[Array, Array], run)


def _check(model: Model, stream: Stream, keypoints: Numbers, confidence: Numbers | None, camera: Camera) -> None:
    num = len(model.skeleton.joints)
    check_shape("keypoints", keypoints, (num, 2), note=f" of one person in the order of {model.skeleton.name}")
    if confidence is not None:
        check_shape("confidence", confidence, (num,), note=" as keypoints")
    check_shape("camera: intrinsics", camera.intrinsics, (4,))
    check_values(check_pixels, keypoints, camera.intrinsics)
    started = f" of {model.spec.name!r}; it was started with another model"
    check_shape("stream: window", stream.window, (network_of(model).window or 1, num, "C"), note=started)
