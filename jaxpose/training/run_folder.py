"""The work folder of a run: one run at a time, and one configuration.

The lock is of the operating system (by filelock), so a process that has ended in any way holds none. Storage with a
scheme (gs://) has no locks; there two runs in one folder are not noticed.
"""

import contextlib
import os
import socket
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from jaxpose.training import processes

_ABSENT = "absent"
_held: set[Any] = set()  # folders that this process has locked


@contextlib.contextmanager
def locked(workdir: str | os.PathLike[str]) -> Iterator[None]:
    """The folder, made where absent, for this process alone; ValueError where another run has it."""
    folder = processes.folder(workdir)
    if not processes.is_first() or "://" in os.fspath(folder) or folder in _held:
        yield
        return
    lock, owner = FileLock(folder / "lock", blocking=False), Path(folder / "owner")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        name = owner.read_text(encoding="utf-8") if owner.is_file() else "its name is not known"
        raise ValueError(f"{folder}: another run is under way there ({name.strip()[:100]})") from None
    except OSError as error:
        raise ValueError(f"{folder}: needed a folder that can be written ({error.strerror})") from error
    try:
        owner.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
        _held.add(folder)
        yield
    finally:
        _held.discard(folder)
        lock.release()


def check_config(
    there: Mapping[str, Any], here: Mapping[str, Any], may_change: Collection[str], folder: str | os.PathLike[str]
) -> None:
    """ValueError that shows how the configuration of a run differs from that which it was begun with.

    may_change: names with points ("train.steps"), or of whole groups ("train"), that are not compared.
    """
    old, new = _flat(there), _flat(here)
    groups = tuple(f"{name}." for name in may_change)
    changed = [
        f"{name}: {old.get(name, _ABSENT)!r} there, {new.get(name, _ABSENT)!r} here"
        for name in sorted(old.keys() | new.keys())
        if old.get(name, _ABSENT) != new.get(name, _ABSENT) and name not in may_change and not name.startswith(groups)
    ]
    if changed:
        raise ValueError(
            f"{folder}: the run was begun with another configuration; {'; '.join(changed)}. Choose another --workdir, "
            "or name what may change by --allow_config_change"
        )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found
