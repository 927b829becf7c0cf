"""2D keypoints in numpy files, and the `Table` that all readers of keypoints return.

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
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxpose.geometry.skeleton import SKELETONS, Skeleton
from jaxpose.io.arrays import Source, as_float, as_int

Arrays = Mapping[str, np.ndarray]
Name = str | os.PathLike[str]  # of the file, for errors


class Layout(NamedTuple):
    """One meaning of K = `num_keypoints` keypoints per person: joint i of `skeleton` is keypoint `columns[i]`."""

    num_keypoints: int
    skeleton: Skeleton
    columns: tuple[int, ...]


class Table(NamedTuple):
    """The N detections of a file, before the keypoint axis is matched to a skeleton.

    values: [N, K, 3] x, y, confidence as found. frame, person: [N] int, None where the file has none.
    joints: [K] names where the file has them; else `layouts` are the legal meanings of K keypoints.
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


ARRAY_LAYOUTS = tuple(Layout(len(s.joints), s, tuple(range(len(s.joints)))) for s in SKELETONS.values())


def read_npy(source: Source) -> Table:
    """A `.npy` file of keypoints."""
    values = with_confidence(source, source.array)
    values = values[None] if values.ndim == 2 else values
    return Table(values, ARRAY_LAYOUTS, ("",) * len(values))


def read_npz(path: Source, camera: str | None = None) -> Table:
    """An `.npz` file with the keys of the module docstring; `camera` names the one to read of several."""
    arrays = _one_camera(path, path.arrays.having("keypoints"), camera)
    values = with_confidence(path, arrays["keypoints"], arrays.get("confidence"))
    values = values[None] if values.ndim == 2 else values
    num, clip = len(values), values.shape[1:-2]
    frame, person = (read_per_row(path, arrays, key, num) for key in ("frame", "person"))
    image = read_per_row(path, arrays, "image" if "image" in arrays else "name", num)
    intrinsics = read_intrinsics(path, arrays, num)
    if clip:
        frame = ((0 if frame is None else frame[:, None]) + np.tile(np.arange(clip[0]), (num, 1))).ravel()
        person = np.repeat(np.arange(num) if person is None else person, clip)
        image = None if image is None else np.repeat(image, clip)
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


def with_confidence(path: Name, keypoints: np.ndarray, confidence: np.ndarray | None = None) -> np.ndarray:
    """Keypoints [..., J, 2|3], confidence [..., J] or None -> [..., J, 3] float64, of 2 to 4 axes.

    Where there is no confidence at all, it is 1, except for a joint at exactly (0, 0): not detected.
    """
    if keypoints.ndim not in (2, 3, 4) or keypoints.shape[-1] not in (2, 3) or 0 in keypoints.shape[1:]:
        raise ValueError(f"{path}: keypoints are {list(keypoints.shape)}; legal are [N, J, 2] and [N, J, 3]")
    keypoints = as_float(path, "keypoints", keypoints)
    if confidence is None:
        seen = (keypoints[..., :2] != 0).any(-1, keepdims=True)
        return keypoints if keypoints.shape[-1] == 3 else np.concatenate([keypoints, seen], -1)
    if keypoints.shape[-1] == 3:
        raise ValueError(f"{path}: keypoints {list(keypoints.shape)} hold a confidence, `confidence` is another")
    if confidence.shape != keypoints.shape[:-1]:
        raise ValueError(f"{path}: confidence is {list(confidence.shape)}; needed {list(keypoints.shape[:-1])}")
    return np.concatenate([keypoints, as_float(path, "confidence", confidence)[..., None]], -1)


def _one_camera(path: Name, arrays: Arrays, camera: str | None) -> Arrays:
    cameras = [str(name) for name in np.atleast_1d(arrays.get("camera", []))]
    if not cameras and camera is None:
        return arrays
    if camera not in cameras:
        raise ValueError(f"{path}: camera {camera!r}; this file has the cameras {cameras}, name one of them")
    chosen, index = dict(arrays), cameras.index(camera)
    for key, axis in (("keypoints", 1), ("confidence", 1), ("intrinsics", 0), ("K", 0), ("image_size", 0), ("size", 0)):
        if key in arrays:
            if arrays[key].ndim <= axis or arrays[key].shape[axis] != len(cameras):
                raise ValueError(f"{path}: {key} is {list(arrays[key].shape)}; axis {axis} must be cameras {cameras}")
            chosen[key] = np.take(arrays[key], index, axis)
    return chosen


def read_per_row(path: Name, arrays: Arrays, key: str, num: int) -> np.ndarray | None:
    if key not in arrays:
        return None
    if arrays[key].shape != (num,):
        raise ValueError(f"{path}: {key} is {list(arrays[key].shape)}; needed [{num}], one per row")
    return arrays[key].astype(str) if key in ("image", "name") else as_int(path, key, arrays[key])


def read_intrinsics(path: Name, arrays: Arrays, num: int) -> np.ndarray | None:
    value = arrays.get("intrinsics", arrays.get("K"))
    if value is None:
        return None
    value = as_float(path, "intrinsics", value)
    if value.shape in ((3, 3), (num, 3, 3)):
        pattern = np.array([[0, 1, 0], [1, 0, 0], [1, 1, 0]], bool)
        if value[..., pattern].any() or (value[..., 2, 2] != 1).any():
            raise ValueError(f"{path}: a camera matrix has skew or a last row other than 0, 0, 1: not a pinhole camera")
        value = value[..., [0, 1, 0, 1], [0, 1, 2, 2]]
    if value.shape not in ((4,), (num, 4)):
        raise ValueError(
            f"{path}: intrinsics are {list(value.shape)}; legal are fx, fy, cx, cy as [4] or [{num}, 4], or "
            f"a matrix as [3, 3] or [{num}, 3, 3]"
        )
    if not np.isfinite(value).all() or (value[..., :2] <= 0).any():
        raise ValueError(f"{path}: intrinsics must be finite with fx, fy > 0, found {_first_bad(value).tolist()}")
    return np.broadcast_to(value, (num, 4))


def _first_bad(intrinsics: np.ndarray) -> np.ndarray:
    rows = intrinsics.reshape(-1, 4)
    return rows[np.argmax(~np.isfinite(rows).all(-1) | (rows[:, :2] <= 0).any(-1))]


def read_joint_names(path: Name, arrays: Arrays) -> tuple[str, ...] | None:
    if "joints" in arrays:
        return tuple(arrays["joints"].astype(str).ravel().tolist())
    if "skeleton" not in arrays:
        return None
    name = str(arrays["skeleton"])
    if name not in SKELETONS:
        raise ValueError(f"{path}: skeleton {name!r}; legal are {sorted(SKELETONS)}")
    return SKELETONS[name].joints


def read_image_size(path: Name, arrays: Arrays) -> tuple[int, int] | None:
    key = "image_size" if "image_size" in arrays else "size"
    if key not in arrays:
        return None
    sizes = np.unique(as_int(path, key, np.atleast_2d(arrays[key])), axis=0)
    if sizes.shape[1:] != (2,) or (sizes <= 0).any():
        raise ValueError(f"{path}: {key} {arrays[key].tolist()}; needed width, height in pixels")
    return (int(sizes[0, 0]), int(sizes[0, 1])) if len(sizes) == 1 else None


def read_fps(path: Name, arrays: Arrays) -> float | None:
    if "fps" not in arrays:
        return None
    fps = as_float(path, "fps", arrays["fps"])
    if fps.size != 1 or not np.isfinite(fps).all() or (fps <= 0).any():
        raise ValueError(f"{path}: fps {fps.tolist()}; needed one positive number")
    return float(fps.item())
