"""Plausibility of poses: bone lengths and joint angles within the ranges of real ones.

A pose is plausible where all its lengths (or angles) lie within ranges of the reference, whose mirror images count as
reference too. Ranges are taken one quantity at a time, so a real pose fails now and then: read the share of plausible
samples beside that of held-out real poses.

Angles come from joint positions alone, so turning a pose as a whole changes none of them; a mirror image does. With u
a segment's unit direction and a frame of the trunk below it (up along the trunk, left towards the left hip or shoulder,
forward = left x up):

    elevation   angle between u and down                    0 hanging, pi/2 horizontal
    forward     asin(u . forward)                           negative behind the body
    outward     asin(u . left), of a right limb . right     negative across the body
    bend        angle between a segment and the one before  0 straight
    knee forward  asin(shin . (thigh x left of the pelvis))   negative where a knee bends as knees do
    twist       angle from the hip line to the shoulder line about the lower trunk

The knee's sign supposes a hinge along the hip line and fades as thigh and hip line align. An elbow's hinge turns with
the upper arm, which positions do not show: its bend has no sign, and an elbow bent the wrong way is not found.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.geometry.skeleton import H36M_17, bone_lengths, bones, check_joints, mirror

BONE_RANGE = (0.5, 99.5)  # percentiles of the reference
ANGLE_RANGE = (0.1, 99.9)
BONE_MARGIN = 0.01  # metres; held-out people differ from the training people by about this much

_LEG = ("hip_elevation", "hip_forward", "hip_outward", "knee_bend", "knee_forward")
_ARM = ("shoulder_elevation", "shoulder_forward", "shoulder_outward", "elbow_bend")
_TRUNK = ("spine_bend", "spine_forward", "neck_bend", "neck_forward", "head_bend", "head_forward", "trunk_twist")
ANGLES = (*(f"{side}_{name}" for side in ("left", "right") for name in _LEG + _ARM), *_TRUNK)


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
    """plausible: share of poses with every angle in range; outside: [A] share out of range, along `ANGLES`."""

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


def joint_angles(poses: Array) -> Array:
    """The angles [..., A] of poses [..., 17, 3] of `H36M_17` in the order of `ANGLES`, radians; see the module."""
    check_joints(poses, H36M_17)
    at = dict(zip(H36M_17.joints, jnp.moveaxis(poses, -2, 0), strict=True))

    def segment(start: str, end: str) -> Array:
        return _unit(at[end] - at[start])

    loin, chest = segment("hip", "spine"), segment("spine", "thorax")
    neck, head = segment("thorax", "neck_nose"), segment("neck_nose", "head")
    hip_line, shoulder_line = segment("right_hip", "left_hip"), segment("right_shoulder", "left_shoulder")
    pelvis_frame, chest_frame = _frame(loin, hip_line), _frame(chest, shoulder_line)
    limbs = []
    for side, sign in (("left", 1), ("right", -1)):
        thigh, shin = (segment(f"{side}_{a}", f"{side}_{b}") for a, b in (("hip", "knee"), ("knee", "ankle")))
        upper, lower = (segment(f"{side}_{a}", f"{side}_{b}") for a, b in (("shoulder", "elbow"), ("elbow", "wrist")))
        limbs += [*_limb(pelvis_frame, thigh, sign), _between(thigh, shin)]
        limbs += [_arcsin(_dot(shin, jnp.cross(thigh, hip_line)))]
        limbs += [*_limb(chest_frame, upper, sign), _between(upper, lower)]
    trunk = []
    for frame, part in ((pelvis_frame, chest), (chest_frame, neck), (_frame(neck, shoulder_line), head)):
        trunk += [_between(frame.up, part), _arcsin(_dot(part, frame.forward))]
    twist = jnp.arctan2(_dot(chest_frame.left, pelvis_frame.forward), _dot(chest_frame.left, pelvis_frame.left))
    return jnp.stack([*limbs, *trunk, twist], -1)


_angles = jax.jit(joint_angles)


class _Frame(NamedTuple):
    """Three unit vectors [..., 3] at right angles."""

    up: Array
    left: Array
    forward: Array


def _frame(up: Array, line: Array) -> _Frame:
    """A frame whose left is the part of `line` across `up`."""
    left = _unit(line - _dot(line, up)[..., None] * up)
    return _Frame(up, left, jnp.cross(left, up))


def _limb(frame: _Frame, direction: Array, sign: int) -> tuple[Array, Array, Array]:
    """Elevation, forward and outward of a limb's first segment; sign 1 for left, -1 for right."""
    forward, outward = _dot(direction, frame.forward), sign * _dot(direction, frame.left)
    return _between(direction, -frame.up), _arcsin(forward), _arcsin(outward)


def _between(a: Array, b: Array) -> Array:
    """Angle of unit vectors, exact near 0 and pi too."""
    return jnp.arctan2(jnp.linalg.norm(jnp.cross(a, b), axis=-1), _dot(a, b))


def _arcsin(x: Array) -> Array:
    return jnp.arcsin(jnp.clip(x, -1, 1))


def _dot(a: Array, b: Array) -> Array:
    return (a * b).sum(-1)


def _unit(x: Array) -> Array:
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def _check_reference(values: np.ndarray) -> None:
    bad = int((~np.isfinite(values)).any(-1).sum())
    if bad or not len(values):
        raise ValueError(f"reference: needed poses of finite lengths and angles, got {bad} of {len(values)} without")
