"""Score a model of GFPose's codec by GFPose's protocol on prepared Human3.6M frames, beside honest figures.

    jaxpose convert gfpose best_model.pth --out gfpose.safetensors
    python -m experiments.evaluate_gfpose --model=gfpose.safetensors --data=data/h36m_test                  est, 200
    python -m experiments.evaluate_gfpose ... --hypotheses=1 --mean_flow                                    est, 1
    python -m experiments.evaluate_gfpose ... --task=comp2d --randj=2        or --task=comp3d --jlist=1,2,3,4,5,6
    python -m experiments.evaluate_gfpose ... --task=den --std=5 --t=0.05    or --task=gen --save=poses.npz

`--recipe=original` takes the original's 1000 Euler-Maruyama steps; `ours` a few of the model's own solver, on the same
weights, and starts denoising from the noise level, not from --t. Hypotheses get the true root depth and intrinsics
(`spaces/image_depth.py`): rows compare with GFPose's tables, not with a lifter that is told neither.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging

from jaxpose import model as released
from jaxpose.base import Array, Condition, Key
from jaxpose.datasets.h36m import Frames, load_frames
from jaxpose.diffusion import prior_sample, replace, sample_hypotheses, time_at
from jaxpose.evaluation.gfpose import NOISE_KINDS, denoising_row, gfpose_row, image_noise
from jaxpose.evaluation.metrics import diversity
from jaxpose.files import write_json, write_npz
from jaxpose.recipes.gfpose import hide_random_joints, sample_as_gfpose
from jaxpose.spaces.image_depth import STATISTICS, back_project, decode, encode
from jaxpose.tasks.draw import make_run
from jaxpose.training.checkpoint import git_commit


class Task(NamedTuple):
    """What the original's README runs: hypotheses, `mean_flow`, and where to start."""

    hypotheses: int
    mean_flow: bool = False
    t: float = 1.0


TASKS = {
    "est": Task(200),
    "comp2d": Task(200),
    "comp3d": Task(1, mean_flow=True),
    "gen": Task(1),
    "den": Task(1, mean_flow=True, t=0.05),
}

MODEL = flags.DEFINE_string("model", None, "A .safetensors file of codec image_depth.", required=True)
DATA = flags.DEFINE_string("data", None, "Folder made by `jaxpose prepare h36m`.", required=True)
TASK = flags.DEFINE_enum("task", "est", list(TASKS), "Estimate, complete, generate or denoise.")
RECIPE = flags.DEFINE_enum("recipe", "original", ["original", "ours"], "Which sampler.")
STEPS = flags.DEFINE_integer("steps", None, "Solver steps; original 1000, ours the model's own.", lower_bound=1)
HYPOTHESES = flags.DEFINE_integer("hypotheses", None, "Poses per frame; by default the task's.", lower_bound=1)
MEAN_FLOW = flags.DEFINE_bool("mean_flow", None, "No noise (the original's --pflow); by default the task's.")
STRIDE = flags.DEFINE_integer("stride", 640, "Every n-th frame only.", lower_bound=1)
GT = flags.DEFINE_bool("gt", False, "Exact projections in place of detections.")
RANDJ = flags.DEFINE_integer("randj", 0, "Hide that many random knees, ankles, elbows, wrists.", lower_bound=0)
JLIST = flags.DEFINE_list("jlist", [], "Hide these joints of every pose, 0 to 16.")
PER_HYPOTHESIS = flags.DEFINE_bool(
    "joints_per_hypothesis", False, "Draw hidden joints for each hypothesis, as the original does."
)
NOISE_TYPE = flags.DEFINE_enum("noise_type", "gaussian", list(NOISE_KINDS), "Of --task=den.")
STD = flags.DEFINE_float("std", 5.0, "Pixels of noise of --task=den.", lower_bound=0.1)
T = flags.DEFINE_float("t", None, "Where the original starts; by default the task's.", lower_bound=0.002, upper_bound=1)
ROWS = flags.DEFINE_integer("rows", 2048, "Poses in flight at once.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Of the one key.")
OUT = flags.DEFINE_string("out", "runs/gfpose", "Folder for <task>.json.")
SAVE = flags.DEFINE_string("save", None, "Also write the poses, metres, to this .npz file.")


