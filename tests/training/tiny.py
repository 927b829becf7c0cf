"""A small regression to train in tests: in this process, or as a process of its own that a test may kill.

python tiny.py WORKDIR TOTAL_STEPS MAX_STEPS CHECKPOINT_EVERY [INDEX NUM_PROCESSES PORT [shard [late]]]
"""

import functools
import sys
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.training import parallel, processes
from jaxpose.training.loop import fit
from jaxpose.training.parallel import make_runner
from jaxpose.training.step import init_state, make_optimizer, make_schedule, make_step

BATCH = 16


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        h = jnp.tanh(nn.Dense(12)(x))
        return nn.Dense(2)(nn.Dropout(0.2, deterministic=False)(h))


def make_data():
    return {"x": jax.random.normal(jax.random.key(5), (40, 3))}


def example_fn(key, data):
    x = data["x"][jax.random.randint(key, (), 0, 40)]
    return x, jnp.sin(2 * x[:2])


def loss_fn(params, key, example):
    x, y = example
    error = Net().apply(params, x, rngs={"dropout": key}) - y
    return jnp.sum(error**2), {"largest": jnp.max(jnp.abs(error))}


def make_tx():
    return make_optimizer(make_schedule(3e-3, warmup_steps=5, total_steps=10_000), weight_decay=1e-2)


def start(seed=7):
    params = Net().init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, jnp.zeros(3))
    return init_state(jax.random.key(seed), params, make_tx())


def builder(**options):
    options = {"batch_size": BATCH, "ema_decay": 0.99} | options
    return functools.partial(make_step, example_fn, loss_fn, make_tx(), **options)


def runner_of(num_devices=1, mode="sharding", accumulate=1, compute_dtype=None, max_steps=100, shard_state=False):
    """Shared by the tests, so that each compiles once."""
    return _runner(num_devices, mode, accumulate, compute_dtype, max_steps, shard_state)


@functools.cache
def _runner(num_devices, mode, accumulate, compute_dtype, max_steps, shard_state):
    build = builder(accumulate=accumulate, compute_dtype=compute_dtype)
    devices = jax.devices()[:num_devices] if num_devices else None
    return make_runner(build, mode=mode, devices=devices, max_steps=max_steps, shard_state=shard_state)


def train(runner, num_dispatches=1):
    """State and losses after dispatches of 5 steps."""
    state, data, losses = runner.place(start()), runner.put(make_data()), []
    for _ in range(num_dispatches):
        state, metrics = runner.run(state, data, 5)
        losses += metrics["loss"].tolist()
    return state, losses


def weight_sum(state):
    return {"weight_sum": sum(float(np.sum(leaf)) for leaf in jax.tree.leaves(state.ema_params))}


def run(workdir, total_steps, max_steps=5, checkpoint_every=5, runner=None, evaluate=weight_sum):
    return fit(
        start(),
        runner or runner_of(max_steps=max_steps),
        make_data(),
        workdir=workdir,
        total_steps=total_steps,
        log_every=7,
        checkpoint_every=checkpoint_every,
        eval_every=20,
        evaluators={"val": evaluate},
        meta={"seed": 7},
    )


def slow_weight_sum(state):
    """Leaves a busy machine the time to kill this process before it is done."""
    time.sleep(0.3)
    return weight_sum(state)


def main(workdir, total_steps, max_steps, checkpoint_every, index=0, num_processes=1, port=0, shard="", late=""):
    """As a command: errors of the run become one line. late: what the last process comes too late for gloo to."""
    if int(num_processes) > 1:
        processes.join("tiny", f"localhost:{port}", int(num_processes), int(index))
    if shard:
        parallel._WORTH_DIVIDING = 2
    num_devices = 0 if int(num_processes) > 1 else 1
    runner = runner_of(num_devices, max_steps=int(max_steps), shard_state=bool(shard))
    delay = 40 if int(index) == int(num_processes) - 1 else 0  # gloo waits 30 s
    with processes.as_one("tiny"):
        if late == "first save":
            time.sleep(delay)
        if late == "first step":
            compile = runner.compile
            runner = runner._replace(compile=lambda *given: (time.sleep(delay), compile(*given)))
        run(workdir, int(total_steps), int(max_steps), int(checkpoint_every), runner, slow_weight_sum)


if __name__ == "__main__":
    main(*sys.argv[1:])
