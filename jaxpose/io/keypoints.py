"""2D keypoints of people in images, as detectors write them: one type and its reader.

The formats are described in `keypoint_json` (COCO, OpenPose, MMPose, AlphaPose), `keypoint_arrays` (`.npz`,
`.npy`, `.csv`). What every one of them becomes:

- confidence is clipped to [0, 1]: AlphaPose and RTMPose (SimCC) write scores above 1;
- a joint whose coordinates or confidence are not finite was not detected: confidence 0;
- a joint with confidence 0 is at (0, 0).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxpose.files import FilePath
from jaxpose.geometry.skeleton import SKELETONS, Skeleton
from jaxpose.io.arrays import Source, source_of
from jaxpose.io.keypoint_arrays import Layout, Table, read_keypoint_csv, read_npy, read_npz
from jaxpose.io.keypoint_json import FORMATS, holds_people, read_json
from jaxpose.reading import reader, shown

_FARTHEST = 1e6  # pixels from the corner of an image; people may be far outside of it
_ARRAY_FORMATS = ("npz", "npy", "csv")


class Keypoints(NamedTuple):
    """N detections, each of one person in one image, as numpy arrays.

    xy: [N, J, 2] float32 pixels, x right, y down, 0 where confidence is 0.
    confidence: [N, J] float32 in [0, 1], 0 where not detected.
    frame: [N] int64 number of the frame or image.
    person: [N] int64, distinct within a frame; over all frames where the file has tracks, or by `link`.
    image: [N] name of the image or file, "" where unknown.
    intrinsics: [N, 4] float32 fx, fy, cx, cy in pixels, or None where the file has none.
    image_size: width, height in pixels; None where the file has none or its images differ.
    fps: frames per second, or None.
    ignored: keypoints of each person in the file that no joint is made of, such as those of face and hands.
    """

    xy: np.ndarray
    confidence: np.ndarray
    skeleton: Skeleton
    frame: np.ndarray
    person: np.ndarray
    image: tuple[str, ...]
    intrinsics: np.ndarray | None = None
    image_size: tuple[int, int] | None = None
    fps: float | None = None
    ignored: int = 0


@reader("file of 2D keypoints")
def read_keypoints(
    path: FilePath, *, skeleton: Skeleton | None = None, format: str | None = None, camera: str | None = None
) -> Keypoints:
    """The detections in a file, or in a folder of JSON files with one per frame.

    skeleton: the joint set, where the file leaves it open (17 joints without names: Human3.6M, COCO or 3DHP).
    format: a key of `keypoint_json.FORMATS`, "npz", "npy" or "csv"; None: detected by suffix and content.
    camera: name of one camera, for an `.npz` that holds several. ValueError names the file, what it has and what is
    needed, also for normalised coordinates and a joint set that is not determined.
    """
    source = source_of(path)
    path = source.path
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    table = _read_table(source, skeleton, format or None, camera)
    if not len(table.values):
        raise ValueError(f"{path}: no people in it")
    return _of_table(path, table, skeleton)


@reader("frame of 2D keypoints")
def read_frame(source: Source, *, skeleton: Skeleton | None = None, format: str | None = None) -> Keypoints | None:
    """The people of one frame in JSON; None where nobody is in it. Without ids in the file they are numbered.

    skeleton, format: as in `read_keypoints`, of JSON alone. ValueError names the source.
    """
    if not holds_people(source, format):
        return None
    return _of_table(source.path, read_json(source, format), skeleton)


def _of_table(path: Path, table: Table, skeleton: Skeleton | None) -> Keypoints:
    skeleton, columns = choose_joints(path, table.values.shape[1], table.joints, skeleton, table.layouts)
    with np.errstate(over="ignore"):
        values = with_unnamed(table.values)[:, columns].astype(np.float32)
    finite = np.isfinite(values).all(-1)
    confidence = np.where(finite, np.clip(values[..., 2], 0, 1), 0)
    xy = np.where(confidence[..., None] > 0, values[..., :2], 0)
    if (confidence > 0).sum() > 1 and abs(xy).max() <= 1:
        raise ValueError(f"{path}: all coordinates lie within -1 and 1: normalised, needed pixels")
    if (far := abs(xy).max(initial=0)) > _FARTHEST:
        raise ValueError(f"{path}: a coordinate of {far:g}; needed pixels, at most {_FARTHEST:g}")
    num = len(xy)
    frame = np.arange(num) if table.frame is None else table.frame
    return Keypoints(
        xy=xy,
        confidence=confidence,
        skeleton=skeleton,
        frame=frame,
        person=_person_ids(frame, table.person),
        image=table.image,
        intrinsics=None if table.intrinsics is None else table.intrinsics.astype(np.float32),
        image_size=table.image_size,
        fps=table.fps,
        ignored=table.values.shape[1] - sum(column >= 0 for column in columns),
    )


def visible_rows(kp: Keypoints, threshold: float = 0.0, min_visible: int = 4) -> np.ndarray:
    """Mask [N] of rows with at least `min_visible` joints whose confidence is above `threshold`."""
    return (kp.confidence > threshold).sum(-1) >= min_visible


def _read_table(source: Source, skeleton: Skeleton | None, format: str | None, camera: str | None) -> Table:
    """The content by the format given, or else by the suffix; "json" leaves the rest to the content."""
    path = source.path
    if format is None:
        format = "json" if path.is_dir() else path.suffix.lower().removeprefix(".")
        if format not in ("json", *_ARRAY_FORMATS):
            raise ValueError(f"{path}: suffix {path.suffix!r}; must be a folder, .json, .npz, .npy or .csv")
    if format not in ("json", *FORMATS, *_ARRAY_FORMATS):
        raise ValueError(f"format: {format!r}; must be one of {[*FORMATS, *_ARRAY_FORMATS]}")
    if camera is not None and format != "npz":
        raise ValueError(f"camera: {camera!r}, but {path} is {format}; only .npz files hold several cameras")
    if path.is_file() and path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty")
    if path.is_dir() and format in _ARRAY_FORMATS:
        raise ValueError(f"{path}: a folder; needed one {format} file")
    match format:
        case "npz":
            return read_npz(source, camera)
        case "npy":
            return read_npy(source)
        case "csv":
            return read_keypoint_csv(source, skeleton)
    return read_json(source, None if format == "json" else format)


def with_unnamed(values: np.ndarray) -> np.ndarray:
    """Values [N, K, D] with a last column of NaN, which the column -1 of `choose_joints` takes."""
    return np.concatenate([values, np.full_like(values[:, :1], np.nan)], 1)


def choose_joints(
    path: Path, num: int, names: tuple[str, ...] | None, given: Skeleton | None, layouts: Sequence[Layout]
) -> tuple[Skeleton, list[int]]:
    """The skeleton, and for each of its joints its position among the `num` of the file, -1 where the file lacks it.

    names: of the file's joints, where it has them. layouts: possible meanings of joints without names.
    """
    if names is not None:
        return _joint_set_by_name(path, names, num, given)
    if given and len(given.joints) == num:
        return given, list(range(num))
    fitting = [x for x in layouts if x.num_keypoints == num and given in (None, x.skeleton)]
    if len(fitting) == 1:
        return fitting[0].skeleton, list(fitting[0].columns)
    if given:
        raise ValueError(f"{path}: {num} joints per person; the skeleton {given.name} has {len(given.joints)}")
    could = " or ".join(x.skeleton.name for x in fitting) or "no joint set of this format"
    counts = sorted({x.num_keypoints for x in layouts})
    raise ValueError(f"{path}: {num} joints without names are {could}; known counts are {counts}: name the skeleton")


def _joint_set_by_name(
    path: Path, names: tuple[str, ...], num: int, given: Skeleton | None
) -> tuple[Skeleton, list[int]]:
    if len(names) != num or len(set(names)) != num:
        raise ValueError(f"{path}: {len(set(names))} distinct joint names for {num} joints")
    known = sorted((s for s in SKELETONS.values() if set(s.joints) >= set(names)), key=lambda s: len(s.joints))
    if not known and not given:
        raise ValueError(f"{path}: joints {shown(names)} are none of {list(SKELETONS)}: name the skeleton")
    skeleton = given or known[0]
    if set(skeleton.joints) <= set(names) or set(names) <= set(skeleton.joints):
        return skeleton, [names.index(joint) if joint in names else -1 for joint in skeleton.joints]
    # Names of no known set are accepted for the given skeleton; names of another set are an error.
    if known or len(skeleton.joints) != num:
        lacks = [joint for joint in skeleton.joints if joint not in names]
        raise ValueError(f"{path}: joints {shown(names)} lack {shown(lacks)} of the skeleton {skeleton.name}")
    return skeleton, list(range(num))


def _person_ids(frame: np.ndarray, person: np.ndarray | None) -> np.ndarray:
    """The ids of the file where they are distinct within each frame; else the place of each person in its frame."""
    if person is not None and len(np.unique(np.stack([frame, person], -1), axis=0)) == len(frame):
        return person
    order = np.argsort(frame, kind="stable")
    start = np.searchsorted(frame[order], frame[order])
    place = np.empty(len(frame), np.int64)
    place[order] = np.arange(len(frame)) - start
    return place
