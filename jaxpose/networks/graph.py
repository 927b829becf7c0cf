"""DiffPose's graph networks (CVPR 2023; spec/diffpose.md, section 1): the denoiser, and GraFormer as context encoder.

With A the skeleton's adjacency with self loops, its rows divided by their sums, and L = I - A,

    ChebConv    sum_k T_k x W_k + b,    T = I, L, 2 L L - I                            (Defferrard et al., 2016)
    GraphNet    W2 S relu(W1 S x),      S = d A_hat d,   d = (column sums of A_hat + 1e-5)^-1/2,   A_hat learned
    attention   h + drop MHA(norm h), then h + drop GraphNet(norm h)                   over the joints, before the norm
    block       attention, then h + G2(G1(h) + W swish(tau)),   G = drop relu ChebConv

    h = ChebConv(x);  h = W [h, context] where there is context;  blocks;  out = ChebConv(h)

The norm divides by the unbiased standard deviation plus 1e-6, which is not LayerNorm. A denoiser is this with the time
features tau, GraFormer (Zhao et al., CVPR 2022) without. Joints are the first axis inside, [J, ..., C]: T_k x for all
k, and all W_k, are then two plain products of large matrices.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Condition
from jaxpose.geometry.skeleton import Skeleton, get_skeleton
from jaxpose.networks.layers import dense, sinusoidal_embedding

_ATTENTION_DROPOUT = _GRAPH_DROPOUT = 0.1  # the original's, whatever the rate of the residual branches is


def adjacency(skeleton: Skeleton) -> np.ndarray:
    """Neighbours and self of each joint with rows that sum to 1, so not symmetric: [J, J]."""
    num = len(skeleton.joints)
    a = np.eye(num)
    for joint, parent in enumerate(skeleton.parents):
        if parent >= 0:
            a[joint, parent] = a[parent, joint] = 1
    return a / a.sum(1, keepdims=True)


def chebyshev_terms(skeleton: Skeleton) -> np.ndarray:
    """T_0, T_1, T_2 of L = I - A, without the usual rescaling by the largest eigenvalue: [3, J, J]."""
    identity = np.eye(len(skeleton.joints))
    laplacian = identity - adjacency(skeleton)
    return np.stack([identity, laplacian, 2 * laplacian @ laplacian - identity])


class ChebConv(nn.Module):
    """Chebyshev graph convolution of order 2 over joints, [J, ..., C] -> [J, ..., features]."""

    features: int
    skeleton: str

    @nn.compact
    def __call__(self, x: Array) -> Array:
        terms = chebyshev_terms(get_skeleton(self.skeleton))
        # xavier-normal as the original has it, whose fans are those of a 4-D tensor (3, 1, in, out)
        init = nn.initializers.normal(1 / np.sqrt(2 * x.shape[-1] * self.features))
        weight = self.param("weight", init, (len(terms), x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        mixed = _mix_joints(jnp.asarray(terms[1:].reshape(-1, len(x)), x.dtype), x)
        stacked = jnp.concatenate([x, *jnp.split(mixed, len(terms) - 1)], -1)
        return stacked @ weight.reshape(-1, self.features) + bias


class StdNorm(nn.Module):
    """scale (x - mean) / (std + epsilon) + bias over the last axis, with the unbiased standard deviation."""

    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: Array) -> Array:
        width = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (width,))
        bias = self.param("bias", nn.initializers.zeros, (width,))
        x = x - x.mean(-1, keepdims=True)
        variance = jnp.square(x).sum(-1, keepdims=True) / (width - 1)
        # a root has no slope at 0, where all entries are equal
        std = jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1)), 0)
        return x / (std + self.epsilon) * scale + bias


class JointAttention(nn.Module):
    """Multi-head self-attention over the joints, [J, ..., C] -> the same shape."""

    num_heads: int
    dropout: float = _ATTENTION_DROPOUT

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        width = x.shape[-1]
        if width % self.num_heads:
            raise ValueError(f"attention needs a width divisible by {self.num_heads} heads, got {width}")
        split = (*x.shape[:-1], self.num_heads, width // self.num_heads)
        q, k, v = (dense(width, name)(x).reshape(split) for name in ("query", "key", "value"))
        if jax.default_backend() == "tpu" and x.shape[1:-1] not in ((), (1,)) and not train:
            # [heads, d, J, N], poses last: products so small fill little of its tiles, but in training, pose by pose
            q, k, v = (values.reshape(len(x), -1, *split[-2:]).transpose(2, 3, 0, 1) for values in (q, k, v))
            weights = jax.nn.softmax((q[:, :, None] * k[:, :, :, None]).sum(1) / np.sqrt(split[-1]), axis=1)
            mixed = (weights[:, None] * v[:, :, :, None]).sum(2).transpose(2, 3, 0, 1)
            return dense(width, "out")(mixed.reshape(x.shape))
        # [..., heads, J, d]: on CPU quicker than an einsum over joints that come first
        q, k, v = (jnp.moveaxis(values, 0, -2) for values in (q, k, v))
        scores = q @ jnp.swapaxes(k, -1, -2) / np.sqrt(split[-1])
        weights = nn.Dropout(self.dropout, deterministic=not train)(jax.nn.softmax(scores))
        return dense(width, "out")(jnp.moveaxis(weights @ v, -2, 0).reshape(x.shape))


class LearnedGraph(nn.Module):
    """Two layers over a learned graph that is initialised without edges, [J, ..., C] -> the same shape."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        num, width = len(x), x.shape[-1]
        a = self.param("adjacency", lambda *_: jnp.eye(num), (num, num))
        # nothing keeps a column's sum positive; without the floor the original turns to NaN there
        d = jax.lax.rsqrt(jnp.maximum(a.sum(0) + 1e-5, 1e-5))
        s = d[:, None] * a * d
        hidden = nn.relu(dense(2 * width, "hidden")(_mix_joints(s, x)))
        return dense(width, "out")(_mix_joints(s, hidden))


