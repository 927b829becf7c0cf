"""Joint sets by name: a static, hashable description of the J axis of a pose.

A name denotes the same anatomical point in every set, so that sets are matched by name (joint_sets.py). Where published
names disagree, the names here are:

    hip         middle of the two hip joints (Human3.6M Hip, MPII and 3DHP pelvis, OpenPose MidHip, Halpe Hip)
    pelvis      SMPL's root, about 85 mm above hip on the generic skeleton of shared/data/mocap/skeletons.json
    thorax      the trunk's upper end at shoulder height (Human3.6M, MPII)
    neck        the base of the neck (OpenPose, Halpe, 3DHP, SMPL)
    upper_neck  where neck and head meet, at the height of the chin (MPII, OpenPose BODY_25B)
    head_base   the joint about which the head turns (SMPL Head; 3DHP head)
    head        the top of the head (Human3.6M Head, MPII and 3DHP head top, Halpe Head)
    nose        the tip of the nose; Human3.6M's Neck/Nose, a point in the lower face, is close to it

`mirror` is M of poses: x negated, left and right joints swapped; M M = 1. A rotation about an axis a becomes M R M, of
the same angle about (a_x, -a_y, -a_z): the axis is mirrored and the sense of rotation changes (`mirror_rotations`).

Sources of the orders: Human3.6M-17 and SMPL, shared/data/README.md; COCO keypoint annotations; OpenPose
BODY_25 and the experimental BODY_25B; Halpe full body (AlphaPose); MPII annotations; the 17 relevant joints
of MPI-INF-3DHP (P-STMO's order); SMPL, Loper et al. 2015; COCO-WholeBody, Jin et al. 2020; BlazePose, Bazarevsky et
al. 2020 (mediapipe's PoseLandmark).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array


class Skeleton(NamedTuple):
    """A joint set.

    parents: index of each joint's parent, -1 for the root.
    left, right: joints that a mirror swaps, pairwise (`left[i]` <-> `right[i]`).
    parts: joints of right leg, left leg, left arm, right arm, and trunk with head; each joint is in one.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    parts: tuple[tuple[int, ...], ...]


_LEG = ("hip", "knee", "ankle", "foot", "big_toe", "small_toe", "heel", "foot_index")
_ARM = ("shoulder", "elbow", "wrist", "hand", "pinky", "index", "thumb")
_LIMBS = (("right_", _LEG), ("left_", _LEG), ("left_", _ARM), ("right_", _ARM))


_BUILT: dict[str, Skeleton] = {}
SKELETONS: Mapping[str, Skeleton] = MappingProxyType(_BUILT)  # every joint set of this file, by name


# the parent of a part of the body, where a skeleton does not say another
_ABOVE = {
    **{"knee": "hip", "ankle": "knee", "foot": "ankle", "big_toe": "ankle", "small_toe": "ankle", "heel": "ankle"},
    **{"elbow": "shoulder", "wrist": "elbow", "eye": "nose", "ear": "eye"},
}
_COCO = "nose *eye *ear *shoulder:nose *elbow *wrist *hip:shoulder *knee *ankle "
_FEET = "left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel"
_SMPL = (
    "pelvis *hip:pelvis spine1:pelvis *knee spine2:spine1 *ankle spine3:spine2 *foot neck:spine3 *collar:spine3 "
    "head_base:neck *shoulder:collar *elbow *wrist "
)


def _build(name: str, tree: str) -> Skeleton:
    """The skeleton of the words of `tree`, joint:parent in the order of joints, the root alone; in `SKELETONS`.

    *joint is the left one and the right one. The parent is on the same side where there is such a joint; where it is
    not given, it is that of `_ABOVE`. Sides and parts follow from the names.
    """
    above: dict[str, tuple[str, str]] = {}
    for word in tree.split():
        joint, _, parent = word.partition(":")
        for full in (f"left_{joint[1:]}", f"right_{joint[1:]}") if joint[0] == "*" else (joint,):
            part = full.removeprefix("left_").removeprefix("right_")
            above[full] = full.removesuffix(part), parent or _ABOVE.get(part, "")
    joints = tuple(above)
    beside = {joint: side + parent for joint, (side, parent) in above.items()}
    named = {j: beside[j] if beside[j] in above and beside[j] != j else parent for j, (_, parent) in above.items()}
    parents = tuple(joints.index(parent) if parent else -1 for parent in named.values())
    left = tuple(j for j, joint in enumerate(joints) if joint.startswith("left_"))
    right = tuple(joints.index("right_" + joints[j].removeprefix("left_")) for j in left)
    limbs = [{side + joint for joint in limb} for side, limb in _LIMBS]
    parts = [tuple(j for j, joint in enumerate(joints) if joint in limb) for limb in limbs]
    trunk = tuple(j for j, joint in enumerate(joints) if not any(joint in limb for limb in limbs))
    _BUILT[name] = Skeleton(name, joints, parents, left, right, (*parts, trunk))
    return _BUILT[name]


