"""JAX's persistent compilation cache in a private folder of the user, for commands and training runs.

A compiled program is code that this process runs. So the folder belongs to the user alone (mode 700), and one that
another user owns or can write to is refused. JAX writes and reads the entries. Its key covers the program, XLA's flags
and the version of jaxlib; the processor's features are in the folder's name, since machines may share a home folder.
"""

import contextlib
import hashlib
import os
import platform
import stat
import sys
from pathlib import Path
from typing import Any

MOST_BYTES = 2**30  # total size of all entries; the oldest are deleted at the start of a process


def use_compilation_cache() -> None:
    """Switch JAX's persistent cache on, except where the user has configured or disabled it.

    Prints one line to stderr where the folder cannot be used.
    """
    import jax

    config: Any = jax.config  # whose settings are made at import
    if config.jax_compilation_cache_dir or not config.jax_enable_compilation_cache:
        return
    try:
        root = private_folder()
        folder = root / _machine()
        folder.mkdir(mode=0o700, exist_ok=True)
        _make_room(root)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: the user has no home
        reason = " ".join(str(error).split())
        print(f"jaxpose: compiled programs are not kept: {reason}", file=sys.stderr)
        return
    config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    config.update("jax_compilation_cache_dir", str(folder))


def private_folder() -> Path:
    """$XDG_CACHE_HOME/jaxpose/xla (default ~/.cache/jaxpose/xla), created with mode 700 where it is missing.

    OSError where it cannot be created or written to; ValueError where it, or its parent, belongs to another user or is
    writable by others.
    """
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    root = configured if configured.is_absolute() else Path.home() / ".cache"  # XDG: a relative path is to be ignored
    root.mkdir(parents=True, exist_ok=True)
    for folder in (root / "jaxpose", root / "jaxpose" / "xla"):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise ValueError(f"{folder}: must be a folder, is something else")
        if hasattr(os, "getuid") and status.st_uid != os.getuid():
            raise ValueError(f"{folder}: must be a folder of this user, belongs to user {status.st_uid}")
        if os.name == "posix" and status.st_mode & 0o022:
            raise ValueError(f"{folder}: others may write to it (mode {status.st_mode & 0o777:o}); must be 700")
    if os.name == "posix" and status.st_mode & 0o077:  # created by an earlier version
        folder.chmod(0o700)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(f"{folder}: no permission to write")
    return folder


def _make_room(folder: Path) -> None:
    """Delete the oldest files below `folder` until at most MOST_BYTES remain."""
    files = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # another process has deleted it
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode):
                files.append((status.st_mtime_ns, status.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= MOST_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= size


def _machine() -> str:
    """Short digest of the processor's model and features: the first entry of /proc/cpuinfo, or its name."""
    names = (
        "vendor_id",
        "cpu family",
        "model",
        "model name",
        "flags",
        "Features",
        "CPU implementer",
        "CPU part",
        "isa",
    )
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
        about = [line for line in first.splitlines() if line.partition(":")[0].strip() in names]
    except OSError:
        about = [platform.processor()]
    return hashlib.sha256("\n".join([platform.machine(), *about]).encode()).hexdigest()[:16]