class GraphTrunk(nn.Module):
    """The part that denoiser and encoder share: [J, ..., C] -> [J, ..., width], the input of the last layer."""

    width: int
    depth: int
    num_heads: int
    dropout: float
    skeleton: str

    @nn.compact
    def __call__(
        self, x: Array, context: Array | None = None, tau: Array | None = None, *, train: bool = False
    ) -> Array:
        def drop(h: Array, rate: float) -> Array:
            return nn.Dropout(rate if self.dropout else 0.0, deterministic=not train)(h)

        h = ChebConv(self.width, self.skeleton, name="input")(x)
        if context is not None:
            h = dense(self.width, "context")(jnp.concatenate([h, context], -1))
        for n in range(self.depth):
            rate = _ATTENTION_DROPOUT if self.dropout else 0.0
            attention = JointAttention(self.num_heads, rate, name=f"attention{n}")
            h = h + drop(attention(StdNorm(name=f"attention{n}_norm")(h), train=train), self.dropout)
            h = h + drop(LearnedGraph(name=f"graph{n}")(StdNorm(name=f"graph{n}_norm")(h)), self.dropout)
            r = nn.relu(ChebConv(self.width, self.skeleton, name=f"conv{n}_0")(h))
            r = drop(r, _GRAPH_DROPOUT)
            if tau is not None:
                r = r + dense(self.width, f"time{n}")(tau)
            r = nn.relu(ChebConv(self.width, self.skeleton, name=f"conv{n}_1")(r))
            h = h + drop(r, _GRAPH_DROPOUT)
        return h


class GraphDenoiser(nn.Module):
    """DiffPose's denoiser: predicts the noise, or another target, of poses with D numbers per joint.

    width, depth, num_heads: of the blocks. dropout: of the residual branches; 0 switches off all dropout.
    time_units, time_shift: the time embedding is of time_units t + time_shift. The original's (51, -1) makes the
    schedule's index of the t that `from_betas` gives it.
    """

    width: int = 96
    depth: int = 5
    num_heads: int = 4
    dropout: float = 0.25
    skeleton: str = "h36m17"
    time_units: float = 1000.0
    time_shift: float = 0.0

    @nn.compact
    def __call__(self, x: Array, t: Array, cond: Condition | None = None, *, train: bool = False) -> Array:
        """Raw output like x [..., J, D] for a scalar t; of the condition, the context [..., J, C] alone is used."""
        time = sinusoidal_embedding(self.time_units * t + self.time_shift, self.width)
        tau = nn.swish(dense(4 * self.width, "time_0")(time))
        tau = nn.swish(dense(4 * self.width, "time_1")(tau))
        trunk = GraphTrunk(self.width, self.depth, self.num_heads, self.dropout, self.skeleton, name="trunk")
        context = None if cond is None else cond.context
        if context is not None:
            context = jnp.moveaxis(jnp.broadcast_to(context, (*x.shape[:-1], context.shape[-1])), -2, 0)
        h = trunk(jnp.moveaxis(x, -2, 0), context, tau, train=train)
        return jnp.moveaxis(ChebConv(x.shape[-1], self.skeleton, name="output")(h), 0, -2)


class GraFormer(nn.Module):
    """3D joints from 2D joints of single frames; fields as in `GraphDenoiser`."""

    width: int = 96
    depth: int = 5
    num_heads: int = 4
    dropout: float = 0.25
    skeleton: str = "h36m17"
    features_out: int = 3

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> tuple[Array, Array]:
        """Pose [..., J, features_out] and features [..., J, width], the last layer's input, of x [..., J, C]."""
        trunk = GraphTrunk(self.width, self.depth, self.num_heads, self.dropout, self.skeleton, name="trunk")
        features = trunk(jnp.moveaxis(x, -2, 0), train=train)
        pose = ChebConv(self.features_out, self.skeleton, name="output")(features)
        return jnp.moveaxis(pose, 0, -2), jnp.moveaxis(features, 0, -2)


def _mix_joints(matrix: Array, x: Array) -> Array:
    """matrix [I, J] times x [J, ..., C]."""
    return jnp.tensordot(matrix, x, 1)
