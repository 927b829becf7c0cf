"""How well the log density tells corrupted poses from clean ones, and the quantiles of it that a model's file holds.

    python -m experiments.evaluate_score --model=pose17 [--stride=10] [--out=DIR]
    python -m experiments.evaluate_score --model=prior21
    python -m experiments.evaluate_score --model=pose17 --write=pose17.safetensors     quantiles alone, and the file

Prints the area under the ROC curve (AUROC: the chance that a corrupted pose scores below a clean one of another frame)
of every corruption of validation poses, beside two baselines fitted on training poses: the density of one Gaussian and
the distance to the nearest of 20,000 poses. A pose mirrored left to right, sides relabelled, is a legal pose: 0.5 is
right there. Mirrored in depth it has its left side at the right, and is not. `below_1` and `above_99` are the shares
below the 1st and above the 99th percentile of training poses, where the model's file has quantiles.

pose17:  joints in camera axes; "given keypoints" is the density under the simulated detections of the clean pose.
prior21: rotations; noise in shares of each number's deviation in training; everything 1.5 and 2 times as far from rest.

--write: the densities of training subjects' poses, drawn as in training (balanced categories, mirrored by half, seen by
virtual cameras, not resized or spliced), `--quantiles` of them into a copy of the model's file.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from experiments.prior_bench import show
from experiments.score_sets import (
    Baselines,
    auroc,
    baseline_scores,
    corrupted_joints,
    corrupted_rotations,
    fit_baselines,
)
from jaxpose import model as released
from jaxpose.base import Array
from jaxpose.conditioning import MaskRates
from jaxpose.datasets.mocap import balanced_weights, data_root, load_mocap
from jaxpose.datasets.rotations import load_rotations
from jaxpose.evaluation.protocols import load_lifting_bench
from jaxpose.examples.views import Bodies, ViewRates, pose_example
from jaxpose.files import write_json
from jaxpose.geometry.flip import mirror_rotations
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.spaces.person import decode_view, encode_keypoints
from jaxpose.spaces.rotations import REPRESENTATIONS
from jaxpose.tasks import score
from jaxpose.training.checkpoint import git_commit

MODEL = flags.DEFINE_string("model", "pose17", "A bundled model's name, or a .safetensors file.")
STRIDE = flags.DEFINE_integer("stride", 10, "Every so many validation poses.", lower_bound=1)
STEPS = flags.DEFINE_integer("steps", score.NUM_STEPS, "Intervals of the log-SNR.", lower_bound=1)
WRITE = flags.DEFINE_string("write", None, "Where the model's file with its quantiles goes; nothing else is done.")
POSES = flags.DEFINE_integer("poses", 2000, "Training poses that the quantiles are of.", lower_bound=100)
QUANTILES = flags.DEFINE_integer("quantiles", 201, "How many, from 0 to 1.", lower_bound=101, upper_bound=1001)
SEED = flags.DEFINE_integer("seed", 0, "Of all random numbers.")
OUT = flags.DEFINE_string("out", "runs/score", "Where the JSON goes.")

_BLOCK = 256  # poses scored by one call
_REFERENCE = 20_000  # training poses of the baselines


def main(argv: list[str]) -> None:
    del argv
    model = released.load(MODEL.value)
    if WRITE.value:
        if Path(WRITE.value).suffix != ".safetensors" or not Path(WRITE.value).parent.is_dir():
            raise ValueError(f"--write: got {WRITE.value}; legal is a .safetensors file in a folder that exists")
        released.save(WRITE.value, dataclasses.replace(model, typicality=jnp.asarray(quantiles(model))))
        print(f"wrote {WRITE.value}")
        return
    rows = rotations(model) if model.spec.codec in REPRESENTATIONS else joints(model)
    record = {"model": released.describe(model), "device": jax.devices()[0].device_kind, "seed": SEED.value}
    path = Path(OUT.value) / f"{model.spec.name}.json"
    write_json(path, record | {"commit": git_commit(), "num_steps": STEPS.value, "rows": rows})
    print(f"wrote {path}")


def quantiles(model: released.Model) -> np.ndarray:
    """Quantiles [Q] of the log density of training poses."""
    started = time.perf_counter()
    poses = training_poses(model, POSES.value, SEED.value)
    found = in_blocks(scorer(model), poses)
    levels = (0.01, 0.05, 0.5, 0.95, 0.99)
    row = {f"quantile_{100 * q:g}": float(np.quantile(found, q)) for q in levels}
    show(f"{len(poses)} training poses", row, seconds=time.perf_counter() - started)
    return np.quantile(found.astype(np.float64), np.linspace(0, 1, QUANTILES.value)).astype(np.float32)


def joints(model: released.Model) -> list[dict[str, Any]]:
    """The table of joint positions: unconditional, and given the detections of the clean pose."""
    path = data_root().parent / "bench" / "val_frames.npz"
    bench = load_lifting_bench(path)
    bench = type(bench)(*(x[:: STRIDE.value] for x in bench))
    sets = corrupted_joints(bench.joints_cam, np.random.default_rng(SEED.value))
    baselines = fit_baselines(training_poses(model, _REFERENCE, SEED.value + 1))
    run = scorer(model)
    cond, view = encode_keypoints(*(jnp.asarray(x) for x in (bench.intrinsics, bench.keypoints, bench.confidence)))

    @jax.jit
    def given(x: Array, rows: Array) -> Array:
        seen = jax.tree.map(lambda a: a[rows], (cond, view))
        return score.log_density(model, x, *seen, num_steps=STEPS.value)

    return table(model, sets, baselines, {"density": run, "given_keypoints": given})


def rotations(model: released.Model) -> list[dict[str, Any]]:
    """The table of joint rotations."""
    with np.load(data_root().parent / "bench" / "val_frames.npz", allow_pickle=False) as z:
        clean = z["body_pose"][:: STRIDE.value].reshape(-1, 21, 3).astype(np.float32)
    moves = np.asarray(model.statistics.spread) > 0
    std = np.where(moves, np.asarray(model.statistics.std), 0)
    sets = corrupted_rotations(clean, std, np.random.default_rng(SEED.value))
    baselines = fit_baselines(training_poses(model, _REFERENCE, SEED.value + 1))
    return table(model, sets, baselines, {"density": scorer(model)})


def table(
    model: released.Model, sets: dict[str, np.ndarray], baselines: Baselines, densities: dict[str, Callable[..., Array]]
) -> list[dict[str, Any]]:
    """One row for each set of poses, the first of which is the clean one; prints them."""
    rows: list[dict[str, Any]] = []
    clean: dict[str, Any] = {}
    for name, poses in sets.items():
        started = time.perf_counter()
        found = {k: in_blocks(run, poses) for k, run in densities.items()} | baseline_scores(baselines, poses)
        clean = clean or found
        row = {f"auroc_{k}": auroc(clean[k], v) for k, v in found.items()}
        row["median_nats"] = float(np.median(found["density"]))
        if model.typicality.size:
            percentile = np.asarray(score.typicality(model, found["density"]))
            row |= {"below_1": float((percentile < 1).mean()), "above_99": float((percentile > 99).mean())}
        rows.append(show(f"{name} ({len(poses)})", row, seconds=time.perf_counter() - started))
    return rows


def training_poses(model: released.Model, num: int, seed: int) -> np.ndarray:
    """Poses of training subjects [num, J, 3], drawn by category: joints in camera axes, or rotations."""
    keys = jax.random.split(jax.random.key(seed), num)
    if model.spec.codec in REPRESENTATIONS:
        data = load_rotations(data_root(), "train")
        weights = balanced_weights(data)
        rng = np.random.default_rng(seed)
        poses = data.body_pose[rng.choice(len(weights), num, p=weights)]
        mirrored = np.asarray(mirror_rotations(jnp.asarray(poses), SMPL_22))
        return np.where(rng.random(num)[:, None, None] < 0.5, mirrored, poses)
    mocap = load_mocap(data_root(), "train")
    total = jnp.asarray(np.cumsum(balanced_weights(mocap)), jnp.float32)
    bodies = Bodies(jnp.asarray(mocap.joints), total, model.statistics)
    hidden = MaskRates(pose=1.0, part=0.0, joint=0.0, depth=0.0)  # then the view axes are the camera's
    states = jax.jit(jax.vmap(lambda k: pose_example(k, bodies, ViewRates(), hidden).x0))(keys)
    return np.asarray(decode_view(model.statistics, states))


def scorer(model: released.Model) -> Callable[[Array, Array], Array]:
    """Poses, and the rows that they are -> log densities."""
    return jax.jit(lambda x, rows: score.log_density(model, x, num_steps=STEPS.value))


def in_blocks(run: Callable[[Array, Array], Array], poses: np.ndarray) -> np.ndarray:
    """`run` of all poses in blocks of one size, so that one program serves all."""
    size, done = min(_BLOCK, len(poses)), []
    for start in range(0, len(poses), size):
        rows = np.minimum(np.arange(start, start + size), len(poses) - 1)
        done.append(np.asarray(run(jnp.asarray(poses[rows]), jnp.asarray(rows)))[: len(poses) - start])
    return np.concatenate(done)


def cli() -> None:
    """Errors that a user can mend leave with code 2 and one line."""
    try:
        app.run(main)
    except ValueError as error:
        print(f"evaluate_score: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    cli()
