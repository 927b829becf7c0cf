"""3D poses of people from files, in metres and in the axes of a level camera (x right, y down, z forward):

    up       "-y"  camera axes        "y"  (x, -y, -z)        "z"  (x, -z, y)

The formats are described in `poses3d_files`; our own results are among them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxpose.geometry.axes import R_CAM_WORLD, to_camera
from jaxpose.geometry.skeleton import H36M_17, SKELETONS, Skeleton
from jaxpose.io.poses3d_files import READERS, Table3D

UNITS = {"m": 1.0, "mm": 1e-3}
_SMALLEST, _LARGEST = 0.3, 4.0  # metres that a person measures along some axis, in any posture


class Poses3D(NamedTuple):
    """N poses, each of one person in one frame, as numpy arrays.

    joints: [N, J, 3] float32 metres, camera axes (x right, y down, z forward), NaN where missing.
    frame, person: [N] int64. fps: frames per second, or None.
    up, unit: the file's own axes (`from_camera` goes back to them) and unit.
    """

    joints: np.ndarray
    skeleton: Skeleton
    frame: np.ndarray
    person: np.ndarray
    fps: float | None = None
    up: str = "-y"
    unit: str = "m"


def read_poses3d(
    path: str | os.PathLike[str], *, skeleton: Skeleton | None = None, up: str | None = None, unit: str | None = None
) -> Poses3D:
    """The poses in a file.

    skeleton: the joint set; None: told by the names, else by the number of joints (17 without names: Human3.6M).
    up: "-y", "y" or "z", the axis that points up; unit: "m" or "mm"; None: what the file says, else "-y" and "m".
    Errors: ValueError naming the file, what it has and what is legal, for a file that is missing, cut off, of no known
    format or without a joint, an open joint set, and people of a size that no person has.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if path.suffix.lower() not in READERS:
        raise ValueError(f"{path}: suffix {path.suffix!r}; legal for 3D joints are {', '.join(READERS)}")
    table = READERS[path.suffix.lower()](path)
    up, unit = up or table.up, unit or table.unit
    for what, value, legal in (("up", up, R_CAM_WORLD), ("unit", unit, UNITS)):
        if value not in legal:
            raise ValueError(f"{path}: {what} {value!r} (--{what}); legal are {', '.join(legal)}")
    skeleton, columns = _joint_set(path, table, skeleton)
    seen = np.isfinite(table.values).all(-1)
    if not seen.any():
        raise ValueError(f"{path}: no joint is there; all are missing (NaN, null or confidence 0)")
    joints = np.full((len(seen), len(skeleton.joints), 3), np.nan)
    joints[:, columns] = np.where(seen[..., None], table.values, np.nan) * UNITS[unit]
    num = len(joints)
    frame = np.arange(num) if table.frame is None else table.frame
    person = np.zeros(num, np.int64) if table.person is None else table.person
    poses = Poses3D(to_camera(joints, up).astype(np.float32), skeleton, frame, person, table.fps, up, unit)
    _check_sizes(path, poses)
    return poses


def _check_sizes(path: Path, poses: Poses3D) -> None:
    seen = np.isfinite(poses.joints)
    low, high = (np.where(seen, poses.joints, s * np.inf) for s in (1, -1))
    extent = (high.max(1) - low.min(1)).max(-1)
    small = (extent < _SMALLEST) & (2 * seen[..., 0].sum(-1) >= len(poses.skeleton.joints))
    wrong = np.flatnonzero(small | (extent > _LARGEST))
    if wrong.size:
        row, other = wrong[0], "mm" if poses.unit == "m" else "m"
        raise ValueError(
            f"{path}: frame {poses.frame[row]}, person {poses.person[row]} is {extent[row]:.3g} metres large, taken "
            f"as {poses.unit}; a person is {_SMALLEST} to {_LARGEST} m: try --unit {other}"
        )


def _joint_set(path: Path, table: Table3D, given: Skeleton | None) -> tuple[Skeleton, list[int]]:
    """The skeleton, and which of its joints each column of the file is."""
    num, names = table.values.shape[1], table.names
    sets = [given] if given else list(SKELETONS.values())
    if names is None:
        legal = [s for s in sets if len(s.joints) == num]
        legal = [H36M_17] if H36M_17 in legal else legal
        if len(legal) != 1:
            found = " or ".join(s.name for s in legal) or f"none of {[s.name for s in sets]}"
            raise ValueError(f"{path}: {num} joints without names are {found}: name the skeleton (--skeleton)")
        return legal[0], list(range(num))
    if len(names) != num or len(set(names)) != num:
        raise ValueError(f"{path}: {len(set(names))} distinct joint names for {num} joints")
    fitting = [s for s in sets if set(names) <= set(s.joints)]
    if not fitting:
        unknown = sorted(set(names) - {joint for s in sets for joint in s.joints}) or list(names)
        raise ValueError(f"{path}: no joint set has the joints {unknown}; known are {[s.name for s in sets]}")
    skeleton = min(fitting, key=lambda s: len(s.joints))
    return skeleton, [skeleton.joints.index(name) for name in names]
