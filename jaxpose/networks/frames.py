"""Mixing over the frames of a window, as a branch that adds nothing until it is trained.

    h_f = h_f + W_out silu(W_own n_f + W_told sum_g a_fg v_g)
    a_fg = exp(b_{f-g} + k_g) / sum_e exp(b_{f-e} + k_e)

with v of n = GN(h), for each head one k_g a frame and one b for each distance in time: what a frame tells the others
depends on what it holds, and on how far it is. Attention whose scores do not depend on the asking frame is a product
with one matrix exp(b) for all windows (Zhai et al., An attention free transformer, 2021). b starts as a slope in the
distance, another one in each head (Press et al., ALiBi, ICLR 2022).

W_out starts at 0, so a network of single poses whose weights are given keeps its output in every frame (Blattmann et
al., Align your latents, CVPR 2023, inflate image models to video so).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.networks.layers import GroupNorm, dense, silu

_SLOPES = (1.0, 1 / 64)  # of the first and the last head, 1 / frame


class FrameMixing(nn.Module):
    """h [..., F, C] with what the F frames tell each other; width: of the values, over all heads."""

    num_frames: int
    width: int
    num_heads: int
    num_groups: int

    @nn.compact
    def __call__(self, h: Array) -> Array:
        num, heads = self.num_frames, self.num_heads
        if h.shape[-2] != num:
            raise ValueError(f"a network of {num} frames got {h.shape[-2]}")
        normed = GroupNorm(self.num_groups, name="norm")(h)
        own, v = jnp.split(dense(2 * self.width, "own_value")(normed), 2, -1)
        k = dense(heads, "key")(normed)
        k = jnp.exp(k - jax.lax.stop_gradient(k.max(-2, keepdims=True)))[..., None]
        slopes = np.geomspace(*_SLOPES, heads)[:, None] * -np.abs(np.arange(1 - num, num))
        bias = self.param("bias", lambda _: jnp.asarray(slopes, jnp.float32))
        distance = np.arange(num)[:, None] - np.arange(num) + num - 1
        near = jnp.exp(bias[:, distance])
        told = jnp.concatenate([k * v.reshape(*v.shape[:-1], heads, -1), k], -1)
        mixed = jnp.einsum("hfg,...ghc->...fhc", near, told)
        mixed = (mixed[..., :-1] / mixed[..., -1:]).reshape(v.shape)
        inner = silu(own + dense(self.width, "told")(mixed))
        return h + nn.Dense(h.shape[-1], kernel_init=nn.initializers.zeros, name="out")(inner)
