"""`--axes world`: what was lifted from one camera, y up, with the floor at 0, in metres."""

from collections.abc import Generator
from typing import Any

import numpy as np

from jaxpose.app.commands.blocks import Drawn
from jaxpose.app.commands.detections import Detections
from jaxpose.app.commands.values import WorldAxes, refuse
from jaxpose.base import Camera
from jaxpose.geometry.axes import check_up, to_camera, turn, vertical
from jaxpose.geometry.root_path import CONTACTS
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.geometry.windows import timeline
from jaxpose.io.camera_path import read_camera_path
from jaxpose.io.tracks import are_images
from jaxpose.tasks.world import World, to_world

FRAME_TAG = "world metres, y up, floor at 0; samples, mean and pose relative to the root joint"
_FIELDS = ("R_world_camera", "t_world_camera", "root_world", "root_radius_90", "root_paths", "contacts")
_LEAST = 5  # frames of a person, whose root is smoothed
_AWAY = np.radians(40.0)  # of the people's vertical from that of --up: more is another axis


def check(given: WorldAxes) -> None:
    """ValueError naming a flag that means nothing to results in camera axes, and for a fault of the camera's path."""
    if given.camera_path is None:
        refuse(given, "is for --camera-path", "camera_scale")
    else:
        read_camera_path(given.camera_path)
    if given.axes == "camera":
        refuse(given, "is for --axes world", "floor", "up", "camera_path")
    else:
        refuse(given, "is for --axes camera; the world is made of smooth paths", "root")


def on_path(data: Detections, given: WorldAxes) -> Generator[str, None, Detections]:
    """Detections with the places of the camera of --camera-path, each in `calibrated`; yields a line about them."""
    if given.camera_path is None:
        return data
    if data.calibrated is not None and data.calibrated.R_cam_world is not None:
        raise ValueError(
            "--camera-path: the camera of --calibration has a fixed place; needed its lens alone, or no path"
        )
    path, kp = read_camera_path(given.camera_path), data.source
    R, t = path.at(kp.frame, kp.fps, kp.seconds, kp.image)
    unit = "s" if path.seconds else "frames"
    yield (
        f"camera path {path.source}: {len(path.time)} poses at {path.time[0]:g} to {path.time[-1]:g} {unit}, at most "
        f"{np.diff(path.time).max():.3g} {unit} apart; its unit is taken as {given.camera_scale:g} m"
    )
    return data._replace(calibrated=Camera(data.intrinsics, None, R, given.camera_scale * t))


def _first_of_path(data: Detections) -> np.intp | None:
    """A row of the first frame, of a camera that moves on a path; None of one that stands still."""
    camera = data.calibrated
    still = camera is None or camera.R_cam_world is None or camera.R_cam_world.ndim < 3
    return None if still else np.argmin(data.source.frame)


def followed(
    data: Detections, lifted: Drawn, skeleton: Skeleton, given: WorldAxes, seed: int
) -> Generator[str, None, World | None]:
    """The world of --axes world, and of any motion, whose root is smoothed with it; None of images and --root raw.

    Yields lines about the world, or in camera axes about the path of the root alone.
    """
    kp = data.source
    if given.axes == "world":
        world = find(data, lifted, skeleton, given, seed)
        yield from world.said
        return world
    twice = len(np.unique(np.stack([kp.frame, kp.person]), axis=1).T) < len(kp.frame)
    images = twice or are_images(timeline(kp.frame, kp.fps).number, kp.fps)
    if given.root == "raw" or images or np.unique(kp.person, return_counts=True)[1].max() < _LEAST:
        return None
    yield "the root is smoothed over time, of a camera that does not move (--root raw: each frame for itself)"
    return to_world(lifted.get("pose", lifted["mean"]), lifted["root"], **_clip(data, skeleton, given, seed))


def _clip(data: Detections, skeleton: Skeleton, given: WorldAxes, seed: int) -> dict[str, Any]:
    kp, camera, gravity = data.source, data.calibrated, None if given.gravity is None else np.array(given.gravity)
    frames = {"frame": kp.frame, "person": kp.person, "fps": kp.fps, "skeleton": skeleton}
    path = None if camera is None or _first_of_path(data) is None else (camera.R_cam_world, camera.t_cam)
    return {**frames, "gravity": gravity, "camera_path": path, "seed": seed}


