"""Rows of people and frames as one scene over time: everybody of a frame in one space, each at the place of their root.

A row is one person in one frame. Layers of [L, N, J, D] become [L P, F, J, D], all P people of the first of L first;
a person who is not in a frame is a gap there. Row numbers are kept where a pair of frame and person occurs twice: then
the rows are pictures of their own, one after another.

Or people on a floor, in reading order: the first at the far left, each new line nearer to the viewer. A scene with a
row for each person becomes one that shows them all, with a row for each state of their denoising (or one row for a set
that does not move). Every person is moved as a whole, so that the lowest joint of the reference, the truth where there
is one, stands on the floor at y = 0. The 2D inputs are laid out alike, in tiles.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxpose.app.viz import scene as sc
from jaxpose.geometry.skeleton import Skeleton

_APART = 1.2  # metres between people whose place is not known


class Crowd(NamedTuple):
    """Which frame and person each of N rows is.

    frames: [F] numbers of the frames, rising; people: [P] numbers of the people; at, who: [N] indices into them.
    """

    frames: np.ndarray
    people: np.ndarray
    at: np.ndarray
    who: np.ndarray

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


_AXES_NOTE = "metres in camera axes (x right, y down, z forward), each person moved to a place of their own"
_ROOM = 1.25  # a place is this much wider than a person needs, a tile of the 2D input too
_TILE_DOTS = 0.65  # of the size of the dots where there is one 2D input
_LINE_LENGTH = (4, 2)  # people per line over lines, without and with the 2D input beside them
_NARROWEST, _LINES, _NAMED_LINES = (0.9, 2.0, 2.7)  # metres: a place, lines of people, and with names between them


class Grid(NamedTuple):
    """People on a floor.

    scene: with a row for each state; poses of a layer are [L * n, F, J, D], all people of the first of L first.
    places: [n, 3] metres, where they stand. names: one per person. num_people: how many were given.
    """

    scene: sc.Scene
    places: np.ndarray
    names: tuple[str, ...]
    num_people: int


class GridOptions(NamedTuple):
    """The look of people on a floor, beside `Layers`.

    labels: one per person, written at their feet. per_line: people per line; by default as wide a grid as a screen
    is. max_hypotheses, max_people, max_states: at most so many are shown, evenly spaced.
    """

    labels: Sequence[str] | None = None
    per_line: int | None = None
    max_hypotheses: int = 12
    max_people: int = 40
    max_states: int = 60


def make_grid(argument: str, states: ArrayLike, skeleton: Skeleton, **options: Any) -> Grid:
    """The N people of states [S, H, N, J, 3] side by side; argument: the name of states in errors.

    options: of `GridOptions` and `Layers`, whose `reprojected` may be [S, H, N, J, 2], for each state.
    ValueError as in `make_scene`, and for a state without a finite joint.
    """
    layers, others = sc.layers_of(options)
    given = GridOptions(**others)
    poses = sc.joints(argument, states, ("T+1", "H", "N", len(skeleton.joints), 3))
    num_states, _, num_people = poses.shape[:3]
    blank = np.flatnonzero(~np.isfinite(poses).any((1, 2, 3, 4)))
    if blank.size:
        raise ValueError(f"{argument}: state {blank[0]} of {num_states} has no finite joint; needed at least one")
    pixels, reprojected = None, layers.get("reprojected")
    if reprojected is not None and np.ndim(reprojected) == 5:
        pixels = sc.joints("reprojected", reprojected, (*poses.shape[:-1], 2))
        layers["reprojected"] = pixels[-1]
    how: dict[str, Any] = {"argument": argument, "max_hypotheses": given.max_hypotheses, "with_mean": False}
    people = sc.with_labels(sc.make_scene(poses[-1], skeleton, **how, **layers), "labels", given.labels)
    people = sc.take_rows(people, sc.evenly(num_people, sc.at_least_one("max_people", given.max_people)))
    # counted from the end, so that the last state is always among them
    rows = (num_states - 1 - sc.evenly(num_states, sc.at_least_one("max_states", given.max_states)))[::-1]
    reference = _reference(people, sc.finite_mean(poses[-1])[people.rows])
    places = _places(reference, given.per_line, _NAMED_LINES if any(people.labels) else _LINES, bool(people.flat))
    tiled = len(places) > 1 and bool(people.flat)
    tiles = _tiles(people.flat, places) if tiled else np.zeros((len(places), 2), np.float32)
    if tiled:
        people = people._replace(flat=tuple(layer._replace(dot=layer.dot * _TILE_DOTS) for layer in people.flat))
    moves, num = put(reference, places), len(places)
    scene = gathered(people, make_crowd(num, np.zeros(num, int), np.arange(num)), moves, tiles)
    shown = (rows[:, None, None], people.shown[:, None], people.rows)
    scene = scene._replace(
        layers=_with_states(scene.layers, poses[shown], moves),
        flat=scene.flat if pixels is None else _with_states(scene.flat, pixels[shown], tiles),
        **{"rows": rows, "labels": ("",) * len(rows), "counts": (people.counts[0], num_states)},
    )
    return Grid(scene, places, people.labels, num_people)


def grid(num: int, per_line: int, spacing: tuple[float, float]) -> np.ndarray:
    """Places [num, 3] on the floor y = 0, per_line in a line along x, lines along -z, the middle at x = z = 0.

    spacing: metres between neighbours and between lines.
    """
    line, column = np.divmod(np.arange(num), per_line)
    x = (column - (min(num, per_line) - 1) / 2) * spacing[0]
    z = (line[-1] / 2 - line) * spacing[1]
    return np.stack([x, np.zeros(num), z], -1).astype(np.float32)


def put(poses: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Shifts [N, 3] of poses [N, J, 3] that put their middles over places, the lowest joint at y = 0."""
    low, high = np.nanmin(poses, axis=1), np.nanmax(poses, axis=1)
    foot = (low + high) / 2
    foot[:, 1] = high[:, 1]
    return places - foot


