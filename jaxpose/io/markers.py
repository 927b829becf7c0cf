"""Labelled points of motion capture files (TRC, C3D), and which of them are joints, by their names.

Names are compared without case, spaces and punctuation; a side is l, left, r or right before or after the rest:
`RKnee`, `R_Knee`, `right knee`, `knee_r`. The part before a colon names the subject (`Anna:RKnee`). Markers on the
skin (`RASI`, `r_knee_study`) are no joints and are left out.

TRC files (Track Row Column, of Motion Analysis; OpenSim's markers) are read and written here.

Lines of cells between tabs:

    PathFileType  4  (X/Y/Z)  name
    DataRate  CameraRate  NumFrames  NumMarkers  Units  OrigDataRate  OrigDataStartFrame  OrigNumFrames
    their values
    Frame#  Time  marker1  -  -  marker2 ...         a name for each three columns
    -  -  X1  Y1  Z1  X2 ...
    (an empty line)
    1  0.0  x  y  z ...                              empty cells where a marker is missing

Files without the empty line are read too, with NaN for missing markers, and with spaces around cells (Pose2Sim,
OpenCap). The axes are not in the format; OpenSim's have y up.

Source: OpenSim documentation, Marker (.trc) Files; files of Pose2Sim and OpenCap.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxpose.files import FilePath, atomic
from jaxpose.geometry.axes import turn
from jaxpose.geometry.skeleton import SKELETONS
from jaxpose.io.arrays import UNITS, as_rate, cell_number, number_or_nan, text_array
from jaxpose.io.take import read_lines
from jaxpose.reading import check_growth, reader

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


_MOST_FRAMES = 1e9
_HEAD = (
    *("DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units", "OrigDataRate", "OrigDataStartFrame"),
    "OrigNumFrames",
)


def write_trc(path: FilePath, names: Sequence[str], xyz: np.ndarray, fps: float, first: float = 0) -> None:
    """Write points [F, K, 3] metres, y up, NaN where missing, as TRC in millimetres.

    first: the time of the first frame, in frames; its number is the nearest, and files count from 1.
    ValueError for shapes and names that do not fit.
    """
    xyz = np.asarray(xyz, np.float64)
    check_markers(names, xyz, fps)
    num, rate = len(xyz), f"{fps:.6g}"
    values = [rate, rate, num, len(names), "mm", rate, round(first) + 1, num]
    lines = [f"PathFileType\t4\t(X/Y/Z)\t{Path(path).name}", "\t".join(_HEAD), "\t".join(map(str, values))]
    lines.append("Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t")
    lines += ["\t\t" + "\t".join(f"{axis}{k}" for k in range(1, len(names) + 1) for axis in "XYZ"), ""]
    for f, row in enumerate(1000 * xyz):
        cells = ("\t".join(f"{v:.4f}" for v in point) if np.isfinite(point).all() else "\t\t" for point in row)
        lines.append(f"{round(first) + f + 1}\t{(first + f) / fps:.6f}\t" + "\t".join(cells))
    with atomic(path) as file:
        file.write(("\n".join(lines) + "\n").encode())


@reader("TRC file")
def read_trc(path: FilePath) -> Markers:
    """The markers in a TRC file, in its unit; ValueError names file and line of a fault."""
    lines = [[cell.strip() for cell in line.split("\t")] for line in read_lines(path)]
    if lines[0][0] != "PathFileType" or len(lines) < 6:
        raise ValueError(f"{path}, line 1: needed PathFileType and a header of five lines, got {lines[0][0][:40]!r}")
    head = dict(zip(lines[1], lines[2], strict=False))
    fps, count, unit = (head.get(key, "") for key in ("DataRate", "NumMarkers", "Units"))
    if not number_or_nan(fps) > 0 or not number_or_nan(count) >= 1:
        raise ValueError(f"{path}, line 3: needed DataRate and NumMarkers above 0, got {fps!r} and {count!r}")
    names = tuple(cell for cell in lines[3][2:] if cell)
    if lines[3][:1] != ["Frame#"] or len(names) != int(float(count)):
        raise ValueError(f"{path}, line 4: needed Frame#, Time and {count} names, got {len(names)} names")
    width = 2 + 3 * len(names)
    check_growth(path, width * len(lines), f"{len(lines)} lines of {width} cells")
    rows = []
    for n, cells in enumerate(lines[5:], 6):
        if not any(cells):
            continue
        if any(cells[width:]) or len(cells) < 2:
            raise ValueError(f"{path}, line {n}: needed at most {width} cells, got {len(cells)}")
        rows.append([cell_number(f"{path}, line {n}", cell) for cell in (*cells[:width], *[""] * (width - len(cells)))])
    if not rows:
        raise ValueError(f"{path}: no line of positions after the header")
    table = np.array(rows)
    if not (abs(table[:, 0]) < _MOST_FRAMES).all():
        raise ValueError(f"{path}: a line without a frame number; needed a whole number in each")
    xyz = table[:, 2:].reshape(len(rows), -1, 3)
    number = table[:, 0].astype(int)
    span = int(number.max() - number.min()) + 1
    check_growth(path, span * xyz[0].size, f"frames {number.min()} to {number.max()}")
    whole = np.full((span, *xyz.shape[1:]), np.nan)  # frames that are left out are missing
    whole[number - number.min()] = xyz
    return Markers(names, whole, float(fps), unit.lower(), None, max(0, int(number.min()) - 1))
