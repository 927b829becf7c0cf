"""The graph denoiser term by term, as its formulas are written down: what `experiments.benchmark` compares with.

It computes what jaxpose/networks/graph.py computes, with the same parameters, on poses [B, J, C]:

    ChebConv    T_k x[b] W_k for each k and b, with W_k copied for every pose (spec/diffpose.md, 9), then summed
    attention   one product each for q, k and v
    time        features of t for every pose, though t is the same for all
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxpose.base import Array
from jaxpose.geometry.skeleton import get_skeleton
from jaxpose.networks.graph import GraphDenoiser, chebyshev_terms
from jaxpose.networks.layers import sinusoidal_embedding


def denoise(network: GraphDenoiser, params: Any, x: Array, t: Array) -> Array:
    """Raw output like x [B, J, D] at t [B], without context; params: of `network`, the collection "params"."""
    terms = jnp.asarray(chebyshev_terms(get_skeleton(network.skeleton)), x.dtype)
    time = sinusoidal_embedding(network.time_units * t + network.time_shift, network.width)
    time = _linear(params["time_1"], jax.nn.swish(_linear(params["time_0"], time)))
    trunk = params["trunk"]
    h = _chebyshev(trunk["input"], terms, x)
    for n in range(network.depth):
        h = h + _attention(trunk[f"attention{n}"], network.num_heads, _norm(trunk[f"attention{n}_norm"], h))
        h = h + _learned_graph(trunk[f"graph{n}"], _norm(trunk[f"graph{n}_norm"], h))
        r = jax.nn.relu(_chebyshev(trunk[f"conv{n}_0"], terms, h))
        r = r + _linear(trunk[f"time{n}"], jax.nn.swish(time))[:, None]
        h = h + jax.nn.relu(_chebyshev(trunk[f"conv{n}_1"], terms, r))
    return _chebyshev(params["output"], terms, h)


def _chebyshev(params: Any, terms: Array, x: Array) -> Array:
    kernels = jnp.broadcast_to(params["weight"][:, None], (len(terms), len(x), *params["weight"].shape[1:]))
    return (terms[:, None] @ x @ kernels).sum(0) + params["bias"]


def _attention(params: Any, num_heads: int, x: Array) -> Array:
    split = (*x.shape[:-1], num_heads, -1)
    q, k, v = (_linear(params[name], x).reshape(split).swapaxes(1, 2) for name in ("query", "key", "value"))
    weights = jax.nn.softmax(q @ k.swapaxes(-1, -2) / jnp.sqrt(q.shape[-1]))
    return _linear(params["out"], (weights @ v).swapaxes(1, 2).reshape(x.shape))


def _learned_graph(params: Any, x: Array) -> Array:
    a = params["adjacency"]
    d = (a.sum(0) + 1e-5) ** -0.5
    s = jnp.diag(d) @ a @ jnp.diag(d)
    return _linear(params["out"], s @ jax.nn.relu(_linear(params["hidden"], s @ x)))


def _norm(params: Any, x: Array) -> Array:
    away = x - x.mean(-1, keepdims=True)
    return away / (x.std(-1, ddof=1, keepdims=True) + 1e-6) * params["scale"] + params["bias"]


def _linear(params: Any, x: Array) -> Array:
    return x @ params["kernel"] + params["bias"]
