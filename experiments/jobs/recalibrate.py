"""Fit a model's recalibration on the benchmark's validation frames and write the model with it.

    python -m experiments.jobs.recalibrate --model=pose17 --out=runs/pose17.safetensors
    python -m experiments.jobs.recalibrate --model=pose17 --alternatives --stride=12   temperatures, churns

Lifting is fitted on three settings together: detected keypoints, exact ones, and detected ones without confidences,
camera known. First, honestly: fitted on two validation subjects and scored on the other two, both ways; then fitted on
all, which is what is written. Completion of 3D joints and denoising get factors on covariance and 90 % radius alone.
Prints a table before and after, and writes it beside the model as `.json`.
"""

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench as data
from experiments.options import option, run
from jaxpose import model as released
from jaxpose.base import Array, Camera
from jaxpose.evaluation import calibration, metrics
from jaxpose.evaluation.protocols import HIDDEN_PARTS, LiftingBench
from jaxpose.files import write_json
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.spaces.person import decode_view, encode_keypoints
from jaxpose.tasks.complete import complete
from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.draw import draw_states
from jaxpose.tasks.lift import middle, misfit, problem
from jaxpose.tasks.samplers import stochastic
from jaxpose.training.checkpoint import git_commit

FIGURES = ("ece", "best_mm", "radius_coverage_90", "covariance_ratio")
HALVES = (("cmu06", "hdm_dg"), ("cmu08", "cmu94"))
_BLOCK = 64


@dataclasses.dataclass(frozen=True)
class Options:
    """Of the recalibration."""

    model: str = option("pose17", "A bundled model's name or a .safetensors file.")
    out: str | None = option(None, "The .safetensors file to write.")
    alternatives: bool = option(False, "Score temperatures and churns instead; writes nothing.")
    spread: bool = option(True, "Fit the samples' spread too, not covariance and radius alone.")
    hypotheses: int = option(100, "Poses per observation.", low=10)
    stride: int = option(2, "Every n-th pose only.", low=1)
    seed: int = option(0, "Of the one key.")


class Rows(NamedTuple):
    """Hypotheses as drawn [H, N, J, 3], middle and truth [N, J, 3] metres, view axes, about the root; u and v [N]."""

    samples: Array
    middle: Array
    truth: Array
    level: Array
    seen: Array


def main(options: Options) -> None:
    """Fit, print the table and write the model."""
    out = None if options.out is None else Path(options.out)
    if (out is None) == (not options.alternatives):
        raise ValueError("--out: needed the .safetensors file to write, or --alternatives and no file")
    model = dataclasses.replace(released.load(options.model), recalibration={})
    if not isinstance(model.spec.network, ScoreMLP) or model.spec.codec != "person":
        raise ValueError(f"--model: needed one score network of the person-centred codec, got {model.spec.name!r}")
    bench = data.load_frames(options.stride)
    with np.load(data.bench_file("val_frames.npz"), allow_pickle=False) as z:
        subject = np.array([str(name).split("/")[0] for name in z["name"][:: options.stride]])
    print(f"{len(subject)} poses of val_frames.npz, {options.hypotheses} hypotheses; best in mm")
    print("fitted on | scored on | setting | ECE | best | 90 % radius holds | covariance ratio")
    if out is None:
        return alternatives(model, bench, options)
    rows = {name: draw(model, inputs, bench.joints_cam, options) for name, inputs in settings(bench).items()}
    result: list[dict[str, Any]] = list(table(rows, np.ones(len(subject), bool), None, "-", "all"))
    for half, other in (HALVES, HALVES[::-1]):
        fitted, scored = np.isin(subject, half), np.isin(subject, other)
        result += table(rows, scored, None, "-", "+".join(other))
        result += table(rows, scored, fit(rows, fitted, options), "+".join(half), "+".join(other))
    lift = fit(rows, np.ones(len(subject), bool), options)
    result += table(rows, np.ones(len(subject), bool), lift, "all", "all")
    recalibration = {"lift": lift, **of_joints(model, jnp.asarray(bench.joints_cam, jnp.float32), options)}
    released.save(out, dataclasses.replace(model, recalibration=recalibration))
    fields = {task: {k: np.asarray(v).tolist() for k, v in r._asdict().items()} for task, r in recalibration.items()}
    said: dict[str, Any] = {
        "model": released.describe(model),
        "options": dataclasses.asdict(options),
        "commit": git_commit(),
    }
    said |= {"tuned": "spread, covariance and radius of each row on its `fitted_on`; u0 and range of u on all four"}
    said |= {"privileges": f"intrinsics; {data.NO_DEPTH}", "rows": result, "recalibration": fields}
    write_json(out.with_suffix(".json"), said)
    print(f"wrote {out} and {out.with_suffix('.json')}")