def main(argv: list[str]) -> None:
    del argv
    check_flags()
    logging.set_verbosity(logging.WARNING)
    model = released.load(MODEL.value)
    if model.spec.codec != "image_depth":
        raise ValueError(f"{MODEL.value}: codec {model.spec.codec!r}; legal is 'image_depth', GFPose's")
    frames = Frames(*(np.asarray(x[:: STRIDE.value]) for x in load_frames(DATA.value)))
    print(f"{len(frames.action)} frames of {DATA.value}; {TASK.value}, {settings(model)}", flush=True)
    started = time.perf_counter()
    samples, noisy = draw_all(model, frames)
    seconds = (time.perf_counter() - started) / len(frames.action)
    row: dict[str, Any]
    if TASK.value == "den":
        row = denoising_row(noisy, samples.mean(0), frames.camera, frames.action)
    elif TASK.value == "gen":  # poses of no one have no error: how far they spread about their mean, x, y, z
        spread = 1000 * diversity(jnp.asarray(samples).reshape(-1, 17, 3))
        row = {"poses": samples.shape[0] * samples.shape[1], "diversity_mm": np.asarray(spread).tolist()}
    else:
        row = gfpose_row(samples, frames.camera, frames.action)
    result = {
        "model": released.describe(model),
        "settings": settings(model),
        "privileges": "true root depth, intrinsics and box ratio; *_best_* and *_gfpose_* also choose by the truth",
        "seconds_per_frame": seconds,
        "device": jax.devices()[0].device_kind,
        "commit": git_commit(),
        "row": row,
    }
    for name, value in row.items():
        if isinstance(value, float):
            print(f"{name:24s} {value:8.2f}")
    path = Path(OUT.value) / f"{TASK.value}.json"
    write_json(path, result)
    print(f"wrote {path}")
    if SAVE.value:
        write_npz(SAVE.value, {"samples": samples, "truth": frames.camera, "action": frames.action})
        print(f"wrote {SAVE.value}")


def settings(model: released.Model) -> dict[str, Any]:
    """What was asked for, defaults filled in."""
    usual, original = TASKS[TASK.value], RECIPE.value == "original"
    known: dict[str, Any] = {
        "task": TASK.value,
        "recipe": RECIPE.value,
        "steps": STEPS.value or (1000 if original else model.spec.num_steps),
        "hypotheses": HYPOTHESES.value or usual.hypotheses,
        "mean_flow": usual.mean_flow if MEAN_FLOW.value is None else MEAN_FLOW.value,
        "stride": STRIDE.value,
        "seed": SEED.value,
        "rows": ROWS.value,
    }
    if original:
        known["t"] = T.value or usual.t
    elif TASK.value == "den":
        level = STD.value * NOISE_KINDS[NOISE_TYPE.value][1] / STATISTICS.std[0, 0]
        known["t"] = float(time_at(model.spec.sde(), jnp.asarray(-2 * np.log(level))))
    if TASK.value in ("est", "comp2d"):
        known["keypoints"] = "exact" if GT.value else "detected"
    if TASK.value.startswith("comp"):
        known["hidden"] = [int(j) for j in JLIST.value] or f"{RANDJ.value} random"
        known["joints_per_hypothesis"] = PER_HYPOTHESIS.value
    if TASK.value == "den":
        known |= {"noise_type": NOISE_TYPE.value, "std_px": STD.value}
    return known


