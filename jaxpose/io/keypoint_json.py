"""2D keypoints in JSON, as detectors write them: a table of formats with a function each.

    coco              COCO annotations: {"images": [...], "annotations": [...]}
    coco_results      COCO results: [{"image_id": 7, "keypoints": [x, y, c, ...], "score": 0.9}]
    alphapose         AlphaPose: [{"image_id": "7.jpg", "keypoints": [x, y, c, ...], "score": 2.9, "idx": 1}]
    alphapose_images  AlphaPose --format cmu or open: {"7.jpg": {"bodies": [{"joints": [...]}]}}
    openpose          OpenPose: {"people": [{"person_id": [-1], "pose_keypoints_2d": [x, y, c, ...]}]}
    mmpose            MMPose, RTMPose: [{"keypoints": [[x, y], ...], "keypoint_scores": [...]}] for an image,
                      [{"frame_id": 7, "instances": [...]}] for a video; either also as "instance_info"

The number of keypoints determines the joint set: 16 MPII, 17 COCO, 18 OpenPose's COCO (its neck is left out), 25
BODY_25, 26 Halpe, 33 MediaPipe; of 133 (COCO-WholeBody) and 136 (Halpe) body and feet are taken. OpenPose's
experimental BODY_25B looks like BODY_25 in the file: name the skeleton. Person ids are `track_id` (COCO, MMPose), `idx`
(AlphaPose) or `person_id` (OpenPose).

A folder holds one file per frame (OpenPose, MMPose on images, AlphaPose `sep-json`); files without people are
allowed. Frames are numbered by the last number in the file or image name where all have one and no two share
it, else by the order of the names. COCO's visibility v = 0, 1 (labelled, hidden), 2 becomes confidence 0,
0.5, 1; annotations without a labelled joint are left out.

Sources: cocodataset.org/#format-results; OpenPose doc/02_output.md; AlphaPose docs/output.md; MMPose 1.x
`split_instances`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from jaxpose.geometry.skeleton import BODY_25, COCO_17, HALPE_26, MEDIAPIPE_33, MPII_16, WHOLEBODY_23
from jaxpose.io.arrays import Source, as_int
from jaxpose.io.keypoint_arrays import Layout, first_joints


class Row(NamedTuple):
    """One person: keypoints x, y, c flat or in threes. A frame of None is numbered by `image`."""

    keypoints: Any
    image: str
    frame: Any = None
    person: Any = None


# OpenPose's COCO-18 is COCO with a neck second and the sides in another order.
_COCO_18 = Layout(18, COCO_17, (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10))
# COCO-WholeBody (133) and Halpe (136) add face and hands after the body.
_COCO_LIKE = tuple(
    first_joints(*pair) for pair in ((17, COCO_17), (133, WHOLEBODY_23), (26, HALPE_26), (136, HALPE_26))
)
_OTHERS = tuple(first_joints(*pair) for pair in ((25, BODY_25), (16, MPII_16), (33, MEDIAPIPE_33)))
_LAYOUTS = (*_COCO_LIKE, _COCO_18, *_OTHERS)


def _coco(content: dict, source: str) -> Iterator[Row]:
    names = {image["id"]: image.get("file_name", "") for image in content.get("images", ())}
    for note in content["annotations"]:
        if any(note.get("keypoints", ())[2::3]):
            values = np.reshape(np.asarray(note["keypoints"], float), (-1, 3)) * (1, 1, 0.5)
            yield Row(values, names.get(note["image_id"], ""), note["image_id"], note.get("track_id"))


def _alphapose_images(content: dict, source: str) -> Iterator[Row]:
    images = {source: content} if "bodies" in content else content
    for name, image in images.items():
        for person in image["bodies"] if "bodies" in image else image["people"]:
            yield Row(person["joints"] if "joints" in person else person["pose_keypoints_2d"], name)


def _openpose(content: dict, source: str) -> Iterator[Row]:
    for person in content["people"]:
        keypoints = person["pose_keypoints_2d"] if "pose_keypoints_2d" in person else person["pose_keypoints"]
        identity = person.get("person_id", [-1])
        if keypoints:  # a person may have only a face or hands
            yield Row(keypoints, source, None, None if identity in ([-1], -1, []) else identity)


def _mmpose(content: list | dict, source: str) -> Iterator[Row]:
    for item in content["instance_info"] if isinstance(content, dict) else content:
        for person in item.get("instances", [item]):
            xy, scores = np.asarray(person["keypoints"], float), np.asarray(person["keypoint_scores"], float)
            if xy.shape != (*scores.shape, 2) or scores.ndim != 1:
                raise ValueError(f"keypoints {list(xy.shape)} with keypoint_scores {list(scores.shape)}")
            yield Row(np.column_stack([xy, scores]), source, item.get("frame_id"), person.get("track_id"))


def _is_list_of(content: Any, *keys: str) -> bool:
    return isinstance(content, list) and bool(content) and isinstance(content[0], dict) and {*keys} <= {*content[0]}


def _is_images(content: Any) -> bool:
    inner = [content, *content.values()] if isinstance(content, dict) else []
    return any(isinstance(image, dict) and ("bodies" in image or "people" in image) for image in inner)


def _is_mmpose(content: Any) -> bool:
    is_dict = isinstance(content, dict) and "instance_info" in content
    return is_dict or _is_list_of(content, "keypoints", "keypoint_scores") or _is_list_of(content, "instances")


# Format -> whether a content has it, and the people of a content, given the file's name. The first that matches is it.
FORMATS: dict[str, tuple[Callable[[Any], bool], Callable[[Any, str], Iterable[Row]]]] = {
    "coco": (lambda c: isinstance(c, dict) and "annotations" in c, _coco),
    "openpose": (lambda c: isinstance(c, dict) and "people" in c, _openpose),
    "mmpose": (_is_mmpose, _mmpose),
    "alphapose": (
        lambda c: _is_list_of(c, "image_id", "keypoints") and isinstance(c[0]["image_id"], str),
        lambda c, _: [Row(item["keypoints"], str(item["image_id"]), None, item.get("idx")) for item in c],
    ),
    "coco_results": (
        lambda c: _is_list_of(c, "image_id", "keypoints"),
        lambda c, _: [Row(item["keypoints"], "", item["image_id"], item.get("track_id")) for item in c],
    ),
    "alphapose_images": (_is_images, _alphapose_images),
}


def read_json(
    source: Source, format: str | None = None
) -> tuple[dict[str, np.ndarray], tuple[Layout, ...], tuple[str, ...]]:
    """The people of a JSON file, or of a folder with one per frame.

    Arrays with the keys of `keypoint_arrays`, the possible meanings of K keypoints, and the names of images [N].
    """
    path = source.path
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path}: no .json file in this folder, nor an image; needed one per frame")
    contents = {file: (source if file == path else Source(file)).json for file in files}
    for file, content in contents.items():
        format = format or _detect(file, content)
    rows = [(file, row) for file, content in contents.items() for row in _rows(file, content, format)]
    if not rows:
        raise ValueError(f"{path}: no people in it; files read: {len(files)}, format: {format or 'not detected'}")
    first, images = contents[files[0]], tuple(row.image for _, row in rows)
    arrays = {"keypoints": _values(rows), "frame": _frames(path, files, rows)}
    others = {"person": _person_ids(rows), "image_size": _image_size(first)}
    return arrays | {k: np.array(v) for k, v in others.items() if v is not None}, _layouts(first), images


def holds_people(source: Source, format: str | None = None) -> bool:
    """Whether anybody is in a JSON file of one of the formats."""
    content = source.json
    return bool(_rows(source.path, content, format or _detect(source.path, content)))


def _detect(file: Path, content: Any) -> str | None:
    """The first format that matches; None for an empty list or dict, which matches any."""
    if content in ([], {}):
        return None
    for name, (matches, _) in FORMATS.items():
        if matches(content):
            return name
    kind, inner = ("a list of ", content[0]) if isinstance(content, list) else ("", content)
    actual = f"dict with keys {list(inner)[:6]}" if isinstance(inner, dict) else type(inner).__name__
    raise ValueError(f"{file}: {kind}{actual}; that is none of the known keypoint formats {sorted(FORMATS)}")


def _rows(file: Path, content: Any, format: str | None) -> list[Row]:
    if content in ([], {}) or format is None:
        return []
    try:
        return list(FORMATS[format][1](content, _frame_name(file)))
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{file}: not a valid {format} file: {type(error).__name__} {error}") from None


def _layouts(content: Any) -> tuple[Layout, ...]:
    """The possible meanings of K keypoints; where MMPose names its keypoints, 17 of them need not be COCO's."""
    meta = content.get("meta_info") if isinstance(content, dict) else None
    names = meta.get("keypoint_id2name") if isinstance(meta, dict) else None
    if isinstance(names, dict) and [names.get(str(i)) for i in range(17)] != list(COCO_17.joints):
        return tuple(layout for layout in _LAYOUTS if layout not in _COCO_LIKE)
    return _LAYOUTS


