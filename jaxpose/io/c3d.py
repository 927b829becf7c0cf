"""Reader and writer of C3D files; the writer is ezc3d (`pip install "jaxpose[c3d]"`), which crashes on damaged files.

Points are in millimetres with z up, by POINT:X_SCREEN and POINT:Y_SCREEN (the axes that point right and up on a
screen). A point's residual is the radius that holds it in 90 % of cases, in the same unit; where it is not known it is
0, and -1 where a point is missing. The format has seven bits for a residual, in steps of |POINT:SCALE|: the step is
chosen such that the largest fits.

Source: The C3D File Format, Motion Lab Systems (2021); ezc3d: Michaud, Begon (2021).
"""

import math
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxpose.files import FilePath, atomic
from jaxpose.io.markers import Markers, check_markers
from jaxpose.reading import opened, package, reader

_MOST_RESIDUAL = 127  # steps: the eighth bit marks a missing point
_MOST_FRAMES = 65535
_SCALE_AT = 12  # bytes before the header's copy of POINT:SCALE, which ezc3d does not set
_BLOCK, _MAGIC = 512, 0x50  # bytes of a block, of which the file is made; second byte of the header
_FARTHEST = 1e9  # in any unit
_UP = {"+Z": "z", "Z": "z", "+Y": "y", "Y": "y", "-Y": "-y"}


class _Form(NamedTuple):
    """Storage of numbers: order of bytes, and whether in the floating-point format of DEC's VAX."""

    order: str
    is_vax: bool


_PROCESSORS = {84: _Form("<", False), 85: _Form("<", True), 86: _Form(">", False)}  # Intel, DEC, SGI and MIPS


def write_c3d(
    path: FilePath, names: Sequence[str], xyz: np.ndarray, fps: float, radius: np.ndarray | None = None, first: int = 0
) -> None:
    """Write points [F, K, 3] metres, z up, NaN where missing, with radius [F, K] metres or None, as C3D.

    first: the number of the first frame; files count from 1. ValueError for what does not fit, and without ezc3d.
    """
    ezc3d = package("ezc3d", "C3D files need ezc3d", "c3d")
    xyz = np.asarray(xyz, np.float64)
    check_markers(names, xyz, fps)
    if first + len(xyz) > _MOST_FRAMES:
        raise ValueError(f"{path}: frames up to {first + len(xyz)}; a C3D file counts to {_MOST_FRAMES} at most")
    known = np.isfinite(xyz).all(-1)
    residual = np.zeros(known.shape) if radius is None else np.nan_to_num(1000 * np.asarray(radius, np.float64))
    step = max(residual[known].max(initial=0), 1e-3) / _MOST_RESIDUAL
    step = float(np.float32(step if radius is not None else 1.0))
    residual = (np.round(residual / step) + 1e-3) * step  # ezc3d rounds down
    points = np.ones((4, len(names), len(xyz)))
    points[:3] = np.where(known[..., None], 1000 * xyz, np.nan).transpose(2, 1, 0)
    file = ezc3d.c3d()
    for key, value in (("RATE", [float(fps)]), ("LABELS", list(names)), ("UNITS", ["mm"]), ("SCALE", [-step])):
        file["parameters"]["POINT"][key]["value"] = value
    file.add_parameter("POINT", "X_SCREEN", ["+X"])
    file.add_parameter("POINT", "Y_SCREEN", ["+Z"])
    file["data"]["points"] = points
    file["data"]["meta_points"]["residuals"] = np.where(known, residual, -1).T[None]
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
    """The points in a C3D file, in its unit; ValueError names a file of another kind, damaged or cut off."""
    with opened(path, "C3D file") as file:
        data = file.read()
    if len(data) < 2 * _BLOCK or data[1] != _MAGIC or not data[0]:
        raise ValueError("it has no header of C3D")
    processor = data[_BLOCK * (data[0] - 1) + 3]
    if processor not in _PROCESSORS:
        raise ValueError(f"processor type {processor}; must be one of {', '.join(map(str, _PROCESSORS))}")
    form = _PROCESSORS[processor]
    parameters = _parameters(data, form)
    num, in_frame, first, last = struct.unpack_from(f"{form.order}HHHH", data, 2)
    if "TRIAL:ACTUAL_START_FIELD" in parameters and "TRIAL:ACTUAL_END_FIELD" in parameters:  # of files of more frames
        halves = (parameters[f"TRIAL:ACTUAL_{end}_FIELD"].astype(int) & 0xFFFF for end in ("START", "END"))
        first, last = (int(low + (high << 16)) for low, high in (half.flat[:2] for half in halves))
    scale, fps = (float(parameters[f"POINT:{key}"].flat[0]) for key in ("SCALE", "RATE"))
    start = _BLOCK * (int(parameters["POINT:DATA_START"].flat[0]) - 1)
    names = [name for key in ("", *range(2, 10)) for name in parameters.get(f"POINT:LABELS{key}", [])]
    unit, axis = (next(iter(parameters.get(f"POINT:{key}", [])), "") for key in ("UNITS", "Y_SCREEN"))
    frames = last - first + 1
    if not (0 < fps < np.inf and 0 < abs(scale) < np.inf and num and frames > 0 and len(names) >= num):
        raise ValueError(f"{num} points of {len(names)} names in {frames} frames at {fps:g}/s; needed some of each")
    values = _numbers(data, start, frames * (4 * num + in_frame), 4 if scale < 0 else 2, form)
    points = values.reshape(frames, -1)[:, : 4 * num].reshape(frames, num, 4).astype(np.float64)
    points = np.where(abs(points) < _FARTHEST, points, -1)
    word = points[..., 3].astype(np.int64)
    missing = word < 0
    xyz = np.where(missing[..., None], np.nan, points[..., :3] * (1 if scale < 0 else scale))
    radius = np.where(missing, np.nan, (word & 255) * abs(scale))
    unit = unit.strip().lower() or "mm"
    return Markers(tuple(names[:num]), xyz, fps, unit, _UP.get(axis.strip().upper()), max(0, first - 1), radius)


