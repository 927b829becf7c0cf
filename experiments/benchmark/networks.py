"""Case `group_norm` of `experiments.benchmark`: our norm against flax's."""

import flax.linen as nn
import jax
import numpy as np

from experiments.benchmark.timing import Row, Setup, interleaved
from jaxpose.networks.layers import GroupNorm


def group_norm(setup: Setup) -> list[Row]:
    """Forward and backward of our norm over the last axis, and of flax's, as a ratio."""
    width, groups = setup.model.spec.network.hidden, setup.model.spec.network.num_groups
    x = jax.random.normal(jax.random.key(0), (2048, width))
    runs = []
    for norm in (GroupNorm(groups), nn.GroupNorm(groups, epsilon=1e-5, reduction_axes=(-1,))):
        params = norm.init(jax.random.key(0), x)
        gradient = jax.jit(jax.grad(lambda x, norm=norm, params=params: nn.silu(norm.apply(params, x)).sum()))
        runs.append(lambda gradient=gradient: [gradient(x) for _ in range(20)])
    ours, flax_own = interleaved(setup.sizes.repeats, *runs)
    figures = {
        "ours_ms": 50 * float(np.median(ours)),
        "flax_ms": 50 * float(np.median(flax_own)),
        "flax_over_ours": float(np.median(flax_own / ours)),
    }
    return [Row("group_norm", "", figures, higher=("flax_over_ours",))]