def _values(rows: list[tuple[Path, Row]]) -> np.ndarray:
    """Keypoints [N, K, 3] of rows, which must have the same K."""
    values: list[np.ndarray] = []
    for i, (file, row) in enumerate(rows):
        try:
            flat = np.asarray(row.keypoints, float)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{file}: person {i}: keypoints are not a list of numbers ({error})") from None
        if flat.size == 0 or flat.size % 3 or (flat.ndim != 1 and flat.shape[1:] != (3,)):
            raise ValueError(
                f"{file}: person {i} has {flat.size} numbers as keypoints; needed x, y, confidence of each"
            )
        values.append(flat.reshape(-1, 3))
        if len(values[-1]) != len(values[0]):
            raise ValueError(f"{file}: person {i} has {len(values[-1])} keypoints, the first person {len(values[0])}")
    return np.stack(values)


def _integer(file: Path, what: str, value: Any) -> int:
    try:
        return int(as_int(file, what, [float(value)])[0])
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{file}: {what} {value!r}; needed a whole number below 2^53") from None


def _person_ids(rows: list[tuple[Path, Row]]) -> list[int] | None:
    """Ids of people, None unless every row has one. Of several ids in a list, the first is that of the track."""
    ids = []
    for file, row in rows:
        value = row.person
        while isinstance(value, list) and value:
            value = value[0]
        if value is None or value == []:
            return None
        ids.append(_integer(file, "person", value))
    return ids


