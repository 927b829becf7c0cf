"""Score one model on all five tasks of the fixed benchmark (validation poses), in few network calls or in 1000.

    python -m experiments.evaluate_tasks --model=pose17 --out=runs/tasks
    python -m experiments.evaluate_tasks --model=pose17 --stride=40 --recipe=both --out=runs/recipe

Rows: lifting with 0 and 2 joints missing, and with one `mean_flow` and one `probability_flow` sample; completion of 3D
with parts missing; denoising with the noise level given and estimated; generation.
`--recipe=original` draws by GFPose's 1000 Euler-Maruyama steps instead (`recipes/gfpose.py`), on the same weights;
`both` prints the two under each other. Root depth is never given; every `best` is an oracle that reads the truth.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags, logging

from jaxpose import model as released
from jaxpose.base import Array
from jaxpose.conditioning import MaskRates
from jaxpose.datasets.mocap import balanced_weights, data_root, load_mocap
from jaxpose.evaluation.generation import generation_row
from jaxpose.evaluation.metrics import align_root
from jaxpose.evaluation.protocols import LiftingBench, lifting_row, load_lifting_bench
from jaxpose.evaluation.tasks import HIDDEN_PARTS, denoising_row, hidden_joints, hidden_row
from jaxpose.examples.views import ViewRates, make_bodies, pose_example
from jaxpose.files import write_json
from jaxpose.recipes.gfpose import hide_random_joints
from jaxpose.spaces.person import View, decode_pose
from jaxpose.tasks.complete import complete
from jaxpose.tasks.denoise import denoise, estimate_calls
from jaxpose.tasks.draw import network_calls
from jaxpose.tasks.generate import NUM_STEPS, generate
from jaxpose.tasks.lift import lift
from jaxpose.training.checkpoint import git_commit

MODEL = flags.DEFINE_string("model", "pose17", "A bundled model's name or a .safetensors file.")
HYPOTHESES = flags.DEFINE_integer("hypotheses", 200, "Of lifting and 2D completion; 50 of denoising.", lower_bound=2)
STEPS = flags.DEFINE_integer("steps", None, "Solver steps; by default the model's own.")
GENERATED = flags.DEFINE_integer("generated", 10_000, "Poses to generate.", lower_bound=100)
STRIDE = flags.DEFINE_integer("stride", 1, "Every n-th validation pose only.", lower_bound=1)
RECIPE = flags.DEFINE_enum("recipe", "ours", ["ours", "original", "both"], "Which sampler; both: one after the other.")
ONLY = flags.DEFINE_multi_string("task", None, "Only these of lift, complete_3d, denoise, generate.")
SEED = flags.DEFINE_integer("seed", 0, "Of the one key.")
OUT = flags.DEFINE_string("out", "runs/tasks", "Folder for tasks.json.")

_TEMPERATURES = (1.0, 0.9, 0.8)
_NUM_TRAIN = 20_000  # training poses that generated ones are compared with
_NOISE = (0.025, 0.05, 0.1)  # metres per coordinate


class Bench:
    """The validation poses as arrays on the device, root-relative truth in metres, and one key."""

    def __init__(self, stride: int, seed: int):
        bench = LiftingBench(
            *(x[::stride] for x in load_lifting_bench(data_root().parent / "bench" / "val_frames.npz"))
        )
        self.key = jax.random.key(seed)
        self.category = bench.category
        self.keypoints, self.confidence, self.intrinsics, joints = (
            jnp.asarray(x, jnp.float32) for x in (bench.keypoints, bench.confidence, bench.intrinsics, bench.joints_cam)
        )
        self.truth = align_root(joints)
        self.num = len(joints)


def main(argv: list[str]) -> None:
    del argv
    logging.set_verbosity(logging.WARNING)
    model = released.load(MODEL.value)
    bench = Bench(STRIDE.value, SEED.value)
    tasks = {"lift": lifting, "complete_3d": complete_3d, "denoise": denoising, "generate": generation}
    if unknown := set(ONLY.value or ()) - set(tasks):
        raise ValueError(f"--task: got {sorted(unknown)}, legal are {list(tasks)}")
    rows: list[dict[str, Any]] = []
    recipes = {"ours": ("posterior",), "original": ("original",), "both": ("posterior", "original")}[RECIPE.value]
    print(f"{bench.num} validation poses, {model.spec.name}; errors in mm, root-relative", flush=True)
    for name, task in tasks.items():
        for sampler in recipes if not ONLY.value or name in ONLY.value else ():
            own = {"temperatures": _TEMPERATURES} if task is generation and sampler == "posterior" else {}
            rows += task(model, bench, sampler, **own)
    write_json(
        Path(OUT.value) / "tasks.json",
        {
            "model": released.describe(model),
            "poses": bench.num,
            "device": jax.devices()[0].device_kind,
            "seed": SEED.value,
            "commit": git_commit(),
            "rows": rows,
        },
    )
    print(f"wrote {Path(OUT.value) / 'tasks.json'}")


def lifting(
    model: released.Model, bench: Bench, sampler: str, hypotheses: int | None = None, flows: bool = True
) -> list[dict[str, Any]]:
    """2D detected, camera known: all joints, two of knees, ankles, elbows and wrists missing, and one answer by flows.

    Errors over all 17 joints. The second row tells its best hypothesis over the first's.
    """
    num = hypotheses or HYPOTHESES.value
    rows: list[dict[str, Any]] = []

    def samples_of(used: str, num: int, seen: Array | float = 1.0) -> tuple[Array, dict[str, Any]]:
        return timed(
            model,
            used,
            num * bench.num,
            lambda key: (
                lift(
                    key,
                    model,
                    bench.keypoints,
                    bench.confidence * seen,
                    intrinsics=bench.intrinsics,
                    num_hypotheses=num,
                    sampler=used,
                    num_steps=_steps(used),
                ).samples
            ),
            bench,
        )

    for num_hidden in (0, 2):
        keys = jax.random.split(jax.random.fold_in(bench.key, num_hidden), bench.num)
        seen = jax.vmap(lambda k, n=num_hidden: hide_random_joints(k, n))(keys)
        samples, cost = samples_of(sampler, num, seen)
        row = lifting_row(samples, bench.truth, bench.category)
        if rows:
            row["best_over_all_seen"] = row[f"best_of_{num}_mm"] / rows[0][f"best_of_{num}_mm"]
        rows.append(show("lift", f"{num_hidden} joints missing, {num} hypotheses", row, cost))
    for used in _flows(sampler) if flows else ():
        samples, cost = samples_of(used, 1)
        row = hidden_row(samples, bench.truth, jnp.ones(bench.truth.shape[:2], bool))
        rows.append(show("lift", "0 joints missing, 1 hypothesis", row, cost))
    return rows


def complete_3d(model: released.Model, bench: Bench, sampler: str) -> list[dict[str, Any]]:
    """A part missing, the rest exact, 10 hypotheses; errors over the hidden joints."""
    rows = []
    for part in HIDDEN_PARTS:
        hidden = jnp.asarray(hidden_joints(part, bench.num))
        given = jnp.where(hidden[..., None], jnp.nan, bench.truth)
        samples, cost = timed(
            model,
            sampler,
            10 * bench.num,
            lambda key, given=given: (
                complete(key, model, given, num_hypotheses=10, sampler=sampler, num_steps=_steps(sampler)).samples
            ),
            bench,
        )
        rows.append(show("complete 3D", f"{part} missing", hidden_row(samples, bench.truth, hidden), cost))
    return rows


def denoising(
    model: released.Model, bench: Bench, sampler: str, levels: tuple[float, ...] = _NOISE
) -> list[dict[str, Any]]:
    """Gaussian noise on every joint, the root too: mean of 50 samples, then one mean-seeking sample."""
    rows = []
    for level in levels:
        noisy = bench.truth + level * jax.random.normal(jax.random.fold_in(bench.key, 7), bench.truth.shape)
        settings: list[tuple[str, int, float | None]] = [(_flows(sampler)[0], 1, level), (sampler, 50, level)]
        settings += [(sampler, 50, None)] if sampler == "posterior" else []
        for used, num, noise in settings:
            posed, cost = timed(
                model,
                used,
                num * bench.num,
                lambda key, used=used, num=num, noise=noise, noisy=noisy: denoise(
                    key, model, noisy, noise=noise, num_hypotheses=num, sampler=used, num_steps=_steps(used)
                ),
                bench,
            )
            row: dict[str, Any] = denoising_row(noisy, posed.samples, bench.truth)
            row["noise_used_mm"] = 1000 * float(posed.noise.mean())
            told = "given" if noise is not None else "estimated"
            cost["network_calls"] += 0 if noise is not None else estimate_calls(model)
            rows.append(show("denoise", f"{1000 * level:g} mm, {told}, {num} samples", row, cost))
    return rows


def generation(
    model: released.Model,
    bench: Bench,
    sampler: str,
    num: int | None = None,
    yardstick: bool = True,
    temperatures: tuple[float, ...] = (1.0,),
) -> list[dict[str, Any]]:
    """Poses from nothing against the validation poses; beside them, as the yardstick, poses of the training data."""
    num, train = num or GENERATED.value, training_views(bench.key, _NUM_TRAIN)
    rows = []
    for temperature in temperatures:
        samples, cost = timed(
            model,
            sampler,
            num,
            lambda key, t=temperature: generate(
                key, model, num, sampler=sampler, num_steps=_steps(sampler), temperature=t
            ),
            bench,
            usual_steps=NUM_STEPS,
        )
        setting = f"{num} poses, temperature {temperature:g}"
        rows.append(show("generate", setting, generation_row(samples, bench.truth, train), cost))
    if yardstick and sampler == "posterior":
        real = training_views(jax.random.fold_in(bench.key, 11), num)
        free = {"sampler": "real training poses", "network_calls": 0, "seconds": 0.0, "poses_per_s": None}
        rows.append(show("yardstick", f"{num} poses", generation_row(real, bench.truth, train), free))
    return rows


def training_views(key: Array, num: int) -> Array:
    """Poses [num, 17, 3] metres of the training data as cameras see them, categories balanced as in training."""
    mocap = load_mocap(data_root(), "train")
    view = ViewRates()
    bodies = make_bodies(mocap.joints, balanced_weights(mocap), view)
    in_camera_axes = MaskRates(pose=0, part=0, joint=0, depth=1)
    states = jax.jit(jax.vmap(lambda k: pose_example(k, bodies, view, in_camera_axes).x0))(jax.random.split(key, num))
    return decode_pose(bodies.statistics, View(jnp.eye(3)), states)


def timed(
    model: released.Model,
    sampler: str,
    num_poses: int,
    run: Callable[..., Any],
    bench: Bench,
    usual_steps: int | None = None,
) -> tuple[Any, dict[str, Any]]:
    """The result of run(key), and what it cost: network calls and seconds, compilation apart."""
    compiled = jax.jit(run).lower(bench.key).compile()
    started = time.perf_counter()
    result = jax.block_until_ready(compiled(bench.key))
    seconds = time.perf_counter() - started
    steps = _steps(sampler) or (None if sampler.startswith("original") else usual_steps)
    calls = network_calls(model, sampler, steps)
    return result, {"sampler": sampler, "network_calls": calls, "seconds": seconds, "poses_per_s": num_poses / seconds}


def show(task: str, setting: str, row: dict[str, Any], cost: dict[str, Any]) -> dict[str, Any]:
    """Print a row's figures and give it back with its task, setting and cost."""
    numbers = ", ".join(f"{k} {v:.4g}" for k, v in row.items() if isinstance(v, float))
    print(
        f"{task}, {setting} [{cost['sampler']}, {cost['network_calls']} calls, {cost['seconds']:.1f} s]: {numbers}",
        flush=True,
    )
    return {"task": task, "setting": setting, **row, **cost}


def _flows(sampler: str) -> tuple[str, ...]:
    """What gives one answer beside a sampler of many."""
    return ("original_mean_flow",) if sampler == "original" else ("mean_flow", "probability_flow")


def _steps(sampler: str) -> int | None:
    """--steps are of our samplers; the original's recipe keeps its 1000."""
    return None if sampler.startswith("original") else STEPS.value


def cli() -> None:
    """Errors that a user can mend leave with code 2 and one line."""
    try:
        app.run(main)
    except ValueError as error:
        print(f"evaluate_tasks: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    cli()
