"""Plausibility of poses: bone lengths and joint angles within the ranges of real ones.

A pose is plausible where all its lengths (or angles) lie within ranges of the reference, whose mirror images count as
reference too. Ranges are taken one quantity at a time, so a real pose fails now and then: read the share of plausible
samples beside that of held-out real poses.

Angles are those of `geometry/measures.py`: of joint positions alone, so turning a pose as a whole changes none of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.geometry.measures import joint_angles
from jaxpose.geometry.skeleton import H36M_17, bone_lengths, bones, mirror

BONE_RANGE = (0.5, 99.5)  # percentiles of the reference
ANGLE_RANGE = (0.1, 99.9)
BONE_MARGIN = 0.01  # metres; held-out people differ from the training people by about this much


class BonePlausibility(NamedTuple):
    """Bone lengths of a set of poses.

    plausible: share of poses with every length and every left-right difference in range.
    outside:   [B] share of poses whose bone is out of range, along `bones`.
    excess:    [B] metres, mean distance of the bone's length from its range, 0 inside.
    asymmetry: metres, mean difference of a left bone's length and its right one's.
    """

    plausible: float
    outside: np.ndarray
    excess: np.ndarray
    asymmetry: float


class AnglePlausibility(NamedTuple):
    """plausible: share of poses with every angle in range; outside: [A] share out of range, along `measures.ANGLES`."""

    plausible: float
    outside: np.ndarray


def bone_plausibility(
    poses: Array | np.ndarray, reference: Array | np.ndarray, *, margin: float = BONE_MARGIN
) -> BonePlausibility:
    """Bone lengths of poses [N, 17, 3] against those of the reference [M, 17, 3] of `H36M_17`, metres.

    A length is in range within the reference's 0.5 to 99.5 percentiles widened by `margin` metres at either end; a
    left-right difference is, up to the reference's 99.5 percentile and the margin. ValueError for another number of
    joints and for a reference that is not finite.
    """
    lengths, known = (np.asarray(bone_lengths(jnp.asarray(x), H36M_17)) for x in (poses, reference))
    where = {child: i for i, (_, child) in enumerate(bones(H36M_17))}
    left, right = (np.array([where[j] for j in side]) for side in (H36M_17.left, H36M_17.right))
    _check_reference(known)
    difference, known_difference = (np.abs(x[:, left] - x[:, right]) for x in (lengths, known))
    both = known.copy()
    both[:, left], both[:, right] = known[:, right], known[:, left]
    low, high = np.percentile(np.concatenate([known, both]), BONE_RANGE, axis=0) + np.array([[-margin], [margin]])
    even = difference <= np.percentile(known_difference, BONE_RANGE[1], axis=0) + margin
    inside = (lengths >= low) & (lengths <= high)
    return BonePlausibility(
        float((inside.all(-1) & even.all(-1)).mean()),
        1 - inside.mean(0),
        np.abs(lengths - np.clip(lengths, low, high)).mean(0),
        float(difference.mean()),
    )


def angle_plausibility(poses: Array | np.ndarray, reference: Array | np.ndarray) -> AnglePlausibility:
    """Joint angles of poses [N, 17, 3] against those of the reference [M, 17, 3] of `H36M_17`, any unit, any axes.

    An angle is in range within the 0.1 to 99.9 percentiles of the reference and its mirror images. One that does not
    exist, since two joints coincide, is out of range; in a reference it is a ValueError.
    """
    angles, known, mirrored = (
        np.asarray(_angles(jnp.asarray(x))) for x in (poses, reference, mirror(jnp.asarray(reference), H36M_17))
    )
    _check_reference(known)
    low, high = np.percentile(np.concatenate([known, mirrored]), ANGLE_RANGE, axis=0)
    inside = (angles >= low) & (angles <= high)
    return AnglePlausibility(float(inside.all(-1).mean()), 1 - inside.mean(0))


_angles = jax.jit(joint_angles)


def _check_reference(values: np.ndarray) -> None:
    bad = int((~np.isfinite(values)).any(-1).sum())
    if bad or not len(values):
        raise ValueError(f"reference: needed poses of finite lengths and angles, got {bad} of {len(values)} without")
