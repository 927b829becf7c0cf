"""Fusion: keypoints of one person in several calibrated cameras in, many 3D poses in their world out.

Each moment is a posterior: the model's law of poses, known to nothing, times how well a pose fits the keypoints of all
cameras at once (`observations.py`, `posterior.py`); errors that cameras share are added to its draws (`systematic.py`).
One camera is legal too, and leaves the depth open.
"""

import functools
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Camera, Hypotheses, Key, Numbers
from jaxpose.compiled import check_shape, check_values
from jaxpose.geometry.axes import vertical
from jaxpose.geometry.camera import check_pixels
from jaxpose.model import Model, needs
from jaxpose.tasks import observations, systematic
from jaxpose.tasks.blocks import Block, Drawn, even, gather, result_of
from jaxpose.tasks.draw import spread
from jaxpose.tasks.methods import METHODS, Method
from jaxpose.tasks.posterior import posterior
from jaxpose.tasks.priors import Prior, fitted, prior_of

STEPS = 25  # chosen on the walker: in four cameras and in one, error and spread are those of 50 steps within 3 %
# Degrees of freedom of Student's t, of 1, 3 and none chosen on the walker: every fifth frame of its videos by BlazePose
# is 68, 52 and 91 mm from the triangulation, and of OpenPose's keypoints 21, 18 and 11.
_DEGREES = 3.0
_METHODS = ("pseudo_inverse",)
_SHARED = 1 << 30  # folded into the run's key, beyond any number of a block: of the errors that all moments share
_MOMENTS = 8  # worked on at once: a line of progress every few seconds


class Views(NamedTuple):
    """One person at F moments in C cameras.

    xy: [F, C, J, 2] px and confidence [F, C, J] in the model's joints. cameras: [C] with their places in the world.
    up: the world's axis that points up. noise_px: [F, C, J] of the keypoints. errors: those that the cameras share.
    """

    xy: np.ndarray
    confidence: np.ndarray
    cameras: Camera
    up: str
    noise_px: np.ndarray
    errors: systematic.Systematic


def views_of(
    model: Model,
    keypoints: np.ndarray,
    confidence: np.ndarray,
    cameras: Camera,
    *,
    up: str = "z",
    noise_px: float | None = None,
    offset: float | None = None,
) -> Views:
    """The keypoints with the noise and the shared errors that they are taken to have.

    noise_px, offset: as in `fuse`; a noise that was given is not enlarged.
    """
    xy, sure = jnp.asarray(keypoints), jnp.asarray(confidence)
    if noise_px is None:
        noise = np.asarray(observations.keypoint_noise_px(xy, sure))
    else:
        noise = np.asarray(observations.confidence_noise(sure, noise_px))
    usual = systematic.joint_offsets(model.skeleton)
    joint = usual if offset is None else np.full(len(usual), offset)
    errors = systematic.estimate(keypoints, noise, confidence, cameras, joint)
    errors = errors if noise_px is None else errors._replace(noise_factor=1.0)
    return Views(keypoints, confidence, cameras, up, noise * np.float32(errors.noise_factor), errors)


@needs("fuse", "joints", "score")
def fuse(
    key: Key,
    model: Model,
    keypoints: Numbers,
    confidence: Numbers | None = None,
    *,
    cameras: Camera,
    method: str = "pseudo_inverse",
    steps: int | None = None,
    robust: bool = False,
    num_hypotheses: int = 100,
    **assumed: Any,
) -> Hypotheses:
    """Draw 3D poses of one person from keypoints of several calibrated cameras, each moment for itself.

    keypoints:  [F, C, J, 2] pixels in the model's joint set; confidence [F, C, J] in [0, 1], 0 if missing.
    cameras:    [C] with intrinsics, R_cam_world and t_cam.
    method:     pseudo_inverse; steps: of its solver. robust: expect keypoints that are sure and far off.
    assumed:    `up`, the world's axis that points up: "z" (usual), "y" or "-y". `noise_px` of a sure keypoint's
                coordinates (estimated unless given). `offset`, metres on each axis by which the keypoints of all
                cameras miss a joint alike (usual ones by joint unless given, 0 for markers).

    The samples are relative to the root joint, and `root` is its place in the cameras' world.
    """
    joints = len(model.skeleton.joints)
    check_shape("keypoints", keypoints, ("F", "C", joints, 2), note=f" in the order of {model.skeleton.name}")
    num = np.shape(keypoints)[1]
    for name, shape in (("intrinsics", (4,)), ("R_cam_world", (3, 3)), ("t_cam", (3,))):
        check_shape(f"cameras: {name}", getattr(cameras, name), (num, *shape), note=f" for {num} cameras")
    for name in ("noise_px", "offset"):
        check_shape(name, 0 if assumed.get(name) is None else assumed[name], ())
    vertical(assumed.get("up", "z"))
    sure = np.ones(keypoints.shape[:3], np.float32) if confidence is None else np.asarray(confidence, np.float32)
    check_shape("confidence", sure, np.shape(keypoints)[:3])
    _check_seen(keypoints, sure, cameras)
    views = views_of(model, np.asarray(keypoints), sure, cameras, **assumed)
    how = method_of(method, steps, robust=robust)
    drawn = result_of(fusing(key, model, views, how, num_hypotheses=num_hypotheses))
    fields: dict[str, Any] = {name: jnp.asarray(x) for name, x in drawn.items() if name in Hypotheses._fields}
    return Hypotheses(**fields)


