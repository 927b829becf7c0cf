"""Layers that the score networks share: the time embedding, a linear layer, and a norm over the last axis."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array


def sinusoidal_embedding(time: Array, width: int) -> Array:
    """Sine block, then cosine block, of `time` [...] at width/2 geometric frequencies: [..., width].

    f_k = exp(-k ln(10000) / (width/2 - 1)) (Vaswani et al., 2017; DDPM, Ho et al., 2020, appendix B).
    """
    half = width // 2
    frequencies = np.exp(-np.arange(half) * np.log(10000.0) / (half - 1)).astype(np.float32)
    angle = time[..., None] * frequencies
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)


def dense(features: int, name: str, scale: float = 1.0) -> nn.Dense:
    """Linear layer started at `scale` x U(+-1/sqrt(fan_in)), weight and bias, as GFPose's layers are."""
    init = nn.initializers.variance_scaling(scale**2 / 3, "fan_in", "uniform")
    return nn.Dense(features, kernel_init=init, name=name)


class GroupNorm(nn.Module):
    """Group normalisation of the last axis alone, so that leading axes are free (Wu and He, 2018).

    Means over groups are taken as products with a constant matrix [C, groups]: general reductions over a short
    axis, as flax's own norm has them, cost as much as the network's layers on CPU
    (`python -m experiments.benchmark --case=group_norm` prints the ratio). The result is flax's.
    """

    num_groups: int
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Channels of x [..., C] in `num_groups` contiguous groups at mean 0 and variance 1, scaled and shifted."""
        channels = x.shape[-1]
        if channels % self.num_groups:
            raise ValueError(
                f"GroupNorm needs channels divisible by {self.num_groups} groups, got {channels}"
            )
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        size = channels // self.num_groups
        pool = jnp.asarray(np.repeat(np.eye(self.num_groups) / size, size, axis=0), x.dtype)
        mean, square = (jnp.dot(v, pool, precision=jax.lax.Precision.HIGHEST) for v in (x, jnp.square(x)))
        inverse = jax.lax.rsqrt(jnp.maximum(square - jnp.square(mean), 0) + self.epsilon)
        grouped = x.reshape(*x.shape[:-1], self.num_groups, size)
        return ((grouped - mean[..., None]) * inverse[..., None]).reshape(x.shape) * scale + bias
