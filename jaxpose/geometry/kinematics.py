"""Forward kinematics of a joint tree: joint positions from local rotations and the rest pose.

    G_root = R_root,  x_root = o_root
    G_j = G_parent R_j,  x_j = x_parent + G_parent o_j       o_j: joint j relative to its parent at rest

Joints of equal depth are computed together, so a body of 22 joints takes 8 small products instead of 21.
"""

import functools

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array


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
