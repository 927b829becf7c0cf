"""Score a model of GFPose's codec by GFPose's protocol on prepared Human3.6M frames, beside figures without its
privileges.

    jaxpose convert gfpose best_model.pth --out gfpose.safetensors
    python -m experiments.evaluate gfpose --model=gfpose.safetensors --data=data/h36m_test                  est, 200
    python -m experiments.evaluate gfpose ... --hypotheses=1 --mean_flow                                    est, 1
    python -m experiments.evaluate gfpose ... --task=comp2d --randj=2        or --task=comp3d --jlist=1,2,3,4,5,6
    python -m experiments.evaluate gfpose ... --task=den --std=5 --t=0.05    or --task=gen --save=poses.npz

`--recipe=original` takes the original's 1000 Euler-Maruyama steps; `ours` a few of the model's own solver, on the same
weights, and starts denoising from the noise level, not from --t. Hypotheses get the true root depth and intrinsics
(`spaces/image_depth.py`): rows compare with GFPose's tables, not with a lifter that is told neither.
"""

import dataclasses
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench, harness
from experiments.evaluate.harness import Item, Row, Table
from experiments.options import option
from jaxpose import model as released
from jaxpose.base import Array, Condition, Key
from jaxpose.diffusion import prior_sample, replace, sample_hypotheses, time_at
from jaxpose.evaluation.metrics import diversity
from jaxpose.files import write_npz
from jaxpose.originals.datasets.h36m import Frames, load_frames
from jaxpose.originals.evaluation.h36m import NOISE_KINDS, denoising_row, gfpose_row, image_noise
from jaxpose.originals.recipes.gfpose import hide_random_joints, sample_as_gfpose
from jaxpose.spaces.image_depth import STATISTICS, back_project, decode, encode
from jaxpose.tasks.samplers import mean_flow, stochastic


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


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    model: str = option(None, "A .safetensors file of codec image_depth.", required=True)
    data: str = option(None, "Folder made by `jaxpose prepare h36m`.", required=True)
    task: str = option("est", "Estimate, complete, generate or denoise.", legal=tuple(TASKS))
    recipe: str = option("original", "Which sampler.", legal=("original", "ours"))
    steps: int | None = option(None, "Solver steps; original 1000, ours the model's own.", low=1)
    hypotheses: int | None = option(None, "Poses per frame; by default the task's.", low=1)
    mean_flow: bool | None = option(None, "No noise (the original's --pflow); by default the task's.")
    stride: int = option(640, "Every n-th frame only.", low=1)
    gt: bool = option(False, "Exact projections in place of detections.")
    randj: int = option(0, "Hide that many random knees, ankles, elbows, wrists.", low=0)
    jlist: tuple[int, ...] = option((), "Hide these joints of every pose.", low=0, high=16)
    joints_per_hypothesis: bool = option(False, "Draw hidden joints for each hypothesis, as the original does.")
    noise_type: str = option("gaussian", "Of --task=den.", legal=tuple(NOISE_KINDS))
    std: float = option(5.0, "Pixels of noise of --task=den.", low=0.1)
    t: float | None = option(None, "Where the original starts; by default the task's.", low=0.002, high=1)
    rows: int = option(2048, "Poses in flight at once.", low=1)
    save: str | None = option(None, "Also write the poses, metres, to this .npz file.")

    @property
    def variant(self) -> str:
        return self.task


@released.needs("evaluate gfpose", "image_depth")
def gfpose(model: released.Model, options: Options) -> Iterator[Item]:
    """One row of one task."""
    check(model, options)
    frames = Frames(*(np.asarray(x[:: options.stride]) for x in load_frames(options.data)))
    known = settings(model, options)
    privileges = "true root depth, intrinsics and box ratio; *_best_* and *_gfpose_* also choose by the truth"
    tuned = "nothing of ours; what the checkpoint's authors chose on Human3.6M is not known here"
    yield Table(f"{len(frames.action)} frames of {options.data}; {options.task}, {known}", privileges, tuned)
    yield {"settings": known}
    started = time.perf_counter()
    samples, noisy = draw_all(model, frames, options)
    seconds = (time.perf_counter() - started) / len(frames.action)
    row: dict[str, Any]
    if options.task == "den":
        row = denoising_row(noisy, samples.mean(0), frames.camera, frames.action)
    elif options.task == "gen":  # poses of no one have no error: how far they spread about their mean, x, y, z
        spread = 1000 * diversity(jnp.asarray(samples).reshape(-1, 17, 3))
        row = {"poses": samples.shape[0] * samples.shape[1], "diversity_mm": np.asarray(spread).tolist()}
    else:
        row = gfpose_row(samples, frames.camera, frames.action)
    yield Row(options.task, row | {"seconds_per_frame": seconds})
    if options.save:
        write_npz(options.save, {"samples": samples, "truth": frames.camera, "action": frames.action})
        print(f"wrote {options.save}")


