"""DiffPose's graph networks against the original's recorded numbers and against plain sums in numpy."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shared

from jaxpose.base import Condition
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.networks.graph import GraphDenoiser, LearnedGraph, adjacency, chebyshev_terms
from jaxpose.networks.layers import sinusoidal_embedding
from jaxpose.originals.convert.diffpose import read_part

GOLDEN = shared.GOLDEN / "diffpose"
J = 17
SMALL = GraphDenoiser(width=8, depth=1, num_heads=2)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "nets.npz") as z:
        return dict(z)


@pytest.fixture(scope="module")
def params():
    """Small parameters away from their start, where biases are 0 and no edge is learned."""
    return moved(jax.jit(SMALL.init)(jax.random.key(0), jnp.zeros((J, 5)), jnp.float32(0.5)), by=0.1)


@pytest.fixture(scope="module")
def apply():
    return jax.jit(SMALL.apply)


def moved(started, by=0.2):
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda a: np.float32(a + by * rng.normal(size=a.shape)), started)


def normal(*shape, seed=2):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def float64(tree):
    return jax.tree.map(lambda a: np.asarray(a, np.float64), tree)


def test_the_originals_constants(golden):
    np.testing.assert_allclose(adjacency(H36M_17), golden["adj"], atol=1e-7)
    np.testing.assert_allclose(np.eye(J) - adjacency(H36M_17), golden["laplacian"], atol=2e-7)
    np.testing.assert_allclose(chebyshev_terms(H36M_17), golden["cheb"], atol=1e-6)
    np.testing.assert_allclose(sinusoidal_embedding(golden["t"], 96), golden["sin_emb"], atol=2e-5)


def test_the_originals_encoder(golden):
    part = read_part(GOLDEN / "gcnpose.pth")
    pose, features = jax.jit(part.network.apply)({"params": part.params}, golden["uv"])
    np.testing.assert_allclose(pose, golden["xyz"], atol=2e-5)
    last = float64(part.params["output"])
    by_hand = per_term(float64(features), last["weight"], last["bias"])
    np.testing.assert_allclose(by_hand, golden["xyz"], atol=2e-5)


def per_term(x, weight, bias):
    """The sum as the spec writes it, x [..., J, C]."""
    identity, laplacian = np.eye(J), np.eye(J) - adjacency(H36M_17)
    terms = (identity, laplacian, 2 * laplacian @ laplacian - identity)
    return sum(t @ x @ w for t, w in zip(terms, weight, strict=True)) + bias


@pytest.mark.parametrize("sign", [1, -1])
def test_the_learned_graph(sign):
    """As the spec writes it; with a column of negative sum, where the original is NaN, finite with finite slopes."""
    x = np.random.default_rng(0).normal(size=(J, 3, 4))
    params = moved(jax.jit(LearnedGraph().init)(jax.random.key(0), x), by=0.05)
    p = float64(params["params"])
    a = np.asarray(p["adjacency"])
    assert (a.sum(0) > 0).all()
    if sign < 0:
        a[:, 5] *= -1
    params = {"params": {**params["params"], "adjacency": np.float32(a)}}
    out, slopes = jax.jit(jax.value_and_grad(lambda p: jnp.square(LearnedGraph().apply(p, x)).sum()))(params)
    assert jnp.isfinite(out)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))
    if sign > 0:
        d = (a.sum(0) + 1e-5) ** -0.5
        s = np.diag(d) @ a @ np.diag(d)
        hidden = np.maximum(np.einsum("ij,jbc->ibc", s, x) @ p["hidden"]["kernel"] + p["hidden"]["bias"], 0)
        expected = np.einsum("ij,jbc->ibc", s, hidden) @ p["out"]["kernel"] + p["out"]["bias"]
        np.testing.assert_allclose(LearnedGraph().apply(params, x), expected, atol=1e-5)


@pytest.mark.parametrize("backend", ["cpu", "tpu"])
def test_leading_axes_are_free_in_the_form_of_each_device(params, apply, backend, monkeypatch):
    x, t = normal(2, 3, J, 5), jnp.float32(0.3)
    alone = [apply(params, x[index], t) for index in np.ndindex(2, 3)]
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    together = jax.jit(lambda x: SMALL.apply(params, x, t))(x)
    np.testing.assert_allclose(together.reshape(6, J, 5), alone, atol=1e-5)


def test_without_edges_of_its_own_it_knows_no_left_from_right(params, apply):
    """Swapping sides leaves the skeleton's graph as it is, so the network commutes with it until A_hat learns."""
    swap, t = np.arange(J), jnp.float32(0.3)
    swap[[*H36M_17.left, *H36M_17.right]] = [*H36M_17.right, *H36M_17.left]
    x = normal(J, 5)
    without = lambda path, leaf: jnp.eye(J) if path[-1].key == "adjacency" else leaf  # noqa: E731
    fresh = jax.tree_util.tree_map_with_path(without, params)
    np.testing.assert_allclose(apply(fresh, x[swap], t), apply(fresh, x, t)[swap], atol=1e-5)
    assert jnp.abs(apply(params, x[swap], t) - apply(params, x, t)[swap]).max() > 1e-2


