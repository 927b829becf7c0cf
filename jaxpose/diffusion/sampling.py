"""The sampling loop, and H hypotheses drawn by it.

Step i carries the state from times[i] to times[i + 1] with the key fold_in(key, i); hypothesis h is a run with the key
fold_in(key, h). Time is never batched: under a vmap XLA still computes what depends on t alone once per step.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Condition, Key, PredictFn, ProjectFn
from jaxpose.diffusion.solvers import Solver, StepPredictFn

# Steps in one turn of the loop: XLA leaves in the loop what no step changes, but computes it once a turn.
_UNROLLED = {"gpu": 8, "tpu": 4}


def sample(
    key: Key,
    x_init: Array,
    predict_fn: PredictFn,
    solver: Solver,
    times: Array,
    cond: Condition | None = None,
    *,
    project: ProjectFn | None = None,
    finish: bool = True,
    return_path: bool = False,
    unroll: bool = False,
) -> Array:
    """Carry x_init [..., J, D] from the noise level of times[0] down to that of times[-1]; like x_init.

    times:       [T+1] falling (`time_grid`).
    project:     applied to x_init and to the state after every step (`guidance.replace`).
    finish:      return the x0-prediction at times[-1] instead of the state: the last noise is removed.
    return_path: return all states [T+1, ..., J, D] instead, from x_init to the result.
    unroll:      several steps are one turn of the loop on a GPU and a TPU (_UNROLLED), for fewer kernels.
    """
    if times.ndim != 1 or len(times) < 2:
        raise ValueError(f"sample needs times [T+1] with T >= 1, got shape {times.shape}")
    times, num_steps = times.astype(x_init.dtype), len(times) - 1
    move: ProjectFn = project or (lambda key, x, s: x)
    predict: StepPredictFn = lambda x, t: predict_fn(x, t, cond)  # noqa: E731

    def step(carry, inputs):
        (x, memory), (i, t, s) = carry, inputs
        step_key, project_key = jax.random.split(jax.random.fold_in(key, i))
        x, memory = solver.step(step_key, x, memory, t, s, predict)
        x = move(project_key, x, s)
        return (x, memory), x if return_path else None

    x_init = move(jax.random.fold_in(key, num_steps), x_init, times[0])
    start = (x_init, solver.init(x_init))
    steps_at_once = _UNROLLED.get(jax.default_backend(), 1) if unroll else 1
    (x, _), path = jax.lax.scan(step, start, (jnp.arange(num_steps), times[:-1], times[1:]), unroll=steps_at_once)
    result = predict(x, times[-1]).x0 if finish else x
    return jnp.concatenate([x_init[None], path[:-1], result[None]]) if return_path else result


def sample_hypotheses(
    key: Key,
    num: int,
    start: Callable[[Key], Array],
    predict_fn: PredictFn,
    solver: Solver,
    times: Array,
    cond: Condition | None = None,
    *,
    chunk: int | None = None,
    **how: Any,
) -> Array:
    """Draw `num` = H hypotheses [H, ...], each a `sample` of its own key and its own start.

    start: key -> x_init, e.g. `lambda key: prior_sample(key, sde, shape)`.
    chunk: run at most this many at once, so that working memory stays flat as H grows; None: all at once.
    how: as of `sample`.
    """
    if num < 1 or (chunk is not None and chunk < 1):
        raise ValueError(f"sample_hypotheses needs num >= 1 and chunk >= 1 or None, got num={num}, chunk={chunk}")

    def one(h: Array) -> Array:
        start_key, sample_key = jax.random.split(jax.random.fold_in(key, h))
        return sample(sample_key, start(start_key), predict_fn, solver, times, cond, **how)

    return map_hypotheses(one, num, chunk)


def map_hypotheses(one: Callable[[Array], Any], num: int, chunk: int | None = None) -> Any:
    """one(h) of h = 0 .. num - 1, at most `chunk` at once; every leaf gets the leading axis H."""
    return in_chunks(jax.vmap(one), num, chunk)


def in_chunks(some: Callable[[Array], Any], num: int, chunk: int | None = None) -> Any:
    """`some` of the numbers h = 0 .. num - 1, at most `chunk` at once; its leaves have the leading axis of h.

    What a chunk gives is written into its place of the result, so that only one chunk needs memory beside it.
    """
    if chunk is None or chunk >= num:
        return some(jnp.arange(num))
    # chunks of one size, so that one program serves all; evened out, so that the last one, which ends with the last
    # number and so begins before the end of the one before, computes little twice
    num_chunks = -(-num // chunk)
    size = -(-num // num_chunks)

    def write(index: Array, whole: Any) -> Any:
        first = jnp.minimum(index * size, num - size)
        part = some(first + jnp.arange(size))
        return jax.tree.map(lambda x, y: jax.lax.dynamic_update_slice_in_dim(x, y, first, 0), whole, part)

    empty = jax.tree.map(lambda x: jnp.zeros((num, *x.shape[1:]), x.dtype), jax.eval_shape(some, jnp.arange(size)))
    return jax.lax.fori_loop(0, num_chunks, write, empty)


def in_slices(function: Callable[[Any], Any], x: Any, size: int) -> Any:
    """`function` of x, whose rows do not see each other, for at most `size` rows at a time; all leaves are [N, ...]."""
    num = len(jax.tree.leaves(x)[0])
    count = -(-num // size)
    if count == 1:
        return function(x)
    size = -(-num // count)  # evened out, so that the last slice wastes little

    def split(leaf: Array) -> Array:
        full = jnp.pad(leaf, [(0, count * size - num)] + [(0, 0)] * (leaf.ndim - 1))
        return full.reshape(count, size, *leaf.shape[1:])

    result = jax.lax.map(function, jax.tree.map(split, x))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:num], result)
