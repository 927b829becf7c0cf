"""Fitting a body model to 2D keypoints of one or many frames, seen by one or several cameras (SMPLify with a prior).

    E = sum over cameras and points conf^2 rho(|u - u_hat| / noise) + w_prior prior + ...     (engine.py, terms.py)

1. From `NUM_YAWS` sides: the start pose upright, turned about the vertical, placed where its points agree best with
   all rays (linear least squares). Orientation and translation are then fitted alone.
2. The `starts` best go on with pose and shape; the lowest energy is taken. One camera cannot tell front from back by
   the torso alone: that is what the sides are for.

The prior's weight falls over the steps, so that a likely pose is found before an exact one. (A robust loss that starts
wide and narrows was tried: flips are more frequent, and the error grows by a fifth.)

Source: Bogo et al., SMPLify (2016); Lu et al., DPoser (2023); spec/dposer.md, section 7.3.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Bodies, Camera, Key, Numbers
from jaxpose.compiled import check_shape, jitted, traced
from jaxpose.fitting.engine import EVERYTHING, BodyParameters, Free, PosePrior, fit, posed_body, start_parameters
from jaxpose.fitting.terms import Keypoints, Settings, Weights, fit_term, in_cameras, placement
from jaxpose.geometry import camera
from jaxpose.geometry.axes import check_up, turn
from jaxpose.geometry.body import Body
from jaxpose.geometry.body_joints import body_points, known_points
from jaxpose.geometry.products import product
from jaxpose.geometry.rotations import axis_angle_from_matrix, matrix_from_axis_angle

NUM_YAWS = 8


FitSettings = partial(Settings, num_steps=500, weights=Weights(bend=1.0, prior_start=10.0), width=10.0, method=None)


def one_camera(intrinsics: Array) -> Camera:
    """The cameras [N, 1] of items that are seen by one camera, whose axes are the world's: intrinsics [N, 4] px."""
    return Camera(jnp.asarray(intrinsics)[:, None], None, jnp.eye(3)[None, None], jnp.zeros((1, 1, 3)))


def _check(
    key: Key,
    body: Body,
    uv_px: Numbers,
    confidence: Numbers,
    cameras: Camera,
    points: str,
    *args: Any,
    start: BodyParameters | None = None,
    up: str = "-y",
    **named: Any,
) -> None:
    check_up(up)
    check_shape("noise_px", named.get("noise_px", 5.0), (), np.shape(uv_px)[:1])
    known = known_points(body, points)
    check_shape("uv_px", uv_px, ("N", "C", "F", len(known), 2), note=f" for {points!r}")
    check_shape("confidence", confidence, uv_px.shape[:-1], note=" as uv_px", low=0)
    items, num = (1, len(uv_px)), (1, uv_px.shape[1])
    for name, value, last in zip(cameras._fields, cameras[:4], ((4,), (5,), (3, 3), (3,)), strict=False):
        if value is not None:
            shapes = dict.fromkeys((i, n, *last) for i in items for n in num)
            check_shape(f"cameras.{name}", value, *shapes, note=" of clips and their cameras")
    if start is not None:
        check_shape("start", start.transl, (len(uv_px), uv_px.shape[2], 3), note=" for clips and frames")
    if not traced(confidence):
        visible = ((np.asarray(confidence) * known) > 0).sum(-1).max(1)
        for n, f in np.argwhere(visible < 3)[:1]:
            raise ValueError(f"confidence: frame {f} of clip {n} has fewer than three points in any camera")


@jitted("points", "up", "free", "settings", check=_check)
def fit_keypoints(
    key: Key,
    body: Body,
    uv_px: Numbers,
    confidence: Numbers,
    cameras: Camera,
    points: str,
    prior: PosePrior | None,
    *,
    noise_px: float | Numbers = 5.0,
    start: BodyParameters | None = None,
    start_pose: Numbers | None = None,
    up: str = "-y",
    free: Free = EVERYTHING,
    settings: Settings | None = None,
) -> Bodies:
    """Fit N clips of F frames to keypoints [N, C, F, K, 2] px with confidence [N, C, F, K] in [0, 1], 0 for not seen.

    cameras:    leading axes [N, C], each of which may be 1; x_cam = R x_world + t.
    points:     the set whose K points these are, of `geometry.body_joints` ("openpose25", "coco17", "wholebody133").
    prior:      `dposer_prior`, `energy_prior` or None.
    noise_px:   standard deviation of a keypoint's coordinates: scalar or [N].
    start:      parameters to go on from, such as a regressor's: the first stage is left out. Else start_pose [21, 3].
    up:         the world's vertical, "-y" (camera axes), "y" or "z".
    settings:   numbers, not arrays: each other value is compiled anew.
    The result has H = 1, joints in world axes. ValueError where no camera sees three points in some frame.
    """
    settings = settings or FitSettings()
    num = len(uv_px)
    evidence = observed(body, uv_px, confidence, cameras, points, noise_px, settings.width)
    place_key, fit_key = jax.random.split(key)
    if start is None:
        start = _placed(place_key, body, evidence, start_pose, up, settings)
    times = len(start.betas) // num
    fitted = fit_term(fit_key, body, prior, _tiled(evidence, times), start, settings, free)
    energies = jnp.nan_to_num(fitted.energy[0], nan=jnp.inf)  # of a start that diverged
    best = energies.reshape(times, -1).argmin(0) * num + jnp.arange(num)
    fitted = jax.tree.map(lambda x: x[0, best], fitted)
    fitted = fitted._replace(joints=posed_body(body, fitted).joints[..., :22, :])
    return jax.tree.map(lambda x: x[None], fitted)


