"""Reader and writer of C3D files, by ezc3d (`pip install "jaxpose[c3d]"`).

Points are in millimetres with z up, which POINT:X_SCREEN and POINT:Y_SCREEN say (the axes that point right and up on a
screen). A point's residual is the radius that holds it in 90 % of cases, in the same unit; where it is not known it is
0, and -1 where a point is missing. The format has seven bits for a residual, in steps of |POINT:SCALE|: the step is
chosen such that the largest fits.

Source: The C3D File Format, Motion Lab Systems (2021); ezc3d: Michaud, Begon (2021).
"""

import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxpose.files import FilePath, atomic, check_file, reader
from jaxpose.io.markers import Markers, check_markers

_MOST_RESIDUAL = 127  # steps: the eighth bit says that the point is missing
_MOST_FRAMES = 65535
_SCALE_AT = 12  # bytes before the header's copy of POINT:SCALE, which ezc3d does not set
_UP = {"+Z": "z", "Z": "z", "+Y": "y", "Y": "y", "-Y": "-y"}


def _ezc3d() -> Any:
    try:
        import ezc3d
    except ImportError:
        raise ValueError('C3D files need ezc3d: pip install "jaxpose[c3d]"') from None
    return ezc3d


def write_c3d(
    path: FilePath, names: Sequence[str], xyz: np.ndarray, fps: float, radius: np.ndarray | None = None, first: int = 0
) -> None:
    """Write points [F, K, 3] metres, z up, NaN where missing, with radius [F, K] metres or None, as C3D.

    first: the number of the first frame; files count from 1. ValueError for what does not fit, and without ezc3d.
    """
    ezc3d = _ezc3d()
    xyz = np.asarray(xyz, np.float64)
    check_markers(names, xyz, fps)
    if first + len(xyz) > _MOST_FRAMES:
        raise ValueError(f"{path}: frames up to {first + len(xyz)}; a C3D file counts to {_MOST_FRAMES} at most")
    seen = np.isfinite(xyz).all(-1)
    residual = np.zeros(seen.shape) if radius is None else np.nan_to_num(1000 * np.asarray(radius, np.float64))
    step = max(residual[seen].max(initial=0), 1e-3) / _MOST_RESIDUAL
    step = float(np.float32(step if radius is not None else 1.0))
    residual = (np.round(residual / step) + 1e-3) * step  # ezc3d rounds down
    points = np.ones((4, len(names), len(xyz)))
    points[:3] = np.where(seen[..., None], 1000 * xyz, np.nan).transpose(2, 1, 0)
    file = ezc3d.c3d()
    for key, value in (("RATE", [float(fps)]), ("LABELS", list(names)), ("UNITS", ["mm"]), ("SCALE", [-step])):
        file["parameters"]["POINT"][key]["value"] = value
    file.add_parameter("POINT", "X_SCREEN", ["+X"])
    file.add_parameter("POINT", "Y_SCREEN", ["+Z"])
    file["data"]["points"] = points
    file["data"]["meta_points"]["residuals"] = np.where(seen, residual, -1).T[None]
    file["header"]["points"]["first_frame"] = first  # ezc3d adds 1
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "file.c3d"
        file.write(str(made))
        content = bytearray(made.read_bytes())
    struct.pack_into("<f", content, _SCALE_AT, -step)
    with atomic(path) as out:
        out.write(bytes(content))


@reader("C3D file")
def read_c3d(path: FilePath) -> Markers:
    """The points in a C3D file, in its unit; ValueError names a file that cannot be read, and without ezc3d."""
    ezc3d = _ezc3d()
    check_file(path)
    file = ezc3d.c3d(str(path))
    point, first = file["parameters"]["POINT"], int(file["header"]["points"]["first_frame"])
    names, fps = tuple(point["LABELS"]["value"]), float(point["RATE"]["value"][0])
    unit = (point["UNITS"]["value"] or ["mm"])[0].strip().lower() or "mm"
    up = _UP.get((point["Y_SCREEN"]["value"] or [""])[0].strip().upper()) if "Y_SCREEN" in point else None
    xyz = np.moveaxis(file["data"]["points"][:3], 0, -1).swapaxes(0, 1).astype(np.float64)
    residual = file["data"]["meta_points"]["residuals"][0].T
    if not xyz.size or not fps > 0:
        raise ValueError(f"{path}: holds {xyz.shape[1]} points in {len(xyz)} frames at {fps:g}/s; needed some of each")
    missing = residual < 0
    xyz = np.where(missing[..., None], np.nan, xyz)
    return Markers(names[: xyz.shape[1]], xyz, fps, unit, up, first, np.where(missing, np.nan, residual))
