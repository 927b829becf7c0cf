"""Pinhole cameras with Brown distortion, and the frames world, camera, view and pixel.

    x_cam = R_cam_world x_world + t_cam          camera axes: x right, y down, z forward
    (x, y) = (X / Z, Y / Z)                      normalised image coordinates
    x_d = x (1 + k1 r2 + k2 r2^2 + k3 r2^3) + 2 p1 x y + p2 (r2 + 2 x^2),    r2 = x^2 + y^2
    y_d = y (1 + k1 r2 + k2 r2^2 + k3 r2^3) + p1 (r2 + 2 y^2) + 2 p2 x y
    u = fx x_d + cx,  v = fy y_d + cy

    (u, v) = (2 u_px / w - 1, 2 v_px / w - h / w)    screen coordinates of an image w x h: u in [-1, 1], square pixels

`intrinsics` is always [..., 4] = fx, fy, cx, cy in pixels and broadcasts against the leading axes of the points
without their joint axis. `distortion` is [..., 5] = k1, k2, p1, p2, k3 (OpenCV's order).
Source: D. C. Brown, Close-range camera calibration, 1971; R. Hartley and A. Zisserman, Multiple View Geometry, 6.1;
screen coordinates: VideoPose3D (Pavllo et al., CVPR 2019), as described in spec/diffpose.md, 3.3.
"""

from typing import TypeVar, cast

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Numbers
from jaxpose.geometry.products import product, turned, unit

_A = TypeVar("_A", Array, np.ndarray)
# Fixed-point undistortion contracts by about |distortion| a step; 20 steps reach float32 for lenses of up to +-40 %.
_UNDISTORT_STEPS = 20


def distort(xy: Numbers, distortion: Numbers) -> Array:
    """Normalised coordinates [..., J, 2] as the lens bends them; distortion [..., 5]."""
    k1, k2, p1, p2, k3 = (distortion[..., None, i] for i in range(5))
    x, y = xy[..., 0], xy[..., 1]
    r2 = x**2 + y**2
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    bent = [x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2), y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y]
    return cast(Array, (np if isinstance(bent[0], np.ndarray) else jnp).stack(bent, -1))


def undistort(xy_distorted: Numbers, distortion: Numbers) -> Array:
    """The inverse of `distort`, by fixed-point iteration; [..., J, 2]."""
    xy = xy_distorted
    for _ in range(_UNDISTORT_STEPS):
        xy = xy + xy_distorted - distort(xy, distortion)
    return cast(Array, xy)


def project(
    intrinsics: Numbers, x_cam: Numbers, distortion: Numbers | None = None, *, nearest: float | None = None
) -> Array:
    """Pixels [..., J, 2] of camera-frame points [..., J, 3] metres, which must lie before the camera (z > 0).

    nearest: metres; points nearer than that, and those behind the camera, are projected as if there.
    """
    xy = x_cam[..., :2] / (x_cam[..., 2:] if nearest is None else jnp.maximum(x_cam[..., 2:], nearest))
    if distortion is not None:
        xy = distort(xy, distortion)
    return cast(Array, xy * intrinsics[..., None, :2] + intrinsics[..., None, 2:])


def normalise(intrinsics: Numbers, uv_px: Numbers, distortion: Numbers | None = None) -> Array:
    """Normalised image coordinates (x/z, y/z) [..., J, 2] of pixels [..., J, 2]."""
    xy = (uv_px - intrinsics[..., None, 2:]) / intrinsics[..., None, :2]
    return cast(Array, xy) if distortion is None else undistort(xy, distortion)


def normalise_screen(uv_px: Array, width: Array | float, height: Array | float) -> Array:
    """Screen coordinates [..., J, 2] of pixels [..., J, 2]; image sizes in pixels broadcast to the leading axes."""
    return (2 * uv_px - _size(width, height)) / jnp.asarray(width)[..., None, None]


def denormalise_screen(uv: Array, width: Array | float, height: Array | float) -> Array:
    """Pixels [..., J, 2] of screen coordinates [..., J, 2]; the inverse of `normalise_screen`."""
    return (uv * jnp.asarray(width)[..., None, None] + _size(width, height)) / 2


def back_project(intrinsics: Array, uv_px: Array, depth: Array, distortion: Array | None = None) -> Array:
    """Camera-frame points [..., J, 3] metres of pixels [..., J, 2] at depth [..., J] metres along z."""
    xy = normalise(intrinsics, uv_px, distortion)
    return jnp.concatenate([xy, jnp.ones_like(xy[..., :1])], -1) * depth[..., None]


