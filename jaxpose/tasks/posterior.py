"""One function for every posterior: draws of a pose, given a prior and noisy observations of what is computed from it.

    log p(x | y) = log p(x) - 1/2 sum_i |(y_i - operator_i(x)) / noise_i|^2 + const

The prior is anything with a score: a released model, under a condition or not (`prior_of`), or an oracle. NaN entries
of an observation are not observed.

    pseudo_inverse   exact for Gaussian priors and linear operators, an approximation for others (diffusion/twisting.py)
    dposer           a maximum of the posterior from each draw of the prior, down the DPoser regulariser
                     (`diffusion/regulariser.py`): its hypotheses are modes, not samples; their spread is no uncertainty

The first may run as particles (`smc=True`), weighted and resampled: exact as H grows, for the solver's own law. Only
this gives several modes their weights: docs/benchmarks.md has a table of by how much each misses a posterior that is
known, and of two other methods that missed it by more.

dposer's energy is in nats at every t: (alpha / sigma)^2 |x0 - x0_hat(x_t)|^2 / 2, whose slope is that of -log p
smoothed by noise sigma / alpha, while t falls. The observations are smoothed by as much: Adam fails in narrow valleys.

Source: those named in `diffusion/twisting.py` and `diffusion/smc.py`; Lu et al., DPoser (2023); Mardani et al.,
RED-diff (ICLR 2024) for the weight.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Key
from jaxpose.compiled import as_pytree, check_numbers, check_shape, check_values, checked
from jaxpose.diffusion.twisting import log_likelihood
from jaxpose.tasks.draw import ROWS_IN_FLIGHT
from jaxpose.tasks.methods import Method, Operator, Seen, measurement_of, pseudo_inverse
from jaxpose.tasks.priors import Prior, bound, starts

_MOST = 1e9  # of a value, in its unit


class Observed(NamedTuple):
    """One measurement of a pose: value = operator(x) + noise.

    value:    [M...] as the operator gives it, NaN where nothing was observed.
    operator: a function of decoded poses; one that holds arrays is a pytree (`jax.tree_util.Partial`).
    noise:    standard deviation in the unit of the value, broadcasting to it.
    """

    value: Array
    operator: Operator
    noise: float | Array


class Posterior(NamedTuple):
    """Draws of one pose.

    samples:        [H, J, D'] decoded.
    weights:        [H], summing to 1; all equal unless the method is smc.
    log_likelihood: [H] log p(y | sample), nats, constants included.
    ess:            [] the smallest effective number of particles on the way, of H; H where nothing is weighted.
    log_evidence:   [] estimate of log p(y), nats; NaN unless the method is smc.
    """

    samples: Array
    weights: Array
    log_likelihood: Array
    ess: Array
    log_evidence: Array


@checked
def posterior(
    key: Key,
    prior: Prior,
    *observed: Observed,
    method: Method | None = None,
    num_hypotheses: int = 200,
    chunk: int = ROWS_IN_FLIGHT,
) -> Posterior:
    """Draw H poses on which the prior and the observations agree; compiled once for shapes, functions and method.

    observed: measurements of one pose, whose log likelihoods add up. Many poses are a vmap or `jax.lax.map`.
    method:   of `pseudo_inverse` (default), `dposer`.
    chunk:    hypotheses whose network calls are made at once.
    ValueError for shapes that do not fit and noise that is out of range.
    """
    method = method or pseudo_inverse()
    for name, value, kind in (("prior", prior, Prior), ("method", method, Method)):
        if not isinstance(value, kind):
            raise ValueError(f"{name}: needed a {kind.__name__}, got {value!r:.40}")
    if not observed:
        raise ValueError("observed: needed at least one measurement, got none")
    prior = bound(prior)
    for i, one in enumerate(observed):
        _check(prior, one, method, f" {i}" if len(observed) > 1 else "")
    measurements = tuple(one._replace(operator=as_pytree(one.operator)) for one in observed)
    return _posterior(key, prior, measurements, method=method, num=num_hypotheses, chunk=chunk)


@partial(jax.jit, static_argnames=("method", "num", "chunk"))
def _posterior(
    key: Key, prior: Prior, observed: tuple[Observed, ...], *, method: Method, num: int, chunk: int
) -> Posterior:
    measured = [_seen(prior, one) for one in observed]
    start_key, key = jax.random.split(key)
    start = starts(start_key, prior, num)
    particles = method.draw(key, prior, measured, start, method, chunk)
    likelihood = jax.vmap(partial(log_likelihood, measurement_of(prior, measured, method.robust)))(particles.x0)
    return Posterior(
        prior.decode(particles.x0),
        jnp.exp(particles.log_weights),
        likelihood,
        particles.ess.min(),
        particles.log_evidence,
    )


def _seen(prior: Prior, observed: Observed) -> Seen:
    given = _shape(prior, observed)
    value = jnp.asarray(observed.value, jnp.result_type(float))
    visible = jnp.isfinite(value)
    noise = jnp.where(visible, jnp.broadcast_to(jnp.asarray(observed.noise, value.dtype), given), 1)
    return Seen(jnp.where(visible, value, 0), visible, noise, observed.operator)


def _shape(prior: Prior, observed: Observed) -> tuple[int, ...]:
    return jax.eval_shape(lambda: observed.operator(prior.decode(jnp.zeros(prior.shape)))).shape


def _check(prior: Prior, observed: Observed, method: Method, which: str) -> None:
    if not isinstance(observed, Observed) or not callable(observed.operator):
        raise ValueError(f"observed{which}: needed an Observed with a function as operator, got {observed!r:.40}")
    value, _, noise = observed
    given = _shape(prior, observed)
    check_shape(f"observed{which}", value, given, note=" as the operator gives")
    check_numbers(f"observed{which}", value, -_MOST, _MOST, missing=True)
    check_numbers(f"noise{which}", noise, -_MOST, _MOST)
    # the trailing axes must agree, or be 1
    fits = zip(jnp.shape(noise)[::-1], given[::-1], strict=False)
    if jnp.ndim(noise) > len(given) or any(n not in (1, g) for n, g in fits):
        raise ValueError(f"noise{which}: needed to broadcast to {list(given)}, got {list(jnp.shape(noise))}")
    check_values(partial(_check_noise, f"noise{which}", method), noise)


def _check_noise(name: str, method: Method, noise: np.ndarray) -> None:
    wrong = ~((noise >= 0) if method.exact else (noise > 0))
    if wrong.any():
        raise ValueError(
            f"{name}: {method.name!r} needs numbers {'>=' if method.exact else '>'} 0, got {noise[wrong][0]}"
        )
