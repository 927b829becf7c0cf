"""Methods to draw from a posterior, as values; described in `tasks/posterior.py` with their sources.

A new method is a function like `_guided`, a constructor and an entry in METHODS, which the command line reads.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from jaxpose.base import Array, Key
from jaxpose.compiled import check_num
from jaxpose.diffusion import twisting
from jaxpose.diffusion.minimise import minimise
from jaxpose.diffusion.regulariser import regulariser, summed, unit
from jaxpose.diffusion.sde import time_at, time_grid
from jaxpose.diffusion.smc import Particles, run
from jaxpose.diffusion.twisting import Measurement, log_likelihood
from jaxpose.tasks.priors import Prior, drawn

_NUM_FIRST = 20  # solver steps of the draws where dposer starts
_LEARNING_RATE = 0.1  # in units of state, falling to 1 % of it
RESAMPLE_BELOW = 0.5  # of the particles' number (Wu et al., 2023)
_SMOOTHING = (1.0, 0.05)  # sigma / alpha at dposer's first and last step

# decoded x [..., J, D'] -> [..., M...], differentiable; it is called with one pose
Operator: TypeAlias = Callable[[Array], Array]


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to draw from a posterior; hashable, so it is a static argument of jit. Made by the functions below.

    draw:      (key, prior, observations, starts [H, J, D], method, chunk) -> Particles.
    num_steps: network calls but one. smc: weigh and resample the hypotheses.
    robust:    take the noise for Student's t of so many degrees of freedom, against outliers; None: Gaussian.
    exact:     whether noise 0 is legal.
    """

    name: str
    draw: Callable[..., Particles]
    num_steps: int
    smc: bool = False
    robust: float | None = None
    exact: bool = True

    def __post_init__(self) -> None:
        """ValueError where a number is out of range."""
        check_num(self.num_steps, "num_steps")
        if self.robust is not None and not self.robust > 0:
            raise ValueError(f"robust: needed degrees of freedom > 0 or None, got {self.robust}")


def pseudo_inverse(num_steps: int = 50, *, smc: bool = False, robust: float | None = None) -> Method:
    """Exact for Gaussian priors and linear operators, an approximation for others."""
    return Method("pseudo_inverse", _guided, num_steps, smc, robust)


def dposer(num_steps: int = 300, *, robust: float | None = None) -> Method:
    """Adam down the DPoser regulariser: modes, not samples. Noise must be > 0. It has no densities, so no smc."""
    return Method("dposer", _descended, num_steps, robust=robust, exact=False)


# the name on the command line -> Method
METHODS: dict[str, Callable[..., Method]] = {"pseudo_inverse": pseudo_inverse, "dposer": dposer}


class Seen(NamedTuple):
    """One observation: value (0 where nothing was observed), seen (bool) and noise, of one shape; the operator."""

    value: Array
    seen: Array
    noise: Array
    operator: Operator


def measurement_of(prior: Prior, seen: list[Seen], robust: float | None) -> Measurement:
    def residual(x0: Array) -> Array:
        x = prior.decode(x0)
        return jnp.concatenate([jnp.where(o.seen, o.value - o.operator(x), 0).ravel() for o in seen])

    noise, is_seen = (
        jnp.concatenate([a.ravel() for a in each]) for each in zip(*((o.noise, o.seen) for o in seen), strict=True)
    )
    return Measurement(residual, noise, is_seen, robust)


def _guided(key: Key, prior: Prior, seen: list[Seen], start: Array, method: Method, chunk: int) -> Particles:
    measurement = measurement_of(prior, seen, method.robust)
    twist_fn = twisting.pseudo_inverse(prior.predict_fn, prior.sde, measurement, _covariance(prior))
    times, threshold = time_grid(prior.sde, method.num_steps), RESAMPLE_BELOW if method.smc else 0.0
    particles = run(key, start, prior.sde, twist_fn, times, threshold=threshold, chunk=chunk)
    return particles if method.smc else _unweighted(particles.x0)


def _covariance(prior: Prior) -> Array:
    return jnp.eye(math.prod(prior.shape)) if prior.covariance is None else prior.covariance


def _unweighted(states: Array) -> Particles:
    num = len(states)
    return Particles(states, jnp.full(num, -math.log(num)), jnp.full(1, float(num)), jnp.asarray(jnp.nan))


def _descended(key: Key, prior: Prior, seen: list[Seen], start: Array, method: Method, chunk: int) -> Particles:
    """Adam from draws of the prior down energy in nats, while the prior's smoothing falls."""
    measurement, num = measurement_of(prior, seen, method.robust), method.num_steps
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

    draws = drawn(key, prior, start, time_grid(prior.sde, _NUM_FIRST), chunk)

    def one(h: Array) -> Array:
        end = minimise(jax.random.fold_in(key, h), energy, draws[h][None], tx, num)
        return end.variables[0]

    return _unweighted(jax.lax.map(one, jnp.arange(len(start)), batch_size=min(chunk, len(start))))
