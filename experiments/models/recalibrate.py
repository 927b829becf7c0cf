"""Fit the factors on a model's covariance and 90 % radius, and write the model with them.

    python -m experiments.models.recalibrate --model=motion17 --out=runs/motion17.safetensors

Lifting by a model of motions is fitted on the validation people, in clips of 64 frames, under all of `CONDITIONS`
together: as the benchmark sees them; exact keypoints; confidences that are not told; persons turned anyhow; cameras
anywhere; rough detectors; COCO's joints. It is fitted on half of the people and scored on the other half, both ways;
then fitted on all, which is written if the other halves gained by it. Completion of 3D joints and denoising, and the
radius of completed rotations (`recalibrate_rotations.py`), are fitted on the validation people as well. Samples are
never moved: factors on the spread, fitted on people whose databases are in training, made the intervals of everybody
else too narrow (docs/uncertainty.md). Prints a table before and after, and writes it beside the model as `.json`.
"""

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import launch
from experiments.evaluate import bench as data
from experiments.models import groups
from experiments.models.recalibrate_rotations import of_rotations
from experiments.options import option, run
from jaxpose import model as released
from jaxpose.base import Array, Camera
from jaxpose.datasets.mocap import data_root, load_mocap
from jaxpose.evaluation import calibration, metrics
from jaxpose.evaluation.protocols import HIDDEN_PARTS
from jaxpose.files import write_json
from jaxpose.tasks.complete import complete
from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.lift import lift
from jaxpose.training import processes
from jaxpose.training.checkpoint import git_commit

FIGURES = ("ece", "best_mm", "radius_coverage_90", "covariance_ratio")
HALVES = (("cmu06", "hdm_dg", "react012"), ("cmu08", "cmu94", "cmu131", "react013"))
FILES = ("cmu", "hdm05", "cmu_more", "reactidle")
_HARD = groups.BENCH._replace(no_confidence=0.2, noise=(0.7, 1.3))
CONDITIONS = {
    "detected": groups.BENCH,
    "exact": groups.BENCH,  # of which the true keypoints are taken
    "no confidence": groups.BENCH._replace(no_confidence=1.0),
    "turned": _HARD._replace(turn=1.0),
    "free camera": _HARD._replace(free=1.0),
    "rough detector": _HARD._replace(rough=1.0, swap=0.1, occlude=0.2, truncate=0.1, vague=0.3),
    "BlazePose": _HARD._replace(blazepose=1.0, vague=0.5, coco=1.0),
}
_BLOCK = 64


@dataclasses.dataclass(frozen=True)
class Options:
    model: str = option("pose17", "A bundled model's name or a .safetensors file.")
    out: str = option(None, "The .safetensors file to write.", required=True)
    hypotheses: int = option(100, "Poses per observation.", low=10)
    poses: int = option(400, "Of each condition.", low=10)
    seed: int = option(0, "Of the one key.")


class Rows(NamedTuple):
    """Hypotheses [H, N, J, 3] and truth [N, J, 3] metres, camera axes, about the root."""

    samples: Array
    truth: Array


def main(options: Options) -> None:
    """Fit, print the table and write the model."""
    out = Path(options.out)
    model = dataclasses.replace(released.load(options.model), recalibration={})
    if model.spec.space.representation:
        of_methods, lines = of_rotations(model, FILES, HALVES, options.poses, options.seed)
        return write(out, model, of_methods, lines, options, "the other joints' rotations and the root, exact")
    print(f"about {options.poses} poses, {options.hypotheses} hypotheses; best in mm")
    lines, factors = of_motions(model, options) if "motion" in model.capabilities else ([], {})
    if not lines and "condition" in model.capabilities:
        factors = of_joints(model, jnp.asarray(data.load_frames(2).joints_cam, jnp.float32), options)
    write(out, model, factors, lines, options, f"intrinsics; {data.NO_DEPTH}")


def of_motions(
    model: released.Model, options: Options
) -> tuple[list[dict[str, Any]], dict[str, released.Recalibration]]:
    """The printed lines and the factors of lifting by a model of motions; none where other people do not gain."""
    mocap = load_mocap(data_root(), "val+val_more", FILES)
    print("fitted on | scored on | condition | ECE | best | 90 % radius holds | covariance ratio")
    see = partial(groups.see, mocap, num=options.poses, seed=options.seed, num_frames=_BLOCK)
    conditions = {name: see(rates) for name, rates in CONDITIONS.items()}

    def draw_one(name: str, seen: Any) -> Rows:
        return draw(model, seen, options, exact=name == "exact")

    rows = launch.divided(conditions, draw_one, Rows)
    factors, lines = fit_on_people(rows, conditions["detected"].subject)
    return lines, {"lift": factors} if helps(lines) else {}


