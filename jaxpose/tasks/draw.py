"""Drawing of hypotheses: a problem is sampled H times with a model, decoded and summarised.

    problem --start--> x_t, t --sampler, project--> states --decode--> poses --spread--> mean, covariance, radius

Hypothesis h has the key fold_in(key, h), of pairs (`Problem.merge`) h // 2: the first 10 of 200 are those of 10.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxpose.base import Array, Condition, Decoded, Hypotheses, Key, Numbers, PredictFn, Prediction, Problem, Start
from jaxpose.compiled import check_shape, check_values, checked, cut, size_for, traced
from jaxpose.diffusion import prior_sample, sample
from jaxpose.diffusion.sampling import in_chunks, in_slices, map_hypotheses
from jaxpose.model import Model, Recalibration
from jaxpose.tasks.samplers import Run, Sampler, stochastic

# Poses in flight at once: on 2 CPU cores the nearest of 512 to 12,800 to the rate of products (--case=sampling).
ROWS_IN_FLIGHT = 4096
_ON_AN_ACCELERATOR = 65_536  # one loop less; activations of 134 MB at a width of 512
# Of more hypotheses than these: what a network makes of so many is small beside the result of 100,000
# (--case=memory), and takes 5 % more time.
_ROWS_OF_MANY = 1024
_SORTED_AT_ONCE = 1024  # values of a GPU's sort, which takes more programs for more
STATIC = ("num", "sampler", "chunk", "return_path")  # arguments of `hypotheses` that are hashable values


@checked
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
    chunk:   hypotheses computed at once; None keeps about 4,000 poses in flight, on an accelerator 65,000, and of more
             than 4,096 hypotheses 1,000.
    return_path: the denoising from start to result too.
    """
    return drawn(_itself, key, model, (problem,), num, None, sampler, chunk=chunk, return_path=return_path)


def drawn(
    pose: Callable[..., Problem],
    key: Key,
    model: Model,
    given: tuple[Any, ...],
    num: int,
    num_rows: int | None,
    sampler: Sampler | None,
    **how: Any,
) -> Hypotheses:
    """`num` hypotheses of the first `num_rows` rows (None: all) of the problem that `pose` makes inside the program.

    pose: function of module level, called with key, model and `given`. how: as of `draw`.
    """
    size = num if traced(key, model, given) else size_for(num)
    count = None if size == num else np.int32(num)
    result = _program(key, model, given, count, pose=pose, num=size, sampler=sampler or stochastic(), **how)
    return cut(result, num, result.samples.shape[1] if num_rows is None else num_rows)


@partial(jax.jit, static_argnames=("pose", *STATIC))
def _program(
    key: Key, model: Model, given: tuple[Any, ...], count: Array | None, *, pose: Callable[..., Problem], **how: Any
) -> Hypotheses:
    return hypotheses(key, model, pose(key, model, *given), count, **how)


