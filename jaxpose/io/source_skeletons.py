"""Known skeletons by their joint names, and their correspondence to SMPL's joints (retarget.py).

The families of CMU's database (shared/data/README.md, bvh_samples) have one convention, from the recording by Vicon: in
the rest pose the head looks up by 13 degrees, and elbows bend about an axis 30 degrees from SMPL's. SMPL's neck is
between their two neck joints. The constants were measured on shared/data/mocap, where they hold within 0.02 degrees.

The Daz files were made by MotionBuilder, which used their rest pose as that of the T-pose frames of the MotionBuilder
files: legs 1 degree inwards, arms 8 degrees down, neck -16 and 5, head 16 degrees up.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxpose.geometry.skeleton import SMPL_22

# Two joints and a share: the rotation of the first, moved by this share towards that of the second.
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
    is_smpl: the joints are SMPL's own, and rotations are taken as they are. lost: of `retarget.restored`.
    """

    name: str
    joints: Mapping[str, Blend]
    pronation: Mapping[str, str] = {}
    pitch_deg: Mapping[str, float] = {}
    arm_twist_deg: float = 0.0
    t_pose: Mapping[str, tuple[float, float, float]] | None = None
    is_smpl: bool = False
    lost: Mapping[str, tuple[str, float]] = {}

    def sources(self) -> set[str]:
        """Names of all joints that are read."""
        return {name for blend in self.joints.values() for name in blend[:2]} | set(self.pronation.values())


def flavour_of_map(joint_map: Mapping[str, str], names: Sequence[str]) -> Flavour:
    """The flavour of a map from joints `names` to SMPL's; ValueError for unknown and for missing names."""
    for source, target in joint_map.items():
        if source not in names:
            raise ValueError(f"joint map: no joint {source!r}; the skeleton has {', '.join(names)}")
        if target not in SMPL_22.joints:
            raise ValueError(f"joint map: {source!r} to {target!r}; must be one of {', '.join(SMPL_22.joints)}")
    missing = [joint for joint in NEEDED if joint not in joint_map.values()]
    if missing or len(set(joint_map.values())) != len(joint_map):
        fault = f"lacks {', '.join(missing)}" if missing else "gives a joint twice"
        raise ValueError(f"joint map: {fault}; needed are {', '.join(NEEDED)}, each once")
    return Flavour("skeleton of the joint map", {target: _same(s) for s, target in joint_map.items()})


def _same(name: str) -> Blend:
    return name, name, 0.0


def _flavour(
    name: str, sides: tuple[str, str], trunk: str, limbs: str, pronation: str = "", blends: Mapping[str, Blend] = {}
) -> Flavour:
    """A flavour from a text of pairs of SMPL's joint and the source's; {} is the side in names of limbs."""
    words = trunk.split()
    joints = {joint: _same(source) for joint, source in zip(words[::2], words[1::2], strict=True)}
    words, named = limbs.split(), dict(zip(("left", "right"), sides, strict=True))
    for side, word in named.items():
        joints |= {f"{side}_{j}": _same(p.format(word)) for j, p in zip(words[::2], words[1::2], strict=True)}
    carriers = {side: pronation.format(word) for side, word in named.items() if pronation}
    return Flavour(name, {**joints, **blends}, carriers)


_CMU: dict[str, Any] = {"pitch_deg": {"head_base": -13.0}, "arm_twist_deg": -30.0}


def _lost(thorax: str, above: str, forearm: str, hand: str) -> dict[str, tuple[str, float]]:
    """Bones that CMU's BVH files lost in conversion: the thorax, as long as the bone below, and a third of the forearm.

    Names of joints, {} the side: the joint below the lost bone, those above it, the end of the forearm, and the joint
    that the rest of it comes before. Source: shared/data/README.md.
    """
    shares = {name.format(side): (thorax, 1.0) for name in above.split() for side in ("Left", "Right")}
    return shares | {hand.format(side): (forearm.format(side), 0.5) for side in ("Left", "Right")}


