"""The six tasks of `evaluate calls`: where sampling starts, under what condition, how draws score; calls and the knee.

    lift                 2D detected, camera known                              all joints about the root
    complete             3D joints, exact, both arms missing                    the hidden joints
    denoise              every joint with 50 mm of noise per coordinate, told   all joints about the root
    generate             from nothing, against the validation poses             joints about the root
    complete_rotations   both arms' rotations missing, `replace` (prior21)      the hidden arms' joints
    generate_rotations   from nothing, against the validation poses (prior21)   rotation vectors

Figures of the first three and of the fifth, over N poses and H hypotheses: `mean_mm`, the error of the samples' mean;
`best_mm`, of the best hypothesis, an oracle that reads the truth; `ece`. Of generation: precision and recall with three
neighbours, `f1`, their harmonic mean, and the Frechet distance. Recalibration is left out: it would hide what is asked.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from experiments.evaluate.bench import generic_body, joints_of, load_frames, load_poses, on_device
from jaxpose.base import Array, Camera, Condition, Decoded, Key, PredictFn, Prediction, Problem, ProjectFn, Start
from jaxpose.diffusion import SDE, Solver, replace, time_at
from jaxpose.evaluation import calibration, generation, metrics
from jaxpose.evaluation.protocols import HIDDEN_PARTS
from jaxpose.geometry.body import Body
from jaxpose.model import Model
from jaxpose.spaces.person import View, encode_pose
from jaxpose.tasks import complete as completion
from jaxpose.tasks import denoise as denoising
from jaxpose.tasks import generate as generating
from jaxpose.tasks import lift as lifting
from jaxpose.tasks.complete_rotations import PARTS
from jaxpose.tasks.draw import from_noise
from jaxpose.tasks.rotations import to_axis_angle, to_state

_WITHIN = {"mean_mm": 1.02, "best_mm": 1.05}  # times the least
_SHARE = 0.02  # of ECE, F1
_NOISE = 0.05  # metres
_ROWS = 50  # poses of generation that share a key


class Task(NamedTuple):
    """What `evaluate calls` needs of a task of N poses.

    sde: the process, from where the task starts. num: hypotheses H; of generation, blocks of _ROWS poses.
    problem: start, condition, projection and the way back. figures: what it decodes to -> numbers.
    num_steps: of the solver, as the task takes them by default.
    """

    name: str
    model: Model
    sde: SDE
    num: int
    problem: Problem
    figures: Callable[[Array], dict[str, float]]
    num_steps: int


def lift(model: Model, stride: int, num: int) -> Task:
    """Every `stride`-th detection of the benchmark."""
    keypoints, confidence, intrinsics, joints = on_device(load_frames(stride))
    problem = lifting.problem(jax.random.key(0), model, keypoints, confidence, Camera(intrinsics))
    truth = metrics.align_root(joints)
    return _task("lift", model, num, problem, lambda samples: posterior_figures(samples, truth))


def complete(model: Model, stride: int, num: int) -> Task:
    """Every `stride`-th pose without its arms."""
    truth = metrics.align_root(on_device(load_frames(stride))[3])
    hidden = list(HIDDEN_PARTS["arms"])
    given = truth.at[:, jnp.array(hidden)].set(jnp.nan)
    problem = completion.problem(model, given, jnp.zeros(truth.shape[:2]))
    return _task("complete", model, num, problem, lambda samples: posterior_figures(samples, truth, hidden))


def denoise(model: Model, stride: int, num: int) -> Task:
    """Every `stride`-th pose with noise; all of one level, so that they start at one time and share their keys."""
    truth = metrics.align_root(on_device(load_frames(stride))[3])
    noisy = truth + _NOISE * jax.random.normal(jax.random.key(7), truth.shape)
    sde, level = model.spec.sde(), _NOISE / model.statistics.std.max()
    sde = sde._replace(t_max=float(time_at(sde, -2 * jnp.log(level))))
    observed = encode_pose(model.statistics, View(jnp.eye(3)), noisy)

    def start(key: Key) -> Start:
        start_key, key = jax.random.split(key)
        shift = level / jnp.sqrt(truth.shape[1]) * jax.random.normal(start_key, (len(truth), 1, 3))
        return Start(sde.alpha(jnp.float32(sde.t_max)) * (observed + shift), key, kept=shift)

    problem = denoising.problem(model, noisy, jnp.full(len(truth), _NOISE))
    problem = dataclasses.replace(problem, start=Partial(start))
    figures = lambda samples: posterior_figures(metrics.align_root(samples), truth)  # noqa: E731
    return _task("denoise", model, num, problem, figures)._replace(sde=sde)


def generate(model: Model, stride: int, num: int) -> Task:
    """`num` poses against all validation poses."""
    del stride
    real = metrics.align_root(on_device(load_frames(1))[3])
    task = _task("generate", model, -(-num // _ROWS), generating.problem(model, _ROWS), lambda x: set_figures(x, real))
    return task._replace(num_steps=generating.NUM_STEPS)


def complete_rotations(model: Model, stride: int, num: int) -> Task:
    """Every `stride`-th body pose without its arms."""
    body, poses = generic_body(), jnp.asarray(load_poses(stride).body_pose)
    truth, hidden = joints_of(body, poses), list(PARTS["arms"])
    known = jnp.ones(poses.shape[:2]).at[:, jnp.array(hidden)].set(0)
    value = to_state(model, poses)
    mask = jnp.broadcast_to(known[..., None], value.shape)
    project = replace(model.spec.sde(), Condition(mask * value, mask))
    problem = Problem(from_noise(model, value), Partial(_joints, model, body, poses, known), project=Partial(project))
    figures = lambda samples: posterior_figures(samples, truth, [j + 1 for j in hidden])  # noqa: E731
    return _task("complete_rotations", model, num, problem, figures)


def generate_rotations(model: Model, stride: int, num: int) -> Task:
    """`num` body poses against all validation poses."""
    del stride
    real = jnp.asarray(load_poses(1).body_pose)
    problem = Problem(from_noise(model, jnp.zeros((_ROWS, *model.spec.state_shape))), Partial(_rotations, model))
    return _task("generate_rotations", model, -(-num // _ROWS), problem, lambda samples: set_figures(samples, real))


def _task(name: str, model: Model, num: int, problem: Problem, figures: Callable[[Array], dict[str, float]]) -> Task:
    return Task(name, model, model.spec.sde(), num, problem, figures, model.spec.num_steps)


def _joints(model: Model, body: Body, poses: Array, known: Array, states: Array, kept: None, recal: None) -> Decoded:
    return Decoded(joints_of(body, jnp.where(known[..., None] > 0, poses, to_axis_angle(model, states))))


def _rotations(model: Model, states: Array, kept: None, recalibration: None) -> Decoded:
    return Decoded(to_axis_angle(model, states))


def posterior_figures(samples: Array, truth: Array, chosen: Sequence[int] | None = None) -> dict[str, float]:
    """Figures of samples [H, N, J, 3] of truths [N, J, 3] over the joints `chosen`; None: all, ECE without the root."""
    root: int | None = 0
    if chosen is not None:
        samples, truth, root = samples[:, :, jnp.array(chosen)], truth[:, jnp.array(chosen)], None
    return {
        "mean_mm": 1000 * float(metrics.mpjpe(samples.mean(0), truth).mean()),
        "best_mm": 1000 * float(metrics.best_of(metrics.mpjpe(samples, truth)).mean()),
        "ece": float(calibration.ece(samples, truth, root=root).ece),
    }


def set_figures(samples: Array, real: Array) -> dict[str, float]:
    """Figures of generated poses [..., J, 3] against real ones [M, J, 3]; Frechet distance in their unit squared."""
    fake, flat = samples.reshape(-1, real.shape[1] * 3), real.reshape(len(real), -1)
    if not bool(jnp.isfinite(fake).all()):
        return dict.fromkeys(("precision", "recall", "f1"), 0.0) | {"frechet": float("inf")}
    found = generation.neighbour_metrics(flat, fake)
    f1 = 2 * found.precision * found.recall / max(found.precision + found.recall, 1e-9)
    frechet = generation.frechet_distance(fake, flat)
    return {"precision": found.precision, "recall": found.recall, "f1": f1, "frechet": frechet}


def carry(
    key: Key,
    x: Array,
    predict_fn: PredictFn,
    solver: Solver,
    times: Array,
    steps: Array | int,
    finish: Array | bool,
    cond: Condition | None = None,
    project: ProjectFn | None = None,
) -> Array:
    """`diffusion.sample` along the first `steps` of times, with their number an input of the program, not its shape."""

    def predict(x: Array, t: Array) -> Prediction:
        return predict_fn(x, t, cond)

    def step(i: Array, state: tuple[Array, Any]) -> tuple[Array, Any]:
        step_key, project_key = jax.random.split(jax.random.fold_in(key, i))
        x, memory = solver.step(step_key, state[0], state[1], times[i], times[i + 1], predict)
        return (x if project is None else project(project_key, x, times[i + 1])), memory

    x, _ = jax.lax.fori_loop(0, steps, step, (x, solver.init(x)))
    return jax.lax.cond(finish, lambda x: predict(x, times[steps]).x0, lambda x: x, x)


def steps_of(solver: str, calls: int) -> tuple[int, bool] | None:
    """Steps within `calls` network calls and whether a call ends them; None where the solver needs more."""
    each = 2 if solver == "heun" else 1
    if calls <= each:
        return (1, False) if calls == each else None
    return (calls - 1) // each, True


def calls_of(solver: str, steps: int, finish: bool) -> int:
    """Network calls of `steps` steps."""
    return steps * (2 if solver == "heun" else 1) + finish


def knee(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of fewest calls that is near the best of each figure, as told above; rows of one set of poses."""
    if "f1" in rows[0]:
        near = [r for r in rows if r["f1"] >= max(x["f1"] for x in rows) - _SHARE]
        return min(near, key=lambda r: (r["calls"], -r["f1"]))
    finite = [r for r in rows if math.isfinite(r["mean_mm"])]
    least = {k: min(r[k] for r in finite) for k in ("mean_mm", "best_mm", "ece")}
    near = [
        r
        for r in finite
        if all(r[k] <= factor * least[k] for k, factor in _WITHIN.items()) and r["ece"] <= least["ece"] + _SHARE
    ]
    # no single row may be near all three: then the rule of the mean alone
    near = near or [r for r in finite if r["mean_mm"] <= _WITHIN["mean_mm"] * least["mean_mm"]]
    return min(near, key=lambda r: (r["calls"], r["mean_mm"]))