# `neck_nose` is a point of the lower face, 0.11 m above the thorax; COCO's nose is 0.26 m from the mid shoulders.
H36M_17 = _build(
    "h36m17",
    "hip right_hip:hip right_knee right_ankle left_hip:hip left_knee left_ankle spine:hip thorax:spine "
    "neck_nose:thorax head:neck_nose left_shoulder:thorax left_elbow left_wrist right_shoulder:thorax "
    "right_elbow right_wrist",
)
# COCO marks no point of the trunk's axis: its tree hangs from the nose.
COCO_17 = _build("coco17", _COCO)
# Body and feet of COCO-WholeBody, the first 23 of its 133.
WHOLEBODY_23 = _build("wholebody23", _COCO + _FEET)
BODY_25 = _build(
    "body25",
    "nose:neck neck:hip right_shoulder:neck right_elbow right_wrist left_shoulder:neck left_elbow left_wrist "
    "hip right_hip:hip right_knee right_ankle left_hip:hip left_knee left_ankle right_eye left_eye right_ear left_ear "
    + _FEET,
)
BODY_25B = _build(
    "body25b",
    "nose:upper_neck *eye *ear *shoulder:upper_neck *elbow *wrist *hip:shoulder *knee *ankle upper_neck "
    "head:upper_neck " + _FEET,
)
HALPE_26 = _build(
    "halpe26",
    "nose:neck *eye *ear *shoulder:neck *elbow *wrist *hip:hip *knee *ankle head:neck neck:hip hip "
    "*big_toe *small_toe *heel",
)
MPII_16 = _build(
    "mpii16",
    "right_ankle right_knee right_hip:hip left_hip:hip left_knee left_ankle hip thorax:hip upper_neck:thorax "
    "head:upper_neck right_wrist right_elbow right_shoulder:thorax left_shoulder:thorax left_elbow left_wrist",
)
MPI3DHP_17 = _build(
    "mpi3dhp17",
    "head:neck neck:spine right_shoulder:neck right_elbow right_wrist left_shoulder:neck left_elbow left_wrist "
    "right_hip:hip right_knee right_ankle left_hip:hip left_knee left_ankle hip spine:hip head_base:neck",
)
# BlazePose marks no point of the trunk's axis either; index, pinky and thumb are knuckles, foot_index the toes.
MEDIAPIPE_33 = _build(
    "mediapipe33",
    "nose left_eye_inner:nose left_eye:eye_inner left_eye_outer:eye right_eye_inner:nose right_eye:eye_inner "
    "right_eye_outer:eye *ear:eye_outer *mouth:nose *shoulder:nose *elbow *wrist *pinky:wrist *index:wrist "
    "*thumb:wrist *hip:shoulder *knee *ankle *heel *foot_index:heel",
)
# SAM 3D Body's points (sam_3d_body/metadata/mhr70.py of its repository). What its `neck` marks is not said there, so it
# has a name of its own, and no other set's neck is made of it. Joints of fingers are numbered from the tip.
_HANDS = {side: " ".join(f"{side}_{f}_tip:{f}_1 {side}_{f}_1:{f}_2 {side}_{f}_2:{f}_3 {side}_{f}_3:wrist"
          for f in ("thumb", "index", "middle", "ring", "pinky")) for side in ("right", "left")}  # fmt: skip
