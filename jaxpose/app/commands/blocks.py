"""Many observations worked on in blocks, of few sizes so that few compiled programs serve all, and the time it takes.

A block is filled up with copies of its last row; what is made of the copies is dropped. Block b draws with the key
`fold_in(key(seed), b)`.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxpose.app.commands import memory
from jaxpose.base import Array, Key
from jaxpose.geometry.windows import Windows
from jaxpose.runtime.kept import kept

Drawn = dict[str, np.ndarray]  # the fields of a task's result
BLOCK = 64  # observations worked on at once
# The axis of a field that counts observations; 0 of other fields.
AXIS = {"samples": 1, "root": 1, "weights": 1, "path": 2}
AXIS |= dict.fromkeys(("body_pose", "global_orient", "transl", "betas", "joints", "energy"), 1)


class Track(NamedTuple):
    """Frames of one person that are drawn together, 1/30 s apart.

    rows: [R] of the observations, filled up. seen: [R] bool, the frames that have an observation; the others' rows are
    any. held: of the first frames, which the block before drew. count: of frames that do not fill up. time: [n] places
    among the frames, whole or between two, of the rows that are answered.
    """

    rows: np.ndarray
    seen: np.ndarray
    held: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nothing uses
    time: np.ndarray


class Block(NamedTuple):
    """Rows worked on together.

    index: folded into the key. rows: [R] of the observations, filled up with copies. kept: [n] places in `rows` that
    are answered here. windows: of these rows, for a model of video. track: the frames drawn, for a model of motions.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nothing uses
    rows: np.ndarray
    kept: np.ndarray
    windows: Windows | None = None
    track: Track | None = None


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
        """Until now."""
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


def even(num: int, most: int = BLOCK, *, doubling: bool = False) -> Iterator[Block]:
    """Blocks of one size, at most `most`, over `num` rows; doubling: of a size that is a power of two."""
    size = min(most, 1 << (num - 1).bit_length() if doubling else num)
    for index, start in enumerate(range(0, num, size)):
        rows = np.minimum(np.arange(start, start + size), num - 1)
        yield Block(index, rows, np.arange(min(size, num - start)))


def gather(
    work: Callable[[Key, Block, bool], Any],
    blocks: Iterable[Block],
    num: int,
    *,
    seed: int = 0,
    each: int = 1,
    states: int = 0,
    what: str = "drew",
    pose: float = 1.0,
) -> Generator[str, None, tuple[Drawn, Spent]]:
    """What `work` makes of `num` observations, row by row; yields lines of progress.

    work: (key, block, whether to return the path) -> arrays by name, a dict or a NamedTuple, their axis of observations
    as in `AXIS`; None is left out. each: poses drawn of an observation. states: of the path of the first block, which
    is asked for where there are any. pose: the memory that one takes while it is made, of a pose drawn.
    ValueError where there are no observations, and where the memory does not suffice.
    """
    if num < 1:
        raise ValueError("nobody is in the input; needed at least one person in one frame")
    clock = Clock()
    whole: Drawn = {}
    done = 0
    for block in blocks:
        rows = block.rows[block.kept]
        if each > 1 and not done:
            of_block = each * len(block.rows if block.track is None else block.track.rows)
            memory.check("--hypotheses", each * num, round(pose * of_block), states * of_block)
        found = work(folded_key(seed, block.index), block, bool(states) and bool((rows == 0).any()))
        found = found if isinstance(found, dict) else found._asdict()
        for name, value in jax.device_get({k: v for k, v in found.items() if v is not None}).items():
            axis = AXIS.get(name, 0)
            value = np.take(value, block.kept, axis)
            if name == "path":  # of the first observations, as many as are answered together
                together = int(np.argmin(np.isin(np.arange(num + 1), rows)))
                whole[name] = np.take(value, np.argsort(rows)[:together], axis)
                continue
            if name not in whole:
                whole[name] = np.empty((*value.shape[:axis], num, *value.shape[axis + 1 :]), value.dtype)
            whole[name][(slice(None),) * axis + (rows,)] = value
        done += len(rows)
        rate = clock.spent().rate(done * each)
        speed = f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
        yield f"{what} {done}/{num}, {speed} poses/s, {(num - done) * each / rate:.0f} s left"
    return whole, clock.spent()


def folded_key(seed: int, index: int) -> Key:
    """`fold_in(key(seed), index)`, both below 2^32."""
    return jax.random.wrap_key_data(_folded(np.uint32(seed), np.uint32(index)))


@kept
def _folded(seed: Array, index: Array) -> Array:
    return jax.random.key_data(jax.random.fold_in(jax.random.key(seed), index))


def silently(work: Generator[str, None, tuple[Drawn, Spent]]) -> Drawn:
    """The result of `gather` without its lines."""
    while True:
        try:
            next(work)
        except StopIteration as finished:
            return finished.value[0]
