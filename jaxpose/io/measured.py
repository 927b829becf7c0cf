"""Quantities over time with their intervals, as files for other programs.

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

_COORDINATES = {
    "knee_flexion": ("knee_angle", 1),
    "hip_flexion": ("hip_flexion", 1),
    "hip_abduction": ("hip_adduction", -1),
}
_COORDINATES |= {
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
