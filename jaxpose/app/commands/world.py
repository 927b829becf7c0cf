"""`--axes world`: what was lifted from one camera that does not move, y up, with the floor at 0, in metres."""

from typing import Any

import numpy as np

from jaxpose.app.commands.blocks import Drawn
from jaxpose.app.commands.detections import Detections
from jaxpose.app.commands.values import WorldAxes, refuse
from jaxpose.geometry.axes import check_up, to_camera, turn, vertical
from jaxpose.geometry.root_path import CONTACTS
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.geometry.windows import timeline
from jaxpose.io.tracks import are_images
from jaxpose.tasks.world import World, to_world

FRAME_TAG = "world metres, y up, floor at 0; samples, mean and pose relative to the root joint"
_FIELDS = ("R_world_camera", "t_world_camera", "root_world", "root_radius_90", "root_paths", "contacts")
_LEAST = 5  # frames of a person, whose root is smoothed
_AWAY = np.radians(40.0)  # of the people's vertical from a calibration's: more is another axis


def check(given: WorldAxes) -> None:
    """ValueError naming a flag that means nothing to results in camera axes."""
    if given.axes == "camera":
        refuse(given, "is for --axes world", "floor", "up")
    else:
        refuse(given, "is for --axes camera; the world is made of smooth paths", "root")


def followed(data: Detections, lifted: Drawn, skeleton: Skeleton, given: WorldAxes, seed: int) -> World | None:
    """The world of --axes world, and of any motion, whose root is smoothed with it; None of images and --root raw."""
    kp = data.source
    if given.axes == "world":
        return find(data, lifted, skeleton, given, seed)
    twice = len(np.unique(np.stack([kp.frame, kp.person]), axis=1).T) < len(kp.frame)
    images = twice or are_images(timeline(kp.frame, kp.fps).number, kp.fps)
    if given.root == "raw" or images or np.unique(kp.person, return_counts=True)[1].max() < _LEAST:
        return None
    return to_world(lifted.get("pose", lifted["mean"]), lifted["root"], **_clip(data, skeleton, given, seed))


def _clip(data: Detections, skeleton: Skeleton, given: WorldAxes, seed: int) -> dict[str, Any]:
    kp, gravity = data.source, None if given.gravity is None else np.array(given.gravity)
    frames = {"frame": kp.frame, "person": kp.person, "fps": kp.fps, "skeleton": skeleton}
    return {**frames, "gravity": gravity, "seed": seed}


def lines(world: World | None, given: WorldAxes) -> tuple[str, ...]:
    """Lines about the world, or in camera axes about the path of the root alone."""
    if world is None or given.axes == "world":
        return () if world is None else world.said
    return ("the root is smoothed over time, of a camera that does not move (--root raw: each frame for itself)",)


def placed(lifted: Drawn, world: World | None, given: WorldAxes) -> tuple[Drawn, dict[str, Any], dict[str, Any]]:
    """Lifted poses, further arrays and the summary of the world: in its axes, or in the camera's with the root's path.

    The arrays of a path are root_path [N, 3], as likely ones root_paths [H, N, 3], and the joints_path [N, J, 3] at it.
    """
    if world is None or given.axes == "world":
        return (lifted, {}, {}) if world is None else in_world(lifted, world)
    R, t = world.R_world_camera, world.t_world_camera
    in_camera = {"root_path": world.root_world, "root_paths": world.root_paths, "joints_path": world.joints}
    arrays = {"root_radius_90": world.root_radius_90, **{name: (x - t) @ R for name, x in in_camera.items()}}
    return lifted, {name: value.astype(np.float32) for name, value in arrays.items()}, {}


def upward(data: Detections, given: WorldAxes) -> np.ndarray | None:
    """The world's upward direction [3] in camera axes, of --gravity, else of the calibration; None: not known."""
    if given.gravity is not None:
        return -np.array(given.gravity, np.float32) / np.linalg.norm(given.gravity)
    camera = data.calibrated
    if camera is None or camera.R_cam_world is None or given.axes == "camera":
        return None
    return np.asarray(camera.R_cam_world, np.float32) @ vertical(check_up(given.up or "z", "--up"))


def find(data: Detections, lifted: Drawn, skeleton: Skeleton, given: WorldAxes, seed: int = 0) -> World:
    """The world of lifted poses: by --gravity and --floor, else the calibration's, else by the people.

    ValueError where the people contradict the axis that is taken to point up in the calibration file.
    """
    people, camera = _clip(data, skeleton, given, seed), data.calibrated
    poses = (lifted["pose"], lifted["root"])
    placed = camera is not None and camera.R_cam_world is not None
    if camera is None or not placed or given.gravity is not None or given.floor is not None:
        if given.up is not None:
            raise ValueError("--up: is for a calibration file with the camera's place, without --gravity and --floor")
        return to_world(*poses, camera_height=given.floor, **people)
    up = check_up(given.up or "z", "--up")
    R = turn(up, "y") @ np.asarray(camera.R_cam_world, float).T
    t = -R @ np.asarray(camera.t_cam, float)
    by_people = to_world(*poses, **people)
    away = np.arccos(np.clip(by_people.R_world_camera[1] @ R[1], -1, 1))
    if by_people.found and away > _AWAY:
        needed = "must be one of z (default), y and -y"
        raise ValueError(
            f"--up {up}: the people's vertical lies {np.degrees(away):.0f} degrees from the calibration's; {needed}"
        )
    return to_world(*poses, placed=(R, t), **people)


def in_world(lifted: Drawn, world: World) -> tuple[Drawn, dict[str, Any], dict[str, Any]]:
    """Lifted poses in the world's axes, about the root as before; arrays and summary of the world.

    A `path`, which pictures show, is in the axes of a level camera.
    """
    R, t = world.R_world_camera.astype(np.float32), world.t_world_camera.astype(np.float32)
    lifted = lifted | {name: lifted[name] @ R.T for name in ("samples", "mean", "pose")}
    lifted |= {name: lifted[name] @ R.T + t for name in ("root", "pose_root")}
    lifted |= {"covariance": R @ lifted["covariance"] @ R.T}
    if "path" in lifted:
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
