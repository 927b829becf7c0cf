"""2D keypoints as `jaxpose fit` takes them: rows of one or several cameras, alone or as the frames of a clip.

Of one camera they are read as `jaxpose lift` reads them. Of several, from one .npz: `keypoints` [F, C, K, 2 or 3] px
(NaN or confidence 0 where not seen), `K` [C, 3, 3], `R` [C, 3, 3] and `t` [C, 3] m (x_cam = R x_world + t), and if it
likes `dist` [C, 4 or 5] of OpenCV, `camera` [C] names, `joints` [K] names, `frame` [F], `fps`, `up` ("z" by default).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Camera
from jaxpose.commands import detections
from jaxpose.commands.option_groups import refuse
from jaxpose.commands.options import Fit, Fuse
from jaxpose.commands.points import set_of, skeleton_of
from jaxpose.fitting.keypoints import one_camera
from jaxpose.geometry.body import Body
from jaxpose.geometry.body_joints import POINT_SETS, known_points
from jaxpose.geometry.camera import check_intrinsics
from jaxpose.geometry.skeleton import BODY_25, SKELETONS
from jaxpose.io.arrays import as_float, load_arrays
from jaxpose.io.keypoints import read_keypoints

_LEAST = 3
_ONE_CAMERA = ("camera", "fov", "camera_name", "format")
_SHARE = 0.01  # of a person's larger extent in the image: about a detector's error (examples/views.py, DETECTOR)


class Views(NamedTuple):
    """R rows seen by C cameras.

    xy [R, C, K, 2] px, confidence [R, C, K]; cameras: with R items or one; points: the set of the K; frame, person [R];
    noise_px [R]; up: the world's vertical; said: lines of what was read and assumed.
    """

    xy: np.ndarray
    confidence: np.ndarray
    cameras: Camera
    points: str
    frame: np.ndarray
    person: np.ndarray
    noise_px: np.ndarray
    up: str
    fps: float | None
    said: tuple[str, ...]

    def of(self, rows: np.ndarray) -> Camera:
        """The cameras of some rows."""
        own = [None if x is None else x[rows] if len(x) > 1 else x for x in self.cameras]
        return Camera(*own)  # type: ignore[arg-type]  # None is what is not known


def holds_cameras(path: Path) -> bool:
    """Whether a file has keypoints of several calibrated cameras."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return False
    try:
        z = load_arrays(path)
    except ValueError:
        return False  # the reader that is asked next says why
    return {"keypoints", "K", "R", "t"} <= set(z) and z["keypoints"].ndim == 4


def read_views(path: Path, body: Body, options: Fit) -> Views:
    """The rows of a file; ValueError names a row that no camera sees three of the body's points of."""
    if path.is_file() and holds_cameras(path):
        refuse(options.keypoints, f"{path} has its own calibrated cameras (--cameras chooses)", *_ONE_CAMERA)
        views = several(path, options, options.keypoints.min_confidence)
    else:
        refuse(options, f"is for a file of several calibrated cameras, and {path} is none", "cameras", "up")
        views = _one(path, options)
    confidence = views.confidence * known_points(body, views.points)
    seen = (confidence > 0).sum(-1).max(1)
    few = np.flatnonzero(seen < _LEAST)
    if few.size:
        raise ValueError(
            f"{path}: frame {views.frame[few[0]]}, person {views.person[few[0]]}: {seen[few[0]]} points that the body "
            f"has, in any camera; needed {_LEAST} or more"
        )
    noise = np.broadcast_to(options.noise_px or _noise_px(views.xy, confidence), len(confidence))
    how = f"noise taken as {np.median(noise):.1f} px" + ("" if options.noise_px else ", 1 % of each person's size")
    return views._replace(confidence=confidence, noise_px=noise.astype(np.float32), said=(*views.said, how))


def _one(path: Path, options: Fit) -> Views:
    given, name = options.keypoints, options.skeleton
    if given.format in SKELETONS and name is None:
        given, name = replace(given, format=None), given.format
    skeleton = skeleton_of(name)
    if skeleton is not None and skeleton.name not in SKELETONS:
        raise ValueError(
            f"--points: {skeleton.name} is not read from files of one camera; legal are {', '.join(SKELETONS)}"
        )
    found = read_keypoints(path, skeleton=skeleton, format=given.format, camera=given.camera_name).skeleton
    name = set_of(found)
    target = BODY_25 if name == "openpose25" else SKELETONS[name]
    data = detections.read_detections(path, target, given, None if skeleton is None else skeleton.name)
    cameras = one_camera(jnp.asarray(data.intrinsics, jnp.float32))
    said = (*detections.describe(path, data), f"{found.name} as {name}")
    return Views(
        data.xy[:, None],
        data.confidence[:, None],
        cameras,
        name,
        data.source.frame,
        data.source.person,
        np.zeros(0),
        "-y",
        data.source.fps,
        said,
    )


