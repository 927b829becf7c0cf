"""Files opened once and read safely: numpy files of plain numbers and text, text, JSON; errors of damaged files.

Objects in numpy files are pickles and are not loaded here; `untrusted/` has restricted readers for them.
"""

import functools
import json
import math
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, Self, TypeAlias

import numpy as np

from jaxpose.files import FilePath
from jaxpose.reading import MOST_TEXT, check_file, check_growth, one_line, reading, shown

_KIND = "numpy file of plain numbers and text"
_PLAIN = "biufcSU"  # kinds of types of arrays
# A member may be so many times as long as it is in its archive, or so many bytes. Heatmaps, mostly 0, reach some 100
# times; zeros alone 1000.
_MOST_RATIO, _MOST_BYTES = 300, 8 << 20
_LONGEST_EMPTY = 1 << 20  # an axis of an array without elements
_LARGEST = 1e9  # millimetres or pixels
_SLOWEST, _FASTEST = 1e-3, 1e5  # frames per second
_WIDEST = 100_000  # pixels
_MOST_SKEWED = 1e-3  # of the entries of R R^T - 1, where R is a rotation with rounded numbers
UNITS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}
_SURROGATES, _LAST_CHARACTER = (0xD800, 0xDFFF), 0x10FFFF


Shape: TypeAlias = tuple[int | None, ...]


class Arrays(Mapping[str, np.ndarray]):
    """Arrays of a numpy file by name, each read on first access and kept.

    A `.npy` file has one, `array`, mapped into memory.
    """

    def __init__(self, path: FilePath):
        self.path, self._read = Path(path), dict[str, np.ndarray]()
        self._archive: zipfile.ZipFile | None = None
        with reading(path, _KIND):
            check_file(path)
            file = open(path, "rb")  # noqa: SIM115 # for as long as members may be asked for
            if file.peek(2)[:2] == b"PK":
                self._archive = open_archive(file)
            else:
                shape, is_fortran, dtype = _checked_header(file, os.fstat(file.fileno()).st_size, exact=False)
                order: Literal["F", "C"] = "F" if is_fortran else "C"
                mapped = np.memmap(file, dtype, "r", file.tell(), shape, order)
                self._read["array"] = checked_text(mapped)
                file.close()
        entries = [] if self._archive is None else self._archive.namelist()
        self._entries = {name.removesuffix(".npy"): name for name in entries} or dict.fromkeys(self._read, "")

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._entries:
            raise KeyError(name)
        if name not in self._read:
            assert self._archive is not None  # the array of a .npy file is there
            with reading(self.path, _KIND), open_member(self._archive, self._entries[name]) as member:
                _checked_header(member, self._archive.getinfo(self._entries[name]).file_size, exact=True)
                member.seek(0)
                self._read[name] = checked_text(np.lib.format.read_array(member, allow_pickle=False))
        return self._read[name]

    def having(self, *needed: str) -> Self:
        """These arrays, with those `needed` among them; ValueError otherwise."""
        missing = [name for name in needed if name not in self]
        if missing:
            names = one_line(", ".join(self))
            raise ValueError(f"{self.path}: lacks {', '.join(missing)}; needed {', '.join(needed)}; it has {names}")
        return self

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def load_arrays(path: FilePath, *needed: str) -> Arrays:
    """The arrays of a `.npz` or `.npy` file, with those `needed` among them; ValueError names the file otherwise."""
    return Arrays(path).having(*needed)


def open_archive(file: BinaryIO) -> zipfile.ZipFile:
    """The archive in a file; BadZipFile where its members overlap."""
    archive = zipfile.ZipFile(file)
    if sum(entry.compress_size for entry in archive.infolist()) > os.fstat(file.fileno()).st_size:
        raise zipfile.BadZipFile("its members overlap")
    return archive


def open_member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """A member of an archive, open for reading; BadZipFile where it would be far larger than its file."""
    member = archive.getinfo(name)
    if member.file_size > max(_MOST_RATIO * member.compress_size, _MOST_BYTES):
        actual = f"{member.compress_size:,} bytes that become {member.file_size:,}"
        raise zipfile.BadZipFile(f"{name} has {actual}; must be at most {_MOST_RATIO} times as many")
    return archive.open(member)


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape of the array that a `.npy` file holds after its header, whether in Fortran's order, and its type."""
    version = np.lib.format.read_magic(file)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in headers:
        raise ValueError(f"version {version} of the .npy format; must be one of {', '.join(map(str, headers))}")
    return headers[version](file)


