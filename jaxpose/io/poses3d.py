"""3D poses of people from files, in metres and in the axes of a level camera (geometry/axes.py).

    .npz   joints3d [N, J, 3], with `confidence` or `visible` [N, J] where known; or of our own results `joints_world`
           or `joints_path`, else `pose` at `pose_root`, else `mean`, else `samples` [N, J, 3]; or the benchmark's
           `joints_cam`. Further: `joints` [J] names or `skeleton`, `frame` and `person` [N], `fps`, `up`, `unit`
    .npy   [N, J, 3], or [N, J, 4] with a confidence; [J, 3 or 4] is one pose
    .csv   a header frame,person,hip_x,hip_y,hip_z,... (keypoint_arrays.py)
    .json  [{"frame": 0, "person": 0, "joints": {"hip": [x, y, z], "head": null}}, ...]
    .trc, .c3d   markers of motion capture: those that are joints by their names (markers.py); of .trc y is up

A joint is missing where a coordinate is not finite, null or an empty cell, where its confidence is 0, and where the
file does not name it. `read_body_points` has them as points of a body, in a set that bodies have (`POINT_SETS`); joint
sets that are no such set (h36m17, mpii16, ...) are brought to OpenPose's 25 as far as they have them.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.files import FilePath
from jaxpose.geometry.axes import check_up, from_camera, to_camera, uprightness
from jaxpose.geometry.body import Body
from jaxpose.geometry.body_joints import POINT_SETS, known_points, point_set_of
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import BODY_25, H36M_17, Skeleton
from jaxpose.io.arrays import UNITS, Source, as_float, source_of, text_array
from jaxpose.io.c3d import read_c3d
from jaxpose.io.keypoint_arrays import ARRAY_LAYOUTS, read_columns, read_fps, read_joint_names, read_lines, read_per_row
from jaxpose.io.keypoints import choose_joints, with_unnamed
from jaxpose.io.markers import joints_of_markers, read_trc
from jaxpose.reading import check_growth, reader

_CLEARLY_UPRIGHT = 0.7  # mean height of unit trunks: of 683 takes of shared/data/mocap 50 have less (floor, acrobatics)
_SMALLEST, _LARGEST = 0.3, 4.0  # metres that a person measures along some axis, in any posture
_KEYS = ("joints3d", "joints_world", "joints_path", "mean", "samples", "joints_cam")
_CONFIDENCES = ("confidence", "visible")
_FARTHEST = 1e9  # of any unit: what is farther is no place
# 17 joints without names are Human3.6M's
_LAYOUTS = tuple(x for x in ARRAY_LAYOUTS if x.num_keypoints != 17 or x.skeleton is H36M_17)
LEAST_POINTS = 3  # what places a body


class Poses3D(NamedTuple):
    """N poses, each of one person in one frame, as numpy arrays.

    joints: [N, J, 3] float32 metres, camera axes (x right, y down, z forward), NaN where missing.
    frame, person: [N] int64. fps: frames per second, or None.
    up, unit: the file's own axes (`from_camera` goes back to them) and unit. axes: origin of `up` in words, and
    whether the poses agree. ignored: markers that are no joints.
    """

    joints: np.ndarray
    skeleton: Skeleton
    frame: np.ndarray
    person: np.ndarray
    fps: float | None = None
    up: str = "-y"
    unit: str = "m"
    axes: str = ""
    ignored: tuple[str, ...] = ()


class BodyPoints(NamedTuple):
    """xyz [N, K, 3] float32 metres, y up, NaN where missing; the set `points`; `used` of the joints of `source`."""

    xyz: np.ndarray
    points: str
    source: Poses3D
    used: int


@reader("file of 3D joints")
def read_poses3d(
    path: FilePath, *, skeleton: Skeleton | None = None, up: str | None = None, unit: str | None = None
) -> Poses3D:
    """The poses in a file.

    skeleton: the joint set; None: determined by the names, else by the number of joints (17 without names: Human3.6M).
    up: "-y", "y" or "z", the axis that points up; None: as in the file, else as heads stand over hips, else "-y".
    unit: "m", "cm" or "mm"; None: as in the file, else "m".
    ValueError names the file, what it has and what is needed, also for people smaller or larger than any person.
    """
    source = source_of(path)
    if source.suffix not in _READERS:
        raise ValueError(f"{source}: suffix {source.path.suffix!r}; must be one of {', '.join(_READERS)}")
    arrays = _READERS[source.suffix](source)
    values = _values(source, arrays)
    num, names = len(values), read_joint_names(source, arrays)
    frame, person = (read_per_row(source, arrays, name, num) for name in ("frame", "person"))
    fps, unit = read_fps(source, arrays), unit or str(arrays.get("unit", "m"))
    if unit not in UNITS:
        raise ValueError(f"{source}: unit (--unit): got {unit!r}; must be one of {', '.join(UNITS)}")
    skeleton, columns = choose_joints(source.path, values.shape[1], names, skeleton, _LAYOUTS)
    values = with_unnamed(np.where(abs(values) <= _FARTHEST, values, np.nan))[:, columns]
    known = np.isfinite(values).all(-1)
    if not known.any():
        raise ValueError(f"{source}: all joints are missing (NaN, null or confidence 0); needed at least one")
    joints = np.where(known[..., None], values, np.nan) * UNITS[unit]
    frame = np.arange(num) if frame is None else frame
    person = np.zeros(num, np.int64) if person is None else person
    ignored = tuple(arrays.get("ignored", np.zeros(0, np.str_)).astype(str).ravel().tolist())
    given_up = None if up is None and "up" not in arrays else check_up(up or str(arrays["up"]), f"{source}: up (--up)")
    up, axes = _vertical(given_up, uprightness(joints, skeleton), "--up" if up else "the file")
    poses = Poses3D(to_camera(joints, up).astype(np.float32), skeleton, frame, person, fps, up, unit, axes, ignored)
    _check_sizes(source.path, poses)
    return poses


def read_body_points(
    path: FilePath,
    body: Body,
    *,
    skeleton: Skeleton | None = None,
    up: str | None = None,
    unit: str | None = None,
    only: Sequence[str] | None = None,
) -> BodyPoints:
    """The points of `body` in a file; only: names of the points to read; other arguments as in `read_poses3d`."""
    source = read_poses3d(path, skeleton=skeleton, up=up, unit=unit)
    name = point_set_of(source.skeleton)
    xyz = from_camera(source.joints, "y")
    if len(POINT_SETS[name]) != len(source.skeleton.joints) or name == "openpose25":
        known = jnp.asarray(np.isfinite(xyz).all(-1), jnp.float32)
        moved, sure = jax.device_get(convert_joints(jnp.asarray(xyz), known, source.skeleton, BODY_25))
        xyz = np.where(sure[..., None] > 0, moved, np.nan)
    if unknown := [part for part in only or () if part not in POINT_SETS[name]]:
        raise ValueError(f"--only: got {unknown[0]!r}; must be one of {', '.join(POINT_SETS[name])}")
    keep = known_points(body, name) & (only is None or np.isin(np.array(POINT_SETS[name]), list(only)))
    xyz = np.where(keep[:, None], xyz, np.nan).astype(np.float32)
    finite = np.isfinite(xyz).all(-1)
    if not finite.any():
        raise ValueError(f"{path}: none of its points is one of the body's, or of those asked for")
    return BodyPoints(xyz, name, source, int(finite.any(0).sum()))


def check_enough(path: FilePath, data: BodyPoints) -> None:
    """ValueError naming the first pose with fewer than three points."""
    count = np.isfinite(data.xyz).all(-1).sum(-1)
    few = np.flatnonzero(count < LEAST_POINTS)
    if few.size:
        at = f"frame {data.source.frame[few[0]]}, person {data.source.person[few[0]]}"
        raise ValueError(f"{path}: {at} has {count[few[0]]} points that the body has; needed {LEAST_POINTS} or more")


def holds_poses3d(source: Source) -> bool:
    """Whether a file is one of 3D joints, rather than of 2D keypoints.

    .npz: it has the key `joints3d` or `joints_world`, or one of the others and no `keypoints`. .npy: 4 numbers per
    joint, or 3 that are not x, y in pixels and a confidence: the third in [0, 1] and the others beyond 10. .csv: a
    header with <joint>_z. .json: a list with `joints` by name. .trc, .c3d: always.
    """
    match source.suffix:
        case ".csv":
            return any(cell.strip().endswith("_z") for cell in source.text.split("\n", 1)[0].split(","))
        case ".json":
            return isinstance(source.json, list) and bool(source.json) and _is_pose(source.json[0])
        case ".npz":
            return bool({"joints3d", "joints_world"} & set(source.arrays)) or "keypoints" not in source.arrays
    return source.suffix in _MARKERS or (source.suffix == ".npy" and not _like_keypoints(source.array))


def _values(source: Source, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Joints [N, K, 3] as in the file, NaN where missing."""
    key = next((key for key in _KEYS if key in arrays), None)
    if key == "mean" and {"pose", "pose_root"} <= set(arrays):  # a lift: the one pose of each row, at its place
        pose, root = (as_float(source, name, arrays[name]) for name in ("pose", "pose_root"))
        if pose.ndim == 3 and root.shape == (len(pose), 3):
            return pose + root[:, None]
    if key is None:
        raise ValueError(f"{source}: keys {sorted(arrays)}; needed {', '.join(_KEYS)} for 3D joints")
    values = as_float(source, key, arrays[key], (None, None, 3))
    # in a result, confidences belong to the 2D input; the poses are complete
    for name in [name for name in _CONFIDENCES if key == "joints3d" and name in arrays]:
        confidence = as_float(source, name, arrays[name], values.shape[:2])
        values = np.where((confidence > 0)[..., None], values, np.nan)
    return values


