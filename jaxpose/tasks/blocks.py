"""Many observations worked on in blocks, of few sizes so that few compiled programs serve all.

A block is filled up with copies of its last row; what is made of the copies is dropped. Block b draws with the key
`fold_in(key, b)`.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxpose.base import ROW_AXIS, Array, Key
from jaxpose.geometry.windows import Windows

Drawn = dict[str, np.ndarray]  # the fields of a task's result
BLOCK = 64  # observations worked on at once


class Track(NamedTuple):
    """Frames of one person that are drawn together, 1/30 s apart.

    rows: [R] of the observations, filled up. seen: [R] bool, the frames that have an observation; the others' rows are
    any. first: number of the first frame in its motion. count: of frames that do not fill up. time: [n] places among
    the frames, whole or between two, of the rows that are answered.
    """

    rows: np.ndarray
    seen: np.ndarray
    first: int
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

    @property
    def num_drawn(self) -> int:
        """Number of observations for which the block draws."""
        return len(self.rows if self.track is None else self.track.rows)


def even(num: int, most: int = BLOCK, *, doubling: bool = False) -> Iterator[Block]:
    """Blocks of one size, at most `most`, over `num` rows; doubling: of a size that is a power of two."""
    size = min(most, 1 << (num - 1).bit_length() if doubling else num)
    for index, start in enumerate(range(0, num, size)):
        rows = np.minimum(np.arange(start, start + size), num - 1)
        yield Block(index, rows, np.arange(min(size, num - start)))


def gather(
    work: Callable[[Key, Block, bool], Any], blocks: Iterable[Block], num: int, key: Key, *, path: bool = False
) -> Generator[int, None, Drawn]:
    """The results of `work` on `num` observations, row by row; yields the number of rows after each block.

    work: (key, block, whether to return the path) -> arrays by name, a dict or a NamedTuple, their axis of observations
    as in `ROW_AXIS`; None is left out. path: ask for the path of the first block.
    """
    whole: Drawn = {}
    done = 0
    for block in blocks:
        rows = block.rows[block.kept]
        result = work(folded(key, np.uint32(block.index)), block, path and bool((rows == 0).any()))
        result = result if isinstance(result, dict) else result._asdict()
        for name, value in jax.device_get(
            {k: v for k, v in result.items() if isinstance(v, jax.Array | np.ndarray)}
        ).items():
            axis = ROW_AXIS.get(name, 0)
            value = np.take(value, block.kept, axis)
            if name == "path":  # of the first observations, as many as are answered together
                together = int(np.argmin(np.isin(np.arange(num + 1), rows)))
                whole[name] = np.take(value, np.argsort(rows)[:together], axis)
                continue
            if name not in whole:
                whole[name] = np.empty((*value.shape[:axis], num, *value.shape[axis + 1 :]), value.dtype)
            whole[name][(slice(None),) * axis + (rows,)] = value
        done += len(rows)
        yield done
    return whole


@jax.jit
def folded(key: Key, index: Array) -> Key:
    """`fold_in` of a whole number below 2^32, also where it is larger than an int32."""
    return jax.random.fold_in(key, index)


def result_of(work: Generator[Any, None, Any], take: Callable[[Any], None] = lambda _: None) -> Any:
    """The result of a generator; take: what becomes of what it yields."""
    while True:
        try:
            take(next(work))
        except StopIteration as finished:
            return finished.value
