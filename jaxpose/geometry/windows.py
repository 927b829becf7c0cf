"""Grids and windows of video: when its frames are, which a network of fixed length takes together, which outputs count.

    timeline  numbers of frames on the grid of the largest step that divides them, and its rate
    piece     frames of one video with consecutive numbers; a gap in them, or another video, starts the next piece
    tile      windows that cover every piece; one output counts for each frame, however windows overlap
    people    rows of each person in the order of their frames
    low_pass  values over frames without what is faster than a frequency

A piece of n frames and windows of length F, side by side: ceil(n / F) windows, the last of which is shifted back to end
with the piece. The published code scores all of that window, so the frames that it shares with the one before count
twice, and so do the copies that fill up a short piece (spec/diffpose.md, 3.3 and 8); `strict` repeats this.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_LONGEST_GAP = 0.25  # seconds that a filter crosses


class Timeline(NamedTuple):
    """Frames on a grid: number [N] int, 0 for the first; `step` frames of the source to one of the grid; its rate.

    fps: frames of the grid a second, or None where the source's rate is not known.
    """

    number: np.ndarray
    step: int
    fps: float | None

    @property
    def length(self) -> int:
        """Frames of the grid from the first to the last."""
        return int(self.number.max()) + 1


def timeline(frame: np.ndarray, fps: float | None = None) -> Timeline:
    """The grid of frames [N] int, in any order, of a source of `fps`: its step is the largest that divides all gaps."""
    since = np.asarray(frame) - np.min(frame)
    step = int(np.gcd.reduce(since)) or 1
    return Timeline(since // step, step, None if fps is None else fps / step)


def rows_of_people(person: np.ndarray, frame: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The number of each person, of rows with person [N] and frame [N], and their rows in the order of the frames."""
    for who in np.unique(person).tolist():
        rows = np.flatnonzero(person == who)
        yield who, rows[np.argsort(frame[rows], kind="stable")]


def between(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Values [F, ...] of frames at places `at` [G] from 0 to F - 1, linear between two: [G, ...]."""
    low, last = np.asarray(at).astype(int), len(values) - 1
    share = (at - low).reshape(-1, *[1] * (values.ndim - 1))
    return np.where(share > 0, (1 - share) * values[low] + share * values[np.minimum(low + 1, last)], values[low])


def low_pass(values: np.ndarray, frame: np.ndarray, fps: float, cutoff: float) -> np.ndarray:
    """Values [F, ...] at frames [F], rising, of `fps`, without what is faster than `cutoff` Hz, below fps / 2.

    A Butterworth filter of the second order, forwards and backwards, without delay (Winter, Biomechanics and Motor
    Control of Human Movement, 2009, chapter 3). Straight lines fill gaps of up to 0.25 s; longer ones end a motion.
    """
    from scipy import signal

    sections, filtered = signal.butter(2, cutoff, fs=fps, output="sos"), np.array(values)
    more = int(3 * fps / cutoff) + 1  # frames beyond each end, point reflections, in which the filter settles
    for part in np.split(np.arange(len(frame)), np.flatnonzero(np.diff(frame) > _LONGEST_GAP * fps) + 1):
        at = frame[part] - frame[part[0]]
        grid = between(values[part], np.interp(np.arange(at[-1] + 1), at, np.arange(len(at))))
        longer = np.pad(grid, [(more, more)] + [(0, 0)] * (grid.ndim - 1), "reflect", reflect_type="odd")
        filtered[part] = signal.sosfiltfilt(sections, longer, axis=0, padlen=0)[more + at]
    return filtered


class Windows(NamedTuple):
    """index: [W, F] int64, rows of the frames, each window in the order of time.  counted: [W, F] bool."""

    index: np.ndarray  # type: ignore[assignment]  # hides tuple.index, which nobody asks of this
    counted: np.ndarray


def tile(
    video: np.ndarray, frame: np.ndarray, length: int, *, stride: int | None = None, strict: bool = False
) -> Windows:
    """Windows of `length` that cover all N frames, given by video [N] and number [N] in any order.

    Without a stride they lie side by side, and of the last, shifted back, only what is new counts. With one they
    overlap, and a frame counts where it is nearest the middle of its window (the earlier of two): context on both sides
    improves the output. Every frame counts once. A piece shorter than `length` is filled up with copies of its last
    frame, which do not count.
    strict: everything counts, as in the published code; only side by side.

    ValueError for an empty or ragged input, a frame that comes twice, or a stride outside 1..length.
    """
    if length < 1:
        raise ValueError(f"length must be at least one frame, got {length}")
    if stride is not None and (strict or not 1 <= stride <= length):
        given = "together with strict" if strict else f"{stride}"
        raise ValueError(f"stride: got {given}; needed 1..{length}, or none with strict")
    order, bounds = in_time(video, frame)
    parts = [
        _tile_piece(start, end - start, length, stride)
        for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ]
    index = order[np.concatenate([part.index for part in parts])]
    counted = np.concatenate([part.counted for part in parts])
    return Windows(index, np.ones_like(counted) if strict else counted)


def piece_ends(video: np.ndarray, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last row [N] of each row's piece; the rows of a piece follow each other."""
    bounds = np.concatenate([[0], _starts(np.diff(video) == 0, np.diff(frame)), [len(frame)]])
    lengths = np.diff(bounds)
    return np.repeat(bounds[:-1], lengths), np.repeat(bounds[1:] - 1, lengths)


def in_time(video: np.ndarray, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows in the order of video and time [N], and where pieces start among them, with N at the end.

    ValueError for an empty or ragged input, and a frame that comes twice.
    """
    video, frame = np.asarray(video), np.asarray(frame)
    if video.ndim != 1 or video.shape != frame.shape or not len(video):
        raise ValueError(
            f"video and frame: needed one axis of the same length, at least 1, got {video.shape} and {frame.shape}"
        )
    order = np.lexsort((frame, video))
    same_video, step = np.diff(video[order]) == 0, np.diff(frame[order])
    if (same_video & (step == 0)).any():
        row = order[np.argmax(same_video & (step == 0))]
        raise ValueError(f"frame: {frame[row]} of video {video[row]} comes twice; needed each once")
    return order, np.concatenate([[0], _starts(same_video, step), [len(order)]])


def _starts(same_video: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Rows, but the first, that begin a piece, of the differences of video and frame from row to row [N - 1]."""
    return np.flatnonzero(~same_video | (step != 1)) + 1


def _tile_piece(start: int, count: int, length: int, stride: int | None) -> Windows:
    """Windows of a piece: places start .. start + count - 1."""
    last = max(count - length, 0)
    first = np.append(np.arange(0, last, stride or length), last)
    place = np.arange(count)
    if stride is None:
        owner = place // length
    else:
        between = (first[1:] + first[:-1] + length - 1) / 2  # the middle of two windows' middles
        owner = np.searchsorted(between, place, side="left")
    counted = np.zeros((len(first), length), bool)
    counted[owner, place - first[owner]] = True
    return Windows(start + np.minimum(first[:, None] + np.arange(length), count - 1), counted)
