"""The 17 joints of Human3.6M (H36M_17) of motion capture with another skeleton, as shared/data/mocap has them.

Hips, knees, ankles, shoulders, elbows and wrists are the file's own joints, so bones have the person's lengths. Hip is
the middle of the hips. Spine is the file's joint of the spine that is nearest to 0.45 of the way from the hips to the
shoulders at rest. The rest depends on what the skeleton has:

    two neck joints    thorax = 0.6 l + 0.4 u, neck_nose = (u + h) / 2 + 0.04 m f, head = tip of the head's bone
    otherwise          thorax = middle of the shoulders; neck_nose and head are held by the head's joint

l, u: the lower and upper neck joint; h: the head's; f: where the head faces. The first row was found from CMU's and
HDM05's ASF/AMC beside the shared files, which it meets within 0.4 mm (tests/io/retarget_test.py); the offsets of the
second are taken by `fitting/joint_angles.py` too, scaled by the legs.
"""

from collections.abc import Mapping

import numpy as np

from jaxpose.geometry.skeleton import H36M_17, SMPL_22
from jaxpose.io.source_skeletons import Flavour
from jaxpose.io.take import Take, rest_positions, world

_SPINE_AT = 0.45  # of the way from hips to shoulders: medians of the shared data, 0.22 of 0.49 m
_THORAX, _NOSE_M = 0.4, 0.04
_HEAD = (0.0, 0.15, 0.02)  # metres from the middle of the shoulders, of a skeleton without a head's joint
HELD_BY_HEAD = {"neck_nose": (0.0, -0.02, 0.04), "head": (0.0, 0.2, 0.02)}  # metres from the head's joint, adult of LEG
LEG = 0.82  # metres, thigh and shin of that adult
_SPINE = ("pelvis", "spine1", "spine2", "spine3")
_J = {name: j for j, name in enumerate(SMPL_22.joints)}


def restored(take: Take, lost: Mapping[str, tuple[str, float]]) -> Take:
    """The take with bones that its conversion lost: joint -> another, and the share of whose offset it gets too.

    Joints that already lie off their parent stay, but for those that are lengthened by a share of themselves.
    """
    offsets, translations = take.offsets.copy(), take.translations.copy()
    for name, (other, share) in lost.items():
        j, p = take.names.index(name), take.names.index(other)
        if j == p or not take.offsets[j].any():
            offsets[j] += share * take.offsets[p]
            translations[:, j] += share * take.offsets[p]
    return take._replace(offsets=offsets, translations=translations)


def joints17(take: Take, flavour: Flavour, unit_m: float, W: np.ndarray, H: np.ndarray) -> np.ndarray:
    """The joints [F, 17, 3] metres, y up.

    unit_m: metres of the take's unit. W: [3, 3] to a world with y up. H: [F, 22, 3, 3] world rotations of SMPL's
    joints (retarget.py).
    """
    take = restored(take, flavour.lost)
    p, G = world(take)
    p, G = unit_m * p @ W.T, W @ G
    source_of = {name: blend[0] for name, blend in flavour.joints.items()}

    def at(name: str) -> np.ndarray:
        return p[:, take.names.index(name)]

    joints = {name: at(source_of[name]) for name in H36M_17.joints if name in source_of}
    joints["hip"] = (joints["left_hip"] + joints["right_hip"]) / 2
    joints["spine"] = at(_spine(take, source_of))
    facing = H[:, _J["head_base"]]
    lower, upper, _ = flavour.joints.get("neck", ("", "", 0.0))
    head = source_of.get("head_base", "")
    if upper not in (lower, head) and head in take.ends:
        joints["thorax"] = (1 - _THORAX) * at(lower) + _THORAX * at(upper)
        joints["neck_nose"] = (at(upper) + at(head)) / 2 + _NOSE_M * facing[..., 2]
        joints["head"] = at(head) + unit_m * G[:, take.names.index(head)] @ take.ends[head]
    else:
        legs = [np.linalg.norm(take.offsets[take.names.index(source_of[f"left_{j}"])]) for j in ("knee", "ankle")]
        metres = unit_m * sum(legs) / LEG  # of the table's metres
        joints["thorax"] = (joints["left_shoulder"] + joints["right_shoulder"]) / 2
        base = at(head) if head else joints["thorax"] + metres * H[:, _J["neck"]] @ np.array(_HEAD)
        joints |= {name: base + metres * facing @ np.array(offset) for name, offset in HELD_BY_HEAD.items()}
    return np.stack([joints[name] for name in H36M_17.joints], 1)


def _spine(take: Take, source_of: Mapping[str, str]) -> str:
    rest = rest_positions(take.offsets, take.parents)
    hips, shoulders = (
        np.mean([rest[take.names.index(source_of[f"{side}_{joint}"])] for side in ("left", "right")], 0)
        for joint in ("hip", "shoulder")
    )
    along = (shoulders - hips) / ((shoulders - hips) @ (shoulders - hips))
    places = {
        source_of[n]: abs((rest[take.names.index(source_of[n])] - hips) @ along - _SPINE_AT)
        for n in _SPINE
        if n in source_of
    }
    return min(places, key=lambda name: places[name])
