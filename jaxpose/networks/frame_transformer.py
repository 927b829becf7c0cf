"""An encoder of video whose tokens are frames: a pre-norm transformer (Vaswani et al., 2017) over a clip's poses.

    z   = W_in (inputs of all joints)                                       one token a frame
    z   = z + attention(GN(z));    z = z + W_down silu(W_up GN(z))          in every layer
    f_j = silu(W_j GN(z)),    pose_j = V_j f_j                              features and pose of joint j

A score of attention is q_f . k_g / sqrt(d) + b_{f-g}: each head has one learned bias for each distance in time, which
starts as a slope, another one in each head (Press et al., ALiBi, ICLR 2022), so that places need no embedding.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.networks.layers import GroupNorm, dense, silu, silu_for_reverse

_SLOPES = (1.0, 1 / 64)  # of the first and the last head, 1 / frame
_EXPANSION = 2  # of the hidden layer between two attentions


class FrameTransformer(nn.Module):
    """Clips of at most `num_frames` frames.

    width: features a joint. hidden: numbers of a token. depth: layers, of `num_heads` heads each.
    """

    num_frames: int = 81
    width: int = 64
    hidden: int = 256
    depth: int = 6
    num_heads: int = 8

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> tuple[Array, Array]:
        """Pose [..., F, J, 3] and features [..., F, J, width] of inputs x [..., F, J, C].

        train: derivatives are needed in reverse mode alone. ValueError for more than `num_frames` frames.
        """
        activation, num_joints = silu_for_reverse if train else silu, x.shape[-2]

        def normed(z: Array, name: str) -> Array:
            return GroupNorm(self.num_heads, name=name)(z, train=train)

        z = dense(self.hidden, "in")(x.reshape(*x.shape[:-2], -1))
        for i in range(self.depth):
            attention = FrameAttention(self.num_frames, self.num_heads, name=f"attention{i}")
            z = z + attention(normed(z, f"attention_norm{i}"))
            up = nn.Dense(_EXPANSION * self.hidden, name=f"up{i}")(normed(z, f"norm{i}"))
            z = z + nn.Dense(self.hidden, name=f"down{i}")(activation(up))
        features = activation(nn.Dense(num_joints * self.width, name="features")(normed(z, "last_norm")))
        features = features.reshape(*x.shape[:-1], self.width)
        first = nn.initializers.normal(self.width**-0.5)
        head = self.param("head", first, (num_joints, self.width, 3))
        return jnp.einsum("...jc,jcd->...jd", features, head), features


class FrameAttention(nn.Module):
    """Attention between the frames of z [..., F, C]."""

    num_frames: int
    num_heads: int

    @nn.compact
    def __call__(self, z: Array) -> Array:
        num, heads = z.shape[-2], self.num_heads
        if num > self.num_frames:
            raise ValueError(f"a network of {self.num_frames} frames got {num}")
        qkv = nn.Dense(3 * z.shape[-1], name="query_key_value")(z)
        q, k, v = (a.reshape(*a.shape[:-1], heads, -1) for a in jnp.split(qkv, 3, -1))
        slopes = np.geomspace(*_SLOPES, heads)[:, None] * -np.abs(np.arange(1 - self.num_frames, self.num_frames))
        bias = self.param("bias", lambda _: jnp.asarray(slopes, jnp.float32))
        distance = np.arange(num)[:, None] - np.arange(num) + self.num_frames - 1
        scores = jnp.einsum("...fhc,...ghc->...hfg", q, k) / np.sqrt(q.shape[-1]) + bias[:, distance]
        mixed = jnp.einsum("...hfg,...ghc->...fhc", jax.nn.softmax(scores, -1), v)
        return nn.Dense(z.shape[-1], name="out")(mixed.reshape(z.shape))