# Readers of the other formats bring them to the keys of .npz.
def _read_npy(source: Source) -> dict[str, np.ndarray]:
    array = source.array
    array = array[None] if array.ndim == 2 else array
    values = as_float(source, "the array", array, (None, None, 3), (None, None, 4))
    return {"joints3d": values[..., :3]} | ({"confidence": values[..., 3]} if values.shape[-1] == 4 else {})


def _read_csv(source: Source) -> dict[str, np.ndarray]:
    arrays = read_columns(source, read_lines(source), "xyz", _CONFIDENCES, ("frame", "person"))
    return {"joints3d": arrays.pop("keypoints"), **arrays}


def _read_json(source: Source) -> dict[str, np.ndarray]:
    content = source.json
    if not isinstance(content, list) or not content or not all(map(_is_pose, content)):
        raise ValueError(f'{source}: needed a list of {{"frame": 0, "person": 0, "joints": {{"hip": [x, y, z], ...}}}}')
    names = tuple(dict.fromkeys(name for pose in content for name in pose["joints"]))
    check_growth(source, 3 * len(content) * len(names), f"{len(content)} poses of {len(names)} joints")
    column = {name: k for k, name in enumerate(names)}
    values = np.full((len(content), len(names), 3), np.nan)
    for n, pose in enumerate(content):
        for name, xyz in pose["joints"].items():
            try:
                values[n, column[name]] = np.nan if xyz is None else np.array(xyz, float).reshape(3)
            except (ValueError, TypeError):
                raise ValueError(f"{source}: pose {n}, {name}: {xyz!r}; needed [x, y, z] or null") from None
    frame = np.array([pose.get("frame", n) for n, pose in enumerate(content)])
    person = np.array([pose.get("person", 0) for pose in content])
    return {"joints3d": values, "joints": text_array(source, names), "frame": frame, "person": person}


