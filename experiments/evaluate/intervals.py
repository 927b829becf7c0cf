"""How far the intervals of angles, distances, speeds and radii hold, on people whose databases are in training or not.

    python -m experiments.evaluate intervals --model=pose17 [--task=lift,clips] [--stride=4]
    python -m experiments.evaluate intervals --model=FILE.safetensors --task=lift --bench=../shared/bench/val_frames.npz

lift       frames of the validation people (on straight limbs) and of UI-PRMD, a database that is in no training
detected   what BlazePose reads: the walker and two people (experiments/evaluate/detected.py) and rendered frames, by
           detector, with the evidence of two networks (`told`), and with exact 2D; P-MPJPE and 2D error
clips      their clips, also of what is over time: speeds, angular velocities, ranges of motion
complete   3D joints of these frames, one part of the body hidden in each; what is open is scored
denoise    the same with 50 mm of noise, told
calibrate  `jaxpose calibrate` on three cameras of the walker (blocks of 0.2 s), scored on the fourth, and on half of
           UI-PRMD's people, scored on the others; the truth of the walker is a triangulation
rotations  hidden parts of body poses completed by a prior over rotations: the radius of a joint's rotation

2D detected, camera known, root depth not given. The first table of each has a row for each file, the second what the
intervals of each quantity hold (`jaxpose/evaluation/intervals.py`), left and right alike, with the lowest and highest
person and the 95 % confidence interval over people; "factor" would make the 90 % interval of these data hold. The
third, of frames, has the 90 % intervals by what a user can see: lean of the mean pose, number of visible joints, and
the worst third by misfit of the projection, by radius and by typicality (of pose17); beside them the third with the
largest true errors, the most that any such sign could find. "radius" is with the model's factors, "without" as the
samples have it. Bias: of knees whose true flexion is below 15 degrees. Nothing may be chosen by UI-PRMD. What was,
the command prints as "tuned".
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench, harness
from experiments.evaluate.detected import detected
from experiments.evaluate.harness import Item, Row, Table
from experiments.evaluate.interval_sets import (
    FPS,
    NOISE,
    TASKS,
    Drawn,
    Options,
    at,
    calibration_sets,
    clips,
    frames,
    lifted,
    of_joints,
)
from experiments.models.recalibrate_rotations import errors
from jaxpose import model as released
from jaxpose.app.commands import calibrate
from jaxpose.evaluation import calibration, metrics
from jaxpose.evaluation import intervals as held
from jaxpose.io.arrays import load_arrays
from jaxpose.tasks.complete_rotations import METHODS, PARTS, complete_rotations, methods_of
from jaxpose.tasks.measure import Measured, measure

_NEEDS = {"rotations": "rotations", "complete": "condition", "denoise": "condition"}  # of the model; joints of others
_SIDES = ("left", "right")
_PAIRS = (
    *("knee_flexion", "elbow_flexion", "hip_elevation", "shoulder_elevation", "hip_flexion", "hip_abduction"),
    *("shoulder_flexion", "shoulder_abduction", "thigh_elevation", "shank_elevation", "upper_arm_elevation"),
    "forearm_elevation",
)
_QUANTITIES = {name: tuple(f"{side}_{name}" for side in _SIDES) for name in _PAIRS}
_QUANTITIES |= {
    name: (name,)
    for name in (
        "trunk_elevation",
        "trunk_bend",
        "trunk_twist",
        "neck_bend",
        "wrist_distance",
        "step_length",
        "stature",
    )
}
_OVER_TIME = {
    **{f"speed of the {joint}": tuple(f"speed({side}_{joint})" for side in _SIDES) for joint in ("ankle", "wrist")},
    **{
        f"{word} of the {joint}": tuple(f"{function}({side}_{joint}_flexion)" for side in _SIDES)
        for joint in ("knee", "elbow")
        for word, function in (("velocity", "rate"), ("range", "range"))
    },
    **{
        f"{word} of the hip": tuple(f"{function}({side}_hip_flexion)" for side in _SIDES)
        for word, function in (("velocity", "rate"), ("range", "range"))
    },
}
_ANGLES = {"knee": "knee_flexion", "elbow": "elbow_flexion", "hip": "hip_elevation", "shoulder": "shoulder_elevation"}
STRAIGHT = 15.0  # degrees of flexion, below which a knee counts as straight
_OPEN = {"deg": 0.1, "m": 1e-3}  # standard deviation of what hidden joints leave open
_SUMMARY: dict[str, harness.Column] = {
    **{"poses": "poses:d", "mean": "mean_mm:.1f", "ECE": "ece:.3f"},
    **{"in 90 % radius": "radius:.1%", "without": "radius_without:.1%"},
    **{f"{joint} in 90 %": f"{joint}:.1%" for joint in _ANGLES},
    "straight knees in 90 %": "straight_knee_coverage:.1%",
    "bias of straight knees": "straight_knee_bias_deg:+.1f",
    "of the mean pose": "straight_knee_mean_pose_bias_deg:+.1f",
    "such knees": "straight_knees:d",
}
_DETECTED: dict[str, harness.Column] = {
    **{"poses": "poses:d", "P-MPJPE": "pa_mm:.1f", "in 90 % radius": "radius:.1%", "width": "radius_mm:.0f"},
    **{f"{joint} in 90 %": f"{joint}:.1%" for joint in _ANGLES},
    **{f"{joint} error": f"{joint}_deg:.1f" for joint in _ANGLES},
    **{"2D, 50 %": "px_50:.1f", "90 %": "px_90:.1f"},
}
_HOLDS: dict[str, harness.Column] = {
    **{f"in {level} %": f"coverage_{level}:.0%" for level in (50, 80, 90, 95)},
    **{"people": lambda v: f"{v['lowest']:.0%}..{v['highest']:.0%} of {v['people']}"},
    **{"95 % interval": lambda v: f"{v['low']:.0%}..{v['high']:.0%}"},
    **{"width": "width:.4g", "error": "error:.4g", "Winkler": "winkler:.4g", "CRPS": "crps:.4g"},
    **{"factor": "factor:.2f", "unit": "unit:s", "values": "values:d"},
}


def intervals(model: released.Model, options: Options) -> Iterator[Item]:
    """The tables of each task, file by file."""
    for task in options.task or [task for task in TASKS if released.able(model, _NEEDS.get(task, "joints"))]:
        makers: dict[str, Callable[..., Iterator[tuple[str, Drawn]]]] = {
            **{"lift": lifted, "detected": detected, "clips": clips},
            **dict.fromkeys(("complete", "denoise"), functools.partial(of_joints, task)),
        }
        if task in ("rotations", "calibrate"):
            yield from (rotations if task == "rotations" else calibrations)(model, options)
            continue
        drawn = dict(makers[task](model, options))
        columns = _SUMMARY if task != "detected" else _DETECTED
        yield Table(f"{task}: {about(model, options)}", privileges(task), bench.tuned(model), columns)
        values = {name: measured(one) for name, one in drawn.items()}
        for name, one in drawn.items():
            yield Row(f"{task}, {name}", summary(one, values[name]))
        for name, one in drawn.items() if task != "detected" else ():
            yield Table(f"{task}, {name}: intervals", privileges(task), bench.tuned(model), _HOLDS)
            yield Row(f"{name}, radius of a joint", radius_row(one, one.radius))
            yield Row(f"{name}, radius without factors", radius_row(one, own_radius(one)))
            for quantity, entry in values[name].items():
                yield Row(f"{name}, {quantity}", holds(entry, one.person))
            if one.groups:
                yield Table(f"{task}, {name}: 90 % intervals by group", privileges(task), bench.tuned(model), _SUMMARY)
            for group, rows in one.groups.items():
                yield Row(f"{name}, {group}", summary(one, values[name], rows))


def about(model: released.Model, options: Options) -> str:
    """Model and hypotheses in words."""
    return f"{model.spec.name}, {options.hypotheses} hypotheses; mm, degrees"


def privileges(task: str) -> str:
    """The privileges of a task's rows."""
    given = {"complete": "the other joints, exact", "denoise": f"noise of {NOISE} m, its size told"}
    return given.get(task, f"intrinsics; {bench.NO_DEPTH}")


