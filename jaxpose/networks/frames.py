"""Attention over the frames of a window, as a branch that adds nothing until it is trained.

    h = h + W_out softmax(q k' / sqrt(d) + b) v,   q, k, v of GN(h);   b_{f - f'}: one number for each distance in time

W_out starts at 0, so a network of single poses whose weights are given keeps its output in every frame (Blattmann et
al., Align your latents, CVPR 2023, inflate image models to video so).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.networks.layers import GroupNorm, dense


class FrameAttention(nn.Module):
    """h [..., F, C] with what attention over the F frames adds; width: of the queries, over all heads."""

    num_frames: int
    width: int
    num_heads: int
    num_groups: int

    @nn.compact
    def __call__(self, h: Array) -> Array:
        num, heads, size = self.num_frames, self.num_heads, self.width // self.num_heads
        if h.shape[-2] != num:
            raise ValueError(f"a network of {num} frames got {h.shape[-2]}")
        normed = GroupNorm(self.num_groups, name="norm")(h)
        qkv = dense(3 * self.width, "qkv")(normed).reshape(*h.shape[:-1], 3, heads, size)
        q, k, v = jnp.moveaxis(qkv, (-3, -2), (0, -3))
        bias = self.param("bias", nn.initializers.zeros, (heads, 2 * num - 1))
        distance = np.arange(num)[:, None] - np.arange(num) + num - 1
        scores = q * size**-0.5 @ jnp.swapaxes(k, -1, -2) + bias[:, distance]
        mixed = jnp.swapaxes(jax.nn.softmax(scores) @ v, -2, -3).reshape(*h.shape[:-1], self.width)
        return h + nn.Dense(h.shape[-1], kernel_init=nn.initializers.zeros, name="out")(mixed)
