"""A task that is called again and again with the same first arguments, compiled with these as constants."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxpose.compiled import as_pytree, check_arguments, noted_checks
from jaxpose.model import meant


def interactive(function: Callable[..., Any], *fixed: Any, **settings: Any) -> Callable[..., Any]:
    """`function` with its first arguments fixed, for fast answers to a user or a camera.

        answer = jaxpose.interactive(jaxpose.complete, key, model, num_hypotheses=50)
        result = answer(joints, noise=noise)    # `jaxpose.complete(key, model, joints, noise=noise, num_hypotheses=50)`

    fixed:    first arguments: arrays and pytrees, such as a key and a model. XLA computes what depends on these alone
              when it compiles. With a fixed key the hypotheses keep their noise: they move with the observation and do
              not flicker.
    settings: arguments by name that are hashable values, such as `num_hypotheses` and `sampler`.

    The result is a function of the other arguments, whose values are checked as by `function`. It is compiled at the
    first call with new shapes; which joints are known is no shape (NaN, confidence 0). Numbers differ from those of
    `function` in the last bits. The typicality of results is left out, as inside another jit.
    """
    checks: dict[Any, list[tuple[Callable[..., None], list[int]]]] = {}

    def traced(kind: Any, *leaves: Any) -> Any:
        changing, named = jax.tree.unflatten(kind[0], leaves)
        with noted_checks(leaves) as checks[kind]:
            return function(*fixed, *changing, **named, **settings)

    program, signature = jax.jit(traced, static_argnums=0), inspect.signature(function)

    def answer(*changing: Any, **named: Any) -> Any:
        leaves, tree = jax.tree.flatten(jax.tree.map(as_pytree, (changing, named)))
        leaves = [x if isinstance(x, jax.Array) else np.asarray(x) for x in leaves]
        kind = tree, tuple((x.shape, x.dtype) for x in leaves)
        if kind not in checks:  # of a type that none can take nothing is compiled
            given = [*signature.bind(*fixed, *changing, **named).arguments.items()][len(fixed) :]
            check_arguments({name: meant(name, value) for name, value in given})
        result = program(kind, *leaves)
        for check, places in checks[kind]:
            check(*(np.asarray(leaves[place]) for place in places))
        return result

    return answer