class Values(NamedTuple):
    """Hypotheses [H, M] and truths [M] of a quantity where it is open, the rows [M] of the set, and its unit.

    of_mean: [M] of the mean pose, of quantities of frames.
    """

    sample: np.ndarray
    truth: np.ndarray
    rows: np.ndarray
    unit: str
    of_mean: np.ndarray

    def of(self, rows: np.ndarray) -> "Values":
        """Those of some rows of the set."""
        return self.where(np.isin(self.rows, rows))

    def where(self, mask: np.ndarray) -> "Values":
        """Those of a mask [M]."""
        return Values(self.sample[:, mask], self.truth[mask], self.rows[mask], self.unit, self.of_mean[mask])


def measured(drawn: Drawn) -> dict[str, Values]:
    """The values of each quantity."""
    asked = _QUANTITIES | ({} if drawn.clip is None else _OVER_TIME)
    names, every = [name for group in asked.values() for name in group], np.arange(len(drawn.truth))
    clips = [every] if drawn.clip is None else [np.flatnonzero(drawn.clip == c) for c in np.unique(drawn.clip)]
    parts: dict[str, list[Values]] = {name: [] for name in names}
    for rows in clips:
        how: dict[str, Any] = {} if drawn.clip is None else {"seconds": np.arange(len(rows)) / FPS}
        poses = (drawn.samples[:, rows], drawn.truth[rows], drawn.samples[:, rows].mean(0))
        ours, truths, means = (measure(x, *names, **how) for x in poses)
        for name in names:
            parts[name].append(scored(ours[name], truths[name], means[name], rows))
    joined = {}
    for quantity, group in asked.items():
        pieces = [piece for name in group for piece in parts[name]]
        sample, truth, rows, of_mean = (np.concatenate([p[i] for p in pieces], -1) for i in (0, 1, 2, 4))
        if len(truth):
            joined[quantity] = Values(sample, truth, rows, pieces[0].unit, of_mean)
    return joined


