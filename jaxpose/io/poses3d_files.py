"""Files of 3D joints: the formats, and which file is one.

    .npz   joints3d [N, J, 3], with `confidence` or `visible` [N, J] if it likes; or of our own results `mean` (else
           `samples`) [N, J, 3]; or the benchmark's `joints_cam`. Further: `joints` [J] names or `skeleton`, `frame` and
           `person` [N], `fps`, `up`, `unit`
    .npy   [N, J, 3], or [N, J, 4] with a confidence; [J, 3 or 4] is one pose
    .csv   a header frame,person,hip_x,hip_y,hip_z,...; <joint>_confidence or <joint>_visible where it is known
    .json  [{"frame": 0, "person": 0, "joints": {"hip": [x, y, z], "head": null}}, ...]

A joint is missing where a coordinate is not finite, is null or an empty cell, where its confidence is 0, or where the
file never names it.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxpose.geometry.skeleton import SKELETONS
from jaxpose.io.arrays import as_float, as_int, load_arrays, read_text

_KEYS = ("joints3d", "mean", "samples", "joints_cam")
_CONFIDENCES = ("confidence", "visible")


class Table3D(NamedTuple):
    """What a file says: values [N, K, 3] as found, NaN where missing, and the names of its K columns, if it has any."""

    values: np.ndarray
    names: tuple[str, ...] | None = None
    frame: np.ndarray | None = None
    person: np.ndarray | None = None
    fps: float | None = None
    up: str = "-y"
    unit: str = "m"


def holds_poses3d(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one of 3D joints, rather than of 2D keypoints or of neither.

    .npz: it has the key `joints3d`, or one of the others and no `keypoints`. .npy: 4 numbers per joint, or 3 that are
    not x, y in pixels and a confidence: the third in [0, 1] and the others beyond 10. .csv: a header with <joint>_z.
    .json: a list with `joints` by name.
    """
    path = Path(path)
    if not path.is_file():
        return False
    try:
        if path.suffix.lower() == ".csv":
            return any(cell.strip().endswith("_z") for cell in read_text(path).split("\n", 1)[0].split(","))
        if path.suffix.lower() == ".json":
            content = json.loads(read_text(path))
            return isinstance(content, list) and bool(content) and _is_pose(content[0])
        if path.suffix.lower() in (".npz", ".npy"):
            arrays = load_arrays(path, alone="joints3d")
            if path.suffix.lower() == ".npz":
                return "joints3d" in arrays or "keypoints" not in arrays
            return not _like_keypoints(arrays["joints3d"])
    except (ValueError, RecursionError):
        pass  # it is of neither kind: the reader that is asked next says why
    return False


