"""Labelled points of motion capture files (TRC, C3D), and which of them are joints, by their names.

Names are compared without case, spaces and punctuation; a side is l, left, r or right before or after the rest:
`RKnee`, `R_Knee`, `right knee`, `knee_r`. The part before a colon names the subject (`Anna:RKnee`). Markers on the
skin (`RASI`, `r_knee_study`) are no joints and are left out.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxpose.files import FilePath
from jaxpose.geometry.axes import turn
from jaxpose.geometry.skeleton import SKELETONS
from jaxpose.io.arrays import UNITS, as_rate, text_array

_JOINTS = {joint.replace("_", ""): joint for skeleton in SKELETONS.values() for joint in skeleton.joints}
# Parts of the body as tools write them: Pose2Sim, OpenCap and OpenPose; Vicon's and Theia's joint centres.
_SIDED = {
    **{"hip": "hip", "hjc": "hip", "knee": "knee", "kjc": "knee", "ankle": "ankle", "ajc": "ankle", "heel": "heel"},
    **{"bigtoe": "big_toe", "smalltoe": "small_toe", "foot": "foot", "eye": "eye", "ear": "ear", "hand": "hand"},
    **{"shoulder": "shoulder", "sjc": "shoulder", "elbow": "elbow", "ejc": "elbow", "wrist": "wrist", "wjc": "wrist"},
    "collar": "collar",
}
_MIDDLE = {"midhip": "hip", "chip": "hip", "hips": "hip", "mhip": "hip", "headtop": "head", "tophead": "head"}
_SIDE = {"l": "left", "left": "left", "r": "right", "right": "right"}


class Markers(NamedTuple):
    """Points of a file: names [K], xyz [F, K, 3] in its own `unit` and axes, NaN where missing.

    radius: [F, K] in the same unit (C3D's residuals), NaN where not known, or None. first: the number of the first
    frame. up: the axis that points up, or None where the file has none.
    """

    names: tuple[str, ...]
    xyz: np.ndarray
    fps: float
    unit: str
    up: str | None = None
    first: int = 0
    radius: np.ndarray | None = None


def joint_of(marker: str) -> str | None:
    """The joint of any joint set that a marker's name (without the subject's) means, or None."""
    plain = re.sub(r"[^a-z0-9]", "", marker.lower())
    if plain in _JOINTS or plain in _MIDDLE:
        return _JOINTS.get(plain) or _MIDDLE[plain]
    for pattern in (r"(left|right|l|r)(?P<part>.+)", r"(?P<part>.+?)(left|right|l|r)"):
        match = re.fullmatch(pattern, plain)
        if match and match["part"] in _SIDED:
            side = next(group for group in match.groups() if group in _SIDE and group != match["part"])
            return f"{_SIDE[side]}_{_SIDED[match['part']]}"
    return None


def joints_of_markers(path: FilePath, markers: Markers) -> dict[str, np.ndarray]:
    """The joints among the markers, of the joint set that has most of them; a row for each subject in each frame.

    Arrays: joints3d [N, K, 3], names `joints` [K], frame and person [N], ignored: names of markers that are no joints.
    Where two markers are one joint, the first counts. ValueError where there are fewer than three joints.
    """
    subjects = list(dict.fromkeys(name.rpartition(":")[0] for name in markers.names))
    columns: dict[tuple[str, str], int] = {}
    for k, name in enumerate(markers.names):
        subject, _, rest = name.rpartition(":")
        joint = joint_of(rest)
        if joint is not None:
            columns.setdefault((subject, joint), k)
    joints = {joint for _, joint in columns}
    best = max(SKELETONS.values(), key=lambda s: (len(joints & set(s.joints)), -len(s.joints)))
    names = tuple(joint for joint in best.joints if joint in joints)
    if len(names) < 3:
        raise ValueError(
            f"{path}: of its markers {', '.join(markers.names[:12])}{', ...' if len(markers.names) > 12 else ''} "
            f"{len(names)} are joints by their names; needed 3 or more, such as RHip, RKnee, RAnkle"
        )
    rows = []
    for place, subject in enumerate(subjects):
        xyz = np.full((len(markers.xyz), len(names), 3), np.nan)
        for j, joint in enumerate(names):
            if (subject, joint) in columns:
                xyz[:, j] = markers.xyz[:, columns[subject, joint]]
        frames = np.flatnonzero(np.isfinite(xyz).all(-1).any(-1))
        rows.append((xyz[frames], frames + markers.first, np.full(len(frames), place)))
    values, frame, person = (np.concatenate(x) for x in zip(*rows, strict=True))
    used = {k for (_, joint), k in columns.items() if joint in names}
    ignored = tuple(name for k, name in enumerate(markers.names) if k not in used)
    arrays = {"joints3d": values, "joints": np.array(names), "frame": frame, "person": person}
    return arrays | {"ignored": text_array(path, ignored)}


def placed(markers: Markers, up: str) -> np.ndarray:
    """Points [F, K, 3] in metres, in axes of which `up` ("y", "z" or "-y") points up; where the file has none: y."""
    return UNITS[markers.unit] * markers.xyz @ turn(markers.up or "y", up).T


def check_markers(names: Sequence[str], xyz: np.ndarray, fps: float) -> None:
    """ValueError where a file cannot hold the points [F, K, 3]."""
    if xyz.ndim != 3 or xyz.shape[1:] != (len(names), 3) or not len(xyz):
        raise ValueError(f"xyz: needed [F, {len(names)}, 3] with a frame or more, got {list(xyz.shape)}")
    if len(set(names)) != len(names) or any(not name.strip() or set(name) & set("\t\r\n") for name in names):
        raise ValueError(f"names: needed distinct names without tabs, got {tuple(names)}")
    as_rate("markers", "fps", fps)
