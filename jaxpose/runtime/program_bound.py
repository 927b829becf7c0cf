"""Compiled programs are dropped before the process is out of memory maps.

Linux allows a process some 65,530 memory maps, and XLA's CPU client takes three for each kernel: some 600 for one
program of `lift`, 3 for a single operation. A process that passes the limit ends with a segmentation fault, in the
compiler or while it reads a program from the persistent cache. So all programs are dropped when the maps pass half of
what is left to them. A dropped program is compiled again when it is called again; no number changes.

`jaxpose.base` imports this module, so every process that computes with this package is bounded.
"""

import ctypes
import gc
import os
from pathlib import Path
from typing import Any

import jax

_COMPILED = "/jax/core/compile/backend_compile_duration"  # of programs that the persistent cache gives, too
_MAPS, _MOST_MAPS = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")
_USUAL_MOST = 65_530  # Linux' own; where more are allowed, programs of 32,765 maps are kept all the same
# Counting takes 0.7 us a map (measured, Linux 6.18), so it takes at most 4 % of the time of compiling.
_COMPILING_PER_MAP = 20e-6


def num_maps() -> int | None:
    """Memory maps of this process; None where the system does not tell."""
    try:
        return _MAPS.read_bytes().count(b"\n")
    except OSError:
        return None


def drop_programs() -> None:
    """Drop every compiled program of the process, the caller's own too; each is compiled again at its next call."""
    jax.clear_caches()  # one function's `clear_cache` leaves what single operations and other functions hold
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:  # glibc keeps what was freed until it is told: 20 to 30 MB a program of `lift`
        trim(0)


class ProgramBound:
    """Drops all compiled programs when the process' maps pass half of what the rest of it leaves of `most_maps`.

    most_maps: None: the system's limit. most_programs: the bound where maps are not told.

    `listen` is a listener of `jax.monitoring`: maps are counted where a program has been compiled, so that calls of
    known shapes cost nothing, and all compilation is seen: the caller's own programs and single operations (3 maps
    each) count too. Programs that run, and those that other threads compile, are not harmed: their
    callers hold them.
    """

    def __init__(self, most_maps: int | None = None, most_programs: int = 1000):
        self._limit, self._most_programs = most_maps or _limit(), most_programs
        self._begin()

    def _begin(self) -> None:
        self._maps, self._seconds, self._programs = num_maps(), 0.0, 0
        left = self._maps or 0
        self.most = left + max(0, min(self._limit - left, _USUAL_MOST)) // 2

    def listen(self, event: str, duration_secs: float, **_: Any) -> None:
        """Called where XLA has compiled, or read, one program in `duration_secs`."""
        if event != _COMPILED:
            return
        self._programs, self._seconds = self._programs + 1, self._seconds + duration_secs
        if self._maps is None:
            passed = self._programs > self._most_programs
        elif self._seconds > _COMPILING_PER_MAP * self._maps:
            self._maps, self._seconds = num_maps() or self._maps, 0.0  # none are told where no file can be opened
            passed = self._maps > self.most
        else:
            passed = False
        if passed:
            drop_programs()
            self._begin()


def _limit() -> int:
    try:
        return int(_MOST_MAPS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return _USUAL_MOST


BOUND = ProgramBound()
jax.monitoring.register_event_duration_secs_listener(BOUND.listen)
