"""Quantities that people measure of a person: angles of joints, segments, distances, from the 17 joints.

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

`measured` has them as clinicians name them, in degrees and metres. Its flexion and abduction follow from these angles:

    flexion     atan2(sin forward, cos elevation)           in the plane of forward and down; negative behind the body
    abduction   of a hip: outward, the second angle of the ISB's (Grood and Suntay 1983; Wu et al. 2002); of a shoulder
                atan2(sin outward, cos elevation)
    plane       of a shoulder: atan2(sin forward, sin outward), the ISB's plane of elevation (Wu et al. 2005): 0 to the
                side, 90 forward

What 17 joints do not define: rotations about the long axes of thigh, upper arm and forearm (the ISB's internal rotation
and pronation), knee and elbow abduction, all of ankle and wrist, tilt of the pelvis against its own landmarks (the
pelvis has three points on one line, so its frame takes `up` from the lower trunk), and the scapula.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.geometry.products import unit
from jaxpose.geometry.skeleton import H36M_17, bone_lengths, check_joints

_LEG = ("hip_elevation", "hip_forward", "hip_outward", "knee_bend", "knee_forward")
_ARM = ("shoulder_elevation", "shoulder_forward", "shoulder_outward", "elbow_bend")
_TRUNK = ("spine_bend", "spine_forward", "neck_bend", "neck_forward", "head_bend", "head_forward", "trunk_twist")
ANGLES = (*(f"{side}_{name}" for side in ("left", "right") for name in _LEG + _ARM), *_TRUNK)

# An ankle's height over the sole as a share of stature: Drillis and Contini (1966), in Winter, Biomechanics, fig. 4.1.
_ANKLE_HEIGHT = 0.039
_SEGMENTS = {
    **{
        f"{side}_{name}": (f"{side}_{a}", f"{side}_{b}")
        for side in ("left", "right")
        for name, a, b in (
            ("thigh", "hip", "knee"),
            ("shank", "knee", "ankle"),
            ("upper_arm", "shoulder", "elbow"),
            ("forearm", "elbow", "wrist"),
        )
    },
    "trunk": ("thorax", "hip"),
}


def joint_angles(poses: Array) -> Array:
    """The angles [..., A] of poses [..., 17, 3] of `H36M_17` in the order of `ANGLES`, radians; see the module."""
    check_joints(poses, H36M_17)
    at = dict(zip(H36M_17.joints, jnp.moveaxis(poses, -2, 0), strict=True))

    def segment(start: str, end: str) -> Array:
        return unit(at[end] - at[start])

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


def measured(joints: Array, up: Array | np.ndarray) -> dict[str, Array]:
    """Quantities [...] by name of poses [..., 17, 3] of `H36M_17`, metres; angles in degrees, see the module.

    up: [3] the unit vector that points up in the axes of the joints. Names that end in _length and _distance, `stature`
    and `step_length` are metres. An elevation is the angle of a segment from straight down (0 of a thigh that hangs;
    the trunk from thorax to hip). step_length is signed: by how much the left ankle is ahead, along the way that the
    hips face.
    """
    joints, up = jnp.asarray(joints), jnp.asarray(up)
    bend = dict(zip(ANGLES, jnp.moveaxis(joint_angles(joints), -1, 0), strict=True))
    at = dict(zip(H36M_17.joints, jnp.moveaxis(joints, -2, 0), strict=True))
    values: dict[str, Array] = {}
    for side in ("left", "right"):
        values[f"{side}_knee_flexion"] = bend[f"{side}_knee_bend"]
        values[f"{side}_elbow_flexion"] = bend[f"{side}_elbow_bend"]
        for joint in ("hip", "shoulder"):
            name = f"{side}_{joint}"
            elevation, forward, outward = (bend[f"{name}_{angle}"] for angle in ("elevation", "forward", "outward"))
            ahead, aside, below = jnp.sin(forward), jnp.sin(outward), jnp.cos(elevation)
            values |= {f"{name}_elevation": elevation, f"{name}_flexion": jnp.arctan2(ahead, below)}
            values[f"{name}_abduction"] = outward if joint == "hip" else jnp.arctan2(aside, below)
        values[f"{side}_shoulder_plane"] = jnp.arctan2(ahead, aside)
    values |= {"trunk_bend": bend["spine_bend"], "trunk_twist": bend["trunk_twist"]}
    values |= {"neck_bend": bend["neck_bend"], "head_bend": bend["head_bend"]}
    for name, (start, end) in _SEGMENTS.items():
        values[f"{name}_elevation"] = _between(unit(at[end] - at[start]), -up)
    values = {name: jnp.degrees(value) for name, value in values.items()}
    values |= {f"{name}_length": distance(at[start], at[end]) for name, (start, end) in _SEGMENTS.items()}
    values |= {f"{name}_distance": distance(at[f"left_{name}"], at[f"right_{name}"]) for name in ("wrist", "ankle")}
    facing = unit(jnp.cross(at["left_hip"] - at["right_hip"], up))
    return values | {"step_length": _dot(at["left_ankle"] - at["right_ankle"], facing), "stature": stature(joints)}


@functools.cache
def names() -> tuple[str, ...]:
    """The names of `measured`, in its order."""
    pose, up = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((17, 3), (3,)))
    return tuple(jax.eval_shape(measured, pose, up))


def unit_of(name: str) -> str:
    """The unit of a quantity of `measured`: "m" or "deg"."""
    return "m" if name.endswith(("_length", "_distance")) or name == "stature" else "deg"


def stature(joints: Array) -> Array:
    """Standing height [...] metres of poses [..., 17, 3]: leg (mean of both), spine and head, laid end to end."""
    lengths = dict(zip(H36M_17.joints[1:], jnp.moveaxis(bone_lengths(joints, H36M_17), -1, 0), strict=True))
    thigh, shin = (0.5 * (lengths[f"left_{joint}"] + lengths[f"right_{joint}"]) for joint in ("knee", "ankle"))
    column = lengths["spine"] + lengths["thorax"] + lengths["neck_nose"] + lengths["head"]
    return (thigh + shin + column) / (1 - _ANKLE_HEIGHT)


def distance(a: Array, b: Array) -> Array:
    """Distance [...] of points [..., 3]."""
    return jnp.linalg.norm(a - b, axis=-1)


def angle_at(a: Array, b: Array, c: Array) -> Array:
    """Angle [...] in degrees at point b [..., 3] between the ways to a and to c: 180 where the three lie on a line."""
    return jnp.degrees(_between(unit(a - b), unit(c - b)))


def elevation(a: Array, b: Array, up: Array | np.ndarray) -> Array:
    """Angle [...] in degrees of the way from point a to point b [..., 3] from straight down."""
    return jnp.degrees(_between(unit(jnp.asarray(b - a)), -jnp.asarray(up)))


class _Frame(NamedTuple):
    """Three unit vectors [..., 3] at right angles."""

    up: Array
    left: Array
    forward: Array


def _frame(up: Array, line: Array) -> _Frame:
    """A frame whose left is the part of `line` across `up`."""
    left = unit(line - _dot(line, up)[..., None] * up)
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
