"""Lifting: 2D keypoints in, H plausible 3D poses in metres out.

    keypoints --encode--> condition --H x sample--> states --decode--> root-relative joints --place--> roots

Root depth is not asked for. Metres come from what the model knows of human size, or from a body height that the
user gives; the root is then put where the pose agrees best with the keypoints.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxpose.base import Array, Camera, Condition, Decoded, Hypotheses, Key, Numbers, Problem
from jaxpose.compiled import check_shape, check_values, filled, traced
from jaxpose.diffusion.mixture import Mixture
from jaxpose.geometry import measures
from jaxpose.geometry.camera import check_pixels
from jaxpose.geometry.skeleton import mirror, other_side
from jaxpose.model import Model, needs, require
from jaxpose.spaces.keypoints import encode_mixture
from jaxpose.spaces.person import View, decode_pose, place, tell_evidence, tell_vertical
from jaxpose.tasks.diffpose import START, encode_rows, initial_distribution, pose_states, residual_start, rows_at_once
from jaxpose.tasks.draw import drawn, from_noise
from jaxpose.tasks.samplers import Sampler
from jaxpose.tasks.typicality import judged

LEAST_JOINTS = 4  # visible joints that a person needs
# option -> capability of the models that it is for
_FOR = {"up": "vertical"}
_FOR |= dict.fromkeys(("windows", "keypoint_mixture", "num_components", "depth"), "context")


@needs("lift", "joints")
def lift(
    key: Key,
    model: Model,
    keypoints: Numbers,
    confidence: Numbers | None = None,
    *,
    camera: Camera,
    num_hypotheses: int = 200,
    sampler: Sampler | None = None,
    height: float | Numbers | None = None,
    up: Numbers | None = None,
    evidence: Numbers | None = None,
    windows: tuple[Array, Array] | None = None,
    numbers: Numbers | None = None,
    keypoint_mixture: Mixture | None = None,
    num_components: int = 1,
    depth: str = "encoder",
    chunk: int | None = None,
    return_path: bool = False,
) -> Hypotheses:
    """Draw `num_hypotheses` 3D poses of each 2D detection; compiled once for a shape, and usable inside jit.

    By `stochastic` and a model such as `pose17`, every second one is of the detection's mirror image, turned back.

    keypoints:  [N, J, 2] pixels in the model's joint set (`joint_sets.convert_joints` brings others to it). To a model
                of motions the rows are one person's frames, 1/30 s apart; unseen ones have confidence 0.
    confidence: [N, J] in [0, 1], 0 where a joint is missing; None: all are trusted.
    camera:     intrinsics [4] or [N, 4] (`camera.intrinsics_from_fov` where they are not known) and distortion; results
                are in the camera's axes, so its place does not matter.
    height:     stature of the person(s) in metres, scalar or [N]; None: what the model has learned.
    up:         [3] or [N, 3] the world's upward direction in camera axes, (0, -1, 0) of a level camera; None: unknown.
                For models with the capability "vertical".
    evidence:   [N, J, E] pixels, of what else tells of a joint's error: first how far two networks, or one network and
                its mirrored image, read it from each other; NaN: not known. A model takes as much as it was trained on.
    windows:    for a video model, which rows it sees together: (index [W, F], counted [W, F]) of `windows.tile`. None:
                the rows are the frames of one clip, at about 30 fps.
    numbers:    [N] whole numbers, on which alone the noise of each row depends: of the people, so that a hypothesis is
                one motion of each; to a model of motions of the frames, so that calls with one key whose frames
                overlap draw the same motions as far as they see the same. None: each row has its own noise.
    keypoint_mixture: for a DiffPose model, where each keypoint may be: pixels, weight [N, J, M], mean and std
                [N, J, M, 2], as `fit_mixture` finds them in heatmaps. Joints of confidence 0 stay unknown.
    num_components, depth: of a DiffPose model's start H_K, as in `diffpose.initial_distribution`.
    sampler, chunk, return_path: as in `draw`; one `mean_flow()` sample is the single guess.
    """
    check_detections(model, keypoints, confidence, camera)
    if height is not None:
        check_shape("height", height, (), keypoints.shape[:1])
    if numbers is not None:
        check_shape("numbers", numbers, keypoints.shape[:1], low=-(2**31), high=2**31 - 1)
    if up is not None:
        check_shape("up", up, (3,), (keypoints.shape[0], 3))
    if evidence is not None:
        check_shape("evidence", evidence, (*keypoints.shape[:2], "E"), note=" as keypoints")
    initial = Initial(keypoint_mixture, num_components, depth)
    given: tuple[Any, ...] = (keypoints, confidence, camera, height, up, evidence, numbers, initial)
    num = keypoints.shape[0]
    if not traced(key, model, given, windows) and windows is None:
        given = _of_rows(num, model.rows_for(num), given)
        windows = model.spec.space.clip(num, model.spec.network.window)  # type: ignore[assignment]  # numpy
    given = (*given[:-1], given[-1].replace(windows=windows))
    how: dict[str, Any] = {"chunk": chunk, "return_path": return_path}
    pose = problem_for(model, sampler)
    return judged(model, drawn(pose, key, model, given, num_hypotheses, num, sampler, **how))


def problem_for(model: Model, sampler: Sampler | None) -> Callable[..., Problem]:
    """`problem`, or `mirrored_problem` where half of the hypotheses are of the mirror image."""
    ours = sampler is None or sampler.calibrated
    alone = {"context", "motion"} & model.capabilities  # DiffPose's encoder takes the mean of both sides itself
    return mirrored_problem if ours and not alone else problem


@flax.struct.dataclass
class Initial:
    """Source of a DiffPose model's start H_K, and its windows; as of `lift`, by default one Gaussian of the encoder.

    newest: how many of the last rows are drawn; None: all.
    """

    keypoint_mixture: Mixture | None = None
    num_components: int = flax.struct.field(pytree_node=False, default=1)
    depth: str = flax.struct.field(pytree_node=False, default="encoder")
    windows: tuple[Array, Array] | None = None
    newest: int | None = flax.struct.field(pytree_node=False, default=None)


class Sighting(NamedTuple):
    """Detections as they are seen: keypoints [N, J, 2] px, confidence [N, J], 0 where these are not finite; stature."""

    view: View
    keypoints: Array
    confidence: Array
    camera: Camera
    height: Numbers | float | None


@needs("lift", "joints")
def problem(
    key: Key,
    model: Model,
    keypoints: Array,
    confidence: Array | None,
    camera: Camera,
    height: Array | float | None = None,
    up: Array | None = None,
    evidence: Array | None = None,
    numbers: Array | None = None,
    initial: Initial | None = None,
) -> Problem:
    """The problem of lifting detections; arguments as of `lift`. key: of a DiffPose model's fitted start alone."""
    check_detections(model, keypoints, confidence, camera)
    initial = initial or Initial()
    options: dict[str, Any] = {"up": up, "windows": initial.windows}
    options |= {"keypoint_mixture": initial.keypoint_mixture}
    options |= {"num_components": initial.num_components != 1 or None, "depth": initial.depth != "encoder" or None}
    for name in [name for name, value in options.items() if value is not None]:
        require(model, name, _FOR[name])
    sure = jnp.ones(keypoints.shape[:-1]) if confidence is None else jnp.asarray(confidence, jnp.float32)
    sure = jnp.where(jnp.isfinite(keypoints).all(-1), sure, 0.0)
    cond, view = model.spec.space.see(camera.intrinsics, keypoints, sure, camera.distortion)
    if up is not None:
        cond = tell_vertical(cond, view, up / jnp.linalg.norm(up, axis=-1, keepdims=True))
    sighting = Sighting(view, keypoints, sure, camera, height)
    if "context" in model.capabilities:
        return _of_diffpose(key, model, cond, sighting, initial, numbers)
    if evidence is not None:
        cond = tell_evidence(cond, view, camera.intrinsics, evidence, model.spec.context)
    decode = Partial(_decode, model, sighting)
    return Problem(from_noise(model, cond.value, numbers), decode, cond, task="lift")