def write(
    out: Path,
    model: released.Model,
    recalibration: dict[str, released.Recalibration],
    rows: list[dict[str, Any]],
    options: Options,
    privileges: str,
) -> None:
    """The model with its recalibration, and the printed lines beside it."""
    fields = {task: {k: np.asarray(v).tolist() for k, v in r._asdict().items()} for task, r in recalibration.items()}
    record: dict[str, Any] = {"model": released.describe(model), "options": dataclasses.asdict(options)}
    record |= {"commit": git_commit(), "tuned": "covariance and radius of each row on its `fitted_on`"}
    record |= {"privileges": privileges, "rows": rows, "recalibration": fields}
    if processes.is_first():
        released.save(out, dataclasses.replace(model, recalibration=recalibration), dtype=None)
        write_json(out.with_suffix(".json"), record)
        print(f"wrote {out} and {out.with_suffix('.json')}")


def fit_on_people(rows: dict[str, Rows], subject: np.ndarray) -> tuple[released.Recalibration, list[dict[str, Any]]]:
    """Factors from all people, and the lines of the table: as drawn, on other halves of the people, on all."""
    everybody = np.ones(len(subject), bool)
    result = list(table(rows, everybody, None, "-", "all"))
    for half, other in (HALVES, HALVES[::-1]):
        fitted, scored = np.isin(subject, half), np.isin(subject, other)
        result += table(rows, scored, None, "-", "+".join(other))
        result += table(rows, scored, fit(rows, fitted), "+".join(half), "+".join(other))
    of_all = fit(rows, everybody)
    return of_all, result + list(table(rows, everybody, of_all, "all", "all"))


def helps(lines: list[dict[str, Any]]) -> bool:
    """Whether the radius holds nearer to 90 % of people that it was not fitted on, in the mean; says so."""

    def fault(fitted: bool) -> float:
        others = (line for line in lines if line["scored_on"] != "all" and (line["fitted_on"] != "-") == fitted)
        return float(np.mean([abs(line["radius_coverage_90"] - 0.9) for line in others]))

    drawn, after = fault(False), fault(True)
    kept = "kept" if after < drawn else "left out"
    what = "share in the 90 % radius, away from 0.9,"
    print(f"{what} on other people: {drawn:.3f} as drawn, {after:.3f} recalibrated: {kept}")
    return after < drawn


def draw(model: released.Model, seen: groups.Seen, options: Options, *, exact: bool = False) -> Rows:
    """Hypotheses of lifting the clips of `seen`."""
    sure = np.ones_like(seen.confidence)
    inputs = (seen.keypoints_true, sure) if exact else (seen.keypoints, seen.confidence)
    arrays = [jnp.asarray(x, jnp.float32) for x in (*inputs, seen.joints_cam)]

    @jax.jit
    def draw_clip(key: Array, xy: Array, trust: Array, truth: Array) -> Rows:
        camera = Camera(jnp.asarray(groups.PINHOLE))
        samples = lift(key, model, xy, trust, camera=camera, num_hypotheses=options.hypotheses).samples
        return Rows(metrics.align_root(samples), metrics.align_root(truth))

    samples, truth = zip(*_in_blocks(draw_clip, arrays, options.seed), strict=True)
    return Rows(jnp.concatenate(samples, 1), jnp.concatenate(truth))


def fit(rows: dict[str, Rows], chosen: np.ndarray) -> released.Recalibration:
    """Factors from the chosen poses [N] (bool) of all conditions together."""
    taken = [take(r, chosen) for r in rows.values()]
    return of_widths(jnp.concatenate([r.samples for r in taken], 1), jnp.concatenate([r.truth for r in taken]))


def of_widths(samples: Array, truth: Array, weights: Array | None = None) -> released.Recalibration:
    """Factors on covariance and radius of samples [H, N, J, 3]."""
    mean = samples.mean(0)
    radius = jnp.quantile(metrics.joint_errors(samples, mean), 0.9, axis=0)
    return released.Recalibration(
        calibration.fit_covariance(samples, truth, weights),
        calibration.fit_radius(radius, metrics.joint_errors(mean, truth), weights),
    )


