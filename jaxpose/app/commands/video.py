"""Clips as a video model takes them: whose frames form windows, at which rate, and drawn group by group.

A model of video knows windows of F frames, 1/30 s apart. The frames of a person are numbered by their step in the file,
n = (frame - first) / step, step the largest that divides all. A clip of about 30 k frames a second is k clips that
interleave: n mod k says which, n div k is the frame's number there. Where a number is missing (the person was not seen)
windows end: nothing is seen across a gap. `windows.tile` does the rest, F // 3 frames from one window to the next.

A group is some windows of one person and the frames they need. All groups of a person share a key, and so the noise
that makes hypothesis h: it is the same motion from the first group to the last.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.app.commands.blocks import AXIS, Block, Track
from jaxpose.base import Array
from jaxpose.geometry.windows import Windows, tile
from jaxpose.io.keypoints import Keypoints
from jaxpose.io.poses3d import Poses3D

TRAINED_FPS = 30
_MOST_FRAMES = 256  # of a motion drawn together
_MOST_WINDOWS = 8  # in a group: of F = 81, 270 frames, of which the next group needs 54 again


class Timing(NamedTuple):
    """number: [N] steps from the clip's first frame. every: k, each k-th is 1/30 s later. said: what was assumed."""

    number: np.ndarray
    every: int
    said: str


def device_windows(block: Block) -> tuple[Array, Array] | None:
    """The windows of a block as `tasks.lift` takes them."""
    return None if block.windows is None else (jnp.asarray(block.windows.index), jnp.asarray(block.windows.counted))


def timing(kp: Keypoints | Poses3D) -> Timing:
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


def tracks(person: np.ndarray, clock: Timing, length: int, most: float = _MOST_FRAMES) -> Iterator[Block]:
    """Frames that a model of motions draws together, which answer each row once, person by person.

    A frame without an observation is drawn like the others; where more than half a window is missing, a new motion
    begins. Of k times 30 frames a second every k-th is drawn, and the rows between lie between the two. A motion of
    more than `most` frames is drawn piece by piece, each of which goes on from half a window of the one before.
    """
    held, index = length // 2, 0
    for who in np.unique(person):
        rows = np.flatnonzero(person == who)
        rows = rows[np.argsort(clock.number[rows], kind="stable")]
        time = clock.number[rows] / clock.every
        for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(time) > held) + 1):
            at = time[part] - np.floor(time[part[0]])
            num = int(np.ceil(at[-1])) + 1
            row_of = np.full(num, -1)
            whole = at == np.floor(at)
            row_of[at[whole].astype(int)] = rows[part[whole]]
            first, done = 0, -1
            while True:
                last = int(min(num, first + most))
                size = length
                while size < last - first:
                    size *= 2
                mine = (at > done) & (at <= last - 1)
                frames = np.append(row_of[first:last], np.full(size - (last - first), -1))
                track = Track(np.maximum(frames, 0), frames >= 0, held if first else 0, last - first, at[mine] - first)
                answered = rows[part[mine]]
                yield Block(index, answered, np.arange(len(answered)), track=track)
                index += 1
                if last == num:
                    break
                first, done = last - held, last - 1


def drawn_between(found: Any, track: Track) -> dict[str, Any]:
    """Fields of a result of frames, at the times of the rows that the track answers: linear between two frames."""
    low = np.minimum(np.floor(track.time).astype(int), track.count - 1)
    high, part = np.minimum(low + 1, track.count - 1), track.time - low

    def at(name: str, value: Array) -> Array:
        axis = AXIS.get(name, 0)
        share = part.reshape(-1, *[1] * (value.ndim - axis - 1))
        return (1 - share) * jnp.take(value, low, axis) + share * jnp.take(value, high, axis)

    return {name: at(name, value) for name, value in found._asdict().items() if value is not None}


def _cuts(index: np.ndarray, most: int, size: int) -> Iterator[tuple[int, int]]:
    """First and last + 1 of consecutive windows, at most `most` that need at most `size` rows together."""
    first = 0
    for last in range(1, len(index) + 1):
        if last == len(index) or last - first == most or len(np.unique(index[first : last + 1])) > size:
            yield first, last
            first = last
