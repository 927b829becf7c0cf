"""The numbers of the licence-free body: its joints, the capsules of its surface, points of its face; made for jaxpose.

An adult of 1.72 m and 70 litres at rest: arms out, palms down, y up, facing +z, left towards +x; the pelvis is the
origin and the floor at y = -0.95. Names of joints are those of geometry/skeleton.py, with fingers and face as in
geometry/body_joints.py. Right is left in a mirror. Metres.
"""

from typing import NamedTuple

import numpy as np

from jaxpose.geometry.body_joints import MODEL_JOINTS


class Capsule(NamedTuple):
    """Round cones from a to b of radii r_a and r_b, z and y squeezed by factors; `joint` is the one that moves it."""

    joint: str
    a: tuple[float, float, float]
    b: tuple[float, float, float]
    r_a: float
    r_b: float
    flat_z: float = 1.0
    flat_y: float = 1.0


_TRUNK = {
    "pelvis": (0, 0, 0),
    "spine1": (0, 0.10, -0.01),
    "spine2": (0, 0.22, -0.005),
    "spine3": (0, 0.29, 0),
    "neck": (0, 0.50, -0.025),
    "head_base": (0, 0.59, 0.0),
    "jaw": (0, 0.615, 0.025),
}
_LEFT = {
    "hip": (0.085, -0.075, 0),
    "knee": (0.095, -0.475, 0.005),
    "ankle": (0.10, -0.875, -0.02),
    "foot": (0.115, -0.925, 0.095),
    "collar": (0.06, 0.42, -0.015),
    "shoulder": (0.175, 0.45, -0.025),
    "elbow": (0.435, 0.445, -0.03),
    "wrist": (0.685, 0.445, -0.03),
    "hand": (0.772, 0.44, -0.03),
    "eyeball": (0.031, 0.668, 0.072),
    "index1": (0.777, 0.440, 0.003),
    "index2": (0.808, 0.438, 0.003),
    "index3": (0.832, 0.437, 0.003),
    "middle1": (0.780, 0.442, -0.020),
    "middle2": (0.814, 0.440, -0.020),
    "middle3": (0.840, 0.439, -0.020),
    "ring1": (0.775, 0.441, -0.043),
    "ring2": (0.806, 0.439, -0.043),
    "ring3": (0.830, 0.438, -0.043),
    "pinky1": (0.766, 0.439, -0.064),
    "pinky2": (0.790, 0.437, -0.065),
    "pinky3": (0.808, 0.436, -0.065),
    "thumb1": (0.712, 0.437, -0.002),
    "thumb2": (0.738, 0.430, 0.024),
    "thumb3": (0.762, 0.426, 0.043),
}
WRIST_X = _LEFT["wrist"][0]
_TIPS = {
    "thumb": (0.790, 0.423, 0.061),
    "index": (0.862, 0.436, 0.003),
    "middle": (0.872, 0.438, -0.020),
    "ring": (0.860, 0.437, -0.043),
    "pinky": (0.832, 0.435, -0.066),
}
_FINGER_RADIUS = {"thumb": 0.0130, "index": 0.0120, "middle": 0.0120, "ring": 0.0120, "pinky": 0.0110}

# Points near the vertex of each of the 21 picked points, in their order (body_joints.PICKED).
_PICKS = {
    "nose": (0, 0.64, 0.15),
    "eye": (0.033, 0.668, 0.125),
    "ear": (0.10, 0.652, 0.0),
    "big_toe": (0.10, -0.93, 0.19),
    "small_toe": (0.15, -0.935, 0.15),
    "heel": (0.10, -0.925, -0.10),
    **{f"{finger}_tip": (x + 0.02, y, z) for finger, (x, y, z) in _TIPS.items()},
}

