"""Person-centred codec: from a pose seen by a camera to the numbers the model works on, and back.

The camera is turned so that it looks at the person (`turn_to`), and the person's keypoints are centred and divided
by their own extent. What is left does not depend on where in the image the person stands, on the focal length or
on the resolution:

    r_j = R_view_cam (x_j, y_j, 1),   c_j = (r_j / r_z - mean) / rms       condition: extent 1 about the centre
    x0  = (R_view_cam (X_j - mean X) - m_j) / 0.25 m                       state: about the middle of all joints

Mean and rms run over the visible joints, weighted by confidence. The state has one unit for all coordinates, so noise
of the process is noise in metres, alike in all; it has no special joint, so noise on a root does not spread; and it is
metric: how large a person is, and so how far away, is for the model to know. `place` then finds the root.

A 3D observation fills the same slot, in the axes it comes in (R_view_cam = 1), with a fixed extent for the rms:

    c_j = (X_j - mean) / 0.5 m,   context_j = 1 / (1 + noise_j / 0.05 m)

so x and y mean nearly the same as for keypoints, the mask shows the third coordinate, and the context is the trust
in a joint in both: a detector's confidence, or 1 for exact joints and less the noisier they are.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Condition, Numbers
from jaxpose.geometry.camera import normalise, turn_to
from jaxpose.geometry.products import product, turned

_UNIT = 0.25  # metres: about the standard deviation of a coordinate, over joints and training poses
_SMALLEST_STD = 0.02  # metres
_EXTENT = 0.5  # metres: gives x and y of training bodies the spread that keypoints have in their own unit
_NOISE_UNIT = 0.05  # metres of noise per coordinate at which the trust in a joint is a half
_EVIDENCE_UNIT = 0.05  # extents of the person in the image at which what is told of evidence is a half


class View(NamedTuple):
    """View of a person: axes turned to them, and their size in the image.

    R_view_cam: [..., 3, 3] turns camera axes so that the person is on the z axis.
    centre: [..., 2], extent: [...] of the visible keypoints on the plane z = 1 of the view axes; 0 and 1 of a 3D view.
    """

    R_view_cam: Array
    centre: Array | float = 0.0
    extent: Array | float = 1.0


class Statistics(NamedTuple):
    """Statistics of the training data that turn joints, or rotations, into states: (x - mean) / std.

    mean:   [J, D] metres, of joints in view axes; for rotations in the unit of their representation.
    std:    [J, D] in the same unit, of one unit of state.
    spread: [J, D] standard deviation of the state, for networks that are shown numbers of unit size; or 1.
    """

    mean: Array | np.ndarray
    std: Array | np.ndarray
    spread: Array | np.ndarray | float = 1.0


def fit_statistics(x_view: Array) -> Statistics:
    """Statistics of joints [N, J, 3] metres in view axes about their middle."""
    mean, std = x_view.mean(0), jnp.full(x_view.shape[1:], _UNIT)
    return Statistics(mean, std, jnp.maximum(x_view.std(0), _SMALLEST_STD) / _UNIT)


def encode_keypoints(
    intrinsics: Numbers, uv_px: Numbers, confidence: Numbers, distortion: Numbers | None = None
) -> tuple[Condition, View]:
    """The 2D condition of keypoints [..., J, 2] px with confidence [..., J] in [0, 1], 0 meaning not seen.

    Returns a Condition with value and mask [..., J, 3] (depth hidden) and the confidences as context [..., J], and
    the View that `decode` and `place` need. At least two distinct visible joints are needed for the extent.
    """
    confidence = jnp.asarray(confidence)
    visible = (confidence > 0).astype(uv_px.dtype)
    xy = jnp.where(visible[..., None] > 0, normalise(intrinsics, uv_px, distortion), 0)
    weight = (confidence / jnp.maximum(confidence.sum(-1, keepdims=True), 1e-6))[..., None]
    R = turn_to((weight * xy).sum(-2))
    xy = _turned_xy(R, xy)
    centre = (weight * xy).sum(-2)
    xy = xy - centre[..., None, :]
    extent = jnp.maximum(jnp.sqrt((weight * xy**2).sum((-2, -1))), 1e-6)
    value = xy / extent[..., None, None] * visible[..., None]
    depth = jnp.zeros_like(value[..., :1])
    mask = jnp.broadcast_to(visible[..., None], value.shape)
    return Condition(
        jnp.concatenate([value, depth], -1), jnp.concatenate([mask, depth], -1), confidence * visible
    ), View(R, centre, extent)


def encode_track(
    intrinsics: Array, uv_px: Array, confidence: Array, distortion: Array | None = None
) -> tuple[Condition, View]:
    """The condition of a track of keypoints [F, J, 2] px with confidence [F, J], and the view of each frame.

    As `encode_keypoints`; frames with fewer than two joints get the view of the frames around them, between which it
    changes linearly in time. The context [F, J + 6] ends with 3 places for the vertical and the person's path: the
    direction x / z, y / z towards them and the log of their extent, 0 where not seen.
    """
    cond, view = encode_keypoints(intrinsics, uv_px, confidence, distortion)
    known = (confidence > 0).sum(-1) >= 2
    ray = view.R_view_cam[..., 2, :]
    path = jnp.concatenate([ray[:, :2] / ray[:, 2:], jnp.log(jnp.asarray(view.extent))[:, None]], -1)
    filled = between(path, known)
    R = jnp.where(known[:, None, None], view.R_view_cam, turn_to(filled[:, :2]))
    assert cond.context is not None, "keypoints have a trust in each joint"
    context = jnp.concatenate([cond.context, jnp.zeros_like(path), jnp.where(known[:, None], path, 0.0)], -1)
    centre = jnp.where(known[:, None], view.centre, 0.0)
    return cond._replace(context=context), View(R, centre, jnp.where(known, view.extent, jnp.exp(filled[:, 2])))


def between(values: Array, known: Array) -> Array:
    """Values [F, D] of frames, those not known [F] by linear interpolation in time; 0 where none is."""
    num = len(known)
    at = jnp.arange(num, dtype=values.dtype)
    order = jnp.argsort(~known, stable=True)  # the frames that are known, first; then the last of them again
    row = order[jnp.minimum(jnp.arange(num), jnp.maximum(known.sum() - 1, 0))]
    filled = jax.vmap(lambda column: jnp.interp(at, at[row], column[row]), 1, 1)(values)
    return jnp.where(known.any(), filled, 0.0)


def tell_vertical(cond: Condition, view: View, up_cam: Array) -> Condition:
    """The condition with the world's upward direction [..., 3] of length 1, in camera axes; 0: unknown.

    For models whose context has 3 numbers more than joints, and for no others.
    """
    assert cond.context is not None, "a condition of this space has the trust in its joints as context"
    up_view = product(view.R_view_cam, up_cam[..., None])[..., 0]
    up_view = jnp.broadcast_to(up_view, (*cond.context.shape[:-1], 3)).astype(cond.context.dtype)
    num_joints = cond.mask.shape[-2]
    if cond.context.shape[-1] > num_joints:  # of a track, which has a place for it
        return cond._replace(context=cond.context.at[..., num_joints : num_joints + 3].set(up_view))
    return cond._replace(context=jnp.concatenate([cond.context, up_view], -1))


def tell_evidence(
    cond: Condition, view: View, intrinsics: Numbers, evidence: Numbers, width: int | None = None
) -> Condition:
    """The condition with further evidence on its joints: evidence [..., J, E] pixels, as of `lift`; NaN: not known.

    E columns of J numbers 1 / (1 + d / 0.05) end the context, with d the pixels in extents of the person; 0 where not
    known, and of hidden joints. Before them is a place for the vertical. width: of the context, None: all.
    """
    assert cond.context is not None, "a condition of this space has the trust in its joints as context"
    num_joints = cond.mask.shape[-2]
    unit = jnp.sqrt(intrinsics[..., 0] * intrinsics[..., 1]) * view.extent
    share = 1 / (1 + jnp.asarray(evidence) / (_EVIDENCE_UNIT * unit[..., None, None]))
    share = jnp.where(jnp.isfinite(share) & (cond.context[..., :num_joints, None] > 0), share, 0.0)
    place = [(0, 0)] * (cond.context.ndim - 1) + [(0, max(0, num_joints + 3 - cond.context.shape[-1]))]
    columns = jnp.swapaxes(share, -1, -2).reshape(*share.shape[:-2], -1)
    return cond._replace(context=jnp.concatenate([jnp.pad(cond.context, place), columns], -1)[..., :width])


def encode_xy(view: View, intrinsics: Numbers, uv_px: Array, distortion: Numbers | None = None) -> Array:
    """Other keypoints [..., J, 2] px in the units of the condition that came with `view`: [..., J, 2]."""
    xy = _turned_xy(view.R_view_cam, normalise(intrinsics, uv_px, distortion))
    return (xy - jnp.asarray(view.centre)[..., None, :]) / jnp.asarray(view.extent)[..., None, None]


def encode_points(x: Array, seen: Array, noise: Array) -> Condition:
    """The 3D condition of joints x [..., J, 3] metres, of which those with seen [..., J] of 1 are observed.

    noise: [..., J] metres, the standard deviation of each coordinate of a joint; 0 is exact. What is unseen may be
    NaN. The result does not depend on the place of the person.
    """
    seen = seen.astype(x.dtype)
    x = jnp.where(seen[..., None] > 0, x, 0)
    centre = x.sum(-2, keepdims=True) / jnp.maximum(seen.sum(-1), 1)[..., None, None]
    mask = jnp.broadcast_to(seen[..., None], x.shape)
    trust = seen / (1 + jnp.where(seen > 0, noise, 0) / _NOISE_UNIT)
    return Condition(mask * (x - centre) / _EXTENT, mask, trust)


def to_view(view: View, x_cam: Array) -> Array:
    """Joints [..., J, 3] about their middle in view axes, of camera-frame joints [..., J, 3]; metres."""
    return turned(view.R_view_cam, x_cam - x_cam.mean(-2, keepdims=True))


def encode_pose(statistics: Statistics, view: View, x_cam: Array) -> Array:
    """Model state [..., J, 3] of camera-frame joints [..., J, 3] metres."""
    return (to_view(view, x_cam) - statistics.mean) / statistics.std


def decode_pose(statistics: Statistics, view: View, x0: Array) -> Array:
    """Root-relative joints [..., J, 3] metres in the camera's axes of a model state."""
    x_view = decode_view(statistics, x0)
    return product(x_view - x_view[..., :1, :], view.R_view_cam)