def settings(model: released.Model, options: Options) -> dict[str, Any]:
    """What was asked for, defaults filled in."""
    usual, original = TASKS[options.task], options.recipe == "original"
    known: dict[str, Any] = {
        "task": options.task,
        "recipe": options.recipe,
        "steps": options.steps or (1000 if original else model.spec.num_steps),
        "hypotheses": options.hypotheses or usual.hypotheses,
        "mean_flow": usual.mean_flow if options.mean_flow is None else options.mean_flow,
        "stride": options.stride,
        "seed": options.seed,
        "rows": options.rows,
    }
    if original:
        known["t"] = options.t or usual.t
    elif options.task == "den":
        level = options.std * NOISE_KINDS[options.noise_type][1] / STATISTICS.std[0, 0]
        known["t"] = float(time_at(model.spec.sde(), jnp.asarray(-2 * np.log(level))))
    if options.task in ("est", "comp2d"):
        known["keypoints"] = "exact" if options.gt else "detected"
    if options.task.startswith("comp"):
        known["hidden"] = list(options.jlist) or f"{options.randj} random"
        known["joints_per_hypothesis"] = options.joints_per_hypothesis
    if options.task == "den":
        known |= {"noise_type": options.noise_type, "std_px": options.std}
    return known


def draw_all(model: released.Model, frames: Frames, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """Hypotheses [H, N, 17, 3] and noisy poses [N, 17, 3] of all frames, metres in the camera's frame."""
    known = settings(model, options)
    per_call = 1 if options.joints_per_hypothesis else known["hypotheses"]
    draw = jax.jit(partial(draw_states, known=known, num=per_call))
    samples, noisy, done, started = [], [], 0, time.monotonic()
    for block, (rows, kept) in enumerate(bench.blocks(len(frames.action), options.rows // per_call)):
        batch = Frames(*(x[rows] for x in frames))
        key = jax.random.fold_in(jax.random.key(options.seed), block)
        noise_key, joint_key, key = jax.random.split(key, 3)
        start = encode(image_noise(noise_key, jnp.asarray(batch.image), options.std, options.noise_type))
        states = []
        for h in range(known["hypotheses"] // per_call):
            cond = condition(jax.random.fold_in(joint_key, h), batch, options)
            states.append(draw(model, cond, start, jax.random.fold_in(key, h)))
        samples.append(np.asarray(to_camera(jnp.concatenate(states), batch))[:, :kept])
        noisy.append(np.asarray(to_camera(start, batch))[:kept])
        done += kept
        bench.tell_progress(done, len(frames.action), started)
    return np.concatenate(samples, 1), np.concatenate(noisy)


def condition(key: Key, frames: Frames, options: Options) -> Condition | None:
    """What the network and the imputation are told of N frames, value and mask [N, 17, 3]; None for nothing."""
    if options.task in ("gen", "den"):
        return None
    depth = jnp.full((*frames.image.shape[:-1], 1), float(options.task == "comp3d"))
    seen = jnp.concatenate([jnp.ones_like(frames.keypoints), depth], -1)
    if options.task.startswith("comp"):
        seen = seen * visible_joints(key, len(frames.action), options)[..., None]
    exact = options.gt or options.task == "comp3d"
    uv = jnp.asarray(frames.image[..., :2] if exact else frames.keypoints)
    value = encode(jnp.concatenate([uv, jnp.asarray(frames.image[..., 2:])], -1))
    return Condition(jnp.where(seen > 0, value, 0), seen)


def visible_joints(key: Key, num: int, options: Options) -> Array:
    """Which joints [num, 17] the completion is shown."""
    if options.jlist:
        return jnp.ones((num, 17)).at[:, jnp.asarray(options.jlist)].set(0)
    return jax.vmap(lambda k: hide_random_joints(k, options.randj))(jax.random.split(key, num))


def draw_states(
    model: released.Model, cond: Condition | None, noisy: Array, key: Key, *, known: dict[str, Any], num: int
) -> Array:
    """States [num, N, 17, 3] by the recipe that `known` names; noisy [N, 17, 3] is where denoising starts."""
    sde, impute = model.spec.sde(), known["task"].startswith("comp")
    sde, predict = sde._replace(t_max=known.get("t", sde.t_max)), model.predict_fn()
    chunk = max(1, known["rows"] // len(noisy))

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
    run = (mean_flow if known["mean_flow"] else stochastic)(known["steps"]).run(model.spec, sde)
    project = replace(sde, cond) if impute and cond is not None else None
    return sample_hypotheses(
        key, num, start, predict, run.solver, run.times, cond, chunk=chunk, project=project, finish=run.finish
    )


def to_camera(states: Array, frames: Frames) -> Array:
    """Camera-frame joints [..., N, 17, 3] metres of states, with the frames' own camera and root depth."""
    given = (jnp.asarray(x) for x in (frames.intrinsics, frames.ratio, frames.root_depth))
    return back_project(decode(states), *given)


def check(model: released.Model, options: Options) -> None:
    """ValueError for another model's codec, and for flags that do not go together."""
    hides = options.jlist or options.randj or options.joints_per_hypothesis
    if hides and not options.task.startswith("comp"):
        raise ValueError(
            f"--jlist, --randj: nothing is hidden in --task={options.task}; parts are hidden in comp2d, comp3d"
        )
    if options.jlist and options.randj:
        raise ValueError("--jlist and --randj: got both, must be one of them")
    if options.recipe == "ours" and options.t is not None:
        raise ValueError("--t: got a value with --recipe=ours, which starts denoising from the noise level")
