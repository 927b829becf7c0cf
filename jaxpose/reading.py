"""Reading of untrusted files: every fault becomes a ValueError of one line that names the file."""

import functools
import importlib
import os
import pickle
import reprlib
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import UnionType
from typing import Any, BinaryIO, Concatenate, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from jaxpose.files import FilePath

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Path = TypeVar("_Path", bound=str | os.PathLike[str])
MOST_TEXT = 512 << 20  # bytes of a file of text; parsed it takes some ten times as many
_LARGEST, _LONGEST_NAME = 1e6, 200  # a setting in a file: its size, its characters
_LONGEST, _LONGEST_END = 400, 150  # characters of an error's message, and of its end where the middle is left out


@contextmanager
def reading(path: FilePath, kind: str) -> Iterator[None]:
    """Context in which the file `path`, a `kind`, is read: its errors become ValueErrors of one line that name it.

    Untrusted content may raise any error in the libraries that parse it. An ImportError is no fault of the file.
    """
    try:
        with np.errstate(all="ignore"):  # numbers that are too large are refused, or mark what is missing
            yield
    except ImportError:
        raise
    except Exception as error:
        text = one_line(error)
        if type(error) is not ValueError or str(path) not in text:
            text = f"{path}: {_fault(error, kind)}"
        elif text == str(error):
            raise
        raise ValueError(text) from error


def reader(kind: str) -> Callable[[Callable[Concatenate[_Path, _P], _T]], Callable[Concatenate[_Path, _P], _T]]:
    """Decorator of a function that reads the path which is its first argument, in the context `reading`."""

    def decorate(read: Callable[Concatenate[_Path, _P], _T]) -> Callable[Concatenate[_Path, _P], _T]:
        @functools.wraps(read)
        def guarded(path: _Path, *args: _P.args, **options: _P.kwargs) -> _T:
            with reading(path, kind):
                return read(path, *args, **options)

        return guarded

    return decorate


@contextmanager
def opened(path: FilePath, kind: str) -> Iterator[BinaryIO]:
    """The file `path`, a `kind`, open in the context `reading`; ValueError for a pipe or device."""
    with reading(path, kind):
        check_file(path)
        with open(path, "rb") as file:
            yield file


def check_file(path: FilePath, most_bytes: int | None = None) -> None:
    """ValueError unless `path` is a file, rather than a folder, pipe, socket or device, of `most_bytes` at most."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{path}: no such file") from None
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        raise ValueError(f"{path}: {kinds.get(stat.S_IFMT(status.st_mode), 'a device')}; needed a file")
    if most_bytes is not None and status.st_size > most_bytes:
        raise ValueError(f"{path}: {status.st_size:,} bytes; must be at most {most_bytes:,}")


def check_growth(path: FilePath, count: int, what: str) -> None:
    """ValueError where `count` numbers are far more than the file has bytes for: 64 MiB and 100 times its size."""
    most = (64 << 20) + 100 * os.stat(path).st_size
    if 8 * count > most:
        raise ValueError(f"{path}: {what} would take {8 * count:,} bytes of memory; must be at most {most:,}")


class MissingPackage(ValueError, ImportError):
    """A package of an extra that is not installed."""


def package(name: str, purpose: str, extra: str) -> Any:
    """The package `name`, which an extra installs; MissingPackage, opening with `purpose`, where it is not there."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackage(f'{purpose}: pip install "jaxpose[{extra}]"') from error


def one_line(error: object) -> str:
    """An error's message in one printable line of bounded length."""
    text = str(error)
    start, end = text[: _LONGEST - _LONGEST_END], text[-_LONGEST_END:]
    text = text if len(text) <= _LONGEST else f"{start} ... {end}"  # the end says what is needed
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def shown(value: Any, most: int = 80) -> str:
    """A value in an error message: the start of its text, which is not made in full."""
    brief = _Brief()
    brief.maxlevel, brief.maxstring, brief.maxother, brief.maxlong = 3, most, most, most
    try:
        return one_line(brief.repr(value))[:most]
    except Exception:  # integers of too many digits
        return f"<{type(value).__name__}>"


def check_fields(kind: type, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Values of a dataclass's fields as JSON has them; TypeError for a value of another type or an absurd size.

    TypeError also for a name that is no field.
    """
    hints = get_type_hints(kind)
    for name, value in values.items():
        if name not in hints:
            raise TypeError(f"{kind.__name__} has no field {shown(name)}")
        if not _fits(value, hints[name]):
            raise TypeError(f"{name} {shown(value)}; needed {hints[name]}")
    return values


def _fits(value: Any, kind: Any) -> bool:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(entry, parts[0]) for entry in value)
    if kind in (int, float):
        legal = int if kind is int else (int, float)
        return isinstance(value, legal) and not isinstance(value, bool) and abs(value) <= _LARGEST
    if kind is str:
        return isinstance(value, str) and len(value) <= _LONGEST_NAME and value.isprintable()
    return isinstance(value, kind)


class _Brief(reprlib.Repr):
    """A few entries of nested values, to a depth at which shared parts cost nothing."""

    repr_OrderedDict = reprlib.Repr.repr_dict


def _fault(error: Exception, kind: str) -> str:
    match error:
        case FileNotFoundError():
            return "no such file"
        case RecursionError():
            return f"not a readable {kind}: nested too deeply to be read"
        case ValueError() | OSError() | EOFError() | pickle.UnpicklingError() | zipfile.BadZipFile():
            return f"not a readable {kind} ({one_line(error)})"
        case _:
            return f"not a readable {kind} ({type(error).__name__}{': ' * bool(str(error))}{one_line(error)})"