def settings(bench: LiftingBench) -> dict[str, tuple[np.ndarray, ...]]:
    """Keypoints, confidence and intrinsics by how good the keypoints are and whether that is told."""
    sure = np.ones_like(bench.confidence)
    return {
        "detected": (bench.keypoints, bench.confidence, bench.intrinsics),
        "exact": (bench.keypoints_true, sure, bench.intrinsics),
        "detected, no confidence": (bench.keypoints, sure, bench.intrinsics),
    }


def draw(
    model: released.Model,
    inputs: tuple[np.ndarray, ...],
    joints_cam: np.ndarray,
    options: Options,
    temperature: float = 1.0,
) -> Rows:
    """Hypotheses of lifting as the model has them."""
    arrays = [jnp.asarray(x, jnp.float32) for x in (*inputs, joints_cam)]
    run_block = partial(draw_block, model, options.hypotheses, temperature)
    first, *others = map(list, zip(*_in_blocks(run_block, arrays, options.seed), strict=True))
    middles, truths, levels, seen = (jnp.concatenate(parts) for parts in others)
    return Rows(jnp.concatenate(first, 1), middles, truths, levels, seen)


@partial(jax.jit, static_argnums=(1, 2))
def draw_block(
    model: released.Model,
    num: int,
    temperature: float,
    key: Array,
    xy: Array,
    trust: Array,
    camera: Array,
    truth: Array,
) -> Rows:
    """Rows of one block of detections."""
    cond, view = encode_keypoints(camera, xy, trust)
    posed, sampler = problem(key, model, xy, trust, Camera(camera)), stochastic(temperature=temperature)
    states, _ = draw_states(key, model, posed, num=num, sampler=sampler)
    samples, centre = (decode_view(model.statistics, x) for x in (states, middle(model, cond)))
    turned = jnp.einsum("nij,nkj->nki", view.R_view_cam, truth)
    samples, about_root, turned = (metrics.align_root(x) for x in (samples, centre, turned))
    return Rows(samples, about_root, turned, misfit(cond, view, centre), cond.mask[..., 0].mean(-1))


def fit(rows: dict[str, Rows], chosen: np.ndarray, options: Options) -> released.Recalibration:
    """Recalibration of lifting from the chosen poses [N] (bool) of all settings together."""
    taken = [take(r, chosen) for r in rows.values()]
    errors = jnp.concatenate([calibration.log_errors(r.samples, r.truth) for r in taken])
    offset, slope = calibration.fit_spread(errors, jnp.concatenate([r.level for r in taken]))
    if not options.spread:
        offset, slope = jnp.zeros_like(offset), jnp.zeros_like(slope)
    plain = released.Recalibration(offset, slope, jnp.ones(len(offset)), jnp.ones(len(offset)))
    samples = jnp.concatenate([respread(r, plain) for r in taken], 1)
    return of_widths(samples, jnp.concatenate([r.truth for r in taken]))._replace(offset=offset, slope=slope)


def respread(rows: Rows, r: released.Recalibration) -> Array:
    """What `tasks.lift.respread` makes of the samples, about the root."""
    factor = jnp.exp(rows.seen[:, None, None] * (r.offset + r.slope * rows.level[:, None, None]))
    return rows.middle + factor * (rows.samples - rows.middle)


def of_widths(samples: Array, truth: Array, weights: Array | None = None) -> released.Recalibration:
    """Factors on covariance and radius of samples [H, N, J, 3] that are left as they are."""
    mean = samples.mean(0)
    radius = jnp.quantile(metrics.joint_errors(samples, mean), 0.9, axis=0)
    return released.Recalibration(
        jnp.zeros(truth.shape[1:]),
        jnp.zeros(3),
        calibration.fit_covariance(samples, truth, weights),
        calibration.fit_radius(radius, metrics.joint_errors(mean, truth), weights),
    )


