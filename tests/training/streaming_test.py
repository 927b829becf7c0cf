"""Training from rows on disk against the same rows in memory, for any dispatch, resume and number of devices."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training import tiny

from jaxpose.training.loop import fit
from jaxpose.training.parallel import make_runner
from jaxpose.training.step import make_step
from jaxpose.training.streaming import Stream

X = np.asarray(jax.random.normal(jax.random.key(5), (40, 3)))


def rows_of(key, resident):
    return jax.random.randint(key, (2,), 0, resident["num"])


def example_of(first, second):
    x = first + 0.1 * second
    return x, jnp.sin(2 * x[:2])


def streamed(key, data):
    first, second = data.rows["x"]
    return example_of(first, second)


def resident(key, data):
    return example_of(*data["x"][rows_of(key, data)])


def stream(reads=None):
    def read(rows):
        if reads is not None:
            reads.append(rows)
        return {"x": X[rows]}

    return Stream({"num": jnp.int32(40)}, rows_of, read)


@functools.cache
def runner_of(example, num_devices=1, max_steps=4):
    build = functools.partial(make_step, example, tiny.loss_fn, tiny.make_tx(), batch_size=tiny.BATCH, ema_decay=0.99)
    return make_runner(build, devices=jax.devices()[:num_devices], max_steps=max_steps)


def run(workdir, total, example=streamed, data=None, **how):
    runner = runner_of(example, **how)
    data = stream() if data is None else data
    options = {"total_steps": total, "log_every": 5, "checkpoint_every": 7}
    return fit(tiny.start(), runner, data, workdir=workdir, **options)


@pytest.fixture(scope="module")
def in_memory(tmp_path_factory):
    data = {"x": jnp.asarray(X), "num": jnp.int32(40)}
    return run(tmp_path_factory.mktemp("memory"), 17, resident, data)


@pytest.mark.parametrize(("num_devices", "max_steps"), [(1, 4), (1, 3), (4, 4)])
def test_rows_on_disk_train_as_the_same_rows_in_memory(tmp_path, in_memory, num_devices, max_steps):
    found = run(tmp_path, 17, num_devices=num_devices, max_steps=max_steps)
    chex.assert_trees_all_close(found.params, in_memory.params, rtol=1e-5, atol=2e-6)


def test_a_resumed_run_reads_the_same_rows_and_ends_alike(tmp_path):
    whole = run(tmp_path / "whole", 17)
    run(tmp_path / "parts", 9)
    parts = run(tmp_path / "parts", 17)
    chex.assert_trees_all_equal(whole.params, parts.params)
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "parts")]
    assert lines[0] == lines[1]


def test_each_step_is_read_once():
    reads = []
    runner = runner_of(streamed)
    state, data = runner.place(tiny.start()), runner.put(stream(reads))
    for num in (1, 4, 2):
        state, _ = runner.run(state, data, num)
    assert int(state.step) == 7
    key, expected = tiny.start().key, []
    for n in range(7):
        keys = [jax.random.split(jax.random.fold_in(jax.random.fold_in(key, n), i))[0] for i in range(tiny.BATCH)]
        expected.append(np.array([rows_of(k, {"num": 40}) for k in keys]))
    np.testing.assert_array_equal(reads[:7], expected)
