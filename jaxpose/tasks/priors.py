"""Laws of poses by their score, as values: what a posterior multiplies with the likelihood of observations."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxpose.base import Array, Condition, Key, PredictFn, Prediction
from jaxpose.compiled import as_pytree
from jaxpose.diffusion.sampling import sample
from jaxpose.diffusion.sde import SDE, prior_sample, time_grid
from jaxpose.diffusion.solvers import dpmpp_2m
from jaxpose.model import Model, needs, null_condition


def _same(x: Array) -> Array:
    return x


@flax.struct.dataclass
class Prior:
    """A law of poses by its score; a pytree. Functions that hold arrays are `jax.tree_util.Partial`.

    predict_fn: of states [..., J, D]; it is called with cond=None (a condition is bound by `prior_of`).
    shape:      (J, D) of a state.
    decode:     state [..., J, D] -> what operators are given [..., J, D'] (metres or radians), for any leading axes.
    covariance: [J D, J D] of the states, for the methods (`fitted` measures it); None: independent numbers of 1.
    """

    predict_fn: PredictFn
    sde: SDE = flax.struct.field(pytree_node=False)
    shape: tuple[int, int] = flax.struct.field(pytree_node=False)
    decode: Callable[[Array], Array] = Partial(_same)
    covariance: Array | None = None


@needs("posterior", "score", "poses")
def prior_of(model: Model, cond: Condition | None = None) -> Prior:
    """A released model as a prior, under a condition of one pose [J, D] if given.

    Joint positions: x are joints [J, 3] about their middle, metres, in view axes; rotations: of all joints but the root
    [J, 3], axis-angle radians. ValueError for other models, for those without a score at every noise level, and for a
    condition of rotations.
    """
    spread = jnp.broadcast_to(jnp.asarray(model.statistics.spread), model.spec.state_shape)
    covariance = jnp.diag(spread.ravel() ** 2)
    law: dict[str, Any] = {"sde": model.spec.sde(), "shape": model.spec.state_shape, "covariance": covariance}
    if cond is not None and not model.spec.conditioned:
        raise ValueError(f"cond: {model.spec.name!r} is a prior over rotations, which takes no condition")
    cond = null_condition(model) if cond is None else cond
    return Prior(Partial(_predict, model, cond), decode=Partial(Model.decode, model), **law)


def fitted(key: Key, prior: Prior, num: int = 256, num_steps: int = 20) -> Prior:
    """The prior with the covariance of `num` draws of its own; for `pseudo_inverse`, once for a model or a condition.

    5 % is taken off what is not on the diagonal: few draws show correlations that are not there.
    """
    if num < 2:
        raise ValueError(f"num: needed at least 2, got {num}")
    return dataclasses.replace(prior, covariance=_fitted_covariance(key, bound(prior), num, num_steps))


@partial(jax.jit, static_argnames=("num", "num_steps"))
def _fitted_covariance(key: Key, prior: Prior, num: int, num_steps: int) -> Array:
    start_key, key = jax.random.split(key)
    start = starts(start_key, prior, num)
    states = drawn(key, prior, start, time_grid(prior.sde, num_steps), num).reshape(num, -1)
    covariance = jax.default_matmul_precision("highest")(jnp.cov)(states.T)
    return 0.95 * covariance + 0.05 * jnp.diag(jnp.diagonal(covariance))


def starts(key: Key, prior: Prior, num: int) -> Array:
    """Noise [H, J, D] of the process' end, each of its own key."""
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(num))
    return jax.vmap(lambda k: prior_sample(k, prior.sde, prior.shape))(keys)


def drawn(key: Key, prior: Prior, start: Array, times: Array, chunk: int) -> Array:
    """States [H, J, D] of the prior's own sampler from its starts."""

    def one(h: Array) -> Array:
        solver = dpmpp_2m(prior.sde, eta=1.0)
        return sample(jax.random.fold_in(key, h), start[h], prior.predict_fn, solver, times)

    return jax.lax.map(one, jnp.arange(len(start)), batch_size=min(chunk, len(start)))


def bound(prior: Prior) -> Prior:
    """The prior with all its functions as pytrees."""
    return dataclasses.replace(prior, predict_fn=as_pytree(prior.predict_fn), decode=as_pytree(prior.decode))


def _predict(model: Model, cond: Condition | None, x_t: Array, t: Array, none: None) -> Prediction:
    return model.predict_fn()(x_t, t, cond)
