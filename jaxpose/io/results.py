"""Results of joints that a command wrote (.npz), read back with their hypotheses.

Written are quantities over time with their intervals, as files for other programs.

.csv   a row for each frame, person and quantity: frame, time_s, person, quantity, unit, median, the ends of the
       50 % and of the 90 % interval
.mot   OpenSim's motion file of one person: the medians, in degrees and metres. Quantities that are coordinates of
       its gait models (Rajagopal et al. 2016) have their names and signs: knee_angle_r, hip_flexion_r,
       hip_adduction_r, arm_flex_r, arm_add_r, elbow_flex_r
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxpose.files import atomic
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
    frame, person = np.asarray(z.get("frame", np.arange(num))), np.asarray(z.get("person", 0))
    person = np.zeros(num, np.int64) if person.ndim != 1 else person
    fps, calibration = as_rate(path, "fps", z["fps"]) if "fps" in z else None, str(z.get("calibration", ""))
    poses = to_camera(samples + root, up), to_camera(mean + root, up)
    return Result(*poses, std, frame, person, up, fps, calibration)


_COORDINATES = {
    "knee_flexion": ("knee_angle", 1),
    "hip_flexion": ("hip_flexion", 1),
    "hip_abduction": ("hip_adduction", -1),
    "shoulder_flexion": ("arm_flex", 1),
    "shoulder_abduction": ("arm_add", -1),
    "elbow_flexion": ("elbow_flex", 1),
}


class Bands(NamedTuple):
    """Q quantities of N rows: names and units; frame and person [N]; seconds [N] or None; values [Q, 5, N]: the median,
    the ends of the 50 % and of the 90 % interval, NaN where there is none."""

    names: Sequence[str]
    units: Sequence[str]
    frame: np.ndarray
    person: np.ndarray
    seconds: np.ndarray | None
    values: np.ndarray


def write_bands(path: Path, bands: Bands) -> Path:
    """Write the .csv."""
    lines = ["frame,time_s,person,quantity,unit,median,low_50,high_50,low_90,high_90"]
    for row, (frame, person) in enumerate(zip(bands.frame, bands.person, strict=True)):
        time = "" if bands.seconds is None else f"{bands.seconds[row]:.6f}"
        for name, unit, values in zip(bands.names, bands.units, bands.values[..., row], strict=True):
            cells = ",".join(f"{x:.5g}" if np.isfinite(x) else "" for x in values)
            quoted = f'"{name}"' if "," in name else name
            lines.append(f"{frame},{time},{person},{quoted},{unit},{cells}")
    with atomic(path) as file:
        file.write(("\n".join(lines) + "\n").encode())
    return path


def write_mot(path: Path, bands: Bands) -> Path:
    """Write the .mot of one person's medians at their times."""
    assert bands.seconds is not None, "a motion has times"
    columns, values = [], []
    for name, median in zip(bands.names, bands.values[:, 0], strict=True):
        side, _, quantity = name.partition("_")
        other, sign = _COORDINATES.get(quantity, ("", 1)) if side in ("left", "right") else ("", 1)
        columns.append(f"{other}_{side[0]}" if other else "".join(c if c.isalnum() else "_" for c in name))
        values.append(sign * median)
    table = np.column_stack([bands.seconds, *values])
    head = [path.stem, "version=1", f"nRows={len(table)}", f"nColumns={table.shape[1]}", "inDegrees=yes", "endheader"]
    lines = [*head, "\t".join(["time", *columns]), *("\t".join(f"{x:.6f}" for x in row) for row in table)]
    with atomic(path) as file:
        file.write(("\n".join(lines) + "\n").encode())
    return path