def _parameters(data: bytes, form: _Form) -> dict[str, Any]:
    """Values by GROUP:NAME: lists of text, or arrays.

    A chain of groups (negative numbers) and parameters of groups: length of the name, number, name, bytes to the next
    entry; then of a parameter its type (-1 text, 1, 2 integers, 4 floating-point), its dimensions and its values.
    """
    at = _BLOCK * (data[0] - 1) + 4
    groups: dict[int, str] = {}
    parameters: list[tuple[int, str, Any]] = []
    while length := abs(struct.unpack_from("<b", data, at)[0]):
        (number,) = struct.unpack_from("<b", data, at + 1)
        link = at + 2 + length
        name = data[at + 2 : link].decode("latin1").strip().upper()
        (step,) = struct.unpack_from(f"{form.order}H", data, link)
        if number < 0:
            groups[-number] = name
        else:
            kind, num_axes = struct.unpack_from("<bB", data, link + 2)
            axes = tuple(data[link + 4 : link + 4 + num_axes])
            parameters.append((number, name, _values(data, link + 4 + num_axes, kind, axes, form)))
        if not step:
            break
        at = link + step
    return {f"{groups.get(number, number)}:{name}": value for number, name, value in parameters}


def _values(data: bytes, at: int, kind: int, axes: tuple[int, ...], form: _Form) -> Any:
    if kind not in (-1, 1, 2, 4):
        raise ValueError(f"a parameter of type {kind}; must be one of -1, 1, 2, 4")
    values = _numbers(data, at, math.prod(axes), abs(kind), form)
    if kind != -1:
        return values
    width = axes[0] if axes else 1
    text = values.astype(np.uint8).tobytes().decode("latin1")
    return [text[i : i + width].strip() for i in range(0, len(text), max(width, 1))]


def _numbers(data: bytes, at: int, count: int, size: int, form: _Form) -> np.ndarray:
    """Numbers of 1, 2 (integers) or 4 bytes (floating-point); ValueError where the file is too short."""
    if at < 0 or at + count * size > len(data):
        raise ValueError(f"{len(data)} bytes, cut off: needed {at + count * size}")
    if size == 4 and form.is_vax:  # halves exchanged, exponents larger by 2
        halves = np.frombuffer(data, "<u2", 2 * count, at).reshape(-1, 2)[:, ::-1]
        return np.ascontiguousarray(halves).view("<f4").ravel() / 4
    return np.frombuffer(data, f"{form.order}{'u1' if size == 1 else 'i2' if size == 2 else 'f4'}", count, at)