def test_a_context_that_is_not_looked_at_changes_nothing(params, apply):
    """W [h, context] with W = [1, 0]: the original, exactly. With another W the context counts, joint by joint."""
    x, context, t = normal(3, J, 5), normal(3, J, 6, seed=3), jnp.float32(0.3)
    cond = Condition(x, x, context)
    shapes = jax.eval_shape(SMALL.init, jax.random.key(0), x, t, cond)["params"]
    assert shapes["trunk"].pop("context")["kernel"].shape == (8 + 6, 8)
    chex.assert_trees_all_equal_shapes(shapes, params["params"])

    def with_kernel(kernel):
        layer = {"kernel": kernel, "bias": jnp.zeros(8)}
        return {"params": {**params["params"], "trunk": {**params["params"]["trunk"], "context": layer}}}

    blind = with_kernel(jnp.eye(8 + 6, 8))
    np.testing.assert_array_equal(apply(blind, x, t, cond), apply(params, x, t))
    seeing = with_kernel(jnp.eye(8 + 6, 8).at[-1].set(1))
    assert jnp.abs(apply(seeing, x, t, cond) - apply(params, x, t)).max() > 1e-2
    repeated = Condition(x, x, np.broadcast_to(context[0], context.shape))
    shared = apply(seeing, x, t, Condition(x, x, context[0]))
    np.testing.assert_allclose(shared, apply(seeing, x, t, repeated), atol=1e-6)


def test_dropout_is_random_in_training_alone_and_0_switches_all_of_it_off(params, apply):
    x, t = normal(J, 5), jnp.float32(0.3)
    train = jax.jit(lambda key: SMALL.apply(params, x, t, train=True, rngs={"dropout": key}))
    one, other = train(jax.random.key(0)), train(jax.random.key(1))
    assert jnp.abs(one - other).max() > 1e-3
    calm = SMALL.clone(dropout=0.0)
    still = jax.jit(lambda key: calm.apply(params, x, t, train=True, rngs={"dropout": key}))(jax.random.key(0))
    np.testing.assert_allclose(still, apply(params, x, t), atol=1e-6)


def test_time_is_told_in_the_units_that_were_asked_for(params, apply):
    """Index 12 of 51 is t = 13 / 51: the same network in units of its own sees the same time."""
    x = normal(J, 5)
    by_index = jax.jit(SMALL.clone(time_units=51.0, time_shift=-1.0).apply)(params, x, jnp.float32(13 / 51))
    np.testing.assert_allclose(by_index, apply(params, x, jnp.float32(0.012)), atol=1e-5)
    assert jnp.abs(by_index - apply(params, x, jnp.float32(0.013))).max() > 1e-4