def of_joints(model: released.Model, truth: Array, options: Options) -> dict[str, released.Recalibration]:
    """Completion of 3D joints, one part hidden in each pose; denoising, 20 to 100 mm of noise, told."""
    rng = np.random.default_rng(options.seed)
    parts = list(HIDDEN_PARTS.values())
    hidden = np.zeros(truth.shape[:2], bool)
    for row, part in enumerate(rng.integers(0, len(parts), len(truth))):
        hidden[row, list(parts[part])] = True
    level = jnp.asarray(np.exp(rng.uniform(np.log(0.02), np.log(0.1), len(truth))), jnp.float32)
    noisy = truth + level[:, None, None] * jnp.asarray(rng.normal(size=truth.shape), jnp.float32)
    given = jnp.where(jnp.asarray(hidden)[..., None], jnp.nan, truth)
    few: dict[str, Any] = {"num_hypotheses": min(50, options.hypotheses)}
    completed = _in_blocks(lambda key, x: complete(key, model, x, **few).samples, [given], options.seed)
    weights = jnp.asarray(hidden, jnp.float32)
    found = {"complete": of_widths(jnp.concatenate(list(completed), 1), truth, weights)}
    if not model.spec.times:  # a few-step model has no matched start to denoise from
        denoised = lambda key, x, s: denoise(key, model, x, noise=s, **few).samples  # noqa: E731
        cleaned = _in_blocks(denoised, [noisy, level], options.seed)
        found["denoise"] = of_widths(jnp.concatenate(list(cleaned), 1), truth)
    for task, r in found.items():
        print(
            f"{task}: covariance x {float(r.covariance.min()):.2f} to {float(r.covariance.max()):.2f}, "
            f"90 % radius x {float(r.radius.min()):.2f} to {float(r.radius.max()):.2f}"
        )
    return found


def table(
    rows: dict[str, Rows], chosen: np.ndarray, r: released.Recalibration | None, fitted: str, scored: str
) -> Iterator[dict[str, Any]]:
    """One printed row for each setting, of the chosen poses."""
    for name, setting in rows.items():
        few = take(setting, chosen)
        samples = few.samples if r is None else respread(few, r)
        one = jnp.ones(samples.shape[2])
        found = score(samples, few.truth, *((one, one) if r is None else (r.covariance, r.radius)))
        figures = {k: float(found[k]) for k in FIGURES}  # jit sorts them by name
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


def alternatives(model: released.Model, bench: LiftingBench, options: Options) -> None:
    """What temperature of the fresh noise, and churn, would do; the settings of `settings`."""
    for eta, temperature in ((1.0, 1.0), (1.0, 0.9), (1.0, 0.8), (0.8, 1.0), (0.6, 1.0), (1.3, 1.0)):
        changed = dataclasses.replace(model, spec=dataclasses.replace(model.spec, eta=eta))
        rows = {k: draw(changed, v, bench.joints_cam, options, temperature) for k, v in settings(bench).items()}
        all_of = np.ones(len(bench.joints_cam), bool)
        list(table(rows, all_of, None, f"churn {eta:g}, temperature {temperature:g}", "all"))


def take(rows: Rows, chosen: np.ndarray) -> Rows:
    """Those of the poses that are chosen [N] (bool)."""
    return Rows(rows.samples[:, chosen], *(x[chosen] for x in rows[1:]))


def _in_blocks(function: Any, arrays: list[Array], seed: int) -> Iterator[Any]:
    """What `function` (key, *arrays of _BLOCK rows) makes of all rows: blocks of Rows, or of samples [H, N, J, 3]."""
    for index, (rows, kept) in enumerate(data.blocks(len(arrays[0]), _BLOCK)):
        found = function(jax.random.fold_in(jax.random.key(seed), index), *(x[rows] for x in arrays))
        yield take(found, np.arange(kept)) if isinstance(found, Rows) else found[:, :kept]


if __name__ == "__main__":
    run("recalibrate", main, Options, __doc__)