def _read_npy(path: Path) -> Table3D:
    values = as_float(path, "joints", load_arrays(path, alone="joints3d")["joints3d"])
    values = values[None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[-1] not in (3, 4):
        raise ValueError(f"{path}: joints are {list(values.shape)}; legal are [N, J, 3] and [N, J, 4]")
    return Table3D(_masked(values[..., :3], values[..., 3] if values.shape[-1] == 4 else None))


def _read_npz(path: Path) -> Table3D:
    arrays = load_arrays(path)
    key = next((key for key in _KEYS if key in arrays), None)
    if key is None:
        raise ValueError(f"{path}: keys {sorted(arrays)}; needed {', '.join(_KEYS)} for 3D joints")
    values = as_float(path, key, arrays[key])
    if values.ndim != 3 or values.shape[-1] != 3:
        raise ValueError(f"{path}: {key} is {list(values.shape)}; needed [N, J, 3]")
    # the confidences of a result are those of its 2D input, of which its poses miss nothing
    given = [arrays[c] for c in _CONFIDENCES if key == "joints3d" and c in arrays]
    for confidence in given:
        if confidence.shape != values.shape[:2]:
            raise ValueError(f"{path}: confidence is {list(confidence.shape)}; needed {list(values.shape[:2])}")
        values = _masked(values, as_float(path, "confidence", confidence))
    for name in ("frame", "person"):
        if name in arrays and arrays[name].shape != values.shape[:1]:
            raise ValueError(f"{path}: {name} is {list(arrays[name].shape)}; needed [{len(values)}]")
    return Table3D(
        values,
        _names(path, arrays),
        as_int(path, "frame", arrays["frame"]) if "frame" in arrays else None,
        as_int(path, "person", arrays["person"]) if "person" in arrays else None,
        _fps(path, arrays["fps"]) if "fps" in arrays else None,
        str(arrays.get("up", "-y")),
        str(arrays.get("unit", "m")),
    )


def _names(path: Path, arrays: Mapping[str, np.ndarray]) -> tuple[str, ...] | None:
    if "joints" in arrays:
        return tuple(arrays["joints"].astype(str).ravel().tolist())
    name = str(arrays["skeleton"]) if "skeleton" in arrays else None
    if name is not None and name not in SKELETONS:
        raise ValueError(f"{path}: skeleton {name!r}; legal are {', '.join(SKELETONS)}")
    return SKELETONS[name].joints if name else None


def _fps(path: Path, value: np.ndarray) -> float:
    fps = as_float(path, "fps", value)
    if fps.size != 1 or not np.isfinite(fps).all() or (fps <= 0).any():
        raise ValueError(f"{path}: fps {fps.tolist()}; needed one positive number")
    return float(fps.item())


def _masked(values: np.ndarray, confidence: np.ndarray | None) -> np.ndarray:
    return values if confidence is None else np.where((confidence > 0)[..., None], values, np.nan)


def _read_csv(path: Path) -> Table3D:
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(read_text(path)))]
    rows = [row for row in rows if any(row)]
    header = rows[0] if rows else []
    names = tuple(name.removesuffix("_x") for name in header if name.endswith("_x"))
    needed = {f"{name}_{axis}" for name in names for axis in "xyz"}
    sure = {f"{name}_{c}": i for i, name in enumerate(names) for c in _CONFIDENCES}
    wrong = (needed - set(header)) | (set(header) - needed - set(sure) - {"frame", "person"})
    if not names or wrong or len(set(header)) != len(header) or len(rows) < 2:
        raise ValueError(
            f"{path}: header {header[:5]}... and {max(len(rows) - 1, 0)} lines, wrong or missing {sorted(wrong)[:5]}; "
            "legal are frame, person and, for every joint, <joint>_x, _y, _z and _confidence or _visible"
        )
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise ValueError(f"{path}: line {line} has {len(row)} cells, the header has {len(header)}")
    try:
        cells = np.array([[float(cell or "nan") for cell in row] for row in rows[1:]])
    except ValueError as error:
        raise ValueError(f"{path}: a cell is not a number ({error})") from None
    column = {name: cells[:, i] for i, name in enumerate(header)}
    values = np.stack([np.stack([column[f"{name}_{axis}"] for axis in "xyz"], -1) for name in names], 1)
    for name, i in sure.items():
        if name in column:
            values[:, i] = _masked(values[:, i], column[name])
    frame, person = (as_int(path, key, column[key]) if key in column else None for key in ("frame", "person"))
    return Table3D(values, names, frame, person)


def _read_json(path: Path) -> Table3D:
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON, or cut off: {error}") from None
    if not isinstance(content, list) or not content or not all(map(_is_pose, content)):
        raise ValueError(f'{path}: needed a list of {{"frame": 0, "person": 0, "joints": {{"hip": [x, y, z], ...}}}}')
    names = tuple(dict.fromkeys(name for pose in content for name in pose["joints"]))
    values = np.full((len(content), len(names), 3), np.nan)
    for n, pose in enumerate(content):
        for name, xyz in pose["joints"].items():
            try:
                values[n, names.index(name)] = np.nan if xyz is None else np.array(xyz, float).reshape(3)
            except (ValueError, TypeError):
                raise ValueError(f"{path}: pose {n}, {name}: {xyz!r}; needed [x, y, z] or null") from None
    frame = as_int(path, "frame", np.array([pose.get("frame", n) for n, pose in enumerate(content)]))
    person = as_int(path, "person", np.array([pose.get("person", 0) for pose in content]))
    return Table3D(values, names, frame, person)


def _is_pose(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("joints"), dict)


def _like_keypoints(values: np.ndarray) -> bool:
    if values.dtype.kind not in "fiub" or values.ndim == 0 or values.shape[-1] != 3:
        return values.ndim == 0 or values.shape[-1] != 4
    finite = values[np.isfinite(values).all(-1)]
    if not len(finite):
        return False
    return bool((finite[:, 2] >= 0).all() and (finite[:, 2] <= 1).all() and abs(finite[:, :2]).max() > 10)


READERS = {".npz": _read_npz, ".npy": _read_npy, ".csv": _read_csv, ".json": _read_json}
