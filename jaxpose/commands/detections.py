"""2D keypoints as the commands take them: in the model's joint set, with a camera, trusted as far as they deserve.

Everything that had to be assumed (camera, trust in the detector, who is who) is said.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.commands.heatmaps import holds_heatmaps, peaks
from jaxpose.geometry.camera import check_intrinsics, intrinsics_from_fov
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import SKELETONS, Skeleton, get_skeleton
from jaxpose.io.heatmap_files import Heatmaps, read_heatmaps
from jaxpose.io.keypoints import Keypoints, read_keypoints, visible_rows
from jaxpose.io.tracking import link

DEFAULT_FOV_DEG = 55.0  # along the longer side: between a phone's main camera (65-70) and a camcorder (40-50)
_MIN_VISIBLE = 4
_SURE_QUANTILE = 0.95


class Detections(NamedTuple):
    """N detections in the model's joint set, with the camera they are taken to be seen by.

    xy [N, J, 2] px, confidence [N, J] in [0, 1], intrinsics [N, 4] px; source: the same rows as the file has them;
    camera: in words, where the intrinsics come from. min_visible: joints a detection needed. linked: people were linked
    over frames. heatmaps: of the same rows, where the keypoints are their peaks.
    """

    xy: np.ndarray
    confidence: np.ndarray
    intrinsics: np.ndarray
    source: Keypoints
    camera: str
    num_dropped: int
    min_visible: int = _MIN_VISIBLE
    linked: bool = False
    heatmaps: Heatmaps | None = None


def check_flags(args: argparse.Namespace) -> None:
    """ValueError naming the flag whose value no camera, person or detector has."""
    if args.height is not None and not 0.3 < args.height < 3:
        raise ValueError(f"--height: needed metres between 0.3 and 3, got {args.height}")
    if args.fov is not None and not 0 < args.fov < 180:
        raise ValueError(f"--fov: needed degrees between 0 and 180, got {args.fov}")
    if not 0 <= args.min_confidence <= 1:
        raise ValueError(f"--min-confidence: needed 0 to 1, got {args.min_confidence}")
    size = _numbers("--image-size", args.image_size, 2, "WIDTH,HEIGHT in pixels")
    if size is not None and not (size > 0).all():
        raise ValueError(f"--image-size: needed positive pixels, got {args.image_size}")


def read_detections(
    path: Path,
    target: Skeleton,
    args: argparse.Namespace,
    hide: Callable[[int], np.ndarray] | None = None,
    *,
    whole: bool = False,
    video: bool = False,
) -> Detections:
    """The detections of a file or folder, brought to the joint set `target`; what is not to be trusted is hidden.

    hide: number of detections -> [N, J] bool, joints to be hidden besides. Detections with too few visible joints, or
    if `whole` not all of them, are left out; ValueError where none is left. video: link people whom the file does not
    follow, as --track does.
    """
    given, file_format = args.skeleton, args.format
    if file_format in SKELETONS:
        if given not in (None, file_format):
            raise ValueError(f"--format {file_format} and --skeleton {given} are two joint sets; needed one")
        given, file_format = file_format, None
    skeleton = get_skeleton(given) if given else None
    maps = None
    if holds_heatmaps(path):
        if file_format is not None or args.camera_name is not None:
            raise ValueError(f"{path} holds heatmaps: --format FILE_FORMAT and --camera-name mean nothing to them")
        size = _numbers("--image-size", args.image_size, 2, "WIDTH,HEIGHT in pixels")
        given_size = None if size is None else (int(size[0]), int(size[1]))
        maps = read_heatmaps(path, skeleton=skeleton, image_size=given_size, missing="hide")
        kp = peaks(maps)
    else:
        kp = read_keypoints(path, skeleton=skeleton, format=file_format, camera=args.camera_name)
    linked = args.track or (video and path.suffix.lower() not in (".npz", ".npy") and _by_place(kp))
    if linked:
        kp = link(kp, threshold=args.min_confidence)
    confidence = np.where(kp.confidence >= args.min_confidence, kp.confidence, 0)
    converted = convert_joints(jnp.asarray(kp.xy), jnp.asarray(rescaled(confidence)), kp.skeleton, target)
    xy, confidence = jax.device_get(converted)
    if hide is not None:
        confidence = np.where(hide(len(xy)), 0, confidence)
    least = len(target.joints) if whole else _MIN_VISIBLE
    rows = visible_rows(kp._replace(xy=xy, confidence=confidence), 0.0, least)
    if not rows.any():
        most = int((confidence > 0).sum(-1).max())
        raise ValueError(
            f"{path}: no detection has {least} visible joints of {target.name} with confidence of "
            f"{args.min_confidence} or more{', not hidden' if hide else ''}; the best has {most}"
        )
    intrinsics, camera = settle_camera(kp, args)
    per_row = np.broadcast_to(intrinsics, (len(xy), 4))
    dropped = int((~rows).sum())
    if maps is not None and dropped:
        maps = maps._replace(maps=maps.maps[rows], box=maps.box[rows], frame=maps.frame[rows])
    selected = _select(kp, rows)
    return Detections(xy[rows], confidence[rows], per_row[rows], selected, camera, dropped, least, linked, maps)


def describe(path: Path, data: Detections) -> Iterator[str]:
    """Lines that say what was read, assumed and left out."""
    yield f"{path}: {len(data.xy)} detections of {data.source.skeleton.name}; {data.camera}"
    if data.num_dropped:
        yield f"left out {data.num_dropped} detections with fewer than {data.min_visible} visible joints"
    if data.linked:
        yield f"linked over frames: {len(np.unique(data.source.person))} people"


def rescaled(confidence: np.ndarray) -> np.ndarray:
    """Confidences [N, J] over their 95th percentile, at most 1: detectors differ in what they call sure."""
    seen = confidence[confidence > 0]
    return np.minimum(confidence / np.quantile(seen, _SURE_QUANTILE), 1) if len(seen) else confidence


def settle_camera(kp: Keypoints, args: argparse.Namespace) -> tuple[np.ndarray, str]:
    """Intrinsics [4] or [N, 4], and in words where they come from: flag, file, or an assumed field of view."""
    given = _numbers("--camera", args.camera, 4, "fx,fy,cx,cy in pixels")
    if given is not None:
        if args.fov is not None:
            raise ValueError("--camera and --fov: needed one of them, got both")
        return check_intrinsics(given, "--camera"), "camera given"
    if kp.intrinsics is not None and args.fov is None:
        return check_intrinsics(kp.intrinsics, "intrinsics"), "camera from the file"
    fov = DEFAULT_FOV_DEG if args.fov is None else args.fov
    size, origin = image_size(kp, args), "image"
    if size is None:
        size, origin = kp.xy[kp.confidence > 0].max(0), "smallest image that holds the keypoints,"
    width, height = float(size[0]), float(size[1])
    how = "given" if args.fov is not None else "assumed (no camera known)"
    intrinsics = intrinsics_from_fov(width, height, np.radians(fov))
    return intrinsics, f"field of view of {fov:g} degrees {how}, {origin} {width:.0f} x {height:.0f}"


def image_size(kp: Keypoints, args: argparse.Namespace) -> np.ndarray | None:
    """Width and height [2] in pixels: of the flag, else of the file, if it has one."""
    size = _numbers("--image-size", args.image_size, 2, "WIDTH,HEIGHT in pixels")
    return np.array(kp.image_size, float) if size is None and kp.image_size is not None else size


def _by_place(kp: Keypoints) -> bool:
    """Whether the ids of people are their places in each frame, of which some have several."""
    order = np.lexsort((kp.person, kp.frame))
    frame = kp.frame[order]
    place = np.arange(len(frame)) - np.searchsorted(frame, frame)
    return bool(place.any() and (kp.person[order] == place).all())


def _select(kp: Keypoints, rows: np.ndarray) -> Keypoints:
    image = tuple(np.array(kp.image, object)[rows]) if len(kp.image) == len(rows) else kp.image
    return kp._replace(
        xy=kp.xy[rows], confidence=kp.confidence[rows], frame=kp.frame[rows], person=kp.person[rows], image=image
    )


def _numbers(flag: str, text: str | None, count: int, meaning: str) -> np.ndarray | None:
    if text is None:
        return None
    try:
        values = np.array([float(v) for v in text.split(",")])
    except ValueError:
        raise ValueError(f"{flag}: needed {meaning}, got {text!r}") from None
    if len(values) != count or not np.isfinite(values).all():
        raise ValueError(f"{flag}: needed {count} numbers, {meaning}, got {text!r}")
    return values
