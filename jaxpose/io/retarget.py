"""Retargeting: motion of other skeletons (BVH, ASF/AMC) as rotations of SMPL's 22 joints.

G_j is the world rotation of joint j from the rest pose. With B the rotation from the rest pose's axes to SMPL's (x
left, y up, z forward) and W the rotation to a world with y up, the world rotation of SMPL's joint is

    H_j = W G_j B^T A_j          A_j constant; local rotation H_parent^T H_j

A_j is the identity for pelvis and spine. For thighs, shins, upper arms and forearms it takes SMPL's bone to where the
source's bone points at rest, by way of the T-pose and without twist: A = Q_source Q_smpl^T, Q_b the shortest rotation
from the T-pose's direction (down, or to the side) to bone b at rest. So rest poses with spread legs and hanging arms
need no T-pose frame. Hands and feet have the A of forearm and shin. `Flavour` has the other constants of a family of
files.

Rotations about the forearm are shared equally by elbow and wrist. The pelvis is placed such that the middle of SMPL's
hip joints is that of the source's.

`joints17` are the 17 joints of Human3.6M (H36M_17), as shared/data/mocap has them. Hips, knees, ankles, shoulders,
elbows and wrists are the file's own joints, so bones have the person's lengths. Hip is the middle of the hips. Spine is
the file's joint of the spine that is nearest to 0.45 of the way from the hips to the shoulders at rest. The rest
depends on what the skeleton has:

    two neck joints    thorax = 0.6 l + 0.4 u, neck_nose = (u + h) / 2 + 0.04 m f, head = tip of the head's bone
    otherwise          thorax = middle of the shoulders; neck_nose and head are held by the head's joint

l, u: the lower and upper neck joint; h: the head's; f: where the head faces. The first row was found from CMU's and
HDM05's ASF/AMC beside the shared files, which it meets within 0.4 mm (tests/io/retarget_test.py); the offsets of the
second are taken by `fitting/joint_angles.py` too, scaled by the legs.

Source: shared/data/README.md, "How it was made"; constants are in source_skeletons.py.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxpose.files import FilePath
from jaxpose.geometry.skeleton import H36M_17, SMPL_22
from jaxpose.io.asf_amc import asf_beside, read_amc, read_asf
from jaxpose.io.bvh import read_bvh, write_bvh
from jaxpose.io.smpl_motion import Motion
from jaxpose.io.source_skeletons import FLAVOURS, Flavour, flavour_of_map
from jaxpose.io.take import Take, rest_positions, rotation_matrices, rotation_vectors, shortest_rotation, world
from jaxpose.reading import reader

# A generic adult in round numbers, m, y up, facing z: each SMPL joint relative to its parent in the T-pose.
_TRUNK: dict[str, tuple[float, float, float]] = {"spine1": (0, 0.12, 0), "spine2": (0, 0.12, 0), "spine3": (0, 0.07, 0)}
_TRUNK |= {"neck": (0, 0.2, -0.02), "head_base": (0, 0.1, 0.02)}
_LEFT_SIDE = {
    **{"hip": (0.08, -0.09, 0), "knee": (0.015, -0.4, 0), "ankle": (0, -0.42, -0.015), "foot": (0.02, -0.06, 0.13)},
    **{"collar": (0.07, 0.12, -0.01), "shoulder": (0.11, 0.03, -0.01), "elbow": (0.28, 0, 0), "wrist": (0.26, 0, 0)},
}
_SIDES = {f"left_{name}": offset for name, offset in _LEFT_SIDE.items()}
_SIDES |= {f"right_{name}": (-1.0 * x, y, z) for name, (x, y, z) in _LEFT_SIDE.items()}
GENERIC_OFFSETS = np.array([({"pelvis": (0, 0, 0)} | _TRUNK | _SIDES)[name] for name in SMPL_22.joints], np.float64)
GENERIC_OFFSETS.flags.writeable = False

# Metres, CMU's unit (length 0.45 of an .asf: 1 / 0.45 inch), centimetres, millimetres.
UNITS_M = (1.0, 0.0254 / 0.45, 0.01, 0.001)
LEG_M = (0.5, 0.82, 1.25)  # least, usual and greatest length of thigh and shin together
MAX_PRONATION = np.deg2rad(105)  # limit of a forearm; larger angles come from lost markers or wrapped angles
T_POSE_WITHIN = np.deg2rad(15)

_SPINE_AT = 0.45  # of the way from hips to shoulders: medians of the shared data, 0.22 of 0.49 m
_THORAX, _NOSE_M = 0.4, 0.04
_HEAD = (0.0, 0.15, 0.02)  # metres from the middle of the shoulders, of a skeleton without a head's joint
HELD_BY_HEAD = {"neck_nose": (0.0, -0.02, 0.04), "head": (0.0, 0.2, 0.02)}  # metres from the head's joint, adult of LEG
LEG = 0.82  # metres, thigh and shin of that adult
_SPINE = ("pelvis", "spine1", "spine2", "spine3")

_DOWN, _LEFT = np.array([0.0, -1, 0]), np.array([1.0, 0, 0])
# Aligned joint: the joint at the bone's far end, its direction in the T-pose, the joint that follows its A.
_LIMBS = {
    f"{side}_{joint}": (f"{side}_{end}", direction, tuple(f"{side}_{name}" for name in followers))
    for side, out in (("left", _LEFT), ("right", -_LEFT))
    for joint, end, direction, followers in (
        *(("hip", "knee", _DOWN, ()), ("knee", "ankle", _DOWN, ("ankle", "foot"))),
        *(("shoulder", "elbow", out, ()), ("elbow", "wrist", out, ("wrist",))),
    )
}
_J = {name: index for index, name in enumerate(SMPL_22.joints)}


class Retargeted(NamedTuple):
    """A motion and the 17 joints [F, 17, 3] of the source's own skeleton in its frames, metres, y up."""

    motion: Motion
    joints: np.ndarray


