"""Lifting: 2D keypoints in, H plausible 3D poses in metres out.

    keypoints --encode--> condition --H x sample--> states --decode--> root-relative joints --place--> roots

Root depth is not asked for. Metres come from what the model knows of human size, or from a body height that the
user gives; the root is then put where the pose agrees best with the keypoints.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxpose.base import Array, Camera, Condition, Decoded, Hypotheses, Key, Past, Problem
from jaxpose.compiled import filled, size_for, traced
from jaxpose.diffusion.mixture import Mixture
from jaxpose.geometry.skeleton import bone_lengths
from jaxpose.geometry.windows import tile
from jaxpose.model import Model, require
from jaxpose.spaces.keypoints import encode_mixture
from jaxpose.spaces.person import View, decode_pose, encode_pose, place, tell_past, tell_vertical
from jaxpose.tasks.diffpose import START, encode_rows, initial_distribution, pose_states, residual_start, rows_at_once
from jaxpose.tasks.draw import STATIC, check_num, drawn, from_noise, hypotheses
from jaxpose.tasks.motions import is_motion, num_frames, unseen_beyond, windows_of
from jaxpose.tasks.samplers import Sampler
from jaxpose.tasks.typicality import judged

# An ankle's height over the sole as a share of stature: Drillis and Contini (1966), in Winter, Biomechanics, fig. 4.1.
_ANKLE_HEIGHT = 0.039


def lift(
    key: Key,
    model: Model,
    keypoints: Array,
    confidence: Array | None = None,
    *,
    camera: Camera,
    num_hypotheses: int = 200,
    sampler: Sampler | None = None,
    height: float | Array | None = None,
    up: Array | None = None,
    windows: tuple[Array, Array] | None = None,
    past: Array | None = None,
    keypoint_mixture: Mixture | None = None,
    num_components: int = 1,
    depth: str = "encoder",
    chunk: int | None = None,
    return_path: bool = False,
) -> Hypotheses:
    """Draw `num_hypotheses` 3D poses of each 2D detection; compiled once for a shape, and usable inside jit.

    keypoints:  [N, J, 2] pixels in the model's joint set (`joint_sets.convert_joints` brings others to it). To a model
                of motions the rows are one person's frames, 1/30 s apart; unseen ones have confidence 0.
    confidence: [N, J] in [0, 1], 0 where a joint is missing; None: all are trusted.
    camera:     intrinsics [4] or [N, 4] (`camera.intrinsics_from_fov` where they are not known) and distortion; results
                are in the camera's axes, so its place does not matter.
    height:     stature of the person(s) in metres, scalar or [N]; None: what the model has learned.
    up:         [3] or [N, 3] the world's upward direction in camera axes, (0, -1, 0) of a level camera; None: unknown.
                For models with the capability "vertical".
    windows:    for a video model, which rows it sees together: (index [W, F], counted [W, F]) of `windows.tile`. None:
                the rows are the frames of one clip, at about 30 fps.
    past:       [H, K, J, 3], for a model of motions: samples of the first K rows, drawn by an earlier call with another
                key; NaN: none. They stay, and each motion goes on from its own.
    keypoint_mixture: for a DiffPose model, where each keypoint may be: pixels, weight [N, J, M], mean and std
                [N, J, M, 2], as `fit_mixture` finds them in heatmaps. Joints of confidence 0 stay unknown.
    num_components, depth: of a DiffPose model's start H_K, as in `diffpose.initial_distribution`.
    sampler, chunk, return_path: as in `draw`; one `mean_flow()` sample is the single guess.
    """
    check_num(num_hypotheses)
    _check(model, keypoints, confidence, camera)
    given = (keypoints, confidence, camera, height, keypoint_mixture, up)
    if past is not None:
        _check_past(model, past, num_hypotheses, keypoints.shape)
    num, size, window = keypoints.shape[0], num_hypotheses, model.spec.network.window
    if not traced(key, model, given, windows, past):
        if is_motion(model):
            size = num_frames(model, num)
            sure = np.ones(keypoints.shape[:2], np.float32) if confidence is None else confidence
            given = filled(_of_rows(num, (keypoints, sure, *given[2:])), num, size)
            given = (given[0], unseen_beyond(given[1], num), *given[2:])
        elif windows is None:
            given = filled(_of_rows(num, given), num, size_for(num))
            windows = None if window is None else _clip(num, window)  # type: ignore[assignment]  # numpy
        size = size_for(num_hypotheses)
        past = None if past is None else filled(past, num_hypotheses, size)
    how: dict[str, Any] = {"num_components": num_components, "depth": depth, "chunk": chunk, "return_path": return_path}
    return judged(model, drawn(_lift, key, model, (*given, windows, past), size, num_hypotheses, num, sampler, **how))


def problem(
    key: Key,
    model: Model,
    keypoints: Array,
    confidence: Array | None,
    camera: Camera,
    height: Array | float | None = None,
    keypoint_mixture: Mixture | None = None,
    up: Array | None = None,
    windows: tuple[Array, Array] | None = None,
    past: Array | None = None,
    *,
    num_components: int = 1,
    depth: str = "encoder",
) -> Problem:
    """The problem of lifting detections; arguments as of `lift`. key: of a DiffPose model's fitted start alone."""
    _check(model, keypoints, confidence, camera)
    sure = jnp.ones(keypoints.shape[:-1]) if confidence is None else jnp.asarray(confidence, jnp.float32)
    sure = jnp.where(jnp.isfinite(keypoints).all(-1), sure, 0.0)
    cond, view = model.spec.space.see(camera.intrinsics, keypoints, sure, camera.distortion)
    if up is not None:
        require(model, "up", "vertical")
        cond = tell_vertical(cond, view, up / jnp.linalg.norm(up, axis=-1, keepdims=True))
    place_in = (view, keypoints, sure, camera, height)
    if "context" not in model.capabilities:
        if keypoint_mixture is not None or num_components != 1 or depth != "encoder":
            raise ValueError(
                f"keypoint_mixture, num_components and depth are for DiffPose models, got {model.spec.name!r}"
            )
        rows = windows_of(model, keypoints.shape[0])
        if windows is not None and rows is not None:
            raise ValueError(
                f"windows: {model.spec.name!r} is a model of motions, whose rows are the frames of one clip"
            )
        before = None if past is None else _past(model, cond, view, past)
        decode = Partial(_decode, model, *place_in)
        return Problem(from_noise(model, cond.value), decode, cond, windows=rows, past=before, task="lift")
    keypoints_k = None
    if keypoint_mixture is not None:
        _check_mixture(keypoint_mixture, keypoints.shape, camera.distortion)
        keypoints_k = encode_mixture(view, camera.intrinsics, keypoint_mixture)
    encoded = encode_rows(model, cond, windows)
    mixture = initial_distribution(
        jax.random.fold_in(key, START),
        model,
        encoded,
        num_components=num_components,
        keypoints=keypoints_k,
        depth=depth,
    )
    start = residual_start(model, cond, encoded, mixture)
    decode = Partial(_decode, model, *place_in)
    return Problem(start, decode, task="lift", rows_at_once=rows_at_once())


