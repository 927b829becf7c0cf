"""Conversion between joint sets: linear maps by joint name, with a mask of missing joints.

    point_t = sum_s W[t, s] point_s        W >= 0, every known row sums to 1, every unknown row is 0

A joint that both sets have is copied. One that the source lacks is composed where COMPOSITIONS has a rule for it, and
unknown otherwise. Rows that sum to 1 make a map commute with rigid motions. Nothing is extrapolated: the top of the
head stays unknown to COCO, the hands to every set but SMPL-24, and Human3.6M's spine to sets without one: half way from
hip to thorax is 45 / 87 mm off, worse for a lifter than nothing. Compositions of distant points are of 3D: in an image
perspective bends them a little.

The millimetres below are mean distances over every fifth frame of shared/data/mocap, CMU / HDM05, taken on
joints17 where the rule is between Human3.6M joints, on forward kinematics of the generic SMPL skeleton of
skeletons.json where it is between SMPL joints, and across the two where it is between both.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision

from jaxpose.base import Array
from jaxpose.geometry.skeleton import Skeleton, check_joints


class Composition(NamedTuple):
    """How `joint` is made of the joints of `weights` (each >= 0, sum 1), and why that is right."""

    joint: str
    weights: Mapping[str, float]
    reason: str


# In order: a rule may read the joints of the source and what the rules above it made; of several rules for a
# joint the first that can be applied wins.
COMPOSITIONS = (
    Composition("hip", {"left_hip": 0.5, "right_hip": 0.5}, "by definition: 0.3 / 0.3 mm"),
    Composition("thorax", {"neck": 1.0}, "3DHP's is Human3.6M's thorax (spec/diffpose.md 6.4)"),
    Composition("thorax", {"left_shoulder": 0.5, "right_shoulder": 0.5}, "shoulder height: 30 / 20 mm"),
    Composition("neck", {"thorax": 1.0}, "as above; SMPL's neck is 50 mm above mid shoulders"),
    Composition("spine", {"spine1": 1.0}, "nearest SMPL joint: 38 / 62 mm (spine2: 114 / 95 mm)"),
    Composition("pelvis", {"hip": 6 / 7, "thorax": 1 / 7}, "share of the line from hip to neck, measured: 0.14"),
    Composition("spine1", {"hip": 2 / 3, "thorax": 1 / 3}, "as above, 0.33 / 0.32; 31 / 70 mm"),
    Composition("spine2", {"hip": 0.45, "thorax": 0.55}, "as above, 0.55 / 0.54; 26 / 56 mm"),
    Composition("spine3", {"hip": 0.35, "thorax": 0.65}, "as above, 0.65 / 0.64; 26 / 37 mm"),
    Composition("left_collar", {"left_shoulder": 0.7, "right_shoulder": 0.3}, "on the collarbone: 32 / 32 mm"),
    Composition("right_collar", {"right_shoulder": 0.7, "left_shoulder": 0.3}, "on the collarbone: 32 / 32 mm"),
    Composition("neck_nose", {"head_base": 1.0}, "3DHP's is Human3.6M's (same); SMPL's: 95 / 53 mm"),
    Composition("neck_nose", {"thorax": 0.6, "head": 0.4}, "on that line but for 31 / 38 mm"),
    Composition("neck_nose", {"thorax": 0.58, "nose": 0.42}, "0.11 of the 0.26 m to the nose, of the walker's median"),
    Composition("head_base", {"left_ear": 0.5, "right_ear": 0.5}, "the skull turns on the neck between the ears"),
    Composition("head_base", {"upper_neck": 1.0}, "both mark where the head meets the neck"),
    Composition("head_base", {"neck_nose": 1.0}, "inverse of the rule for neck_nose"),
    # Ball of the foot: about 0.7 of the way from the heel to the toes.
    Composition("left_foot", {"left_heel": 0.3, "left_big_toe": 0.35, "left_small_toe": 0.35}, "ball of the foot"),
    Composition("right_foot", {"right_heel": 0.3, "right_big_toe": 0.35, "right_small_toe": 0.35}, "as on the left"),
    Composition("left_foot", {"left_heel": 0.3, "left_foot_index": 0.7}, "ball of the foot, of MediaPipe's two points"),
    Composition("right_foot", {"right_heel": 0.3, "right_foot_index": 0.7}, "as on the left"),
)


@lru_cache
def joint_map(source: Skeleton, target: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """The linear map from source to target, read only: weights [J_t, J_s], 0 in unknown rows, and known [J_t] bool."""
    rows = dict(zip(source.joints, np.eye(len(source.joints)), strict=True))
    for rule in COMPOSITIONS:
        if rule.joint not in rows and all(joint in rows for joint in rule.weights):
            rows[rule.joint] = sum((w * rows[joint] for joint, w in rule.weights.items()), np.zeros(len(source.joints)))
    known = np.array([joint in rows for joint in target.joints])
    weights = np.stack([rows.get(joint, np.zeros(len(source.joints))) for joint in target.joints])
    weights.flags.writeable = known.flags.writeable = False
    return weights, known


def convert_joints(points: Array, confidence: Array, source: Skeleton, target: Skeleton) -> tuple[Array, Array]:
    """Points and confidences of the source set as those of the target set.

    points [..., J_s, D] of any unit, confidence [..., J_s] -> points [..., J_t, D], confidence [..., J_t]. The
    confidence of a target joint is the least of the joints it is composed of. Where that is 0, as for a joint that the
    source does not determine, the point is 0. A source point that is not finite, or whose confidence is not above 0,
    counts as unseen and touches no other joint. ValueError where J_s is not the source's.
    """
    points, confidence = jnp.asarray(points), jnp.asarray(confidence)
    check_joints(points, source)
    if confidence.shape != points.shape[:-1]:
        raise ValueError(f"confidence must be {points.shape[:-1]} as points are {points.shape}, got {confidence.shape}")
    return _converted(points, confidence, *joint_map(source, target))


@jax.jit
def _converted(points: Array, confidence: Array, weights: Array, known: Array) -> tuple[Array, Array]:
    visible = jnp.isfinite(points).all(-1) & (confidence > 0)
    # An unknown joint has no contributors: its minimum is the +inf that `known` replaces.
    sure = jnp.where(weights > 0, jnp.where(visible, confidence, 0)[..., None, :], jnp.inf).min(-1)
    sure = jnp.where(known, sure, 0).astype(confidence.dtype)
    clean = jnp.where(visible[..., None], points, 0)
    weights = weights.astype(jnp.result_type(points, float))
    out = jnp.einsum("ts,...sd->...td", weights, clean, precision=Precision.HIGHEST)
    return jnp.where(sure[..., None] > 0, out, 0), sure
