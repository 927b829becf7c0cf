"""Exchange between the frames of a window, as a correction of a network of single poses that starts at 0.

    z_f = W_in (v_f, x_f, features of f) + W_t tau                  v the single pose's output, x its state
    z_f = z_f + W_out silu(W_own n_f + W_told sum_g a_fg u_g)       in every layer; n = GN(z), u = W_value n
    v_f = v_f + W_last z_f + sum_h G_h(z_f) (sum_g a_hfg (v_g, x_g) - (v_f, x_f))
    a_fg = exp(b_{f-g} + k_g) / sum_e exp(b_{f-e} + k_e)

with for each head one k_g a frame and one b for each distance in time: what a frame tells the others depends on what it
holds, and on how far it is. Attention whose scores do not depend on the asking frame is a product with one matrix
exp(b) for all windows (Zhai et al., An attention free transformer, 2021). b starts as a slope in the distance, another
one in each head (Press et al., ALiBi, ICLR 2022). The last sum is a filter of the poses whose gain G, linear in z, says
of each coordinate how much the other frames are to be believed; by x and v it has what x0 is made of.

W_last and G start at 0, so a network of single poses whose weights are given keeps its output in every frame (Blattmann
et al., Align your latents, CVPR 2023, inflate image models to video so). No gradient passes through that network where
it is not trained.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.networks.layers import GroupNorm, dense, silu

_SLOPES = (1.0, 1 / 64)  # of the first and the last head, 1 / frame
_FILTERS = 4  # of the poses themselves


class Correction(nn.Module):
    """Corrections of outputs v at states x, all [..., F, size], with features [..., F, C] and tau [T]."""

    num_frames: int
    width: int
    num_layers: int
    num_heads: int

    @nn.compact
    def __call__(self, v: Array, x: Array, features: Array, tau: Array) -> Array:
        both = jnp.concatenate([v, x], -1)
        z = dense(self.width, "in")(jnp.concatenate([both, features], -1)) + dense(self.width, "time")(tau)
        for layer in range(self.num_layers):
            z = FrameMixing(self.num_frames, self.num_heads, name=f"layer{layer}")(z)
        zeros = nn.initializers.zeros
        correction = nn.Dense(v.shape[-1], kernel_init=zeros, name="last")(z)
        heads = _FILTERS
        gain = nn.Dense(heads * both.shape[-1], kernel_init=zeros, name="gain")(z)
        told = Telling(self.num_frames, heads, name="filter")(z, jnp.stack([both] * heads, -2))
        change = gain.reshape(told.shape) * (told - both[..., None, :])
        return correction + change.reshape(*v.shape[:-1], heads * 2, -1).sum(-2)


class FrameMixing(nn.Module):
    """z [..., F, C] after an exchange between the F frames."""

    num_frames: int
    num_heads: int

    @nn.compact
    def __call__(self, z: Array) -> Array:
        width = z.shape[-1]
        normed = GroupNorm(self.num_heads, name="norm")(z)
        own, u = jnp.split(dense(2 * width, "own_value")(normed), 2, -1)
        told = Telling(self.num_frames, self.num_heads, name="telling")(
            normed, u.reshape(*u.shape[:-1], self.num_heads, -1)
        )
        return z + dense(width, "out")(silu(own + dense(width, "told")(told.reshape(u.shape))))


class Telling(nn.Module):
    """Means over the frames of values u [..., F, heads, C], by the distance in time and by what z [..., F, .] holds."""

    num_frames: int
    num_heads: int

    @nn.compact
    def __call__(self, z: Array, u: Array) -> Array:
        num, heads = self.num_frames, self.num_heads
        if z.shape[-2] != num:
            raise ValueError(f"a network of {num} frames got {z.shape[-2]}")
        k = dense(heads, "key")(z)
        k = jnp.exp(k - jax.lax.stop_gradient(k.max(-2, keepdims=True)))[..., None]
        slopes = np.geomspace(*_SLOPES, heads)[:, None] * -np.abs(np.arange(1 - num, num))
        bias = self.param("bias", lambda _: jnp.asarray(slopes, jnp.float32))
        distance = np.arange(num)[:, None] - np.arange(num) + num - 1
        near = jnp.exp(bias[:, distance])
        mixed = jnp.einsum("hfg,...ghc->...fhc", near, jnp.concatenate([k * u, k], -1))
        return mixed[..., :-1] / mixed[..., -1:]
