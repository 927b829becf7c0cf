"""Drawing of hypotheses: a problem is sampled H times with a model, decoded and summarised.

    problem --start--> x_t, t --sampler, project--> states --decode--> poses --spread--> mean, covariance, radius

Hypothesis h has the key fold_in(key, h), so the first 10 of 200 are the 10 of a run with 10.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxpose.base import Array, Condition, Decoded, Hypotheses, Key, PredictFn, Prediction, Problem, ProjectFn, Start
from jaxpose.compiled import check_values, cut, size_for, traced
from jaxpose.diffusion import SDE, prior_sample, sample
from jaxpose.diffusion.prediction import from_x0
from jaxpose.diffusion.sampling import in_chunks, in_slices, map_hypotheses
from jaxpose.model import Model, Recalibration, require
from jaxpose.tasks.samplers import Sampler, stochastic

# Poses in flight at once: on 2 CPU cores the nearest of 512 to 12,800 to the matrix-product rate, by a little
# (python -m experiments.benchmark --case=sampling).
ROWS_IN_FLIGHT = 4096
# Of more hypotheses than these: what a network makes of so many is small beside the result of 100,000
# (--case=memory), and takes 5 % more time.
_ROWS_OF_MANY = 1024
STATIC = ("num", "sampler", "chunk", "return_path")  # arguments of `hypotheses` that are hashable values


def draw(
    key: Key,
    model: Model,
    problem: Problem,
    num: int = 200,
    sampler: Sampler | None = None,
    *,
    chunk: int | None = None,
    return_path: bool = False,
) -> Hypotheses:
    """Draw `num` = H hypotheses of each of the problem's N rows; compiled once for a shape, and usable inside jit.

    sampler: a value of `tasks.samplers`; None: `stochastic()`, draws from the law in the steps that validation chose.
    chunk:   hypotheses computed at once; None keeps about 4,000 poses in flight, of more than 4,096 hypotheses 1,000.
    return_path: the denoising from start to result too.
    """
    check_num(num)
    size = num if traced(key, model, problem) else size_for(num)
    return drawn(_draw, key, model, (problem,), size, num, None, sampler, chunk=chunk, return_path=return_path)


def drawn(
    program: Callable[..., Hypotheses],
    key: Key,
    model: Model,
    given: tuple[Any, ...],
    size: int,
    num: int,
    num_rows: int | None,
    sampler: Sampler | None,
    **how: Any,
) -> Hypotheses:
    """The first `num` of `size` hypotheses that a compiled program draws, and the first `num_rows` rows (None: all)."""
    count = None if size == num else np.int32(num)
    result = program(key, model, *given, count, num=size, sampler=sampler or stochastic(), **how)
    return cut(result, num, result.samples.shape[1] if num_rows is None else num_rows)


def hypotheses(
    key: Key,
    model: Model,
    problem: Problem,
    count: Array | None = None,
    *,
    num: int,
    sampler: Sampler,
    chunk: int | None = None,
    return_path: bool = False,
) -> Hypotheses:
    """`draw` inside a program: `num` is what is computed, of which the first `count` make the summary (None: all)."""
    one, at_once = _one_state(key, model, problem, sampler, return_path, chunk, num)
    recalibration = model.recalibration.get(problem.task) if sampler.calibrated else None

    def some(h: Array) -> Decoded:
        decoded = problem.decode(*jax.vmap(one)(h))
        return decoded._replace(path=None if decoded.path is None else jnp.swapaxes(decoded.path, 0, 1))

    poses = in_chunks(some, num, at_once)
    path = None if poses.path is None else jnp.swapaxes(poses.path, 0, 1)
    return Hypotheses(poses.samples, *spread(poses.samples, recalibration, count), poses.root, problem.noise, path)


_draw = jax.jit(hypotheses, static_argnames=STATIC)


def draw_states(
    key: Key,
    model: Model,
    problem: Problem,
    *,
    num: int,
    sampler: Sampler,
    chunk: int | None = None,
    return_path: bool = False,
) -> tuple[Array, Any]:
    """States [H, N, J, D], or [H, T+1, N, J, D] from start to result, and `Start.kept` of each hypothesis."""
    one, at_once = _one_state(key, model, problem, sampler, return_path, chunk, num)
    return map_hypotheses(one, num, at_once)


def _one_state(
    key: Key, model: Model, problem: Problem, sampler: Sampler, return_path: bool, chunk: int | None, num: int
) -> tuple[Callable[[Array], tuple[Array, Any]], int]:
    """The function that draws hypothesis h, and how many of them are drawn at once."""
    spec, sde = model.spec, model.spec.sde()
    run = sampler.run(spec, sde)
    rows = jax.eval_shape(problem.start, key).x.shape[0]
    at_once = problem.rows_at_once or (ROWS_IN_FLIGHT if num <= ROWS_IN_FLIGHT else _ROWS_OF_MANY)

    if problem.windows is None and "motion" in model.capabilities:
        raise ValueError(f"{model.spec.name!r} is a model of motions; needed a model of single poses")
    network = model.predict_fn() if problem.windows is None else over_windows(model, *problem.windows)
    network = network if problem.guide is None else problem.guide(network)

    def predict(x: Array, t: Array, cond: Condition | None) -> Prediction:
        if problem.rows_at_once is None:
            return network(x, t, cond)
        return in_slices(lambda part: network(part[0], t, part[1]), (x, cond), at_once)

    def one(h: Array) -> tuple[Array, Any]:
        start = problem.start(jax.random.fold_in(key, h))
        project, cond = problem.project, problem.cond if start.cond is None else start.cond
        if problem.past is not None:
            known, (states, conditions) = problem.past.known, jax.tree.map(lambda v: v[h], problem.past[:2])
            project = hold(sde, states, known, start.x, project)
            cond = jax.tree.map(lambda first, rows: rows.at[: len(first)].set(first), conditions, cond)

        def solve(key: Key, x: Array, run: Any) -> Array:
            end = sample(
                key,
                x,
                predict,
                run.solver,
                run.times,
                cond,
                project=project,
                finish=run.finish,
                return_path=return_path,
            )
            return end if problem.past is None else _keep(end, states, known)

        if start.t is None:
            return solve(start.key, start.x, run), start.kept
        of_row = jax.vmap(
            lambda key, x, t: solve(key, x, sampler.run(spec, sde._replace(t_max=t))), out_axes=int(return_path)
        )
        return of_row(start.key, start.x, start.t), start.kept

    return one, chunk or max(1, at_once // rows)  # of an exported program the number of rows is not known


def over_windows(model: Model, index: Array, share: Array) -> PredictFn:
    """The predictions of a network of windows for all N frames of a motion, in agreement where windows overlap.

    index: [W, F] rows of each window; share: [W, F], summing to 1 over the places of a row. So overlapping windows have
    one state and one prediction of x0 (Bar-Tal et al., MultiDiffusion, ICML 2023).
    """
    network, sde = model.predict_fn(), model.spec.sde()

    def predict(x: Array, t: Array, cond: Condition | None) -> Prediction:
        of_windows = None if cond is None else jax.tree.map(lambda v: v[index], cond)
        x0 = network(x[index], t, of_windows).x0 * share[..., None, None]
        return from_x0(sde, x, t, jnp.zeros_like(x).at[index].add(x0))

    return predict


def _keep(x: Array, states: Array, known: Array) -> Array:
    """States x [..., N, J, D] whose first K rows, where known [K], are `states` [K, J, D]."""
    first = x[..., : len(known), :, :]
    return x.at[..., : len(known), :, :].set(jnp.where(known[:, None, None], states, first))


def hold(sde: SDE, states: Array, known: Array, noise: Array, other: ProjectFn | None) -> ProjectFn:
    """Keep the first K rows, where known [K], at `states` [K, J, D].

    Their noise is the same at every level: that of the first state `noise` [N, J, D].
    """

    def project(key: Key, x: Array, s: Array) -> Array:
        x = x if other is None else other(key, x, s)
        return _keep(x, sde.alpha(s) * states + sde.sigma(s) * noise[: len(states)], known)

    return project


def from_noise(model: Model, like: Array) -> Partial:
    """The `Problem.start` at the process' end: in each hypothesis fresh noise shaped as `like` [N, J, D]."""
    return Partial(_noise, model, like)