def _is_pose(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("joints"), dict)


def _like_keypoints(values: np.ndarray) -> bool:
    if values.dtype.kind not in "fiub" or values.ndim == 0 or values.shape[-1] != 3:
        return values.ndim == 0 or values.shape[-1] != 4
    finite = values[np.isfinite(values).all(-1)]
    if not len(finite):
        return False
    return bool((finite[:, 2] >= 0).all() and (finite[:, 2] <= 1).all() and abs(finite[:, :2]).max() > 10)


def _read_markers(source: Source) -> dict[str, np.ndarray]:
    reader, up = _MARKERS[source.suffix]
    markers = reader(source.path)
    arrays = joints_of_markers(source, markers)
    return arrays | {"fps": np.array(markers.fps), "unit": np.array(markers.unit), "up": np.array(markers.up or up)}


# Readers of markers, and the axis that points up where the file has none.
_MARKERS = {".trc": (read_trc, "y"), ".c3d": (read_c3d, "z")}
_READERS: dict[str, Callable[[Source], Mapping[str, np.ndarray]]]
_READERS = {".npz": lambda source: source.arrays, ".npy": _read_npy, ".csv": _read_csv, ".json": _read_json}
_READERS |= dict.fromkeys(_MARKERS, _read_markers)


def _vertical(given: str | None, upright: Mapping[str, float], source: str) -> tuple[str, str]:
    """The axis that points up and its origin in words, by the axis of `source` and the `uprightness` of poses."""
    best = max(upright, key=lambda up: upright[up], default="-y")
    clear = upright.get(best, 0) > _CLEARLY_UPRIGHT
    if given is None:
        return (best, "as heads stand over hips") if clear else ("-y", "assumed: the poses do not tell")
    if clear and upright[given] < 1 - _CLEARLY_UPRIGHT:
        return given, f"as {source} says, BUT heads stand over hips along {best}: people who lie, or the wrong axis"
    return given, f"as {source} says"


def _check_sizes(path: Path, poses: Poses3D) -> None:
    known = np.isfinite(poses.joints)
    low, high = (np.where(known, poses.joints, s * np.inf) for s in (1, -1))
    extent = (high.max(1) - low.min(1)).max(-1)
    small = (extent < _SMALLEST) & (2 * known[..., 0].sum(-1) >= len(poses.skeleton.joints))
    wrong = np.flatnonzero(small | (extent > _LARGEST))
    if wrong.size:
        row, other = wrong[0], "mm" if poses.unit == "m" else "m"
        raise ValueError(
            f"{path}: frame {poses.frame[row]}, person {poses.person[row]} is {extent[row]:.3g} metres large, read "
            f"as {poses.unit}; a person is {_SMALLEST} to {_LARGEST} m: try --unit {other}"
        )
