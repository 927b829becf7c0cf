"""2D keypoints as `jaxpose fit` and `fuse` take them: rows of one or several cameras, alone or as frames of a clip.

Of one camera they are read as `jaxpose lift` reads them; files of several are those of `io/multiview.py`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Camera
from jaxpose.commands import detections
from jaxpose.commands.option_groups import refuse
from jaxpose.commands.options import Fit, Fuse
from jaxpose.fitting.keypoints import one_camera
from jaxpose.geometry.body import Body
from jaxpose.geometry.body_joints import joint_set_of, known_points, point_set_of
from jaxpose.geometry.skeleton import BODY_25, SKELETONS, Skeleton
from jaxpose.io import kind_of
from jaxpose.io.keypoints import Keypoints, read_keypoints
from jaxpose.io.multiview import MultiView, read_multiview
from jaxpose.io.poses3d import LEAST_POINTS

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


def joint_set(name: str | None) -> Skeleton | None:
    """The joint set of --points; ValueError names the flag."""
    try:
        return None if name is None else joint_set_of(name)
    except ValueError as error:
        raise ValueError(f"--points: {error}") from None


def holds_cameras(path: Path) -> bool:
    """Whether a file has keypoints of several calibrated cameras."""
    return kind_of(path, (MultiView, Keypoints)) is MultiView


def read_cameras(path: Path, options: Fit | Fuse, min_confidence: float) -> MultiView:
    """The keypoints and cameras of a file that `holds_cameras`."""
    given = joint_set(options.skeleton)
    points = None if given is None else point_set_of(given)
    return read_multiview(path, points=points, up=options.up, cameras=options.cameras, min_confidence=min_confidence)


def describe(path: Path, data: MultiView) -> str:
    """A line of what was read."""
    cameras = f"{len(data.cameras)} of {data.num_cameras} cameras ({', '.join(data.cameras)})"
    return f"{path}: {len(data.xy)} frames of {data.points} in {cameras}, world {data.up} up"


def read_views(path: Path, body: Body, options: Fit) -> Views:
    """The rows of a file; ValueError names a row that no camera sees three of the body's points of."""
    if holds_cameras(path):
        refuse(options.keypoints, f"{path} has its own calibrated cameras (--cameras chooses)", *_ONE_CAMERA)
        data = read_cameras(path, options, options.keypoints.min_confidence)
        cameras, people = jax.tree.map(lambda x: x[None], data.camera), np.zeros(len(data.xy), np.int64)
        views = Views(
            *(data.xy, data.confidence, cameras, data.points, data.frame, people, np.zeros(0), data.up, data.fps),
            said=(describe(path, data),),
        )
    else:
        refuse(options, f"is for a file of several calibrated cameras, and {path} is none", "cameras", "up")
        views = _one(path, options)
    confidence = views.confidence * known_points(body, views.points)
    seen = (confidence > 0).sum(-1).max(1)
    few = np.flatnonzero(seen < LEAST_POINTS)
    if few.size:
        raise ValueError(
            f"{path}: frame {views.frame[few[0]]}, person {views.person[few[0]]}: {seen[few[0]]} points that the body "
            f"has, in any camera; needed {LEAST_POINTS} or more"
        )
    noise = np.broadcast_to(options.noise_px or _noise_px(views.xy, confidence), len(confidence))
    how = f"noise taken as {np.median(noise):.1f} px" + ("" if options.noise_px else ", 1 % of each person's size")
    return views._replace(confidence=confidence, noise_px=noise.astype(np.float32), said=(*views.said, how))


def _one(path: Path, options: Fit) -> Views:
    given, name = options.keypoints, options.skeleton
    if given.format in SKELETONS and name is None:
        given, name = replace(given, format=None), given.format
    skeleton = joint_set(name)
    if skeleton is not None and skeleton.name not in SKELETONS:
        raise ValueError(
            f"--points: {skeleton.name} is not read from files of one camera; legal are {', '.join(SKELETONS)}"
        )
    found = read_keypoints(path, skeleton=skeleton, format=given.format, camera=given.camera_name).skeleton
    name = point_set_of(found)
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


def _noise_px(xy: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """A share of the larger extent of the person, [R], mean over the cameras that see three points of it."""
    seen = (confidence > 0)[..., None]
    low, high = np.where(seen, xy, np.inf).min(2), np.where(seen, xy, -np.inf).max(2)
    enough = (confidence > 0).sum(-1) >= LEAST_POINTS
    extent = np.where(enough, np.where(np.isfinite(low), high - low, 0).max(-1), 0)
    return np.maximum(_SHARE * extent.sum(1) / np.maximum(enough.sum(1), 1), 0.5)
