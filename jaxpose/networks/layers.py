"""Layers that the score networks share: the time embedding and a linear layer with a tunable start."""

from __future__ import annotations

import flax.linen as nn
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