def mirrored_problem(
    key: Key,
    model: Model,
    keypoints: Array,
    confidence: Array | None,
    camera: Camera,
    height: Array | float | None = None,
    up: Array | None = None,
    evidence: Any = None,
    numbers: Array | None = None,
    *others: Any,
) -> Problem:
    """The problem of lifting detections, rows 2 n, and their mirror images, rows 2 n + 1; arguments as of `problem`.

    The network errs differently on both sides of a mirror: the mean of both errs less (docs/uncertainty.md).
    """
    num, side, sign = keypoints.shape[0], other_side(model.skeleton), jnp.array([-1.0, 1.0, 1.0])
    intrinsics = jnp.broadcast_to(camera.intrinsics, (num, 4))

    def both(x: Any, shape: tuple[int, ...], mirror: Callable[[Array], Array] = lambda x: x) -> Any:
        if x is None:
            return None
        x = jnp.broadcast_to(x, (num, *shape))
        return jnp.stack([x, mirror(x)], 1).reshape(-1, *shape)

    def sides(x: Array) -> Array:
        return x[:, side]

    def across(x: Array) -> Array:
        return x[:, side] * jnp.array([-1.0, 1.0]) + intrinsics[:, None, 2:3] * jnp.array([2.0, 0.0])

    lens = both(camera.distortion, (5,), lambda x: x * jnp.array([1.0, 1.0, 1.0, -1.0, 1.0]))
    detections = both(keypoints, keypoints.shape[1:], across), both(confidence, (len(side),), sides)
    options = both(height, ()), both(up, (3,), lambda x: sign * x), both(evidence, np.shape(evidence)[1:], sides)
    others = both(numbers, (), jnp.bitwise_not), *others
    whole = problem(key, model, *detections, Camera(both(intrinsics, (4,)), lens), *options, *others)
    return dataclasses.replace(whole, merge=Partial(merged, model))


