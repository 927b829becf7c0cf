"""One function for every posterior: draws of a pose, given a prior and noisy observations of what is computed from it.

    log p(x | y) = log p(x) - 1/2 sum_i |(y_i - operator_i(x)) / noise_i|^2 + const

The prior is anything with a score: a released model, under a condition or not (`prior_of`), or an oracle. Observations
compose by adding log likelihoods; NaN entries of an observation are not observed.

    replacement      observed coordinates are set to their value as the process noises it; linear masks only. Hidden
                     coordinates feel too little of them
    dps              diffusion posterior sampling, differentiated through the network; a known wrong mean and spread
    pseudo_inverse   exact for Gaussian priors and linear operators, an approximation for others (diffusion/twisting.py)
    dposer           a maximum of the posterior from each draw of the prior, down the DPoser regulariser
                     (`diffusion/regulariser.py`): its hypotheses are modes, not samples; their spread is no uncertainty

Each of the first three may run as particles (`smc=True`), weighted and resampled: exact as H grows, for the solver's
own law. Where the prior has several modes, only this gives them their weights: `python -m experiments.posterior_oracle`
prints by how much each method misses a posterior that is known.

dposer's energy is in nats at every t: (alpha / sigma)^2 |x0 - x0_hat(x_t)|^2 / 2, whose slope is that of -log p
smoothed by noise sigma / alpha, while t falls. The observations are smoothed by as much: Adam fails in narrow valleys.

Source: those named in `diffusion/twisting.py` and `diffusion/smc.py`; Lu et al., DPoser (2023); Mardani et al.,
RED-diff (ICLR 2024) for the weight.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxpose.base import Array, Condition, Key, PredictFn, ProjectFn
from jaxpose.diffusion.guidance import replace
from jaxpose.diffusion.minimise import minimise
from jaxpose.diffusion.regulariser import regulariser, summed, unit
from jaxpose.diffusion.sampling import sample
from jaxpose.diffusion.sde import SDE, prior_sample, time_at, time_grid
from jaxpose.diffusion.smc import Particles, inpainting, noised_path, run, twisted
from jaxpose.diffusion.solvers import dpmpp_2m
from jaxpose.diffusion.twisting import Measurement, TwistFn, dps, log_likelihood, pseudo_inverse
from jaxpose.model import Model
from jaxpose.spaces.normalise import REPRESENTATIONS
from jaxpose.spaces.person import decode_view
from jaxpose.tasks.draw import ROWS_IN_FLIGHT, check_score, null_condition
from jaxpose.tasks.rotations import to_axis_angle, to_state

METHODS = ("replacement", "dps", "pseudo_inverse", "dposer")
NUM_STEPS = 50  # of the samplers
NUM_DESCENTS = 300  # of dposer's Adam
_NUM_FIRST = 20  # solver steps of the draws where dposer starts
_EXACT = 1e-9  # the least noise in weights, in units of state
_LEARNING_RATE = 0.1  # in units of state, falling to 1 % of it
RESAMPLE_BELOW = 0.5  # of the particles' number (Wu et al., 2023)
_SMOOTHING = (1.0, 0.05)  # sigma / alpha at dposer's first and last step

# decoded x [..., J, D'] -> [..., M...], differentiable; it is asked for one pose
Operator: TypeAlias = Callable[[Array], Array]


@dataclasses.dataclass(frozen=True)
class Masked:
    """The operator of observed coordinates: x [..., J, D] -> x; entries whose mask [J, D] is 0 are not observed."""

    mask: Array

    def __call__(self, x: Array) -> Array:
        """x itself: the mask acts on the observation."""
        return x


class Prior(NamedTuple):
    """A law of poses by its score. Close over it, do not pass it through jit: it holds functions.

    predict_fn: of states [..., J, D]; it is asked with cond=None (a condition is bound by `prior_of`).
    shape:      (J, D) of a state.
    decode:     state [..., J, D] -> what operators see [..., J, D'] (metres or radians), for any leading axes.
    encode:     the way back, joint by joint; only "replacement" needs it.
    covariance: [J D, J D] of the states, as the methods take it (`fitted` measures it); None: independent numbers of 1.
    """

    predict_fn: PredictFn
    sde: SDE
    shape: tuple[int, int]
    decode: Callable[[Array], Array] = lambda state: state
    encode: Callable[[Array], Array] = lambda x: x
    covariance: Array | None = None


class Posterior(NamedTuple):
    """Draws of one pose.

    samples:        [H, J, D'] decoded.
    weights:        [H], summing to 1; all alike unless smc=True.
    log_likelihood: [H] log p(y | sample), nats, constants included.
    ess:            [] the smallest effective number of particles on the way, of H; H where nothing is weighted.
    log_evidence:   [] estimate of log p(y), nats; NaN unless smc=True.
    """

    samples: Array
    weights: Array
    log_likelihood: Array
    ess: Array
    log_evidence: Array


def prior_of(model: Model, cond: Condition | None = None) -> Prior:
    """A released model as a prior, under a condition of one pose [J, D] if given.

    Codec "person": x are joints [J, 3] about their middle, metres, in view axes; "axis_angle" and "rot6d": rotations of
    all joints but the root [J, 3], axis-angle radians. ValueError for other codecs, for models without a score at every
    noise level, and for a condition of rotations.
    """
    check_score(model, "posterior")
    rotations = model.spec.codec in REPRESENTATIONS
    if model.spec.codec != "person" and not rotations:
        legal = ", ".join(("person", *REPRESENTATIONS))
        raise ValueError(f"model: {model.spec.name!r} has the codec {model.spec.codec!r}; a prior needs one of {legal}")
    if rotations and cond is not None:
        raise ValueError(f"cond: {model.spec.name!r} is a prior over rotations, which takes no condition")
    if cond is None and not rotations:
        cond = jax.tree.map(lambda a: a[0], null_condition(model, 1))
    predict, statistics = model.predict_fn(), model.statistics
    spread = jnp.broadcast_to(jnp.asarray(statistics.spread), model.spec.state_shape)
    if rotations:
        decode, encode = (lambda state: to_axis_angle(model, state)), (lambda x: to_state(model, x))
    else:
        decode = lambda state: decode_view(statistics, state)  # noqa: E731
        encode = lambda x: (x - statistics.mean) / statistics.std  # noqa: E731
    return Prior(
        lambda x_t, t, _: predict(x_t, t, cond),
        model.spec.sde(),
        model.spec.state_shape,
        decode,
        encode,
        jnp.diag(spread.ravel() ** 2),
    )


def fitted(key: Key, prior: Prior, num: int = 256, num_steps: int = 20) -> Prior:
    """The prior with the covariance of `num` draws of its own; for "pseudo_inverse", once for a model or a condition.

    5 % is taken off what is not on the diagonal: few draws show correlations that are not there.
    """
    if num < 2:
        raise ValueError(f"num: needed at least 2, got {num}")
    start_key, key = jax.random.split(key)
    start = _starts(start_key, prior, num)
    states = _draw(key, prior, start, time_grid(prior.sde, num_steps), num).reshape(num, -1)
    covariance = jnp.cov(states.T)
    return prior._replace(covariance=0.95 * covariance + 0.05 * jnp.diag(jnp.diagonal(covariance)))


def posterior(
    key: Key,
    prior: Prior,
    observation: Array | tuple[Array, ...],
    operator: Operator | tuple[Operator, ...],
    noise: float | Array | tuple[float | Array, ...],
    *,
    method: str = "pseudo_inverse",
    smc: bool = False,
    num_hypotheses: int = 200,
    num_steps: int | None = None,
    robust: float | None = None,
    chunk: int = ROWS_IN_FLIGHT,
) -> Posterior:
    """Draw H poses on which the prior and the observations agree; pure: close over prior and operators, jit the rest.

    observation: [M...] as the operator gives it, NaN where nothing was observed; or a tuple of them. One pose a call:
                 many are a vmap.
    operator:    decoded x [..., J, D'] -> [..., M...], or as many as observations; of "replacement" a Masked.
    noise:       standard deviation in the observation's unit, broadcasting to it, or as many; >= 0, and > 0 for
                 "dps" and "dposer".
    method:      one of METHODS. smc: weigh and resample the hypotheses; not for "dposer", which has no densities.
    num_steps:   network calls but one; None: NUM_STEPS, for "dposer" NUM_DESCENTS.
    robust:      take the noise for Student's t of so many degrees of freedom, against outliers; not for "replacement".
    chunk:       hypotheses whose network calls are made at once.
    ValueError for other methods, shapes that do not fit and noise that is out of range.
    """
    _check(method, smc, num_hypotheses, num_steps, robust, chunk)
    observed = _observed(prior, observation, operator, noise, method)
    measurement = _measurement(prior, observed, robust)
    times = time_grid(prior.sde, num_steps or NUM_STEPS)
    start_key, key = jax.random.split(key)
    start = _starts(start_key, prior, num_hypotheses)
    if method == "dposer":
        found = _unweighted(_descend(key, prior, measurement, start, num_steps or NUM_DESCENTS, chunk))
    elif method == "replacement":
        found = _replace(key, prior, _held(prior, observed), start, times, smc, chunk)
    else:
        chain = twisted(prior.sde, _twist_fn(prior, measurement, method))
        found = run(key, start, chain, times, threshold=RESAMPLE_BELOW if smc else 0.0, chunk=chunk)
        found = found if smc else _unweighted(found.x0)
    likelihood = jax.vmap(partial(log_likelihood, measurement))(found.x0)
    return Posterior(
        prior.decode(found.x0), jnp.exp(found.log_weights), likelihood, found.ess.min(), found.log_evidence
    )


class _Observed(NamedTuple):
    """One observation: value, of which 0 stands where nothing is seen, seen bool and noise, alike; the operator."""

    value: Array
    seen: Array
    noise: Array
    operator: Operator


class _Held(NamedTuple):
    """Coordinates of a state [J, D] that are set to a value, and the value's noise, alike."""

    value: Array
    mask: Array
    noise: Array


def _measurement(prior: Prior, observed: list[_Observed], robust: float | None) -> Measurement:
    def residual(x0: Array) -> Array:
        x = prior.decode(x0)
        each = [jnp.where(o.seen, o.value - o.operator(x), 0).ravel() for o in observed]
        return jnp.concatenate(each)

    noise, seen = (
        jnp.concatenate([a.ravel() for a in each]) for each in ([o.noise for o in observed], [o.seen for o in observed])
    )
    return Measurement(residual, noise, seen, robust)


def _twist_fn(prior: Prior, measurement: Measurement, method: str) -> TwistFn:
    if method == "dps":
        return dps(prior.predict_fn, measurement)
    return pseudo_inverse(prior.predict_fn, prior.sde, measurement, _covariance(prior))


def _covariance(prior: Prior) -> Array:
    return jnp.eye(math.prod(prior.shape)) if prior.covariance is None else prior.covariance


def _starts(key: Key, prior: Prior, num: int) -> Array:
    """Noise [H, J, D] of the process' end, each of its own key."""
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(num))
    return jax.vmap(lambda k: prior_sample(k, prior.sde, prior.shape))(keys)


def _draw(key: Key, prior: Prior, start: Array, times: Array, chunk: int, project: ProjectFn | None = None) -> Array:
    """States [H, J, D] of the prior's own sampler from its starts."""

    def one(h: Array) -> Array:
        solver = dpmpp_2m(prior.sde, eta=1.0)
        return sample(jax.random.fold_in(key, h), start[h], prior.predict_fn, solver, times, project=project)

    return jax.lax.map(one, jnp.arange(len(start)), batch_size=min(chunk, len(start)))


def _unweighted(states: Array) -> Particles:
    num = len(states)
    return Particles(states, jnp.full(num, -math.log(num)), jnp.full(1, float(num)), jnp.asarray(jnp.nan))


def _held(prior: Prior, observed: list[_Observed]) -> _Held:
    """What the observations of coordinates say together, in units of state: means weighted by 1 / noise^2."""
    states, masks, noises = [], [], []
    for o in observed:
        value, beside = prior.encode(o.value), prior.encode(o.value + o.noise)
        seen = o.seen if o.seen.shape == value.shape else o.seen.all(-1, keepdims=True)
        states.append(value)
        masks.append(jnp.broadcast_to(seen, value.shape))
        noises.append(jnp.abs(beside - value))
    weight = jnp.stack(masks) / jnp.maximum(jnp.stack(noises), _EXACT) ** 2
    total = jnp.maximum(weight.sum(0), 1e-30)
    noise = jnp.stack(noises).min(0) if len(observed) == 1 else 1 / jnp.sqrt(total)
    mask = jnp.stack(masks).any(0)
    return _Held((weight * jnp.stack(states)).sum(0) / total, mask, jnp.where(mask, noise, 0))


def _replace(key: Key, prior: Prior, held: _Held, start: Array, times: Array, smc: bool, chunk: int) -> Particles:
    sde = prior.sde
    if smc:
        path_key, key = jax.random.split(key)
        path, on = noised_path(path_key, sde, held.value, held.noise, times)
        on &= held.mask
        chain, start = (
            inpainting(sde, prior.predict_fn, path, on, _covariance(prior)),
            jnp.where(on[0], path[0], start),
        )
        found = run(key, start, chain, times, threshold=RESAMPLE_BELOW, chunk=chunk)
    else:
        cond = Condition(held.value, held.mask.astype(held.value.dtype))
        found = _unweighted(_draw(key, prior, start, times, chunk, replace(sde, cond, held.noise)))
    # what is known better than the last time can tell is returned as it came
    exact = held.mask & (sde.sigma(times[-1]) >= sde.alpha(times[-1]) * held.noise)
    # the particles' weights are those of one noised path: no estimate of p(y)
    return found._replace(x0=jnp.where(exact, held.value, found.x0), log_evidence=jnp.asarray(jnp.nan))


def _descend(key: Key, prior: Prior, measurement: Measurement, start: Array, num: int, chunk: int) -> Array:
    """Adam from draws of the prior down energy in nats, while the prior's smoothing falls."""
    first, last = (-2 * math.log(ratio) for ratio in _SMOOTHING)
    levels = time_at(prior.sde, jnp.linspace(first, last, num))
    tx = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, num, 0.01), b2=0.95)

    def energy(key: Key, x0: Array, k: Array) -> Array:
        t = levels[k]
        nats = (prior.sde.alpha(t) / prior.sde.sigma(t)) ** 2
        far = regulariser(key, prior.predict_fn, prior.sde, x0, t, weight=unit, reduction=summed)
        return nats * far - jax.vmap(partial(likelihood, 1 / nats))(x0)

    def likelihood(smoothing: Array, x0: Array) -> Array:
        slope = jax.lax.stop_gradient(jax.jacrev(measurement.residual_fn)(x0))
        variance = measurement.noise**2 + smoothing * jnp.square(slope).sum((-2, -1))
        return log_likelihood(measurement._replace(noise=jnp.sqrt(variance)), x0)

    draws = _draw(key, prior, start, time_grid(prior.sde, _NUM_FIRST), chunk)

    def one(h: Array) -> Array:
        found = minimise(jax.random.fold_in(key, h), energy, draws[h][None], tx, num)
        return found.variables[0]

    return jax.lax.map(one, jnp.arange(len(start)), batch_size=min(chunk, len(start)))


