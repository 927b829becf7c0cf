"""One pose out of many hypotheses, without looking at the truth.

    mean                the best guess under squared error
    median              per coordinate: the best guess under the sum of absolute coordinate errors
    geometric_median    per joint, argmin_m E|X_j - m|: the best guess under MPJPE, that is, under the very score
    medoid              the hypothesis nearest to all the others, so a pose that the model did propose
    mode                per joint, where the hypotheses are densest: one of several places, not the empty middle

Samples are [H, ..., J, D], any unit; results [..., J, D]. A NaN hypothesis makes what it touches NaN.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxpose.base import Array


def mean(samples: Array) -> Array:
    """Mean of the hypotheses: [H, ..., J, D] -> [..., J, D]."""
    return jnp.mean(samples, axis=0)


def median(samples: Array) -> Array:
    """Median of the hypotheses in every coordinate: [H, ..., J, D] -> [..., J, D]."""
    return jnp.median(samples, axis=0)


def geometric_median(samples: Array, num_steps: int = 32, smallest: float = 1e-6) -> Array:
    """Point per joint with the least mean distance to the hypotheses: [H, ..., J, D] -> [..., J, D].

    Weiszfeld's iteration from the mean, `num_steps` times. Distances below `smallest` (a micrometre, for
    metres) count as that, so that a step which lands on a hypothesis does not divide by 0.
    """

    def step(_, centre):
        distance = jnp.linalg.norm(samples - centre, axis=-1, keepdims=True)
        weight = 1 / jnp.maximum(distance, smallest)
        return (weight * samples).sum(0) / weight.sum(0)

    return jax.lax.fori_loop(0, num_steps, step, mean(samples))


def medoid(samples: Array) -> Array:
    """The hypothesis with the least mean joint distance to the others: [H, ..., J, D] -> [..., J, D].

    One hypothesis at a time meets all the others: memory grows as H, not as H^2.
    """

    samples = jnp.asarray(samples)

    def total_distance(sample):
        return jnp.linalg.norm(samples - sample, axis=-1).mean((0, -1))

    # argmin takes the first NaN for the least, so a hypothesis with a NaN in it is chosen, not hidden.
    chosen = jax.lax.map(total_distance, samples).argmin(0)
    return jnp.take_along_axis(samples, chosen[None, ..., None, None], axis=0)[0]


def mode(samples: Array, num_steps: int = 32, smallest: float = 1e-6) -> Array:
    """Where a smoothed density of the hypotheses peaks, joint by joint: [H, ..., J, D] -> [..., J, D].

    Mean shift (Comaniciu and Meer, 2002) from the densest hypothesis, under a Gaussian kernel of Scott's width
    s H^(-1 / (D + 4)), s the root mean square deviation of a coordinate, but not below `smallest`.
    """
    samples = jnp.asarray(samples)
    num, size = len(samples), samples.shape[-1]
    variance = jnp.square(samples - mean(samples)).mean((0, -1)) * num ** (-2 / (size + 4))
    variance = jnp.maximum(variance, smallest**2)

    def weights(at: Array) -> Array:
        return jnp.exp(-0.5 * jnp.square(samples - at).sum(-1) / variance)

    def shift(_: int, at: Array) -> Array:
        weight = weights(at)[..., None]
        return (weight * samples).sum(0) / weight.sum(0)

    densest = jax.lax.map(lambda sample: weights(sample).sum(0), samples).argmax(0)
    start = jnp.take_along_axis(samples, densest[None, ..., None], axis=0)[0]
    return jax.lax.fori_loop(0, num_steps, shift, start)