MHR_70 = _build(
    "mhr70",
    f"{_COCO.replace('*wrist ', '')}{_FEET} {_HANDS['right']} right_wrist {_HANDS['left']} left_wrist *olecranon:elbow "
    "*cubital_fossa:elbow *acromion:shoulder mhr_neck:nose",
)
SMPL_22 = _build("smpl22", _SMPL)
SMPL_24 = _build("smpl24", _SMPL + "*hand:wrist")


def get_skeleton(name: str) -> Skeleton:
    """The skeleton registered under `name`; ValueError listing the legal names otherwise."""
    if name not in SKELETONS:
        raise ValueError(f"skeleton {name!r} is unknown; must be one of {', '.join(SKELETONS)}")
    return SKELETONS[name]


def check_joints(points: Array, skeleton: Skeleton) -> None:
    """ValueError unless points are [..., J, D] with the skeleton's J."""
    if jnp.ndim(points) < 2 or jnp.shape(points)[-2] != len(skeleton.joints):
        needed = f"[..., {len(skeleton.joints)}, D] for skeleton {skeleton.name!r}"
        raise ValueError(f"points must be {needed}, got {list(jnp.shape(points))}")


def bones(skeleton: Skeleton) -> tuple[tuple[int, int], ...]:
    """(parent, child) of every joint but the root, in joint order."""
    return tuple((parent, j) for j, parent in enumerate(skeleton.parents) if parent >= 0)


def bone_lengths(points: Array, skeleton: Skeleton) -> Array:
    """Distance from parent to child [..., J-1] along `bones`, in the unit of points [..., J, D]."""
    check_joints(points, skeleton)
    parent, child = np.array(bones(skeleton)).T
    return jnp.linalg.norm(points[..., child, :] - points[..., parent, :], axis=-1)


def mirror(points: Array, skeleton: Skeleton) -> Array:
    """Mirror image of a pose: left and right are swapped and axis 0 of the coordinates changes sign.

    points and result: [..., J, D], any unit, axis 0 measured from the mirror (so centre pixels first).
    """
    check_joints(points, skeleton)
    points = jnp.asarray(points)[..., other_side(skeleton), :]
    if jax.default_backend() == "tpu":  # which lays out what follows a product badly; elsewhere as ONNX takes it
        return points.at[..., 0].multiply(-1)
    return points * jnp.where(jnp.arange(points.shape[-1]) == 0, -1, 1)


def flip_average(predict: Callable[..., Array], skeleton: Skeleton) -> Callable[..., Array]:
    """The predictor x [..., J, D], ... -> pose [..., J, 3] that averages `predict` over x and its mirror image.

    g(x) = (f(x) + M f(M x)) / 2 commutes with M whatever f does, and g = f where f already does. VideoPose3D (Pavllo et
    al. 2019), MixSTE and DiffPose's video context encoder evaluate so (spec/diffpose.md, 3.3).

    The first of x's D numbers is the horizontal place, measured from the mirror: pixels need the image's middle at 0.
    The others, such as a confidence, only change sides. Further arguments reach `predict` as they are and must mean
    the same in the mirror. ValueError where x or the pose has not the skeleton's joints.
    """

    def averaged(x: Array, *args: Any, **kwargs: Any) -> Array:
        mirrored = predict(mirror(x, skeleton), *args, **kwargs)
        return (predict(x, *args, **kwargs) + mirror(mirrored, skeleton)) / 2

    return averaged


def mirror_rotations(axis_angle: Array, skeleton: Skeleton) -> Array:
    """Local rotations seen in a mirror across x: left and right change places, y and z of each axis change sign.

    axis_angle and result: [..., J, 3] radians for all J joints of the skeleton, or [..., J - 1, 3] without its root.
    """
    num, given = len(skeleton.joints), jnp.shape(axis_angle)[-2]
    if given not in (num, num - 1):
        raise ValueError(f"axis_angle: needed {num} joints or {num - 1}, of {skeleton.name!r}, got {given}")
    order = other_side(skeleton)[num - given :] - (num - given)  # the root, which has no other side, comes first
    return axis_angle[..., order, :] * jnp.array([1.0, -1.0, -1.0], axis_angle.dtype)


def other_side(skeleton: Skeleton) -> np.ndarray:
    """For each joint the one on the other side, or itself: [J]."""
    order = np.arange(len(skeleton.joints))
    order[list(skeleton.left)], order[list(skeleton.right)] = skeleton.right, skeleton.left
    return order
