"""Joints in `.csv` files, comma separated: 2D keypoints and 3D joints, one person in one frame per line.

Either a header and numbers,

    frame,person,image,nose_x,nose_y,nose_confidence,left_eye_x,...          2D; confidences for all joints or for none
    frame,person,hip_x,hip_y,hip_z,hip_confidence,...                        3D; <joint>_confidence or <joint>_visible

where frame, person, image and the confidences may be left out and joints come in any order, or in 2D bare numbers:
x, y or x, y, confidence for every joint. An empty cell is a joint that was not detected.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np

from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io.arrays import Source, as_int
from jaxpose.io.keypoint_arrays import ARRAY_LAYOUTS, Table, with_confidence

Lines = list[tuple[int, list[str]]]  # line number, cells


class Columns:
    """The columns of a file with a header: `joints` [J] names, and values by column."""

    def __init__(self, source: Source, axes: str, marks: tuple[str, ...], others: tuple[str, ...]):
        self.source = source
        (_, self.header), *self.lines = read_lines(source)
        self.joints = tuple(name.removesuffix("_x") for name in self.header if name.endswith("_x"))
        needed = {f"{joint}_{axis}" for joint in self.joints for axis in axes}
        legal = needed | {f"{joint}_{mark}" for joint in self.joints for mark in marks} | set(others)
        wrong = (needed - set(self.header)) | (set(self.header) - legal)
        if not self.joints or wrong or len(set(self.header)) < len(self.header):
            raise ValueError(
                f"{source}: header {self.header[:5]}..., wrong or missing {sorted(wrong)[:5]}; legal are "
                f"{', '.join(others)} and, for every joint, <joint>_{', _'.join(axes)} and _{' or _'.join(marks)}, once"
            )
        if not self.lines:
            raise ValueError(f"{source}: no lines of numbers after the header")

    def text(self, name: str) -> list[str]:
        """The cells [N] of a column."""
        index = self.header.index(name)
        return [row[index] for _, row in self.lines]

    def numbers(self, names: Sequence[str]) -> np.ndarray:
        """The values [N, K] of some columns, NaN for empty cells."""
        index = [self.header.index(name) for name in names]
        return _numbers(self.source, [(number, [row[i] for i in index]) for number, row in self.lines])

    def ids(self, name: str) -> np.ndarray | None:
        """The whole numbers [N] of a column, or None where there is no such column."""
        return as_int(self.source, name, self.numbers([name])[:, 0]) if name in self.header else None


def read_lines(source: Source) -> Lines:
    """The lines that are not blank, all of one width; ValueError where there are none."""
    reader = csv.reader(io.StringIO(source.text))
    lines = [(reader.line_num, [c.strip() for c in row]) for row in reader if any(c.strip() for c in row)]
    for number, row in lines:
        if len(row) != len(lines[0][1]):
            raise ValueError(f"{source}: line {number} has {len(row)} cells, the first has {len(lines[0][1])}")
    return lines


def read_keypoint_csv(source: Source, skeleton: Skeleton | None = None) -> Table:
    """2D keypoints; `skeleton` settles the meaning of bare numbers."""
    lines = read_lines(source)
    if all(map(_is_number, lines[0][1])):
        return _bare(source, _numbers(source, lines), skeleton)
    columns = Columns(source, "xy", ("confidence",), ("frame", "person", "image"))
    count = sum(name.endswith("_confidence") for name in columns.header)
    if count not in (0, len(columns.joints)):
        raise ValueError(f"{source}: {count} confidences of {len(columns.joints)} joints; legal are all or none")
    axes = ("x", "y", "confidence") if count else ("x", "y")
    values = columns.numbers([f"{joint}_{axis}" for joint in columns.joints for axis in axes])
    return Table(
        with_confidence(source, values.reshape(len(values), -1, len(axes))),
        ARRAY_LAYOUTS,
        image=tuple(columns.text("image")) if "image" in columns.header else ("",) * len(values),
        joints=columns.joints,
        frame=columns.ids("frame"),
        person=columns.ids("person"),
    )


def _bare(source: Source, cells: np.ndarray, skeleton: Skeleton | None) -> Table:
    width = cells.shape[1]
    sizes = {len(skeleton.joints)} if skeleton else {layout.num_keypoints for layout in ARRAY_LAYOUTS}
    shapes = [(width // d, d) for d in (2, 3) if width % d == 0 and width // d in sizes]
    if len(shapes) != 1:
        found = " or ".join(f"{j} joints x {d}" for j, d in shapes) or "no whole number of joints of a known joint set"
        raise ValueError(
            f"{source}: rows of {width} numbers are {found}; legal are 2 or 3 for each of {sorted(sizes)} "
            "joints (name the skeleton, or add a header of joint names)"
        )
    values = with_confidence(source, cells.reshape(len(cells), *shapes[0]))
    return Table(values, ARRAY_LAYOUTS, ("",) * len(values))


def _is_number(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True


def _numbers(source: Source, lines: Lines) -> np.ndarray:
    for number, row in lines:
        for cell in row:
            if not _is_number(cell):
                raise ValueError(f"{source}: line {number}: {cell!r} is not a number")
    return np.array([[float(cell or "nan") for cell in row] for _, row in lines])
