"""2D keypoints of one person seen by several calibrated cameras, in one `.npz` file:

keypoints   [F, C, K, 2 or 3] pixels, the third number a confidence; not seen where it is 0 or a number is NaN
K, R, t     [C, 3, 3], [C, 3, 3] and [C, 3] metres: x_cam = R x_world + t, intrinsics K without skew
dist        [C, 4 or 5] distortion as OpenCV has it (optional, as all that follows)
camera      [C] names                joints [K] names                frame [F]                fps
up          the axis of the world that points up: "z" (default), "y" or "-y"

Or keypoints with the cameras of a calibration file (calibration.py). One file of keypoints is one camera's. Several
files, as `fuse` and `fit` take them, are matched to the cameras by name, where each stem holds the name of just one
camera, else by order; frames are matched by their numbers.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Camera
from jaxpose.files import FilePath
from jaxpose.geometry.axes import check_up
from jaxpose.geometry.body_joints import POINT_SETS, joint_set_of, point_set_of
from jaxpose.geometry.camera import normalise
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io.arrays import Source, as_finite, as_float, as_rotation, positions_of, source_of
from jaxpose.io.calibration import Calibration, read_calibration, resized, select, stacked
from jaxpose.io.keypoint_arrays import read_fps, read_intrinsics, read_per_row
from jaxpose.io.keypoints import Keypoints, read_keypoints
from jaxpose.reading import reader

_FARTHEST = 1e6  # pixels from the corner of an image


class MultiView(NamedTuple):
    """F frames of one person in C cameras, or rows of several people.

    xy: [F, C, K, 2] float32 pixels and confidence: [F, C, K] float32 in [0, 1], both 0 where not seen.
    camera: axes [C, ...], of the names `cameras` [C]; the file has `num_cameras`. points: name of the set of body
    points (geometry/body_joints.py) that the K are. frame: [F] int. up: axis of the world that points up. fps: or None.
    person: [F] int. seconds: [F] of a source whose frames have times, or None.
    """

    xy: np.ndarray
    confidence: np.ndarray
    camera: Camera
    cameras: tuple[str, ...]
    num_cameras: int
    points: str
    frame: np.ndarray
    up: str
    fps: float | None
    person: np.ndarray
    seconds: np.ndarray | None = None

    def taken(self, rows: np.ndarray) -> "MultiView":
        """The rows of a mask or index."""
        fields = {name: getattr(self, name)[rows] for name in ("xy", "confidence", "frame", "person")}
        return self._replace(**fields, seconds=None if self.seconds is None else self.seconds[rows])


def holds_multiview(source: Source) -> bool:
    """Whether a file has keypoints of several calibrated cameras."""
    if source.suffix != ".npz":
        return False
    return {"keypoints", "K", "R", "t"} <= set(source.arrays) and source.arrays["keypoints"].ndim == 4


@reader("file of keypoints of several cameras")
def read_multiview(
    path: FilePath,
    *,
    points: str | None = None,
    up: str | None = None,
    cameras: Sequence[str] | None = None,
    min_confidence: float = 0.0,
) -> MultiView:
    """The keypoints and cameras of a file of several calibrated cameras.

    points: the set of body points that the K are, where their number leaves it open. up: overrules the file's.
    cameras: names or numbers (from 0) of those to read; None: all. min_confidence: keypoints below it are not seen.
    ValueError names the file and key, or the argument (as a flag), what was found and what is needed.
    """
    source = source_of(path)
    z = source.arrays.having("keypoints", "K", "R", "t")
    keypoints = as_float(source, "keypoints", z["keypoints"], (None, None, None, 2), (None, None, None, 3))
    num, num_cameras = keypoints.shape[:2]
    names = z["camera"].astype(str).tolist() if "camera" in z else [str(c) for c in range(num_cameras)]
    if len(names) != num_cameras:
        raise ValueError(f"{source}: {len(names)} names of {num_cameras} cameras; needed as many")
    chosen = list(range(num_cameras)) if cameras is None else positions_of(names, cameras, "--cameras")
    frame = read_per_row(source, z, "frame", num)
    point_set = _point_set(source, z, keypoints.shape[2], points)
    confidence = keypoints[..., 2] if keypoints.shape[-1] == 3 else np.ones(keypoints.shape[:-1])
    visible = (abs(keypoints) <= _FARTHEST).all(-1) & (np.nan_to_num(confidence) >= min_confidence)
    xy = np.where(visible[..., None], keypoints[..., :2], 0)[:, chosen]
    confidence = np.where(visible, np.clip(confidence, 0, 1), 0)[:, chosen]
    return MultiView(
        xy=xy.astype(np.float32),
        confidence=confidence.astype(np.float32),
        camera=_calibration(source, z, num_cameras, chosen),
        cameras=tuple(names[c] for c in chosen),
        num_cameras=num_cameras,
        points=point_set,
        frame=np.arange(num) if frame is None else frame,
        up=check_up(up or str(z.get("up", "z")), f"{source}: up (--up)"),
        fps=read_fps(source, z),
        person=np.zeros(num, np.int64),
    )


def _calibration(source: Source, z: Mapping[str, np.ndarray], num: int, chosen: list[int]) -> Camera:
    R, t = as_rotation(source, "R", z["R"], (num, 3, 3)), as_finite(source, "t", z["t"], (num, 3))
    intrinsics = read_intrinsics(source, {"K": as_finite(source, "K", z["K"], (num, 3, 3))}, num)
    assert intrinsics is not None
    distortion = None
    if "dist" in z:
        dist = as_finite(source, "dist", z["dist"], (num, 4), (num, 5))
        distortion = jnp.asarray(np.pad(dist, ((0, 0), (0, 5 - dist.shape[1])))[chosen], jnp.float32)
    intrinsics, R, t = (x[chosen].astype(np.float32) for x in (intrinsics, R, t))
    return Camera(jnp.asarray(intrinsics), distortion, jnp.asarray(R), jnp.asarray(t))


def _point_set(source: Source, z: Mapping[str, np.ndarray], num: int, given: str | None) -> str:
    """The name of the set of body points that has the K keypoints, in its order."""
    names = tuple(z["joints"].astype(str).tolist()) if "joints" in z else None
    for name, joints in POINT_SETS.items():
        if given in (None, name) and len(joints) == num and names in (None, joints):
            return name
    raise ValueError(
        f"{source}: {num} keypoints{'' if names is None else ' ' + ', '.join(names[:3]) + ', ...'} are not, in this "
        f"order, {given or 'a set of body points'}; must be one of {', '.join(POINT_SETS)} (--points)"
    )


def one_camera(path: Path, unit: str | None, name: str | None, source: Path) -> tuple[Camera, str]:
    """The camera of a calibration file that saw the keypoints of `source`, and its name.

    name: --camera-name; None: the only one, or the one whose name is in the source's. ValueError where it is open.
    """
    known = read_calibration(path, unit=unit)
    asked = [name] if name is not None else _named(known, source) if len(known.names) > 1 else list(known.names)
    if len(asked) != 1:
        raise ValueError(
            f"{path} has the cameras {', '.join(known.names)}: say by --camera-name which saw {source.name}"
        )
    chosen = select(known, asked, "--camera-name")
    return chosen.cameras[0], chosen.names[0]


def straightened(kp: Keypoints, camera: Camera, what: str) -> Keypoints:
    """Keypoints as a camera without lens distortion would see them, with its intrinsics; what: opens an error."""
    camera = resized(camera, kp.image_size, what)
    intrinsics = np.asarray(camera.intrinsics, np.float32)
    xy = kp.xy
    if camera.distortion is not None and np.any(camera.distortion):
        plane = normalise(jnp.asarray(intrinsics), jnp.asarray(kp.xy), jnp.asarray(camera.distortion))
        xy = np.asarray(plane) * intrinsics[:2] + intrinsics[2:]
        xy = np.where(kp.confidence[..., None] > 0, xy, 0).astype(np.float32)
    size = kp.image_size or camera.size
    return kp._replace(xy=xy, intrinsics=np.broadcast_to(intrinsics, (len(xy), 4)), image_size=size)


def read_views(
    paths: Sequence[Path],
    calibration: Path,
    *,
    unit: str | None = None,
    cameras: Sequence[str] | None = None,
    up: str | None = None,
    skeleton: Skeleton | None = None,
    min_confidence: float = 0.0,
) -> tuple[MultiView, list[str]]:
    """One person in the files of several cameras, and lines of what was read.

    cameras: names or numbers of the calibration's cameras, in the order of the files; None: by name, else all in order.
    ValueError names the file: of two people in a frame, of another image size, of another joint set than the first.
    """
    known, chosen = cameras_of(paths, calibration, unit=unit, cameras=cameras)
    parts: list[MultiView] = []
    for path, name, camera in zip(paths, chosen.names, chosen.cameras, strict=True):
        part = _one_view(path, read_keypoints(path, skeleton=skeleton), camera, min_confidence)
        if parts and part.points != parts[0].points:
            raise ValueError(f"{path}: {part.points}, and {paths[0]} is of {parts[0].points}; needed one joint set")
        vertical = check_up(up or "z", "--up")
        parts.append(part._replace(cameras=(name,), num_cameras=len(known.names), up=vertical))
    whole = merged(parts)
    rates = {part.fps for part in parts if part.fps is not None}
    if len(rates) > 1:
        raise ValueError(f"the files have {', '.join(f'{r:g}' for r in sorted(rates))} frames/s; needed one rate")
    eyes = np.array([-np.asarray(c.R_cam_world).T @ np.asarray(c.t_cam) for c in chosen.cameras])
    apart = np.linalg.norm(eyes - eyes[0], axis=-1).max()
    pairs = ", ".join(f"{path.name}: {name}" for path, name in zip(paths, chosen.names, strict=True))
    return whole._replace(fps=next(iter(rates), None)), [
        f"{calibration} ({known.format}, {known.unit}): cameras up to {apart:.2f} m apart, world {whole.up} up",
        f"{len(whole.xy)} frames of {whole.points}; {pairs}",
    ]


def cameras_of(
    paths: Sequence[Path], calibration: Path, *, unit: str | None = None, cameras: Sequence[str] | None = None
) -> tuple[Calibration, Calibration]:
    """A calibration, and its cameras in the order of the files that they saw; ValueError as of `read_views`."""
    known = read_calibration(calibration, unit=unit)
    if any(camera.R_cam_world is None for camera in known.cameras):
        raise ValueError(f"{calibration}: tells no camera's place; needed rotation and translation for several cameras")
    chosen = select(known, cameras or _matched(known, paths))
    if len(chosen.names) != len(paths):
        has = f"{calibration} has the cameras {', '.join(known.names)}"
        raise ValueError(f"{len(paths)} files of keypoints for {len(chosen.names)} cameras: {has}; --cameras chooses")
    return known, chosen


def _one_view(path: Path, kp: Keypoints, camera: Camera, min_confidence: float) -> MultiView:
    """Keypoints as those of one person in one camera, in a set of body points."""
    frame, count = np.unique(kp.frame, return_counts=True)
    if (count > 1).any():
        where = f"frame {frame[np.argmax(count > 1)]} has {count.max()}"
        raise ValueError(f"{path}: {where} people; needed one person for several cameras")
    points = point_set_of(kp.skeleton)
    confidence = np.where(kp.confidence >= min_confidence, kp.confidence, 0)
    moved = convert_joints(jnp.asarray(kp.xy), jnp.asarray(confidence), kp.skeleton, joint_set_of(points))
    xy, confidence = (np.asarray(x)[:, None] for x in jax.device_get(moved))
    placed = stacked([resized(camera, kp.image_size, str(path))])
    return MultiView(xy, confidence, placed, ("",), 1, points, kp.frame, "z", kp.fps, 0 * kp.frame)


def merged(parts: Sequence[MultiView]) -> MultiView:
    """Files of a camera or more each as one, over all frames that any of them has; unseen where a file lacks one."""
    if len(parts) == 1:
        return parts[0]
    frames = np.unique(np.concatenate([p.frame for p in parts]))

    def spread_out(part: MultiView, value: np.ndarray) -> np.ndarray:
        out = np.zeros((len(frames), *value.shape[1:]), value.dtype)
        out[np.searchsorted(frames, part.frame)] = value
        return out

    xy, confidence = (
        np.concatenate([spread_out(p, getattr(p, name)) for p in parts], 1) for name in ("xy", "confidence")
    )
    cameras = [p.camera for p in parts]
    if any(c.distortion is not None for c in cameras):
        straight = [c._replace(distortion=jnp.zeros((len(c.intrinsics), 5))) for c in cameras]
        cameras = [s if c.distortion is None else c for c, s in zip(cameras, straight, strict=True)]
    joined = jax.tree.map(lambda *x: jnp.concatenate(x), *cameras)
    names = tuple(name for part in parts for name in part.cameras)
    return parts[0]._replace(
        xy=xy, confidence=confidence, camera=joined, cameras=names, frame=frames, person=0 * frames
    )


def _matched(known: Calibration, paths: Sequence[Path]) -> list[str]:
    """The camera of each file: by name where all have one of their own, else in the file's order."""
    by_name = [_named(known, path) for path in paths]
    names = [each[0] for each in by_name if len(each) == 1]
    return names if len(names) == len(paths) == len(set(names)) else list(known.names)


def _named(known: Calibration, path: Path) -> list[str]:
    """Cameras whose name is in the file's; the longest such name where one is within another."""
    inside = [name for name in known.names if name.lower() in path.stem.lower()]
    return [n for n in inside if not any(n != other and n.lower() in other.lower() for other in inside)]
