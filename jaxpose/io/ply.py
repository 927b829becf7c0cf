"""Reader of meshes in PLY files, ascii and binary little endian; all faces have the same number of corners.

A header names elements (vertex, face) with their number and properties, and their values follow in that order. Other
elements and properties are skipped. Source: G. Turk, The PLY Polygon File Format, 1994.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from jaxpose.io.arrays import reading

_TYPES = {
    **{"char": "<i1", "uchar": "<u1", "short": "<i2", "ushort": "<u2", "int": "<i4", "uint": "<u4"},
    **{"int8": "<i1", "uint8": "<u1", "int16": "<i2", "uint16": "<u2", "int32": "<i4", "uint32": "<u4"},
    **{"float": "<f4", "double": "<f8", "float32": "<f4", "float64": "<f8"},
}
_FORMATS = ("ascii", "binary_little_endian")


class _Element(NamedTuple):
    """properties: (name, type), and for a list (name, type, type of its length)."""

    name: str
    num: int
    properties: list[tuple[str, ...]]


def read_ply(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Vertices [V, 3] float64 in the file's unit, and faces [T, corners] int32, or None where there are none.

    ValueError, naming the file, for one that is missing, cut short or of another format.
    """
    with reading(path, ".ply file"):
        with open(path, "rb") as file:
            data = file.read()
        form, elements, start = _header(data)
        content = (_binary if form == _FORMATS[1] else _ascii)(data[start:], elements)
        if "vertex" not in content or not {"x", "y", "z"} <= set(content["vertex"]):
            raise ValueError("no element vertex with x, y and z")
        vertices = np.stack([content["vertex"][axis] for axis in "xyz"], axis=-1).astype(np.float64)
        faces = next((v for k, v in content.get("face", {}).items() if k.startswith("vertex_ind")), None)
        if faces is not None and faces.size and not 0 <= faces.min() <= faces.max() < len(vertices):
            raise ValueError(f"faces name vertex {faces.max()} of {len(vertices)}")
    return vertices, None if faces is None else faces.astype(np.int32)


def _header(data: bytes) -> tuple[str, list[_Element], int]:
    """Format, elements, and where their values start."""
    end = data.find(b"end_header")
    start = data.find(b"\n", end) + 1
    if not data.startswith(b"ply") or end < 0 or start == 0:
        raise ValueError("no PLY header")
    form, elements = "", []
    for line in data[:end].decode("latin1").splitlines():
        match line.split():
            case ["format", form, *_]:
                pass
            case ["element", name, count]:
                elements.append(_Element(name, int(count), []))
            case ["property", "list", length, kind, name]:
                elements[-1].properties.append((name, _TYPES[kind], _TYPES[length]))
            case ["property", kind, name]:
                elements[-1].properties.append((name, _TYPES[kind]))
    if form not in _FORMATS:
        raise ValueError(f"format {form!r}; legal are {', '.join(_FORMATS)}")
    return form, elements, start


def _binary(data: bytes, elements: list[_Element]) -> dict[str, dict[str, np.ndarray]]:
    content: dict[str, dict[str, np.ndarray]] = {}
    at = 0
    for element in elements:
        fields: list[tuple] = []
        for name, kind, *length in element.properties:
            if length:
                # All lists have the length of the first, which follows the fields before it.
                ahead = at + np.dtype(fields).itemsize
                corners = int(np.frombuffer(data, length[0], 1, ahead)[0]) if element.num else 0
                fields += [(f"length of {name}", length[0]), (name, kind, (corners,))]
            else:
                fields.append((name, kind))
        values = np.frombuffer(data, np.dtype(fields), element.num, at)
        at += values.nbytes
        for name in values.dtype.names or ():
            if name.startswith("length of ") and (values[name] != values[name][0]).any():
                raise ValueError(f"{element.name}: lists of several lengths; legal is one length")
        content[element.name] = {name: values[name] for name in values.dtype.names or ()}
    return content


def _ascii(data: bytes, elements: list[_Element]) -> dict[str, dict[str, np.ndarray]]:
    content: dict[str, dict[str, np.ndarray]] = {}
    at = 0
    lines = [line for line in data.decode("latin1").splitlines() if line.strip()]
    for element in elements:
        rows = [line.split() for line in lines[at : at + element.num]]
        if len(rows) < element.num or len({len(row) for row in rows}) > 1:
            raise ValueError(f"{element.name}: {len(rows)} rows of {element.num}, or of several lengths")
        at += element.num
        values, column = np.array(rows, float).reshape(element.num, -1), 0
        fields = content.setdefault(element.name, {})
        for name, _, *length in element.properties:
            width = int(values[0, column]) if length and element.num else 1
            column += 1 if length else 0
            fields[name] = values[:, column : column + width] if length else values[:, column]
            column += width
        if element.num and column != values.shape[1]:
            raise ValueError(f"{element.name}: {values.shape[1]} numbers in a row, needed {column}")
    return content