def _checked_header(file: IO[bytes], size: int, *, exact: bool) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Result of `read_header`; ValueError unless it is of plain numbers or text and fits the file's `size` bytes."""
    shape, is_fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded: they are pickles")
    if dtype.kind not in _PLAIN:
        raise ValueError(f"an array of {str(dtype)[:40]}; must be numbers or text")
    declared, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if declared > there or (exact and declared != there) or min(shape, default=0) < 0:
        raise ValueError(f"{there} bytes for an array {dtype} {list(shape)}; needed {declared}")
    if not declared and max(shape, default=0) > _LONGEST_EMPTY:
        raise ValueError(f"an array {list(shape)} without elements")
    return shape, is_fortran, dtype


def checked_text(array: np.ndarray) -> np.ndarray:
    """The array itself; ValueError where its text has codes that are no characters."""
    if array.dtype.kind == "U" and array.nbytes:
        codes = np.ascontiguousarray(array).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        low, high = _SURROGATES
        if ((codes > _LAST_CHARACTER) | ((codes >= low) & (codes <= high))).any():
            raise ValueError("an array of text holds codes that are no characters")
    return array


class Source(os.PathLike[str]):
    """A file whose content is read on first access and kept; ValueError names one that cannot be read as such.

    `arrays` of a numpy file, `array` of a `.npy` file (mapped into memory), `text` in UTF-8 and `json`.
    """

    def __init__(self, path: FilePath):
        self.path = Path(path)
        self.suffix = self.path.suffix.lower()

    @classmethod
    def of_text(cls, name: str, text: str) -> Self:
        """Source of text that is in no file, such as a line of a stream; name: its name in errors."""
        source = cls(name)
        source.__dict__["text"] = text
        return source

    def __fspath__(self) -> str:
        return str(self.path)

    __str__ = __fspath__

    @functools.cached_property
    def arrays(self) -> Arrays:
        return Arrays(self.path)

    @property
    def array(self) -> np.ndarray:
        return np.asarray(self.arrays.having("array")["array"])

    @functools.cached_property
    def text(self) -> str:
        with reading(self, "file of text"):
            check_file(self, MOST_TEXT)
            text = self.path.read_text("utf-8-sig")
        if not text.strip():
            raise ValueError(f"{self}: the file is empty")
        return text

    @functools.cached_property
    def json(self) -> Any:
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError) as error:
            if str(self) in str(error):
                raise
            raise ValueError(f"{self}: not JSON, or cut off: {error}") from None


def source_of(path: FilePath) -> Source:
    """The source of a path; a source is returned as it is."""
    return path if isinstance(path, Source) else Source(path)


def mapped(path: FilePath, dtype: Any, shape: Shape) -> np.ndarray:
    """The array of a `.npy` file, mapped into memory; ValueError where it has another type or shape."""
    array = load_arrays(path, "array")["array"]
    if array.dtype != dtype or not has_shape(array, shape):
        raise ValueError(f"{path}: {array.dtype} {list(array.shape)}; needed {np.dtype(dtype)} {shape_text(shape)}")
    return array


def has_shape(array: np.ndarray, *shapes: Shape) -> bool:
    """Whether an array has one of the shapes, in which None is any length."""
    same_axes = (shape for shape in shapes if len(shape) == array.ndim)
    return any(all(n in (None, m) for m, n in zip(array.shape, shape, strict=True)) for shape in same_axes)


def shape_text(*shapes: Shape) -> str:
    """Shapes in an error message."""
    return " or ".join(f"[{', '.join('any' if n is None else str(n) for n in shape)}]" for shape in shapes)


