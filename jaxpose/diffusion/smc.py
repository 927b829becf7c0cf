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

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Key
from jaxpose.diffusion.sde import SDE
from jaxpose.diffusion.solvers import dpmpp_2m, fresh_share
from jaxpose.diffusion.twisting import Twist, TwistFn, steered


class Particles(NamedTuple):
    """x0: [P, J, D]; log_weights: [P], of sum 1; ess: [T+1] effective number before each resampling, of P;
    log_evidence: [] estimate of log p(y) in nats."""

    x0: Array
    log_weights: Array
    ess: Array
    log_evidence: Array


def run(
    key: Key,
    x_init: Array,
    sde: SDE,
    twist_fn: TwistFn,
    times: Array,
    *,
    threshold: float = 0.5,
    chunk: int | None = None,
) -> Particles:
    """Carry particles x_init [P, J, D], guided by a twist (`twisting.py`), through times [T+1], falling.

    threshold: share of P below which the effective number leads to resampling; 0: never, and each particle is on its
               own: the first 10 of 200 are the 10 of a run with 10.
    chunk:     particles whose network calls are made at once; None: all.
    """
    num, times, dtype = len(x_init), times.astype(x_init.dtype), x_init.dtype
    mean = dpmpp_2m(sde, eta=1.0, noise=0.0)

    def look(x: Array, t: Array) -> Twist:
        if chunk is None or chunk >= num:
            return jax.vmap(twist_fn, (0, None))(x, t)
        return jax.lax.map(lambda x: twist_fn(x, t), x, batch_size=chunk)

    def move(key, x_t, memory, twist, t, s):
        """x_s, the memory of both means, and log p / q, of one particle."""
        free, past = mean.step(key, x_t, memory[0], t, s, lambda x, t: twist.prediction)
        guided, guided_past = mean.step(key, x_t, memory[1], t, s, lambda x, t: steered(sde, twist, t))
        std = sde.sigma(s) * jnp.sqrt(fresh_share(sde, t, s))
        z = jax.random.normal(key, x_t.shape, x_t.dtype)
        away = (guided - free) / std
        return guided + std * z, (past, guided_past), -(away * (away / 2 + z)).sum()

    def step(carry, inputs):
        x, memory, log_weights, log_evidence = carry
        i, t, s = inputs
        step_key = jax.random.fold_in(key, i)
        twist = look(x, t)
        total = log_weights + twist.log_value
        ess = effective_number(total)
        poor = ess < threshold * num
        resampled = systematic(jax.random.fold_in(step_key, num), total)  # of a key that no particle has
        chosen = jnp.where(poor, resampled, jnp.arange(num))
        log_mean = jax.nn.logsumexp(total) - jnp.log(num)
        x, memory, twist = jax.tree.map(lambda a: a[chosen], (x, memory, twist))
        keys = jax.vmap(partial(jax.random.fold_in, step_key))(jnp.arange(num))
        x, memory, log_ratio = jax.vmap(move, (0, 0, 0, 0, None, None))(keys, x, memory, twist, t, s)
        log_weights = jnp.where(poor, 0, total) - twist.log_value + log_ratio
        return (x, memory, log_weights, log_evidence + jnp.where(poor, log_mean, 0)), ess

    memory = jax.vmap(lambda x: (mean.init(x), mean.init(x)))(x_init)
    start = (x_init, memory, jnp.zeros(num, dtype), jnp.zeros((), dtype))
    (x, _, log_weights, log_evidence), ess = jax.lax.scan(
        step, start, (jnp.arange(len(times) - 1), times[:-1], times[1:])
    )
    twist = look(x, times[-1])
    total = log_weights + twist.log_value
    x0 = jax.vmap(lambda twist: steered(sde, twist, times[-1]).x0)(twist)
    log_evidence += jax.nn.logsumexp(total) - jnp.log(num)
    return Particles(x0, jax.nn.log_softmax(total), jnp.append(ess, effective_number(total)), log_evidence)


def effective_number(log_weights: Array) -> Array:
    """(sum w)^2 / sum w^2 [] of weights [P] given by their logarithms: between 1 and P."""
    return jnp.exp(2 * jax.nn.logsumexp(log_weights) - jax.nn.logsumexp(2 * log_weights))


def systematic(key: Key, log_weights: Array) -> Array:
    """Systematic resampling, indices [P], rising, each P w +- 1 times: P equidistant marks from one random number."""
    num = len(log_weights)
    marks = (jax.random.uniform(key, dtype=log_weights.dtype) + jnp.arange(num)) / num
    heights = jnp.cumsum(jax.nn.softmax(log_weights))
    return jnp.clip(jnp.searchsorted(heights, marks), 0, num - 1)
