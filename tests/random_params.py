"""Weights of small networks for tests, drawn by numpy: nothing is compiled, and outputs are of order 1."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose import model as released


def random_params(spec: released.Spec, seed: int = 0):
    """Params as `init_params` shapes them: matrices N(0, 1 / inputs), offsets N(0, 0.1^2), factors about 1."""
    shapes = jax.eval_shape(lambda: released.init_params(jax.random.key(0), spec))
    rng = np.random.default_rng(seed)

    def drawn(path, leaf):
        noise, name = rng.normal(size=leaf.shape), path[-1].key
        if name == "adjacency":
            return jnp.asarray(np.eye(len(noise)) + 0.1 * noise, leaf.dtype)
        if noise.ndim < 2:
            return jnp.asarray((name == "scale") + 0.1 * noise, leaf.dtype)
        return jnp.asarray(noise / np.sqrt(np.prod(noise.shape[:-1])), leaf.dtype)

    return jax.tree_util.tree_map_with_path(drawn, shapes)
