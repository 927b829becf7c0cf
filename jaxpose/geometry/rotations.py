"""Rotations in four representations, on jaxlie, and forward kinematics: joint positions from local rotations.

    axis-angle   v = angle * axis, radians; v and v - 2 pi v / |v| are one rotation, the shorter is canonical
    6D           the first two columns of the matrix, row by row: R00 R01 R10 R11 R20 R21
    quaternion   wxyz

    G_root = R_root,     x_root = o_root
    G_j = G_parent R_j,  x_j = x_parent + G_parent o_j       o_j: joint j relative to its parent at rest

The maps are smooth at the zero rotation, and jaxlie's logarithm also at half turns, where only the axis' sign is a
convention. Joints of equal depth are computed together: a body of 22 joints takes 8 small products instead of 21.

Source: Sola et al., A micro Lie theory (2018); Zhou et al., On the continuity of rotation representations (2019).
"""

import functools

import jax.numpy as jnp
import numpy as np
from jaxlie import SO3

from jaxpose.base import Array

_TINY = 1e-12  # keeps the normalisation of a zero vector finite


def matrix_from_axis_angle(axis_angle: Array) -> Array:
    """Rotation matrices [..., 3, 3] of axis-angle vectors [..., 3] in radians, of any length."""
    return SO3.exp(_last("axis_angle", axis_angle, 3)).as_matrix()


def axis_angle_from_matrix(R: Array) -> Array:
    """Axis-angle vectors [..., 3] radians, no longer than pi, of rotation matrices [..., 3, 3]."""
    return axis_angle_from_quaternion(quaternion_from_matrix(R))


def canonical_axis_angle(axis_angle: Array) -> Array:
    """The same rotations [..., 3] by vectors no longer than pi."""
    return axis_angle_from_quaternion(quaternion_from_axis_angle(axis_angle))


def rot6d_from_matrix(R: Array) -> Array:
    """The 6D form [..., 6] of rotation matrices [..., 3, 3]."""
    _last("R", R, 3)
    return R[..., :2].reshape(*R.shape[:-2], 6)


def matrix_from_rot6d(rot6d: Array) -> Array:
    """Rotation matrices [..., 3, 3] of any 6D vectors [..., 6]: Gram-Schmidt on the two columns.

    Two columns that are parallel, or 0, have no rotation: the result is then finite and no rotation.
    """
    first, second = jnp.moveaxis(_last("rot6d", rot6d, 6).reshape(*rot6d.shape[:-1], 3, 2), -1, 0)
    a = _unit(first)
    b = _unit(second - (a * second).sum(-1, keepdims=True) * a)
    return jnp.stack([a, b, jnp.cross(a, b)], -1)


def quaternion_from_matrix(R: Array) -> Array:
    """Unit quaternions [..., 4] (wxyz, w >= 0) of rotation matrices [..., 3, 3]."""
    return _upper(SO3.from_matrix(_last("R", R, 3)).wxyz)


def quaternion_from_axis_angle(axis_angle: Array) -> Array:
    """Unit quaternions [..., 4] (wxyz, w >= 0) of axis-angle vectors [..., 3] in radians."""
    return _upper(SO3.exp(_last("axis_angle", axis_angle, 3)).wxyz)


def axis_angle_from_quaternion(wxyz: Array) -> Array:
    """Axis-angle vectors [..., 3] radians, no longer than pi, of quaternions [..., 4] (wxyz), of any length but 0."""
    return SO3(_upper(_unit(_last("wxyz", wxyz, 4)))).log()


def _upper(wxyz: Array) -> Array:
    """q and -q are one rotation: the one with w >= 0."""
    return jnp.where(wxyz[..., :1] < 0, -wxyz, wxyz)


def _unit(v: Array) -> Array:
    return v / jnp.sqrt(jnp.maximum((v**2).sum(-1, keepdims=True), _TINY))


def _last(name: str, x: Array, size: int) -> Array:
    if jnp.ndim(x) < 1 or jnp.shape(x)[-1] != size:
        raise ValueError(f"{name}: needed [..., {size}], got {list(jnp.shape(x))}")
    return jnp.asarray(x)


def forward_kinematics(rotations: Array, offsets: Array, parents: tuple[int, ...]) -> tuple[Array, Array]:
    """Joints [..., J, 3] and global rotations [..., J, 3, 3] of local rotations [..., J, 3, 3].

    offsets: [..., J, 3], any unit, each joint relative to its parent at rest; the root's row is its position.
    parents: J indices, -1 for the root, which comes first; a parent comes before its children. Leading axes of
    rotations and offsets broadcast. ValueError for parents of another order or count.
    """
    levels, order = _levels(tuple(parents))
    num = len(parents)
    if rotations.shape[-3:] != (num, 3, 3) or offsets.shape[-2:] != (num, 3):
        raise ValueError(
            f"needed rotations [..., {num}, 3, 3] and offsets [..., {num}, 3] for {num} parents, "
            f"got {list(rotations.shape)} and {list(offsets.shape)}"
        )
    lead = jnp.broadcast_shapes(rotations.shape[:-3], offsets.shape[:-2])
    rotations = jnp.broadcast_to(rotations, (*lead, num, 3, 3))
    offsets = jnp.broadcast_to(offsets, (*lead, num, 3))
    turned, placed = [rotations[..., :1, :, :]], [offsets[..., :1, :]]
    for joints, above in levels:
        parent_turned, parent_placed = turned[-1][..., above, :, :], placed[-1][..., above, :]
        step = (parent_turned * offsets[..., joints, None, :]).sum(-1)
        placed.append(parent_placed + step)
        turned.append(_product(parent_turned, rotations[..., joints, :, :]))
    return jnp.concatenate(placed, -2)[..., order, :], jnp.concatenate(turned, -3)[..., order, :, :]


def offsets_of(joints: Array, parents: tuple[int, ...]) -> Array:
    """Offsets [..., J, 3] of rest joints [..., J, 3], as `forward_kinematics` takes them."""
    # not by adding to a slice in place: XLA 0.10 on CPU then reads parents that it has already changed
    to_parent = joints[..., 1:, :] - joints[..., np.array(parents[1:]), :]
    return jnp.concatenate([joints[..., :1, :], to_parent], -2)


def _product(a: Array, b: Array) -> Array:
    """a @ b of [..., 3, 3] in vector lanes: batched products of 3 x 3 are slow on every device."""
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)


@functools.cache
def _levels(parents: tuple[int, ...]) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Of each depth: its joints, and where their parents stand among those of the depth before; the order back."""
    if not parents or parents[0] != -1 or any(not 0 <= p < j for j, p in enumerate(parents) if j):
        raise ValueError(f"parents: needed -1 first and every parent before its children, got {parents}")
    depth = [0]
    for p in parents[1:]:
        depth.append(depth[p] + 1)
    rows = [np.flatnonzero(np.array(depth) == d) for d in range(max(depth) + 1)]
    above = [np.searchsorted(rows[d - 1], np.array(parents)[rows[d]]) for d in range(1, len(rows))]
    return list(zip(rows[1:], above, strict=True)), np.argsort(np.concatenate(rows))
