"""Sequential Monte Carlo: particles moved by a sampler, importance-weighted and resampled.

A particle's weight at time t is the product over its steps of p(x_s | x_t) / q(x_s | x_t), the prior's transition over
the proposal, times the estimated likelihood at its state (its twist):

    total_t = (product of p / q) * twist(x_t),     resample where (sum total)^2 / sum total^2 < threshold * P

As P grows the weighted particles at the last time follow the sampler's distribution of x times the last twist; earlier
twists change only the variance. The mean of the weights estimates p(y). Both transitions are Gaussian of one
covariance, so p / q = exp(-|d|^2 / 2 - d . z), d the distance of the means in deviations and z the noise drawn. The
means are those of `dpmpp_2m`, the prior's with the prior's past predictions, the proposal's with the steered ones.

Source: Wu, Trippe et al., Twisted diffusion sampler (NeurIPS 2023), algorithm 1 (first order there); Kitagawa (1996)
for systematic resampling.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Key
from jaxpose.diffusion.sde import SDE
from jaxpose.diffusion.solvers import dpmpp_2m, fresh_share
from jaxpose.diffusion.twisting import Twist, TwistFn, steered

Opinion: TypeAlias = Any  # a pytree of arrays of one particle
Memory: TypeAlias = Any


class Chain(NamedTuple):
    """Transition of one particle as functions; close over it.

    init:   x [J, D] -> memory.
    look:   (x_t, t) -> (prediction, log twist []): all network calls are here, one a step.
    move:   (key, step i, x_t, memory, prediction, t, s) -> (x_s, memory, log p / q []).
    finish: (x_t, prediction, t) -> x0 [J, D] at the last time.
    """

    init: Callable[[Array], Memory]
    look: Callable[[Array, Array], tuple[Opinion, Array]]
    move: Callable[..., tuple[Array, Memory, Array]]
    finish: Callable[[Array, Opinion, Array], Array]


class Particles(NamedTuple):
    """x0: [P, J, D]; log_weights: [P], of sum 1; ess: [T+1] effective number before each resampling, of P;
    log_evidence: [] estimate of log p(y) in nats."""

    x0: Array
    log_weights: Array
    ess: Array
    log_evidence: Array


def run(
    key: Key, x_init: Array, chain: Chain, times: Array, *, threshold: float = 0.5, chunk: int | None = None
) -> Particles:
    """Carry particles x_init [P, J, D] through times [T+1], falling.

    threshold: share of P below which the effective number leads to resampling; 0: never, and each particle is on its
               own: the first 10 of 200 are the 10 of a run with 10.
    chunk:     particles whose network calls are made at once; None: all.
    """
    num, times, dtype = len(x_init), times.astype(x_init.dtype), x_init.dtype

    def look(x: Array, t: Array) -> tuple[Opinion, Array]:
        if chunk is None or chunk >= num:
            return jax.vmap(chain.look, (0, None))(x, t)
        return jax.lax.map(lambda x: chain.look(x, t), x, batch_size=chunk)

    def step(carry, inputs):
        x, memory, log_weights, log_evidence = carry
        i, t, s = inputs
        step_key = jax.random.fold_in(key, i)
        opinion, log_twist = look(x, t)
        total = log_weights + log_twist
        ess = effective_number(total)
        poor = ess < threshold * num
        resampled = systematic(jax.random.fold_in(step_key, num), total)  # of a key that no particle has
        chosen = jnp.where(poor, resampled, jnp.arange(num))
        mean = jax.nn.logsumexp(total) - jnp.log(num)
        x, memory, opinion, log_twist = jax.tree.map(lambda a: a[chosen], (x, memory, opinion, log_twist))
        keys = jax.vmap(partial(jax.random.fold_in, step_key))(jnp.arange(num))
        x, memory, log_ratio = jax.vmap(chain.move, (0, None, 0, 0, 0, None, None))(keys, i, x, memory, opinion, t, s)
        log_weights = jnp.where(poor, 0, total) - log_twist + log_ratio
        return (x, memory, log_weights, log_evidence + jnp.where(poor, mean, 0)), ess

    start = (x_init, jax.vmap(chain.init)(x_init), jnp.zeros(num, dtype), jnp.zeros((), dtype))
    (x, _, log_weights, log_evidence), ess = jax.lax.scan(
        step, start, (jnp.arange(len(times) - 1), times[:-1], times[1:])
    )
    opinion, log_twist = look(x, times[-1])
    total = log_weights + log_twist
    x0 = jax.vmap(chain.finish, (0, 0, None))(x, opinion, times[-1])
    log_evidence += jax.nn.logsumexp(total) - jnp.log(num)
    return Particles(x0, jax.nn.log_softmax(total), jnp.append(ess, effective_number(total)), log_evidence)


def twisted(sde: SDE, twist_fn: TwistFn) -> Chain:
    """Particles guided by a twist (`twisting.py`) and weighted accordingly."""
    mean = dpmpp_2m(sde, eta=1.0, noise=0.0)

    def look(x_t: Array, t: Array) -> tuple[Opinion, Array]:
        twist = twist_fn(x_t, t)
        return twist, twist.log_value

    def move(key, i, x_t, memory, twist, t, s):
        free, past = mean.step(key, x_t, memory[0], t, s, lambda x, t: twist.prediction)
        guided, guided_past = mean.step(key, x_t, memory[1], t, s, lambda x, t: steered(sde, twist, t))
        std = sde.sigma(s) * jnp.sqrt(fresh_share(sde, t, s))
        z = jax.random.normal(key, x_t.shape, x_t.dtype)
        away = (guided - free) / std
        return guided + std * z, (past, guided_past), -(away * (away / 2 + z)).sum()

    def finish(x_t: Array, twist: Twist, t: Array) -> Array:
        return steered(sde, twist, t).x0

    return Chain(lambda x: (mean.init(x), mean.init(x)), look, move, finish)


def effective_number(log_weights: Array) -> Array:
    """(sum w)^2 / sum w^2 [] of weights [P] given by their logarithms: between 1 and P."""
    return jnp.exp(2 * jax.nn.logsumexp(log_weights) - jax.nn.logsumexp(2 * log_weights))


def systematic(key: Key, log_weights: Array) -> Array:
    """Systematic resampling, indices [P], rising, each P w +- 1 times: P equidistant marks from one random number."""
    num = len(log_weights)
    marks = (jax.random.uniform(key, dtype=log_weights.dtype) + jnp.arange(num)) / num
    heights = jnp.cumsum(jax.nn.softmax(log_weights))
    return jnp.clip(jnp.searchsorted(heights, marks), 0, num - 1)
