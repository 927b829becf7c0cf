"""Bound on the memory maps of compiled programs, for processes that compile many shapes.

Linux allows a process some 65,530 memory maps, and XLA's CPU client takes three for each kernel: some 400 to 600 for a
program of `lift`, 3 for a single operation. A process that exceeds the limit ends with a segmentation fault; gigabytes
of programs are in its memory before. A process that calls `bound_programs` drops the programs of this package when a
quarter of the available maps are in use; a dropped program is compiled again at its next call. Programs of the caller's
own functions are left alone.
"""

import gc
import sys
from pathlib import Path
from typing import Any

_COMPILED = "/jax/core/compile/backend_compile_duration"  # also reported for programs read from the persistent cache
_MAPS, _MOST_MAPS = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")
_USUAL_MOST = 65_530  # Linux' default, and the bound where a system allows more
# Counting takes 0.7 us a map (measured, Linux 6.18), so it takes at most 4 % of the time of compiling.
_COMPILING_PER_MAP = 20e-6
_bounds: list["ProgramBound"] = []


def bound_programs() -> None:
    """Drop this package's compiled programs whenever the process nears the limit on memory maps.

    For processes that call functions with hundreds of sizes, such as a server. Results do not change.
    """
    import jax  # here, so that `jaxpose --help` need not load it

    if not _bounds and num_maps() is not None:
        _bounds.append(ProgramBound())
        jax.monitoring.register_event_duration_secs_listener(_bounds[0].listen)


def drop_programs() -> None:
    """Drop the compiled programs of this package's functions; each is compiled again at its next call."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "jaxpose":
            for value in list(vars(module).values()):
                if str(getattr(value, "__module__", "")).startswith("jaxpose.") and hasattr(value, "clear_cache"):
                    value.clear_cache()
    gc.collect()


def num_maps() -> int | None:
    """Number of memory maps of this process; None where the system does not report them."""
    try:
        return _MAPS.read_bytes().count(b"\n")
    except OSError:
        return None


class ProgramBound:
    """Listener of `jax.monitoring` that drops programs when a quarter of the maps left at its creation are in use.

    most_maps: limit on memory maps; None: the system's limit.
    Maps are counted only after compilations, so calls of known shapes cost nothing. Programs that run at the time are
    not harmed: their callers hold them.
    """

    def __init__(self, most_maps: int | None = None):
        self._limit = most_maps or _limit()
        self._begin()

    def _begin(self) -> None:
        self._maps, self._seconds = num_maps() or 0, 0.0
        self.most = self._maps + max(0, min(self._limit - self._maps, _USUAL_MOST)) // 4

    def listen(self, event: str, duration_secs: float, **_: Any) -> None:
        """Count the maps after a compilation of `duration_secs`, and drop programs where there are too many."""
        if event != _COMPILED:
            return
        self._seconds += duration_secs
        if self._seconds > _COMPILING_PER_MAP * self._maps:
            self._maps, self._seconds = num_maps() or self._maps, 0.0  # unknown where no file can be opened
            if self._maps > self.most:
                drop_programs()
                self._begin()


def _limit() -> int:
    try:
        return int(_MOST_MAPS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return _USUAL_MOST
