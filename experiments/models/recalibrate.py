"""Fit a model's recalibration on people and conditions that it was not trained on, and write the model with it.

    python -m experiments.models.recalibrate --model=pose17 --out=runs/pose17.safetensors

Lifting is fitted on the validation people under all of `CONDITIONS` together: as the benchmark sees them; exact
keypoints; confidences that are not told; persons turned anyhow; cameras anywhere; rough detectors; COCO's joints.
A model of video or motions, and a DiffPose model as a stream, see clips of 64 frames. It is fitted on half of the
people and scored on the other half, both ways; then fitted on all, which is written if the other halves gained by it.
Completion of 3D joints and denoising get factors on covariance and 90 % radius alone; completed rotations on the radius
(`recalibrate_rotations.py`). Prints a table before and after, and writes it beside the model as `.json`.
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
from jaxpose.base import Array, Camera, Condition
from jaxpose.datasets.mocap import data_root, load_mocap
from jaxpose.evaluation import calibration, metrics
from jaxpose.evaluation.protocols import HIDDEN_PARTS
from jaxpose.files import write_json
from jaxpose.spaces.person import View, decode_view, encode_keypoints, encode_track
from jaxpose.tasks.complete import complete
from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.diffpose import encode_rows
from jaxpose.tasks.draw import over_windows
from jaxpose.tasks.lift import lift
from jaxpose.tasks.motions import is_motion, windows_of
from jaxpose.tasks.recalibration import FARTHEST, evidence, middle
from jaxpose.tasks.stream import Stream, start_stream, step_stream
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
_NOTHING = -30.0  # logarithm of a factor that leaves no spread


@dataclasses.dataclass(frozen=True)
class Options:
    """Of the recalibration."""

    model: str = option("pose17", "A bundled model's name or a .safetensors file.")
    out: str = option(None, "The .safetensors file to write.", required=True)
    spread: bool = option(True, "Fit the samples' spread too, not covariance and radius alone.")
    hypotheses: int = option(100, "Poses per observation.", low=10)
    poses: int = option(400, "Of each condition.", low=10)
    seed: int = option(0, "Of the one key.")


class Rows(NamedTuple):
    """Hypotheses as drawn [H, N, J, 3], middle and truth [N, J, 3] metres, view axes, about the root.

    evidence [N, K]; seen [N], the share of joints that are.
    """

    samples: Array
    middle: Array
    truth: Array
    evidence: Array
    seen: Array


def main(options: Options) -> None:
    """Fit, print the table and write the model."""
    out = Path(options.out)
    model = dataclasses.replace(released.load(options.model), recalibration={})
    if is_motion(model):  # samples that were made wider would not go on from each other
        options = dataclasses.replace(options, spread=False)
    if "rotations" in model.capabilities:
        of_methods, lines = of_rotations(model, FILES, HALVES, options.poses, options.seed)
        return write(out, model, of_methods, lines, options, "the other joints' rotations and the root, exact")
    if model.spec.codec != "person":
        raise ValueError(f"--model: needed rotations or the person-centred codec, got {model.spec.name!r}")
    mocap = load_mocap(data_root(), "val+val_more", FILES)
    print(f"about {options.poses} poses, {options.hypotheses} hypotheses; best in mm")
    print("fitted on | scored on | condition | ECE | best | 90 % radius holds | covariance ratio")
    is_video = model.spec.network.window is not None
    draws = {"lift": (draw_block, _BLOCK if is_video else 1)}
    if "context" in model.capabilities:
        draws["stream"] = (draw_stream, _BLOCK)
    result: list[dict[str, Any]] = []
    recalibration: dict[str, released.Recalibration] = {}
    for task, (block, num_frames) in draws.items():
        print(f"{task}:")
        see = partial(groups.see, mocap, num=options.poses, seed=options.seed, num_frames=num_frames)
        conditions = {name: see(rates) for name, rates in CONDITIONS.items()}

        def draw_one(name: str, seen: Any, block: Any = block) -> Rows:
            return draw(model, seen, options, block, exact=name == "exact")

        rows = launch.divided(conditions, draw_one, Rows)
        fitted, lines = fit_on_people(rows, conditions["detected"].subject, options)
        result += [{"task": task, **line} for line in lines]
        recalibration |= {task: fitted} if helps(lines, spread=options.spread) else {}
    if "condition" in model.capabilities and not is_motion(model):  # its rows are frames, not poses of a benchmark
        truth = jnp.asarray(data.load_frames(2).joints_cam, jnp.float32)
        recalibration |= of_joints(model, truth, options)
    write(out, model, recalibration, result, options, f"intrinsics; {data.NO_DEPTH}")


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
    record |= {"commit": git_commit(), "tuned": "spread, covariance and radius of each row on its `fitted_on`"}
    record |= {"privileges": privileges, "rows": rows, "recalibration": fields}
    if processes.is_first():
        released.save(out, dataclasses.replace(model, recalibration=recalibration), dtype=None)
        write_json(out.with_suffix(".json"), record)
        print(f"wrote {out} and {out.with_suffix('.json')}")


def fit_on_people(
    rows: dict[str, Rows], subject: np.ndarray, options: Options
) -> tuple[released.Recalibration, list[dict[str, Any]]]:
    """Recalibration from all people, and the lines of the table: as drawn, on other halves of the people, on all."""
    everybody = np.ones(len(subject), bool)
    result = list(table(rows, everybody, None, "-", "all"))
    for half, other in (HALVES, HALVES[::-1]):
        fitted, scored = np.isin(subject, half), np.isin(subject, other)
        result += table(rows, scored, None, "-", "+".join(other))
        result += table(rows, scored, fit(rows, fitted, options), "+".join(half), "+".join(other))
    of_all = fit(rows, everybody, options)
    return of_all, result + list(table(rows, everybody, of_all, "all", "all"))


def helps(lines: list[dict[str, Any]], *, spread: bool) -> bool:
    """Whether people that a recalibration was not fitted on are better off with it; says so.

    Of the spread by their mean ECE; of the radius alone by how far its share is from 90 %, in the mean.
    """

    def fault(line: dict[str, Any]) -> float:
        return line["ece"] if spread else abs(line["radius_coverage_90"] - 0.9)

    others = [line for line in lines if line["scored_on"] != "all"]
    drawn = float(np.mean([fault(line) for line in others if line["fitted_on"] == "-"]))
    after = float(np.mean([fault(line) for line in others if line["fitted_on"] != "-"]))
    kept = "kept" if after < drawn else "left out"
    what = "ECE" if spread else "share in the 90 % radius, away from 0.9,"
    print(f"{what} on other people: {drawn:.3f} as drawn, {after:.3f} recalibrated: {kept}")
    return after < drawn


def draw(model: released.Model, seen: groups.Seen, options: Options, block: Any = None, *, exact: bool = False) -> Rows:
    """Hypotheses of lifting as the model has them; block: `draw_block` or `draw_stream`."""
    sure = np.ones_like(seen.confidence)
    inputs = (seen.keypoints_true, sure) if exact else (seen.keypoints, seen.confidence)
    arrays = [jnp.asarray(x, jnp.float32) for x in (*inputs, seen.joints_cam)]
    run_block = partial(block or draw_block, model, options.hypotheses)
    first, *others = map(list, zip(*_in_blocks(run_block, arrays, options.seed), strict=True))
    return Rows(jnp.concatenate(first, 1), *(jnp.concatenate(parts) for parts in others))


@partial(jax.jit, static_argnums=1)
def draw_block(model: released.Model, num: int, key: Array, xy: Array, trust: Array, truth: Array) -> Rows:
    """Rows of one block of detections on the plane z = 1; of a video model they are the frames of one clip."""
    cond, view = (encode_track if is_motion(model) else encode_keypoints)(_camera().intrinsics, xy, trust)
    samples = lift(key, model, xy, trust, camera=_camera(), num_hypotheses=num).samples
    windows = windows_of(model, len(xy))
    together = None if windows is None else over_windows(model, *windows)
    centre = encode_rows(model, cond).pose if "context" in model.capabilities else middle(model, cond, together)
    return _rows(cond, view, samples, decode_view(model.statistics, centre), truth)


@partial(jax.jit, static_argnums=1)
def draw_stream(model: released.Model, num: int, key: Array, xy: Array, trust: Array, truth: Array) -> Rows:
    """The same of a stream that is shown one frame of a clip after the other."""

    def run(recalibration: dict[str, released.Recalibration]) -> Array:
        shown = dataclasses.replace(model, recalibration=recalibration)

        def step(stream: Stream, frame: tuple[Array, Array]) -> tuple[Stream, Array]:
            lifted, stream = step_stream(shown, stream, *frame, camera=_camera())
            return stream, lifted.samples[:, 0]

        _, samples = jax.lax.scan(step, start_stream(key, model, num_hypotheses=num), (xy, trust))
        return jnp.swapaxes(samples, 0, 1)

    cond, view = encode_keypoints(_camera().intrinsics, xy, trust)
    none, one = jnp.zeros(len(released.EVIDENCE)), jnp.ones(len(model.skeleton.joints))
    offset = jnp.full((*one.shape, 3), _NOTHING)
    nothing = released.Recalibration(offset, none[:, None] * offset[0], none, none + 1, one, one)
    centre = run({"stream": nothing}).mean(0)  # what hypotheses without a spread are: the encoder's pose
    return _rows(cond, view, run({}), jnp.einsum("nij,nkj->nki", view.R_view_cam, centre), truth)


def _camera() -> Camera:
    return Camera(jnp.asarray(groups.PINHOLE))


def _rows(cond: Condition, view: View, samples: Array, centre: Array, truth: Array) -> Rows:
    """Rows of samples and truth in camera axes, and of their middle in view axes."""
    turned = (jnp.einsum("nij,...nkj->...nki", view.R_view_cam, x) for x in (samples, truth))
    samples, truth, about_root = (metrics.align_root(x) for x in (*turned, centre))
    return Rows(samples, about_root, truth, evidence(cond, view, centre), cond.mask[..., 0].mean(-1))


def fit(rows: dict[str, Rows], chosen: np.ndarray, options: Options) -> released.Recalibration:
    """Recalibration of lifting from the chosen poses [N] (bool) of all conditions together."""
    taken = [take(r, chosen) for r in rows.values()]
    errors = jnp.concatenate([calibration.log_errors(r.samples, r.truth) for r in taken])
    signs = jnp.concatenate([r.evidence for r in taken])
    centre, scale = signs.mean(0), jnp.maximum(signs.std(0), 1e-3)
    offset, slope = calibration.fit_spread(errors, standard(signs, centre, scale))
    if not options.spread:
        offset, slope = jnp.zeros_like(offset), jnp.zeros_like(slope)
    one = jnp.ones(len(offset))
    plain = released.Recalibration(offset, slope, centre, scale, one, one)
    samples = jnp.concatenate([respread(r, plain) for r in taken], 1)
    widths = of_widths(samples, jnp.concatenate([r.truth for r in taken]))
    return plain._replace(covariance=widths.covariance, radius=widths.radius)


def standard(found: Array, centre: Array, scale: Array) -> Array:
    """Evidence [N, K] in units of its spread, as `tasks.recalibration.respread` takes it."""
    return jnp.clip((found - centre) / scale, -FARTHEST, FARTHEST)


def respread(rows: Rows, r: released.Recalibration) -> Array:
    """What `tasks.recalibration.respread` makes of the samples, about the root."""
    log_factor = r.offset + (standard(rows.evidence, r.centre, r.scale) @ r.slope)[:, None]
    return rows.middle + jnp.exp(rows.seen[:, None, None] * log_factor) * (rows.samples - rows.middle)


def of_widths(samples: Array, truth: Array, weights: Array | None = None) -> released.Recalibration:
    """Factors on covariance and radius of samples [H, N, J, 3] that are left as they are."""
    mean = samples.mean(0)
    radius = jnp.quantile(metrics.joint_errors(samples, mean), 0.9, axis=0)
    signs = len(released.EVIDENCE)
    return released.Recalibration(
        jnp.zeros(truth.shape[1:]),
        jnp.zeros((signs, 3)),
        jnp.zeros(signs),
        jnp.ones(signs),
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
        samples = few.samples if r is None else respread(few, r)
        one = jnp.ones(samples.shape[2])
        scores = score(samples, few.truth, *((one, one) if r is None else (r.covariance, r.radius)))
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
    return Rows(rows.samples[:, chosen], *(x[chosen] for x in rows[1:]))


def _in_blocks(function: Any, arrays: list[Array], seed: int) -> Iterator[Any]:
    """What `function` (key, *arrays of _BLOCK rows) makes of all rows: blocks of Rows, or of samples [H, N, J, 3]."""
    for index, (rows, kept) in enumerate(data.blocks(len(arrays[0]), _BLOCK)):
        block = function(jax.random.fold_in(jax.random.key(seed), index), *(x[rows] for x in arrays))
        yield take(block, np.arange(kept)) if isinstance(block, Rows) else block[:, :kept]


if __name__ == "__main__":
    run("recalibrate", main, Options, __doc__, several=True)
