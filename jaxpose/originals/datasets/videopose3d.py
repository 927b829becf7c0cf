"""Conversion of Human3.6M as published by VideoPose3D to a folder of arrays (h36m.py).

    data_3d_h36m.npz   positions_3d: subject -> action -> [F, 32, 3] metres, world axes
    data_2d_h36m_*.npz positions_2d: subject -> action -> four of [F', 17, 2] pixels, one for each camera; metadata
    *_gmm.npz          the same of mixtures [F', 17, M, 5] (gmm.py): keypoints are their first components

Both are pickled dicts inside .npz (untrusted/unpickle.py). Every frame is seen by the subject's four cameras
(h36m_cameras.py); pixels and depth follow as GFPose's files have them (spaces/image_depth.py).

The frames differ from GFPose's: its test list is 4 % longer than S9 and S11 here, in unknown places (spec/gfpose.md,
7).
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np

from jaxpose.files import FilePath
from jaxpose.io.untrusted.unpickle import array_of, describe, list_of_cameras, load_dict
from jaxpose.originals.datasets.gmm import IMAGE_SIZE, check_layout, holds_gmm, in_pixels, read_gmm
from jaxpose.originals.datasets.h36m import Frames, check_new, described, writing_frames
from jaxpose.originals.datasets.h36m_cameras import Cameras, cameras_of
from jaxpose.reading import one_line, reading
from jaxpose.spaces.image_depth import ratio_of, to_image_depth

# Of the 32 joints of the motion capture, those of H36M_17 in its order; the others are constant or duplicates.
_OF_32 = np.array([0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27])
# Names of the files, by Human3.6M's numbers from 2 on. A name may be followed by the number of a second take.
_NAMES = (
    *("Directions", "Discussion", "Eating", "Greeting", "Phoning", "Posing", "Purchases", "Sitting", "SittingDown"),
    *("Smoking", "Photo", "Waiting", "Walking", "WalkDog", "WalkTogether"),
)
_ACTIONS = {name: number for number, name in enumerate(_NAMES, 2)} | {"TakingPhoto": 12, "WalkingDog": 15}
_LARGEST = 100.0  # metres from the origin: coordinates beyond are millimetres


# one action: its number, joints [F, 17, 3] metres, world, and of each camera keypoints [F, 17, 2] px, or mixtures
_Part: TypeAlias = tuple[int, np.ndarray, list[np.ndarray] | None]


def prepare_videopose3d(
    data_3d_npz: FilePath, data_2d_npz: FilePath | None, subjects: Sequence[str], out: FilePath
) -> Iterator[str]:
    """Convert `subjects` ("S1", "S5", ...) to the new folder `out`; yields lines about the progress.

    Without a 2D file the keypoints are the exact projections. Where lengths differ, the shorter is used. ValueError
    names file, subject and action of what is wrong.
    """
    target = check_new(out)
    if not subjects or len(set(subjects)) != len(subjects):
        raise ValueError(f"subjects: needed distinct names, at least one, got {list(subjects)}")
    cameras = {subject: cameras_of(subject) for subject in subjects}
    sources = [Path(data_3d_npz)] if data_2d_npz is None else [Path(data_3d_npz), Path(data_2d_npz)]
    parts = {}
    with reading(sources[0], "file of VideoPose3D"):
        positions = load_dict(sources[0], "positions_3d")
        detections = None
        if data_2d_npz is not None:
            check_layout(sources[1])
            detections = (read_gmm if holds_gmm(sources[1]) else _positions_2d)(sources[1])
        for subject in subjects:
            actions = _entry(positions, subject, sources[0])
            keypoints = None if detections is None else _entry(detections, subject, sources[1])
            parts[subject] = yield from _read_subject(subject, actions, keypoints, sources)
    video = count = 0
    with writing_frames(target, {"subjects": list(subjects), "sources": described(sources)}) as append:
        for subject in subjects:
            frames, mixture = _film(parts[subject], cameras[subject], subject, video, sources[0])
            append(frames, mixture)
            video, count = video + 4 * len(parts[subject]), count + len(frames.frame)
    yield f"wrote {target}: {count} frames"


def _read_subject(
    subject: str, actions: Mapping[str, Any], detections: Mapping[str, Any] | None, sources: list[Path]
) -> Generator[str, None, list[_Part]]:
    """The subject's actions, checked, joints and keypoints cut to one length; yields a line for each cut."""
    parts: list[_Part] = []
    for name, value in actions.items():
        place = f"{sources[0]}: {subject} {name}"
        action, joints, keypoints = _ACTIONS.get(name.split(" ")[0]), _joints(value, place), None
        if action is None:
            raise ValueError(f"{place}: an unknown action; must be one of {', '.join(_ACTIONS)}, and a number after it")
        if detections is not None:
            cameras = list_of_cameras(detections.get(name), f"{sources[1]}: {subject} {name}", 4)
            keypoints = [_seen(array, at) for at, array in cameras]
        lengths = [len(joints), *map(len, keypoints or ())]
        shortest = min(lengths)
        if max(lengths) != shortest:
            yield f"{subject} {name}: {lengths[0]} frames in 3D, {lengths[1:]} in 2D; kept the first {shortest}"
        parts.append((action, joints[:shortest], keypoints and [k[:shortest] for k in keypoints]))
    yield f"{subject}: {len(parts)} actions, {4 * sum(len(x) for _, x, _ in parts)} frames"
    return parts


