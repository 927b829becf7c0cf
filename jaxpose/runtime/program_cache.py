"""Compiled programs kept in a folder of the user for the next command, and checked before XLA sees them.

JAX has such a cache (`jax_compilation_cache_dir`). It reads what it finds: an entry that is damaged is kept, and is
tried again each time; XLA can crash on one. So the entries are stored here, by the two functions that JAX asks of a
cache, `get` and `put`:

    entry = SHA-256 of (name, value), value      name = SHA-256 of (JAX's key, versions, processor)

What does not carry its own sum is deleted and written anew. JAX's key covers the program, XLA's flags, the version of
jaxlib and what XLA tells of the devices; the versions of jax and of this package and the processor's features are
added, since a home folder may be shared by machines.

A compiled program is code that this process runs. So the folder is the user's alone (mode 0700); one that another user
owns or can write to is not used. No failure of the cache stops a command.
"""

import contextlib
import hashlib
import os
import platform
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

MOST_BYTES = 2**30  # of all entries: some 2,000 programs; the ones that were used least recently are deleted
_SUM_BYTES = hashlib.sha256().digest_size
_LEAST_SECONDS = 0.2  # of compilation, below which a program is not kept: reading one takes some 50 ms
_in_use: "ProgramCache | None" = None


class ProgramCache:
    """Entries of `folder`, of `most_bytes` together, in the form that JAX takes for a cache. No method raises."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES, machine: str | None = None):
        self._path, self._most_bytes = folder, most_bytes  # `_path` is what JAX names in its log
        self._machine = _machine() if machine is None else machine
        self._unseen = False

    @contextlib.contextmanager
    def unseen(self) -> Iterator[None]:
        """Within it nothing is found and nothing is kept."""
        before, self._unseen = self._unseen, True
        try:
            yield
        finally:
            self._unseen = before

    def get(self, key: str) -> bytes | None:
        """The value of `key`; None, and the entry is deleted, where it is not what `put` has written."""
        if self._unseen:
            return None
        path = self._place(key)
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                return None
            entry = path.read_bytes()
            value = entry[_SUM_BYTES:]
            if entry[:_SUM_BYTES] == _sum(path.name, value):
                os.utime(path)  # by which the least recently used is known
                return value
            path.unlink()
        except OSError:
            pass
        return None

    def put(self, key: str, value: bytes) -> None:
        """Keep a value; not where it is too large or cannot be written, as on a full disk."""
        path = self._place(key)
        size = _SUM_BYTES + len(value)
        if self._unseen or size > self._most_bytes:
            return
        draft = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")  # the last renamed stays
        try:
            self._make_room(size)
            with open(draft, "wb") as file:
                file.write(_sum(path.name, value) + value)
            os.replace(draft, path)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink()

    def _place(self, key: str) -> Path:
        return self._path / hashlib.sha256(f"{self._machine}\n{key}".encode()).hexdigest()

    def _make_room(self, size: int) -> None:
        """Delete the files that were used least recently, whatever they are, until `size` bytes more can be kept."""
        found = []
        for entry in os.scandir(self._path):
            with contextlib.suppress(OSError):  # another process has deleted it
                about = entry.stat(follow_symlinks=False)
                found.append((about.st_mtime_ns, about.st_size, entry.path))
        total = size + sum(bytes_ for _, bytes_, _ in found)
        for _, bytes_, path in sorted(found):
            if total <= self._most_bytes:
                return
            with contextlib.suppress(OSError):
                os.unlink(path)
            total -= bytes_


def use_compilation_cache() -> None:
    """Keep compiled programs in the user's cache folder; not where JAX is told where, or told to keep none.

    One line of warning where the folder cannot be used.
    """
    import jax

    jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST_SECONDS)
    if jax.config.values["jax_compilation_cache_dir"] or not jax.config.values["jax_enable_compilation_cache"]:
        return
    try:
        folder = private_folder()
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: the user has no home
        print(f"jaxpose: compiled programs are not kept: {_one_line(error)}", file=sys.stderr)
        return
    global _in_use
    _in_use = ProgramCache(folder)
    _give_to_jax(_in_use)


def in_use() -> ProgramCache | None:
    """The cache of this process, if it has one: after `use_compilation_cache`."""
    return _in_use


def private_folder() -> Path:
    """$XDG_CACHE_HOME/jaxpose/xla, ~/.cache without it, made of mode 0700 where it is not there.

    OSError where it cannot be made or written to; ValueError where it, or the one above, is another user's or may be
    written to by others.
    """
    told = Path(os.environ.get("XDG_CACHE_HOME", ""))
    root = told if told.is_absolute() else Path.home() / ".cache"  # a relative one is to be ignored, says XDG
    root.mkdir(parents=True, exist_ok=True)
    for folder in (root / "jaxpose", root / "jaxpose" / "xla"):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        about = folder.lstat()
        if not stat.S_ISDIR(about.st_mode):
            raise ValueError(f"{folder}: needed a folder, found something else")
        if hasattr(os, "getuid") and about.st_uid != os.getuid():
            raise ValueError(f"{folder}: needed a folder of this user, found one of user {about.st_uid}")
        if os.name == "posix" and about.st_mode & 0o022:
            raise ValueError(f"{folder}: others may write to it (mode {about.st_mode & 0o777:o}); legal is 700")
    if os.name == "posix" and about.st_mode & 0o077:  # made by an earlier version
        folder.chmod(0o700)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(f"{folder}: no permission to write")
    return folder


def _give_to_jax(cache: ProgramCache) -> bool:
    """Whether JAX takes `cache` for its own. It has no public way, so another version of JAX may go without a cache."""
    try:
        from jax._src import compilation_cache
        from jax._src.compilation_cache_interface import CacheInterface
    except ImportError:
        return False
    asked = getattr(CacheInterface, "__abstractmethods__", None)
    if asked != {"get", "put"} or not all(hasattr(compilation_cache, name) for name in ("_cache", "_get_cache")):
        return False
    compilation_cache._cache = cache  # type: ignore[assignment]  # by its methods
    return True


def _machine() -> str:
    """What a compiled program depends on beside JAX's own key: versions, and the processor with its features."""
    from importlib.metadata import version

    versions = [f"{name} {version(name)}" for name in ("jax", "jaxlib", "jaxpose")]
    return "\n".join([*versions, platform.machine(), *_processor()])


def _processor() -> list[str]:
    """The lines on model and features of the first processor in /proc/cpuinfo; its name where that is not there."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return [platform.processor()]
    told = ("vendor_id", "cpu family", "model", "model name", "flags", "Features", "CPU implementer", "CPU part", "isa")
    return [line for line in first.splitlines() if line.partition(":")[0].strip() in told]


def _sum(name: str, value: bytes) -> bytes:
    return hashlib.sha256(name.encode() + value).digest()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