def across_rays(R_cam_world: _A, xy: _A) -> _A:
    """Rows [..., 2, 3], times the depth, of two directions across the ray of xy [..., 2] on the plane z = 1.

    x_cam = R x + t lies on the ray where rows x + t_xy - xy t_z = 0: two equations that are linear in x. R [..., 3, 3].
    """
    return R_cam_world[..., :2, :] - xy[..., None] * R_cam_world[..., 2:, :]


def world_to_camera(R_cam_world: Array, t_cam: Array, x_world: Array) -> Array:
    """x_cam = R x_world + t for points [..., J, 3], R [..., 3, 3], t [..., 3]."""
    return turned(R_cam_world, x_world) + t_cam[..., None, :]


def look_at(eye: Array, target: Array, up: Array) -> tuple[Array, Array]:
    """(R_cam_world [..., 3, 3], t_cam [..., 3]) of a camera at `eye` whose axis meets `target`, `up` upright."""
    forward = unit(target - eye)
    right = unit(jnp.cross(forward, up))
    R = jnp.stack([right, jnp.cross(forward, right), forward], -2)
    return R, -product(R, eye[..., None])[..., 0]


def turn_to(xy: Array) -> Array:
    """R_view_cam [..., 3, 3]: the smallest turn that puts the ray (x, y, 1), given as xy [..., 2], on the z axis.

    Rodrigues' formula with the axis d x z: no angle is formed, so it is smooth where the ray is the axis already.
    """
    d = unit(jnp.concatenate([xy, jnp.ones_like(xy[..., :1])], -1))
    x, y, z = d[..., 0], d[..., 1], d[..., 2]
    k = 1 / (1 + z)
    return jnp.stack(
        [
            jnp.stack([1 - k * x * x, -k * x * y, -x], -1),
            jnp.stack([-k * x * y, 1 - k * y * y, -y], -1),
            jnp.stack([x, y, z], -1),
        ],
        -2,
    )


def intrinsics_from_fov(width: float, height: float, fov: float) -> np.ndarray:
    """Square pixels, the axis through the image's centre; `fov` radians along the longer side. [4] pixels."""
    if not (width > 0 and height > 0):
        raise ValueError(f"image size must be positive pixels, got {width} x {height}")
    if not 0 < fov < np.pi:
        raise ValueError(f"fov must be in (0, pi) radians, got {fov}")
    focal = 0.5 * max(width, height) / np.tan(0.5 * fov)
    return np.array([focal, focal, 0.5 * width, 0.5 * height], np.float32)


MOST_PX = 1e7  # of intrinsics and of keypoints, which may be far outside of the image


def check_intrinsics(intrinsics: np.ndarray, name: str = "intrinsics") -> np.ndarray:
    """`intrinsics` as float32 [..., 4], or a ValueError: finite, and with focal lengths that can be divided by."""
    array = np.asarray(intrinsics, np.float32)
    if array.shape[-1:] != (4,):
        raise ValueError(f"{name}: needed [..., 4] = fx, fy, cx, cy in pixels, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: fx, fy, cx, cy must be finite, got {array[~np.isfinite(array).all(-1)][:1]}")
    if (array[..., :2] < 1e-3).any() or (abs(array) > MOST_PX).any():
        raise ValueError(
            f"{name}: focal lengths must be positive pixels, and all at most 1e7, got {array.min()} and {array.max()}"
        )
    return array


def extent_px(xy: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """The larger extent [...] px of the visible [..., J] of points [..., J, 2]; 0 where none is."""
    low, high = (np.where(visible[..., None], xy, far) for far in (np.inf, -np.inf))
    return np.where(visible.any(-1), (high.max(-2) - low.min(-2)).max(-1), 0)


def check_pixels(keypoints: np.ndarray, intrinsics: np.ndarray, name: str = "keypoints") -> None:
    """ValueError where keypoints [..., 2], NaN where not known, or intrinsics [..., 4] are no pixels."""
    check_intrinsics(intrinsics, "camera: intrinsics")
    known = np.abs(keypoints[np.isfinite(keypoints).all(-1)])
    if known.size and (far := known.max()) > MOST_PX:
        raise ValueError(f"{name}: a coordinate of {far:g}; needed pixels, at most {MOST_PX:g}")
    if len(known) > 1 and known.max() <= 1 < intrinsics[..., :2].min() / 10 and np.ptp(known) > 0:
        raise ValueError(f"{name}: all coordinates lie within -1 and 1: normalised, needed pixels as the intrinsics")


def _size(width: Array | float, height: Array | float) -> Array:
    """Image sizes [..., 1, 2], to be taken from points [..., J, 2]."""
    return jnp.stack(jnp.broadcast_arrays(jnp.asarray(width), jnp.asarray(height)), -1)[..., None, :]
