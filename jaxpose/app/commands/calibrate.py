"""`jaxpose calibrate RESULT --truth FILE --out FILE.json`: factors on intervals by a laboratory's own truth.

A block is 2 s (--block) of one person; blocks, not frames, are the units of the conformal ranks of
`evaluation/intervals.py`, for errors of neighbouring frames are one error. A file is another person. The truth is
turned to the result by the one rotation of the whole file that fits best, so that nothing need be known of the
laboratory's axes.
`calibration.py` says what the factors are of.
"""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxpose.app.commands import poses
from jaxpose.app.commands.calibration import KIND, LARGEST, LEVEL, kind_of_joint, spread
from jaxpose.app.commands.file_options import Calibrate
from jaxpose.app.commands.measure import result_of
from jaxpose.evaluation import intervals
from jaxpose.files import write_json
from jaxpose.geometry import measures
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.io.results import read_result
from jaxpose.tasks.measure import measure

_FOLDS = 5  # parts of the time, where there is one person
_FPS = 30.0  # of files that do not say
_FARTHEST = 0.3  # metres, median distance of joints: what is farther is another person, moment or unit
_LEAST = -(-intervals.least_units(LEVEL) * _FOLDS // (_FOLDS - 1))  # blocks, of which a fifth can be left out


class Scored(NamedTuple):
    """A result beside its truth: samples [H, n, 17, 3] and truth [n, 17, 3] m about the hips, NaN where missing.

    block, person: [n] numbers.
    """

    samples: np.ndarray
    truth: np.ndarray
    block: np.ndarray
    person: np.ndarray


class Fit(NamedTuple):
    """A factor, and the lowest, mean and highest share that factors of the other folds hold of a fold."""

    factor: float
    held: tuple[float, float, float]


def calibrate(options: Calibrate) -> Iterator[str]:
    """Read the pairs, fit, check on what is left out, write."""
    if len(options.truth) != len(options.input):
        raise ValueError(f"--truth: needed one file for each result, got {len(options.truth)} of {len(options.input)}")
    parts = []
    for number, (path, truth) in enumerate(zip(options.input, options.truth, strict=True)):
        parts.append((yield from _paired(options, path, truth, number)))
    data = Scored(*(np.concatenate(x, axis) for x, axis in zip(zip(*parts, strict=True), (1, 0, 0, 0), strict=True)))
    blocks, people = len(np.unique(data.block)), len(np.unique(data.person))
    if blocks < _LEAST:
        raise ValueError(
            f"--truth: {len(data.block)} frames are {blocks} blocks of {options.block:g} s of one person; needed "
            f"{_LEAST} or more ({_LEAST * options.block:g} s) to promise {LEVEL:.0%} and to check it on others"
        )
    joints, quantities = fitted(data)
    low, high = intervals.held_by_calibration(blocks, LEVEL)
    promise = (
        f"{len(data.block)} frames, {blocks} blocks of {people} people: {LEVEL:.0%} for other moments of these people "
        f"with this set-up (of such calibrations 90 % hold {low:.0%} to {high:.0%}); "
        f"{people} people promise a new person at most {intervals.promise(people):.0%}"
    )
    yield promise
    left = "a person" if people > 1 else f"a {_FOLDS}th of the time"
    for name, fit in (joints | quantities).items():
        held = f"{fit.held[1]:.0%} hold ({fit.held[0]:.0%} to {fit.held[2]:.0%})"
        yield f"{name}: factor {fit.factor:.2f}; with {left} left out {held}"
    entries: dict[str, Any] = {"kind": KIND, "level": LEVEL, "promise": promise, "blocks": blocks, "people": people}
    for group, fits in (("joints", joints), ("quantities", quantities)):
        known = {name: [round(x, 4) if np.isfinite(x) else None for x in fit.held] for name, fit in fits.items()}
        entries[group] = {n: {"factor": round(fit.factor, 4), "left_out": known[n]} for n, fit in fits.items()}
    write_json(options.out, entries)
    yield f"wrote {options.out}"


def fitted(data: Scored) -> tuple[dict[str, Fit], dict[str, Fit]]:
    """Factors of kinds of joints, and of quantities on samples that have these."""
    mean = data.samples.mean(0)
    radius = np.quantile(np.linalg.norm(data.samples - mean, axis=-1), LEVEL, axis=0)
    needed = np.linalg.norm(data.truth - mean, axis=-1) / np.maximum(radius, 1e-9)
    joints = _fits({name: needed[:, j] for j, name in enumerate(H36M_17.joints) if name != "hip"}, data)
    ours, truth = (measure(x, *measures.names()) for x in (with_factors(data.samples, joints), data.truth))
    factors = {name: intervals.needed_factor(*one.beside(truth[name]), LEVEL) for name, one in ours.items()}
    return joints, _fits(factors, data)


def with_factors(samples: np.ndarray, joints: dict[str, Fit]) -> np.ndarray:
    """Samples [H, N, 17, 3] about the hips with factors of kinds of joints."""
    return spread(samples, {name: fit.factor for name, fit in joints.items()})


def _paired(options: Calibrate, given: Path, path: Path, number: int) -> Generator[str, None, Scored]:
    """Frames of which result and truth are known."""
    result = read_result((yield from result_of(given, options.out.parent)), H36M_17)
    if result.calibration:
        raise ValueError(f"{given}: is calibrated already; needed a result without --calibrated")
    truth = poses.read_observed(path, H36M_17, options.axes, options.skeleton, fps=options.fps)
    yield from truth.lines
    source, fps = truth.source, result.fps or options.fps or _FPS
    frame = np.rint(source.frame * (fps / (source.fps or fps))).astype(int)
    alone = len(np.unique(source.person)) == len(np.unique(result.person)) == 1
    keys = {(f, 0 if alone else p): row for row, (f, p) in enumerate(zip(frame, source.person, strict=True))}
    both = [
        (row, keys.get((f, 0 if alone else p)))
        for row, (f, p) in enumerate(zip(result.frame, result.person, strict=True))
    ]
    rows, others = (np.array([pair[i] for pair in both if pair[1] is not None], int) for i in (0, 1))
    if not len(rows):
        raise ValueError(
            f"{path}: no frame in common: its frames are {frame.min()} to {frame.max()}, those of the result "
            f"{result.frame.min()} to {result.frame.max()}"
        )
    joints, samples = truth.joints[others].astype(np.float64), result.samples[:, rows].astype(np.float64)
    data, line = turned(samples, joints, str(path))
    yield line
    person = 1_000_000 * number + np.unique(result.person[rows], return_inverse=True)[1]
    time = np.floor((result.frame[rows] - result.frame.min()) / fps / options.block).astype(np.int64)
    return Scored(*data, 10_000_000 * person.astype(np.int64) + time, person)


def turned(samples: np.ndarray, joints: np.ndarray, where: str) -> tuple[tuple[np.ndarray, np.ndarray], str]:
    """Samples [H, n, 17, 3] and true joints [n, 17, 3] about the hips, these turned to the samples' axes; and a line.

    ValueError for joints without hips, and where they are far from the samples'.
    """
    joints, samples = joints - joints[:, :1], samples - samples[:, :, :1]
    from scipy.spatial.transform import Rotation  # here, so that no other command loads it

    known, mean = np.isfinite(joints).all(-1), samples.mean(0)
    if not known[:, 1:].any():
        raise ValueError(f"{where}: no hip in any frame; needed both hips, about which joints are compared")
    turn, _ = Rotation.align_vectors(mean[known], joints[known])
    joints = turn.apply(joints.reshape(-1, 3)).reshape(joints.shape)
    away = float(np.nanmedian(np.linalg.norm(joints - mean, axis=-1)[:, 1:]))
    if away > _FARTHEST:
        needed = "needed the same person, moments and unit"
        raise ValueError(f"{where}: joints lie {away:.2f} m from the result's in the median, once turned; {needed}")
    words = f"turned by {np.degrees(turn.magnitude()):.0f} degrees to the result; its joints lie {1000 * away:.0f} mm"
    words += " away in the median"
    return (samples, joints), f"{where}: {len(joints)} frames in common, {words}"


def _fits(needed: dict[str, np.ndarray], data: Scored) -> dict[str, Fit]:
    """The factor of each kind by needed ones [n] of its left and right, where enough blocks have any that is finite."""
    kinds: dict[str, list[np.ndarray]] = {}
    for name, factors in needed.items():
        kinds.setdefault(kind_of_joint(name), []).append(factors)
    fold = data.person
    if len(np.unique(fold)) == 1:
        _, place = np.unique(data.block, return_inverse=True)
        fold = place * _FOLDS // (place.max() + 1)
    fits = {}
    for kind, parts in kinds.items():
        flat, of, block = (np.concatenate(x) for x in (parts, [fold] * len(parts), [data.block] * len(parts)))
        known = np.isfinite(flat)
        if len(np.unique(block[known])) >= _LEAST:
            fits[kind] = _fit(flat[known], of[known], block[known])
    return fits


def _fit(needed: np.ndarray, fold: np.ndarray, block: np.ndarray) -> Fit:
    """The factor of needed ones [n] in blocks, checked by leaving out each fold that leaves enough."""
    held = []
    for name in np.unique(fold):
        rest = fold != name
        if len(np.unique(block[rest])) >= intervals.least_units(LEVEL):
            factor = intervals.conformal_factor(needed[rest], block[rest], LEVEL)
            held.append(float((needed[~rest] <= factor).mean()))
    factor = min(max(intervals.conformal_factor(needed, block, LEVEL), 1e-3), LARGEST)
    return Fit(factor, (min(held), float(np.mean(held)), max(held)) if held else (np.nan, np.nan, np.nan))
