"""Work on many observations with lines of progress, a check of the memory, and the time that compiling takes."""

import time
from collections.abc import Callable, Generator, Iterable
from typing import Any, NamedTuple

import jax

from jaxpose.app.commands import memory
from jaxpose.base import Key
from jaxpose.tasks import blocks as library
from jaxpose.tasks.blocks import Block, Drawn


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
        memory.check("--hypotheses", num_hypotheses * num, round(pose * at_once), states * at_once)


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
