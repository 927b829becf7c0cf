"""Clips as a video model takes them: whose frames form windows, at which rate, and drawn group by group.

A model of video knows windows of F frames, 1/30 s apart. The frames of a person are numbered by their step in the file,
n = (frame - first) / step, step the largest that divides all. A clip of about 30 k frames a second is k clips that
interleave: n mod k says which, n div k is the frame's number there. Where a number is missing (the person was not seen)
windows end: nothing is seen across a gap. `windows.tile` does the rest, F // 3 frames from one window to the next.

A group is some windows of one person and the frames they need. All groups of a person share a key, and so the noise
that makes hypothesis h: it is the same motion from the first group to the last.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.commands.blocks import Block
from jaxpose.geometry.windows import Windows, tile
from jaxpose.io.keypoints import Keypoints

TRAINED_FPS = 30
_MOST_WINDOWS = 8  # in a group: of F = 81, 270 frames, of which the next group needs 54 again


class Timing(NamedTuple):
    """number: [N] steps from the clip's first frame. every: k, each k-th is 1/30 s later. said: what was assumed."""

    number: np.ndarray
    every: int
    said: str


def device_windows(block: Block) -> tuple[Array, Array] | None:
    """The windows of a block as `tasks.lift` takes them."""
    return None if block.windows is None else (jnp.asarray(block.windows.index), jnp.asarray(block.windows.counted))


def timing(kp: Keypoints) -> Timing:
    """What the numbers of the frames mean."""
    step = int(np.gcd.reduce(kp.frame - kp.frame.min())) or 1
    number = (kp.frame - kp.frame.min()) // step
    if kp.fps is None:
        return Timing(number, 1, f"frame rate not known, taken as {TRAINED_FPS} frames/s")
    rate = kp.fps / step
    every = max(1, round(rate / TRAINED_FPS))
    said = f"{rate:g} frames/s"
    if every > 1:
        said += f", of which a window takes 1 in {every}"
    if not 0.75 < rate / every / TRAINED_FPS < 1.4:
        said += f"; the model was trained at {TRAINED_FPS}, so speeds mislead it"
    return Timing(number, every, said)


def groups(person: np.ndarray, clock: Timing, length: int) -> Iterator[Block]:
    """Windows of `length` frames that answer each row once, person by person, filled up to a few sizes.

    The index of a block is the person's place among the people.
    """
    stride = max(1, length // 3)
    for place, who in enumerate(np.unique(person)):
        rows = np.flatnonzero(person == who)
        number = clock.number[rows]
        tiled = tile(number % clock.every, number // clock.every, length, stride=stride)
        most = min(_MOST_WINDOWS, 1 << (len(tiled.index) - 1).bit_length())
        size = length + (most - 1) * stride
        for first, last in _cuts(tiled.index, most, size):
            windows = Windows(*(np.take(x, np.arange(first, last), 0) for x in tiled))
            needed = np.unique(windows.index)
            index = np.searchsorted(needed, windows.index)
            filled = rows[needed[np.minimum(np.arange(size), len(needed) - 1)]]
            spare = most - len(index)
            index = np.concatenate([index, np.repeat(index[-1:], spare, 0)])
            counted = np.concatenate([windows.counted, np.zeros((spare, length), bool)])
            yield Block(place, filled, np.unique(index[counted]), Windows(index, counted))


def _cuts(index: np.ndarray, most: int, size: int) -> Iterator[tuple[int, int]]:
    """First and last + 1 of consecutive windows, at most `most` that need at most `size` rows together."""
    first = 0
    for last in range(1, len(index) + 1):
        if last == len(index) or last - first == most or len(np.unique(index[first : last + 1])) > size:
            yield first, last
            first = last
