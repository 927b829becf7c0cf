"""What a picture shows, before anything is drawn: layers of poses over rows, checked and thinned out.

A row is one person in one frame. A layer is a set of poses [L, N, J, 3] drawn alike: the hypotheses (L of
them), the mean and the truth (L = 1). A joint that is not finite in every coordinate is a gap: neither it nor
its bones are drawn. Left and right are the blue and vermilion of M. Okabe and K. Ito, Color Universal Design,
2008; the truth is near black: colour-blind readers tell these apart by hue or by lightness.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxpose.geometry.skeleton import Skeleton

LEFT, RIGHT, MIDDLE, TRUTH = "#0072b2", "#d55e00", "#8a919e", "#111111"
LIMBS = (LEFT, RIGHT, MIDDLE)
INK, MUTED, GRID = "#1f2937", "#6b7280", "#e2e5ea"
AXES_NOTE = "root-relative metres in camera axes (x right, y down, z forward)"
GRID_METRES = 0.5
_LABEL_LENGTH = 60
_MAX_GRID_LINES = 200  # a diverged hypothesis may be kilometres long


class Layer(NamedTuple):
    """Poses drawn alike: poses [L, N, J, 3]; colours of the left, right and middle bones; width in points."""

    name: str
    poses: np.ndarray
    colours: tuple[str, str, str]
    width: float
    opacity: float


class Scene(NamedTuple):
    """Layers over N rows, with the 2D input of each row where there is one.

    rows: [N] index of each row in what the caller gave. labels: one per row, "" where there is none.
    keypoints [N, J, 2] px and confidence [N, J] in [0, 1], or None. counts: hypotheses and rows that were
    given.
    """

    layers: tuple[Layer, ...]
    rows: np.ndarray
    labels: tuple[str, ...]
    keypoints: np.ndarray | None
    confidence: np.ndarray | None
    counts: tuple[int, int]


def make_scene(
    samples: ArrayLike,
    skeleton: Skeleton,
    *,
    keypoints: ArrayLike | None = None,
    confidence: ArrayLike | None = None,
    truth: ArrayLike | None = None,
    mean: ArrayLike | None = None,
    max_hypotheses: int = 30,
) -> Scene:
    """The scene of samples [H, N, J, 3]; `mean` defaults to that of all H, of which max_hypotheses are kept.

    Raises ValueError for wrong shapes, and for a row of samples or a whole array without one finite joint.
    """
    poses = _joints("samples", samples, ("H", "N", len(skeleton.joints), 3))
    num_hypotheses, num_rows = poses.shape[:2]
    blank = np.flatnonzero(~np.isfinite(poses).any((0, 2, 3)))
    if blank.size:
        raise ValueError(f"samples: pose {blank[0]} of {num_rows} has no finite joint; legal is at least one")
    shape = (num_rows, *poses.shape[2:])
    average = _finite_mean(poses) if mean is None else _joints("mean", mean, shape)
    shown = poses[evenly(num_hypotheses, at_least_one("max_hypotheses", max_hypotheses))]
    layers = [
        Layer("hypotheses", shown, LIMBS, 1.2, float(np.clip(6 / len(shown), 0.15, 0.6))),
        Layer("mean", average[None], LIMBS, 4.5, 1.0),
    ]
    if truth is not None:
        layers.append(Layer("truth", _joints("truth", truth, shape)[None], (TRUTH,) * 3, 1.8, 1.0))
    pixels = None if keypoints is None else _joints("keypoints", keypoints, (*shape[:2], 2))
    if confidence is not None and pixels is None:
        raise ValueError("confidence: came without keypoints; legal is both or neither")
    certainty = None if pixels is None else _confidence(confidence, shape[:2])
    return Scene(
        tuple(layers), np.arange(num_rows), ("",) * num_rows, pixels, certainty, (num_hypotheses, num_rows)
    )


def with_labels(scene: Scene, argument: str, labels: Sequence[str] | None) -> Scene:
    """The scene with a printable label per row, unlabelled for None; `argument` is its name in errors."""
    if labels is None:
        return scene
    if isinstance(labels, str) or len(labels) != len(scene.rows):
        raise ValueError(f"{argument}: got {len(labels)}, legal is a list of one per pose: {len(scene.rows)}")
    return scene._replace(labels=tuple(printable(label) for label in labels))


def take_rows(scene: Scene, rows: np.ndarray) -> Scene:
    """The scene with only these rows [n]."""
    return scene._replace(
        layers=tuple(layer._replace(poses=layer.poses[:, rows]) for layer in scene.layers),
        rows=scene.rows[rows],
        labels=tuple(scene.labels[i] for i in rows),
        keypoints=None if scene.keypoints is None else scene.keypoints[rows],
        confidence=None if scene.confidence is None else scene.confidence[rows],
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


def bone_paths(skeleton: Skeleton) -> tuple[tuple[int, ...], ...]:
    """The pen's way along the left, right and middle bones: joint indices, -1 where it is lifted.

    A bone has the side of its lower joint. A group without bones is empty.
    """
    paths: tuple[list[int], ...] = ([], [], [])
    sides = joint_sides(skeleton)
    for joint, parent in enumerate(skeleton.parents):
        if parent < 0:
            continue
        path = paths[sides[joint]]
        path += [joint] if path and path[-1] == parent else [-1, parent, joint]
    return tuple((*path[1:], -1) if path else () for path in paths)


def trace(poses: np.ndarray, path: tuple[int, ...]) -> np.ndarray:
    """One polyline [L * len(path), D] through poses [L, J, D], NaN where the pen is lifted."""
    lifted = np.full_like(poses[:, :1], np.nan)
    return np.concatenate([poses, lifted], axis=1)[:, list(path)].reshape(-1, poses.shape[-1])


def bounds(points: Sequence[np.ndarray], margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest finite coordinate [D] over arrays [..., D], widened by `margin`."""
    flat = np.concatenate([p.reshape(-1, p.shape[-1]) for p in points])
    return np.nanmin(flat, axis=0) - margin, np.nanmax(flat, axis=0) + margin