@reader("file of motion")
def read_retargeted(
    path: FilePath, *, asf: FilePath | None = None, fps: float | None = None, **options: Any
) -> Retargeted:
    """The motion in a .bvh or .amc file; asf, fps: of .amc, by default the .asf beside it, and 120; the rest as of
    `retarget`."""
    amc = Path(path).suffix.lower() == ".amc"
    take = read_amc(path, read_asf(asf or asf_beside(path)), fps=fps or 120.0) if amc else read_bvh(path)
    return retarget(take, **options)


def retarget(
    take: Take,
    *,
    unit_m: float | None = None,
    joint_map: Mapping[str, str] | None = None,
    offsets: np.ndarray = GENERIC_OFFSETS,
    skip_t_pose: bool = True,
) -> Retargeted:
    """A take as a Motion of SMPL's joints (module docstring), with the joints of the source's own skeleton.

    unit_m: metres of one unit of the take's lengths; guessed from the legs by default. joint_map: the SMPL joint
    (SMPL_22) of each of the take's joints that matters, for skeletons that are not in FLAVOURS. offsets: [22, 3] m the
    target's rest pose. skip_t_pose: leave out leading frames in a T-pose. Motion.source lists what was assumed.
    Raises ValueError for unknown skeletons, rest poses that do not stand, and implausible lengths of the legs.
    """
    flavour = _flavour(take) if joint_map is None else flavour_of_map(joint_map, take.names)
    rest, (positions, rotations) = _rest(take, flavour), world(take)
    unit, origin_of_unit = _unit(rest, unit_m)
    B, W = _axes(rest)
    H = _turned(take, flavour, W @ rotations @ B.T, _alignments(flavour, rest, B, offsets), offsets)
    hips = [take.names.index(flavour.joints[f"{side}_hip"][0]) for side in ("left", "right")]
    middle = unit * positions[:, hips].mean(1) @ W.T
    pelvis = middle - H[:, 0] @ offsets[[_J["left_hip"], _J["right_hip"]]].mean(0)
    local = [np.swapaxes(H[:, p], -1, -2) @ H[:, j] if j else H[:, 0] for j, p in enumerate(SMPL_22.parents)]
    vectors = rotation_vectors(np.stack(local, 1)).astype(np.float32)
    skipped = _leading_t_pose(H, offsets) if skip_t_pose else 0
    notes = [f"{flavour.name}, {len(take.names)} joints", origin_of_unit]
    if not np.array_equal(W, np.eye(3)):
        notes.append("turned to y up")
    if skipped:
        notes.append(f"left out {skipped} leading T-pose frame{'s' * (skipped > 1)}")
    kept = vectors[skipped:]
    transl = pelvis[skipped:].astype(np.float32)
    motion = Motion(kept[:, 1:], kept[:, 0], transl, take.fps, None, "; ".join(notes))
    return Retargeted(motion, joints17(take, flavour, unit, W, H)[skipped:].astype(np.float32))


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
    joints.
    """
    take = restored(take, flavour.lost)
    p, G = world(take)
    p, G = unit_m * p @ W.T, W @ G
    source_of = {name: blend[0] for name, blend in flavour.joints.items()}

    def at(name: str) -> np.ndarray:
        return p[:, take.names.index(name)]

    joints = {name: at(source_of[name]) for name in H36M_17.joints if name in source_of}
    joints["hip"] = (joints["left_hip"] + joints["right_hip"]) / 2
    joints["spine"] = at(source_of[_spine(_rest(take, flavour))])
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


def _spine(rest: Mapping[str, np.ndarray]) -> str:
    hips, shoulders = (np.mean([rest[f"left_{joint}"], rest[f"right_{joint}"]], 0) for joint in ("hip", "shoulder"))
    along = (shoulders - hips) / ((shoulders - hips) @ (shoulders - hips))
    return min((name for name in _SPINE if name in rest), key=lambda n: abs((rest[n] - hips) @ along - _SPINE_AT))


def write_motion_bvh(
    path: FilePath, motion: Motion, offsets: np.ndarray = GENERIC_OFFSETS, *, unit: str = "cm"
) -> None:
    """Write a motion as BVH, `unit` "cm" or "m", with SMPL's rest pose `offsets` [22, 3] m: see `read_retargeted`."""
    vectors = np.concatenate([motion.global_orient[:, None], motion.body_pose], 1)
    rotations = rotation_matrices(vectors)
    write_bvh(path, SMPL_22.joints, SMPL_22.parents, offsets, rotations, motion.transl, motion.fps, unit)


