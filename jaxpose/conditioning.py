"""Hierarchical condition masking: a pure augmentation, outside the network.

In this order, independently for every example (GFPose, CVPR 2023, section 3.3; spec/gfpose.md, 4.1):

    pose   the whole condition is hidden
    part   each of the skeleton's parts is hidden, the union of the drawn parts
    joint  each joint is hidden
    depth  the rate at which a condition is 3D; otherwise its last coordinate is hidden

Unlike the original, what is hidden is said to the network (`Condition.mask`): an observed joint that agrees with the
state is never mistaken for a hidden one.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Condition, Key
from jaxpose.geometry.skeleton import Skeleton


class MaskRates(NamedTuple):
    """Probabilities of hiding the pose, each part and each joint, and of showing depth; all in [0, 1]."""

    pose: float = 0.1
    part: float = 0.1
    joint: float = 0.1
    depth: float = 0.1


def draw_joints(key: Key, rates: MaskRates, skeleton: Skeleton) -> Array:
    """Which joints stay visible under the pose, part and joint levels: [J] of 0 and 1."""
    for name, rate in rates._asdict().items():
        if not 0 <= rate <= 1:
            raise ValueError(f"MaskRates.{name} must be in [0, 1], got {rate}")
    pose_key, part_key, joint_key = jax.random.split(key, 3)
    num_joints = len(skeleton.joints)
    member = np.array([np.isin(np.arange(num_joints), part) for part in skeleton.parts])
    hide_pose = jax.random.bernoulli(pose_key, float(rates.pose))
    hide_part = (jax.random.bernoulli(part_key, float(rates.part), (len(member), 1)) & member).any(0)
    hide_joint = jax.random.bernoulli(joint_key, float(rates.joint), (num_joints,))
    return 1.0 - (hide_pose | hide_part | hide_joint)


def mask_condition(key: Key, cond: Condition, rates: MaskRates, skeleton: Skeleton) -> Condition:
    """One condition [J, D] with joints, and mostly its depth, hidden at `rates`.

    What was hidden before stays hidden, and nothing hidden keeps its value; `context` is the caller's to hide.
    A batch is a vmap over keys.
    """
    joints_key, depth_key = jax.random.split(key)
    joints = draw_joints(joints_key, rates, skeleton)
    show_depth = jax.random.bernoulli(depth_key, float(rates.depth)).astype(cond.mask.dtype)
    mask = cond.mask * joints[:, None]
    mask = mask.at[..., -1].multiply(show_depth)
    return cond._replace(value=jnp.where(mask > 0, cond.value, 0), mask=mask)