def caption(grid: Grid) -> list[str]:
    """The shown part of what was given, and its axes and units, in words."""
    num_hypotheses, num_states = grid.scene.counts
    shown = [
        (len(grid.places), grid.num_people, "people"),
        (len(grid.scene.shown), num_hypotheses, "hypotheses"),
        (len(grid.scene.rows), num_states, "states of the denoising"),
    ]
    counts = [
        f"{some} {noun}" if some == given else f"{some} of {given} {noun}" for some, given, noun in shown if given > 1
    ]
    return [*counts, _AXES_NOTE, f"grid {sc.GRID_METRES} m"]


def _reference(people: sc.Scene, otherwise: np.ndarray) -> np.ndarray:
    """The truth [n, J, 3]; `otherwise` for a person without a joint of it."""
    truth = next((layer.poses[0] for layer in people.layers if layer.name == "truth"), otherwise)
    return np.where(np.isnan(truth).all((1, 2), keepdims=True), otherwise, truth)


def _places(poses: np.ndarray, per_line: int | None, lines: float, narrow: bool) -> np.ndarray:
    """Places as far apart as nine in ten poses [n, J, 3] need; by default in a grid as wide as the picture."""
    num = len(poses)
    needed = np.quantile(np.nanmax(poses, axis=1) - np.nanmin(poses, axis=1), 0.9, axis=0)[[0, 2]]
    across, deep = np.maximum(_ROOM * needed, (_NARROWEST, lines)).tolist()
    if per_line is None:
        per_line = -(-num // max(1, round(np.sqrt(num / _LINE_LENGTH[narrow]))))
    return grid(num, sc.at_least_one("per_line", per_line), (across, deep))


def _tiles(flat: tuple[sc.Layer, ...], places: np.ndarray) -> np.ndarray:
    """Shifts [n, 2] px of each 2D input that put them side by side in the order of the places."""
    middle, needed = np.zeros((2, len(places), 2))
    for person in range(len(places)):
        visible = [layer._replace(poses=sc.at_row(layer.poses, person)[:, None]) for layer in flat]
        if any(np.isfinite(layer.poses).any() for layer in visible):
            low, high = sc.pixel_bounds(tuple(visible))
            middle[person], needed[person] = (low + high) / 2, high - low
    columns, lines = (np.unique(v, return_inverse=True)[1] for v in (places[:, 0], -places[:, 2]))
    return np.stack([columns, lines], -1) * _ROOM * needed.max(0) - middle


def _with_states(layers: tuple[sc.Layer, ...], states: np.ndarray, offsets: np.ndarray) -> tuple[sc.Layer, ...]:
    """Layers [h n, 1, J, D], the hypotheses with their states [F, h, n, J, D] moved by offsets [n, D]."""
    poses = np.moveaxis(states + offsets[:, None], 0, 2)
    poses = poses.reshape(-1, *poses.shape[2:])
    return tuple(layer._replace(poses=poses) if layer.group == sc.HYPOTHESES else layer for layer in layers)
