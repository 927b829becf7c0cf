"""An oracle of joint angles: a body posed by angles that are known, by forward kinematics of its own.

    R_j = R_parent(j) R_x(flexion) R_z(abduction) R_y(rotation)
    x_j = x_parent(j) + R_j (length_j direction_j)

with signs per joint, so that equal numbers left and right are a mirror image. World frame: metres, y up,
floor at y = 0; with all angles 0 the body stands with hanging arms, faces +z and has its left towards +x.
Joint set: H36M_17.

Joint limits: about the normal ranges of motion of the American Academy of Orthopaedic Surgeons.
"""

from typing import NamedTuple

import jax.numpy as jnp
import jaxlie
import numpy as np

from jaxpose.base import Array
from jaxpose.geometry.skeleton import H36M_17

# Where each bone points at zero angles: trunk and head as in upright motion capture, other limbs down.
_DIRECTIONS = {
    "right_hip": (-1, 0, 0),
    "left_hip": (1, 0, 0),
    "spine": (0, 1, -0.15),
    "thorax": (0, 1, 0.05),
    "neck_nose": (0, 1, 0.30),
    "head": (0, 1, -0.13),
    "right_shoulder": (-1, 0.08, -0.06),
    "left_shoulder": (1, 0.08, -0.06),
}

# Degrees: (lowest, highest) of flexion, abduction (trunk: bend to the left), inward rotation (trunk: turn to
# the left), and for limbs of the hinge below (knee, elbow), which only ever bends one way.
TRUNK_LIMITS_DEG = {
    "pelvis": ((-25, 60), (-20, 20), (-20, 20)),
    "spine": ((-10, 35), (-15, 15), (-15, 15)),
    "thorax": ((-15, 35), (-20, 20), (-30, 30)),
    "neck": ((-40, 45), (-30, 30), (-60, 60)),
}
LEG_LIMITS_DEG = ((-25, 125), (-25, 45), (-40, 35), (0, 140))
ARM_LIMITS_DEG = ((-50, 170), (-10, 170), (-90, 70), (2, 145))


class AnglesDeg(NamedTuple):
    """Joint angles of a pose in degrees, bounded by the *_LIMITS_DEG.

    trunk: [4, 3] pelvis, spine, thorax, neck by forward flexion, bend to the left, turn to the left.
    legs:  [2, 4] left and right by hip flexion, abduction, inward rotation and knee flexion.
    arms:  [2, 4] left and right by shoulder flexion, abduction, inward rotation and elbow flexion.
    """

    trunk: Array
    legs: Array
    arms: Array


def _rotation(angles: Array, signs: tuple[int, int, int]) -> jaxlie.SO3:
    x, z, y = angles * jnp.array(signs, jnp.float32)
    return jaxlie.SO3.from_x_radians(x) @ jaxlie.SO3.from_z_radians(z) @ jaxlie.SO3.from_y_radians(y)


def _local_rotations(angles: AnglesDeg) -> dict[str, jaxlie.SO3]:
    """The rotation of each bone that turns against its parent, by the joint that the bone ends at."""
    trunk, legs, arms = (jnp.radians(a) for a in angles)
    names = ("hip", "spine", "thorax", "neck_nose")
    local = {name: _rotation(a, (1, -1, 1)) for name, a in zip(names, trunk, strict=True)}
    for i, side, out in ((0, "left", 1), (1, "right", -1)):
        local[f"{side}_knee"] = _rotation(legs[i, :3], (-1, out, -out))
        local[f"{side}_ankle"] = jaxlie.SO3.from_x_radians(legs[i, 3])
        local[f"{side}_elbow"] = _rotation(arms[i, :3], (-1, out, -out))
        local[f"{side}_wrist"] = jaxlie.SO3.from_x_radians(-arms[i, 3])
    return local


def forward_kinematics(angles: AnglesDeg, body: Array) -> Array:
    """Place the joints of a pose: [17, 3] metres, hip at the origin, facing +z with an unturned pelvis.

    angles: one pose in degrees; body: [17] bone lengths in metres.
    """
    local = _local_rotations(angles)
    turned = [local["hip"]]
    points = [jnp.zeros(3)]
    for j, (name, parent) in enumerate(zip(H36M_17.joints, H36M_17.parents, strict=True)):
        if parent < 0:
            continue
        direction = np.array(_DIRECTIONS.get(name, (0, -1, 0)), np.float32)
        turned.append(turned[parent] @ local[name] if name in local else turned[parent])
        points.append(points[parent] + turned[j] @ (direction / np.linalg.norm(direction) * body[j]))
    return jnp.stack(points)
