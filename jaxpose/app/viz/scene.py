"""Description of a picture for the drawing back ends: layers of poses over rows, checked and subsampled.

A row is one picture of a series: one person in one frame, or one state of a denoising. A layer is a set of poses
[L, F, J, D] of one look: the hypotheses (L of them), the mean, the truth; F = 1 where all rows have the same. A joint
that is not finite in every coordinate is a gap: neither it nor its bones are drawn. Left and right are the blue and
vermilion of M. Okabe and K. Ito, Color Universal Design, 2008, what was given is its bluish green, the truth is near
black: colour-blind readers tell these apart by hue or by lightness.

A further layer is a field of `Layers` and an entry in `make_scene`.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike

from jaxpose.compiled import check_shape
from jaxpose.geometry.axes import check_up
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.reading import package

LEFT, RIGHT, MIDDLE, TRUTH, GIVEN = "#0072b2", "#d55e00", "#8a919e", "#111111", "#009e73"
LIMBS = (LEFT, RIGHT, MIDDLE)
PALE_LIMBS = ("#99c7e0", "#eebf99", "#d0d3d8")  # LIMBS with 60 % white
INK, MUTED, GRID = "#1f2937", "#6b7280", "#e2e5ea"
# What a picture says of the axes of its poses, by the axis of theirs that points up.
AXES_NOTES = {
    "-y": "camera axes (x right, y down, z forward)",
    "y": "world axes, y up, seen along -z",
    "z": "world axes, z up, seen along y",
}
MEAN = "mean"
GRID_METRES = 0.5
HYPOTHESES = "hypotheses"
_LABEL_LENGTH = 60
_OUTLIERS = 0.01  # share of the reprojected joints that may lie outside of the picture on either side
_MAX_GRID_LINES = 200  # a diverged hypothesis may be kilometres long


class Layers(TypedDict, total=False):
    """Layers beside samples [H, N, J, 3]; a joint that is not finite is a gap.

    keypoints:   [N, J, 2] px, the 2D input; confidence: [N, J] in [0, 1], its opacity.
    truth:       [N, J, 3] metres, like samples.
    mean:        [N, J, 3] metres; where a picture shows a mean, that of all H by default. mean_name: what it is.
    given:       [N, J, 3] metres, like samples: the joints that a task was given, noisy or incomplete.
    observed:    [N, J] bool: bones that end in a joint which is not observed stand out; the joints of `given` by
                 default.
    reprojected: [H, N, J, 2] px, the samples as the camera sees them, drawn over the 2D input.
    covariance:  [N, J, 3, 3] square metres and radius_90 [N, J] metres: of the samples by default.
    unusual:     [N] bool: poses that are in doubt.
    up:          the axis that points up in the axes which the poses had before they were turned to camera axes.
    """

    keypoints: ArrayLike | None
    confidence: ArrayLike | None
    truth: ArrayLike | None
    mean: ArrayLike | None
    given: ArrayLike | None
    observed: ArrayLike | None
    reprojected: ArrayLike | None
    mean_name: str
    covariance: ArrayLike | None
    radius_90: ArrayLike | None
    unusual: ArrayLike | None
    up: str


def layers_of(options: dict[str, Any]) -> tuple[Layers, dict[str, Any]]:
    """The layers among the options of a page, and the other options."""
    others = {name: value for name, value in options.items() if name not in Layers.__annotations__}
    layers: Any = {name: value for name, value in options.items() if name not in others}
    return layers, others


class Layer(NamedTuple):
    """Poses of one look: poses [L, F, J, D] in metres (D = 3) or pixels (D = 2), F = 1 where they do not move.

    colours: of the left, right and middle bones. width: in points. dot: diameter of the joints, 0 for none.
    group: layers of one group are switched together. bones: [1 or L, 1 or F, J] bool, the bones to draw, each by its
    lower joint; None: all. strength: [L, F, J] in [0, 1], opacity of the joints; None: full.
    """

    name: str
    poses: np.ndarray
    colours: tuple[str, str, str]
    width: float
    opacity: float
    dot: float = 0.0
    group: str = ""
    bones: np.ndarray | None = None
    strength: np.ndarray | None = None


class Scene(NamedTuple):
    """Layers over rows, with the 2D input of each row where there is one.

    layers: in metres. flat: in pixels; empty without 2D input. rows: [F] index of each row in what the caller gave.
    labels: one per row, "" where there is none. counts: hypotheses and rows that were given. shown: [h] indices of
    the hypotheses that are kept. up: as in `Layers`.
    """

    layers: tuple[Layer, ...]
    flat: tuple[Layer, ...]
    rows: np.ndarray
    labels: tuple[str, ...]
    counts: tuple[int, int]
    shown: np.ndarray
    up: str = "-y"


def make_scene(
    samples: ArrayLike,
    skeleton: Skeleton,
    *,
    argument: str = "samples",
    max_hypotheses: int = 30,
    with_mean: bool = True,
    **layers: Unpack[Layers],
) -> Scene:
    """The scene of samples [H, N, J, 3], of which max_hypotheses are kept, evenly spaced; a row for each of the N.

    argument: the name of samples in errors. with_mean: show a mean also where none is given. Raises ValueError for
    wrong shapes, and for a row of samples or a whole array without one finite joint.
    """
    poses = joints(argument, samples, ("H", "N", len(skeleton.joints), 3))
    num_hypotheses, num_rows = poses.shape[:2]
    blank = np.flatnonzero(~np.isfinite(poses).any((0, 2, 3)))
    if blank.size:
        raise ValueError(f"{argument}: pose {blank[0]} of {num_rows} has no finite joint; needed at least one")
    shown = evenly(num_hypotheses, at_least_one("max_hypotheses", max_hypotheses))
    shape, solid = (num_rows, *poses.shape[2:]), []
    named: dict[str, Any] = {"mean": None, "given": None, "truth": None, **layers}
    mean, given, truth = (
        None if named[name] is None else joints(name, named[name], shape) for name in ("mean", "given", "truth")
    )
    if mean is not None or with_mean:
        mean = finite_mean(poses) if mean is None else mean
        solid.append(Layer(layers.get("mean_name", MEAN), mean[None], LIMBS, 4.5, 1.0, 3.0, MEAN))
    if given is not None:
        solid.append(Layer("given", given[None], (GIVEN,) * 3, 1.2, 1.0, 3.4))
    if truth is not None:
        solid.append(Layer("truth", truth[None], (TRUTH,) * 3, 1.8, 1.0, 1.2))
    hidden = _hidden_bones(layers.get("observed"), given, skeleton, shape[:2])
    layered = ((*_hypotheses(poses[shown], hidden, with_mean), *solid), _flat(layers, shown, poses.shape[:3]))
    counts, up = (num_hypotheses, num_rows), check_up(layers.get("up", "-y"))
    return Scene(*layered, np.arange(num_rows), ("",) * num_rows, counts, shown, up)


def _hypotheses(poses: np.ndarray, hidden: np.ndarray | None, with_mean: bool) -> list[Layer]:
    """One layer, or two where some bones are hidden and others observed; the more poses, the fainter."""
    num = len(poses)
    width, strength = (1.2, 6) if with_mean else (1.7, 8) if num > 1 else (3.5, 8)
    name = "poses" if num == 1 and not with_mean else HYPOTHESES
    opacity = float(np.clip(strength / num, 0.15, strength / 10 if num > 1 or with_mean else 1))
    layer = Layer(name, poses, LIMBS, width, opacity, group=HYPOTHESES)
    if hidden is None:
        return [layer]
    observed = layer._replace(name=f"{layer.name}, observed part", colours=PALE_LIMBS, bones=~hidden)
    return [observed, layer._replace(name=f"{layer.name}, hidden part", bones=hidden)]


def _hidden_bones(
    observed: ArrayLike | None, given: np.ndarray | None, skeleton: Skeleton, shape: tuple[int, ...]
) -> np.ndarray | None:
    """The bones [1, N, J] with an end that is not observed; None where this sets none apart."""
    if observed is None:
        if given is None:
            return None
        observed = np.isfinite(given).all(-1)
    visible = shaped("observed", observed, shape, "b")
    hidden = ~(visible & visible[:, list(skeleton.parents)])
    is_bone = np.array(skeleton.parents) >= 0
    return hidden[None] if hidden[:, is_bone].any() and not hidden[:, is_bone].all() else None


def _flat(layers: Layers, shown: np.ndarray, shape: tuple[int, ...]) -> tuple[Layer, ...]:
    """The layers in pixels: the shown of the reprojected hypotheses, and the 2D input over them."""
    _, num_rows, num_joints = shape
    flat = []
    keypoints, confidence = layers.get("keypoints"), layers.get("confidence")
    reprojected = layers.get("reprojected")
    if reprojected is not None:
        pixels = joints("reprojected", reprojected, (*shape, 2))[shown]
        opacity = float(np.clip(3 / len(shown), 0.1, 0.5))
        flat.append(Layer("reprojected", pixels, LIMBS, 1.0, opacity, group=HYPOTHESES))
    if keypoints is not None:
        pixels = joints("keypoints", keypoints, (num_rows, num_joints, 2))[None]
        strength = np.ones((1, num_rows, num_joints), np.float32)
        if confidence is not None:
            sure = shaped("confidence", np.asarray(confidence, np.float32), (num_rows, num_joints), "f")
            strength = np.clip(np.nan_to_num(sure, nan=0.0), 0.0, 1.0)[None]
        flat.append(Layer("2D input", pixels, LIMBS, 1.25, 0.45, 8.0, "2D input", strength=strength))
    elif confidence is not None:
        raise ValueError("confidence: came without keypoints; needed both or neither")
    return tuple(flat)


def with_labels(scene: Scene, argument: str, labels: Sequence[str] | None) -> Scene:
    """The scene with a printable label per row, unlabelled for None; `argument` is its name in errors."""
    if labels is None:
        return scene
    if isinstance(labels, str) or len(labels) != len(scene.rows):
        raise ValueError(f"{argument}: got {len(labels)}, must be a list of one per pose: {len(scene.rows)}")
    return scene._replace(labels=tuple(printable(label) for label in labels))


def take_rows(scene: Scene, rows: np.ndarray) -> Scene:
    """The scene with only these rows [n]."""

    def pick(array: np.ndarray) -> np.ndarray:
        return array if array.shape[1] == 1 else array[:, rows]  # what stands still has one row for all

    def take(layer: Layer) -> Layer:
        bones, strength = (a if a is None else pick(a) for a in (layer.bones, layer.strength))
        return layer._replace(poses=pick(layer.poses), bones=bones, strength=strength)

    return scene._replace(
        layers=tuple(map(take, scene.layers)),
        flat=tuple(map(take, scene.flat)),
        rows=scene.rows[rows],
        labels=tuple(scene.labels[i] for i in rows),
    )


def evenly(count: int, limit: int) -> np.ndarray:
    """At most `limit` of `count` indices, evenly spaced, with the first and the last."""
    return np.linspace(0, count - 1, min(count, limit)).round().astype(int)


def strided(count: int, limit: int) -> np.ndarray:
    """At most `limit` of `count` indices, a constant stride apart, so that time runs evenly."""
    return np.arange(0, count, -(-count // limit))


def joint_sides(skeleton: Skeleton) -> tuple[int, ...]:
    """0, 1 or 2 for each joint: left, right or middle."""
    sided = [(j in skeleton.left, j in skeleton.right) for j in range(len(skeleton.joints))]
    return tuple(0 if left else 1 if right else 2 for left, right in sided)


@functools.lru_cache(maxsize=512)
def bone_paths(skeleton: Skeleton, drawn: tuple[bool, ...] | None = None) -> tuple[tuple[int, ...], ...]:
    """Polyline through the left, right and middle bones: joint indices, -1 for a break.

    A bone has the side of its lower joint. drawn: one per joint, whether its bone to the parent is; None: all are. A
    group without bones is empty.
    """
    paths: tuple[list[int], ...] = ([], [], [])
    sides = joint_sides(skeleton)
    for joint, parent in enumerate(skeleton.parents):
        if parent < 0 or (drawn is not None and not drawn[joint]):
            continue
        path = paths[sides[joint]]
        path += [joint] if path and path[-1] == parent else [-1, parent, joint]
    return tuple((*path[1:], -1) if path else () for path in paths)


def polylines(layer: Layer, skeleton: Skeleton, row: int) -> list[list[np.ndarray]]:
    """The left, right and middle bones of a layer in a row: for each a polyline [*, D] per pose, NaN at its end."""
    poses = at_row(layer.poses, row)
    drawn = np.broadcast_to(True if layer.bones is None else at_row(layer.bones, row), poses.shape[:2])
    paths = [bone_paths(skeleton, tuple(bones)) for bones in drawn.tolist()]
    lifted = np.concatenate([poses, np.full_like(poses[:, :1], np.nan)], axis=1)  # joint -1 is a gap
    return [[pose[list(path[side])] for pose, path in zip(lifted, paths, strict=True)] for side in range(3)]


def at_row(array: np.ndarray, row: int) -> np.ndarray:
    """The part [L, ...] of an array [L, F, ...] in a row; F = 1 is of all rows."""
    return array[:, row if array.shape[1] > 1 else 0]


def bounds(points: Sequence[np.ndarray], margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest finite coordinate [D] over arrays [..., D], widened by `margin`."""
    flat = np.concatenate([p.reshape(-1, p.shape[-1]) for p in points])
    return np.nanmin(flat, axis=0) - margin, np.nanmax(flat, axis=0) + margin


