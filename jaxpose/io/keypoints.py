"""2D keypoints of people in images, as detectors write them: one type and its reader.

The formats are described in `keypoint_json` (COCO, OpenPose, MMPose, AlphaPose), `keypoint_arrays` (`.npz`,
`.npy`, `.csv`). What every one of them becomes:

- confidence is clipped to [0, 1]: AlphaPose and RTMPose (SimCC) write scores above 1;
- a joint whose coordinates or confidence are not finite was not detected: confidence 0;
- a joint with confidence 0 is at (0, 0).

Where files do not say, `rescaled` and `settle_camera` make assumptions: trust in the detector, and the camera.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxpose.files import FilePath
from jaxpose.geometry.camera import check_intrinsics, intrinsics_from_fov
from jaxpose.geometry.skeleton import SKELETONS, Skeleton
from jaxpose.io import keypoint_arrays as keys
from jaxpose.io.arrays import Source, as_float, source_of, text_array
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
    fps: frames per second, or None. seconds: [N] times of a source whose frames have some, or None.
    evidence: [N, J, E] float32 pixels, as of `jaxpose.lift`, NaN where not known; None where the file has none.
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
    seconds: np.ndarray | None = None
    evidence: np.ndarray | None = None


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
    if not source.path.exists():
        raise ValueError(f"{source}: no such file or folder")
    match _format_of(source.path, format or None, camera):
        case "npy":
            arrays: keys.Arrays = {"keypoints": source.array}
        case "npz":
            arrays = keys.read_npz(source, camera)
        case "csv":
            arrays = keys.read_keypoint_csv(source, skeleton)
        case name:
            return _of_arrays(source, skeleton, *read_json(source, None if name == "json" else name))
    return _of_arrays(source, skeleton, arrays)


@reader("frame of 2D keypoints")
def read_frame(source: Source, *, skeleton: Skeleton | None = None, format: str | None = None) -> Keypoints | None:
    """The people of one frame in JSON; None where nobody is in it. Without ids in the file they are numbered.

    skeleton, format: as in `read_keypoints`, of JSON alone. ValueError names the source.
    """
    return _of_arrays(source, skeleton, *read_json(source, format)) if holds_people(source, format) else None


def _of_arrays(
    source: Source,
    skeleton: Skeleton | None,
    arrays: keys.Arrays,
    layouts: Sequence[keys.Layout] = keys.ARRAY_LAYOUTS,
    images: tuple[str, ...] | None = None,
) -> Keypoints:
    """The people in arrays with the keys of `keypoint_arrays`; images: names [N] in place of the array."""
    values = keys.with_confidence(source, arrays["keypoints"], arrays.get("confidence"))
    values = values[None] if values.ndim == 2 else values
    num, clip = len(values), values.shape[1:-2]
    if not num:
        raise ValueError(f"{source}: no people in it")
    frame, person = (keys.read_per_row(source, arrays, key, num) for key in ("frame", "person"))
    image = keys.read_per_row(source, arrays, "image" if "image" in arrays else "name", num)
    intrinsics = keys.read_intrinsics(source, arrays, num)
    if clip:
        frame = ((0 if frame is None else frame[:, None]) + np.tile(np.arange(clip[0]), (num, 1))).ravel()
        person = np.repeat(np.arange(num) if person is None else person, clip)
        image = None if image is None else text_array(source, [n for n in image.tolist() for _ in range(clip[0])])
        intrinsics = None if intrinsics is None else np.repeat(intrinsics, clip, axis=0)
        values = values.reshape(-1, *values.shape[2:])
    if "evidence" in arrays and not clip:
        evidence = as_float(source, "evidence", arrays["evidence"], (*values.shape[:2], None))
        values = np.concatenate([values, evidence], -1)
    names, seconds = keys.read_joint_names(source, arrays), keys.read_seconds(source, arrays, num * (clip or (1,))[0])
    kp = _joints(source, values, *choose_joints(source.path, values.shape[1], names, skeleton, layouts))
    frame = kp.frame if frame is None else frame
    return kp._replace(
        frame=frame,
        person=_person_ids(frame, person),
        image=images or (kp.image if image is None else tuple(image.tolist())),
        intrinsics=intrinsics,
        image_size=keys.read_image_size(source, arrays),
        fps=keys.read_fps(source, arrays),
        seconds=seconds,
    )


def _joints(path: FilePath, values: np.ndarray, skeleton: Skeleton, columns: list[int]) -> Keypoints:
    """The joints of keypoints [N, K, 3] and evidence [N, K, 3 + E], each row a frame of its own."""
    with np.errstate(over="ignore"):
        chosen = with_unnamed(values)[:, columns].astype(np.float32)
    finite = np.isfinite(chosen[..., :3]).all(-1)
    confidence = np.where(finite, np.clip(chosen[..., 2], 0, 1), 0)
    xy = np.where(confidence[..., None] > 0, chosen[..., :2], 0)
    if (confidence > 0).sum() > 1 and abs(xy).max() <= 1:
        raise ValueError(f"{path}: all coordinates lie within -1 and 1: normalised, needed pixels")
    if (far := abs(xy).max(initial=0)) > _FARTHEST:
        raise ValueError(f"{path}: a coordinate of {far:g}; needed pixels, at most {_FARTHEST:g}")
    num, ignored = len(xy), values.shape[1] - sum(column >= 0 for column in columns)
    frame, person = np.arange(num), np.zeros(num, np.int64)
    evidence = chosen[..., 3:] if chosen.shape[-1] > 3 else None
    return Keypoints(xy, confidence, skeleton, frame, person, ("",) * num, ignored=ignored, evidence=evidence)


def _format_of(path: Path, format: str | None, camera: str | None) -> str:
    """The format given, or else by the suffix; "json" leaves the rest to the content."""
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
    return format


def with_unnamed(values: np.ndarray) -> np.ndarray:
    """Values [N, K, D] with a last column of NaN, which the column -1 of `choose_joints` takes."""
    return np.concatenate([values, np.full_like(values[:, :1], np.nan)], 1)


def choose_joints(
    path: FilePath, num: int, names: tuple[str, ...] | None, given: Skeleton | None, layouts: Sequence[keys.Layout]
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
    path: FilePath, names: tuple[str, ...], num: int, given: Skeleton | None
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


DEFAULT_FOV_DEG = 55.0  # along the longer side: between a phone's main camera (65-70) and a camcorder (40-50)
_SURE_QUANTILE = 0.95


def rescaled(confidence: np.ndarray) -> np.ndarray:
    """Confidences [N, J] over their 95th percentile, at most 1: detectors differ in what they call sure."""
    above_0 = confidence[confidence > 0]
    return np.minimum(confidence / np.quantile(above_0, _SURE_QUANTILE), 1) if len(above_0) else confidence


def settle_camera(
    kp: Keypoints,
    camera: Sequence[float] | None = None,
    fov: float | None = None,
    image_size: tuple[int, int] | None = None,
) -> tuple[np.ndarray, str]:
    """Intrinsics [4] or [N, 4], and in words where they come from: given, of the file, or an assumed field of view.

    camera: fx, fy, cx, cy in pixels. fov: degrees along the longer side. image_size: width and height in pixels.
    """
    if camera is not None:
        if fov is not None:
            raise ValueError("--camera and --fov: needed one of them, got both")
        return check_intrinsics(np.array(camera), "--camera"), "camera given"
    if kp.intrinsics is not None and fov is None:
        return check_intrinsics(kp.intrinsics, "intrinsics"), "camera from the file"
    size, origin = image_size or kp.image_size, "image"
    if size is None:
        origin = "smallest image that holds the keypoints,"
    width, height = (float(x) for x in (kp.xy[kp.confidence > 0].max(0) if size is None else size))
    how = "given" if fov is not None else "assumed (no camera known)"
    fov = DEFAULT_FOV_DEG if fov is None else fov
    intrinsics = intrinsics_from_fov(width, height, np.radians(fov))
    return intrinsics, f"field of view of {fov:g} degrees {how}, {origin} {width:.0f} x {height:.0f}"