def scored(ours: Measured, truth: Measured, of_mean: Measured, rows: np.ndarray) -> Values:
    """The rows of a quantity that are open: what other joints fix is no interval."""
    (sample, true), mean = ours.beside(truth), of_mean.values[0]
    if sample.ndim == 1:  # of a clip
        sample, true, rows, mean = sample[:, None], np.atleast_1d(true), rows[:1], np.atleast_1d(mean)
    known = (sample.std(0) > _OPEN.get(ours.unit, 0)) & np.isfinite(sample).all(0) & np.isfinite(true)
    return Values(sample[:, known], true[known], rows[known], ours.unit, mean[known])


def holds(values: Values, person: np.ndarray) -> dict[str, Any]:
    """The row of a quantity; person: of the set's rows."""
    row = held.interval_row(values.sample, values.truth, person[values.rows])
    return row | {"unit": values.unit, "values": len(values.truth)}


def summary(drawn: Drawn, values: dict[str, Values], rows: np.ndarray | None = None) -> dict[str, Any]:
    """The row of a file, or of a group of its rows, in the first table."""
    if rows is not None:
        values = {name: v.of(rows) for name, v in values.items() if np.isin(v.rows, rows).sum() > 1}
    part = drawn if rows is None else at(drawn, rows)
    error = np.linalg.norm(part.samples.mean(0) - part.truth, axis=-1)
    whole = bool(part.counted[:, 1:].all())  # then the root, whose error is 0, is in the mean as in other tables
    mean = 1000 * float((error if whole else error[part.counted]).mean())
    row: dict[str, Any] = {"poses": len(part.truth), "mean_mm": mean}
    if whole:
        row["ece"] = float(calibration.ece(jnp.asarray(part.samples), jnp.asarray(part.truth)).ece)
    row |= {"radius": radius_row(part, part.radius)["coverage_90"]}
    row |= {"radius_without": radius_row(part, own_radius(part))["coverage_90"]}
    row |= {j: holds(values[q], drawn.person)["coverage_90"] for j, q in _ANGLES.items() if q in values}
    if part.error_px is not None:
        row |= about_detections(part, values, part.error_px)
    if "knee_flexion" not in values:
        return row
    knee = values["knee_flexion"]
    straight = knee.truth < STRAIGHT
    row["straight_knees"] = int(straight.sum())
    if straight.any():
        few = knee.where(straight)
        row["straight_knee_coverage"] = holds(few, drawn.person)["coverage_90"]
        row["straight_knee_bias_deg"] = float((few.sample.mean(0) - few.truth).mean())
        row["straight_knee_mean_pose_bias_deg"] = float((few.of_mean - few.truth).mean())
    return row