def pixel_bounds(flat: tuple[Layer, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest pixel [2] to show of layers: all of the 2D input, and most of the reprojected hypotheses.

    Of what moves the last row counts where the 2D input stands still: the rows before it are noise.
    """
    still = flat[-1].poses.shape[1] == 1
    corners = []
    for layer in flat:
        points = (layer.poses[:, -1] if still else layer.poses).reshape(-1, 2)
        points = points[np.isfinite(points).all(-1)]
        outliers = _OUTLIERS if layer.group == HYPOTHESES else 0
        if len(points):
            corners += [np.quantile(points, outliers, axis=0), np.quantile(points, 1 - outliers, axis=0)]
    if not corners:
        return np.zeros(2), np.ones(2)
    return np.min(corners, axis=0), np.max(corners, axis=0)


def grid_levels(low: float, high: float) -> np.ndarray:
    """Multiples of the grid's step that just enclose low to high; none if too many."""
    first, last = np.floor(low / GRID_METRES), np.ceil(high / GRID_METRES)
    return np.arange(first, last + 1) * GRID_METRES if last - first < _MAX_GRID_LINES else np.empty(0)


def caption(scene: Scene, row_noun: str) -> str:
    """Caption: what is shown of the input, and in which axes and units."""
    num_hypotheses, num_rows = scene.counts
    shown = f"{len(scene.shown)} of {num_hypotheses} hypotheses"
    axes = f"root-relative metres in {AXES_NOTES[scene.up]}"
    return " · ".join([shown, f"{len(scene.rows)} of {num_rows} {row_noun}", axes, f"grid {GRID_METRES} m"])


def printable(text: str, length: int = _LABEL_LENGTH) -> str:
    """One printable line: labels come from file names, which may contain any character."""
    line = "".join(c if c.isprintable() else " " for c in str(text).encode("utf-8", "replace").decode())
    head = length * 2 // 3  # the tail is kept too: that is where names of files and frames differ
    return line if len(line) <= length else f"{line[:head]}…{line[head + 1 - length :]}"


def at_least_one(name: str, value: int) -> int:
    """`value`, or a ValueError naming the argument `name`."""
    if value < 1:
        raise ValueError(f"{name}: got {value}, must be 1 or more")
    return value


def need(module: str) -> Any:
    """A drawing library, or a part of it; MissingPackage, an ImportError and a ValueError, where it is not there."""
    return package(module, f"{module}: not installed; needed for pictures", "viz")


def joints(name: str, value: ArrayLike, shape: tuple[int | str, ...]) -> np.ndarray:
    """`value` as float32 of `shape` (a letter is any length), NaN throughout where a joint is not finite.

    Raises ValueError naming the argument `name`: for another shape, or without one finite joint.
    """
    array = np.asarray(value, dtype=np.float32)
    check_shape(name, array, shape)
    array = np.where(np.isfinite(array).all(-1, keepdims=True), array, np.float32(np.nan))
    if np.isnan(array).all():
        raise ValueError(f"{name}: found no finite joint; needed at least one")
    return array


def shaped(name: str, value: ArrayLike, shape: tuple[int, ...], kinds: str) -> np.ndarray:
    """`value` as an array; ValueError naming the argument for another shape or type; kinds: those of numpy."""
    array = np.asarray(value)
    check_shape(name, array, shape)
    if array.dtype.kind not in kinds:
        legal = {"b": "bool", "iu": "whole numbers"}.get(kinds, "numbers with a fraction")
        raise ValueError(f"{name}: needed {legal}, got {array.dtype}")
    return array


def finite_mean(poses: np.ndarray) -> np.ndarray:
    """The mean [...] of poses [H, ...] over what is finite of the H, NaN where nothing is."""
    finite = np.isfinite(poses)
    total = np.where(finite, poses, 0).sum(axis=0)
    count = finite.sum(axis=0)
    return np.where(count, total / np.maximum(count, 1), np.nan).astype(np.float32)
