"""The transformer over frames, beside the same computation in numpy, and what its attention is blind to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose.networks.frame_transformer import FrameTransformer

FRAMES, JOINTS, HEADS = 7, 3, 2
SMALL = FrameTransformer(FRAMES, width=4, hidden=8, depth=2, num_heads=HEADS)


@pytest.fixture(scope="module")
def drawn():
    x = jax.random.normal(jax.random.key(0), (2, FRAMES, JOINTS, 6))
    params = SMALL.init(jax.random.key(1), x)
    keys = iter(jax.random.split(jax.random.key(2), 100))
    return x, jax.tree.map(lambda p: p + 0.3 * jax.random.normal(next(keys), p.shape), params)


def in_numpy(params, x):
    """One clip [F, J, C] by loops over heads and pairs of frames."""
    p = jax.tree.map(np.float64, params["params"])
    linear = lambda z, of: z @ of["kernel"] + of["bias"]  # noqa: E731
    silu = lambda z: z / (1 + np.exp(-z))  # noqa: E731

    def normed(z, of):
        groups = z.reshape(len(z), HEADS, -1)
        groups = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + 1e-5)
        return groups.reshape(z.shape) * of["scale"] + of["bias"]

    z = linear(np.float64(x).reshape(len(x), -1), p["in"])
    for layer in range(SMALL.depth):
        attention, n = p[f"attention{layer}"], normed(z, p[f"attention_norm{layer}"])
        q, k, v = np.split(linear(n, attention["query_key_value"]), 3, -1)
        told, size = np.zeros_like(q), q.shape[-1] // HEADS
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            for f in range(len(x)):
                weight = [q[f, part] @ k[g, part] / np.sqrt(size) + attention["bias"][head, f - g + FRAMES - 1]
                          for g in range(len(x))]  # fmt: skip
                weight = np.exp(weight)
                told[f, part] = weight @ v[:, part] / weight.sum()
        z = z + linear(told, attention["out"])
        z = z + linear(silu(linear(normed(z, p[f"norm{layer}"]), p[f"up{layer}"])), p[f"down{layer}"])
    features = silu(linear(normed(z, p["last_norm"]), p["features"])).reshape(len(x), JOINTS, -1)
    return np.stack([features[:, j] @ p["head"][j] for j in range(JOINTS)], 1), features


@pytest.mark.parametrize("frames", [FRAMES, 4])
def test_pose_and_features_are_those_of_numpy(drawn, frames):
    x, params = drawn
    pose, features = jax.jit(SMALL.apply)(params, x[:, :frames])
    for clip in range(2):
        for ours, theirs in zip((pose[clip], features[clip]), in_numpy(params, x[clip, :frames]), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=2e-5)


def test_training_computes_the_same(drawn):
    x, params = drawn
    value = lambda p, train: jnp.square(SMALL.apply(p, x, train=train)[0]).sum()  # noqa: E731
    both = [jax.grad(value)(params, train) for train in (False, True)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * abs(a).max()), *both)


def test_a_clip_backwards_with_the_distances_turned_gives_the_poses_backwards(drawn):
    x, params = drawn
    turned = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf[:, ::-1] if path[-1].key == "bias" and leaf.shape == (HEADS, 2 * FRAMES - 1) else leaf,
        params,
    )
    pose = jax.jit(SMALL.apply)(params, x)[0]
    np.testing.assert_allclose(SMALL.apply(turned, x[:, ::-1])[0][:, ::-1], pose, atol=1e-4)
    assert abs(SMALL.apply(params, x[:, ::-1])[0][:, ::-1] - pose).max() > 1e-2


def test_a_longer_clip_than_the_network_has_frames_is_refused(drawn):
    with pytest.raises(ValueError, match="a network of 7 frames got 8"):
        SMALL.apply(drawn[1], jnp.zeros((8, JOINTS, 6)))