def _check_seen(keypoints: Numbers, confidence: np.ndarray, cameras: Camera) -> None:
    check_values(check_pixels, keypoints, cameras.intrinsics)
    visible = np.isfinite(np.asarray(keypoints)).all(-1) & (confidence > 0)
    if not (usable := visible.any((1, 2))).all():
        raise ValueError(f"keypoints: no camera sees a joint in row {np.argmin(usable)}")


def method_of(name: str, steps: int | None = None, *, robust: bool = False) -> Method:
    """The posterior method of a name with its solver's steps. robust: for keypoints that are sure and far off."""
    if not isinstance(name, str) or name not in _METHODS:
        raise ValueError(f"method: must be one of {', '.join(_METHODS)}, got {name!r}")
    return METHODS[name](steps or STEPS, robust=_DEGREES if robust else None)


def fusing(
    key: Key,
    model: Model,
    views: Views,
    method: Method,
    *,
    num_hypotheses: int,
    watch: Callable[[Block], None] = lambda _: None,
) -> Generator[int, None, Drawn]:
    """`fuse` block by block; yields the number of moments that are done, and returns what `fuse_rows` does.

    watch: called with each block before it is drawn.
    """
    prior = fitted(key, prior_of(model))
    shared = systematic.draw(
        jax.random.fold_in(key, _SHARED),
        views.errors,
        model.skeleton,
        num_cameras=views.xy.shape[1],
        num_hypotheses=num_hypotheses,
    )

    def work(key: Key, block: Block, _: bool) -> dict[str, Array]:
        watch(block)
        given = (jnp.asarray(x[block.rows]) for x in (views.xy, views.noise_px, views.confidence))
        how: dict[str, Any] = {"up": views.up, "num_hypotheses": num_hypotheses, "method": method}
        return fuse_rows(key, prior, *given, views.cameras, shared, **how)

    num = len(views.xy)
    return (yield from gather(work, even(num, _MOMENTS), num, key))


@functools.partial(jax.jit, static_argnames=("up", "num_hypotheses", "method"))
def fuse_rows(
    key: Key,
    prior: Prior,
    uv_px: Array,
    noise_px: Array,
    confidence: Array,
    cameras: Camera,
    shared: systematic.Drawn | None,
    *,
    up: str,
    num_hypotheses: int,
    method: Method,
) -> dict[str, Array]:
    """Draw from the posterior of each of N moments in turn; cameras [C, ...] and the shared errors are those of all.

    shared: None takes the errors of all keypoints as independent, and the place of each pose as known.

    samples [H, N, J, 3] relative to the root joint, root [H, N, 3]; mean [N, J, 3], covariance [N, J, 3, 3], radius_90
    [N, J] and weights [H, N] of them, in the world of the cameras, metres; error_px [N, C]: of the mean pose, by trust,
    NaN where a camera sees none.
    """
    above = tuple(vertical(up).tolist())

    def one(row: tuple[Array, ...]) -> tuple[Array, Array]:
        index, uv, noise, sure = row
        view, key_of = observations.sight(uv, noise, sure, cameras, up=above), jax.random.fold_in(key, index)
        how: dict[str, Any] = {"method": method, "num_hypotheses": num_hypotheses}
        drawn = posterior(key_of, prior, observations.seen_by(view), **how)
        world = observations.to_world(view, drawn.samples)
        if shared is not None:
            world = systematic.moved(jax.random.fold_in(key_of, 1), view, world, shared)
        return world, _error_px(view, drawn.samples.mean(0))

    world, error_px = jax.lax.map(one, (jnp.arange(len(uv_px)), uv_px, noise_px, confidence))
    world = jnp.moveaxis(world, 0, 1)
    samples = world - world[:, :, :1]
    summary = dict(zip(("mean", "covariance", "radius_90", "weights"), spread(samples), strict=True))
    return {"samples": samples, "root": world[:, :, 0], **summary, "error_px": error_px}


def _error_px(view: observations.Sight, x: Array) -> Array:
    """Distance [C] of joints [J, 3] from the keypoints, in pixels, the mean by trust."""
    away = jnp.linalg.norm(observations.cameras(view)(x) - view.uv_px, axis=-1)
    weight = jnp.where(jnp.isfinite(away), 1 / jnp.square(view.noise_px), 0)
    return (weight * jnp.where(weight > 0, away, 0)).sum(-1) / weight.sum(-1)