def _frames(path: Path, files: list[Path], rows: list[tuple[Path, Row]]) -> np.ndarray:
    if len(files) > 1 and any(row.frame is not None for _, row in rows):
        raise ValueError(f"{path}: these files have many frames each, a folder has one in each: give one file")
    # Where images are files, those without people have a number too.
    per_file = all(row.image == _frame_name(file) for file, row in rows)
    number = _frame_numbers({row.image for _, row in rows} | {_frame_name(f) for f in files if per_file})
    frames = [number[r.image] if r.frame is None else _integer(file, "frame", r.frame) for file, r in rows]
    return np.array(frames, np.int64)


def _frame_name(file: Path) -> str:
    return file.stem.removesuffix("_keypoints")


def _frame_numbers(names: set[str]) -> dict[str, int]:
    """Name -> the last number in it, where all have one and no two the same; else its place in order."""
    digits = [re.findall(r"\d+", PurePath(name).stem)[-1:] for name in sorted(names)]
    numbers = [int(d[0]) for d in digits if d and len(d[0]) < 16]
    if len(set(numbers)) != len(names):
        numbers = list(range(len(names)))
    return dict(zip(sorted(names), numbers, strict=True))


def _image_size(content: Any) -> list[Any] | None:
    """Width and height, where COCO's `images` have one size."""
    images = content.get("images") if isinstance(content, dict) else None
    images = images if isinstance(images, list) else []
    sizes = {(image.get("width"), image.get("height")) for image in images if isinstance(image, dict)}
    width, height = sizes.pop() if len(sizes) == 1 else (None, None)
    return None if width is None or height is None else [width, height]