def decode_view(statistics: Statistics, x0: Array) -> Array:
    """Joints [..., J, 3] metres about their middle, in view axes, of a model state."""
    return x0 * statistics.std + statistics.mean


def centred_basis(statistics: Statistics, shape: tuple[int, int]) -> tuple[Array, float]:
    """Orthonormal basis [J D, (J - 1) D] of poses about their middle, and the log of the volume of its unit cube."""
    num, width = shape
    std = np.asarray(statistics.std, np.float64)
    if np.ptp(std) > 1e-6 * std.max():
        raise ValueError(f"score: needed one unit for all coordinates of the state, got {std.min()} to {std.max()}")
    centred = np.linalg.qr(np.eye(num) - 1 / num)[0][:, : num - 1]  # its first num - 1 columns are independent
    basis = np.kron(centred, np.eye(width))
    return jnp.asarray(basis, jnp.float32), float(basis.shape[1] * np.log(std.flat[0]))


def _turned_xy(R: Array, xy: Array) -> Array:
    ray = turned(R, jnp.concatenate([xy, jnp.ones_like(xy[..., :1])], -1))
    return ray[..., :2] / ray[..., 2:]


def place(
    intrinsics: Numbers, uv_px: Numbers, confidence: Numbers, x_relative: Numbers, distortion: Numbers | None = None
) -> Array:
    """Root positions [..., 3] metres, camera frame, at which joints [..., J, 3] agree best with keypoints.

    Least squares, weighted by confidence, on the two equations of every keypoint, linear in the root t:
    (X + t_x) - x (Z + t_z) = 0 and (Y + t_y) - y (Z + t_z) = 0. Leading axes of the joints may exceed the keypoints'.
    """
    xy = jnp.where(confidence[..., None] > 0, normalise(intrinsics, uv_px, distortion), 0)
    w = (confidence / jnp.maximum(confidence.sum(-1, keepdims=True), 1e-6))[..., None]
    mean_xy = (w * xy).sum(-2)
    spread = (w * (xy - mean_xy[..., None, :]) ** 2).sum((-2, -1))
    # Eliminating t_x and t_y (their normal equations are weighted means) leaves one equation for t_z.
    residual = x_relative[..., :2] - xy * x_relative[..., 2:]
    mean_residual = (w * residual).sum(-2)
    cross = (w * (xy - mean_xy[..., None, :]) * residual).sum((-2, -1))
    t_z = cross / jnp.maximum(spread, 1e-12)
    return jnp.concatenate([mean_xy * t_z[..., None] - mean_residual, t_z[..., None]], -1)