def _noise(model: Model, like: Array, key: Key) -> Start:
    start_key, key = jax.random.split(key)
    return Start(prior_sample(start_key, model.spec.sde(), like.shape), key)


def spread(
    samples: Array, recalibration: Recalibration | None = None, count: Array | None = None
) -> tuple[Array, Array, Array, Array]:
    """Mean [N, J, 3], covariance [N, J, 3, 3], 90 % radius [N, J] and weights [H, N] of equally likely samples.

    samples: [H, N, J, 3] metres. recalibration: None leaves covariance and radius as the samples have them.
    count: how many of the H samples count, the first ones; None: all.
    """
    num_hypotheses, _, num_joints = samples.shape[:3]
    if num_hypotheses <= ROWS_IN_FLIGHT:
        mean, covariance, radius = _moments(samples, count)
    else:  # joint by joint, so that what is made on the way takes little beside the samples

        def of_joint(joint: Array) -> tuple[Array, Array, Array]:
            return _moments(jax.lax.dynamic_slice_in_dim(samples, joint, 1, 2), count)

        of_joints = jax.lax.map(of_joint, jnp.arange(num_joints))
        mean, covariance, radius = (jnp.moveaxis(x[:, :, 0], 0, 1) for x in of_joints)
    if recalibration is not None:
        covariance = covariance * recalibration.covariance[:, None, None]
        radius = radius * recalibration.radius
    num = num_hypotheses if count is None else count
    return mean, covariance, radius, jnp.broadcast_to(1 / jnp.asarray(num, samples.dtype), samples.shape[:2])