def placed(
    model: Model,
    view: View,
    keypoints: Array,
    confidence: Array,
    camera: Camera,
    height: float | Array | None,
    states: Array,
) -> Decoded:
    """States [H, N, J, 3] in metres and in their place; or paths [H, T+1, N, J, 3], which end with the samples.

    view, keypoints, confidence: that the states were drawn under; confidence is 0 where keypoints are not finite.
    """
    poses = decode_pose(model.statistics, view, states)
    samples = poses[:, -1] if poses.ndim == 5 else poses
    size = jnp.ones(samples.shape[:2]) if height is None else jnp.asarray(height) / stature(samples, model)
    size = size[..., None, None]
    samples = samples * size
    root = place(camera.intrinsics, keypoints, confidence, samples, camera.distortion)
    root = jax.vmap(model.spec.space.fill, (0, None))(root, (confidence > 0).sum(-1) >= 2)
    return Decoded(samples, root, jnp.swapaxes(poses * size[:, None], 0, 1) if poses.ndim == 5 else None)


@partial(jax.jit, static_argnames=(*STATIC, "num_components", "depth"))
def _lift(key, model, *given, num_components, depth, **how):
    *arguments, count = given
    posed = problem(key, model, *arguments, num_components=num_components, depth=depth)
    return hypotheses(key, model, posed, count, **how)


def _decode(
    model: Model,
    view: View,
    keypoints: Array,
    confidence: Array,
    camera: Camera,
    height: Array | float | None,
    states: Array,
    kept: Any,
) -> Decoded:
    states = states if kept is None else pose_states(kept, states)
    return placed(model, view, keypoints, confidence, camera, height, states)


