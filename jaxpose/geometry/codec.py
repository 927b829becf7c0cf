"""Person-centred codec: from a pose seen by a camera to the numbers the model works on, and back.

The camera is turned so that it looks at the person (`turn_to`), and the person's keypoints are centred and divided
by their own extent. What is left does not depend on where in the image the person stands, on the focal length or
on the resolution:

    r_j = R_view_cam (x_j, y_j, 1),   c_j = (r_j / r_z - mean) / rms       condition: extent 1 about the centre
    x0  = (R_view_cam (X_j - X_root) - m_j) / s_j                          state: standardised per coordinate

Mean and rms run over the visible joints, weighted by confidence. The state is metric: how large a person is, and
so how far away, is for the model to know. `place` then finds the root that agrees best with the keypoints.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from jaxpose.base import Array, Condition
from jaxpose.geometry.camera import normalise, turn_to

# Joints that hardly move against the root would otherwise have their noise blown up; the root itself is exactly 0.
_SMALLEST_STD = 0.05  # metres


class View(NamedTuple):
    """How a person is looked at: R_view_cam [..., 3, 3] turns camera axes so that the person is on the z axis."""

    R_view_cam: Array


class Statistics(NamedTuple):
    """Mean and standard deviation [J, 3] metres of root-relative joints in view axes, over the training data."""

    mean: Array
    std: Array


def fit_statistics(x_view: Array) -> Statistics:
    """Statistics of root-relative joints [N, J, 3] metres in view axes; deviations are at least 5 cm."""
    return Statistics(x_view.mean(0), jnp.maximum(x_view.std(0), _SMALLEST_STD))


def encode_keypoints(intrinsics: Array, uv_px: Array, confidence: Array, distortion: Array | None = None
                     ) -> tuple[Condition, View]:  # fmt: skip
    """The 2D condition of keypoints [..., J, 2] px with confidence [..., J] in [0, 1], 0 meaning not seen.

    Returns a Condition with value and mask [..., J, 3] (depth hidden) and the confidences as context [..., J], and
    the View that `decode` and `place` need. At least two distinct visible joints are needed for the extent.
    """
    seen = (confidence > 0).astype(uv_px.dtype)
    xy = jnp.where(seen[..., None] > 0, normalise(intrinsics, uv_px, distortion), 0)
    weight = confidence / jnp.maximum(confidence.sum(-1, keepdims=True), 1e-6)
    R = turn_to(jnp.einsum("...j,...jd->...d", weight, xy))
    ray = jnp.einsum("...ij,...kj->...ki", R, jnp.concatenate([xy, jnp.ones_like(xy[..., :1])], -1))
    xy = ray[..., :2] / ray[..., 2:]
    xy = xy - jnp.einsum("...j,...jd->...d", weight, xy)[..., None, :]
    rms = jnp.sqrt(jnp.einsum("...j,...jd->...", weight, xy**2))
    value = xy / jnp.maximum(rms, 1e-6)[..., None, None] * seen[..., None]
    depth = jnp.zeros_like(value[..., :1])
    mask = jnp.broadcast_to(seen[..., None], value.shape)
    return Condition(
        jnp.concatenate([value, depth], -1), jnp.concatenate([mask, depth], -1), confidence * seen
    ), View(R)


def to_view(view: View, x_cam: Array, root: int = 0) -> Array:
    """Root-relative joints [..., J, 3] in view axes of camera-frame joints [..., J, 3]; metres."""
    relative = x_cam - x_cam[..., root : root + 1, :]
    return jnp.einsum("...ij,...kj->...ki", view.R_view_cam, relative)


def encode_pose(statistics: Statistics, view: View, x_cam: Array) -> Array:
    """Model state [..., J, 3] of camera-frame joints [..., J, 3] metres."""
    return (to_view(view, x_cam) - statistics.mean) / statistics.std


def decode_pose(statistics: Statistics, view: View, x0: Array) -> Array:
    """Root-relative joints [..., J, 3] metres in the camera's axes of a model state; inverse of `encode_pose`."""
    x_view = x0 * statistics.std + statistics.mean
    return jnp.einsum("...ji,...kj->...ki", view.R_view_cam, x_view - x_view[..., :1, :])


def place(intrinsics: Array, uv_px: Array, confidence: Array, x_relative: Array, distortion: Array | None = None
          ) -> Array:  # fmt: skip
    """Root positions [..., 3] metres, camera frame, at which joints [..., J, 3] agree best with keypoints.

    Least squares, weighted by confidence, on the two equations of every keypoint, linear in the root t:
    (X + t_x) - x (Z + t_z) = 0 and (Y + t_y) - y (Z + t_z) = 0. Leading axes of the joints may exceed the keypoints'.
    """
    xy = jnp.where(confidence[..., None] > 0, normalise(intrinsics, uv_px, distortion), 0)
    w = confidence / jnp.maximum(confidence.sum(-1, keepdims=True), 1e-6)
    mean_xy = jnp.einsum("...j,...jd->...d", w, xy)
    spread = jnp.einsum("...j,...jd->...", w, (xy - mean_xy[..., None, :]) ** 2)
    # Eliminating t_x and t_y (their normal equations are weighted means) leaves one equation for t_z.
    residual = x_relative[..., :2] - xy * x_relative[..., 2:]
    mean_residual = jnp.einsum("...j,...jd->...d", w, residual)
    cross = jnp.einsum("...j,...jd->...", w, (xy - mean_xy[..., None, :]) * residual)
    t_z = cross / jnp.maximum(spread, 1e-12)
    return jnp.concatenate([mean_xy * t_z[..., None] - mean_residual, t_z[..., None]], -1)