def _moments(samples: Array, count: Array | None) -> tuple[Array, Array, Array]:
    """Mean [N, J, 3], covariance [N, J, 3, 3] and 90 % radius [N, J] of the first `count` samples [H, N, J, 3]."""
    if count is None:
        num: Array | int = samples.shape[0]
        mean = samples.mean(0)
        deviation = samples - mean
        radius = jnp.quantile(jnp.linalg.norm(deviation, axis=-1), 0.9, axis=0)
    else:
        num = count
        counts = jnp.arange(len(samples)) < count
        mean = jnp.where(counts[:, None, None, None], samples, 0).sum(0) / count
        deviation = jnp.where(counts[:, None, None, None], samples - mean, 0)
        away = jnp.where(counts[:, None, None], jnp.linalg.norm(deviation, axis=-1), jnp.inf)
        place = 0.9 * (count - 1).astype(samples.dtype)
        low = jnp.floor(place).astype(int)
        ordered = jnp.sort(away, 0)
        first, second = ordered[low], ordered[jnp.minimum(low + 1, count - 1)]
        radius = first + (place - low) * (second - first)
    covariance = jnp.einsum("hnji,hnjk->njik", deviation, deviation) / jnp.maximum(num - 1, 1)
    return mean, covariance, radius


def check_num(num: int, name: str = "num_hypotheses") -> None:
    """ValueError where a number of poses is below 1."""
    if num < 1:
        raise ValueError(f"{name}: needed at least 1, got {num}")


def check_joints(model: Model, joints: Array, task: str, *, complete: bool = False) -> None:
    """ValueError where joints are not [N, J, 3] of the model, or, if `complete`, are known not to be all finite."""
    require(model, task, "joints", "condition")
    num_joints = len(model.skeleton.joints)
    if joints.ndim != 3 or joints.shape[1:] != (num_joints, 3):
        raise ValueError(
            f"joints: needed [N, {num_joints}, 3] in the order of {model.skeleton.name}, got {joints.shape}"
        )
    if complete:
        check_values(partial(_check_finite, task), joints)


def _check_finite(task: str, joints: np.ndarray) -> None:
    broken = np.flatnonzero(~np.isfinite(joints).all((1, 2)))
    if broken.size:
        raise ValueError(
            f"joints: pose {broken[0]} of {len(joints)} has a missing (NaN) or infinite joint; {task} needs all, "
            "complete fills them"
        )


def check_noise(noise: Array | np.ndarray, *shapes: tuple[int, ...]) -> None:
    """ValueError where noise is of none of the shapes, or is known to be negative or not finite."""
    if noise.shape not in shapes:
        legal = " or ".join(str(list(shape)) if shape else "a number" for shape in shapes)
        raise ValueError(f"noise: needed {legal}, got shape {noise.shape}")
    check_values(_check_at_least_0, noise)


def _check_at_least_0(noise: np.ndarray) -> None:
    if not (np.isfinite(noise) & (noise >= 0)).all():
        raise ValueError("noise: needed metres >= 0, got a negative or non-finite number")