def stature(x: Array, model: Model) -> Array:
    """Standing height [...] metres of poses [..., J, 3]: leg (mean of both), spine and head, laid end to end."""
    if model.skeleton.name != "h36m17":
        raise ValueError(f"stature is defined on h36m17, got a model of {model.skeleton.name}")
    lengths = dict(zip(model.skeleton.joints[1:], jnp.moveaxis(bone_lengths(x, model.skeleton), -1, 0), strict=True))
    thigh, shin = (0.5 * (lengths[f"left_{joint}"] + lengths[f"right_{joint}"]) for joint in ("knee", "ankle"))
    column = lengths["spine"] + lengths["thorax"] + lengths["neck_nose"] + lengths["head"]
    return (thigh + shin + column) / (1 - _ANKLE_HEIGHT)


def _check(model: Model, keypoints: Array, confidence: Array | None, camera: Camera) -> None:
    require(model, "lift", "joints")
    num_joints = len(model.skeleton.joints)
    if keypoints.ndim != 3 or keypoints.shape[1:] != (num_joints, 2):
        raise ValueError(
            f"keypoints: needed [N, {num_joints}, 2] in the order of {model.skeleton.name}, got {keypoints.shape}"
        )
    if confidence is not None and jnp.shape(confidence) != keypoints.shape[:-1]:
        raise ValueError(f"confidence: needed {keypoints.shape[:-1]} as keypoints, got {jnp.shape(confidence)}")
    if jnp.shape(camera.intrinsics) not in ((4,), (keypoints.shape[0], 4)):
        raise ValueError(
            f"camera: needed intrinsics [4] or [{keypoints.shape[0]}, 4], got {jnp.shape(camera.intrinsics)}"
        )


def _past(model: Model, cond: Condition, view: View, x: Array) -> Past:
    """Samples x [H, K, J, 3] metres of the first K rows, as states and as the network's condition."""
    first, looks = jax.tree.map(lambda v: jnp.asarray(v)[: x.shape[1]], (cond, view))
    known = jnp.isfinite(x).all((0, 2, 3))
    x = jnp.where(known[:, None, None], x, 0)
    conditions = jax.vmap(lambda poses: tell_past(first, looks, poses, known))(x)
    return Past(encode_pose(model.statistics, looks, x), conditions, known)


def _check_past(model: Model, past: Array, num: int, shape: tuple[int, ...]) -> None:
    require(model, "past", "motion")
    if past.ndim != 4 or past.shape[0] != num or past.shape[1] > shape[0] or past.shape[2:] != (shape[1], 3):
        needed = [num, f"1..{shape[0]}", shape[1], 3]
        raise ValueError(f"past: needed {needed}, of {num} hypotheses and at most {shape[0]} rows, got {past.shape}")


def _of_rows(num: int, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of `_lift` from keypoints to the vertical, every array with a leading axis N, on the host."""
    keypoints, confidence, camera, height, mixture, up = given

    def each(x: Any, shape: tuple[int, ...]) -> np.ndarray | None:
        return None if x is None else np.broadcast_to(np.asarray(x, np.float32), (num, *shape))

    lens = None if camera.distortion is None else each(camera.distortion, np.shape(camera.distortion)[-1:])
    rows = Camera(each(camera.intrinsics, (4,)), lens)  # type: ignore[arg-type]  # numpy
    return keypoints, confidence, rows, each(height, ()), mixture, each(up, (3,))


def _clip(num: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows of one clip of `num` frames, as `encode_rows` makes them, filled up with windows that do not count."""
    index, counted = tile(np.zeros(num), np.arange(num), length, stride=max(1, length // 3))
    spare = size_for(len(index)) - len(index)
    return np.concatenate([index, index[-1:].repeat(spare, 0)]), np.pad(counted, ((0, spare), (0, 0)))


def _check_mixture(mixture: Mixture, shape: tuple[int, ...], distortion: Array | None) -> None:
    weight, mean, std = mixture
    if mean.ndim != 4 or (*mean.shape[:2], mean.shape[3]) != shape or std.shape != mean.shape:
        raise ValueError(f"keypoint_mixture: needed mean and std {[*shape[:2], 'M', 2]}, got {mean.shape}, {std.shape}")
    if weight.shape != mean.shape[:-1]:
        raise ValueError(f"keypoint_mixture: needed weight {mean.shape[:-1]}, got {weight.shape}")
    if distortion is not None:
        raise ValueError("keypoint_mixture: needed keypoints without distortion, got one")
