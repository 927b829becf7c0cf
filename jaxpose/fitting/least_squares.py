"""Fits by damped Gauss-Newton steps (Levenberg-Marquardt), on energies that are sums of squares.

    E = |r(x)|^2 / 2,     (J' J + damping D) d = -J' r,     D = diag(J' J) + 1, of the start

The linear system of each item is solved by conjugate gradients, preconditioned by D. It needs products with J and J'
alone: a linearised and a transposed pass of the body. So frames of a clip may be coupled (smoothness, one shape), and
no matrix is made. A step whose energy is not lower, or is no number, is not taken; the damping of an item falls after a
step that was taken and grows after one that was not.

Source: Nocedal and Wright, Numerical Optimization (2006), sections 5.1 and 10.3; D: Marquardt (1963).
"""

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Key
from jaxpose.diffusion.minimise import Minimised, Variables, chosen

# variables -> arrays [N, F, ...] of frames, or [N, ...]: half the sum of their squares is the energy
Residuals: TypeAlias = Callable[[Variables], list[Array]]
_LEAST, _MOST = 1e-6, 1e6  # of the damping
_TINY = 1e-30  # keeps a system that is solved already finite


class LevenbergMarquardt(NamedTuple):
    """num_steps: each has one call of the prior's network. num_products: products with J and J' in a step.

    damping: at the first step, as a share of the diagonal.
    """

    num_steps: int = 30
    num_products: int = 24
    damping: float = 0.1


class _State(NamedTuple):
    variables: Variables
    damping: Array
    energy: Array


def levenberg_marquardt(
    key: Key,
    residuals: Callable[[Key, Variables, Array], Residuals],
    variables: Variables,
    method: LevenbergMarquardt,
    *,
    trainable: Any = None,
) -> Minimised:
    """Take `method.num_steps` steps down the energy of each of N items, which do not see each other.

    residuals: (key, variables, step k) -> the residuals of step k, which departs from these variables.
    variables: pytree of arrays [N, F, ...] of frames, three axes or more, or [N, S]. trainable: as in `minimise`.
    Step k has the key fold_in(key, k). energy: at the end, of the last step's residuals.
    """
    num = len(jax.tree.leaves(variables)[0])
    variables, rejoin = chosen(variables, trainable)

    def departing(variables: Variables, k: Array) -> Residuals:
        function = residuals(jax.random.fold_in(key, k), rejoin(variables), k)
        return lambda moving: function(rejoin(moving))

    scale = [d + 1 for d in squared_columns(departing(variables, jnp.asarray(0)), variables)]

    def step(state: _State, k: Array) -> tuple[_State, None]:
        function = departing(state.variables, k)
        r, moves = _moves(function, state, scale, method.num_products)
        trial = [x + move for x, move in zip(state.variables, moves, strict=True)]
        before, after = (_dot(each, each) / 2 for each in (r, function(trial)))
        better = after < before
        kept = [jnp.where(_over(better, x), x, old) for x, old in zip(trial, state.variables, strict=True)]
        damping = jnp.clip(jnp.where(better, state.damping / 3, state.damping * 4), _LEAST, _MOST)
        return _State(kept, damping, jnp.where(better, after, before)), None

    start = _State(variables, jnp.full(num, method.damping, scale[0].dtype), jnp.zeros(num, scale[0].dtype))
    end, _ = jax.lax.scan(step, start, jnp.arange(method.num_steps))
    return Minimised(rejoin(end.variables), end.energy, jnp.full(num, method.num_steps))


def _moves(
    function: Residuals, state: _State, scale: list[Array], num_products: int
) -> tuple[list[Array], list[Array]]:
    """The residuals, and the damped Gauss-Newton step from the state."""
    r, forward = jax.linearize(function, state.variables)
    transposed = jax.linear_transpose(forward, state.variables)
    damped = [_over(state.damping, d) * d for d in scale]

    def product(v: list[Array]) -> list[Array]:
        return [a + d * x for a, d, x in zip(transposed(forward(v))[0], damped, v, strict=True)]

    downhill = [-g for g in transposed(r)[0]]
    return r, _conjugate_gradients(product, downhill, [1 / d for d in scale], num_products)


def squared_columns(residuals: Residuals, variables: list[Array]) -> list[Array]:
    """The diagonal of J' J, shaped as the variables; of a frame's it has the residuals of frames [N, F, ...] alone.

    All frames move at once in one derivative, as the residuals of a frame do not see the others.
    """
    return [_squared_columns(residuals, variables, place) for place in range(len(variables))]


def _squared_columns(residuals: Residuals, variables: list[Array], place: int) -> Array:
    x = variables[place]
    lead = x.shape[: 2 if x.ndim > 2 else 1]
    shape = x.shape[len(lead) :]

    def squares(direction: Array) -> Array:
        along = [jnp.zeros_like(v) for v in variables]
        along[place] = jnp.broadcast_to(direction.reshape(shape), x.shape)
        moved = jax.jvp(residuals, (variables,), (along,))[1]
        of_item = [jnp.square(m).reshape(*lead, -1).sum(-1) for m in moved if m.shape[: len(lead)] == lead]
        return functools.reduce(operator.add, of_item, jnp.zeros(lead, x.dtype))

    diagonal = jax.lax.map(squares, jnp.eye(x[(0,) * len(lead)].size, dtype=x.dtype))
    return jnp.moveaxis(diagonal, 0, -1).reshape(x.shape)


def _conjugate_gradients(
    product: Callable[[list[Array]], list[Array]], b: list[Array], inverse: list[Array], num_products: int
) -> list[Array]:
    """x with product(x) = b for each item, after so many products; inverse: the preconditioner, a diagonal."""

    def body(_: Array, state: tuple[list[Array], list[Array], list[Array], Array]) -> tuple[Any, ...]:
        x, r, p, rz = state
        q = product(p)
        length = rz / jnp.maximum(_dot(p, q), _TINY)
        x = [a + _over(length, a) * b for a, b in zip(x, p, strict=True)]
        r = [a - _over(length, a) * b for a, b in zip(r, q, strict=True)]
        z = [a * b for a, b in zip(inverse, r, strict=True)]
        new = _dot(r, z)
        p = [a + _over(new / jnp.maximum(rz, _TINY), a) * b for a, b in zip(z, p, strict=True)]
        return x, r, p, new

    z = [a * b for a, b in zip(inverse, b, strict=True)]
    start = ([jnp.zeros_like(a) for a in b], b, z, _dot(b, z))
    return jax.lax.fori_loop(0, num_products, body, start)[0]


def _dot(a: list[Array], b: list[Array]) -> Array:
    """Inner products [N] of lists of arrays [N, ...]."""
    return functools.reduce(operator.add, [(x * y).reshape(len(x), -1).sum(-1) for x, y in zip(a, b, strict=True)])


def _over(values: Array, like: Array) -> Array:
    """Values [N] against an array [N, ...]."""
    return values.reshape(-1, *[1] * (like.ndim - 1))
