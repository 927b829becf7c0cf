"""Rotations in four representations, and forward kinematics: joint positions from local rotations.

    axis-angle   v = angle * axis, radians; v and v - 2 pi v / |v| are one rotation, the shorter is canonical
    6D           the first two columns of the matrix, row by row: R00 R01 R10 R11 R20 R21
    quaternion   wxyz

    G_root = R_root,     G_j = G_parent R_j
    x = A y,             y_root = o_root,  y_j = G_parent o_j      o_j: joint j relative to its parent at rest
    dG = (A W) G,        W_j = G_parent dR_j G_j'                  A_ij = 1 where j is i or one of its ancestors

The maps are smooth at the zero rotation, and the logarithm, jaxlie's, also at half turns, where only the axis' sign is
a convention. Inside, bodies are the last axis: a product of 3 x 3 is then 27 products of long vectors, written out.
(XLA's CPU code of a sum over an axis of 3 is 70 times slower, and the gradient of a broadcast or of an index is such a
sum or a loop over bodies.) Joints of equal depth are computed together, and derivatives of all joints at once.

Source: Sola et al., A micro Lie theory (2018); Zhou et al., On the continuity of rotation representations (2019).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxlie import SO3

from jaxpose.base import Array
from jaxpose.geometry.products import fixed_times, product, split, times, times_fixed

_TINY = 1e-12  # keeps the normalisation of a zero vector finite
_SMALL = 0.1  # square of an angle, radians, below which series are exact in float32


def matrix_from_axis_angle(axis_angle: Array) -> Array:
    """Rotation matrices [..., 3, 3] of axis-angle vectors [..., 3] in radians, of any length."""
    v = jnp.moveaxis(_last("axis_angle", axis_angle, 3), -1, 0)
    x, y, z = split(v)
    q = (x * x + y * y + z * z) / 4  # of half the angle
    small = q < _SMALL / 4
    half = jnp.sqrt(jnp.where(small, 1, q))
    w = jnp.where(small, 1 - q / 2 * (1 - q / 12 * (1 - q / 30)), jnp.cos(half))
    sinc = jnp.where(small, 1 - q / 6 * (1 - q / 20 * (1 - q / 42)), jnp.sin(half) / half)
    x, y, z = (sinc / 2 * u for u in (x, y, z))
    xx, yy, zz, xy, xz, yz, wx, wy, wz = (
        2 * u for u in (x * x, y * y, z * z, x * y, x * z, y * z, w * x, w * y, w * z)
    )
    rows = ((1 - yy - zz, xy - wz, xz + wy), (xy + wz, 1 - xx - zz, yz - wx), (xz - wy, yz + wx, 1 - xx - yy))
    return jnp.moveaxis(jnp.stack([jnp.stack(row) for row in rows]), (0, 1), (-2, -1))


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


def nearest_turn(x: Array, y: Array, weight: Array, *, allow_reflection: bool = False) -> tuple[Array, Array, Array]:
    """Turn R [..., 3, 3] of x about its middle nearest to y [..., K, 3], and both middles [..., 1, 3]; weight [..., K].

    Nearest in the weighted sum of squares (Kabsch, 1976). Of the turns that a reflection would beat, the best gives up
    the weakest direction.
    """
    weight = weight[..., None]
    total = jnp.maximum(weight.sum(-2, keepdims=True), 1)
    x_mid, y_mid = ((weight * v).sum(-2, keepdims=True) / total for v in (x, y))
    covariance = jnp.einsum("...ki,...kj->...ij", weight * (y - y_mid), x - x_mid, precision="highest")
    U, _, Vt = jnp.linalg.svd(covariance)
    if not allow_reflection:
        U = U.at[..., -1].multiply(jnp.linalg.det(product(U, Vt))[..., None])
    return product(U, Vt), x_mid, y_mid


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
    rotations and offsets broadcast. Derivatives take the rotations to be rotations. ValueError for parents of another
    order or count.
    """
    parents, num = tuple(parents), len(parents)
    _levels(parents)  # what is wrong with them
    if rotations.shape[-3:] != (num, 3, 3) or offsets.shape[-2:] != (num, 3):
        raise ValueError(
            f"needed rotations [..., {num}, 3, 3] and offsets [..., {num}, 3] for {num} parents, "
            f"got {list(rotations.shape)} and {list(offsets.shape)}"
        )
    lead = jnp.broadcast_shapes(rotations.shape[:-3], offsets.shape[:-2])
    R = bodies_last(jnp.broadcast_to(rotations, (*lead, num, 3, 3)), 3)
    o = bodies_last(jnp.broadcast_to(offsets, (*lead, num, 3)), 2)
    G = _global_rotations(parents, R)
    y = times(_above(parents, G), o[:, :, None])[:, :, 0]
    return bodies_first(over_joints(ancestors(parents), y), lead), bodies_first(G, lead)


