"""Reader of 2D joint heatmaps, one person per row, as detectors can save them.

`.npz` keys (only `heatmaps` is required; pickled objects are never loaded):

    heatmaps     [N, J, h, w] intensities, float, or uint8 of which 255 counts as 1; zeros: not found
    box          [N, 4] x0, y0, width, height: the part of each image that its maps cover, edge to edge, in pixels
                 (see geometry/heatmaps.py for detectors whose coordinates refer to the middles of cells);
                 without it the maps cover the whole image
    frame        [N] number of each row's frame, each once

and image_size, joints or skeleton, intrinsics and fps as in keypoint_arrays.py. `.npy`: the array `heatmaps` alone,
memory-mapped.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxpose.files import FilePath
from jaxpose.geometry.heatmaps import Missing, check_heatmaps, heatmap_peak, to_image
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io import keypoint_arrays as keys
from jaxpose.io.arrays import Source, as_float, source_of
from jaxpose.io.keypoints import Keypoints, choose_joints
from jaxpose.reading import reader

BLOCK = 32  # frames at once; 544 mixtures are fitted together
_peak = jax.jit(heatmap_peak)


class Heatmaps(NamedTuple):
    """Heatmaps of one person in N frames.

    maps: [N, K, h, w] as in the file, float or uint8; `intensities` converts them.
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


@reader("file of heatmaps")
def read_heatmaps(
    path: FilePath,
    *,
    skeleton: Skeleton | None = None,
    image_size: tuple[int, int] | None = None,
    missing: Missing = "error",
) -> Heatmaps:
    """The heatmaps of an `.npz` or `.npy` file.

    skeleton: the joint set where the file leaves it open. image_size: width, height in pixels; needed where the file
    has none, and where both are given they must agree. missing: the treatment of maps of zeros, see `check_heatmaps`.
    Errors: ValueError naming the file, what it has and what is needed.
    """
    source = source_of(path)
    if source.suffix not in (".npz", ".npy"):
        raise ValueError(f"{source}: suffix {source.path.suffix!r}; must be .npz or .npy")
    path, arrays = source.path, source.arrays
    maps = source.array if source.suffix == ".npy" else arrays.having("heatmaps")["heatmaps"]
    if maps.dtype.kind in "iu" and maps.dtype != np.uint8:
        raise ValueError(f"{path}: heatmaps of type {maps.dtype}; must be uint8 or floats")
    check_heatmaps(maps, f"{path}: heatmaps", missing)
    size = keys.read_image_size(path, arrays) or image_size
    if image_size not in (None, size):
        raise ValueError(f"{path}: image_size is {size}, given is {image_size}; needed one size")
    if size is None:
        raise ValueError(f"{path}: it has no image_size common to all rows; needed width, height in pixels")
    names = keys.read_joint_names(path, arrays)
    joint_set, columns = choose_joints(path, maps.shape[1], names, skeleton, keys.ARRAY_LAYOUTS)
    if -1 in columns:
        lacks = joint_set.joints[columns.index(-1)]
        raise ValueError(f"{path}: no map of {lacks}; needed all joints of {joint_set.name}")
    box, frame = _boxes(path, arrays, len(maps), size), _frames(path, arrays, len(maps))
    intrinsics = keys.read_intrinsics(path, arrays, len(maps))
    return Heatmaps(maps, joint_set, tuple(columns), box, size, frame, intrinsics, keys.read_fps(path, arrays))


def holds_heatmaps(source: Source) -> bool:
    """Whether a file is one of heatmaps: an .npz with the key `heatmaps`, an .npy [N, J, h, w] with w above 3."""
    if source.suffix == ".npz":
        return "heatmaps" in source.arrays
    # [N, F, J, 2 or 3] are clips of keypoints
    return source.suffix == ".npy" and source.array.ndim == 4 and source.array.shape[-1] > 3


def blocks(num: int) -> Iterator[tuple[slice, np.ndarray]]:
    """The rows of a result, and the min(num, BLOCK) rows of data for them: one size, so one program, for all blocks."""
    size = min(num, BLOCK)
    for first in range(0, num, size):
        yield slice(num - first), np.minimum(np.arange(first, first + size), num - 1)


def peaks(data: Heatmaps) -> Keypoints:
    """One detection per frame: the position of each map's peak in pixels, and its height as confidence."""
    size, xy, confidence = data.maps.shape[-2:], [], []
    for kept, rows in blocks(len(data.maps)):
        uv, sure = _peak(intensities(data, rows))
        xy.append(np.asarray(to_image(uv, data.box[rows], size))[kept])
        confidence.append(np.asarray(sure)[kept])
    heights = np.concatenate(confidence)
    return Keypoints(
        xy=np.where(heights[..., None] > 0, np.concatenate(xy), 0).astype(np.float32),
        confidence=heights,
        skeleton=data.skeleton,
        frame=data.frame,
        person=np.zeros(len(heights), np.int64),
        image=("",) * len(heights),
        intrinsics=data.intrinsics,
        image_size=data.image_size,
        fps=data.fps,
    )


def intensities(data: Heatmaps, rows: slice | np.ndarray) -> np.ndarray:
    """The maps of some rows in the skeleton's order, [n, J, h, w] float32."""
    maps = data.maps[rows][:, list(data.columns)]
    return maps.astype(np.float32) / (255 if maps.dtype == np.uint8 else 1)


def _frames(path: Path, arrays: keys.Arrays, num: int) -> np.ndarray:
    frame = keys.read_per_row(path, arrays, "frame", num)
    numbers, counts = np.unique(np.arange(num) if frame is None else frame, return_counts=True)
    if (counts > 1).any():
        twice = f"frame {numbers[counts > 1][0]} occurs {counts.max()} times"
        raise ValueError(f"{path}: {twice}; needed one person, one row per frame")
    return numbers if frame is None else frame


def _boxes(path: Path, arrays: keys.Arrays, num: int, size: tuple[int, int]) -> np.ndarray:
    if "box" not in arrays:
        return np.tile(np.array([0, 0, *size], np.float32), (num, 1))
    box = as_float(path, "box", arrays["box"], (num, 4))
    bad = ~np.isfinite(box).all(-1) | (box[:, 2:] <= 0).any(-1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"{path}: box {box[row].tolist()} of frame {row}; needed finite x0, y0 and width, height > 0")
    return box.astype(np.float32)