def about_detections(drawn: Drawn, values: dict[str, Values], error_px: np.ndarray) -> dict[str, float]:
    """P-MPJPE of the joints that count, width of the radius, median errors of angles and quantiles of 2D errors."""
    truth = np.where(drawn.counted[..., None], drawn.truth, 0)
    pa = metrics.p_mpjpe(*map(jnp.asarray, (drawn.samples.mean(0), truth, drawn.counted.astype(np.float32))))
    row = {"pa_mm": 1000 * float(pa.mean()), "radius_mm": 1000 * float(drawn.radius[drawn.counted].mean())}
    row |= {f"px_{q}": float(np.nanquantile(error_px, q / 100)) for q in (50, 90)}
    away = {j: abs(np.median(values[q].sample, 0) - values[q].truth) for j, q in _ANGLES.items() if q in values}
    return row | {f"{joint}_deg": float(np.median(error)) for joint, error in away.items()}


def own_radius(drawn: Drawn, level: float = 0.9) -> np.ndarray:
    """The radius [N, J] about the mean that holds a share of the samples."""
    return np.quantile(np.linalg.norm(drawn.samples - drawn.samples.mean(0), axis=-1), level, axis=0)


def radius_row(drawn: Drawn, radius: np.ndarray) -> dict[str, Any]:
    """What radii about the mean hold, of the joints that count; mm. Other levels as the samples' radii scale."""
    error = np.linalg.norm(drawn.samples.mean(0) - drawn.truth, axis=-1)
    factor = radius / np.maximum(own_radius(drawn), 1e-9)
    row: dict[str, Any] = {}
    for level in held.LEVELS:
        inside = error <= factor * own_radius(drawn, level)
        row[f"coverage_{round(100 * level)}"] = float(inside[drawn.counted].mean())
    inside = (error <= radius)[drawn.counted]
    person = np.broadcast_to(drawn.person[:, None], error.shape)[drawn.counted]
    needed = (error / np.maximum(radius, 1e-9))[drawn.counted]
    row |= {"width": 1000 * float(radius[drawn.counted].mean()), "error": 1000 * float(error[drawn.counted].mean())}
    row |= {"factor": float(np.quantile(needed, 0.9)), "unit": "mm", "values": int(drawn.counted.sum())}
    return row | held.by_people(inside, person)


