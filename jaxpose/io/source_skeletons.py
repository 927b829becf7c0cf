"""Skeletons whose joints are known by name, and what SMPL's joints are to them (retarget.py).

The families of CMU's database (shared/data/README.md, bvh_samples) share one convention, recorded by Vicon: the head of
the rest pose looks up by 13 degrees, and elbows bend about an axis 30 degrees off SMPL's. SMPL's neck stands between
their two neck joints. Their constants were read off shared/data/mocap, where they hold within 0.02 degrees.

Daz figures got CMU's motion from MotionBuilder, which took their rest pose for that of the T-pose frames of the
MotionBuilder files: legs 1 degree inwards, arms 8 degrees down, neck -16 and 5, head 16 degrees up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxpose.geometry.skeleton import SMPL_22

# The rotation of the first joint, turned by a share of the way to the second's.
Blend = tuple[str, str, float]

NEEDED = (
    "pelvis",
    *(f"{side}_{joint}" for side in ("left", "right") for joint in ("hip", "knee", "ankle")),
    *(f"{side}_{joint}" for side in ("left", "right") for joint in ("shoulder", "elbow", "wrist")),
)


class Flavour(NamedTuple):
    """A family of skeletons.

    joints: SMPL's joints that have one here; others do not move. pronation: for each side the joint that carries the
    forearm's turn, where it is not the wrist's. pitch_deg: constant turns about x. arm_twist_deg: of both arms about x.
    t_pose: directions of the limbs at rest (left side, SMPL's axes), where they are not those of the file's skeleton.
    is_smpl: the joints are SMPL's own, and rotations are taken as they are.
    """

    name: str
    joints: Mapping[str, Blend]
    pronation: Mapping[str, str] = {}
    pitch_deg: Mapping[str, float] = {}
    arm_twist_deg: float = 0.0
    t_pose: Mapping[str, tuple[float, float, float]] | None = None
    is_smpl: bool = False

    def sources(self) -> set[str]:
        """Names of all joints that are read."""
        return {name for blend in self.joints.values() for name in blend[:2]} | set(self.pronation.values())


def flavour_of_map(joint_map: Mapping[str, str], names: Sequence[str]) -> Flavour:
    """The flavour of a map from joints `names` to SMPL's; ValueError for unknown names and for what is missing."""
    for source, target in joint_map.items():
        if source not in names:
            raise ValueError(f"joint map: no joint {source!r}; the skeleton has {', '.join(names)}")
        if target not in SMPL_22.joints:
            raise ValueError(f"joint map: {source!r} to {target!r}; legal are {', '.join(SMPL_22.joints)}")
    missing = [joint for joint in NEEDED if joint not in joint_map.values()]
    if missing or len(set(joint_map.values())) != len(joint_map):
        said = f"lacks {', '.join(missing)}" if missing else "gives a joint twice"
        raise ValueError(f"joint map: {said}; needed are {', '.join(NEEDED)}, each once")
    return Flavour("skeleton of the joint map", {target: (s, s, 0.0) for s, target in joint_map.items()})


def _flavour(
    name: str, sides: tuple[str, str], trunk: Mapping[str, str | Blend], limbs: Mapping[str, str], pronation: str = ""
) -> Flavour:
    """A flavour from names with {} for the side."""
    joints: dict[str, Blend] = {
        joint: (found, found, 0.0) if isinstance(found, str) else found for joint, found in trunk.items()
    }
    for side, word in zip(("left", "right"), sides, strict=True):
        for joint, pattern in limbs.items():
            found = pattern.format(word)
            joints[f"{side}_{joint}"] = (found, found, 0.0)
    carriers = {side: pronation.format(word) for side, word in zip(("left", "right"), sides, strict=True)}
    return Flavour(name, joints, carriers if pronation else {})


def _cmu(flavour: Flavour) -> Flavour:
    return flavour._replace(pitch_deg={"head_base": -13.0}, arm_twist_deg=-30.0)


CMU_ASF = _flavour(
    "CMU or HDM05 ASF/AMC",
    ("l", "r"),
    {
        "pelvis": "root",
        "spine1": "lowerback",
        "spine2": "upperback",
        "spine3": "thorax",
        "neck": ("lowerneck", "upperneck", 0.5),
        "head_base": "head",
    },
    {
        "hip": "{}femur",
        "knee": "{}tibia",
        "ankle": "{}foot",
        "foot": "{}toes",
        "collar": "{}clavicle",
        "shoulder": "{}humerus",
        "elbow": "{}radius",
        "wrist": "{}hand",
    },
    pronation="{}wrist",
)

CMU_MOTIONBUILDER = _flavour(
    "CMU BVH for MotionBuilder",
    ("Left", "Right"),
    {
        "pelvis": "Hips",
        "spine1": "LowerBack",
        "spine2": "Spine",
        "spine3": "Spine1",
        "neck": ("Neck", "Neck1", 0.5),
        "head_base": "Head",
    },
    {
        "hip": "{}UpLeg",
        "knee": "{}Leg",
        "ankle": "{}Foot",
        "foot": "{}ToeBase",
        "collar": "{}Shoulder",
        "shoulder": "{}Arm",
        "elbow": "{}ForeArm",
        "wrist": "{}FingerBase",
    },
    pronation="{}Hand",
)

_CMU_3DSMAX_LIMBS = {
    "hip": "{}Hip",
    "knee": "{}Knee",
    "ankle": "{}Ankle",
    "foot": "{}Toe",
    "collar": "{}Collar",
    "shoulder": "{}Shoulder",
    "elbow": "{}Elbow",
    "wrist": "{}Wrist",
}
CMU_3DSMAX = _flavour(
    "CMU BVH for 3ds Max",
    ("Left", "Right"),
    {
        "pelvis": "Hips",
        "spine1": "lowerback",
        "spine2": "Chest",
        "spine3": "Chest2",
        "neck": ("lowerneck", "Neck", 0.5),
        "head_base": "Head",
    },
    _CMU_3DSMAX_LIMBS,
)
# The hand's own joint is spelled in another way.
CMU_3DSMAX = _cmu(CMU_3DSMAX)._replace(
    joints=dict(CMU_3DSMAX.joints) | {"left_wrist": ("lhand", "lhand", 0.0), "right_wrist": ("rhand", "rhand", 0.0)},
    pronation={"left": "LeftWrist", "right": "RightWrist"},
)

_LEG, _ARM = np.deg2rad(1.0), np.deg2rad(8.0)
_DAZ_LEG = (-float(np.sin(_LEG)), -float(np.cos(_LEG)), 0.0)
_DAZ_ARM = (float(np.cos(_ARM)), -float(np.sin(_ARM)), 0.0)
CMU_DAZ = _flavour(
    "CMU BVH for Daz",
    ("l", "r"),
    {
        "pelvis": "hip",
        # MotionBuilder made two joints of three: shares that were read off shared/data/mocap.
        "spine1": ("hip", "abdomen", 0.7),
        "spine2": "abdomen",
        "spine3": "chest",
        "neck": ("neck", "head", 0.25),
        "head_base": "head",
    },
    {
        "hip": "{}Thigh",
        "knee": "{}Shin",
        "ankle": "{}Foot",
        "collar": "{}Collar",
        "shoulder": "{}Shldr",
        "elbow": "{}ForeArm",
        "wrist": "{}Hand",
    },
)._replace(
    pitch_deg={"neck": (-16.0 + 5.0) / 2, "head_base": 16.0 - 13.0},
    arm_twist_deg=-30.0,
    t_pose={"hip": _DAZ_LEG, "knee": _DAZ_LEG, "shoulder": _DAZ_ARM, "elbow": _DAZ_ARM},
)

# Mixamo's figures and others of MotionBuilder's standard names; the T-pose is the rest pose.
HUMAN_IK = _flavour(
    "MotionBuilder's standard names",
    ("Left", "Right"),
    {"pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2", "neck": "Neck", "head_base": "Head"},
    {
        "hip": "{}UpLeg",
        "knee": "{}Leg",
        "ankle": "{}Foot",
        "foot": "{}ToeBase",
        "collar": "{}Shoulder",
        "shoulder": "{}Arm",
        "elbow": "{}ForeArm",
        "wrist": "{}Hand",
    },
)

# `write_motion_bvh`'s names, and SMPL's own: Pelvis, L_Hip, ...
SMPL_OURS = Flavour("SMPL joints", {name: (name, name, 0.0) for name in SMPL_22.joints}, is_smpl=True)


def _official(joint: str) -> str:
    side, _, rest = joint.partition("_")
    if side in ("left", "right"):
        return f"{side[0].upper()}_{rest.capitalize()}"
    return {"head_base": "Head"}.get(joint, joint.capitalize())


SMPL_OFFICIAL = Flavour(
    "SMPL joints", {name: (_official(name), _official(name), 0.0) for name in SMPL_22.joints}, is_smpl=True
)

# In this order: the first whose joints are all there.
FLAVOURS = (_cmu(CMU_ASF), _cmu(CMU_MOTIONBUILDER), CMU_3DSMAX, CMU_DAZ, SMPL_OURS, SMPL_OFFICIAL, HUMAN_IK)
