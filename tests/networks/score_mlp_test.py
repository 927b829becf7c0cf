"""The score network: what it may and may not depend on, and GFPose's size."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shared import refuses

from jaxpose.base import Condition
from jaxpose.networks.layers import CentredDense, GroupNorm, silu, silu_for_reverse
from jaxpose.networks.score_mlp import ScoreMLP

SMALL = {"hidden": 64, "time_width": 32, "num_groups": 8}


def example(key, *lead):
    x, value = jax.random.normal(key, (2, *lead, 17, 3))
    mask = jax.random.bernoulli(key, 0.7, (*lead, 17, 1)).astype(jnp.float32) * jnp.ones((17, 3))
    return x, Condition(value, mask, jnp.ones((*lead, 17)))


def pick(cond, i, j):
    return jax.tree.map(lambda c: c[i, j], cond)


def drawn(net, x, cond):
    """Parameters away from their start, without compiling it: deviation 1 / sqrt(inputs), scales near 1."""
    rng = np.random.default_rng(1)

    def draw(path, leaf):
        inputs = leaf.shape[0] if leaf.ndim > 1 else 400
        return np.float32((path[-1].key == "scale") + rng.normal(size=leaf.shape) / inputs**0.5)

    shapes = jax.eval_shape(net.init, jax.random.key(1), x, jnp.float32(0.3), cond)
    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.fixture(scope="module", params=[False, True], ids=["observation", "difference"])
def bound(request):
    net = ScoreMLP(**SMALL, encoder_blocks=1, difference=request.param)
    params = drawn(net, *example(jax.random.key(0)))
    return jax.jit(lambda x, t, cond: net.apply(params, x, t, cond))


def test_leading_axes_do_not_mix(bound):
    """GroupNorm of several leading axes must not share statistics between poses."""
    x, cond = example(jax.random.key(2), 2, 3)
    t = jnp.float32(0.4)
    together = bound(x, t, cond)
    alone = [[bound(x[i, j], t, pick(cond, i, j)) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(together, np.array(alone), atol=2e-5)


def test_a_hidden_value_never_reaches_the_network(bound):
    x, cond = example(jax.random.key(4))
    noisy = cond._replace(value=jnp.where(cond.mask > 0, cond.value, 1e3))
    np.testing.assert_array_equal(bound(x, jnp.float32(0.2), cond), bound(x, jnp.float32(0.2), noisy))


def test_output_depends_on_state_time_condition_and_mask(bound):
    x, cond = example(jax.random.key(5))
    base = bound(x, jnp.float32(0.2), cond)
    others = [
        bound(x + 0.1, jnp.float32(0.2), cond),
        bound(x, jnp.float32(0.21), cond),
        bound(x, jnp.float32(0.2), cond._replace(value=cond.value + 0.1)),
        bound(x, jnp.float32(0.2), cond._replace(mask=cond.mask.at[3].set(1 - cond.mask[3]))),
    ]
    assert all(float(jnp.abs(base - o).max()) > 1e-3 for o in others)


def test_dropout_is_the_only_randomness():
    net = ScoreMLP(**SMALL, dropout=0.5)
    x, cond = example(jax.random.key(6))
    params = drawn(net, x, cond)
    run = jax.jit(
        lambda seed: net.apply(params, x, jnp.float32(0.3), cond, train=True, rngs={"dropout": jax.random.key(seed)})
    )
    np.testing.assert_array_equal(run(0), run(0))
    assert float(jnp.abs(run(0) - run(1)).max()) > 1e-3


def test_without_a_condition_the_branch_is_gone():
    net = ScoreMLP()
    x = jnp.zeros((17, 3))
    params = jax.eval_shape(lambda: net.init(jax.random.key(0), x, jnp.float32(0.3)))
    matrices = sum(p.size for p in jax.tree.leaves(params) if p.ndim == 2)
    # A0, four A, A_out, the time layer and its five projections, at GFPose's widths (spec/gfpose.md, section 1).
    assert matrices == 51 * 1024 * 2 + 4 * 1024**2 + 512**2 + 5 * 512 * 1024


def test_group_norm_is_flax_s_over_the_last_axis():
    x = 3 * jax.random.normal(jax.random.key(0), (5, 4, 64)) + 1
    ours, flax_own = GroupNorm(8), nn.GroupNorm(8, epsilon=1e-5, reduction_axes=(-1,))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda p: rng.normal(1, 1, p.shape), jax.eval_shape(ours.init, jax.random.key(1), x))
    np.testing.assert_allclose(jax.jit(ours.apply)(params, x), jax.jit(flax_own.apply)(params, x), atol=2e-5)
    refuses("divisible by 5 groups, got 64", GroupNorm(5).init, jax.random.key(0), x)


@pytest.mark.parametrize("backend", ["cpu", "gpu", "tpu"])
def test_a_centred_layer_and_its_norm_are_flax_s_layer_and_norm_in_the_form_of_each_device(backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    x = jax.random.normal(jax.random.key(0), (5, 4, 24))
    ours, flax_own = CentredDense(64, 8), nn.Dense(64)
    params = jax.tree.map(lambda p: p + 0.3, jax.jit(ours.init)(jax.random.key(1), x))
    norm, flax_norm = GroupNorm(8, centred=True), nn.GroupNorm(8, epsilon=1e-5, reduction_axes=(-1,))

    @jax.jit
    def both(scale, params, narrow):
        return flax_norm.apply(scale, flax_own.apply(params, x)), *(
            norm.apply(scale, ours.apply(p, x)) for p in (params, narrow)
        )

    scale = {"params": {"scale": jnp.linspace(0.5, 2, 64), "bias": jnp.linspace(-1, 1, 64)}}
    narrow = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    expected, found, rounded = both(scale, params, narrow)
    np.testing.assert_allclose(found, expected, atol=5e-5)
    # bfloat16 weights: factors rounded to 8 bits, sums and output in float32
    assert jax.eval_shape(ours.apply, narrow, x).dtype == jnp.float32
    assert 0 < float(jnp.sqrt(jnp.mean((rounded - expected) ** 2))) < 0.01


def test_a_difference_alone_takes_no_condition_for_a_null_one():
    net = ScoreMLP(**SMALL, difference=True, explicit=False)
    x, cond = example(jax.random.key(7), 4)
    params = net.init(jax.random.key(1), x, jnp.float32(0.3))
    params = jax.tree.map(lambda p: p + 0.05 * jax.random.normal(jax.random.key(p.size), p.shape), params)
    run = jax.jit(lambda cond: net.apply(params, x, jnp.float32(0.3), cond))
    null = run(cond._replace(mask=jnp.zeros_like(cond.mask)))
    np.testing.assert_allclose(run(None), null, atol=1e-6)
    assert float(jnp.abs(run(cond) - null).max()) > 1e-3
    refuses("difference=True", ScoreMLP(**SMALL, explicit=False).init, jax.random.key(0), x[0], jnp.float32(0.3), cond)


def test_dposers_output_scale_is_a_falling_table_of_a_thousand_levels():
    """spec/dposer.md, section 1: 1 / s is 0.0200 at t = 0, 0.0304 at 0.05, 1.41 at 0.5, 42.6 at 0.9, 100 at 1."""
    plain, scaled = (ScoreMLP(**SMALL, time_units=999.0, ve_output_scale=scale) for scale in (False, True))
    x = jax.random.normal(jax.random.key(0), (21, 3))
    params = plain.init(jax.random.key(1), x, jnp.float32(0.3))

    @jax.jit
    def ratio(t):
        return (scaled.apply(params, x, t) / plain.apply(params, x, t)).mean()

    found = [ratio(jnp.float32(t)) for t in (0, 0.05, 0.1, 0.5, 0.9, 1)]
    np.testing.assert_allclose(found, [0.0200, 0.0304, 0.0465, 1.41, 42.6, 100], rtol=3e-3)
    # one level from label 300 up to 301, 0.856 % to the next
    same = ratio(jnp.float32(300.9 / 999)) / ratio(jnp.float32(300.1 / 999))
    next_level = ratio(jnp.float32(301.1 / 999)) / ratio(jnp.float32(300.9 / 999))
    np.testing.assert_allclose([same, next_level], [1, 1.00856], rtol=1e-5)


def test_derivatives_of_training_are_those_of_autodiff(x64):
    """The norm and SiLU of a loss have rules of their own; the forms without them are differentiated here."""
    x = 2 * jax.random.normal(jax.random.key(0), (5, 64))
    weight = jax.random.normal(jax.random.key(1), x.shape)
    norm = GroupNorm(8, centred=True)
    params = norm.init(jax.random.key(2), x)

    def gradient(train):
        act = silu_for_reverse if train else silu
        return jax.grad(lambda x, p: (weight * act(norm.apply(p, x, train=train))).sum(), (0, 1))(x, params)

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), gradient(True), gradient(False))
