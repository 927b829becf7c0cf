"""Files opened once and read safely: numpy files of plain numbers and text, text, JSON; errors of damaged files.

Objects in numpy files are pickles and are not loaded here; `untrusted/` has restricted readers for them.
"""

import functools
import json
import os
import pickle
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from jaxpose.files import FilePath

_KIND = "numpy file of plain numbers and text"


class Arrays(Mapping[str, np.ndarray]):
    """Arrays of a numpy file by name, each read on first access and kept.

    A `.npy` file has one, `array`, mapped into memory.
    """

    def __init__(self, path: FilePath):
        self.path, self._read = Path(path), dict[str, np.ndarray]()
        with reading(path, _KIND):
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        self._archive: Mapping[str, np.ndarray] = {"array": found} if isinstance(found, np.ndarray) else found
        self._names = tuple(self._archive)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._read:
            with reading(self.path, _KIND):
                self._read[name] = self._archive[name]
        return self._read[name]

    def having(self, *needed: str) -> Self:
        """These arrays, with those `needed` among them; ValueError otherwise."""
        missing = [name for name in needed if name not in self]
        if missing:
            found = ", ".join(self)
            raise ValueError(f"{self.path}: lacks {', '.join(missing)}; needed {', '.join(needed)}; it has {found}")
        return self

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def load_arrays(path: FilePath, *needed: str) -> Arrays:
    """The arrays of a `.npz` or `.npy` file, with those `needed` among them; ValueError names the file otherwise."""
    return Arrays(path).having(*needed)


@contextmanager
def reading(path: FilePath, kind: str) -> Iterator[None]:
    """Context in which the file `path`, a `kind`, is read: its errors become ValueErrors that name the file."""
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except RecursionError as error:
        raise ValueError(f"{path}: nested too deeply to be read") from error
    except (pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, EOFError, MemoryError, OSError) as error:
        raise ValueError(f"{path}: not a readable {kind} ({error or type(error).__name__})") from error
    # errors of calls with damaged content; SystemError and RuntimeError (encrypted zip) are the libraries'
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, SystemError, RuntimeError) as error:
        raise ValueError(f"{path}: a damaged {kind} ({error})") from error


class Source(os.PathLike[str]):
    """A file whose content is read on first access and kept; ValueError names one that cannot be read as such.

    `arrays` of a numpy file, `array` of a `.npy` file (mapped into memory), `text` in UTF-8 and `json`.
    """

    def __init__(self, path: FilePath):
        self.path = Path(path)
        self.suffix = self.path.suffix.lower()

    @classmethod
    def of_text(cls, name: str, text: str) -> Self:
        """Text that came from elsewhere, such as a line of a stream; name: what errors call it."""
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
        if not self.path.is_file():
            raise ValueError(f"{self}: no such file")
        try:
            text = self.path.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{self}: not readable as text ({error})") from None
        if not text.strip():
            raise ValueError(f"{self}: the file is empty")
        return text

    @functools.cached_property
    def json(self) -> Any:
        try:
            return json.loads(self.text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{self}: not JSON, or cut off: {error}") from None


def source_of(path: FilePath) -> Source:
    """The source itself, or that of a path."""
    return path if isinstance(path, Source) else Source(path)


def as_float(path: FilePath, what: str, value: np.ndarray) -> np.ndarray:
    """The array as float64; ValueError where it does not hold real numbers."""
    if value.dtype.kind not in "fiub":
        raise ValueError(f"{path}: {what} of type {value.dtype}; needed real numbers")
    return value.astype(np.float64)


def as_int(path: FilePath, what: str, value: np.ndarray) -> np.ndarray:
    """The array as int64; ValueError where it holds anything but whole numbers below 2^53."""
    number = as_float(path, what, value)
    if not np.isfinite(number).all() or (number % 1).any() or (abs(number) >= 2**53).any():
        raise ValueError(f"{path}: {what} {number.ravel()[:4].tolist()}...; needed whole numbers below 2^53")
    return number.astype(np.int64)
