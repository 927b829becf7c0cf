"""The one loop of every fit: optax steps on variables of many items at once, in a scan.

Items (poses, clips, hypotheses of them) share the leading axis N of every variable and do not see each other: the
gradient is that of the sum of their energies, and Adam works entry by entry. So a batch gives what its items give one
by one, and hypotheses are more items.

An item that has stopped improving is frozen by a mask; when all are, the rest of the steps cost nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from jaxpose.base import Array, Key

Variables: TypeAlias = Any  # a pytree of arrays [N, ...]
# (key, variables, step k) -> energies [N]
EnergyFn: TypeAlias = Callable[[Key, Variables, Array], Array]
_MEMORY = 0.9  # of the running mean of the energies, which the prior's noise makes jump


class Minimised(NamedTuple):
    """variables as given, improved; energy: [N] at the last step; num_steps: [N] until each item was frozen."""

    variables: Variables
    energy: Array
    num_steps: Array


class _State(NamedTuple):
    variables: Variables
    opt_state: optax.OptState
    active: Array
    smooth: Array
    best: Array
    since_best: Array
    energy: Array
    num_steps: Array


def minimise(
    key: Key,
    energy: EnergyFn,
    variables: Variables,
    tx: optax.GradientTransformation,
    num_steps: int,
    *,
    tolerance: float = 0.0,
    patience: int = 30,
    trainable: Any = None,
) -> Minimised:
    """Take `num_steps` steps of `tx` down the energy of each item.

    variables:  pytree of [N, ...]. trainable: a bool for each of its arrays; what is False stays. None: all.
    tolerance:  an item whose running mean of energies has not fallen by this share of itself for `patience` steps is
                frozen; 0: none is. Not meant for energies whose weights still change.
    Step k has the key fold_in(key, k). ValueError where num_steps < 0 or variables have no common leading axis.
    """
    num = _common_length(variables)
    if num_steps < 0:
        raise ValueError(f"num_steps: needed at least 0, got {num_steps}")
    variables, rejoin = chosen(variables, trainable)

    def total(variables: Variables, key: Key, k: Array) -> tuple[Array, Array]:
        each = energy(key, rejoin(variables), k)
        return each.sum(), each

    def step(state: _State, k: Array) -> _State:
        grads, each = jax.grad(total, has_aux=True)(state.variables, jax.random.fold_in(key, k), k)
        updates, opt_state = tx.update(grads, state.opt_state, state.variables)
        updates = jax.tree.map(lambda u: jnp.where(state.active.reshape(-1, *[1] * (u.ndim - 1)), u, 0), updates)
        moved = state._replace(variables=optax.apply_updates(state.variables, updates), opt_state=opt_state)
        return _counted(moved, each, k, tolerance, patience)

    def scanned(state: _State, k: Array) -> tuple[_State, None]:
        return step(state, k) if tolerance <= 0 else jax.lax.cond(
            state.active.any(), step, lambda state, _: state, state, k
        ), None

    zeros, none, far = jnp.zeros(num), jnp.zeros(num, int), jnp.full(num, jnp.inf)
    start = _State(variables, tx.init(variables), jnp.ones(num, bool), zeros, far, none, zeros, none)
    end, _ = jax.lax.scan(scanned, start, jnp.arange(num_steps))
    return Minimised(rejoin(end.variables), end.energy, end.num_steps)


def _counted(state: _State, each: Array, k: Array, tolerance: float, patience: int) -> _State:
    """The state after a step with energies `each`, items frozen that have not improved for `patience` steps."""
    smooth = jnp.where(k == 0, each, _MEMORY * state.smooth + (1 - _MEMORY) * each)
    # the first is better than nothing: inf - tolerance * inf is not a number
    better = (k == 0) | (smooth < state.best - tolerance * jnp.abs(state.best))
    since_best = jnp.where(better, 0, state.since_best + 1)
    return state._replace(
        active=state.active & ((since_best < patience) | (tolerance <= 0)),
        smooth=smooth,
        best=jnp.where(better, smooth, state.best),
        since_best=since_best,
        energy=jnp.where(state.active, each, state.energy),
        num_steps=state.num_steps + state.active,
    )


def _common_length(variables: Variables) -> int:
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(variables)]
    lengths = {shape[:1] for shape in shapes}
    if len(lengths) != 1 or () in lengths:
        raise ValueError(f"variables: needed arrays [N, ...] of one N, got shapes {shapes}")
    return shapes[0][0]


def chosen(variables: Variables, trainable: Any) -> tuple[list[Array], Callable[[list[Array]], Variables]]:
    """The trainable leaves (None: all), and the way from new ones to the whole tree."""
    leaves, tree = jax.tree.flatten(variables)
    which: list[bool] = [True] * len(leaves) if trainable is None else jax.tree.leaves(trainable)
    if len(which) != len(leaves):
        raise ValueError(f"trainable: needed {len(leaves)} bools, one for each array, got {len(which)}")

    def rejoin(moving: list[Array]) -> Variables:
        rest = iter(moving)
        whole = [next(rest) if free else leaf for leaf, free in zip(leaves, which, strict=True)]
        return jax.tree.unflatten(tree, whole)

    return [leaf for leaf, free in zip(leaves, which, strict=True) if free], rejoin
