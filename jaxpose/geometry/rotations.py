"""Rotations in four representations, on jaxlie: axis-angle, matrix, 6D, quaternion (wxyz).

    axis-angle   v = angle * axis, radians; v and v - 2 pi v / |v| are one rotation, the shorter is canonical
    6D           the first two columns of the matrix, row by row: R00 R01 R10 R11 R20 R21

The maps are smooth at the zero rotation, and jaxlie's logarithm also at half turns, where only the axis' sign is a
convention.

Source: Sola et al., A micro Lie theory (2018); Zhou et al., On the continuity of rotation representations (2019).
"""

import jax.numpy as jnp
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