_HALF_TRUNK = [
    Capsule("pelvis", (0.0, -0.02, 0.0), (0.068, -0.03, 0.0), 0.112, 0.103, 1.12),
    Capsule("pelvis", (0.060, -0.055, -0.035), (0.072, -0.075, -0.035), 0.080, 0.080),
    Capsule("spine1", (0.046, 0.04, 0.0), (0.042, 0.14, 0.0), 0.098, 0.094, 1.10),
    Capsule("spine2", (0.043, 0.15, 0.0), (0.054, 0.25, 0.0), 0.094, 0.098, 1.12),
    Capsule("spine3", (0.055, 0.26, 0.003), (0.066, 0.33, 0.003), 0.100, 0.100, 1.12),
    Capsule("spine3", (0.0, 0.40, -0.012), (0.085, 0.395, -0.012), 0.080, 0.080, 1.10),
    Capsule("head_base", (0.0, 0.664, 0.006), (0.006, 0.664, 0.006), 0.071, 0.071, 0.80, 0.70),
    Capsule("head_base", (0.074, 0.66, 0.0), (0.076, 0.635, 0.004), 0.014, 0.010),
    Capsule("jaw", (0.0, 0.598, 0.052), (0.020, 0.603, 0.048), 0.038, 0.038),
]
_MIDDLE = [
    Capsule("neck", (0.0, 0.46, -0.026), (0.0, 0.55, -0.012), 0.056, 0.053),
    Capsule("head_base", (0.0, 0.668, 0.096), (0.0, 0.640, 0.110), 0.010, 0.016),
]
_LIMBS = [
    Capsule("collar", (0.07, 0.430, -0.020), (0.150, 0.442, -0.024), 0.066, 0.060),
    Capsule("shoulder", (0.170, 0.445, -0.025), (0.420, 0.445, -0.030), 0.055, 0.036),
    Capsule("elbow", (0.435, 0.445, -0.030), (0.500, 0.445, -0.030), 0.036, 0.041),
    Capsule("elbow", (0.500, 0.445, -0.030), (0.672, 0.445, -0.030), 0.042, 0.027),
    Capsule("wrist", (0.690, 0.444, -0.022), (0.770, 0.441, -0.008), 0.021, 0.017),
    Capsule("wrist", (0.690, 0.444, -0.038), (0.760, 0.440, -0.056), 0.021, 0.016),
    Capsule("wrist", (0.690, 0.444, -0.030), (0.775, 0.442, -0.031), 0.022, 0.017),
    Capsule("hip", (0.088, -0.085, 0.0), (0.095, -0.455, 0.005), 0.088, 0.050),
    Capsule("knee", (0.095, -0.475, 0.005), (0.098, -0.600, -0.016), 0.048, 0.056),
    Capsule("knee", (0.098, -0.600, -0.016), (0.100, -0.850, -0.020), 0.057, 0.036),
    Capsule("ankle", (0.100, -0.870, -0.020), (0.100, -0.908, -0.046), 0.038, 0.041),
    Capsule("ankle", (0.100, -0.895, -0.010), (0.113, -0.915, 0.085), 0.044, 0.036),
    Capsule("foot", (0.110, -0.917, 0.095), (0.106, -0.925, 0.140), 0.033, 0.025),
    Capsule("foot", (0.128, -0.920, 0.090), (0.128, -0.926, 0.125), 0.030, 0.023),
]


def _fingers() -> list[Capsule]:
    result = []
    for finger, tip in _TIPS.items():
        points = [*(_LEFT[f"{finger}{i}"] for i in (1, 2, 3)), tip]
        radius = _FINGER_RADIUS[finger]
        result += [Capsule(f"{finger}{i + 1}", points[i], points[i + 1], radius, radius) for i in range(3)]
    return result


def _mirrored(capsule: Capsule, side: str) -> Capsule:
    sign = 1.0 if side == "left" else -1.0
    a, b = ((sign * p[0], p[1], p[2]) for p in (capsule.a, capsule.b))
    name = capsule.joint if capsule.joint in _TRUNK else f"{side}_{capsule.joint}"
    return capsule._replace(joint=name, a=a, b=b)


def capsules() -> list[Capsule]:
    """All capsules of the surface, with joints named as those of SMPL-X."""
    both = [*_HALF_TRUNK, *_LIMBS, *_fingers()]
    return [*_MIDDLE, *(_mirrored(c, side) for side in ("left", "right") for c in both)]


def _side(name: str) -> np.ndarray:
    side, _, part = name.partition("_")
    table = _LEFT if part in _LEFT else _PICKS
    return np.array(table[part]) * (1 if side == "left" else -1, 1, 1)


def rest_joints(kind: str) -> np.ndarray:
    """Joints [J, 3] of the template of a kind of body."""
    return np.array([_TRUNK[name] if name in _TRUNK else _side(name) for name in MODEL_JOINTS[kind]], float)


def pick_targets(names: tuple[str, ...]) -> np.ndarray:
    """A point [N, 3] just outside the surface at each of the named picked points."""
    return np.array([_PICKS[name] if name in _PICKS else _side(name) for name in names], float)


def face_targets() -> tuple[np.ndarray, np.ndarray]:
    """Points before the face of the 51 landmarks [51, 3] and of the contour [17, 3], in iBUG's order.

    The person's right comes first: brows, bridge and base of the nose, eyes, outer and inner lips.
    """

    def arc(x, y, half_x, half_y, degrees):
        angle = np.radians(np.asarray(degrees, float))
        return np.stack([x + half_x * np.cos(angle), y + half_y * np.sin(angle)], -1)

    eye = [180, 120, 60, 0, -60, -120]
    brow = np.linspace(160, 20, 5)
    parts = [
        *(arc(x, 0.682, 0.024, 0.012, brow) for x in (-0.034, 0.034)),
        np.stack([np.zeros(4), np.linspace(0.668, 0.642, 4)], -1),
        np.stack([np.linspace(-0.013, 0.013, 5), [0.631, 0.629, 0.628, 0.629, 0.631]], -1),
        *(arc(x, 0.668, 0.013, 0.006, eye) for x in (-0.032, 0.032)),
        arc(0, 0.602, 0.026, 0.011, np.arange(180, -180, -30)),
        arc(0, 0.602, 0.019, 0.004, np.arange(180, -180, -45)),
    ]
    face = np.concatenate(parts)
    jaw = arc(0, 0.655, 0.078, 0.090, np.linspace(180, 360, 17))
    depth = 0.055 - 0.05 * (abs(jaw[:, 0]) / 0.078) ** 2  # the jaw runs back to the ears
    return np.column_stack([face, np.full(51, 0.14)]), np.column_stack([jaw, depth])