def of_joints(model: released.Model, truth: Array, options: Options) -> dict[str, released.Recalibration]:
    """Completion of 3D joints, one part hidden in each pose; denoising, 20 to 100 mm of noise, told."""
    rng = np.random.default_rng(options.seed)
    hidden = data.one_part_of_each(rng, HIDDEN_PARTS, *truth.shape[:2])
    level = jnp.asarray(np.exp(rng.uniform(np.log(0.02), np.log(0.1), len(truth))), jnp.float32)
    noisy = truth + level[:, None, None] * jnp.asarray(rng.normal(size=truth.shape), jnp.float32)
    given = jnp.where(jnp.asarray(hidden)[..., None], jnp.nan, truth)
    few: dict[str, Any] = {"num_hypotheses": min(50, options.hypotheses)}
    completed = _in_blocks(lambda key, x: complete(key, model, x, **few).samples, [given], options.seed)
    weights = jnp.asarray(hidden, jnp.float32)
    factors = {"complete": of_widths(jnp.concatenate(list(completed), 1), truth, weights)}
    if not model.spec.times:  # a few-step model has no matched start to denoise from
        denoised = lambda key, x, s: denoise(key, model, x, noise=s, **few).samples  # noqa: E731
        cleaned = _in_blocks(denoised, [noisy, level], options.seed)
        factors["denoise"] = of_widths(jnp.concatenate(list(cleaned), 1), truth)
    for task, r in factors.items():
        print(
            f"{task}: covariance x {float(r.covariance.min()):.2f} to {float(r.covariance.max()):.2f}, "
            f"90 % radius x {float(r.radius.min()):.2f} to {float(r.radius.max()):.2f}"
        )
    return factors


def table(
    rows: dict[str, Rows], chosen: np.ndarray, r: released.Recalibration | None, fitted: str, scored: str
) -> Iterator[dict[str, Any]]:
    """One printed row for each setting, of the chosen poses."""
    for name, setting in rows.items():
        few = take(setting, chosen)
        one = jnp.ones(few.samples.shape[2])
        scores = score(*few, *((one, one) if r is None else (r.covariance, r.radius)))
        figures = {k: float(scores[k]) for k in FIGURES}  # jit sorts them by name
        print(f"{fitted} | {scored} | {name} | " + " | ".join(f"{v:.3f}" for v in figures.values()), flush=True)
        yield {"fitted_on": fitted, "scored_on": scored, "setting": name, **figures}


@jax.jit
def score(samples: Array, truth: Array, covariance: Array, radius: Array) -> dict[str, Array]:
    """ECE, best of H (mm), share within the 90 % radius, and squared error over the covariance's trace (1 is right)."""
    mean = samples.mean(0)
    r90 = radius * jnp.quantile(metrics.joint_errors(samples, mean), 0.9, axis=0)
    trace = (covariance[1:] * samples.var(0, ddof=1).sum(-1)[:, 1:]).mean()
    return {
        "ece": calibration.ece(samples, truth).ece,
        "best_mm": 1000 * metrics.mpjpe(samples, truth).min(0).mean(),
        "radius_coverage_90": calibration.radius_coverage(r90, mean, truth)[1:].mean(),
        "covariance_ratio": ((truth - mean) ** 2).sum(-1)[:, 1:].mean() / trace,
    }


def take(rows: Rows, chosen: np.ndarray) -> Rows:
    """Those of the poses that are chosen [N] (bool)."""
    return Rows(rows.samples[:, chosen], rows.truth[chosen])


def _in_blocks(function: Any, arrays: list[Array], seed: int) -> Iterator[Any]:
    """What `function` (key, *arrays of _BLOCK rows) makes of all rows: blocks of Rows, or of samples [H, N, J, 3]."""
    for index, (rows, kept) in enumerate(data.blocks(len(arrays[0]), _BLOCK)):
        block = function(jax.random.fold_in(jax.random.key(seed), index), *(x[rows] for x in arrays))
        yield take(block, np.arange(kept)) if isinstance(block, Rows) else block[:, :kept]


if __name__ == "__main__":
    run("recalibrate", main, Options, __doc__, several=True)
