"""Keypoints in numpy and .csv files: the arrays that all readers of 2D keypoints return, and their checks.

`.npz` keys (only `keypoints` is required; pickled objects are never loaded):

    keypoints    [N, J, 2|3] pixels, the third number a confidence; [J, 2|3] is one pose; [N, F, J, 2|3] are
                 N clips of F frames, one person each; [N, C, J, 2|3] with the key `camera`, [C] names, are N
                 frames of C cameras, of which one is read
    confidence   shaped like keypoints without its last axis
    joints       [J] joint names, or `skeleton`, the name of a registered joint set
    intrinsics   fx, fy, cx, cy or a 3 x 3 matrix (also under the key `K`), once or per row of the first axis
    frame, person, image (or `name`)   per row of the first axis; a clip counts its frames on from its `frame`
    image_size (or `size`)   width, height
    fps          frames per second; seconds   times of the rows, where they are not even

`.npy`: the array `keypoints` alone. Lens distortion, if the file has any, is not undone.

`.csv`, comma separated, one person in one frame per line: either a header and numbers,

    frame,person,image,nose_x,nose_y,nose_confidence,left_eye_x,...          2D; confidences for all joints or for none
    frame,person,hip_x,hip_y,hip_z,hip_confidence,...                        3D; <joint>_confidence or <joint>_visible

where frame, person, image and the confidences may be left out and joints come in any order, or in 2D bare numbers:
x, y or x, y, confidence for every joint. An empty cell is a joint that was not detected.
"""

import csv
import io
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxpose.files import FilePath
from jaxpose.geometry.camera import check_intrinsics
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


def first_joints(count: int, skeleton: Skeleton) -> Layout:
    """The layout of `count` keypoints that begin with the joints of a skeleton."""
    return Layout(count, skeleton, tuple(range(len(skeleton.joints))))


ARRAY_LAYOUTS = (*(first_joints(len(s.joints), s) for s in SKELETONS.values()), first_joints(133, WHOLEBODY_23))


def read_npz(source: Source, camera: str | None = None) -> Arrays:
    """The arrays of an `.npz` file; `camera` names the one to read of several."""
    arrays = source.arrays.having("keypoints")
    cameras = [str(name) for name in np.atleast_1d(arrays.get("camera", []))]
    if not cameras and camera is None:
        return arrays
    if camera not in cameras:
        wrong = "needed the name of one" if camera is None else f"got {camera!r}"
        raise ValueError(f"{source}: camera (--camera-name): {wrong}; this file has {', '.join(cameras) or 'none'}")
    chosen, index = dict(arrays), cameras.index(camera)
    for key, axis in (("keypoints", 1), ("confidence", 1), ("intrinsics", 0), ("K", 0), ("image_size", 0), ("size", 0)):
        if key in arrays:
            if arrays[key].ndim <= axis or arrays[key].shape[axis] != len(cameras):
                raise ValueError(f"{source}: {key} is {list(arrays[key].shape)}; axis {axis} must be cameras {cameras}")
            chosen[key] = np.take(arrays[key], index, axis)
    return chosen


def with_confidence(path: FilePath, keypoints: np.ndarray, confidence: np.ndarray | None = None) -> np.ndarray:
    """Keypoints [..., J, 2|3], confidence [..., J] or None -> [..., J, 3] float64; without one, 1, or 0 at (0, 0)."""
    if keypoints.ndim not in (2, 3, 4) or keypoints.shape[-1] not in (2, 3) or 0 in keypoints.shape[1:]:
        raise ValueError(f"{path}: keypoints are {list(keypoints.shape)}; must be [N, J, 2] or [N, J, 3]")
    keypoints = as_float(path, "keypoints", keypoints)
    has_confidence = keypoints.shape[-1] == 3
    if confidence is None:
        detected = (keypoints[..., :2] != 0).any(-1, keepdims=True)
        return keypoints if has_confidence else np.concatenate([keypoints, detected], -1)
    if has_confidence:
        raise ValueError(f"{path}: keypoints {list(keypoints.shape)} hold a confidence, `confidence` is another")
    return np.concatenate([keypoints, as_float(path, "confidence", confidence, keypoints.shape[:-1])[..., None]], -1)


def read_per_row(path: FilePath, arrays: Arrays, key: str, num: int) -> np.ndarray | None:
    """Whole numbers, or names of images, one for each of `num` rows; None where the file has none."""
    if key not in arrays:
        return None
    if key not in ("image", "name"):
        return as_int(path, key, arrays[key], (num,))
    if arrays[key].shape != (num,):
        raise ValueError(f"{path}: {key} is {list(arrays[key].shape)}; needed [{num}]")
    return arrays[key].astype(str)


def read_intrinsics(path: FilePath, arrays: Arrays, num: int) -> np.ndarray | None:
    """fx, fy, cx, cy [num, 4] float32 of a pinhole camera; None where the file has none."""
    value = arrays.get("intrinsics", arrays.get("K"))
    if value is None:
        return None
    value = as_finite(path, "intrinsics", value, (4,), (num, 4), (3, 3), (num, 3, 3))
    if value.shape[-2:] == (3, 3):
        pattern = np.array([[0, 1, 0], [1, 0, 0], [1, 1, 0]], bool)
        if value[..., pattern].any() or (value[..., 2, 2] != 1).any():
            raise ValueError(f"{path}: a camera matrix has skew or a last row other than 0, 0, 1: not a pinhole camera")
        value = value[..., [0, 1, 0, 1], [0, 1, 2, 2]]
    return np.broadcast_to(check_intrinsics(value, f"{path}: intrinsics"), (num, 4))