def merged(model: Model, poses: Decoded) -> Decoded:
    """Poses of draws [h] of N detections and their mirror images as those of hypotheses [2 h] of the detections."""

    def turns(x: Array, axis: int, back: Callable[[Array], Array]) -> Array:
        each = jnp.moveaxis(x.reshape(*x.shape[:axis], -1, 2, *x.shape[axis + 1 :]), axis + 1, 1)
        return jnp.stack([each[:, 0], back(each[:, 1])], 1).reshape(-1, *each.shape[2:])

    back = partial(mirror, skeleton=model.skeleton)
    root = None if poses.root is None else turns(poses.root, 1, lambda x: x * jnp.array([-1.0, 1.0, 1.0]))
    path = None if poses.path is None else turns(poses.path, 2, back)
    return Decoded(turns(poses.samples, 1, back), root, path)


def _of_diffpose(
    key: Key, model: Model, cond: Condition, sighting: Sighting, initial: Initial, numbers: Array | None
) -> Problem:
    keypoints, how = None, {"num_components": initial.num_components, "depth": initial.depth}
    if initial.keypoint_mixture is not None:
        _check_mixture(initial.keypoint_mixture, sighting.keypoints.shape, sighting.camera.distortion)
        keypoints = encode_mixture(sighting.view, sighting.camera.intrinsics, initial.keypoint_mixture)
    encoded = encode_rows(model, cond, initial.windows)
    if initial.newest is not None:
        newest = slice(-initial.newest, None)
        cond, encoded, shown = jax.tree.map(lambda x: x[newest], (cond, encoded, sighting[:3]))
        sighting = Sighting(shown[0], shown[1], shown[2], sighting.camera, sighting.height)
    key = jax.random.fold_in(key, START)
    mixture = initial_distribution(key, model, encoded, keypoints=keypoints, **how)  # type: ignore[arg-type]  # of two types
    start = residual_start(model, cond, encoded, mixture, numbers=numbers)
    decode = Partial(_decode, model, sighting)
    return Problem(start, decode, task="lift", rows_at_once=rows_at_once())