def observed(
    body: Body,
    uv_px: Numbers,
    confidence: Numbers,
    cameras: Camera,
    points: str,
    noise_px: float | Numbers,
    width: float | None = FitSettings().width,
) -> Keypoints:
    """The term of keypoints as `fit_keypoints` takes them: what the body lacks or is not finite is not seen."""
    confidence = jnp.where(jnp.isfinite(uv_px).all(-1), confidence * known_points(body, points), 0)
    uv_px = jnp.where(confidence[..., None] > 0, uv_px, 0)
    scale = jnp.broadcast_to(jnp.asarray(noise_px, jnp.float32), (len(uv_px),))
    return Keypoints(uv_px, confidence, cameras._replace(size=None), scale, width, points)


def _placed(
    key: Key, body: Body, evidence: Keypoints, start_pose: Numbers | None, up: str, settings: Settings
) -> BodyParameters:
    """The best `settings.starts` of NUM_YAWS starts [starts * N, ...], turned and moved to fit best."""
    num, _, frames = evidence.confidence.shape[:3]
    yaw = 2 * np.pi * np.arange(NUM_YAWS) / NUM_YAWS
    facing = product(np.float32(turn("y", up)), matrix_from_axis_angle(jnp.asarray(yaw)[:, None] * jnp.eye(3)[1]))
    orient = jnp.repeat(axis_angle_from_matrix(facing), num, 0)[:, None]
    start = start_parameters(NUM_YAWS * num, frames, body.shapedirs.shape[-1], start_pose)
    start = start._replace(global_orient=jnp.broadcast_to(orient, start.global_orient.shape))
    evidence = _tiled(evidence, NUM_YAWS)
    start = start._replace(transl=_place(evidence, body_points(posed_body(body, start), evidence.points)))
    place, rate = Free(body_pose=False, betas=False), settings.place_rate
    fitted = fit(key, body, None, evidence, start=start, num_steps=settings.place_steps, learning_rate=rate, free=place)
    order = jnp.argsort(fitted.energy.reshape(NUM_YAWS, num), 0)[: settings.starts]
    rows = (order * num + jnp.arange(num)).reshape(-1)
    return BodyParameters(*(x[0, rows] for x in fitted[:4]))


def _place(evidence: Keypoints, x: Array) -> Array:
    """Translations [N, F, 3] metres that bring points x [N, F, K, 3] nearest to the rays of all cameras' keypoints.

    Every keypoint says r_x - u r_z = 0 and r_y - v r_z = 0 of r = R (x + T) + t, linear in T; u, v on the plane z = 1.
    """
    cameras = evidence.cameras
    distortion = None if cameras.distortion is None else cameras.distortion[:, :, None]
    plane = camera.normalise(cameras.intrinsics[:, :, None], evidence.uv_px, distortion)
    rows = camera.across_rays(placement(cameras)[0][:, :, None, None], plane)
    r = in_cameras(cameras, x)
    rest = r[..., :2] - plane * r[..., 2:]
    weight = evidence.confidence[..., None]
    A = jnp.einsum("ncfkei,ncfkej->nfij", weight[..., None] * rows, rows, precision="highest")
    b = -jnp.einsum("ncfkei,ncfke->nfi", weight[..., None] * rows, rest, precision="highest")
    return jnp.linalg.solve(A + 1e-6 * jnp.eye(3), b[..., None])[..., 0]


def _tiled(evidence: Keypoints, times: int) -> Keypoints:
    """Every array [N, ...] repeated along its items; those of one item for all stay as they are."""
    return jax.tree.map(lambda a: a if len(a) == 1 else jnp.concatenate([a] * times), evidence)
