"""A task that is put again and again, whose first arguments stay: what depends on these alone is computed once.

    f(fixed, changing) = rest(residuals(fixed), changing)

The task is traced, and its program is split into what can be computed of the fixed arguments and what cannot: partial
evaluation, as JAX does it between the forward and the backward pass of a derivative. Of a key and a model the first
part is all noise, the features of all times, and the weights as the norms want them. Residuals that are equal, as the
weights in each call of the network are, become one array, so that they stay in the processor's cache.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core
import numpy as np

from jaxpose.base import Array
from jaxpose.compiled import as_pytree


def interactive(function: Callable[..., Any], *fixed: Any, **settings: Any) -> Callable[..., Any]:
    """`function` of the same first arguments, again and again, in little time: for answers to a user or a camera.

        answer = jaxpose.interactive(jaxpose.complete, key, model, num_hypotheses=50)
        found = answer(joints, noise=noise)     # `jaxpose.complete(key, model, joints, noise=noise, num_hypotheses=50)`

    fixed:    the first arguments: arrays and pytrees, such as a key and a model. With a fixed key the hypotheses keep
              their noise: they move with what is observed and do not flicker.
    settings: arguments by name that are hashable values, such as `num_hypotheses` and `sampler`.

    The result is a function of the other arguments. It is compiled at the first call with new shapes; which joints are
    known is no shape (NaN, confidence 0). Numbers differ from those of `function` in the last bits. What `function`
    checks of values, such as noise below 0, and the typicality of results are left out, as inside another jit.
    """
    run, programs = functools.partial(function, **settings), dict[Any, Callable[..., Any]]()

    def answer(*changing: Any, **named: Any) -> Any:
        leaves, tree = jax.tree.flatten(jax.tree.map(as_pytree, (changing, named)))
        leaves = [x if isinstance(x, jax.Array) else np.asarray(x) for x in leaves]
        kind = tree, tuple((x.shape, x.dtype) for x in leaves)
        if kind not in programs:
            programs[kind] = _specialised(run, fixed, tree, leaves)
        return programs[kind](*leaves)

    return answer


def _specialised(run: Callable[..., Any], fixed: Any, tree: Any, leaves: list[Any]) -> Callable[..., Any]:
    """The program of the changing leaves."""
    known, tree_of_known = jax.tree.flatten(fixed)

    def flat(known: list[Any], *leaves: Any) -> Any:
        changing, named = jax.tree.unflatten(tree, leaves)
        return run(*jax.tree.unflatten(tree_of_known, known), *changing, **named)

    traced, shape = jax.make_jaxpr(flat, return_shape=True)(known, *leaves)
    of_known, rest = _split(traced, len(known))
    residuals, place = _distinct(of_known(*known))
    tree_of_result, compute = jax.tree.structure(shape), jax.extend.core.jaxpr_as_fun(rest)

    @jax.jit
    def program(residuals: list[Array], *leaves: Any) -> Any:
        return jax.tree.unflatten(tree_of_result, compute(*(residuals[i] for i in place), *leaves))

    return functools.partial(program, residuals)


def _split(traced: Any, num_known: int) -> tuple[Callable[..., list[Array]], Any]:
    """What computes the residuals of the known inputs, and the program of the residuals and the other inputs.

    JAX has no public way; with a version that lacks this one the residuals are the known inputs as they are.
    """
    try:
        from jax._src.interpreters.partial_eval import partial_eval_jaxpr_nounits
    except ImportError:
        return lambda *known: list(known), traced
    unknown = [place >= num_known for place in range(len(traced.in_avals))]
    first, rest, _, _ = partial_eval_jaxpr_nounits(traced, unknown, True)
    return jax.jit(jax.extend.core.jaxpr_as_fun(first)), rest


def _distinct(arrays: list[Array]) -> tuple[list[Array], list[int]]:
    """The arrays that differ, and for each array which of them it equals."""
    found: dict[Any, int] = {}
    kept: list[Array] = []
    place: list[int] = []
    for array in arrays:
        key = jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key)
        same = array.shape, array.dtype, np.asarray(jax.random.key_data(array) if key else array).tobytes()
        if same not in found:
            found[same] = len(kept)
            kept.append(array)
        place.append(found[same])
    return kept, place
