"""Observation operators: from decoded joints to the value of a measurement.

Joints are x [..., J, 3] metres about their middle in the axes of the prior, those of a level camera that looks at the
person (x right, y down, z forward). Where the person stands is in no pose: operators of images find it in closed form.

Calibrated cameras see u = project(R x + R T + t). The keypoint (a, b) on the plane z = 1 asks of the place T that

    (X - a Z) + (e_x - a e_z) . (R T + t) = 0,    (Y - b Z) + (e_y - b e_z) . (R T + t) = 0

each divided by its noise in metres, (depth / focal length) noise_px, with the depth of the rays' meeting point. So T is
one fixed linear function of x for any number of cameras: a likelihood with the place profiled out.

Unknown focal length f: p (Z + t_z) = f (X + t_x), p in pixels from the principal point, is linear in (f t_x, f t_y, f,
t_z), and over t_z linear in the scale s = f / t_z, the nearness q = 1 / t_z, and (s t_x, s t_y):

    s X + s t_x - q p Z = p

whose residual is in pixels. A distant person shows no perspective, so q has a prior: 0.2 +- 0.15 per metre.

Confidence c of a detector is a noise of n / c^1.5, c at least 0.2, with n that of a sure joint. For the simulated
detector of shared/bench/val_frames.npz n is 0.8 % of the person's larger extent in the image, and the rule within a
quarter of the root mean square error per coordinate at c = 0.25 (6.0 %), 0.6 (1.7 %), 0.85 (0.9 %) and 0.97 (0.7 %).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxpose.base import Array, Camera
from jaxpose.compiled import check_shape
from jaxpose.geometry import camera
from jaxpose.geometry.joint_sets import joint_map
from jaxpose.geometry.products import product, turned
from jaxpose.geometry.skeleton import Skeleton, bones
from jaxpose.tasks.posterior import Observed, Operator

SURE = 0.008  # of a person's larger extent in the image: the noise of a sure keypoint
_POWER, _LEAST_CONFIDENCE = 1.5, 0.2
_NEAREST = 0.1  # metres before a camera: nearer points, and those behind it, are seen as if there
_RMS = 0.4  # metres: of a person's joints about their middle in an image plane; a first guess of the distance
_NEARNESS, _NEARNESS_STD = 0.2, 0.15  # 1 / m: of people in front of a camera whose focal length is not known
_NEARNESS_RANGE = (0.01, 1.5)  # 1 / m
_TINY = 1e-12


class Sight(NamedTuple):
    """One person in C cameras whose world is the prior's axes, with the origin where their rays meet.

    uv_px, plane [C, J, 2]: keypoints in pixels (NaN where not seen), and on the plane z = 1 (0 there); noise_px [C, J].
    intrinsics [C, 4], R_cam_view [C, 3, 3], t_cam [C, 3], distortion [C, 5] or None: x_cam = R_cam_view x_view + t_cam.
    R_view_world [3, 3], centre_world [3]: x_view = R_view_world (x_world - centre_world).
    """

    uv_px: Array
    plane: Array
    noise_px: Array
    intrinsics: Array
    R_cam_view: Array
    t_cam: Array
    distortion: Array | None
    R_view_world: Array
    centre_world: Array


def confidence_noise(confidence: Array, sure: Array | float) -> Array:
    """Noise [...] of detections: sure / c^1.5 for a confidence c [...] in [0, 1], in the unit of `sure`."""
    return jnp.asarray(sure) / jnp.maximum(confidence, _LEAST_CONFIDENCE) ** _POWER


def keypoint_noise_px(uv_px: Array, confidence: Array, sure: float | Array = SURE) -> Array:
    """Noise [..., J] px of keypoints [..., J, 2] with confidence [..., J]; sure: share of their larger extent."""
    visible = ((confidence > 0) & jnp.isfinite(uv_px).all(-1))[..., None]
    low, high = (f(jnp.where(visible, uv_px, s * jnp.inf), -2) for f, s in ((jnp.min, 1), (jnp.max, -1)))
    extent = jnp.where(jnp.isfinite(high - low), high - low, 0).max(-1)
    return confidence_noise(confidence, jnp.maximum(sure * extent, 0.5)[..., None])


def measured_joints(source: Skeleton, target: Skeleton) -> np.ndarray:
    """[J_t] bool: joints of the target that the source marks, or that hold what no other joint of the target holds.

    Middles of joints that the target has too (COCO's hip and thorax) are not: twice counted is too sure.
    """
    weights, known = joint_map(source, target)
    direct = np.array([(row > 0).sum() == 1 for row in weights])
    new = np.array([joint not in target.joints for joint in source.joints])
    says_more = ((weights > 0) & new).any(-1)
    return known & (direct | says_more)


def sight(
    uv_px: Array,
    noise_px: Array,
    confidence: Array,
    cameras: Camera,
    *,
    up: Sequence[float] | None = None,
    R_view_world: Array | None = None,
) -> Sight:
    """How C cameras see one person: keypoints [C, J, 2] px of the prior's joints, noise [C, J] px > 0.

    confidence: [C, J], 0 where not seen (its size counts in `noise_px`); so counts a keypoint that is not finite.
    cameras:    leading axis C; without places one camera is the world.
    up:         the world's vertical, three numbers: the prior's axes are then level. None: camera 0 is taken as level,
                and turned to the person as a model's condition is (spaces/person.py). R_view_world [3, 3]: these axes.
    ValueError for shapes that do not fit.
    """
    num, joints = uv_px.shape[:2]
    R = jnp.eye(3)[None] if cameras.R_cam_world is None else jnp.asarray(cameras.R_cam_world)
    t = jnp.zeros((1, 3)) if cameras.t_cam is None else jnp.asarray(cameras.t_cam)
    intrinsics, note = jnp.asarray(cameras.intrinsics), f" for {num} cameras"
    distortion = None if cameras.distortion is None else jnp.asarray(cameras.distortion)
    check_shape("uv_px", uv_px, (num, joints, 2), note=note)
    for name, value in (("noise_px", noise_px), ("confidence", confidence)):
        check_shape(name, value, (num, joints), note=note, low=0)
    for name, value, *shape in (("intrinsics", intrinsics, 4), ("R_cam_world", R, 3, 3), ("t_cam", t, 3)):
        check_shape(name, value, (num, *shape), note=note)
    if distortion is not None:
        check_shape("distortion", distortion, (num, 5), note=note)
    visible = ((confidence > 0) & jnp.isfinite(uv_px).all(-1))[..., None]
    plane = jnp.where(visible, camera.normalise(intrinsics, jnp.where(visible, uv_px, 0), distortion), 0)
    weight = jnp.where(visible[..., 0], 1 / jnp.square(noise_px), 0)
    mean, rms = _middle(plane, weight)
    centre = _meeting(mean, rms, weight.sum(-1), R, t)
    if R_view_world is None:
        R_view_world = _axes(product(camera.turn_to(mean[0]), R[0]), up)
    placed = turned(R_view_world, R), t + product(R, centre[:, None])[..., 0]
    uv_px = jnp.where(visible, uv_px, jnp.nan)
    return Sight(uv_px, plane, noise_px, intrinsics, *placed, distortion, R_view_world, centre)


def seen_by(view: Sight, *, known_focal: bool = True) -> Observed:
    """Keypoints of all cameras [C, J, 2] px, the person standing where each pose fits best.

    known_focal: False takes the focal length of one camera from each pose too; the principal point stays known.
    """
    operator = cameras(view) if known_focal else Partial(_seen_in_fitted_camera, view)
    return Observed(view.uv_px, operator, view.noise_px[..., None])


def cameras(view: Sight) -> Operator:
    """Joints [..., J, 3] -> pixels [..., C, J, 2]; what lies behind a camera is seen as if 0.1 m before it."""
    return Partial(_seen_in_cameras, view, placement(view))


def _seen_in_cameras(view: Sight, place: Operator, x: Array) -> Array:
    placed = x + place(x)[..., None, :]
    x_cam = camera.world_to_camera(view.R_cam_view, view.t_cam, placed[..., None, :, :])
    return camera.project(view.intrinsics, x_cam, view.distortion, nearest=_NEAREST)


def placement(view: Sight) -> Operator:
    """Joints [..., J, 3] -> the place of their middle [..., 3], metres in the prior's axes from where the rays meet."""
    gain, _ = place_gain(view)
    fixed = (view.t_cam[:, None, :2] - view.plane * view.t_cam[:, None, 2:])[..., None]
    start = (gain[..., None] * fixed).sum((1, 2, 3, 4))
    return Partial(_affine, start, jnp.einsum("icje,cjek->ijk", gain, _rays(view), precision="highest"))


def place_gain(view: Sight) -> tuple[Array, Array]:
    """By how much the place moves [3, C, J, 2] per metre by which a keypoint's ray does, and its covariance [3, 3] m^2.

    The covariance is that of the keypoints' noise, for a pose that is known.
    """
    rows = _rays(view)
    depth = jnp.maximum(view.t_cam[:, 2], _NEAREST)[:, None]
    metres = view.noise_px[..., None] * depth[..., None] / view.intrinsics[:, None, :2]
    weight = jnp.where(jnp.isfinite(view.uv_px), 1 / jnp.square(metres), 0)[..., None] * rows  # [C, J, 2, 3]
    scale = jnp.maximum(jnp.abs(weight).max(), _TINY)
    weight = weight / scale
    normal = jnp.einsum("cjei,cjek->ik", weight, rows, precision="highest")
    inverse = jnp.linalg.inv(normal + 1e-7 * jnp.eye(3))
    return -jnp.einsum("ik,cjek->icje", inverse, weight, precision="highest"), inverse / scale


def _rays(view: Sight) -> Array:
    """Two rows [C, J, 2, 3] across each keypoint's ray, times the depth."""
    return camera.across_rays(view.R_cam_view[:, None], view.plane)


def _affine(start: Array, linear: Array, x: Array) -> Array:
    return start + (linear * x[..., None, :, :]).sum((-2, -1))


def to_world(view: Sight, x: Array) -> Array:
    """Joints [..., J, 3] about their middle in the prior's axes, as they stand in the world of the cameras."""
    placed = x + placement(view)(x)[..., None, :]
    return product(placed, view.R_view_world) + view.centre_world


class Pinhole(NamedTuple):
    """Camera and pixels that fit a pose: focal [...] px, place [..., 3] m in its axes, pixels [..., 1, J, 2]."""

    focal: Array
    place: Array
    uv_px: Array


def fit_pinhole(view: Sight, x: Array) -> Pinhole:
    """Focal length and place at which joints x [..., J, 3] fit the keypoints of the one camera best (see above).

    The axes are right as far as the focal length in `view.intrinsics` is; fx = fy, no distortion. ValueError for more
    than one camera.
    """
    if len(view.intrinsics) != 1 or view.distortion is not None:
        raise ValueError(
            f"unknown focal length: needed one camera without distortion, got {len(view.intrinsics)}"
            f"{'' if view.distortion is None else ', with distortion'}"
        )
    visible = jnp.isfinite(view.uv_px[0])
    p = jnp.where(visible, view.uv_px[0] - view.intrinsics[0, 2:], 0)
    weight = jnp.where(visible, 1 / jnp.square(view.noise_px[0, :, None]), 0)
    share = weight / jnp.maximum(weight.sum(0), _TINY)
    x = turned(view.R_cam_view[0], x)
    xy, pz = x[..., :2], p * x[..., 2:]
    means = [(share * v).sum(-2, keepdims=True) for v in (xy, p, pz)]
    a, b, c = (v - m for v, m in zip((xy, p, pz), means, strict=True))  # s a - q c = b
    aa, ac, cc, ab, cb = ((weight * v).sum((-2, -1)) for v in (a * a, a * c, c * c, a * b, c * b))
    cc, cb = cc + _NEARNESS_STD**-2, cb - _NEARNESS * _NEARNESS_STD**-2
    q = jnp.clip((ac * ab - aa * cb) / jnp.maximum(aa * cc - ac * ac, _TINY), *_NEARNESS_RANGE)
    s = jnp.maximum((ab + q * ac) / jnp.maximum(aa, _TINY), 1.0)
    q, s = q[..., None, None], s[..., None, None]
    moved = means[1] - s * means[0] + q * means[2]
    uv = (s * xy + moved) / jnp.maximum(1 + q * x[..., 2:], _NEAREST) + view.intrinsics[0, 2:]
    place = jnp.concatenate([moved / s, jnp.ones_like(q) / q], -1)[..., 0, :]
    return Pinhole((s / q)[..., 0, 0], place, uv[..., None, :, :])


def _seen_in_fitted_camera(view: Sight, x: Array) -> Array:
    """Pixels [..., 1, J, 2] of joints [..., J, 3] in a camera of whatever focal length fits them best."""
    return fit_pinhole(view, x).uv_px


def joints(indices: Sequence[int]) -> Operator:
    """Joints [..., J, 3] -> the chosen ones [..., K, 3] about their own middle: their place is not known."""
    return Partial(_joints, np.asarray(indices))


def _joints(index: Array, x: Array) -> Array:
    chosen = x[..., index, :]
    return chosen - chosen.mean(-2, keepdims=True)


def end_effectors(indices: Sequence[int], root: int = 0) -> Operator:
    """Joints [..., J, 3] -> the chosen ones [..., K, 3] from the joint `root`, metres in the prior's axes."""
    return Partial(_from_root, np.asarray(indices), np.asarray([root]))


def _from_root(index: Array, root: Array, x: Array) -> Array:
    return x[..., index, :] - x[..., root, :]


def distances(pairs: Sequence[tuple[int, int]]) -> Operator:
    """Joints [..., J, 3] -> the distance [..., P] metres between each pair of joints."""
    return Partial(_distances, *np.asarray(pairs).T)


def _distances(first: Array, second: Array, x: Array) -> Array:
    return _length(x[..., second, :] - x[..., first, :])


def bone_lengths(skeleton: Skeleton) -> Operator:
    """Joints [..., J, 3] -> the length of each bone [..., J-1] metres, in the order of `skeleton.bones`."""
    return distances(bones(skeleton))


def directions(pairs: Sequence[tuple[int, int]]) -> Operator:
    """Joints [..., J, 3] -> unit vectors [..., P, 3] from the first to the second of each pair, as of IMUs.

    In the prior's axes: a reading d in the world is `Sight.R_view_world` d. Its noise is the sine of the error's angle.
    """
    return Partial(_directions, *np.asarray(pairs).T)


def _directions(first: Array, second: Array, x: Array) -> Array:
    along = x[..., second, :] - x[..., first, :]
    return along / _length(along)[..., None]


def _length(x: Array) -> Array:
    """Lengths whose derivative at 0 is 0, not NaN."""
    return jnp.sqrt(jnp.square(x).sum(-1) + _TINY)


def _middle(plane: Array, weight: Array) -> tuple[Array, Array]:
    """Mean [C, 2] and root mean square per coordinate [C] of keypoints [C, J, 2]."""
    share = weight / jnp.maximum(weight.sum(-1, keepdims=True), _TINY)
    mean = (share[..., None] * plane).sum(-2)
    square = (share[..., None] * jnp.square(plane - mean[:, None])).sum((-2, -1))
    return mean, jnp.sqrt(square)


def _meeting(mean: Array, rms: Array, weight: Array, R: Array, t: Array) -> Array:
    """The point [3] of the world nearest to the rays of the cameras' means; what they leave open: a person's size."""
    ray = jnp.concatenate([mean, jnp.ones_like(mean[:, :1])], -1)
    guess = _unturn(R, ray * (_RMS / jnp.maximum(rms, 1e-3))[:, None] - t)  # [C, 3] where each camera would put it
    ray = _unturn(R, ray / jnp.linalg.norm(ray, axis=-1, keepdims=True))
    eye = -_unturn(R, t)
    across = jnp.eye(3) - ray[:, :, None] * ray[:, None, :]
    counts = (weight > 0)[:, None, None]
    A = (counts * (across + 1e-3 * jnp.eye(3))).sum(0)
    b = (counts * (product(across, eye[..., None]) + 1e-3 * guess[..., None])).sum(0)
    return jnp.linalg.solve(A, b)[:, 0]


def _axes(R_view_world: Array, up: Sequence[float] | None) -> Array:
    """View axes made level about the vertical `up`; a camera that looks straight down faces its image's top."""
    if up is None:
        return R_view_world
    down = -jnp.asarray(up, jnp.float32)
    forward = R_view_world[2] - 0.1 * R_view_world[1]
    forward = forward - (forward * down).sum() * down
    forward = forward / jnp.linalg.norm(forward)
    return jnp.stack([jnp.cross(down, forward), down, forward])


def _unturn(R: Array, x: Array) -> Array:
    return product(x[:, None], R)[:, 0]
