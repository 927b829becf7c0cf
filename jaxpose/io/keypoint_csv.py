"""2D keypoints in `.csv` files, comma separated, one detection per line.

Either a header and numbers,

    frame,person,image,nose_x,nose_y,nose_confidence,left_eye_x,...

where frame, person, image and all confidences may be left out and joints come in any order, or bare numbers:
x, y or x, y, confidence for every joint. An empty cell is a joint that was not detected.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io.arrays import as_int, read_text
from jaxpose.io.keypoint_arrays import ARRAY_LAYOUTS, Table, with_confidence

Lines = list[tuple[int, list[str]]]  # line number, cells


def read_csv(path: Path, skeleton: Skeleton | None = None) -> Table:
    """A `.csv` file; `skeleton` settles the meaning of bare numbers."""
    reader = csv.reader(io.StringIO(read_text(path)))
    lines = [(reader.line_num, [c.strip() for c in row]) for row in reader if any(c.strip() for c in row)]
    if not lines:
        raise ValueError(f"{path}: no lines; needed numbers, or a header and numbers")
    for number, row in lines:
        if len(row) != len(lines[0][1]):
            raise ValueError(f"{path}: line {number} has {len(row)} cells, the first has {len(lines[0][1])}")
    if all(map(_is_number, lines[0][1])):
        return _bare(path, _numbers(path, lines), skeleton)
    return _named(path, lines[0][1], lines[1:])


def _bare(path: Path, cells: np.ndarray, skeleton: Skeleton | None) -> Table:
    width = cells.shape[1]
    sizes = {len(skeleton.joints)} if skeleton else {layout.num_keypoints for layout in ARRAY_LAYOUTS}
    shapes = [(width // d, d) for d in (2, 3) if width % d == 0 and width // d in sizes]
    if len(shapes) != 1:
        found = " or ".join(f"{j} joints x {d}" for j, d in shapes) or "no whole number of joints of a known joint set"
        raise ValueError(
            f"{path}: rows of {width} numbers are {found}; legal are 2 or 3 for each of {sorted(sizes)} "
            "joints (name the skeleton, or add a header of joint names)"
        )
    values = with_confidence(path, cells.reshape(len(cells), *shapes[0]))
    return Table(values, ARRAY_LAYOUTS, ("",) * len(values))


def _named(path: Path, header: list[str], lines: Lines) -> Table:
    joints = tuple(name.removesuffix("_x") for name in header if name.endswith("_x"))
    axes = ("x", "y", "confidence") if any(name.endswith("_confidence") for name in header) else ("x", "y")
    wanted = [f"{joint}_{axis}" for joint in joints for axis in axes]
    if not joints or sorted(wanted) != sorted(set(header) - {"frame", "person", "image"}) or _repeats(header):
        raise ValueError(
            f"{path}: header {header[:6]}...; legal are frame, person, image and, for every joint, "
            "<joint>_x, <joint>_y and (for all or for none) <joint>_confidence, each once"
        )
    columns = {name: [(number, [row[i]]) for number, row in lines] for i, name in enumerate(header)}
    numbers = np.array([_numbers(path, columns[name]).ravel() for name in wanted]).T
    ids = {
        key: as_int(path, key, _numbers(path, columns[key]).ravel()) for key in ("frame", "person") if key in columns
    }
    return Table(
        with_confidence(path, numbers.reshape(-1, len(joints), len(axes))),
        ARRAY_LAYOUTS,
        image=tuple(row[0] for _, row in columns["image"]) if "image" in columns else ("",) * len(lines),
        joints=joints,
        frame=ids.get("frame"),
        person=ids.get("person"),
    )


def _repeats(names: list[str]) -> bool:
    return len(set(names)) != len(names)


def _is_number(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True


def _numbers(path: Path, lines: Lines) -> np.ndarray:
    for number, row in lines:
        for cell in row:
            if not _is_number(cell):
                raise ValueError(f"{path}: line {number}: {cell!r} is not a number")
    return np.array([[float(cell or "nan") for cell in row] for _, row in lines])
