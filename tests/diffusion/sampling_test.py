"""The sampling loop equals plain Python without jit, and itself under vmap, chunks, pmap and sharding."""

import re

import jax
import jax.numpy as jnp
import laws
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxpose.base import Prediction
from jaxpose.diffusion import dpmpp_2m, prior_sample, sample, sample_hypotheses, sub_vp, time_grid

SDE = sub_vp()
ORACLE = laws.oracle(laws.two_modes(), SDE)
SOLVER = dpmpp_2m(SDE, eta=1.0)
TIMES = time_grid(SDE, 5)
KEY = jax.random.key(7)


def start(key):
    return prior_sample(key, SDE, laws.SHAPE)


@jax.jit
def ten_hypotheses(key):
    return sample_hypotheses(key, 10, start, ORACLE, SOLVER, TIMES)


@jax.jit
def step(key, x, memory, t, s):
    return SOLVER.step(key, x, memory, t, s, lambda x, t: ORACLE(x, t))


def by_hand(key, x, project=lambda key, x, s: x):
    """The loop in plain Python: all states, and the prediction at the end."""
    memory, states = SOLVER.init(x), [project(jax.random.fold_in(key, len(TIMES) - 1), x, TIMES[0])]
    for i in range(len(TIMES) - 1):
        step_key, project_key = jax.random.split(jax.random.fold_in(key, i))
        x, memory = step(step_key, states[-1], memory, TIMES[i], TIMES[i + 1])
        states.append(project(project_key, x, TIMES[i + 1]))
    return np.stack(states), jax.jit(ORACLE)(states[-1], TIMES[-1]).x0


def halve_first(key, x, s):
    return x.at[0].set(0.5 * x[0] + s + 0.01 * jax.random.normal(key, x[0].shape))


@pytest.mark.parametrize(("project", "device"), [(None, "cpu"), (halve_first, "tpu"), (halve_first, "gpu")])
def test_scan_equals_plain_python(project, device, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: device)  # which has more steps in a turn
    x_init = start(jax.random.key(3))
    states, finished = by_hand(KEY, x_init, project or (lambda key, x, s: x))
    run = jax.jit(
        lambda **kw: sample(KEY, x_init, ORACLE, SOLVER, TIMES, project=project, unroll=True, **kw),
        static_argnames=["finish", "return_path"],
    )
    path = run(return_path=True)
    np.testing.assert_allclose(path[:-1], states[:-1], atol=2e-5)
    np.testing.assert_allclose(path[-1], finished, atol=2e-5)
    np.testing.assert_allclose(run(), finished, atol=2e-5)
    np.testing.assert_allclose(run(finish=False), states[-1], atol=2e-5)


def test_hypotheses_are_single_runs_of_their_own_keys():
    """vmap equals the loop."""
    many = ten_hypotheses(KEY)
    for h in (0, 3, 9):
        start_key, sample_key = jax.random.split(jax.random.fold_in(KEY, h))
        np.testing.assert_allclose(many[h], by_hand(sample_key, start(start_key))[1], atol=2e-5)


@pytest.mark.parametrize("chunk", [3, 64])
def test_chunks_do_not_change_the_hypotheses(chunk):
    got = jax.jit(lambda: sample_hypotheses(KEY, 10, start, ORACLE, SOLVER, TIMES, chunk=chunk))()
    assert got.shape == (10, *laws.SHAPE)
    np.testing.assert_allclose(got, ten_hypotheses(KEY), atol=1e-5)


def test_working_memory_stays_flat_as_hypotheses_grow():
    """What the compiled program needs beside its result: as much for 10,000 as for 500."""

    def wide(x, t, cond=None) -> Prediction:
        hidden = jnp.tanh(x.reshape(-1)[:, None] * jnp.arange(1.0, 1001.0))
        return ORACLE(x + 1e-6 * hidden.mean(), t)

    def working_memory(num, chunk):
        run = jax.jit(lambda key: sample_hypotheses(key, num, start, wide, SOLVER, TIMES, chunk=chunk))
        return run.lower(KEY).compile().memory_analysis().temp_size_in_bytes

    result = laws.SHAPE[0] * laws.SHAPE[1] * 4
    few, many = working_memory(500, 100), working_memory(10_000, 100)
    # the program may hold the result itself once more
    assert many - few <= 1.1 * (10_000 - 500) * result
    assert working_memory(10_000, None) > 20 * many


def test_what_depends_on_time_alone_is_not_batched():
    def with_time_features(x, t, cond=None) -> Prediction:
        return ORACLE(x + jnp.sin(t * jnp.ones(13)).mean(), t)

    program = str(jax.make_jaxpr(lambda: sample_hypotheses(KEY, 6, start, with_time_features, SOLVER, TIMES))())
    shapes = re.findall(r"f32\[([\d,]*)\] = sin ", program)
    assert shapes
    assert set(shapes) == {"13"}


@pytest.mark.parametrize("how", ["pmap", "sharding"])
def test_four_devices_give_the_result_of_one(how):
    devices = jax.devices()
    if len(devices) < 4:
        pytest.skip(f"needs 4 devices, got {len(devices)}: XLA_FLAGS was set before tests/conftest.py could")
    keys = jax.random.split(KEY, 8)

    def one(key):
        return sample(key, start(key), ORACLE, SOLVER, TIMES)

    single = jax.jit(jax.vmap(one))(keys)
    if how == "pmap":
        spread = jax.pmap(jax.vmap(one), devices=devices[:4])(keys.reshape(4, 2)).reshape(single.shape)
    else:
        rows = NamedSharding(Mesh(np.array(devices[:4]), ("batch",)), PartitionSpec("batch"))
        spread = jax.jit(jax.vmap(one), in_shardings=rows, out_shardings=rows)(keys)
        assert len({shard.device for shard in spread.addressable_shards}) == 4
    np.testing.assert_allclose(spread, single, atol=1e-5)


def test_state_keeps_its_precision_when_times_are_double(x64):
    x_init = jnp.ones(laws.SHAPE, jnp.float32)
    assert sample(KEY, x_init, ORACLE, SOLVER, time_grid(SDE, 2)).dtype == jnp.float32
