"""The step against a plain loop over examples, the average and the optimiser against their closed forms."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from shared import refuses
from training import tiny

from jaxpose.training import parallel
from jaxpose.training.parallel import make_runner
from jaxpose.training.step import init_state, make_optimizer, make_schedule, make_step, num_slices

NUM_STEPS = 5  # the length of a dispatch of tiny.train


@functools.cache
def reference():
    """NUM_STEPS of the same training written out: no vmap, no scan, one example after the other."""
    state, data, tx = tiny.start(), tiny.make_data(), tiny.make_tx()
    params, average, opt_state, losses = state.params, state.params, state.opt_state, []

    @jax.jit
    def one_gradient(params, n, i):
        key_data, key_loss = jax.random.split(jax.random.fold_in(jax.random.fold_in(state.key, n), i))
        example = tiny.example_fn(key_data, data)
        (loss, _), grad = jax.value_and_grad(tiny.loss_fn, has_aux=True)(params, key_loss, example)
        return loss, grad

    for n in range(NUM_STEPS):
        of_examples = [one_gradient(params, n, i) for i in range(tiny.BATCH)]
        losses.append(np.mean([loss for loss, _ in of_examples]))
        grads = jax.tree.map(lambda *g: np.mean(g, axis=0), *[grad for _, grad in of_examples])
        updates, opt_state = jax.jit(tx.update)(grads, opt_state, params)
        params = jax.tree.map(lambda p, u: np.asarray(p) + np.asarray(u), params, updates)
        d = min(0.99, (1 + n) / (10 + n))
        average = jax.tree.map(lambda a, p, d=d: d * np.asarray(a) + (1 - d) * p, average, params)
    return params, average, losses


@pytest.mark.parametrize(
    ("mode", "num_devices", "accumulate"),
    [("sharding", 1, 1), ("sharding", 1, 4), ("sharding", 2, 2), ("sharding", 4, 1), ("pmap", 2, 1), ("pmap", 4, 2)],
)
def test_devices_forms_and_slices_give_the_result_of_the_plain_loop(mode, num_devices, accumulate):
    assert jax.device_count() >= 4, "tests/conftest.py forces 4 CPU devices"
    state, found = tiny.train(tiny.runner_of(num_devices, mode, accumulate))
    params, average, losses = reference()
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    chex.assert_trees_all_close(state.params, params, rtol=1e-5, atol=2e-6)
    chex.assert_trees_all_close(state.ema_params, average, rtol=1e-5, atol=2e-6)
    assert int(state.step) == NUM_STEPS
    assert state.step.sharding.num_devices == num_devices


def test_a_divided_state_takes_its_part_of_the_mean_gradient(monkeypatch):
    monkeypatch.setattr(parallel, "_WORTH_DIVIDING", 8)
    runner = make_runner(tiny.builder(), devices=jax.devices()[:4], shard_state=True)
    state, found = tiny.train(runner)
    params, average, losses = reference()
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    chex.assert_trees_all_close(runner.local(state.params), params, rtol=1e-5, atol=2e-6)
    chex.assert_trees_all_close(runner.local(state.ema_params), average, rtol=1e-5, atol=2e-6)
    kernels = [x for x in jax.tree.leaves(state.params) if x.ndim == 2]
    assert not any(x.sharding.is_fully_replicated for x in kernels)
    program = runner.lower(runner.place(tiny.start()), runner.put(tiny.make_data())).as_text()
    assert program.count("reduce_scatter") >= len(kernels)


def test_a_batch_of_two_axes_as_on_a_tpu_gives_the_result_of_the_plain_loop(monkeypatch):
    monkeypatch.setattr("jaxpose.training.step._LANES", 2)
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    runner = make_runner(tiny.builder(), devices=jax.devices()[:1])
    assert "tensor<8x2x" in runner.lower(runner.place(tiny.start()), runner.put(tiny.make_data())).as_text()
    np.testing.assert_allclose(tiny.train(runner)[1], reference()[2], rtol=1e-5)


def test_mode_is_checked():
    refuses("'sharding', 'pmap'", make_runner, tiny.builder(), mode="threads")


def one_step_function(loss_fn, tx, params, **options):
    """(state, step) for a loss without data."""
    step = make_step(lambda key, data: (), loss_fn, tx, **({"batch_size": 4, "ema_decay": 0.9} | options))
    return init_state(jax.random.key(0), params, tx), jax.jit(step.whole)


def slope(params, key, example):
    return jnp.sum(params["w"]), {}


@pytest.mark.parametrize("warmup", [False, True])
def test_average_follows_its_closed_form(warmup):
    # The gradient is 1, so w_n = w_0 - lr n; without warm-up average - w = lr d (1 - d^n) / (1 - d).
    lr, d, n = 0.125, 0.9, 30
    state, step = one_step_function(slope, optax.sgd(lr), {"w": jnp.ones(3)}, ema_decay=d, ema_warmup=warmup)
    for _ in range(n):
        state, _ = step(state, ())
    np.testing.assert_allclose(state.params["w"], 1 - lr * n, rtol=1e-6)
    if warmup:
        # Products of the decays d_k = min(d, (1 + k) / (10 + k)) weigh what each step added.
        decays = np.minimum(d, (1 + np.arange(n)) / (10 + np.arange(n)))
        behind = lr * sum(np.prod(decays[k:]) for k in range(n))
    else:
        behind = lr * d * (1 - d**n) / (1 - d)
    np.testing.assert_allclose(state.ema_params["w"] - state.params["w"], behind, rtol=1e-5)


def test_schedule_values():
    cosine = make_schedule(2.0, warmup_steps=10, total_steps=110)
    at = [0, 5, 10, 35, 60, 110, 500]
    found, expected = [cosine(jnp.asarray(n)) for n in at], [0, 1, 2, 1 + np.cos(np.pi / 4), 1, 0, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    constant = make_schedule(2.0, warmup_steps=10, total_steps=110, schedule="constant")
    np.testing.assert_allclose([constant(jnp.asarray(n)) for n in at], [0, 1, 2, 2, 2, 2, 2], rtol=1e-6)
    steps = make_schedule(2.0, warmup_steps=10, total_steps=110, schedule="steps", decay=0.5, decay_every=25)
    np.testing.assert_allclose([steps(jnp.asarray(n)) for n in at], [0, 1, 2, 1, 0.5, 0.125, 2 * 0.5**19], rtol=1e-6)
    assert make_schedule(2.0, warmup_steps=0, total_steps=10)(jnp.asarray(0)) == 2.0
    refuses("warmup_steps must lie in", make_schedule, 1.0, warmup_steps=11, total_steps=10)
    refuses("one of cosine, constant, steps", make_schedule, 1.0, warmup_steps=1, total_steps=10, schedule="linear")


@pytest.mark.parametrize(("clip", "expected"), [(0.5, 0.5), (5.0, 2.0), (None, 2.0)])
def test_clipping_bounds_the_gradient_that_adam_sees(clip, expected):
    tx = make_optimizer(make_schedule(0.1, warmup_steps=0, total_steps=10), clip_norm=clip)
    state, step = one_step_function(slope, tx, {"w": jnp.zeros(4)})  # |gradient| = 2
    state, metrics = step(state, ())
    memory = optax.tree_utils.tree_get(state.opt_state, "mu")
    np.testing.assert_allclose(optax.tree_utils.tree_norm(memory) / 0.1, expected, rtol=1e-6)  # 1 - Adam's b1
    np.testing.assert_allclose(metrics["grad_norm"], 2.0, rtol=1e-6)


def test_only_matrices_decay():
    tx = make_optimizer(lambda _: 0.1, weight_decay=0.5)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.05, rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], 0)


def test_bfloat16_reaches_the_layers_and_nothing_else():
    seen = {}

    class Watched(nn.Module):
        @nn.compact
        def __call__(self, x, t):
            seen["inputs"] = x.dtype, t.dtype
            h = nn.GroupNorm(2, reduction_axes=(-1,))(nn.Dense(8)(x))
            seen["hidden"] = h.dtype
            return nn.Dense(2)(h)

    def loss_fn(params, key, example):
        out = Watched().apply(params, example, jnp.float32(0.3))
        seen["weights"], seen["out"] = params["params"]["Dense_0"]["kernel"].dtype, out.dtype
        return jnp.sum((out - example[:2]) ** 2), {}

    params = Watched().init(jax.random.key(0), jnp.ones(3), jnp.ones(()))
    tx = optax.sgd(0.1)
    options = {"batch_size": 8, "ema_decay": 0.9, "compute_dtype": jnp.bfloat16}
    step = make_step(lambda key, data: jax.random.normal(key, (3,)), loss_fn, tx, **options)
    state, metrics = jax.jit(step.whole)(init_state(jax.random.key(0), params, tx), ())
    half = jnp.dtype(jnp.bfloat16)
    assert seen == {"inputs": (jnp.float32, jnp.float32), "hidden": half, "weights": half, "out": half}
    assert {leaf.dtype for leaf in jax.tree.leaves((state.params, metrics))} == {jnp.dtype(jnp.float32)}


def test_bfloat16_trains_close_to_float32():
    full, full_losses = tiny.train(tiny.runner_of(), 8)
    half, half_losses = tiny.train(tiny.runner_of(1, "sharding", 1, jnp.bfloat16), 8)
    np.testing.assert_allclose(half_losses, full_losses, rtol=0.05)
    moved = jax.tree.map(jnp.subtract, full.params, tiny.start().params)
    apart = jax.tree.map(jnp.subtract, full.params, half.params)
    assert 0 < optax.tree_utils.tree_norm(apart) < 0.1 * optax.tree_utils.tree_norm(moved)


def test_what_cannot_be_averaged_is_refused():
    tx, params = optax.sgd(0.1), {"w": jnp.ones(2)}
    with pytest.raises(ValueError, match=r"multiple of num_shards \* accumulate = 2 \* 3, got 16"):
        make_step(None, None, tx, batch_size=16, ema_decay=0.9, num_shards=2, accumulate=3)
    state, step = one_step_function(lambda p, key, example: (p["w"], {}), tx, params)
    refuses(r"loss of one example must be a scalar, got shape \(2,\)", step, state, ())
    state, step = one_step_function(lambda p, key, example: (p["w"][0], {"loss": p["w"][0]}), tx, params)
    refuses("must not be named", step, state, ())


@pytest.mark.parametrize(("share", "slices"), [(4096, 16), (768, 3), (100, 1), (257, 1), (600, 3)])
def test_slices_of_a_cpu_stay_in_the_cache(share, slices):
    """As large as 256 examples allow; where only tiny ones divide the share (257 is prime), none."""
    assert num_slices(share) == slices