def text_array(path: FilePath, texts: Sequence[str]) -> np.ndarray:
    """Array of texts, each of which takes as much memory as the longest; ValueError where that is far too much."""
    longest = max(map(len, texts), default=0)
    check_growth(path, len(texts) * longest // 2, f"{len(texts)} names, one of {longest} characters,")
    return np.array(texts, np.str_)


def number_or_nan(text: str) -> float:
    """The number that a text is; NaN for any other text."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def cell_number(place: str, cell: str) -> float:
    """The number in a cell of a table, NaN for an empty one; ValueError, opening with `place`, for any other text."""
    number = number_or_nan(cell)
    if math.isnan(number) and cell.lower() not in ("", "nan"):
        raise ValueError(f"{place}: {cell[:40]!r} is not a number")
    return number


# `place` opens an error, such as the file's name, and `what` names the array. Of `shapes` an array must have one; in
# these, None is any length. Without shapes any will do.
def as_float(place: FilePath, what: str, value: Any, *shapes: Shape) -> np.ndarray:
    """The array as float64; ValueError where it does not hold real numbers."""
    value = np.asarray(value)
    if value.dtype.kind not in "fiub":
        raise ValueError(f"{place}: {what} of type {value.dtype}; needed real numbers")
    if shapes and not has_shape(value, *shapes):
        raise ValueError(f"{place}: {what} is {list(value.shape)}; needed {shape_text(*shapes)}")
    return value.astype(np.float64)


def as_finite(place: FilePath, what: str, value: Any, *shapes: Shape) -> np.ndarray:
    """The array as float64; ValueError for NaN, infinity and numbers above any length in mm or pixels."""
    number = as_float(place, what, value, *shapes)
    if not (abs(number) <= _LARGEST).all():
        raise ValueError(f"{place}: {what} has {number[~(abs(number) <= _LARGEST)][0]:g}; needed finite numbers")
    return number


def as_int(place: FilePath, what: str, value: Any, *shapes: Shape) -> np.ndarray:
    """The array as int64; ValueError where it holds anything but whole numbers below 2^53."""
    number = as_float(place, what, value, *shapes)
    if not np.isfinite(number).all() or (number % 1).any() or (abs(number) >= 2**53).any():
        raise ValueError(f"{place}: {what} {number.ravel()[:4].tolist()}; needed whole numbers below 2^53")
    return number.astype(np.int64)


def as_rate(place: FilePath, what: str, value: Any) -> float:
    """Frames per second; ValueError for anything but one number that a camera or a file may have."""
    rate = as_float(place, what, value)
    if rate.size != 1 or not _SLOWEST <= rate.item() <= _FASTEST:
        raise ValueError(f"{place}: {what} {shown(rate.tolist())}; needed one positive number of frames per second")
    return float(rate.item())


def as_size(place: FilePath, what: str, value: Any) -> tuple[int, int]:
    """Width and height in pixels; ValueError for anything but two whole numbers that an image may have."""
    size = as_int(place, what, value)
    if size.shape != (2,) or (size < 1).any() or (size > _WIDEST).any():
        raise ValueError(f"{place}: {what} {shown(size.tolist())}; needed width, height in pixels, 1 to {_WIDEST}")
    return int(size[0]), int(size[1])


def as_rotation(place: FilePath, what: str, value: Any, *shapes: Shape) -> np.ndarray:
    """Rotation matrices [..., 3, 3] as float64; ValueError for anything else."""
    R = as_finite(place, what, value, *shapes)
    if abs(R @ np.swapaxes(R, -1, -2) - np.eye(3)).max(initial=0) > _MOST_SKEWED or (np.linalg.det(R) < 0).any():
        raise ValueError(f"{place}: {what} is no rotation matrix, got {shown(R.round(3).tolist())}")
    return R


def positions_of(names: Sequence[str], asked: Iterable[str], what: str) -> list[int]:
    """Positions in `names` of entries given by name or by number from 0; ValueError, opening with `what`, otherwise."""
    chosen: list[int] = []
    for part in asked:
        number = names.index(part) if part in names else int(part) if part.isdecimal() else -1
        if not 0 <= number < len(names) or number in chosen:
            allowed = f"0 to {len(names) - 1}, or {', '.join(names)}, once"
            raise ValueError(f"{what}: got {part!r}; must be one of {allowed}")
        chosen.append(number)
    return chosen
