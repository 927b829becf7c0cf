"""Completion: some 3D joints in, exact or noisy, whole 3D poses out.

The observed joints are the network's condition, with how far each is to be trusted. They are taken relative to their
own middle, so they may lie anywhere and any of them may be missing, the root too. Each sample is then moved to where
it agrees best with them, and exact joints take their observed place.

2D keypoints with missing joints are completed by `lift`: it hides what has no confidence.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Key
from jaxpose.model import Model
from jaxpose.spaces.person import View, decode_pose, encode_points
from jaxpose.tasks.draw import Posed, check_joints, check_noise, draw_states, spread

_EXACT = 1e-3  # metres: the smallest noise in weights; joints below count as exact together


def complete(
    key: Key,
    model: Model,
    joints: Array,
    *,
    noise: float | Array = 0.0,
    num_hypotheses: int = 200,
    num_steps: int | None = None,
    sampler: str = "posterior",
    chunk: int | None = None,
    return_path: bool = False,
) -> Posed:
    """Draw whole poses that fit the joints [N, J, 3] metres, NaN where missing; pure, and usable inside jit.

    joints: in the axes of a camera that looks roughly level at the person (x right, y down, z forward; for a y-up world
            (x, -y, -z)), about any origin, in the model's joint set. With every joint missing, poses are generated.
    noise:  metres, standard deviation of each coordinate: scalar, [N] or [N, J]; 0 is exact and is returned as it came.
    The rest as in `draw_states`. ValueError for wrong shapes or a model that has not this codec.
    """
    check_joints(model, joints, "complete")
    noise = _per_joint(noise, joints.shape[:2])
    seen = jnp.isfinite(joints).all(-1)
    states = draw_states(
        key,
        model,
        encode_points(joints, seen, noise),
        num_hypotheses=num_hypotheses,
        num_steps=num_steps,
        sampler=sampler,
        chunk=chunk,
        return_path=return_path,
    )
    poses = decode_pose(model.statistics, View(jnp.eye(3)), states)
    samples = settle(poses[:, -1] if return_path else poses, joints, seen, noise)
    path = None
    if return_path:
        path = jnp.concatenate([poses[:, :-1] + (samples - poses[:, -1])[:, None, :, :1], samples[:, None]], 1)
        path = jnp.swapaxes(path, 0, 1)
    recalibration = model.recalibration.get("complete") if sampler == "posterior" else None
    return Posed(samples, *spread(samples, recalibration), noise, path)


def settle(poses: Array, joints: Array, seen: Array, noise: Array) -> Array:
    """Poses [..., N, J, 3] moved to the observed joints [N, J, 3], those without noise put exactly there.

    The best place of a pose is the mean of the differences, weighted by 1 / noise^2.
    """
    weight = seen / jnp.maximum(noise, _EXACT) ** 2
    weight = weight / jnp.maximum(weight.sum(-1, keepdims=True), 1e-6)
    observed = jnp.where(seen[..., None], joints, 0)
    offset = jnp.einsum("nj,...njd->...nd", weight, jnp.where(seen[..., None], observed - poses, 0))
    return jnp.where((seen & (noise == 0))[..., None], observed, poses + offset[..., None, :])


def _per_joint(noise: float | Array, shape: tuple[int, ...]) -> Array:
    noise = jnp.asarray(noise, jnp.float32)
    check_noise(noise, (), shape[:1], shape)
    return jnp.broadcast_to(noise[:, None] if noise.ndim == 1 else noise, shape)


jitted_complete = jax.jit(complete, static_argnames=("num_hypotheses", "num_steps", "sampler", "chunk", "return_path"))
