"""Atomic writing of files.

A draft has a name of its own, so that several processes can write the same file: the last one's stays, and is whole.
What goes wrong with a draft is a `WriteError`, which names the file. The drafts of this process are known, so that
one which must end at once can remove them (`commands/ending.py`).
"""

import errno
import io
import json
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeVar

import numpy as np

FilePath: TypeAlias = str | os.PathLike[str]
_Made = TypeVar("_Made")
ASSETS = Path(__file__).parent / "assets"  # released models, the demo clip, ANNY's body

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_drafts: set[Path] = set()
making = threading.RLock()  # held while a draft is made; who holds it for ever can remove them all


class WriteError(OSError):
    """A file that could not be written: no room, no permission, no such folder."""


@contextmanager
def draft_of(target: Path, make: Callable[[Path], _Made]) -> Iterator[tuple[Path, _Made]]:
    """A temporary path beside `target` and the result of `make` for it; the path is removed when the block ends.

    WriteError where it cannot be made, and where the disk is full.
    """
    draft = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with making:
            _drafts.add(draft)
            with _naming(target):
                made = make(draft)
        yield draft, made
    except Exception as error:
        full = _full_disk(error)
        if full is None or isinstance(error, WriteError):
            raise
        raise WriteError(f"{target}: not written: {full.strerror}") from error
    finally:
        _remove(draft)
        _drafts.discard(draft)


def take_place(draft: Path, target: Path) -> None:
    """Rename a draft to `target`; a file of that name is replaced."""
    with _naming(target):
        os.replace(draft, target)


@contextmanager
def _naming(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WriteError(f"{target}: not written: {error.strerror or error}") from error


def _full_disk(error: BaseException | None) -> OSError | None:
    """The error of a full disk among an error and its causes: zipfile raises its own while it closes."""
    while error is not None and not (isinstance(error, OSError) and error.errno in _FULL):
        error = error.__cause__ or error.__context__
    return error


def remove_drafts() -> None:
    """Remove the drafts of all threads, before the process ends."""
    for draft in list(_drafts):
        _remove(draft)


def _remove(draft: Path) -> None:
    if draft.is_dir():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        draft.unlink(missing_ok=True)


@contextmanager
def atomic(path: FilePath) -> Iterator[BinaryIO]:
    """A file open for writing under a temporary name, renamed to `path` when the block ends without an error.

    In storage with a scheme, such as gs:// (through etils), an object is written whole at the end of the block.
    ValueError where the folder is not there, WriteError where the file cannot be written.
    """
    if "://" in os.fspath(path):
        from etils import epath

        content = io.BytesIO()
        yield content
        epath.Path(path).write_bytes(content.getvalue())
        return
    target = Path(path)
    if not target.parent.is_dir():
        raise ValueError(f"path: {target.parent} is not a folder; must be a file in a folder that exists")
    with draft_of(target, lambda draft: open(draft, "wb")) as (draft, file):
        with file:
            yield file
        take_place(draft, target)


def write_npz(path: FilePath, arrays: dict[str, np.ndarray], *, compress: bool = False) -> None:
    """Write named arrays as .npz; nothing in them may need pickling."""
    with atomic(path) as file:
        (np.savez_compressed if compress else np.savez)(file, allow_pickle=False, **arrays)


def write_json(path: FilePath, value: Any) -> None:
    """Write `value` as indented JSON; folders above it are made. ValueError for a number that is not finite."""
    text = as_json(value, path)
    if "://" not in os.fspath(path):  # storage has no folders
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as file:
        file.write(text.encode())


def as_json(value: Any, path: FilePath) -> str:
    """The text of a file; ValueError for a number that is not finite, which JSON cannot hold."""
    try:
        return json.dumps(value, indent=2, allow_nan=False) + "\n"
    except ValueError as error:
        raise ValueError(f"{path}: not written: needed finite numbers ({error})") from error
