"""Conversion of Human3.6M as published by LCN and GFPose to a folder of arrays (h36m.py).

`h36m_train.pkl`, `h36m_test.pkl`: a pickled list of about 1.6 million dicts, one for each frame and camera, lengths in
millimetres. `h36m_sh_dt_ft.pkl`: detections of a stacked hourglass network for both, in the same order. Of a dict are
used joint_3d_image (pixels), joint_3d_camera, box (pixels), root_depth, camera_param, action, subject, videoid,
imageid and cameraid. What each means: spec/gfpose.md, 3.1 and 7.

    ratio = (box[2] - box[0] + 1) / 2 px per metre

The list is never in memory as a whole (pickled_list.py).
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from jaxpose.files import FilePath
from jaxpose.io.untrusted.pickled_list import PickledList
from jaxpose.io.untrusted.unpickle import array_of, arrays_of, describe, load_pickle
from jaxpose.originals.datasets.h36m import Frames, check_new, described, load_frames, writing_frames
from jaxpose.reading import one_line, opened
from jaxpose.spaces.image_depth import ratio_of, ratio_of_box

_ARRAYS = {"joint_3d_image": (17, 3), "joint_3d_camera": (17, 3), "box": (4,)}
_IDS = {"action": "action", "subject": "subject", "videoid": "video", "imageid": "frame", "cameraid": "camera_id"}
_INTRINSICS = ("fx", "fy", "cx", "cy")
# relative, of the box scale against focal length over root depth; other units of length exceed it by far
_TOLERANCE = 0.1
_LINE_EVERY = 50_000  # frames between lines about the progress


_Detections: TypeAlias = tuple[np.ndarray, np.ndarray]  # keypoints [N, 17, 2] and confidences [N, 17], float32


def prepare_pickles(poses_pkl: FilePath, detections_pkl: FilePath | None, split: str, out: FilePath) -> Iterator[str]:
    """Convert one split to the new folder `out`; yields lines about the progress.

    split: "train" or "test", the part of the detections that belongs to `poses_pkl`; without detections the keypoints
    are the true projections. ValueError names file, frame and key of what is wrong.
    """
    target, poses = check_new(out), Path(poses_pkl)
    if split not in ("train", "test"):
        raise ValueError(f"split: got {split!r}, must be one of train, test")
    sources = [poses] if detections_pkl is None else [poses, Path(detections_pkl)]
    for path in sources:
        if not path.is_file():
            raise ValueError(f"{path}: no such file")
    detections = None if detections_pkl is None else _read_detections(Path(detections_pkl), split)
    start, size, count = time.monotonic(), poses.stat().st_size, 0
    with writing_frames(target, {"split": split, "sources": described(sources)}) as append:
        for batch, offset in _read_batches(poses):
            append(_convert(batch, count, poses, detections))
            count += len(batch)
            if count % _LINE_EVERY < len(batch):
                seconds = time.monotonic() - start
                left = seconds * (size - offset) / max(offset, 1)
                yield f"{count:,} frames, {100 * offset / size:.0f} %, {left:.0f} s left"
        if detections is not None and len(detections[0]) != count:
            number = len(detections[0])
            raise ValueError(f"{sources[1]}: {split!r} has {number} frames; {poses} has {count}, needed as many")
    yield f"wrote {target}: {count} frames, keypoints {_detection_error(target):.1f} px (median) from the truth"


def _detection_error(folder: Path) -> float:
    """Median distance in pixels of keypoints and projections, in ten places: large where orders differ."""
    frames = load_frames(folder)
    starts = np.linspace(0, len(frames.frame), 10, endpoint=False, dtype=int)
    errors = [frames.keypoints[i : i + 100] - frames.image[i : i + 100, :, :2] for i in starts]
    return float(np.median(np.linalg.norm(np.concatenate(errors), axis=-1)))


def _read_batches(path: Path) -> Iterator[tuple[list[Any], int]]:
    with opened(path, "pickle") as file:
        for batch in PickledList(file).batches(_cameras):
            yield arrays_of(batch), file.tell()


def _cameras(batch: list[Any]) -> Iterator[Any]:
    """The cameras of a batch and their parts: later frames refer to them, or later videos to their parts."""
    cameras = [frame.get("camera_param") for frame in batch if isinstance(frame, dict)]
    for camera in {id(c): c for c in cameras if isinstance(c, dict)}.values():
        yield from (camera, *camera.keys(), *camera.values())


def _convert(batch: list[Any], first: int, path: Path, detections: _Detections | None) -> Frames:
    """Arrays of consecutive frames, the first of which is number `first` of the file."""
    places = [f"{path}: frame {first + i}" for i in range(len(batch))]
    for frame, place in zip(batch, places, strict=True):
        if not isinstance(frame, dict):
            raise ValueError(f"{place}: a {type(frame).__name__}; needed a dict")
    pairs = list(zip(batch, places, strict=True))
    ids = {field: np.array([_id(f, key, p) for f, p in pairs], np.int32) for key, field in _IDS.items()}
    cameras: dict[int, tuple[float, ...]] = {}
    intrinsics = np.array([_intrinsics(f, p, cameras) for f, p in pairs])
    arrays = {key: np.stack([_numbers(f, key, p, shape) for f, p in pairs]) for key, shape in _ARRAYS.items()}
    root_depth = np.array([_numbers(f, "root_depth", p) for f, p in pairs]) / 1000
    for key, values in (*arrays.items(), ("root_depth", root_depth)):
        _check(np.isfinite(values.reshape(len(batch), -1)).all(-1), places, key, "a number that is not finite")
    _check(root_depth > 0, places, "root_depth", "a root that is not in front of the camera")
    ratio = np.asarray(ratio_of_box(arrays["box"]))
    agree = np.abs(ratio / ratio_of(intrinsics, root_depth) - 1) < _TOLERANCE
    _check(agree, places, "box", "a width that disagrees with fx / root_depth; needed pixels and millimetres")
    image = arrays["joint_3d_image"].astype(np.float32)
    keypoints, confidence = image[..., :2], np.ones(image.shape[:2], np.float32)
    if detections is not None:
        if first + len(batch) > (number := len(detections[0])):
            raise ValueError(f"{places[number - first]}: the detections have {number} frames only")
        keypoints, confidence = (x[first : first + len(batch)] for x in detections)
    floats = {"ratio": ratio, "root_depth": root_depth, "intrinsics": intrinsics}
    floats |= {"camera": arrays["joint_3d_camera"] / 1000}
    floats = {name: values.astype(np.float32) for name, values in floats.items()}
    return Frames(image=image, keypoints=keypoints, confidence=confidence, **floats, **ids)


def _check(good: np.ndarray, places: list[str], key: str, fault: str) -> None:
    if not good.all():
        raise ValueError(f"{places[int(np.argmin(good))]}, {key}: {fault}")


def _value(frame: dict[str, Any], key: str, place: str) -> Any:
    if key not in frame:
        raise ValueError(f"{place} lacks {key!r}; it has {one_line(', '.join(sorted(map(str, frame))))}")
    return frame[key]


def _numbers(frame: dict[str, Any], key: str, place: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """The float64 array under a key; without a shape one number, also as MATLAB has it, an array of length 1."""
    value = _value(frame, key, place)
    fits = isinstance(value, np.ndarray) if shape else isinstance(value, int | float | np.generic | np.ndarray)
    fits = fits and np.asarray(value).dtype.kind in "fiu"
    if not fits or (np.shape(value) != shape if shape else np.size(value) != 1):
        needed = f"an array of numbers of shape {shape}" if shape else "one number"
        raise ValueError(f"{place}, {key}: needed {needed}, got {describe(value)}")
    return np.asarray(value, np.float64).reshape(shape or ())


def _id(frame: dict[str, Any], key: str, place: str) -> int:
    number = float(_numbers(frame, key, place))
    if not 0 <= number < 2**31 or number != int(number):
        raise ValueError(f"{place}, {key}: needed a whole number of 0 or more, got {number:g}")
    return int(number)


def _intrinsics(frame: dict[str, Any], place: str, known: dict[int, tuple[float, ...]]) -> tuple[float, ...]:
    """fx, fy, cx, cy of a frame; `known` holds those of the cameras met before, by identity."""
    camera = frame.get("camera_param")
    if id(camera) in known:
        return known[id(camera)]
    if not isinstance(camera, dict):
        _value(frame, "camera_param", place)
        raise ValueError(f"{place}, camera_param: needed a dict, got {describe(camera)}")
    numbers = tuple(float(_numbers(camera, key, f"{place}, camera_param")) for key in _INTRINSICS)
    if not np.isfinite(numbers).all() or min(numbers[:2]) <= 0:
        raise ValueError(f"{place}, camera_param: needed finite {_INTRINSICS}, fx and fy > 0, got {numbers}")
    known[id(camera)] = numbers
    return numbers


def _read_detections(path: Path, split: str) -> _Detections:
    """Keypoints [N, 17, 2] and confidences [N, 17] of one split, float32."""
    tree = load_pickle(path)
    if not isinstance(tree, dict) or not isinstance(tree.get(split), dict):
        actual = sorted(map(str, tree)) if isinstance(tree, dict) else describe(tree)
        raise ValueError(f"{path}: needed a dict with the split {split!r}, got {actual}")
    place = f"{path}, {split}"
    keypoints, confidence = (
        array_of(_value(tree[split], key, place), f"{place}, {key}", *((17, n) for n in range(width, 4)))
        for key, width in (("joint3d_image", 2), ("confidence", 1))
    )
    if len(keypoints) != len(confidence):
        raise ValueError(f"{place}: {len(keypoints)} keypoints and {len(confidence)} confidences")
    return keypoints[..., :2].astype(np.float32), confidence[..., 0].astype(np.float32)