def read_joint_names(path: FilePath, arrays: Arrays) -> tuple[str, ...] | None:
    """Names of the joints, which the file has itself or by the name of their set; None where it has neither."""
    if "joints" in arrays:
        return tuple(arrays["joints"].astype(str).ravel().tolist())
    if "skeleton" not in arrays:
        return None
    name = str(arrays["skeleton"])
    if name not in SKELETONS:
        raise ValueError(f"{path}: skeleton {name!r}; must be one of {sorted(SKELETONS)}")
    return SKELETONS[name].joints


def read_image_size(path: FilePath, arrays: Arrays) -> tuple[int, int] | None:
    """Width and height in pixels, where all images have one size."""
    key = "image_size" if "image_size" in arrays else "size"
    if key not in arrays:
        return None
    sizes = {as_size(path, key, size) for size in np.unique(np.atleast_2d(arrays[key]), axis=0)}
    return sizes.pop() if len(sizes) == 1 else None


def read_fps(path: FilePath, arrays: Arrays) -> float | None:
    """Frames per second; None where the file has none."""
    return as_rate(path, "fps", arrays["fps"]) if "fps" in arrays else None


def read_seconds(path: FilePath, arrays: Arrays, num: int) -> np.ndarray | None:
    """Times [num] of the rows; None where the file has none."""
    if "seconds" not in arrays:
        return None
    return as_finite(path, "seconds", as_float(path, "seconds", arrays["seconds"], (num,)))


def read_lines(source: Source) -> Lines:
    """The lines that are not blank, all of one width; ValueError where there are none."""
    reader = csv.reader(io.StringIO(source.text))
    lines = [(reader.line_num, [c.strip() for c in row]) for row in reader if any(c.strip() for c in row)]
    for number, row in lines:
        if len(row) != len(lines[0][1]):
            raise ValueError(f"{source}: line {number} has {len(row)} cells, the first has {len(lines[0][1])}")
    return lines


def read_columns(
    source: Source, lines: Lines, axes: str, marks: tuple[str, ...], others: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """The columns of a file with a header, as arrays with the keys of .npz.

    keypoints [N, J, axes], names `joints` [J], `others` [N]; of `marks` (confidences) those that the file has, 1 for
    joints without one.
    """
    (_, header), *rows = lines
    joints = tuple(name.removesuffix("_x") for name in header if name.endswith("_x"))
    needed = [f"{joint}_{axis}" for joint in joints for axis in axes]
    place = {name: k for k, name in enumerate(header)}  # an attack has 100,000 names
    marked = {mark: [j for j, joint in enumerate(joints) if f"{joint}_{mark}" in place] for mark in marks}
    allowed = {*needed, *others, *(f"{joints[j]}_{mark}" for mark in marks for j in marked[mark])}
    wrong = (set(needed) - place.keys()) | (place.keys() - allowed)
    if not joints or wrong or len(place) < len(header):
        raise ValueError(
            f"{source}: header {header[:5]}..., wrong or missing {sorted(wrong)[:5]}; must be "
            f"{', '.join(others)} and, for every joint, <joint>_{', _'.join(axes)} and _{' or _'.join(marks)}, once"
        )
    if not rows:
        raise ValueError(f"{source}: no lines of numbers after the header")

    def numbers(*names: str) -> np.ndarray:
        return _numbers(source, [(number, [row[place[name]] for name in names]) for number, row in rows])

    arrays = {"keypoints": numbers(*needed).reshape(len(rows), -1, len(axes)), "joints": text_array(source, joints)}
    for mark, which in marked.items():
        if which:
            arrays[mark] = np.ones((len(rows), len(joints)))
            arrays[mark][:, which] = numbers(*(f"{joints[j]}_{mark}" for j in which))
    for name in (name for name in others if name in header):
        is_text = name == "image"
        arrays[name] = text_array(source, [r[place[name]] for _, r in rows]) if is_text else numbers(name)[:, 0]
    return arrays


def read_keypoint_csv(source: Source, skeleton: Skeleton | None = None) -> Arrays:
    """2D keypoints; `skeleton` settles the meaning of bare numbers."""
    lines = read_lines(source)
    if all(cell.lower() in ("", "nan") or not np.isnan(number_or_nan(cell)) for cell in lines[0][1]):
        return {"keypoints": _bare(source, _numbers(source, lines), skeleton)}
    arrays = read_columns(source, lines, "xy", ("confidence",), ("frame", "person", "image"))
    count, num = sum(name.endswith("_confidence") for name in lines[0][1]), len(arrays["joints"])
    if count not in (0, num):
        raise ValueError(f"{source}: {count} confidences of {num} joints; must be all or none")
    return arrays


def _bare(source: Source, cells: np.ndarray, skeleton: Skeleton | None) -> np.ndarray:
    width = cells.shape[1]
    sizes = {len(skeleton.joints)} if skeleton else {layout.num_keypoints for layout in ARRAY_LAYOUTS}
    shapes = [(width // d, d) for d in (2, 3) if width % d == 0 and width // d in sizes]
    if len(shapes) != 1:
        meanings = " or ".join(f"{j} joints x {d}" for j, d in shapes)
        raise ValueError(
            f"{source}: rows of {width} numbers are {meanings or 'no whole number of joints of a known joint set'}; "
            f"must be 2 or 3 for each of {sorted(sizes)} joints (name the skeleton, or add a header of joint names)"
        )
    return cells.reshape(len(cells), *shapes[0])


def _numbers(source: Source, lines: Lines) -> np.ndarray:
    return np.array([[cell_number(f"{source}: line {number}", cell) for cell in row] for number, row in lines])
