"""Conversion of MPI-INF-3DHP as published by P-STMO to a folder of arrays (h36m.py).

    data_train_3dhp.npz  data: "S1 Seq1" -> [camera "0" -> {data_2d [F, 17, 2] pixels, data_3d [F, 17, 3] mm}, fps]
    data_test_3dhp.npz   data: "TS1" -> {data_2d, data_3d, valid [F] 0 or 1}

A pickled dict inside .npz (untrusted/unpickle.py). 3D is `univ_annot3`: camera axes, bodies scaled to one height. The
files hold no cameras; these are fitted for each sequence and camera, as two lines with outliers removed:

    u = fx X / Z + cx,   v = fy Y / Z + cy

Every frame of a test video is kept, for windows of video, though only the valid ones are scored (603 of some 6000 in
TS1). Where `valid` is 0 the truth is NaN (h36m.has_truth); where the keypoints are not finite either, the
frame is left out. Subjects are 1..8, and 101..106 for TS1..TS6; the action is 0.

Source: D. Mehta et al., Monocular 3D human pose estimation in the wild, 3DV 2017; layout of the files and order of the
joints: W. Shan et al., P-STMO, ECCV 2022, as described in spec/diffpose.md, 5.2 and 6.4.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxpose.files import FilePath
from jaxpose.io.untrusted.unpickle import array_of, describe, load_dict
from jaxpose.originals.datasets.h36m import check_new, described, frames_of, writing_frames
from jaxpose.reading import reading

# H36M_17's joints among the 17 of the files: thorax, neck/nose and head are their neck, head and head top.
_TO_H36M = np.array([14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4])
_CAMERAS = ("0", "1", "2", "4", "5", "6", "7", "8")
_NAMES = {
    "train": (re.compile(r"S([1-8]) Seq[12]"), "S1..S8, Seq1 or Seq2"),
    "test": (re.compile(r"TS([1-6])"), "TS1..TS6"),
}
_TEST_SUBJECT = 100  # TS1 is 101: the test's people are not those of S1..S8
_WIDE = (105, 106)  # TS5 and TS6, outdoors, by another camera

# A fit beyond these limits indicates another joint order, unit or axis convention. Lenses of the data set: fx about
# 0.73 and 0.88 of the width, fy within 1 % of fx, centres within 3 % of the middle.
_FOCAL = (0.2, 5.0)  # of the image's width
_ASPECT = 0.1  # fy / fx from 1
_RESIDUAL = 0.02  # median, of the width
_NEAR, _FAR = 0.5, 100.0  # metres, of the root's median depth; other units exceed them


class _Video(NamedTuple):
    """One camera's film: pixels [F, 17, 2] and metres [F, 17, 3] in H36M_17 order, NaN where there is no truth."""

    name: str
    subject: int
    camera_id: int
    keypoints: np.ndarray
    camera: np.ndarray
    frame: np.ndarray
    fps: float | None


def prepare_3dhp(path: FilePath, split: str, out: FilePath) -> Iterator[str]:
    """Convert data_train_3dhp.npz (split "train") or data_test_3dhp.npz ("test") to the new folder `out`.

    Yields lines about the progress, one for each camera with its fit. The file is in memory as a whole: 1 to 2 GB for
    train. ValueError names file, sequence, camera and frame of what is wrong.
    """
    target, source = check_new(out), Path(path)
    if split not in _NAMES:
        raise ValueError(f"split: got {split!r}; must be train or test")
    tree = load_dict(source, "data")
    if not tree:
        raise ValueError(f"{source}: 'data' is empty; needed sequences {_NAMES[split][1]}")
    with reading(source, "file of MPI-INF-3DHP"):
        videos = [video for name in tree for video in _read_sequence(split, name, tree[name], source)]
    intrinsics = []
    for video in videos:
        label = video.name if video.subject > _TEST_SUBJECT else f"{video.name} camera {video.camera_id}"
        fitted, residual = _fit(video, f"{source}: {label}")
        intrinsics.append(fitted)
        fx, fy, cx, cy = fitted
        yield (
            f"{label}: {len(video.frame)} frames, focal length {fx:.1f}, {fy:.1f}, centre {cx:.1f}, {cy:.1f} px, "
            f"fitted to {residual:.2f} px (median)"
        )
    meta = {
        "dataset": "mpi_inf_3dhp",
        "split": split,
        "videos": [{"name": v.name, "camera": v.camera_id, "fps": v.fps} for v in videos],
        "sources": described([source]),
    }
    with writing_frames(target, meta) as append:
        for number, (video, fitted) in enumerate(zip(videos, intrinsics, strict=True)):
            intrinsics_of_frames = np.broadcast_to(fitted.astype(np.float32), (len(video.frame), 4))
            labels = {"action": 0, "subject": video.subject, "video": number, "camera_id": video.camera_id}
            append(frames_of(video.camera, intrinsics_of_frames, video.keypoints, frame=video.frame, **labels))
    count = sum(len(video.frame) for video in videos)
    scored = sum(int(np.isfinite(video.camera[:, 0, 2]).sum()) for video in videos)
    yield f"wrote {target}: {count} frames, {scored} of them with a true pose"


