"""Keypoints in numpy and .csv files, and the `Table` that all readers of 2D keypoints return.

`.npz` keys (only `keypoints` is required; pickled objects are never loaded):

    keypoints    [N, J, 2|3] pixels, the third number a confidence; [J, 2|3] is one pose; [N, F, J, 2|3] are
                 N clips of F frames, one person each; [N, C, J, 2|3] with the key `camera`, [C] names, are N
                 frames of C cameras, of which one is read
    confidence   shaped like keypoints without its last axis
    joints       [J] joint names, or `skeleton`, the name of a registered joint set
    intrinsics   fx, fy, cx, cy or a 3 x 3 matrix (also under the key `K`), once or per row of the first axis
    frame, person, image (or `name`)   per row of the first axis; a clip counts its frames on from its `frame`
    image_size (or `size`)   width, height
    fps          frames per second

`.npy`: the array `keypoints` alone. Lens distortion, if the file has any, is not undone.

`.csv`, comma separated, one person in one frame per line: either a header and numbers,

    frame,person,image,nose_x,nose_y,nose_confidence,left_eye_x,...          2D; confidences for all joints or for none
    frame,person,hip_x,hip_y,hip_z,hip_confidence,...                        3D; <joint>_confidence or <joint>_visible

where frame, person, image and the confidences may be left out and joints come in any order, or in 2D bare numbers:
x, y or x, y, confidence for every joint. An empty cell is a joint that was not detected.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxpose.files import FilePath
from jaxpose.geometry.skeleton import SKELETONS, WHOLEBODY_23, Skeleton
from jaxpose.io.arrays import (
    Source,
    as_finite,
    as_float,
    as_int,
    as_rate,
    as_size,
    cell_number,
    number_or_nan,
    text_array,
)

Arrays = Mapping[str, np.ndarray]
Lines = list[tuple[int, list[str]]]  # of a .csv: line number, cells


class Layout(NamedTuple):
    """One meaning of K = `num_keypoints` keypoints per person: joint i of `skeleton` is keypoint `columns[i]`."""

    num_keypoints: int
    skeleton: Skeleton
    columns: tuple[int, ...]


class Table(NamedTuple):
    """The N detections of a file, before the keypoint axis is matched to a skeleton.

    values: [N, K, 3] x, y, confidence as in the file. frame, person: [N] int, None where the file has none.
    joints: [K] names where the file has them; else `layouts` are the possible meanings of K keypoints.
    intrinsics: [N, 4] fx, fy, cx, cy. image_size: width, height.
    """

    values: np.ndarray
    layouts: tuple[Layout, ...]
    image: tuple[str, ...]
    frame: np.ndarray | None = None
    person: np.ndarray | None = None
    joints: tuple[str, ...] | None = None
    intrinsics: np.ndarray | None = None
    image_size: tuple[int, int] | None = None
    fps: float | None = None


ARRAY_LAYOUTS = (
    *(Layout(len(s.joints), s, tuple(range(len(s.joints)))) for s in SKELETONS.values()),
    Layout(133, WHOLEBODY_23, tuple(range(23))),
)


def read_npy(source: Source) -> Table:
    """A `.npy` file of keypoints."""
    return _table(source, {"keypoints": source.array})


def read_npz(source: Source, camera: str | None = None) -> Table:
    """An `.npz` file with the keys of the module docstring; `camera` names the one to read of several."""
    return _table(source, _one_camera(source, source.arrays.having("keypoints"), camera))


def _table(path: Source, arrays: Arrays) -> Table:
    """The detections in arrays with the keys of the module docstring."""
    values = with_confidence(path, arrays["keypoints"], arrays.get("confidence"))
    values = values[None] if values.ndim == 2 else values
    num, clip = len(values), values.shape[1:-2]
    frame, person = (read_per_row(path, arrays, key, num) for key in ("frame", "person"))
    image = read_per_row(path, arrays, "image" if "image" in arrays else "name", num)
    intrinsics = read_intrinsics(path, arrays, num)
    if clip:
        frame = ((0 if frame is None else frame[:, None]) + np.tile(np.arange(clip[0]), (num, 1))).ravel()
        person = np.repeat(np.arange(num) if person is None else person, clip)
        image = None if image is None else text_array(path, [name for name in image.tolist() for _ in range(clip[0])])
        intrinsics = None if intrinsics is None else np.repeat(intrinsics, clip, axis=0)
        values = values.reshape(-1, *values.shape[2:])
    return Table(
        values,
        ARRAY_LAYOUTS,
        image=("",) * len(values) if image is None else tuple(image.tolist()),
        frame=frame,
        person=person,
        joints=read_joint_names(path, arrays),
        intrinsics=intrinsics,
        image_size=read_image_size(path, arrays),
        fps=read_fps(path, arrays),
    )


def with_confidence(path: FilePath, keypoints: np.ndarray, confidence: np.ndarray | None = None) -> np.ndarray:
    """Keypoints [..., J, 2|3], confidence [..., J] or None -> [..., J, 3] float64; without one, 1, or 0 at (0, 0)."""
    if keypoints.ndim not in (2, 3, 4) or keypoints.shape[-1] not in (2, 3) or 0 in keypoints.shape[1:]:
        raise ValueError(f"{path}: keypoints are {list(keypoints.shape)}; must be [N, J, 2] or [N, J, 3]")
    keypoints = as_float(path, "keypoints", keypoints)
    if confidence is None:
        detected = (keypoints[..., :2] != 0).any(-1, keepdims=True)
        return keypoints if keypoints.shape[-1] == 3 else np.concatenate([keypoints, detected], -1)
    if keypoints.shape[-1] == 3:
        raise ValueError(f"{path}: keypoints {list(keypoints.shape)} hold a confidence, `confidence` is another")
    if confidence.shape != keypoints.shape[:-1]:
        raise ValueError(f"{path}: confidence is {list(confidence.shape)}; needed {list(keypoints.shape[:-1])}")
    return np.concatenate([keypoints, as_float(path, "confidence", confidence)[..., None]], -1)


def _one_camera(path: FilePath, arrays: Arrays, camera: str | None) -> Arrays:
    cameras = [str(name) for name in np.atleast_1d(arrays.get("camera", []))]
    if not cameras and camera is None:
        return arrays
    if camera not in cameras:
        wrong = "needed the name of one" if camera is None else f"got {camera!r}"
        raise ValueError(f"{path}: camera (--camera-name): {wrong}; this file has {', '.join(cameras)}")
    chosen, index = dict(arrays), cameras.index(camera)
    for key, axis in (("keypoints", 1), ("confidence", 1), ("intrinsics", 0), ("K", 0), ("image_size", 0), ("size", 0)):
        if key in arrays:
            if arrays[key].ndim <= axis or arrays[key].shape[axis] != len(cameras):
                raise ValueError(f"{path}: {key} is {list(arrays[key].shape)}; axis {axis} must be cameras {cameras}")
            chosen[key] = np.take(arrays[key], index, axis)
    return chosen


def read_per_row(path: FilePath, arrays: Arrays, key: str, num: int) -> np.ndarray | None:
    if key not in arrays:
        return None
    if arrays[key].shape != (num,):
        raise ValueError(f"{path}: {key} is {list(arrays[key].shape)}; needed [{num}], one per row")
    return arrays[key].astype(str) if key in ("image", "name") else as_int(path, key, arrays[key])


def read_intrinsics(path: FilePath, arrays: Arrays, num: int) -> np.ndarray | None:
    value = arrays.get("intrinsics", arrays.get("K"))
    if value is None:
        return None
    value = as_finite(path, "intrinsics", value)
    if value.shape in ((3, 3), (num, 3, 3)):
        pattern = np.array([[0, 1, 0], [1, 0, 0], [1, 1, 0]], bool)
        if value[..., pattern].any() or (value[..., 2, 2] != 1).any():
            raise ValueError(f"{path}: a camera matrix has skew or a last row other than 0, 0, 1: not a pinhole camera")
        value = value[..., [0, 1, 0, 1], [0, 1, 2, 2]]
    if value.shape not in ((4,), (num, 4)):
        legal = f"fx, fy, cx, cy as [4] or [{num}, 4], or a matrix as [3, 3] or [{num}, 3, 3]"
        raise ValueError(f"{path}: intrinsics are {list(value.shape)}; must be one of {legal}")
    bad = (value[..., :2] <= 0).any(-1)
    if bad.any():
        actual = value.reshape(-1, 4)[np.argmax(bad)].tolist()
        raise ValueError(f"{path}: intrinsics must be finite with fx, fy > 0, found {actual}")
    return np.broadcast_to(value, (num, 4))


def read_joint_names(path: FilePath, arrays: Arrays) -> tuple[str, ...] | None:
    if "joints" in arrays:
        return tuple(arrays["joints"].astype(str).ravel().tolist())
    if "skeleton" not in arrays:
        return None
    name = str(arrays["skeleton"])
    if name not in SKELETONS:
        raise ValueError(f"{path}: skeleton {name!r}; must be one of {sorted(SKELETONS)}")
    return SKELETONS[name].joints


def read_image_size(path: FilePath, arrays: Arrays) -> tuple[int, int] | None:
    key = "image_size" if "image_size" in arrays else "size"
    if key not in arrays:
        return None
    sizes = {as_size(path, key, size) for size in np.unique(np.atleast_2d(arrays[key]), axis=0)}
    return sizes.pop() if len(sizes) == 1 else None


def read_fps(path: FilePath, arrays: Arrays) -> float | None:
    return as_rate(path, "fps", arrays["fps"]) if "fps" in arrays else None


class Columns:
    """The columns of a file with a header: `joints` [J] names, and values by column."""

    def __init__(self, source: Source, axes: str, marks: tuple[str, ...], others: tuple[str, ...]):
        self.source, self._others = source, others
        (_, self.header), *self.lines = read_lines(source)
        self.joints = tuple(name.removesuffix("_x") for name in self.header if name.endswith("_x"))
        needed = {f"{joint}_{axis}" for joint in self.joints for axis in axes}
        legal = needed | {f"{joint}_{mark}" for joint in self.joints for mark in marks} | set(others)
        wrong = (needed - set(self.header)) | (set(self.header) - legal)
        if not self.joints or wrong or len(set(self.header)) < len(self.header):
            raise ValueError(
                f"{source}: header {self.header[:5]}..., wrong or missing {sorted(wrong)[:5]}; must be "
                f"{', '.join(others)} and, for every joint, <joint>_{', _'.join(axes)} and _{' or _'.join(marks)}, once"
            )
        self._place = {name: k for k, name in enumerate(self.header)}
        if not self.lines:
            raise ValueError(f"{source}: no lines of numbers after the header")

    def numbers(self, names: Sequence[str]) -> np.ndarray:
        """The values [N, K] of some columns, NaN for empty cells."""
        index = [self._place[name] for name in names]
        return _numbers(self.source, [(number, [row[i] for i in index]) for number, row in self.lines])

    def others(self) -> dict[str, np.ndarray]:
        """The columns [N] that are of no joint, by name: numbers, but for the image."""
        there = [name for name in self._others if name in self.header]
        images = [row[self._place["image"]] for _, row in self.lines] if "image" in there else []
        return {
            name: text_array(self.source, images) if name == "image" else self.numbers([name])[:, 0] for name in there
        }


def read_lines(source: Source) -> Lines:
    """The lines that are not blank, all of one width; ValueError where there are none."""
    reader = csv.reader(io.StringIO(source.text))
    lines = [(reader.line_num, [c.strip() for c in row]) for row in reader if any(c.strip() for c in row)]
    for number, row in lines:
        if len(row) != len(lines[0][1]):
            raise ValueError(f"{source}: line {number} has {len(row)} cells, the first has {len(lines[0][1])}")
    return lines


def read_keypoint_csv(source: Source, skeleton: Skeleton | None = None) -> Table:
    """2D keypoints; `skeleton` settles the meaning of bare numbers."""
    lines = read_lines(source)
    if all(map(_is_number, lines[0][1])):
        return _bare(source, _numbers(source, lines), skeleton)
    columns = Columns(source, "xy", ("confidence",), ("frame", "person", "image"))
    count = sum(name.endswith("_confidence") for name in columns.header)
    if count not in (0, len(columns.joints)):
        raise ValueError(f"{source}: {count} confidences of {len(columns.joints)} joints; must be all or none")
    axes = ("x", "y", "confidence")[: 3 if count else 2]
    values = columns.numbers([f"{joint}_{axis}" for joint in columns.joints for axis in axes])
    keypoints = values.reshape(len(values), -1, len(axes))
    return _table(source, {"keypoints": keypoints, "joints": text_array(source, columns.joints), **columns.others()})


def _bare(source: Source, cells: np.ndarray, skeleton: Skeleton | None) -> Table:
    width = cells.shape[1]
    sizes = {len(skeleton.joints)} if skeleton else {layout.num_keypoints for layout in ARRAY_LAYOUTS}
    shapes = [(width // d, d) for d in (2, 3) if width % d == 0 and width // d in sizes]
    if len(shapes) != 1:
        meanings = (
            " or ".join(f"{j} joints x {d}" for j, d in shapes) or "no whole number of joints of a known joint set"
        )
        raise ValueError(
            f"{source}: rows of {width} numbers are {meanings}; must be 2 or 3 for each of {sorted(sizes)} "
            "joints (name the skeleton, or add a header of joint names)"
        )
    return _table(source, {"keypoints": cells.reshape(len(cells), *shapes[0])})


def _is_number(cell: str) -> bool:
    return cell.lower() in ("", "nan") or not np.isnan(number_or_nan(cell))


def _numbers(source: Source, lines: Lines) -> np.ndarray:
    return np.array([[cell_number(f"{source}: line {number}", cell) for cell in row] for number, row in lines])
