"""Work on many observations with lines of progress, a check of the memory, and the time that compiling takes.

The memory that a drawing will take is checked, for XLA ends the process where it gets none:

    bytes = _WORKING x poses drawn at once + _HELD x poses in all (+ _STATE x states of a path)

Hypotheses are computed some thousands at a time, whatever their number is; what grows with it are their states, the
poses and what makes them a mean, a covariance and a radius. Measured on 2 CPU cores by the peak of resident memory
above that of one hypothesis, pose17, 17 joints: 1320 to 1350 bytes a pose for 64,000 to 1,280,000 at once, 2200 where
they are of one detection; 280 a pose for those of other blocks. tests/commands/memory_test.py bounds the estimate's
ratio to the peak.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import psutil

from jaxpose.base import Key
from jaxpose.tasks import blocks as library
from jaxpose.tasks.blocks import Block, Drawn

_WORKING, _HELD, _STATE = 1600, 280, 600
_CGROUP = Path("/sys/fs/cgroup")
_LIMITS = {"RLIMIT_AS": "vms", "RLIMIT_DATA": "data"}  # and the field of psutil's memory_info that counts for each
# Limit and use of the processes' group: version 2 and version 1 of Linux' control groups, which psutil leaves out.
_GROUPS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


def check(flag: str, num: int, at_once: int, states: int = 0) -> None:
    """ValueError where poses need more memory than there is; flag: what lowers their number.

    num: poses in all. at_once: of them drawn at once. states: of their path, all poses and steps counted.
    """
    working, held = _WORKING * at_once + _STATE * states, _HELD * max(num - at_once, 0) + _STATE * states
    device = device_memory()
    if device is None:
        working, held = 0, working + held
    for need, there, whose in ((held, host_memory(), "memory"), (working, device, "the device's memory")):
        if there is not None and need > there:
            raise ValueError(
                f"{flag}: would need about {need / 1e9:.1f} GB of {whose}, and {there / 1e9:.1f} GB are free; lower it"
                + (", or leave out --path" if states else "")
            )


def host_memory() -> float | None:
    """Bytes that this process can still get: of the machine, of its control group and of its own limits."""
    free: list[float | None] = [float(psutil.virtual_memory().available), _of_process()]
    for names in _GROUPS:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            most, used = (float((_CGROUP / name).read_text(encoding="utf-8")) for name in names)
            free.append(most - used)
    return min((x for x in free if x is not None), default=None)


def device_memory() -> float | None:
    """Bytes that JAX can still get of an accelerator; None of a CPU, whose memory is the host's."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0) if "bytes_limit" in stats else None


def _of_process() -> float | None:
    """Bytes that `ulimit -v` and `ulimit -d` leave, where the system has them."""
    if not hasattr(psutil, "RLIMIT_AS"):
        return None
    process = psutil.Process()
    used, most = process.memory_info(), {name: process.rlimit(getattr(psutil, name))[0] for name in _LIMITS}
    left = [most[name] - getattr(used, _LIMITS[name]) for name in _LIMITS if most[name] != psutil.RLIM_INFINITY]
    return min(map(float, left), default=None)


class Spent(NamedTuple):
    """Seconds that work took, and how many of them went into tracing and compiling programs."""

    seconds: float
    compiling: float

    def rate(self, num: float) -> float:
        """`num` things a second, compilation left out."""
        return num / max(self.seconds - self.compiling, 1e-6)


class Clock:
    """Measures `Spent` from when it was made, by the durations of tracing and compiling that JAX reports."""

    def __init__(self) -> None:
        if not _listening:
            jax.monitoring.register_event_duration_secs_listener(_note)
            _listening.append(True)
        self._started, self._first = time.time(), len(_compiling)

    def spent(self) -> Spent:
        """Time since the clock was made."""
        now, compiling, end = time.time(), 0.0, self._started
        for start, stop in sorted(_compiling[self._first :]):  # programs inside programs are reported too
            compiling += max(0.0, stop - max(start, end))
            end = max(end, stop)
        return Spent(now - self._started, compiling)


_listening: list[bool] = []
_compiling: list[tuple[float, float]] = []


def _note(event: str, duration_secs: float, **_: Any) -> None:
    if event.startswith("/jax/core/compile/"):
        now = time.time()
        _compiling.append((now - duration_secs, now))


def progress(
    work: Generator[int, None, Drawn], num: int, *, num_hypotheses: int = 1, what: str = "drew"
) -> Generator[str, None, tuple[Drawn, Spent]]:
    """The result of work on `num` observations and the time it took; yields lines of progress.

    num_hypotheses: poses of an observation. what: the verb of a line.
    """
    if num < 1:
        raise ValueError("nobody is in the input; needed at least one person in one frame")
    clock = Clock()
    while True:
        try:
            done = next(work)
        except StopIteration as finished:
            return finished.value, clock.spent()
        rate = clock.spent().rate(done * num_hypotheses)
        speed = f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
        yield f"{what} {done}/{num}, {speed} poses/s, {(num - done) * num_hypotheses / rate:.0f} s left"


def check_memory(block: Block, num: int, num_hypotheses: int, states: int = 0, pose: float = 1.0) -> None:
    """ValueError where a block's poses, `num_hypotheses` of an observation, need more memory than there is.

    num: observations in all. states: of the path of the block. pose: the memory of one while it is made, of one drawn.
    """
    if num_hypotheses > 1 and block.index == 0:
        at_once = num_hypotheses * block.num_drawn
        check("--hypotheses", num_hypotheses * num, round(pose * at_once), states * at_once)


def gather(
    work: Callable[[Key, Block, bool], Any],
    blocks: Iterable[Block],
    num: int,
    *,
    seed: int = 0,
    num_hypotheses: int = 1,
    states: int = 0,
    what: str = "drew",
    pose: float = 1.0,
) -> Generator[str, None, tuple[Drawn, Spent]]:
    """`tasks.blocks.gather` with lines of progress and a check of the memory, as in `check_memory`."""

    def checked(key: Key, block: Block, path: bool) -> Any:
        check_memory(block, num, num_hypotheses, states, pose)
        return work(key, block, path)

    drawing = library.gather(checked, blocks, num, jax.random.key(seed), path=bool(states))
    return (yield from progress(drawing, num, num_hypotheses=num_hypotheses, what=what))