def grid_levels(low: float, high: float) -> np.ndarray:
    """Multiples of the grid's step that just enclose low to high; none if too many."""
    first, last = np.floor(low / GRID_METRES), np.ceil(high / GRID_METRES)
    return np.arange(first, last + 1) * GRID_METRES if last - first < _MAX_GRID_LINES else np.empty(0)


def caption(scene: Scene, row_noun: str, note: str) -> str:
    """What is shown of what was given, in which axes and units, and where the scale came from (`note`)."""
    num_hypotheses, num_rows = scene.counts
    shown = scene.layers[0].poses.shape[0]
    parts = [f"{shown} of {num_hypotheses} hypotheses", f"{len(scene.rows)} of {num_rows} {row_noun}"]
    return " · ".join([*parts, AXES_NOTE, f"grid {GRID_METRES} m", *([printable(note, 300)] if note else [])])


def printable(text: str, length: int = _LABEL_LENGTH) -> str:
    """One line that any font and file can hold: labels come from file names, which may hold anything."""
    line = "".join(c if c.isprintable() else " " for c in str(text).encode("utf-8", "replace").decode())
    head = length * 2 // 3  # the tail is kept too: that is where names of files and frames differ
    return line if len(line) <= length else f"{line[:head]}…{line[head + 1 - length :]}"


def at_least_one(name: str, value: int) -> int:
    """`value`, or a ValueError naming the argument `name`."""
    if value < 1:
        raise ValueError(f"{name}: got {value}, legal is 1 or more")
    return value


def need(module: str) -> ModuleType:
    """Import a drawing library, or say how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module}: not installed; needed for pictures: pip install jaxpose[viz]"
        ) from error


def write(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write under a temporary name and rename, so that `path` is never half-written."""
    target = Path(path)
    if not target.parent.is_dir():
        raise ValueError(f"path: {target.parent} is not a folder; legal is a file in a folder that exists")
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        draft.write_bytes(content)
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    return target


def _joints(name: str, value: ArrayLike, shape: tuple[int | str, ...]) -> np.ndarray:
    array = np.asarray(value, dtype=np.float32)
    legal = f"[{', '.join(map(str, shape))}]"
    fits = len(array.shape) == len(shape) and all(
        got > 0 if isinstance(want, str) else got == want
        for got, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name}: got shape {list(array.shape)}, legal is {legal}, no axis of length 0")
    array = np.where(np.isfinite(array).all(-1, keepdims=True), array, np.float32(np.nan))
    if np.isnan(array).all():
        raise ValueError(f"{name}: found no finite joint; legal is at least one")
    return array


def _confidence(value: ArrayLike | None, shape: tuple[int, ...]) -> np.ndarray:
    array = np.ones(shape, np.float32) if value is None else np.asarray(value, dtype=np.float32)
    if array.shape != shape:
        raise ValueError(f"confidence: got shape {list(array.shape)}, legal is {list(shape)}")
    return np.clip(np.nan_to_num(array, nan=0.0), 0.0, 1.0)


def _finite_mean(poses: np.ndarray) -> np.ndarray:
    finite = np.isfinite(poses)
    total = np.where(finite, poses, 0).sum(axis=0)
    count = finite.sum(axis=0)
    return np.where(count, total / np.maximum(count, 1), np.nan).astype(np.float32)