def draw_all(model: released.Model, frames: Frames) -> tuple[np.ndarray, np.ndarray]:
    """Hypotheses [H, N, 17, 3] and noisy poses [N, 17, 3] of all frames, metres in the camera's frame."""
    known = settings(model)
    per_call = 1 if PER_HYPOTHESIS.value else known["hypotheses"]
    size = min(max(1, ROWS.value // per_call), len(frames.action))
    draw = jax.jit(partial(draw_states, known=known, num=per_call))
    samples, noisy, started = [], [], time.monotonic()
    for first in range(0, len(frames.action), size):
        # the last batch is filled up with the last frame, so that one program serves all
        index = np.minimum(np.arange(first, first + size), len(frames.action) - 1)
        batch = Frames(*(x[index] for x in frames))
        key = jax.random.fold_in(jax.random.key(SEED.value), first // size)
        noise_key, joint_key, key = jax.random.split(key, 3)
        start = encode(image_noise(noise_key, jnp.asarray(batch.image), STD.value, NOISE_TYPE.value))
        states = []
        for h in range(known["hypotheses"] // per_call):
            cond = condition(jax.random.fold_in(joint_key, h), batch)
            states.append(draw(model, cond, start, jax.random.fold_in(key, h)))
        done = min(first + size, len(frames.action))
        samples.append(np.asarray(to_camera(jnp.concatenate(states), batch))[:, : done - first])
        noisy.append(np.asarray(to_camera(start, batch))[: done - first])
        left = (time.monotonic() - started) / done * (len(frames.action) - done)
        print(f"{done}/{len(frames.action)} frames, {left / 60:.1f} min left", flush=True)
    return np.concatenate(samples, 1), np.concatenate(noisy)


def condition(key: Key, frames: Frames) -> Condition | None:
    """What the network and the imputation are told of N frames, value and mask [N, 17, 3]; None for nothing."""
    if TASK.value in ("gen", "den"):
        return None
    depth = jnp.full((*frames.image.shape[:-1], 1), float(TASK.value == "comp3d"))
    seen = jnp.concatenate([jnp.ones_like(frames.keypoints), depth], -1)
    if TASK.value.startswith("comp"):
        seen = seen * visible_joints(key, len(frames.action))[..., None]
    exact = GT.value or TASK.value == "comp3d"
    uv = jnp.asarray(frames.image[..., :2] if exact else frames.keypoints)
    value = encode(jnp.concatenate([uv, jnp.asarray(frames.image[..., 2:])], -1))
    return Condition(jnp.where(seen > 0, value, 0), seen)


def visible_joints(key: Key, num: int) -> Array:
    """Which joints [num, 17] the completion is shown."""
    hidden = [int(j) for j in JLIST.value]
    if hidden:
        return jnp.ones((num, 17)).at[:, jnp.asarray(hidden)].set(0)
    return jax.vmap(lambda k: hide_random_joints(k, RANDJ.value))(jax.random.split(key, num))


def draw_states(
    model: released.Model, cond: Condition | None, noisy: Array, key: Key, *, known: dict[str, Any], num: int
) -> Array:
    """States [num, N, 17, 3] by the recipe that `known` names; noisy [N, 17, 3] is where denoising starts."""
    sde, impute = model.spec.sde(), known["task"].startswith("comp")
    sde, predict = sde._replace(t_max=known.get("t", sde.t_max)), model.predict_fn()
    chunk = max(1, ROWS.value // len(noisy))

    def start(k: Key) -> Array:
        if known["task"] != "den":
            return prior_sample(k, sde, noisy.shape)
        return noisy if known["recipe"] == "original" else sde.alpha(jnp.float32(sde.t_max)) * noisy

    if known["recipe"] == "original":
        return sample_as_gfpose(
            key,
            num,
            start,
            predict,
            sde,
            cond,
            num_steps=known["steps"],
            mean_flow=known["mean_flow"],
            impute=impute,
            chunk=chunk,
        )
    run = make_run(model, "mean_flow" if known["mean_flow"] else "posterior", sde, known["steps"])
    project = replace(sde, cond) if impute and cond is not None else None
    return sample_hypotheses(
        key, num, start, predict, run.solver, run.times, cond, chunk=chunk, project=project, finish=run.finish
    )


def to_camera(states: Array, frames: Frames) -> Array:
    """Camera-frame joints [..., N, 17, 3] metres of states, with the frames' own camera and root depth."""
    given = (jnp.asarray(x) for x in (frames.intrinsics, frames.ratio, frames.root_depth))
    return back_project(decode(states), *given)


def check_flags() -> None:
    """ValueError for flags that do not go together."""
    if bad := [j for j in JLIST.value if not j.isdigit() or int(j) > 16]:
        raise ValueError(f"--jlist: got {bad}; legal are joints 0..16")
    if (JLIST.value or RANDJ.value or PER_HYPOTHESIS.value) and not TASK.value.startswith("comp"):
        raise ValueError(f"--jlist, --randj: nothing is hidden in --task={TASK.value}; legal for comp2d, comp3d")
    if JLIST.value and RANDJ.value:
        raise ValueError("--jlist and --randj: got both; legal is one of them")
    if RECIPE.value == "ours" and T.value is not None:
        raise ValueError("--t: got a value with --recipe=ours, which starts denoising from the noise level")


def cli() -> None:
    """Errors that a user can mend leave with code 2 and one line."""
    try:
        app.run(main)
    except ValueError as error:
        print(f"evaluate_gfpose: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    cli()
