"""Completion: some 3D joints in, exact or noisy, whole 3D poses out.

The observed joints are the network's condition, with how far each is to be trusted. They are taken relative to their
own middle, so they may lie anywhere and any of them may be missing, the root too. Each sample is then moved to where
it agrees best with them, and exact joints take their observed place.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxpose.base import Array, Decoded, Hypotheses, Key, Numbers, Problem
from jaxpose.compiled import check_shape, filled, traced
from jaxpose.model import Model, needs
from jaxpose.spaces.person import View, decode_pose, encode_points
from jaxpose.tasks.draw import check_joints, drawn, from_noise
from jaxpose.tasks.samplers import Sampler
from jaxpose.tasks.typicality import judged

_EXACT = 1e-3  # metres: the smallest noise in weights; joints below count as exact together


@needs("complete", "joints", "condition")
def complete(
    key: Key,
    model: Model,
    joints: Numbers,
    *,
    noise: float | Numbers = 0.0,
    num_hypotheses: int = 200,
    sampler: Sampler | None = None,
    chunk: int | None = None,
    return_path: bool = False,
) -> Hypotheses:
    """Draw whole poses that fit the joints [N, J, 3] metres, NaN where missing; compiled once for a shape.

    With a model of motions the rows are one person's frames, 1/30 s apart, which may have no joint at all.

    joints: in the axes of a camera that looks roughly level at the person (x right, y down, z forward; for a y-up world
            (x, -y, -z)), about any origin, in the model's joint set. With every joint missing, poses are generated.
    noise:  metres, standard deviation of each coordinate: scalar, [N] or [N, J]; 0 is exact and is returned as it came.
    sampler, chunk, return_path: as in `draw`. ValueError for wrong shapes or a model of other states than joints.
    """
    check_joints(model, joints)
    rows: tuple[Any, Any] = (joints, _per_joint(noise, joints.shape[:2]))
    num = joints.shape[0]
    if not traced(key, model, rows):
        rows = filled(rows, num, model.rows_for(num))
        # rows that only fill up a size show nothing: of a motion they are frames
        rows = np.where((np.arange(len(rows[0])) < num)[:, None, None], rows[0], np.nan), rows[1]
    how: dict[str, Any] = {"chunk": chunk, "return_path": return_path}
    return judged(model, drawn(_posed, key, model, rows, num_hypotheses, num, sampler, **how))


def problem(model: Model, joints: Array, noise: Array) -> Problem:
    """The problem of completing joints [N, J, 3] metres, NaN where missing, of noise [N, J] metres."""
    visible = jnp.isfinite(joints).all(-1)
    cond = encode_points(joints, visible, noise)
    decode = Partial(_decode, model, joints, visible, noise)
    return Problem(from_noise(model, cond.value), decode, cond, noise=noise, task="complete")


def _posed(key: Key, model: Model, joints: Array, noise: Array) -> Problem:
    return problem(model, joints, noise)


def _decode(model: Model, joints: Array, visible: Array, noise: Array, states: Array, kept: None) -> Decoded:
    poses = decode_pose(model.statistics, View(jnp.eye(3)), states)
    settled = partial(settle, joints=joints, visible=visible, noise=noise, fill=model.spec.space.fill)
    if states.ndim == 4:
        return Decoded(settled(poses))
    samples = settled(poses[:, -1])
    path = jnp.concatenate([poses[:, :-1] + (samples - poses[:, -1])[:, None, :, :1], samples[:, None]], 1)
    return Decoded(samples, path=path)


def settle(
    poses: Array, joints: Array, visible: Array, noise: Array, fill: Callable[[Array, Array], Array] | None = None
) -> Array:
    """Poses [..., N, J, 3] moved to the observed joints [N, J, 3], those without noise put exactly there.

    The best place of a pose is the mean of the differences, weighted by 1 / noise^2. fill: place of rows without a
    joint, as in `Space`; None: their own.
    """
    weight = visible / jnp.maximum(noise, _EXACT) ** 2
    weight = weight / jnp.maximum(weight.sum(-1, keepdims=True), 1e-6)
    observed = jnp.where(visible[..., None], joints, 0)
    offset = (weight[..., None] * jnp.where(visible[..., None], observed - poses, 0)).sum(-2)
    if fill is not None:
        each = offset.reshape(-1, *offset.shape[-2:])
        offset = jax.vmap(lambda x: fill(x, visible.any(-1)))(each).reshape(offset.shape)
    return jnp.where((visible & (noise == 0))[..., None], observed, poses + offset[..., None, :])


def _per_joint(noise: float | Numbers, shape: tuple[int, ...]) -> Array | np.ndarray:
    level: Any = noise if traced(noise) else np.asarray(noise, np.float32)
    check_shape("noise", level, (), shape[:1], shape)
    xp = jnp if traced(noise) else np
    return xp.broadcast_to(level[:, None] if level.ndim == 1 else level, shape)
