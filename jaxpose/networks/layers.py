"""Layers that the score networks share: the time embedding, a linear layer, and a norm over the last axis."""

import functools

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


_INITIAL = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def dense(features: int, name: str) -> nn.Dense:
    """Linear layer whose weights start at U(+-1/sqrt(fan_in)), as GFPose's layers do."""
    return nn.Dense(features, kernel_init=_INITIAL, name=name)


class CentredDense(nn.Module):
    """`dense` less the means over `groups` groups of its output, with the parameters of `dense`.

    A norm that follows would subtract them from every row. They are linear in weight and bias, so here they are
    subtracted from these, once for all rows, and the variance is a mean of squares, without the cancellation of E x^2 -
    (E x)^2. Where the weights are bfloat16 so are the factors of the product, with sums in float32: on a CPU with
    matrix units four times as fast.
    """

    features: int
    groups: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """x [..., C] to [..., features], of mean 0 in each group."""
        kernel = self.param("kernel", _INITIAL, (x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        narrow = kernel.dtype if jnp.finfo(kernel.dtype).bits < 32 else None
        kernel, bias = (
            _centred_weights(w.astype(jnp.promote_types(w.dtype, jnp.float32)), self.groups) for w in (kernel, bias)
        )
        if narrow is None:
            return x @ kernel + bias
        return jnp.dot(x.astype(narrow), kernel.astype(narrow), preferred_element_type=jnp.float32) + bias


class GroupNorm(nn.Module):
    """Group normalisation of the last axis alone, so that leading axes are free (Wu and He, 2018); flax's numbers.

    centred: the group means of the input are 0 already (`CentredDense`).
    """

    num_groups: int
    epsilon: float = 1e-5
    centred: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        """Channels of x [..., C] in `num_groups` contiguous groups at mean 0 and variance 1, scaled and shifted.

        train: its derivative is needed in reverse mode alone, as of a loss.
        """
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        if not self.centred:
            means = _group_means(x, self.num_groups, jax.lax.Precision.HIGHEST)
            x = x - jnp.repeat(means, _group_size(x, self.num_groups), axis=-1)
        normed = (_normed_for_reverse if train else _normed)(x, self.num_groups, self.epsilon)
        return normed * scale + bias


def _normed(x: Array, groups: int, epsilon: float) -> Array:
    return _normed_forward(x, groups, epsilon)[0]


# What autodiff makes of `_normed` sums over short rows, twice as slow on a CPU.
@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _normed_for_reverse(x: Array, groups: int, epsilon: float) -> Array:
    return _normed(x, groups, epsilon)


def _normed_forward(x: Array, groups: int, epsilon: float) -> tuple[Array, tuple[Array, Array]]:
    inverse = jax.lax.rsqrt(_group_means(jnp.square(x), groups) + epsilon)
    y = x * _over_groups(inverse, x)
    return y, (y, inverse)


def _normed_backward(groups: int, epsilon: float, kept: tuple[Array, Array], g: Array) -> tuple[Array]:
    """(g - y mean(g y)) / deviation."""
    y, inverse = kept
    return ((g - y * _over_groups(_group_means(g * y, groups), g)) * _over_groups(inverse, g),)


_normed_for_reverse.defvjp(_normed_forward, _normed_backward)


def _group_means(x: Array, groups: int, precision: jax.lax.Precision | None = None) -> Array:
    """Means [..., groups] over contiguous groups of the channels of x [..., C]; ValueError where they do not divide.

    A product with a constant matrix, in place of a reduction over a short axis. Uncentred input is normalised as fast
    as by flax's norm (1.04, `python -m experiments.benchmark --case=group_norm`); `centred` saves one of the two
    products and a pass. A GPU does the reduction in the program that makes x.
    """
    size = _group_size(x, groups)
    if jax.default_backend() == "gpu":
        return x.reshape(*x.shape[:-1], groups, size).mean(-1)
    return jnp.dot(x, jnp.asarray(_members(groups, size).T / size, x.dtype), precision=precision)


def _members(groups: int, size: int) -> np.ndarray:
    """Which channels [groups, groups * size] are of a group: 1, else 0."""
    return np.repeat(np.eye(groups), size, axis=1)


def _group_size(x: Array, groups: int) -> int:
    channels = x.shape[-1]
    if channels % groups:
        raise ValueError(f"GroupNorm needs channels divisible by {groups} groups, got {channels}")
    return channels // groups


def _centred_weights(w: Array, groups: int) -> Array:
    """Weights less their means, by a reduction; a product would cost as much as a call of few rows (GFPose's network,
    200 rows, 1 core: 29 ms, 49 by a product, 24 without; `--against`). Of a TPU by products, as `_over_groups`."""
    if jax.default_backend() == "tpu":
        return w - _over_groups(_group_means(w, groups), w)
    grouped = w.reshape(*w.shape[:-1], groups, _group_size(w, groups))
    return (grouped - grouped.mean(-1, keepdims=True)).reshape(w.shape)


def _over_groups(values: Array, x: Array) -> Array:
    """Each of values [..., groups] for all channels of its group, shaped like x.

    Of a TPU by a product: a broadcast over a short axis makes it move all of x to another layout and back.
    """
    groups, size = values.shape[-1], x.shape[-1] // values.shape[-1]
    if jax.default_backend() == "tpu":
        return jnp.dot(values, jnp.asarray(_members(groups, size), values.dtype))
    return jnp.repeat(values, size, axis=-1)


def silu(x: Array) -> Array:
    """x sigmoid(x) as h + h tanh(h), h = x / 2: XLA's tanh is cheaper than an exponential and a division on CPU."""
    half = x / 2
    return half + half * jnp.tanh(half)


@jax.custom_vjp
def silu_for_reverse(x: Array) -> Array:
    """`silu` whose derivative, in reverse mode alone, computes tanh again in place of keeping it."""
    return silu(x)


def _silu_backward(x: Array, g: Array) -> tuple[Array]:
    share = (1 + jnp.tanh(x / 2)) / 2
    return (g * (share + x * share * (1 - share)),)


silu_for_reverse.defvjp(lambda x: (silu(x), x), _silu_backward)