def _film(
    parts: list[_Part], cameras: Cameras, subject: str, first_video: int, path: Path
) -> tuple[Frames, np.ndarray | None]:
    """The frames of one subject, action by action, camera by camera, and their mixtures where detections are such."""
    order = [(action, len(x), camera) for action, x, _ in parts for camera in range(4)]
    action, length, camera_id = np.array(order, np.int32).reshape(-1, 3).T
    per_video = {
        "action": action,
        "subject": np.full(len(order), int(subject[1:]), np.int32),
        "video": first_video + np.arange(len(order), dtype=np.int32),
        "camera_id": camera_id,
    }
    labels = {name: np.repeat(values, length) for name, values in per_video.items()}
    turned = (np.einsum("cij,fkj->cfki", cameras.R_cam_world, x) + cameras.t_cam[:, None, None] for _, x, _ in parts)
    x_cam = np.concatenate([x.reshape(-1, 17, 3) for x in turned]).astype(np.float32)
    if not (x_cam[..., 2] > 0).all():
        video = np.searchsorted(np.cumsum(length), np.argmin((x_cam[..., 2] > 0).all(-1)), side="right")
        at = f"camera {camera_id[video]} in action {action[video]}"
        raise ValueError(f"{path}: {subject} is not in front of {at}; needed z > 0")
    intrinsics = cameras.intrinsics.astype(np.float32)[labels["camera_id"]]
    image = np.asarray(to_image_depth(jnp.asarray(intrinsics), jnp.asarray(x_cam)))
    detected = [k for _, _, keypoints in parts for k in keypoints or ()]
    mixture = np.concatenate(detected) if detected and detected[0].ndim == 4 else None
    points = [k if k.ndim == 3 else k[:, :, 0, 1:3] for k in detected]
    root_depth = x_cam[:, 0, 2]
    frames = Frames(
        image=image,
        camera=x_cam,
        keypoints=np.concatenate(points).astype(np.float32) if points else image[..., :2],
        confidence=np.ones(image.shape[:2], np.float32),
        ratio=np.asarray(ratio_of(jnp.asarray(intrinsics), jnp.asarray(root_depth))),
        root_depth=root_depth,
        intrinsics=intrinsics,
        frame=np.concatenate([np.arange(n, dtype=np.int32) for n in length]),
        **labels,
    )
    return frames, mixture


def _positions_2d(path: Path) -> Mapping[str, Any]:
    return load_dict(path, "positions_2d")


def _seen(array: Any, place: str) -> np.ndarray:
    """Keypoints [F, 17, 2] pixels, or mixtures [F, 17, M, 5] whose deviations are pixels too."""
    if getattr(array, "ndim", 0) == 4:
        weight, mean, std = in_pixels(array, IMAGE_SIZE[0])
        return np.concatenate([weight[..., None], mean, std], -1)
    return array_of(array, place, (17, 2)).astype(np.float32)


def _joints(value: Any, place: str) -> np.ndarray:
    joints = array_of(value, place, (32, 3), (17, 3)).astype(np.float64)
    joints = joints[:, _OF_32] if joints.shape[1] == 32 else joints
    if np.abs(joints).max() > _LARGEST:
        raise ValueError(f"{place}: a coordinate of {np.abs(joints).max():.0f}; needed metres, not millimetres")
    return joints


def _entry(tree: Mapping[str, Any], subject: str, path: Path) -> Mapping[str, Any]:
    actions = tree.get(subject)
    if not isinstance(actions, dict) or not actions or not all(isinstance(name, str) for name in actions):
        actual = ", ".join(str(name)[:40] for name in tree)
        raise ValueError(
            f"{path}: needed a dict of actions for {subject}, got {describe(actions)}; it has {one_line(actual)}"
        )
    return actions