def _flavour(take: Take) -> Flavour:
    for flavour in FLAVOURS:
        if flavour.sources() <= set(take.names):
            return flavour
    known = ", ".join(flavour.name for flavour in FLAVOURS)
    raise ValueError(f"joints {', '.join(take.names)} fit no known skeleton ({known}); give a joint map")


def _rest(take: Take, flavour: Flavour) -> dict[str, np.ndarray]:
    """Positions [3] of SMPL's joints in the source's rest pose, file unit."""
    rest = rest_positions(take.offsets, take.parents)
    return {name: rest[take.names.index(blend[0])] for name, blend in flavour.joints.items()}


def _unit(rest: Mapping[str, np.ndarray], unit_m: float | None) -> tuple[float, str]:
    """Metres of one unit, and their origin in words."""
    leg = np.linalg.norm(rest["left_knee"] - rest["left_hip"])
    leg += np.linalg.norm(rest["left_ankle"] - rest["left_knee"])
    if not leg > 0:
        raise ValueError("the legs have no length in the rest pose")
    if unit_m is not None:
        if not (np.isfinite(unit_m) and unit_m > 0):
            raise ValueError(f"unit_m: needed metres above 0, got {unit_m}")
        return unit_m, f"1 unit = {unit_m:.4g} m as given, legs {leg * unit_m:.2f} m"
    least, usual, greatest = LEG_M
    unit = min(UNITS_M, key=lambda u: abs(np.log(leg * u / usual)))
    if not least <= leg * unit <= greatest:
        raise ValueError(f"legs of {leg:.4g} units fit no usual unit of length; give unit_m, metres of one unit")
    return unit, f"1 unit = {unit:.4g} m assumed from legs of {leg * unit:.2f} m"