def placed(model: Model, sighting: Sighting, states: Array) -> Decoded:
    """States [H, N, J, 3] in metres and in their place; or paths [H, T+1, N, J, 3], which end with the samples."""
    view, keypoints, confidence, camera, height = sighting
    poses = decode_pose(model.statistics, view, states)
    samples = poses[:, -1] if poses.ndim == 5 else poses
    size = jnp.ones(samples.shape[:2]) if height is None else jnp.asarray(height) / stature(samples, model)
    size = size[..., None, None]
    samples = samples * size
    root = place(camera.intrinsics, keypoints, confidence, samples, camera.distortion)
    root = jax.vmap(model.spec.space.fill, (0, None))(root, (confidence > 0).sum(-1) >= 2)
    return Decoded(samples, root, poses * size[:, None] if poses.ndim == 5 else None)


def _decode(model: Model, sighting: Sighting, states: Array, kept: Any) -> Decoded:
    return placed(model, sighting, states if kept is None else pose_states(kept, states))


def stature(x: Array, model: Model) -> Array:
    """Standing height [...] metres of poses [..., J, 3], of `measures.stature`; ValueError for other joints."""
    if model.skeleton.name != "h36m17":
        raise ValueError(f"stature is defined on h36m17, got a model of {model.skeleton.name}")
    return measures.stature(x)


def check_detections(model: Model, keypoints: Numbers, confidence: Numbers | None, camera: Camera) -> None:
    """ValueError naming what is wrong with the arguments of `lift`, as far as values are known."""
    shape, num = ("N", len(model.skeleton.joints), 2), keypoints.shape[0]
    check_shape("keypoints", keypoints, shape, note=f" in the order of {model.skeleton.name}")
    if confidence is not None:
        check_shape("confidence", confidence, keypoints.shape[:-1], note=" as keypoints")
    check_shape("camera: intrinsics", camera.intrinsics, (4,), (num, 4))
    if camera.distortion is not None:
        check_shape("camera: distortion", camera.distortion, (5,), (num, 5))
    check_values(check_pixels, keypoints, camera.intrinsics)


def _of_rows(num: int, size: int, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """The first arguments of `problem` on the host, every array filled up from N to `size`.

    Rows that only fill up are not seen: of a motion they are frames.
    """
    keypoints, confidence, camera, height, up, evidence, numbers, initial = given

    def each(x: Any, shape: tuple[int, ...]) -> np.ndarray | None:
        return None if x is None else np.broadcast_to(np.asarray(x, np.float32), (num, *shape))

    lens = None if camera.distortion is None else each(camera.distortion, np.shape(camera.distortion)[-1:])
    rows = Camera(each(camera.intrinsics, (4,)), lens)  # type: ignore[arg-type]  # numpy
    sure = np.ones(keypoints.shape[:2], np.float32) if confidence is None else confidence
    optional = each(height, ()), each(up, (3,)), each(evidence, np.shape(evidence)[1:])
    keypoints, sure, *others = filled((keypoints, sure, rows, *optional, numbers, initial), num, size)
    sure = np.where((np.arange(size) < num)[:, None], np.asarray(sure, np.float32), np.float32(0))
    return keypoints, sure, *others


def _check_mixture(mixture: Mixture, shape: tuple[int, ...], distortion: Numbers | None) -> None:
    weight, mean, std = mixture
    check_shape("keypoint_mixture: mean", mean, (*shape[:2], "M", 2))
    check_shape("keypoint_mixture: std", std, mean.shape)
    check_shape("keypoint_mixture: weight", weight, mean.shape[:-1])
    if distortion is not None:
        raise ValueError("keypoint_mixture: needed keypoints without distortion, got one")