def offsets_of(joints: Array, parents: tuple[int, ...]) -> Array:
    """Offsets [..., J, 3] of rest joints [..., J, 3], as `forward_kinematics` takes them."""
    to_parent = np.eye(len(parents), dtype=np.float32) - _parent(tuple(parents))
    return jnp.einsum("ij,...jk->...ik", to_parent, joints, precision="highest")


def bodies_last(x: Array, num_axes: int) -> Array:
    """x [..., A, B] as [A, B, N], for `num_axes` axes that are not of bodies."""
    return jnp.moveaxis(x.reshape(-1, *x.shape[x.ndim - num_axes :]), 0, -1)


def bodies_first(x: Array, lead: tuple[int, ...]) -> Array:
    """x [A, B, N] as [*lead, A, B]."""
    return jnp.moveaxis(x, -1, 0).reshape(*lead, *x.shape[:-1])


def over_joints(matrix: np.ndarray | Array, x: Array) -> Array:
    """The product of a constant matrix [K, J] with x [J, ..., N]: [K, ..., N]."""
    flat = jnp.dot(jnp.asarray(matrix, x.dtype), x.reshape(len(x), -1), precision="highest")
    return flat.reshape(len(matrix), *x.shape[1:])


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _global_rotations(parents: tuple[int, ...], R: Array) -> Array:
    """G [J, 3, 3, N] of local rotations R [J, 3, 3, N]; its derivative takes them to be rotations."""
    levels, order = _levels(parents)
    turned = [R[:1]]
    for joints, above in levels:
        turned.append(times(turned[-1][above], R[joints]))
    return jnp.concatenate(turned)[order]


@_global_rotations.defjvp
def _global_rotations_jvp(
    parents: tuple[int, ...], primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    G = _global_rotations(parents, *primals)
    W = fixed_times(times_fixed(_above(parents, G), *tangents), jnp.swapaxes(G, 1, 2))
    return G, fixed_times(over_joints(ancestors(parents), W), G)


def _above(parents: tuple[int, ...], G: Array) -> Array:
    """Each joint's parent's rotation [J, 3, 3, N]; the identity for the root."""
    root = np.zeros((len(parents), 3, 3, 1), np.float32)
    root[0, :, :, 0] = np.eye(3)
    return over_joints(_parent(parents), G) + root


@functools.cache
def _parent(parents: tuple[int, ...]) -> np.ndarray:
    """[J, J]: 1 where column j is the parent of row i."""
    return np.array([[float(p == j) for j in range(len(parents))] for p in parents], np.float32)


@functools.cache
def ancestors(parents: tuple[int, ...]) -> np.ndarray:
    """[J, J]: 1 where column j is row i or one of its ancestors."""
    above = np.eye(len(parents), dtype=np.float32)
    for j, p in enumerate(parents[1:], 1):
        above[j] += above[p]
    return above


@functools.cache
def _levels(parents: tuple[int, ...]) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Joints of each depth, and the places of their parents among those of the depth before; the order back."""
    if not parents or parents[0] != -1 or any(not 0 <= p < j for j, p in enumerate(parents) if j):
        raise ValueError(f"parents: needed -1 first and every parent before its children, got {parents}")
    depth = [0]
    for p in parents[1:]:
        depth.append(depth[p] + 1)
    rows = [np.flatnonzero(np.array(depth) == d) for d in range(max(depth) + 1)]
    above = [np.searchsorted(rows[d - 1], np.array(parents)[rows[d]]) for d in range(1, len(rows))]
    return list(zip(rows[1:], above, strict=True)), np.argsort(np.concatenate(rows))
