"""Keypoints of detectors on a posed body, by name: OpenPose-25, COCO-17, COCO-WholeBody-133.

A point is a joint of the model, a picked vertex (nose, eyes, ears, toes, heels, finger tips; `PICKED`), or a landmark
on a triangle of the face. What a kind of body lacks (fingers of SMPL, the face of SMPL and SMPL-H) is 0 and
`known_points` is False there, so that a loss weighted by it has no NaN in its gradient.

OpenPose's MidHip ("hip") is the model's joint 0, the pelvis, as in all SMPLify codes, though it lies above the middle
of the hips. Picked vertices are skinned alone: no mesh is computed.
Source: spec/dposer.md, 8.4; the order of COCO-WholeBody: Jin et al. (2020).
"""

import functools
from collections.abc import Mapping
from types import MappingProxyType

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.geometry.body import Body, PosedBody
from jaxpose.geometry.skeleton import BODY_25, COCO_17, SKELETONS, SMPL_22, SMPL_24, Skeleton

_SIDES = ("left", "right")
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_CHAINS = ("index", "middle", "pinky", "ring", "thumb")  # the models' order
_HANDS = tuple(f"{side}_{finger}{i}" for side in _SIDES for finger in _CHAINS for i in (1, 2, 3))
MODEL_JOINTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "smpl": SMPL_24.joints,
        "smplh": (*SMPL_22.joints, *_HANDS),
        "smplx": (*SMPL_22.joints, "jaw", "left_eyeball", "right_eyeball", *_HANDS),
    }
)
PICKED = (
    *("nose", "right_eye", "left_eye", "right_ear", "left_ear"),
    *(f"{side}_{part}" for side in _SIDES for part in ("big_toe", "small_toe", "heel")),
    *(f"{side}_{finger}_tip" for side in _SIDES for finger in _FINGERS),
)
_FACE = tuple(f"face{i}" for i in range(68))  # iBUG's order: contour 17, then 51
_FEET = BODY_25.joints[-6:]


def _hand_points(side: str) -> tuple[str, ...]:
    """The 21 of a hand: wrist, then thumb to pinky, each from its root to its tip."""
    chain = (f"{side}_{finger}{end}" for finger in _FINGERS for end in ("1", "2", "3", "_tip"))
    return (f"{side}_wrist", *chain)


POINT_SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "openpose25": BODY_25.joints,
        "coco17": COCO_17.joints,
        "wholebody133": (*COCO_17.joints, *_FEET, *_FACE, *_hand_points("left"), *_hand_points("right")),
        "smpl22": SMPL_22.joints,
        "smpl24": SMPL_24.joints,
    }
)


def point_set_of(skeleton: Skeleton) -> str:
    """The set of body points (`POINT_SETS`) that takes a joint set: its own, else OpenPose's 25."""
    return next((name for name, joints in POINT_SETS.items() if joints == skeleton.joints), "openpose25")


def joint_set_of(name: str) -> Skeleton:
    """The joint set that a name of `SKELETONS` or `POINT_SETS` stands for; ValueError for others.

    A set of points that is no tree (wholebody133) has names alone: all hang from the first.
    """
    if name in SKELETONS:
        return SKELETONS[name]
    if name not in POINT_SETS:
        legal = dict.fromkeys((*SKELETONS, *POINT_SETS))
        raise ValueError(f"points {name!r} are unknown; must be one of {', '.join(legal)}")
    joints = POINT_SETS[name]
    known = next((skeleton for skeleton in SKELETONS.values() if skeleton.joints == joints), None)
    return known or Skeleton(name, joints, (-1, *[0] * (len(joints) - 1)), (), (), ())


def known_points(body: Body, name: str) -> np.ndarray:
    """[K] bool: which points of the set `name` this body has; ValueError for an unknown set."""
    return _places(body.kind, body.picks.shape[0], body.landmarks is not None, name) >= 0


def body_points(posed: PosedBody, name: str) -> Array:
    """The points [..., K, 3] metres of the set `name` (`POINT_SETS`), 0 where the body has none (`known_points`).

    ValueError for an unknown set.
    """
    body = posed.body
    places = _places(body.kind, body.picks.shape[0], body.landmarks is not None, name)
    num_joints = len(body.parents)
    kinds_of_points = [posed.joints]
    lead = posed.joints.shape[:-2]
    if (places >= num_joints).any():
        picked = posed.skin(body.picks) if body.picks.shape[0] else jnp.zeros((len(PICKED), 3))
        kinds_of_points.append(jnp.broadcast_to(picked, (*lead, len(PICKED), 3)))
    if (places >= num_joints + len(PICKED)).any():
        kinds_of_points.append(_face_points(posed))
    every = jnp.concatenate(kinds_of_points, -2)
    # a product instead of an index, whose gradient is a loop over bodies
    chosen = (places[:, None] == np.arange(every.shape[-2])).astype(every.dtype)
    return jnp.einsum("kp,...pi->...ki", chosen, every, precision="highest")


@functools.cache
def _places(kind: str, num_picks: int, has_face: bool, name: str) -> np.ndarray:
    """Where each point of the set stands among joints, picked vertices and landmarks of the face; -1: nowhere."""
    if name not in POINT_SETS:
        raise ValueError(f"points {name!r} are unknown; must be one of {', '.join(POINT_SETS)}")
    every = (*MODEL_JOINTS[kind], *PICKED, *_FACE)
    legal = (*MODEL_JOINTS[kind], *(PICKED if num_picks else ()), *(_FACE if has_face else ()))
    index = {joint: i for i, joint in enumerate(every) if joint in set(legal)} | {"hip": 0}
    return np.array([index.get(point, -1) for point in POINT_SETS[name]])


def _face_points(posed: PosedBody) -> Array:
    """The 68 points of the face [..., 68, 3]: the contour that the head's yaw shows, then the 51 fixed ones."""
    landmarks = posed.body.landmarks
    assert landmarks is not None
    vertices = posed.skin(landmarks.vertices)
    fixed = _on_triangles(vertices[..., landmarks.triangles, :], landmarks.bary)
    row = contour_row(posed.global_rotations[..., SMPL_22.joints.index("neck"), :, :])
    triangles, bary = landmarks.contour_triangles[row], landmarks.contour_bary[row]
    lead = vertices.shape[:-2]
    corners = jnp.broadcast_to(triangles, (*lead, 17, 3)).reshape(*lead, 51, 1)
    corners = jnp.take_along_axis(vertices, corners, -2).reshape(*lead, 17, 3, 3)
    return jnp.concatenate([_on_triangles(corners, bary), fixed], -2)


def contour_row(R_neck: Array) -> Array:
    """Index [...] of the visible contour, of 79, from the neck's global rotation [..., 3, 3]: its yaw in whole degrees.

    Rows 0..39 are yaws of 0..39 degrees as a camera on the +z side sees them, 40..78 of -1..-39; beyond, the last.
    """
    across = jnp.hypot(R_neck[..., 0, 0], R_neck[..., 1, 0])
    yaw = jnp.round(jnp.minimum(-jnp.degrees(jnp.arctan2(-R_neck[..., 2, 0], across)), 39)).astype(int)
    return jnp.where(yaw >= 0, yaw, jnp.minimum(39 - yaw, 78))


def _on_triangles(corners: Array, bary: Array) -> Array:
    return (corners * bary[..., None]).sum(-2)