def several(path: Path, options: Fit | Fuse, min_confidence: float) -> Views:
    """The rows of a file that `holds_cameras`; ValueError names the flag or key that does not fit."""
    z = load_arrays(path)
    keypoints = as_float(path, "keypoints", z["keypoints"])
    num, num_cameras = keypoints.shape[:2]
    names = z["camera"].astype(str).tolist() if "camera" in z else [str(c) for c in range(num_cameras)]
    chosen = _chosen(options.cameras, names)
    points = _points(path, z, keypoints.shape[2], options.skeleton)
    confidence = keypoints[..., 2] if keypoints.shape[-1] == 3 else np.ones(keypoints.shape[:-1])
    seen = np.isfinite(keypoints).all(-1) & (np.nan_to_num(confidence) >= min_confidence)
    xy = np.where(seen[..., None], keypoints[..., :2], 0)[:, chosen]
    confidence = np.where(seen, np.clip(confidence, 0, 1), 0)[:, chosen]
    up = options.up or str(z.get("up", "z"))
    if up not in ("-y", "y", "z"):
        raise ValueError(f"{path}: up {up!r} (--up); legal are -y, y, z")
    cameras = _calibration(path, z, num_cameras, chosen)
    fps = float(as_float(path, "fps", z["fps"]).item()) if "fps" in z else None
    said = (
        f"{path}: {num} frames of {points} in {len(chosen)} of {num_cameras} cameras "
        f"({', '.join(names[c] for c in chosen)}), world {up} up",
    )
    frame = z["frame"] if "frame" in z else np.arange(num)
    person = np.zeros(num, np.int64)
    return Views(
        xy.astype(np.float32), confidence.astype(np.float32), cameras, points, frame, person, np.zeros(0), up, fps, said
    )


def _calibration(path: Path, z: Mapping[str, np.ndarray], num: int, chosen: list[int]) -> Camera:
    needed = {"K": (num, 3, 3), "R": (num, 3, 3), "t": (num, 3)}
    K, R, t = (as_float(path, key, z[key]).reshape(z[key].shape) for key in needed)
    for key, shape in needed.items():
        if z[key].shape != shape:
            raise ValueError(f"{path}: {key} is {list(z[key].shape)}; needed {list(shape)} for {num} cameras")
    if abs(R @ np.swapaxes(R, -1, -2) - np.eye(3)).max() > 1e-3:
        raise ValueError(f"{path}: R holds a matrix that is no rotation")
    intrinsics = np.stack([K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]], -1)
    check_intrinsics(intrinsics, f"{path}: K")
    distortion = None
    if "dist" in z:
        dist = as_float(path, "dist", z["dist"])
        if dist.ndim != 2 or dist.shape[0] != num or dist.shape[1] not in (4, 5):
            raise ValueError(f"{path}: dist is {list(dist.shape)}; needed [{num}, 4] or [{num}, 5], OpenCV's")
        distortion = jnp.asarray(np.pad(dist, ((0, 0), (0, 5 - dist.shape[1])))[None, chosen], jnp.float32)
    intrinsics, R, t = (x[None, chosen].astype(np.float32) for x in (intrinsics, R, t))
    return Camera(jnp.asarray(intrinsics), distortion, jnp.asarray(R), jnp.asarray(t))


def _points(path: Path, z: Mapping[str, np.ndarray], num: int, skeleton: str | None) -> str:
    """The set of body points that the K keypoints are, in its order."""
    given = skeleton_of(skeleton)
    names = tuple(z["joints"].astype(str).tolist()) if "joints" in z else None
    for name, joints in POINT_SETS.items():
        if (given is None or set_of(given) == name) and len(joints) == num and names in (None, joints):
            return name
    raise ValueError(
        f"{path}: {num} keypoints{'' if names is None else ' ' + ', '.join(names[:3]) + ', ...'} are not, in this "
        f"order, {skeleton or 'a set of body points'}; legal are {', '.join(POINT_SETS)} (--points)"
    )


def _chosen(asked: tuple[str, ...] | None, names: list[str]) -> list[int]:
    if asked is None:
        return list(range(len(names)))
    chosen: list[int] = []
    for part in asked:
        number = names.index(part) if part in names else int(part) if part.isdecimal() else -1
        if not 0 <= number < len(names) or number in chosen:
            raise ValueError(f"--cameras: got {part!r}; legal are 0 to {len(names) - 1}, or {', '.join(names)}, once")
        chosen.append(number)
    return chosen


def _noise_px(xy: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """A share of the larger extent of the person, [R], mean over the cameras that see three points of it."""
    seen = (confidence > 0)[..., None]
    low, high = np.where(seen, xy, np.inf).min(2), np.where(seen, xy, -np.inf).max(2)
    enough = (confidence > 0).sum(-1) >= _LEAST
    extent = np.where(enough, np.where(np.isfinite(low), high - low, 0).max(-1), 0)
    return np.maximum(_SHARE * extent.sum(1) / np.maximum(enough.sum(1), 1), 0.5)
