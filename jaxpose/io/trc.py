"""Reader and writer of TRC files (Track Row Column, of Motion Analysis; OpenSim's markers).

Lines of cells between tabs:

    PathFileType  4  (X/Y/Z)  name
    DataRate  CameraRate  NumFrames  NumMarkers  Units  OrigDataRate  OrigDataStartFrame  OrigNumFrames
    their values
    Frame#  Time  marker1  -  -  marker2 ...         a name for each three columns
    -  -  X1  Y1  Z1  X2 ...
    (an empty line)
    1  0.0  x  y  z ...                              empty cells where a marker is missing

Files without the empty line are read too, with NaN for missing markers, and with spaces around cells (Pose2Sim,
OpenCap). The axes are not in the format; OpenSim's have y up.

Source: OpenSim documentation, Marker (.trc) Files; files of Pose2Sim and OpenCap.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxpose.files import FilePath, atomic
from jaxpose.io.arrays import cell_number, number_or_nan
from jaxpose.io.markers import Markers, check_markers
from jaxpose.io.take import read_lines
from jaxpose.reading import check_growth, reader

_MOST_FRAMES = 1e9
_HEAD = (
    *("DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units", "OrigDataRate", "OrigDataStartFrame"),
    "OrigNumFrames",
)


def write_trc(path: FilePath, names: Sequence[str], xyz: np.ndarray, fps: float, first: float = 0) -> None:
    """Write points [F, K, 3] metres, y up, NaN where missing, as TRC in millimetres.

    first: the time of the first frame, in frames; its number is the nearest, and files count from 1.
    ValueError for shapes and names that do not fit.
    """
    xyz = np.asarray(xyz, np.float64)
    check_markers(names, xyz, fps)
    num, rate = len(xyz), f"{fps:.6g}"
    values = [rate, rate, num, len(names), "mm", rate, round(first) + 1, num]
    lines = [f"PathFileType\t4\t(X/Y/Z)\t{Path(path).name}", "\t".join(_HEAD), "\t".join(map(str, values))]
    lines.append("Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t")
    lines += ["\t\t" + "\t".join(f"{axis}{k}" for k in range(1, len(names) + 1) for axis in "XYZ"), ""]
    for f, row in enumerate(1000 * xyz):
        cells = ("\t".join(f"{v:.4f}" for v in point) if np.isfinite(point).all() else "\t\t" for point in row)
        lines.append(f"{round(first) + f + 1}\t{(first + f) / fps:.6f}\t" + "\t".join(cells))
    with atomic(path) as file:
        file.write(("\n".join(lines) + "\n").encode())


@reader("TRC file")
def read_trc(path: FilePath) -> Markers:
    """The markers in a TRC file, in its unit; ValueError names file and line of a fault."""
    lines = [[cell.strip() for cell in line.split("\t")] for line in read_lines(path)]
    if lines[0][0] != "PathFileType" or len(lines) < 6:
        raise ValueError(f"{path}, line 1: needed PathFileType and a header of five lines, got {lines[0][0][:40]!r}")
    head = dict(zip(lines[1], lines[2], strict=False))
    fps, count, unit = (head.get(key, "") for key in ("DataRate", "NumMarkers", "Units"))
    if not number_or_nan(fps) > 0 or not number_or_nan(count) >= 1:
        raise ValueError(f"{path}, line 3: needed DataRate and NumMarkers above 0, got {fps!r} and {count!r}")
    names = tuple(cell for cell in lines[3][2:] if cell)
    if lines[3][:1] != ["Frame#"] or len(names) != int(float(count)):
        raise ValueError(f"{path}, line 4: needed Frame#, Time and {count} names, got {len(names)} names")
    width = 2 + 3 * len(names)
    check_growth(path, width * len(lines), f"{len(lines)} lines of {width} cells")
    rows = []
    for n, cells in enumerate(lines[5:], 6):
        if not any(cells):
            continue
        if any(cells[width:]) or len(cells) < 2:
            raise ValueError(f"{path}, line {n}: needed at most {width} cells, got {len(cells)}")
        rows.append([cell_number(f"{path}, line {n}", cell) for cell in (*cells[:width], *[""] * (width - len(cells)))])
    if not rows:
        raise ValueError(f"{path}: no line of positions after the header")
    table = np.array(rows)
    if not (abs(table[:, 0]) < _MOST_FRAMES).all():
        raise ValueError(f"{path}: a line without a frame number; needed a whole number in each")
    xyz = table[:, 2:].reshape(len(rows), -1, 3)
    number = table[:, 0].astype(int)
    span = int(number.max() - number.min()) + 1
    check_growth(path, span * xyz[0].size, f"frames {number.min()} to {number.max()}")
    whole = np.full((span, *xyz.shape[1:]), np.nan)  # frames that are left out are missing
    whole[number - number.min()] = xyz
    return Markers(names, whole, float(fps), unit.lower(), None, max(0, int(number.min()) - 1))
