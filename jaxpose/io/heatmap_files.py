"""Files of 2D joint heatmaps, one person a row, as detectors can save them.

`.npz` keys (only `heatmaps` is required; pickled objects are never loaded):

    heatmaps     [N, J, h, w] intensities, float, or uint8 of which 255 counts as 1; zero is "not here"
    box          [N, 4] x0, y0, width, height: the part of each image that its maps cover, edge to edge, in pixels
                 (geometry/heatmaps.py says what that means for detectors that count from the cells' middles);
                 without it the maps cover the whole image
    image_size (or `size`)   width, height
    joints       [J] joint names, or `skeleton`, the name of a registered joint set
    intrinsics   fx, fy, cx, cy or a 3 x 3 matrix (also under the key `K`), once or per row
    frame        [N] number of each row's frame, each once
    fps          frames per second

`.npy`: the array `heatmaps` alone, memory-mapped. The other keys mean what they do in keypoint_arrays.py.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxpose.geometry.heatmaps import Missing, check_heatmaps
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io.arrays import as_float, load_arrays
from jaxpose.io.keypoint_arrays import (
    ARRAY_LAYOUTS,
    Arrays,
    Table,
    read_fps,
    read_image_size,
    read_intrinsics,
    read_joint_names,
    read_per_row,
)
from jaxpose.io.keypoints import choose_joints


class Heatmaps(NamedTuple):
    """Heatmaps of one person in N frames.

    maps: [N, K, h, w] as the file has them, float or uint8; `intensities` gives what they mean.
    skeleton, columns: joint i of the skeleton is map `columns[i]` of the K.
    box: [N, 4] float32 x0, y0, width, height pixels. image_size: width, height pixels. frame: [N] int64.
    intrinsics: [N, 4] float32 fx, fy, cx, cy pixels, or None. fps: or None.
    """

    maps: np.ndarray
    skeleton: Skeleton
    columns: tuple[int, ...]
    box: np.ndarray
    image_size: tuple[int, int]
    frame: np.ndarray
    intrinsics: np.ndarray | None
    fps: float | None


def read_heatmaps(
    path: str | os.PathLike[str],
    *,
    skeleton: Skeleton | None = None,
    image_size: tuple[int, int] | None = None,
    missing: Missing = "error",
) -> Heatmaps:
    """The heatmaps of an `.npz` or `.npy` file.

    skeleton: the joint set where the file leaves it open. image_size: width, height in pixels; needed where the file
    has none, and where both are given they must agree. missing: what a map of zeros is, see `check_heatmaps`.
    Errors: ValueError naming the file, what it has and what is legal.
    """
    path = Path(path)
    arrays = _load(path)
    maps = arrays["heatmaps"]
    if maps.dtype.kind in "iu" and maps.dtype != np.uint8:
        raise ValueError(f"{path}: heatmaps of type {maps.dtype}; legal are uint8 and floats")
    check_heatmaps(maps, f"{path}: heatmaps", missing)
    num = len(maps)
    size = _settled_size(path, arrays, image_size)
    table = Table(np.empty((0, maps.shape[1], 3)), ARRAY_LAYOUTS, (), joints=read_joint_names(path, arrays))
    joint_set, columns = choose_joints(path, table, skeleton)
    intrinsics = read_intrinsics(path, arrays, num)
    return Heatmaps(
        maps=maps,
        skeleton=joint_set,
        columns=tuple(columns),
        box=_boxes(path, arrays, num, size),
        image_size=size,
        frame=_frames(path, arrays, num),
        intrinsics=None if intrinsics is None else intrinsics.astype(np.float32),
        fps=read_fps(path, arrays),
    )


def intensities(data: Heatmaps, rows: slice | np.ndarray) -> np.ndarray:
    """The maps of some rows in the skeleton's order, [n, J, h, w] float32."""
    maps = data.maps[rows][:, list(data.columns)]
    return maps.astype(np.float32) / (255 if maps.dtype == np.uint8 else 1)


def _load(path: Path) -> Arrays:
    if path.suffix.lower() not in (".npz", ".npy"):
        raise ValueError(f"{path}: suffix {path.suffix!r}; legal are .npz and .npy")
    return load_arrays(path, "heatmaps", alone="heatmaps", mmap=True)


def _settled_size(path: Path, arrays: Arrays, given: tuple[int, int] | None) -> tuple[int, int]:
    found = read_image_size(path, arrays)
    if found is not None and given is not None and found != given:
        raise ValueError(f"{path}: image_size is {found}, given is {given}; needed one size")
    size = given if found is None else found
    if size is None:
        raise ValueError(f"{path}: it does not say one image_size for all rows; needed width, height in pixels")
    return size


def _boxes(path: Path, arrays: Arrays, num: int, size: tuple[int, int]) -> np.ndarray:
    if "box" not in arrays:
        return np.tile(np.array([0, 0, *size], np.float32), (num, 1))
    box = as_float(path, "box", arrays["box"])
    if box.shape != (num, 4):
        raise ValueError(f"{path}: box is {list(box.shape)}; needed [{num}, 4]: x0, y0, width, height")
    bad = np.flatnonzero(~np.isfinite(box).all(-1) | (box[:, 2:] <= 0).any(-1))
    if len(bad):
        raise ValueError(
            f"{path}: box {box[bad[0]].tolist()} of frame {bad[0]}; needed finite x0, y0 and width, height > 0"
        )
    return box.astype(np.float32)


def _frames(path: Path, arrays: Arrays, num: int) -> np.ndarray:
    frame = read_per_row(path, arrays, "frame", num)
    if frame is None:
        return np.arange(num)
    numbers, counts = np.unique(frame, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"{path}: frame {numbers[counts > 1][0]} comes {counts.max()} times; needed one person, a row a frame"
        )
    return frame