def image_size(subject: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Width and height [N] in pixels of the images of subjects [N], numbered as above."""
    wide = np.isin(subject, _WIDE)
    return np.where(wide, 1920, 2048), np.where(wide, 1080, 2048)


def fit_intrinsics(x_cam: np.ndarray, uv_px: np.ndarray) -> tuple[np.ndarray, float]:
    """fx, fy, cx, cy [4] pixels of points [..., 3], any unit, projected to uv_px [..., 2], and the median residual."""
    xy = (x_cam[..., :2] / x_cam[..., 2:]).reshape(-1, 2).astype(np.float64)
    uv = uv_px.reshape(-1, 2).astype(np.float64)
    (fx, cx), (fy, cy) = (_line(xy[:, axis], uv[:, axis]) for axis in range(2))
    intrinsics = np.array([fx, fy, cx, cy])
    residual = np.linalg.norm(xy * intrinsics[:2] + intrinsics[2:] - uv, axis=-1)
    return intrinsics, float(np.median(residual))


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and offset of y over x by least squares, repeated without outliers; NaN where x is constant."""
    kept, slope, offset = np.ones(len(x), bool), np.nan, np.nan
    for _ in range(10):
        x_mean, y_mean = x[kept].mean(), y[kept].mean()
        centred = x[kept] - x_mean
        spread = float(centred @ centred)
        slope = float(centred @ (y[kept] - y_mean)) / spread if spread > 0 else np.nan
        offset = float(y_mean - slope * x_mean)
        error = np.abs(slope * x + offset - y)
        # 3 standard deviations, estimated from the median, which is robust to outliers
        inliers = error <= 3 * 1.4826 * np.median(error) + 1e-6
        if not inliers.any() or (inliers == kept).all():
            break
        kept = inliers
    return slope, offset


def _fit(video: _Video, place: str) -> tuple[np.ndarray, float]:
    """The camera of a video and its residual; ValueError where it is implausible for the data set."""
    true = np.isfinite(video.camera[:, 0, 2])
    depth = float(np.median(video.camera[true, 0, 2]))
    if not _NEAR < depth < _FAR:
        raise ValueError(f"{place}: the person is {1000 * depth:.4g} away; needed millimetres in front of the camera")
    behind = ~(video.camera[true][..., 2] > 0).all(-1)
    if behind.any():
        frame = video.frame[true][np.argmax(behind)]
        raise ValueError(f"{place}: frame {frame} has a joint behind the camera; needed z > 0")
    fitted, residual = fit_intrinsics(video.camera[true], video.keypoints[true])
    fx, fy, cx, cy = fitted
    width, height = (int(x) for x in image_size(np.array(video.subject)))
    sound = _FOCAL[0] < fx / width < _FOCAL[1] and abs(fy / fx - 1) < _ASPECT and 0 < cx < width and 0 < cy < height
    if not (sound and residual < _RESIDUAL * width):
        actual = f"focal length {fx:.0f}, {fy:.0f}, centre {cx:.0f}, {cy:.0f}, {residual:.1f} px off (median)"
        raise ValueError(
            f"{place}: the best fit has {actual} for an image of {width} x {height}; "
            "needed keypoints that are projections of the joints, axes right, down, forward"
        )
    return fitted, residual


def _read_sequence(split: str, name: Any, value: Any, path: Path) -> Iterator[_Video]:
    """The videos of one sequence, checked: eight cameras for train, one for test."""
    pattern, legal = _NAMES[split]
    matched = pattern.fullmatch(name) if isinstance(name, str) else None
    if matched is None:
        raise ValueError(f"{path}: a sequence {name!r}; must be one of {legal} in {split}")
    subject, place = int(matched[1]), f"{path}: {name}"
    if split == "test":
        yield _read_video(name, _TEST_SUBJECT + subject, 0, value, None, place)
        return
    if not isinstance(value, list | tuple) or len(value) != 2 or not isinstance(value[0], dict):
        raise ValueError(f"{place}: needed a list of a dict of cameras and the frame rate, got {describe(value)}")
    cameras, fps = value
    if set(cameras) != set(_CAMERAS):
        raise ValueError(f"{place}: cameras {list(cameras)}; needed the names {', '.join(_CAMERAS)}")
    for camera in _CAMERAS:
        if not isinstance(fps, int | float | np.number) or not 0 < fps < np.inf:
            raise ValueError(f"{place}: needed a frame rate, a number above 0, got {describe(fps)}")
        yield _read_video(name, subject, int(camera), cameras[camera], float(fps), f"{place} camera {camera}")


def _read_video(name: str, subject: int, camera_id: int, value: Any, fps: float | None, place: str) -> _Video:
    if not isinstance(value, dict):
        raise ValueError(f"{place}: needed a dict of data_2d and data_3d, got {describe(value)}")
    keypoints, joints = (
        array_of(value.get(key), f"{place}, {key}", (17, axes), finite=False)
        for key, axes in (("data_2d", 2), ("data_3d", 3))
    )
    if len(keypoints) != len(joints):
        raise ValueError(f"{place}: {len(keypoints)} frames in data_2d, {len(joints)} in data_3d; needed as many")
    valid = np.ones(len(joints), bool)
    if subject > _TEST_SUBJECT:
        flags = value.get("valid")
        if not isinstance(flags, np.ndarray) or flags.shape != valid.shape or not np.isin(flags, (0, 1)).all():
            raise ValueError(f"{place}, valid: needed {len(joints)} numbers 0 or 1, got {describe(flags)}")
        if not flags.any():
            raise ValueError(f"{place}, valid: no frame is valid; needed at least one")
        valid = flags == 1
    for key, array in (("data_2d", keypoints), ("data_3d", joints)):
        bad = valid & ~np.isfinite(array).all((1, 2))
        if bad.any():
            raise ValueError(f"{place}, {key}: frame {np.argmax(bad)} is not finite")
    metres = np.where(valid[:, None, None], joints[:, _TO_H36M] / 1000, np.nan).astype(np.float32)
    visible = np.isfinite(keypoints).all((1, 2))
    frame = np.flatnonzero(visible).astype(np.int32)
    return _Video(
        name, subject, camera_id, keypoints[visible][:, _TO_H36M].astype(np.float32), metres[visible], frame, fps
    )