def calibrations(model: released.Model, options: Options) -> Iterator[Item]:
    """What 90 % hold of people and cameras that did not calibrate, before and after."""
    names = ("radius", *_ANGLES)
    columns: dict[str, harness.Column] = {"calibrated by": "by:s"}
    columns |= {f"{n}{w}": f"{n}{w}:.0%" for n in names for w in (", before", ", after")}
    title = f"calibrate: {about(model, options)}; share in the 90 % radius and intervals"
    yield Table(title, f"{privileges('lift')}; the truth of others", bench.tuned(model), columns)
    for name, parts in calibration_sets(model, options):
        for number, (scored_on, left_out) in enumerate(parts.items()):
            others = [part for i, part in enumerate(parts.values()) if i != number]
            given = calibrate.Scored(*(np.concatenate(x, int(i == 0)) for i, x in enumerate(zip(*others, strict=True))))
            joints, quantities = calibrate.fitted(given)
            row: dict[str, Any] = {"by": f"{len(given.person)} frames, {len(np.unique(given.block))} blocks"}
            after = calibrate.with_factors(left_out.samples, joints)
            for word, samples in ((", before", left_out.samples), (", after", after)):
                row |= {f"radius{word}": inside_radius(samples, left_out.truth)}
                for joint, quantity in _ANGLES.items():
                    factor = quantities[quantity].factor if word == ", after" and quantity in quantities else 1.0
                    row[joint + word] = inside_angle(samples, left_out.truth, quantity, factor)
            yield Row(f"{name}, {scored_on}", row)


def inside_radius(samples: np.ndarray, truth: np.ndarray) -> float:
    """Share of the truths [N, 17, 3] that are known within the samples' own 90 % radius."""
    mean = samples.mean(0)
    radius = np.quantile(np.linalg.norm(samples - mean, axis=-1), 0.9, axis=0)
    error = np.linalg.norm(truth - mean, axis=-1)[:, 1:]
    return float((error <= radius[:, 1:])[np.isfinite(error)].mean())


def inside_angle(samples: np.ndarray, truth: np.ndarray, quantity: str, factor: float) -> float:
    """Share of the true angles that are known in their 90 % interval, `factor` times as wide; NaN where none is."""
    names = _QUANTITIES[quantity]
    pairs = [(x[n] for x in (measure(samples, *names), measure(truth, *names))) for n in names]
    needed = np.concatenate([held.needed_factor(*ours.beside(true)) for ours, true in pairs])
    known = np.isfinite(needed)
    return float((needed <= factor)[known].mean()) if known.any() else float("nan")


def rotations(model: released.Model, options: Options) -> Iterator[Item]:
    """The radius of rotations of hidden joints, by method, with the model's factors and without."""
    columns: dict[str, harness.Column] = {"with": "with:.1%", "without": "without:.1%", "factor": "factor:.2f"}
    columns |= {name: _HOLDS[name] for name in ("people", "95 % interval")}
    title = f"rotations: {model.spec.name}, share of hidden joints' rotations in the 90 % radius"
    yield Table(title, "the other joints' rotations and the root, exact", bench.tuned(model), columns)
    for name, _, person in frames(options):
        path = options.bench or bench.bench_file(f"{name}.npz")
        truth = jnp.asarray(load_arrays(path, "body_pose")["body_pose"][:: options.stride].reshape(-1, 21, 3))
        hidden = bench.one_part_of_each(np.random.default_rng(options.seed), PARTS, *truth.shape[:2])
        for method in methods_of(dataclasses.replace(model, base=None)):
            how: dict[str, Any] = {"num_hypotheses": min(10, options.hypotheses), "method": METHODS[method]()}
            key = jax.random.key(options.seed)
            drawn = complete_rotations(key, model, truth, jnp.asarray(~hidden, jnp.float32), **how)
            error, radius = map(np.asarray, errors(drawn, truth))
            counted = hidden & (radius > 1e-6)
            own = model.recalibration.get(f"complete_{method}")
            scaled = radius if own is None else radius * np.asarray(own.radius)
            who = np.broadcast_to(person[:, None], error.shape)[counted]
            row_of = {"with": float((error <= scaled)[counted].mean())}
            row_of |= {"without": float((error <= radius)[counted].mean())}
            row_of |= {"factor": float(np.quantile((error / np.maximum(scaled, 1e-9))[counted], 0.9))}
            yield Row(f"{name}, {method}", row_of | held.by_people((error <= scaled)[counted], who))