def _itself(key: Key, model: Model, problem: Problem) -> Problem:
    return problem


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
    each = 1 if problem.merge is None else 2  # hypotheses of a draw
    one, at_once = _one_state(key, model, problem, sampler, return_path, chunk and -(-chunk // each), num)
    recalibration = model.recalibration.get(problem.task) if sampler.calibrated else None

    poses: Decoded = in_chunks(lambda h: problem.decode(*jax.vmap(one)(h)), -(-num // each), at_once)
    if problem.merge is not None:
        poses = jax.tree.map(lambda x: x[:num], problem.merge(poses))
    path = None if poses.path is None else jnp.swapaxes(poses.path, 0, 1)
    return Hypotheses(poses.samples, *spread(poses.samples, recalibration, count), poses.root, problem.noise, path)


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
    in_flight = ROWS_IN_FLIGHT if jax.default_backend() == "cpu" else _ON_AN_ACCELERATOR
    at_once = problem.rows_at_once or (in_flight if num <= ROWS_IN_FLIGHT else _ROWS_OF_MANY)
    predict = _predictions(model.predict_rows(rows), problem)

    def one(h: Array) -> tuple[Array, Any]:
        start = problem.start(jax.random.fold_in(key, h))
        if run.paired and problem.paired and start.t is None:
            # hypothesis 2 k + 1 has the noise of 2 k with the other sign
            first = problem.start(jax.random.fold_in(key, h - h % 2)).x
            start = start._replace(x=jnp.where(h % 2 == 1, -first, first))
        cond = problem.cond if start.cond is None else start.cond

        def solve(key: Key, x: Array, run: Run, cond: Condition | None = cond) -> Array:
            how: dict[str, Any] = {"project": problem.project, "finish": run.finish, "return_path": return_path}
            return sample(key, x, predict, run.solver, run.times, cond, unroll=True, **how)

        if start.t is None and start.key.ndim:  # a key a row
            rows = jax.vmap(lambda key, x, cond: solve(key, x, run, cond), out_axes=int(return_path))
            return rows(start.key, start.x, cond), start.kept
        if start.t is None:
            return solve(start.key, start.x, run), start.kept
        of_row = jax.vmap(
            lambda key, x, t: solve(key, x, sampler.run(spec, sde._replace(t_max=t))), out_axes=int(return_path)
        )
        return of_row(start.key, start.x, start.t), start.kept

    return one, chunk or max(1, at_once // rows)  # of an exported program the number of rows is not known


def _predictions(network: PredictFn, problem: Problem) -> PredictFn:
    """The network's predictions, guided, for at most `rows_at_once` rows at a time."""
    network, at_once = network if problem.guide is None else problem.guide(network), problem.rows_at_once
    if at_once is None:
        return network

    def predict(x: Array, t: Array, cond: Condition | None) -> Prediction:
        return in_slices(lambda part: network(part[0], t, part[1]), (x, cond), at_once)

    return predict


def with_path(poses: Array) -> Decoded:
    """The result of poses [H, N, J, 3], or of paths [H, T+1, N, J, 3], whose ends are the samples."""
    return Decoded(poses) if poses.ndim == 4 else Decoded(poses[:, -1], path=poses)


def from_noise(model: Model, like: Array, numbers: Array | None = None) -> Partial:
    """The `Problem.start` at the process' end: in each hypothesis fresh noise shaped as `like` [N, J, D].

    numbers: [N] whole numbers, on which alone the noise of each row depends; None: each row has its own.
    """
    return Partial(_noise, model, like, numbers)


def _noise(model: Model, like: Array, numbers: Array | None, key: Key) -> Start:
    start_key, key = jax.random.split(key)
    sde = model.spec.sde()
    if numbers is None:
        return Start(prior_sample(start_key, sde, like.shape), key)
    starts, keys = (jax.vmap(partial(jax.random.fold_in, k))(numbers) for k in (start_key, key))
    x = jax.vmap(lambda key: prior_sample(key, sde, like.shape[1:]))(starts)
    return Start(x, key if model.spec.network.window else keys)  # rows of a window are drawn together


@jax.custom_jvp
def in_order(values: Array, low: Array, high: Array) -> Array:
    """The elements `low` and `high`, which is `low` or the next, of values [H, ...] >= 0 in rising order: [2, ...].

    Counted from 0. The bits of such numbers are in their order, and the element is the largest v with at most `low`
    values below. It is built bit by bit, by 31 readings in place of a sort; a GPU sorts few values in one program.
    """
    if jax.default_backend() == "gpu" and len(values) <= _SORTED_AT_ONCE:
        return jnp.sort(values, 0)[jnp.stack([low, high])]
    bits = jnp.finfo(values.dtype).bits
    whole = jax.lax.bitcast_convert_type(values, jnp.dtype(f"uint{bits}"))
    num = 4 if jax.default_backend() == "tpu" else 1  # bits a reading: a TPU pays for turns, a CPU for comparisons

    def with_bits(v: Array, place: Array) -> tuple[Array, None]:
        more = (v | jnp.left_shift(jnp.asarray(k, whole.dtype), place) for k in range(1, 2**num))
        return v | jnp.left_shift(sum(((whole < m).sum(0) <= low).astype(whole.dtype) for m in more), place), None

    places = jnp.arange(0, bits - 1, num, whole.dtype)
    first, _ = jax.lax.scan(with_bits, jnp.zeros_like(whole[0]), places, reverse=True)
    above = jnp.where(whole > first, whole, ~jnp.zeros_like(first)).min(0)
    second = jnp.where((whole <= first).sum(0) > high, first, above)
    return jax.lax.bitcast_convert_type(jnp.stack([first, second]), values.dtype)


@in_order.defjvp
def _of_elements(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    """Bits have no derivative: it is that of the elements that were taken."""
    taken = in_order(*primals)
    equal = primals[0][None] == taken[:, None]
    return taken, jnp.where(equal, tangents[0], 0).sum(1) / equal.sum(1)


def spread(
    samples: Array,
    recalibration: Recalibration | None = None,
    count: Array | None = None,
    order: Callable[[Array, Array, Array], Array] = in_order,
) -> tuple[Array, Array, Array, Array]:
    """Mean [N, J, 3], covariance [N, J, 3, 3], 90 % radius [N, J] and weights [H, N] of equally likely samples.

    samples: [H, N, J, 3] metres. recalibration: None leaves covariance and radius as the samples have them.
    count: how many of the H samples count, the first ones; None: all. order: what `in_order` does, in another way.
    """
    num_hypotheses, _, num_joints = samples.shape[:3]
    if num_hypotheses <= ROWS_IN_FLIGHT:
        mean, covariance, radius = _moments(samples, count, order)
    else:  # joint by joint, so that what is made on the way takes little beside the samples
        one = lambda joint: _moments(jax.lax.dynamic_slice_in_dim(samples, joint, 1, 2), count, order)  # noqa: E731
        of_joints = jax.lax.map(one, jnp.arange(num_joints))
        mean, covariance, radius = (jnp.moveaxis(x[:, :, 0], 0, 1) for x in of_joints)
    if recalibration is not None:
        covariance = covariance * recalibration.covariance[:, None, None]
        radius = radius * recalibration.radius
    num = num_hypotheses if count is None else count
    return mean, covariance, radius, jnp.broadcast_to(1 / jnp.asarray(num, samples.dtype), samples.shape[:2])


def _moments(samples: Array, count: Array | None, order: Callable[..., Array]) -> tuple[Array, Array, Array]:
    """Mean [N, J, 3], covariance [N, J, 3, 3] and 90 % radius [N, J] of the first `count` samples [H, N, J, 3].

    Coordinate by coordinate: an accelerator pads a last axis of 3 to 128 numbers.
    """
    num = jnp.asarray(len(samples) if count is None else count)
    counts = (jnp.arange(len(samples)) < num)[:, None, None]
    mean = [jnp.where(counts, x, 0).sum(0) / num for x in jnp.moveaxis(samples, -1, 0)]
    away = [jnp.where(counts, samples[..., k] - mean[k], 0) for k in range(3)]
    products = [[(away[j] * away[k]).sum(0) for k in range(j + 1)] for j in range(3)]
    rows = [jnp.stack([products[max(j, k)][min(j, k)] for k in range(3)], -1) for j in range(3)]
    covariance = jnp.stack(rows, -2) / jnp.maximum(num - 1, 1)
    place = 0.9 * (num - 1).astype(samples.dtype)
    low = jnp.floor(place).astype(int)
    squared = order(jnp.where(counts, sum(x * x for x in away), jnp.inf), low, jnp.minimum(low + 1, num - 1))
    # of the root 0, where the derivative of the square root is not finite
    first, second = jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1)), 0)
    return jnp.stack(mean, -1), covariance, first + (place - low) * (second - first)


def check_joints(model: Model, joints: Numbers, *, complete: str = "", name: str = "joints") -> None:
    """ValueError where joints are not [N, J, 3] of the model, or not finite; complete: the task that needs all."""
    check_shape(name, joints, ("N", len(model.skeleton.joints), 3), note=f" in the order of {model.skeleton.name}")
    if complete:
        check_values(partial(_check_finite, complete, name), joints)


def _check_finite(task: str, name: str, joints: np.ndarray) -> None:
    broken = np.flatnonzero(~np.isfinite(joints).all((1, 2)))
    if broken.size:
        raise ValueError(
            f"{name}: pose {broken[0]} of {len(joints)} has a missing (NaN) or infinite joint; {task} needs all, "
            "complete fills them"
        )
