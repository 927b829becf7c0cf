"""Results of joints that a command wrote (.npz), read back with their hypotheses."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxpose.geometry.axes import check_up, covariance_to_camera, to_camera
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io.arrays import as_finite, as_rate, load_arrays
from jaxpose.reading import reader


class Result(NamedTuple):
    """Rows of a result: samples [H, N, J, 3], mean [N, J, 3] and std [N, J] in metres, camera axes, as they stand.

    frame, person: [N]. up: of the file's own axes. fps: frames per second, or None. calibration: the text of the
    calibration that its samples have, "" where they are as drawn.
    """

    samples: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    frame: np.ndarray
    person: np.ndarray
    up: str
    fps: float | None = None
    calibration: str = ""


@reader("result")
def read_result(path: Path, skeleton: Skeleton) -> Result:
    """The result in a file that lift, fuse, complete or denoise wrote; ValueError names what is missing."""
    if path.suffix != ".npz":
        raise ValueError(f"{path}: needed the .npz of a result")
    z = load_arrays(path)
    needed = ("samples", "mean", "covariance", "joints")
    if lacks := [key for key in needed if key not in z]:
        raise ValueError(f"{path}: no result of joints: lacks {', '.join(lacks)}; `jaxpose lift` writes one")
    names = tuple(z["joints"].astype(str).ravel().tolist())
    if names != tuple(skeleton.joints):
        raise ValueError(f"{path}: joints {', '.join(names[:4])}, ...; the model has those of {skeleton.name}")
    samples, mean, covariance = (as_finite(path, key, z[key]).astype(np.float32) for key in needed[:3])
    num = len(mean)
    if samples.shape[1:] != (num, len(names), 3) or covariance.shape != (num, len(names), 3, 3) or not num:
        raise ValueError(f"{path}: samples of shape {list(samples.shape)} beside mean of {list(mean.shape)}")
    up = check_up(str(z["up"]) if "up" in z else "-y", f"{path}: up")
    root = np.asarray(z["root"], np.float32).mean(0)[:, None] if "root" in z else np.zeros(3, np.float32)
    std = np.sqrt(np.trace(covariance_to_camera(covariance, up), axis1=-2, axis2=-1) / 3)
    frame, person = (np.asarray(z[key]) if key in z else None for key in ("frame", "person"))
    frame = np.arange(num) if frame is None else frame
    person = np.zeros(num, np.int64) if person is None or person.ndim != 1 else person
    fps, calibration = as_rate(path, "fps", z["fps"]) if "fps" in z else None, str(z.get("calibration", ""))
    poses = to_camera(samples + root, up), to_camera(mean + root, up)
    return Result(*poses, std, frame, person, up, fps, calibration)