def _observed(prior: Prior, observation: Any, operator: Any, noise: Any, method: str) -> list[_Observed]:
    """The observations one by one, checked."""
    observations = tuple(observation) if isinstance(observation, tuple) else (observation,)
    operators = operator if isinstance(operator, tuple) else (operator,)
    noises = noise if isinstance(noise, tuple) else (noise,) * len(observations)
    if not len(observations) == len(operators) == len(noises) > 0:
        raise ValueError(
            f"observation, operator, noise: needed one each or as many of each, got {len(observations)}, "
            f"{len(operators)} and {len(noises)}"
        )
    return [
        _observed_one(prior, *each, method, f" {i}" if len(operators) > 1 else "")
        for i, each in enumerate(zip(observations, operators, noises, strict=True))
    ]


def _observed_one(prior: Prior, value: Array, operator: Operator, noise: Any, method: str, which: str) -> _Observed:
    given = jax.eval_shape(lambda: operator(prior.decode(jnp.zeros(prior.shape)))).shape
    if jnp.shape(value) != given:
        raise ValueError(f"observation{which}: needed the operator's {list(given)}, got {list(jnp.shape(value))}")
    if method == "replacement" and not isinstance(operator, Masked):
        raise ValueError(f"operator{which}: 'replacement' needs a Masked, got {operator!r}; others take any")
    # the trailing axes must agree, or be 1
    fits = zip(jnp.shape(noise)[::-1], given[::-1], strict=False)
    if jnp.ndim(noise) > len(given) or any(n not in (1, g) for n, g in fits):
        raise ValueError(f"noise{which}: needed to broadcast to {list(given)}, got {list(jnp.shape(noise))}")
    if not isinstance(noise, jax.core.Tracer):
        exact = method in ("replacement", "pseudo_inverse")
        wrong = ~((np.asarray(noise) >= 0) if exact else (np.asarray(noise) > 0))
        if wrong.any():
            found = np.asarray(noise)[wrong][0]
            raise ValueError(f"noise{which}: {method!r} needs numbers {'>=' if exact else '>'} 0, got {found}")
    value = jnp.asarray(value, jnp.result_type(float))
    seen = jnp.isfinite(value)
    if isinstance(operator, Masked):
        seen &= jnp.broadcast_to(operator.mask, given) > 0
    noise = jnp.where(seen, jnp.broadcast_to(jnp.asarray(noise, value.dtype), given), 1)
    return _Observed(jnp.where(seen, value, 0), seen, noise, operator)


def _check(method: str, smc: bool, num: int, num_steps: int | None, robust: float | None, chunk: int) -> None:
    if method not in METHODS:
        raise ValueError(f"method: got {method!r}, legal are {METHODS}")
    if method == "dposer" and smc:
        raise ValueError("smc: 'dposer' descends and has no transition densities; legal are the other methods")
    if method == "replacement" and robust is not None:
        raise ValueError("robust: 'replacement' has no likelihood to make robust; legal is None")
    if robust is not None and not robust > 0:
        raise ValueError(f"robust: needed degrees of freedom > 0 or None, got {robust}")
    for name, found in (("num_hypotheses", num), ("num_steps", num_steps), ("chunk", chunk)):
        if found is not None and found < 1:
            raise ValueError(f"{name}: needed at least 1, got {found}")
