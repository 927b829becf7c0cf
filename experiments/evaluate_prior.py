"""A prior over joint rotations on validation subjects: completion, generation, and what the schedule of t is worth.

    python -m experiments.evaluate_prior --model=prior21 [--task=complete,generate,schedules] [--stride=4] [--out=DIR]

complete:  10 hypotheses of hidden parts (joint error over them, min / mean / std over hypotheses, mm) by every method,
           with seconds and network calls; and what the nearest training poses would give.
generate:  samples against validation and training rotations; training poses in their place are the yardstick.
schedules: truncated, uniform, random and fixed times for completion and motion denoising, with the 95 % interval of
           the ratio to truncated (paired bootstrap over sequences or clips).
Hidden joints' truth is read for `min` only in the choice of the hypothesis; nothing is aligned; root is known.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from experiments.prior_bench import generic_body, joints_of, load_clips, load_poses, show, timed, write_rows
from jaxpose import model as released
from jaxpose.base import Array
from jaxpose.datasets.mocap import data_root
from jaxpose.datasets.rotations import load_rotations
from jaxpose.diffusion.regulariser import fixed, truncated, uniform_random
from jaxpose.evaluation import generation
from jaxpose.evaluation.bootstrap import paired_bootstrap
from jaxpose.evaluation.mesh import self_intersection_row
from jaxpose.evaluation.parts import completion_row, hidden_errors
from jaxpose.fitting.engine import Free
from jaxpose.fitting.motion import denoise_motion
from jaxpose.fitting.priors import dposer_prior
from jaxpose.geometry.body import full_rotations
from jaxpose.geometry.flip import mirror_rotations
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.io.capsule_body import capsule_body
from jaxpose.tasks.complete_rotations import METHODS, PARTS, Descent, complete_rotations
from jaxpose.tasks.rotations import generate_rotations

MODEL = flags.DEFINE_string("model", "prior21", "A bundled model's name, or a .safetensors file.")
TASK = flags.DEFINE_list("task", ["complete", "generate", "schedules"], "Which tables.")
STRIDE = flags.DEFINE_integer("stride", 4, "Every so many validation poses, and clips.", lower_bound=1)
HYPOTHESES = flags.DEFINE_integer("hypotheses", 10, "Hypotheses of a completion.", lower_bound=1)
STEPS = flags.DEFINE_list("steps", ["50"], "Solver steps of the samplers, one row each.")
SAMPLES = flags.DEFINE_integer("samples", 5000, "Generated poses.", lower_bound=10)
SEED = flags.DEFINE_integer("seed", 0, "Of all random numbers.")
OUT = flags.DEFINE_string("out", "runs/prior", "Where the JSON goes.")

_PARTS = ("left_leg", "legs", "arms", "trunk")
_NEIGHBOURS, _APART = 10, 40  # nearest training poses: every 40th, since frames in sequence are one pose
_MESHES = 100  # whose self-intersections are counted
SCHEDULES = {
    "truncated": None,  # the default
    "uniform": truncated(1.0, 1e-3),
    "random": uniform_random(1.0, 1e-3),
    "fixed": fixed(0.1),
}


def main(argv: list[str]) -> None:
    del argv
    tasks = {"complete": complete, "generate": generate, "schedules": schedules}
    if unknown := set(TASK.value) - set(tasks):
        raise ValueError(f"--task: got {sorted(unknown)}, legal are {list(tasks)}")
    model = released.load(MODEL.value)
    rows = [row | {"task": name} for name in TASK.value for row in tasks[name](model)]
    write_rows(OUT.value, "prior.json", model, SEED.value, rows)


def complete(model: released.Model) -> list[dict[str, Any]]:
    """The table of completion."""
    body, poses = generic_body(), load_poses(STRIDE.value).body_pose
    truth = joints_of(body, poses)
    train = _training_poses()
    print(f"completion of {len(poses)} validation poses, {HYPOTHESES.value} hypotheses")
    rows = []
    for part in _PARTS:
        hidden = np.array(PARTS[part]) + 1
        settings = [
            (method, None if method == "dposer" else int(n))
            for method in METHODS
            for n in (STEPS.value if method != "dposer" else [0])
        ]
        for method, steps in settings:
            chosen = METHODS[method]() if steps is None else METHODS[method](num_steps=steps)
            run = functools.partial(_completed, known=_known(part), num_hypotheses=HYPOTHESES.value, method=chosen)
            samples, seconds = timed(run, model, jnp.asarray(poses))
            row = completion_row(joints_of(body, samples), truth, hidden)
            calls = Descent().num_steps if steps is None else steps + 1
            rows.append(show(f"{part}, {method}", row, network_calls=calls, seconds=seconds))
        nearest = _nearest(train, poses, part)
        rows.append(show(f"{part}, nearest training poses", completion_row(joints_of(body, nearest), truth, hidden)))
    return rows


def generate(model: released.Model) -> list[dict[str, Any]]:
    """Samples, and as many training poses, against validation and training rotations."""
    body, val, train = generic_body(), load_poses(1).body_pose, _training_poses()
    rng, num = np.random.default_rng(SEED.value), SAMPLES.value
    chosen = rng.permutation(len(train))
    held, reference = train[chosen[:num]], train[chosen[num : num + 10_000]]
    sets: dict[str, tuple[np.ndarray, dict[str, float]]] = {"training poses": (held, {})}
    for steps in STEPS.value:
        run = functools.partial(generate_rotations, num=num, num_steps=int(steps))
        samples, seconds = timed(run, jax.random.key(SEED.value), model)
        sets[f"samples, {steps} steps"] = np.asarray(samples), {"seconds": seconds}
    print(f"generation: {num} poses; {len(val)} validation and {len(reference)} training poses to compare with")
    return [show(name, _generation_row(x, val, reference, train, body), **cost) for name, (x, cost) in sets.items()]


def _generation_row(
    x: np.ndarray, val: np.ndarray, reference: np.ndarray, train: np.ndarray, body: Any
) -> dict[str, float]:
    flat, val_flat, ref_flat = (a.reshape(len(a), -1) for a in (x, val, reference))
    row = {
        "apd_cm": 100 * generation.apd(joints_of(body, x[:500])),
        "fid_val": generation.frechet_distance(flat, val_flat),
        "fid_train": generation.frechet_distance(flat, ref_flat),
    }
    for name, real in (("val", val_flat), ("train", ref_flat)):
        found = generation.neighbour_metrics(real, flat)
        row |= {f"{k}_{name}": v for k, v in found._asdict().items()}
    mesh = capsule_body()
    vertices = mesh.shape().pose(full_rotations(mesh, jnp.asarray(x[:_MESHES]))).skin()
    row |= self_intersection_row(np.asarray(vertices), np.asarray(mesh.faces))
    return row | {"dnn_rad": float(generation.nearest_rotations(x[:_MESHES], train).mean())}


def schedules(model: released.Model) -> list[dict[str, Any]]:
    """Every schedule of t for completion (mean over hypotheses) and motion denoising."""
    body, poses, clips = generic_body(), load_poses(STRIDE.value), load_clips(STRIDE.value)
    truth = joints_of(body, poses.body_pose)
    errors: dict[str, dict[str, np.ndarray]] = {}
    for name, schedule in SCHEDULES.items():
        method = Descent() if schedule is None else Descent(schedule=schedule)
        for part in _PARTS:
            run = functools.partial(_completed, known=_known(part), num_hypotheses=HYPOTHESES.value, method=method)
            samples = jax.jit(run)(model, jnp.asarray(poses.body_pose))
            found = hidden_errors(joints_of(body, samples), truth, np.array(PARTS[part]) + 1)
            for figure in ("min", "mean"):
                errors.setdefault(f"complete {part}, {figure}", {})[name] = np.asarray(found[figure])
        for noise in (0.02, 0.04, 0.1):
            joints = jnp.asarray(clips.joints)
            noisy = joints + noise * jnp.asarray(clips.unit_noise)
            run_motion = functools.partial(
                _denoised, body=body, noise=noise, schedule=schedule, start=jnp.asarray(model.statistics.mean)
            )
            found_joints = jax.jit(run_motion)(model, noisy)
            error = jnp.linalg.norm(found_joints - joints, axis=-1).mean((1, 2))
            errors.setdefault(f"denoise {1000 * noise:.0f} mm", {})[name] = 1000 * np.asarray(error)
    groups = {"complete": poses.sequence, "denoise": clips.name}
    rows = []
    for setting, by_schedule in errors.items():
        for name, error in by_schedule.items():
            group = groups[setting.split()[0]]
            found_difference = paired_bootstrap(SEED.value, error, by_schedule["truncated"], groups=group)
            row = {"error_mm": float(error.mean()), "ratio": found_difference.ratio}
            row |= {"ratio_low": found_difference.ratio_low, "ratio_high": found_difference.ratio_high}
            rows.append(show(f"{setting}, {name}", row))
    return rows


def _completed(model: released.Model, poses: Array, *, known: np.ndarray, **options: Any) -> Array:
    return complete_rotations(jax.random.key(SEED.value), model, poses, jnp.asarray(known), **options)


def _denoised(model: released.Model, noisy: Array, *, body: Any, noise: float, schedule: Any, start: Array) -> Array:
    return denoise_motion(
        jax.random.key(SEED.value),
        body,
        noisy,
        "smpl22",
        dposer_prior(model, schedule),
        noise=noise,
        start_pose=start,
        free=Free(global_orient=False, transl=False, betas=False),
    ).joints[0]


def _known(part: str) -> np.ndarray:
    known: np.ndarray = np.ones(21, np.float32)
    known[list(PARTS[part])] = 0
    return known


def _training_poses() -> np.ndarray:
    poses = load_rotations(data_root(), "train").body_pose
    return np.concatenate([poses, np.asarray(mirror_rotations(jnp.asarray(poses), SMPL_22))])


def _nearest(train: np.ndarray, poses: np.ndarray, part: str) -> np.ndarray:
    """Poses completed [10, N, 21, 3] by training poses of nearest known rotations, spread over the nearest 400."""
    hidden = list(PARTS[part])
    known = [j for j in range(21) if j not in hidden]
    reference = train[:, known].reshape(len(train), -1)
    found = np.repeat(poses[None], _NEIGHBOURS, 0)
    for i, pose in enumerate(poses):
        far = np.square(reference - pose[known].reshape(-1)).sum(1)
        near = np.argpartition(far, _NEIGHBOURS * _APART)[: _NEIGHBOURS * _APART]
        order = near[np.argsort(far[near])][::_APART]
        found[:, i, hidden] = train[order][:, hidden]
    return found


def cli() -> None:
    """Errors that a user can mend leave with code 2 and one line."""
    try:
        app.run(main)
    except ValueError as error:
        print(f"evaluate_prior: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    cli()
