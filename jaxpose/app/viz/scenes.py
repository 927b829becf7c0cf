"""Pages of pose hypotheses (page.py).

motion: people over time, everybody of a frame in one space.
path:   people on a floor, over the states of their denoising (the diffusion time).
grid:   people on a floor, standing still.

`Layers` lists what may be shown beside the poses. Poses are metres in camera axes (x right, y down, z forward),
positions in a page are within 0.25 mm, pixels within 0.13, and joints that are not finite are gaps. note is a line such
as where the scale comes from. All raise ValueError for wrong shapes, H = 0 and poses without a finite joint.

The spread of hypotheses is shown for each joint by an ellipsoid and a radius that hold 90 % of it.

With samples x_h, their mean m and covariance S, the Mahalanobis distances d_h = |S^(-1/2) (x_h - m)| have quantiles
d_50 and d_90. The ellipsoid is m + d_90 C^(1/2) u, |u| <= 1, where C is the covariance as it was given (recalibrated,
where the model has it) or else S: its size is C's, its tails are the samples'. Without samples d_50 and d_90 are those
of a Gaussian: the root of chi^2 with 3 degrees of freedom, 1.538 and 2.500.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxpose.app.viz import crowd as cr
from jaxpose.app.viz import scene as sc
from jaxpose.app.viz.page import (
    STEP,
    Packer,
    Page,
    Steps,
    display,
    flat_part,
    frame_of,
    layer_part,
    make_page,
    skeleton_part,
)
from jaxpose.geometry.skeleton import Skeleton

_GAUSSIAN = (1.538, 2.500)
_LEAST = 10  # samples, for quantiles of their own
_TINY = 1e-9  # square metres: thinner than a tenth of a millimetre is exact


class Spread(NamedTuple):
    """The spread of N poses: mean [N, J, 3] m; shape [N, J, 3, 3] m, symmetric; inner [N, J] and radius [N, J] m.

    The joint is within mean + shape u, |u| <= 1, with 90 %, within inner times that with 50 %, and within the radius
    about the mean with 90 %. NaN where a joint has no finite sample.
    """

    mean: np.ndarray
    shape: np.ndarray
    inner: np.ndarray
    radius: np.ndarray


def spread_of(
    samples: np.ndarray, covariance: np.ndarray | None = None, radius_90: np.ndarray | None = None
) -> Spread | None:
    """The spread of samples [H, N, J, 3] m with their covariance [N, J, 3, 3] and radius [N, J] where these are given.

    None where it is not known: fewer than 10 samples, and no covariance or one of 0.
    """
    x = np.asarray(samples, np.float64)
    few = len(x) < _LEAST
    if few and not np.any(covariance):
        return None
    mean = x.mean(0)
    away = x - mean
    of_samples = np.einsum("hnji,hnjk->njik", away, away) / len(x)
    given = of_samples if covariance is None else np.asarray(covariance, np.float64)
    if few:
        inner, outer = (np.full(mean.shape[:2], d) for d in _GAUSSIAN)
    else:
        distance = np.linalg.norm(np.einsum("njik,hnjk->hnji", _root(of_samples, -0.5), away), axis=-1)
        inner, outer = np.quantile(distance, (0.5, 0.9), axis=0)
    shape = outer[..., None, None] * _root(given, 0.5)
    if radius_90 is None:
        radius_90 = (
            np.quantile(np.linalg.norm(away, axis=-1), 0.9, axis=0)
            if not few
            else outer * np.sqrt(np.trace(given, axis1=-2, axis2=-1) / 3)
        )
    return Spread(mean, shape, inner / np.maximum(outer, 1e-6), np.asarray(radius_90, np.float64))


def _root(matrices: np.ndarray, power: float) -> np.ndarray:
    """Powers of symmetric matrices [..., 3, 3]; directions without spread stay 0. NaN stays NaN."""
    finite = np.isfinite(matrices).all((-1, -2), keepdims=True)
    values, vectors = np.linalg.eigh(np.where(finite, matrices, 0))
    powers = np.where(values > _TINY, np.maximum(values, _TINY) ** power, 0)
    return np.where(finite, (vectors * powers[..., None, :]) @ np.swapaxes(vectors, -1, -2), np.nan)


_SECONDS_PER_POSE = 0.7  # without a frame rate frames need not be one motion: slow enough to look at each
_SECONDS_PER_PATH, _PAUSES = 4.0, (0.06, 0.5)  # of a denoising, and between its states
_MOST_NUMBERS = 500_000  # coordinates of hypotheses: about 1 MB
_FROM_ABOVE = (0.25, 0.42)  # yaw and pitch of the first view of a crowd, radians
_WITHIN = "positions within 0.25 mm"


class MotionOptions(NamedTuple):
    """The look of a page of samples [H, N, J, 3], beside `Layers`; a row of the N is one person in one frame.

    frame, person: [N] numbers; by default the rows are frames of one person. root: [N, 3] metres, where each row's root
    stands: the people of a frame then stand where they are to each other. fps: frames per second, for playing in real
    time. labels: one per row, shown where there is one person. image_size: width and height of the picture that
    keypoints lie in. film: a JPEG of each of the N rows' frames, or None. floor: metres below the origin of the
    axes, or None: under the lowest joint. max_hypotheses of the H are shown, evenly spaced, and fewer where the page
    would get large; at most max_frames frames, a constant stride apart; the caption says so.
    """

    frame: ArrayLike | None = None
    person: ArrayLike | None = None
    root: ArrayLike | None = None
    fps: float | None = None
    labels: Sequence[str] | None = None
    image_size: tuple[int, int] | None = None
    film: Sequence[bytes | None] | None = None
    floor: float | None = None
    max_hypotheses: int = 30
    max_frames: int = 300


def motion_page(
    samples: ArrayLike, skeleton: Skeleton, *, title: str = "3D pose hypotheses", note: str = "", **options: Any
) -> Page:
    """The page of samples [H, N, J, 3], root-relative; options: of `MotionOptions` and `Layers`."""
    layers, others = sc.layers_of(options)
    given = MotionOptions(**others)
    check_fps(given.fps)
    poses = sc.joints("samples", samples, ("H", "N", len(skeleton.joints), 3))
    crowd = cr.make_crowd(poses.shape[1], given.frame, given.person)
    place, num_frames = cr.places(crowd, given.root), len(crowd.frames)
    kept = sc.strided(num_frames, sc.at_least_one("max_frames", given.max_frames))
    rows = np.flatnonzero(np.isin(crowd.at, kept))
    layers.setdefault("mean_name", sc.MEAN if len(poses) > 1 else "pose")
    room = max(3, _MOST_NUMBERS // (len(rows) * 3 * len(skeleton.joints)))
    scene = sc.make_scene(poses, skeleton, max_hypotheses=min(given.max_hypotheses, room), **layers)
    scene = sc.with_labels(scene, "labels", given.labels)
    if len(poses) == 1:  # the pose says it all
        scene = scene._replace(layers=tuple(layer for layer in scene.layers if layer.group != sc.HYPOTHESES))
    crowd = cr.make_crowd(len(rows), crowd.frames[crowd.at[rows]], crowd.people[crowd.who[rows]])
    whole = cr.gathered(sc.take_rows(scene, rows), crowd, place[rows])
    pictures: list[bytes | None] = [None] * len(crowd.frames)
    for row, at in zip(rows.tolist(), crowd.at, strict=True):
        pictures[at] = pictures[at] or (given.film[row] if given.film else None)
    packer = Packer()
    parts = {
        **{"layers": [layer_part(packer, layer) for layer in whole.layers], "skeletons": [skeleton_part(skeleton)]},
        "people": [f"person {number}" for number in crowd.people],
        "uncertainty": _uncertainty(packer, poses[:, rows], layers, rows, crowd, place[rows]),
        "marks": _marks(packer, layers, rows, crowd, poses.shape[1]),
        "flat": flat_part(packer, whole, given.image_size, pictures if given.film else None),
        **_around([layer.poses for layer in whole.layers], given.floor),
    }
    words = [scene.labels[row] for row in rows] if len(crowd.people) == 1 else [""] * len(crowd.frames)
    steps = frame_steps(crowd.frames, given.fps, words, _SECONDS_PER_POSE)
    return make_page(packer, title, note, _caption(scene, crowd, num_frames, given), steps, scene.up, **parts)


def _caption(scene: sc.Scene, crowd: cr.Crowd, num_frames: int, given: MotionOptions) -> list[str]:
    alone = len(crowd.people) == 1
    stood = ", at the place of each root" if given.root is not None else ", root-relative" if alone else ""
    return [
        f"{len(scene.shown)} of {scene.counts[0]} hypotheses" if scene.counts[0] > 1 else "",
        f"{len(crowd.frames)} of {num_frames} frames" if num_frames > 1 else "",
        "" if alone else f"{len(crowd.people)} people",
        f"metres in {sc.AXES_NOTES[scene.up]}{stood}",
        f"grid {sc.GRID_METRES} m" + (", its height is of the lowest joint" if given.floor is None else ""),
        _WITHIN,
    ]


def path_page(
    states: ArrayLike, skeleton: Skeleton, *, title: str = "From noise to 3D poses", note: str = "", **options: Any
) -> Page:
    """The page of denoising states [T+1, H, N, J, 3], T >= 1, opening with the last: people on a floor.

    options: of `GridOptions` and `Layers`.
    """
    num = np.shape(states)[0] if np.ndim(states) else 0
    if num == 1:
        raise ValueError("states: got T = 0, one state only; needed two or more, from the start to the result")
    grid = cr.make_grid("states", states, skeleton, **options)
    words = [f"state {row} of {num - 1}" for row in grid.scene.rows]
    pause = float(np.clip(_SECONDS_PER_PATH / len(words), *_PAUSES))
    return _grid_page(grid, skeleton, title, note, Steps(tuple(words), pause, len(words) - 1))


def grid_page(
    samples: ArrayLike, skeleton: Skeleton, *, title: str = "3D poses", note: str = "", **options: Any
) -> Page:
    """The page of samples [H, N, J, 3]: N people on a floor; options: of `GridOptions` and `Layers`."""
    poses = sc.joints("samples", samples, ("H", "N", len(skeleton.joints), 3))
    grid = cr.make_grid("samples", poses[None], skeleton, **options)
    return _grid_page(grid, skeleton, title, note, Steps(("",), 0.0))


def check_fps(fps: float | None) -> None:
    """ValueError where it is no frame rate."""
    if fps is not None and not 0 < fps < np.inf:
        raise ValueError(f"fps: got {fps}, must be a finite number above 0, or None")


def frame_steps(frames: np.ndarray, fps: float | None, words: Sequence[str], seconds: float) -> Steps:
    """A step for each of the frames [F], at `fps` of their numbers a second, or else one after so many seconds."""
    labels = []
    for number, word in zip(frames, words, strict=True):
        parts = [f"frame {number}", f"{(number - frames[0]) / fps:.2f} s" if fps else "", word]
        labels.append(" · ".join(part for part in parts if part))
    stride = float(np.median(np.diff(frames))) if len(frames) > 1 else 1.0
    return Steps(tuple(labels), stride / fps if fps else seconds)


def _grid_page(grid: cr.Grid, skeleton: Skeleton, title: str, note: str, steps: Steps) -> Page:
    packer, scene = Packer(), grid.scene
    last = [layer.poses[:, -1] for layer in scene.layers]
    parts = {
        **{"layers": [layer_part(packer, layer) for layer in scene.layers], "skeletons": [skeleton_part(skeleton)]},
        "people": [name or f"person {number}" for number, name in enumerate(grid.names)],
        "view": _FROM_ABOVE if len(grid.names) > 1 else None,
        "places": np.round(display(grid.places), 4).tolist() if any(grid.names) else None,
        "flat": flat_part(packer, scene, None, None),
        **_around([*last, grid.places], 0.0),
    }
    return make_page(packer, title, note, [*cr.caption(grid), _WITHIN], steps, "-y", **parts)


def _around(poses: list[np.ndarray], floor: float | None) -> dict[str, Any]:
    """The box of poses [..., 3] in camera axes to be in sight, and the height of the floor in display axes."""
    box = frame_of([display(p) for p in poses])
    return {"box": box, "floor": box["low"][1] - 0.02 if floor is None else -floor}


def _uncertainty(
    packer: Packer, poses: np.ndarray, layers: sc.Layers, rows: np.ndarray, crowd: cr.Crowd, place: np.ndarray
) -> dict[str, Any] | None:
    """Ellipsoids and radii [P, F, J, ...] of the rows (`posterior.Spread`); shape as xx, yy, zz, xy, xz, yz."""
    covariance, radius = (
        None if layers.get(name) is None else np.asarray(layers[name])[rows] for name in ("covariance", "radius_90")
    )
    spread = spread_of(poses, covariance, radius)
    if spread is None:
        return None
    mirror = np.outer([1, -1, -1], [1, -1, -1])
    shape = (spread.shape * mirror)[..., [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    mm = np.clip(np.rint(1000 * np.nan_to_num(spread.radius, nan=65.535)), 0, 2**16 - 1).astype(np.uint16)
    inner = np.clip(np.rint(255 * np.nan_to_num(spread.inner)), 0, 255).astype(np.uint8)
    return {
        "mean": packer.positions(crowd.spread_out(display(spread.mean + place[:, None])), STEP, time=1),
        "shape": packer.positions(crowd.spread_out(shape), STEP / 2, time=1),
        "inner": packer.add(crowd.spread_out(inner, 0), time=1),
        "radius_mm": packer.add(crowd.spread_out(mm, 2**16 - 1), time=1),
    }


def _marks(packer: Packer, layers: sc.Layers, rows: np.ndarray, crowd: cr.Crowd, num: int) -> dict[str, Any] | None:
    """missing [P, F, J]: joints that the input lacks; unusual [P, F]: poses out of distribution; num: rows in all."""
    given, confidence, keypoints = layers.get("given"), layers.get("confidence"), layers.get("keypoints")
    marks = {}
    observed = keypoints if given is None else given
    if observed is not None:
        missing = ~np.isfinite(np.asarray(observed)).all(-1)
        if given is None and confidence is not None:
            missing |= ~(np.asarray(confidence) > 0)
        marks["missing"] = packer.add(crowd.spread_out(missing[rows].astype(np.uint8), 1), time=1)
    unusual = layers.get("unusual")
    if unusual is not None:
        flags = sc.shaped("unusual", unusual, (num,), "b")
        marks["unusual"] = packer.add(crowd.spread_out(flags[rows].astype(np.uint8), 0), time=1)
    return marks or None
