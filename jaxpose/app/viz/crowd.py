"""Rows of people and frames as one scene over time: everybody of a frame in one space, each at the place of their root.

A row is one person in one frame. Layers of [L, N, J, D] become [L P, F, J, D], all P people of the first of L first;
a person who is not in a frame is a gap there. Row numbers are kept where a pair of frame and person occurs twice: then
the rows are pictures of their own, one after another.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxpose.app.viz import scene as sc

_APART = 1.2  # metres between people whose place is not known


class Crowd(NamedTuple):
    """Which frame and person each of N rows is.

    frames: [F] numbers of the frames, rising; people: [P] numbers of the people; at, who: [N] indices into them.
    """

    frames: np.ndarray
    people: np.ndarray
    at: np.ndarray
    who: np.ndarray

    def rows_until(self, limit: int) -> np.ndarray:
        """The rows [n] of at most `limit` frames, a constant stride apart."""
        return np.flatnonzero(np.isin(self.at, sc.strided(len(self.frames), limit)))

    def spread_out(self, rows: np.ndarray, fill: float = np.nan) -> np.ndarray:
        """Values [N, ...] as [P, F, ...], `fill` for people who are not there."""
        rows = np.asarray(rows)
        out = np.full((len(self.people), len(self.frames), *rows.shape[1:]), fill, rows.dtype)
        out[self.who, self.at] = rows
        return out


def make_crowd(num: int, frame: ArrayLike | None, person: ArrayLike | None) -> Crowd:
    """The crowd of N rows, by default one person in N frames. ValueError for other than [N] integers."""
    row, alone = np.arange(num), np.zeros(num, np.int64)
    frame = row if frame is None else sc.shaped("frame", frame, (num,), "iu")
    person = alone if person is None else sc.shaped("person", person, (num,), "iu")
    if len(np.unique(np.stack([frame, person]), axis=1).T) < num:
        frame, person = row, alone
    (frames, at), (people, who) = (np.unique(x, return_inverse=True) for x in (frame, person))
    return Crowd(frames, people, at, who)


def places(crowd: Crowd, root: ArrayLike | None) -> np.ndarray:
    """The place of each row's root, [N, 3] metres in camera axes; side by side where it is not known."""
    apart = np.zeros((len(crowd.who), 3), np.float32)
    apart[:, 0] = _APART * (crowd.who - (len(crowd.people) - 1) / 2)
    if root is None:
        return apart
    known = sc.shaped("root", np.asarray(root, np.float32), apart.shape, "f")
    return known if np.isfinite(known).all() else apart


def gathered(scene: sc.Scene, crowd: Crowd, place: np.ndarray, place_px: np.ndarray | None = None) -> sc.Scene:
    """A scene with a row for each row of the crowd as one with a row for each frame.

    People are moved by place [N, 3] metres, their 2D input by place_px [N, 2] pixels.
    """
    num = len(place)

    def gather(array: np.ndarray, move: np.ndarray | None = None, fill: float = np.nan) -> np.ndarray:
        full = np.broadcast_to(array, (array.shape[0], num, *array.shape[2:]))
        full = full if move is None else full + move[:, None]
        by_person = crowd.spread_out(np.moveaxis(full, 1, 0), fill)  # [P, F, L, ...]
        return np.moveaxis(by_person, 2, 0).reshape(-1, len(crowd.frames), *array.shape[2:])

    def layer(given: sc.Layer) -> sc.Layer:
        bones = given.bones
        if bones is not None:  # the first of which may be of all
            bones = gather(np.broadcast_to(bones, (len(given.poses), *bones.shape[1:])), fill=0)
        strength = None if given.strength is None else gather(given.strength, fill=0)
        move = place if given.poses.shape[-1] == 3 else place_px
        return given._replace(poses=gather(given.poses, move), bones=bones, strength=strength)

    return scene._replace(
        layers=tuple(map(layer, scene.layers)),
        flat=tuple(map(layer, scene.flat)),
        rows=crowd.frames,
        labels=("",) * len(crowd.frames),
    )