_STANDARD = "hip {}UpLeg knee {}Leg ankle {}Foot foot {}ToeBase collar {}Shoulder shoulder {}Arm elbow {}ForeArm "
_LEG, _ARM = np.deg2rad(1.0), np.deg2rad(8.0)
_DAZ_LEG = (-float(np.sin(_LEG)), -float(np.cos(_LEG)), 0.0)
_DAZ_ARM = (float(np.cos(_ARM)), -float(np.sin(_ARM)), 0.0)


def _official(joint: str) -> str:
    """SMPL's own names: Pelvis, L_Hip, ..."""
    side, _, rest = joint.partition("_")
    if side in ("left", "right"):
        return f"{side[0].upper()}_{rest.capitalize()}"
    return {"head_base": "Head"}.get(joint, joint.capitalize())


# In this order: the first whose joints are all there.
FLAVOURS = (
    _flavour(
        "CMU or HDM05 ASF/AMC",
        ("l", "r"),
        "pelvis root spine1 lowerback spine2 upperback spine3 thorax head_base head",
        "hip {}femur knee {}tibia ankle {}foot foot {}toes collar {}clavicle shoulder {}humerus elbow {}radius "
        "wrist {}hand",
        "{}wrist",
        {"neck": ("lowerneck", "upperneck", 0.5)},
    )._replace(**_CMU),
    _flavour(
        "CMU BVH for MotionBuilder",
        ("Left", "Right"),
        "pelvis Hips spine1 LowerBack spine2 Spine spine3 Spine1 head_base Head",
        _STANDARD + "wrist {}FingerBase",
        "{}Hand",
        {"neck": ("Neck", "Neck1", 0.5)},
    )._replace(**_CMU, lost=_lost("Spine1", "Neck {}Shoulder", "{}Hand", "{}FingerBase")),
    _flavour(
        "CMU BVH for 3ds Max",
        ("Left", "Right"),
        "pelvis Hips spine1 lowerback spine2 Chest spine3 Chest2 head_base Head",
        "hip {}Hip knee {}Knee ankle {}Ankle foot {}Toe collar {}Collar shoulder {}Shoulder elbow {}Elbow",
        "{}Wrist",
        # the hand's joint follows another pattern
        {"neck": ("lowerneck", "Neck", 0.5), "left_wrist": _same("lhand"), "right_wrist": _same("rhand")},
    )._replace(**_CMU, lost=_lost("Chest2", "lowerneck {}Collar", "{}Wrist", "{}Wrist")),
    _flavour(
        "CMU BVH for Daz",
        ("l", "r"),
        "pelvis hip spine2 abdomen spine3 chest head_base head",
        "hip {}Thigh knee {}Shin ankle {}Foot collar {}Collar shoulder {}Shldr elbow {}ForeArm wrist {}Hand",
        # MotionBuilder made two joints from three: shares measured on shared/data/mocap
        blends={"spine1": ("hip", "abdomen", 0.7), "neck": ("neck", "head", 0.25)},
    )._replace(
        pitch_deg={"neck": (-16.0 + 5.0) / 2, "head_base": 16.0 - 13.0},
        arm_twist_deg=-30.0,
        t_pose={"hip": _DAZ_LEG, "knee": _DAZ_LEG, "shoulder": _DAZ_ARM, "elbow": _DAZ_ARM},
    ),
    # of `write_motion_bvh`
    Flavour("SMPL joints", {name: _same(name) for name in SMPL_22.joints}, is_smpl=True),
    Flavour("SMPL joints", {name: _same(_official(name)) for name in SMPL_22.joints}, is_smpl=True),
    # Mixamo's figures and others of MotionBuilder's standard names; the T-pose is the rest pose.
    _flavour(
        "MotionBuilder's standard names",
        ("Left", "Right"),
        "pelvis Hips spine1 Spine spine2 Spine1 spine3 Spine2 neck Neck head_base Head",
        _STANDARD + "wrist {}Hand",
    ),
)