def _axes(rest: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """B [3, 3] from the rest pose's axes to x left, y up, z forward; W [3, 3] that makes the world y up."""
    left, right = ([rest[f"{side}_{joint}"] for joint in ("hip", "shoulder", "ankle")] for side in ("left", "right"))
    hips, shoulders, ankles = (np.stack(left) + np.stack(right)) / 2
    up = _nearest_axis(shoulders - hips)
    side = _nearest_axis((left[0] - right[0]) * (up == 0))
    if up @ (ankles - hips) >= 0 or not side.any():
        raise ValueError("the rest pose does not stand: needed shoulders above and ankles below the hips")
    B = np.stack([side, up, np.cross(side, up)])
    # worlds that are upside down do not occur
    return B, np.eye(3) if up[1] else np.round(shortest_rotation(up, np.array([0.0, 1, 0])))


def _nearest_axis(vector: np.ndarray) -> np.ndarray:
    axis = np.argmax(np.abs(vector))
    return np.sign(vector[axis]) * np.eye(3)[axis]


def _turned(
    take: Take, flavour: Flavour, G: np.ndarray, constants: Mapping[str, np.ndarray], offsets: np.ndarray
) -> np.ndarray:
    """World rotations H [F, 22, 3, 3] of SMPL's joints; G: [F, J, 3, 3] of the source's, from SMPL's axes."""
    if flavour.t_pose is not None:  # from the first frame instead of the rest pose, where that frame is near it
        used = [take.names.index(name) for name in sorted(flavour.sources())]
        if np.linalg.norm(rotation_vectors(G[0, used]), axis=-1).max() <= T_POSE_WITHIN:
            G = G @ np.swapaxes(G[0], -1, -2)
    H = np.empty((len(G), len(_J), 3, 3))
    for name, joint in _J.items():
        if name not in flavour.joints:
            H[:, joint] = H[:, SMPL_22.parents[joint]]
            continue
        *ends, share = flavour.joints[name]
        turned, end = (G[:, take.names.index(name)] for name in ends)
        if share:
            turned = turned @ rotation_matrices(share * rotation_vectors(np.swapaxes(turned, -1, -2) @ end))
        H[:, joint] = turned @ constants[name]
    for side in ("left", "right") if not flavour.is_smpl else ():
        carrier = flavour.pronation.get(side, flavour.joints[f"{side}_wrist"][0])
        turned = G[:, take.names.index(carrier)] @ constants[f"{side}_wrist"]
        _share_pronation(H, side, turned, offsets)
    return H


def _alignments(
    flavour: Flavour, rest: Mapping[str, np.ndarray], B: np.ndarray, offsets: np.ndarray
) -> dict[str, np.ndarray]:
    """A [3, 3] of each SMPL joint."""
    result = {name: rotation_matrices(np.deg2rad([flavour.pitch_deg.get(name, 0.0), 0, 0])) for name in _J}
    if flavour.is_smpl:
        return result
    for name, (end, direction, followers) in _LIMBS.items():
        side, joint = name.split("_")
        bone = B @ (rest[end] - rest[name])
        if flavour.t_pose is not None:
            bone = np.array(flavour.t_pose[joint]) * (1 if side == "left" else -1, 1, 1)
        if not np.linalg.norm(bone) > 0:
            raise ValueError(f"the source's {name} and {end} are at the same place in the rest pose")
        A = shortest_rotation(direction, bone) @ shortest_rotation(offsets[_J[end]], direction)
        if joint in ("shoulder", "elbow"):
            A = A @ rotation_matrices(np.deg2rad(flavour.arm_twist_deg) * _LEFT)
        result |= dict.fromkeys((name, *followers), A)
    return result


def _share_pronation(H: np.ndarray, side: str, turned: np.ndarray, offsets: np.ndarray) -> None:
    """Move half of the forearm's twist, at most MAX_PRONATION, to the elbow in H; turned [F, 3, 3]: the far end's."""
    elbow, wrist = _J[f"{side}_elbow"], _J[f"{side}_wrist"]
    axis = offsets[wrist] / np.linalg.norm(offsets[wrist])
    relative = np.swapaxes(H[:, elbow], -1, -2) @ turned
    # of R = swing twist: tan(angle / 2) = (sine part of the quaternion along the axis) / (its cosine part)
    vector = rotation_vectors(relative)
    half = np.linalg.norm(vector, axis=-1) / 2
    twist = 2 * np.arctan2(np.sinc(half / np.pi) / 2 * (vector @ axis), np.cos(half))
    legal = np.clip(twist, -MAX_PRONATION, MAX_PRONATION)
    cut = rotation_matrices((legal - twist)[:, None] * axis)
    H[:, wrist] = H[:, elbow] @ cut @ np.swapaxes(H[:, elbow], -1, -2) @ H[:, wrist]
    H[:, elbow] = H[:, elbow] @ rotation_matrices(legal[:, None] / 2 * axis)


def _leading_t_pose(H: np.ndarray, offsets: np.ndarray) -> int:
    """Number of leading frames in a T-pose that faces z, as some tools insert them; 0 if all are."""
    upright = np.linalg.norm(rotation_vectors(H[:, 0]), axis=-1) < T_POSE_WITHIN
    for name, (end, direction, _) in _LIMBS.items():
        bone = H[:, _J[name]] @ offsets[_J[end]]
        upright &= bone @ direction > np.cos(T_POSE_WITHIN) * np.linalg.norm(offsets[_J[end]])
    return 0 if upright.all() else int(np.argmin(upright))
