"""2D keypoints of one person seen by several calibrated cameras, in one `.npz` file:

keypoints   [F, C, K, 2 or 3] pixels, the third number a confidence; not seen where it is 0 or a number is NaN
K, R, t     [C, 3, 3], [C, 3, 3] and [C, 3] metres: x_cam = R x_world + t, intrinsics K without skew
dist        [C, 4 or 5] distortion as OpenCV has it (optional, as all that follows)
camera      [C] names                joints [K] names                frame [F]                fps
up          the axis of the world that points up: "z" (default), "y" or "-y"
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Camera
from jaxpose.files import FilePath
from jaxpose.geometry.axes import check_up
from jaxpose.geometry.body_joints import POINT_SETS
from jaxpose.io.arrays import Source, as_finite, as_float, as_rotation, positions_of, source_of
from jaxpose.io.keypoint_arrays import read_fps, read_intrinsics, read_per_row
from jaxpose.reading import reader

_FARTHEST = 1e6  # pixels from the corner of an image


class MultiView(NamedTuple):
    """F frames of one person in C cameras.

    xy: [F, C, K, 2] float32 pixels and confidence: [F, C, K] float32 in [0, 1], both 0 where not seen.
    camera: axes [C, ...], of the names `cameras` [C]; the file has `num_cameras`. points: name of the set of body
    points (geometry/body_joints.py) that the K are. frame: [F] int. up: axis of the world that points up. fps: or None.
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
