"""Deterministic regression lifter, the baseline of the experiments: one pose for each condition, no noise, no time.

    h = drop SiLU GN(A0 c)
    h = h + f(f(h)),  f(h) = drop SiLU GN(A h)      num_blocks times
    x = A_out h

c holds value, mask and context of the condition. The shape is the residual MLP of Martinez et al. ("A simple yet
effective baseline for 3D human pose estimation", ICCV 2017), with the score networks' norm and activation.
"""

import flax.linen as nn
import jax.numpy as jnp

from jaxpose.base import Array, Condition
from jaxpose.networks.layers import GroupNorm, dense

_GROUP = 16  # channels normalised together, as in a score network of width 512; 1 would leave nothing but 0


class Regressor(nn.Module):
    """Residual MLP. hidden: width, a multiple of 16, the channels of a norm's group. num_blocks: of two layers."""

    hidden: int = 512
    num_blocks: int = 2
    dropout: float = 0.0

    @nn.compact
    def __call__(self, cond: Condition, *, train: bool = False) -> Array:
        """State [..., J, D] of a condition [..., J, D]; a value that is masked has no influence."""
        parts = [_flatten(cond.value * cond.mask), _flatten(cond.mask)]
        features = jnp.concatenate(parts if cond.context is None else [*parts, cond.context], -1)

        def layer(h: Array, name: str) -> Array:
            h = GroupNorm(self.hidden // _GROUP, name=f"{name}_norm")(dense(self.hidden, name)(h))
            return nn.Dropout(self.dropout, deterministic=not train)(nn.silu(h))

        h = layer(features, "pre")
        for block in range(self.num_blocks):
            h = h + layer(layer(h, f"block{block}_0"), f"block{block}_1")
        size = cond.value.shape[-1] * cond.value.shape[-2]
        return dense(size, "post")(h).reshape(cond.value.shape)


def _flatten(x: Array) -> Array:
    return x.reshape(*x.shape[:-2], -1)