def placed(lifted: Drawn, world: World | None, given: WorldAxes) -> tuple[Drawn, dict[str, Any], dict[str, Any]]:
    """Lifted poses, further arrays and the summary of the world: in its axes, or in the camera's with the root's path.

    The arrays of a path are root_path [N, 3], as likely ones root_paths [H, N, 3], and the joints_path [N, J, 3] at it.
    """
    if world is None:
        return lifted, {}, {}
    if given.axes == "world":
        return in_world(lifted, world)
    R, t = world.R_world_camera, world.t_world_camera
    in_camera = {"root_path": world.root_world, "root_paths": world.root_paths, "joints_path": world.joints}
    arrays = {"root_radius_90": world.root_radius_90, **{name: (x - t) @ R for name, x in in_camera.items()}}
    return lifted, {name: value.astype(np.float32) for name, value in arrays.items()}, {}


def upward(data: Detections, given: WorldAxes) -> np.ndarray | None:
    """The world's upward direction [3] in camera axes, of --gravity, else of --up; None: not known.

    Of a camera that moves [N, 3]; --gravity is that of the first frame.
    """
    first, R = _first_of_path(data), None if data.calibrated is None else data.calibrated.R_cam_world
    if given.gravity is not None:
        up = -np.array(given.gravity, np.float32) / np.linalg.norm(given.gravity)
        return up if R is None or first is None else np.asarray(R @ (R[first].T @ up), np.float32)
    if R is None or given.axes == "camera" or (first is not None and given.up is None):
        return None
    return np.asarray(R, np.float32) @ vertical(check_up(given.up or "z", "--up"))


def find(data: Detections, lifted: Drawn, skeleton: Skeleton, given: WorldAxes, seed: int = 0) -> World:
    """The world of lifted poses: by --gravity and --floor, else the calibration's, else by the people.

    ValueError where the people contradict the axis that is taken to point up in the calibration or the camera's path.
    """
    people, camera, first = _clip(data, skeleton, given, seed), data.calibrated, _first_of_path(data)
    poses = (lifted["pose"], lifted["root"])
    without_axis = given.gravity is not None or (given.up is None if first is not None else given.floor is not None)
    if camera is None or camera.R_cam_world is None or without_axis:
        if given.up is not None:
            needed = "a calibration file with the camera's place, without --gravity and --floor, or for --camera-path"
            raise ValueError(f"--up: is for {needed} without --gravity")
        return to_world(*poses, camera_height=given.floor, **people)
    up = check_up(given.up or "z", "--up")
    R = turn(up, "y") @ np.reshape(camera.R_cam_world, (-1, 3, 3)).astype(float)[first or 0].T
    by_people = to_world(*poses, **people)
    vertical_of_people = np.reshape(by_people.R_world_camera, (-1, 3, 3))[first or 0, 1]
    away = np.arccos(np.clip(vertical_of_people @ R[1], -1, 1))
    if by_people.found and away > _AWAY:
        needed = "must be one of z (default of a calibration), y and -y"
        raise ValueError(f"--up {up}: the people's vertical lies {np.degrees(away):.0f} degrees from it; {needed}")
    if first is not None:
        return to_world(*poses, **people | {"gravity": -R[1], "camera_height": given.floor})
    return to_world(*poses, placed=(R, -R @ np.asarray(camera.t_cam, float)), **people)


def in_world(lifted: Drawn, world: World) -> tuple[Drawn, dict[str, Any], dict[str, Any]]:
    """Lifted poses in the world's axes, about the root as before; arrays and summary of the world.

    A `path`, which pictures show, is in the axes of a level camera; of a camera that moves in its own.
    """
    R, t = world.R_world_camera.astype(np.float32), world.t_world_camera.astype(np.float32)
    back = np.swapaxes(R, -1, -2)
    lifted = lifted | {name: lifted[name] @ back for name in ("samples", "mean", "pose")}
    lifted |= {name: np.einsum("...ij,...j->...i", R, lifted[name]) + t for name in ("root", "pose_root")}
    lifted |= {"covariance": R[..., None, :, :] @ lifted["covariance"] @ back[..., None, :, :]}
    if "path" in lifted and R.ndim == 2:
        lifted["path"] = to_camera(lifted["path"] @ world.R_world_camera.T, "y")
    arrays = {
        "joints_world": world.joints.astype(np.float32),
        "contact_joints": np.array([*CONTACTS]),
        **{name: getattr(world, name).astype(np.float32) for name in _FIELDS},
        **{"camera_height": world.camera_height, "up_std_deg": world.up_std, "up": "y", "unit": "m"},
    }
    summary = {
        **{"said": world.said, "vertical_std_deg": round(world.up_std, 2)},
        **{"vertical_found": world.found, "camera_height_m": round(world.camera_height, 3)},
        **{"root_radius_90_mm": round(1000 * float(world.root_radius_90.mean()), 1)},
        **{"frames_with_a_standing_foot": round(float((world.contacts[:, :2] > 0.5).any(-1).mean()), 3)},
    }
    return lifted, arrays, summary
