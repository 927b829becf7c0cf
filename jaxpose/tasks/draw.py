"""How the tasks draw states from a model: the samplers by name, and the result that tasks on 3D joints share.

posterior          draws from p(x0 | condition): the reverse SDE, or a blend with the flow (`Spec.eta`)
probability_flow   draws from the same law; only the start is random (Song et al., 2021)
mean_flow          the reverse SDE's drift without its noise: every draw seeks the mean of the law; one is enough.
                   GFPose calls it --pflow (spec/gfpose.md, 5.4)
original           GFPose's own recipe, 1000 steps unless told (recipes/gfpose.py); for comparison
original_mean_flow the same without its noise
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Condition, Key
from jaxpose.diffusion import SDE, Solver, ancestral, dpmpp_2m, prior_sample, sample_hypotheses, time_grid
from jaxpose.model import Model, Recalibration
from jaxpose.networks.diffpose import DiffPose
from jaxpose.recipes.gfpose import recipe, recipe_times

SAMPLERS = ("posterior", "probability_flow", "mean_flow", "original", "original_mean_flow")
# Poses in flight at once: on 2 CPU cores the nearest of 512 to 12,800 to the matrix-product rate, by a little
# (python -m experiments.benchmark --case=sampling).
ROWS_IN_FLIGHT = 4096


class Posed(NamedTuple):
    """Many 3D poses of each of N observations, metres, in the axes and about the origin of the observation.

    samples:    [H, N, J, 3].
    mean:       [N, J, 3] of the samples.
    covariance: [N, J, 3, 3] square metres, of each joint about the mean, as validation says it is.
    radius_90:  [N, J] metres about the mean that hold a joint in 90 % of the cases, as validation says.
    weights:    [H, N] of the samples, summing to 1 over H.
    noise:      [N, J] metres: the noise per coordinate that each observed joint was taken to have.
    path:       [T+1, H, N, J, 3] metres, the denoising from start to result, or None.
    """

    samples: Array
    mean: Array
    covariance: Array
    radius_90: Array
    weights: Array
    noise: Array
    path: Array | None = None


def draw_states(
    key: Key,
    model: Model,
    cond: Condition,
    *,
    num_hypotheses: int,
    num_steps: int | None = None,
    sampler: str = "posterior",
    temperature: float = 1.0,
    chunk: int | None = None,
    return_path: bool = False,
) -> Array:
    """States [H, N, J, 3] under a condition of N rows; with `return_path` [H, T+1, N, J, 3], from start to result.

    num_steps: solver steps, each one network call, and one call more; None: what validation chose.
    sampler:   one of SAMPLERS.
    temperature: factor on the fresh noise of "posterior"; below 1 the draws keep nearer to the middle of the law.
    chunk:     hypotheses computed at once; None keeps about 4,000 poses in flight, whatever H is.
    """
    sde, shape = model.spec.sde(), cond.value.shape
    run = make_run(model, sampler, sde, num_steps, temperature)
    return sample_hypotheses(
        key,
        num_hypotheses,
        lambda k: prior_sample(k, sde, shape),
        model.predict_fn(),
        run.solver,
        run.times,
        cond,
        chunk=chunk or max(1, ROWS_IN_FLIGHT // shape[0]),
        finish=run.finish,
        return_path=return_path,
    )


class Run(NamedTuple):
    """A solver, its times [T+1], and whether a last denoising call follows."""

    solver: Solver
    times: Array
    finish: bool


def make_run(model: Model, sampler: str, sde: SDE, num_steps: int | None, temperature: float = 1.0) -> Run:
    """What a sampler's name means under `sde`, the model's process or a part of it; ValueError for other names."""
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler: got {sampler!r}, legal are {SAMPLERS}")
    if model.spec.times:
        return few_step_run(model, sampler, sde, num_steps, temperature)
    if sampler.startswith("original"):
        num_steps = num_steps or 1000
        solver = recipe(sde, num_steps, mean_flow=sampler == "original_mean_flow")
        return Run(solver, recipe_times(sde, num_steps), False)
    times = time_grid(sde, num_steps or model.spec.num_steps, model.spec.spacing)
    if sampler == "mean_flow":
        return Run(dpmpp_2m(sde, eta=1.0, noise=0.0), times, True)
    eta = model.spec.eta if sampler == "posterior" else 0.0
    return Run(dpmpp_2m(sde, eta=eta, noise=temperature), times, True)


def few_step_run(model: Model, sampler: str, sde: SDE, num_steps: int | None, temperature: float) -> Run:
    """A few-step model's only way: each call draws an x0, which the process' own bridge carries to the next time."""
    steps = len(model.spec.times) - 1
    if sampler != "posterior" or num_steps not in (None, steps) or temperature != 1:
        raise ValueError(
            f"{model.spec.name!r} is a few-step model: it draws by sampler 'posterior' in {steps} steps at temperature "
            f"1 alone, got {sampler!r}, {num_steps} steps, temperature {temperature}"
        )
    return Run(ancestral(sde), jnp.asarray(model.spec.times), True)


def network_calls(model: Model, sampler: str, num_steps: int | None) -> int:
    """How often the network is asked for one pose."""
    if sampler.startswith("original"):
        return num_steps or 1000
    return (num_steps or model.spec.num_steps) + 1


def null_condition(model: Model, num_rows: int) -> Condition:
    """The condition that says nothing, for `num_rows` poses."""
    pose = jnp.zeros((num_rows, len(model.skeleton.joints), 3))
    context = jnp.zeros((num_rows, model.spec.context)) if model.spec.context else None
    return Condition(pose, pose, context)


def spread(samples: Array, recalibration: Recalibration | None = None) -> tuple[Array, Array, Array, Array]:
    """Mean [N, J, 3], covariance [N, J, 3, 3], 90 % radius [N, J] and weights [H, N] of equally likely samples.

    samples: [H, N, J, 3] metres. recalibration: None leaves covariance and radius as the samples have them.
    """
    mean = samples.mean(0)
    deviation = samples - mean
    covariance = jnp.einsum("hnji,hnjk->njik", deviation, deviation) / max(samples.shape[0] - 1, 1)
    radius = jnp.quantile(jnp.linalg.norm(deviation, axis=-1), 0.9, axis=0)
    if recalibration is not None:
        covariance = covariance * recalibration.covariance[:, None, None]
        radius = radius * recalibration.radius
    return mean, covariance, radius, jnp.full(samples.shape[:2], 1 / samples.shape[0])


def check_joints(model: Model, joints: Array, task: str, *, complete: bool = False) -> None:
    """ValueError where joints are not [N, J, 3] of the model, or, if `complete`, are known not to be all finite."""
    check_person_codec(model, task)
    num_joints = len(model.skeleton.joints)
    if joints.ndim != 3 or joints.shape[1:] != (num_joints, 3):
        raise ValueError(
            f"joints: needed [N, {num_joints}, 3] in the order of {model.skeleton.name}, got {joints.shape}"
        )
    if complete and not isinstance(joints, jax.core.Tracer):
        broken = np.flatnonzero(~np.isfinite(np.asarray(joints)).all((1, 2)))
        if broken.size:
            raise ValueError(
                f"joints: pose {broken[0]} of {len(joints)} has a missing (NaN) or infinite joint; {task} needs all, "
                "complete fills them"
            )


def check_noise(noise: Array, *shapes: tuple[int, ...]) -> None:
    """ValueError where noise is of none of the shapes, or is known to be negative or not finite."""
    if noise.shape not in shapes:
        legal = " or ".join(str(list(shape)) if shape else "a number" for shape in shapes)
        raise ValueError(f"noise: needed {legal}, got shape {noise.shape}")
    if not isinstance(noise, jax.core.Tracer) and not bool((jnp.isfinite(noise) & (noise >= 0)).all()):
        raise ValueError("noise: needed metres >= 0, got a negative or non-finite number")


def check_score(model: Model, task: str) -> None:
    """ValueError where a model does not know the score of poses at every noise level, which `task` needs."""
    if isinstance(model.spec.network, DiffPose) or model.spec.times:
        kind = "a few-step model" if model.spec.times else "a DiffPose model"
        raise ValueError(
            f"{task} needs a model that knows the score at every noise level, such as 'pose17' or 'prior21'; "
            f"{model.spec.name!r} is {kind}"
        )


def check_person_codec(model: Model, task: str) -> None:
    """ValueError where a model is not of the person-centred codec, which `task` needs."""
    if model.spec.codec != "person":
        raise ValueError(
            f"{task} needs a model of the person-centred codec, got {model.spec.name!r} of {model.spec.codec!r}; "
            "GFPose's own recipes are in jaxpose.recipes.gfpose"
        )
