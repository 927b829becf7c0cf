"""Cases of `experiments.benchmark`: training steps, scaling over devices, and what an import costs.

A CPU shows as many devices as XLA_FLAGS=--xla_force_host_platform_device_count says, before JAX starts: such rows are
runs of the same command in another process, whose JSON lines are read. With several real devices `scaling` takes the
first 1, 2, 4, ... of them.
"""

import dataclasses
import functools
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark import timing
from experiments.benchmark.ratios import rows_of
from experiments.benchmark.sampling import sampling
from experiments.models.pose17 import config as pose17
from experiments.models.score import make_loss
from jaxpose import model as released
from jaxpose.base import Array
from jaxpose.conditioning import MaskRates
from jaxpose.examples.bodies import Bodies
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import pose_example
from jaxpose.training.parallel import make_runner
from jaxpose.training.step import init_state, make_optimizer, make_schedule, make_step

_STARTS = 5  # processes that import; the median counts
_COUNTS = (1, 2, 4)  # devices
_FORCED = "--xla_force_host_platform_device_count"
_IMPORTS = """
import time
a = time.perf_counter()
import jax, flax
b = time.perf_counter()
import jaxpose
print(b - a, time.perf_counter() - b)
"""


def training(setup: timing.Setup) -> list[timing.Row]:
    """A step of pose17's loss on random bodies, data made in the step, as `experiments.train` runs it.

    share_of_product_rate: of the products of one gradient, forward and backward. share_of_step_making_data: the time of
    the making alone over that of the step. On a CPU of one device a second row has a forced device for each core.
    """
    rows = [_training_row(setup)]
    cores = timing.num_cores()
    forced = _FORCED in os.environ.get("XLA_FLAGS", "")
    if jax.default_backend() == "cpu" and not forced and cores > 1:
        rows += in_process(setup, "training", cores)
    return rows


def scaling(setup: timing.Setup) -> list[timing.Row]:
    """Scaling of training and of lifting over 1, 2 and 4 devices.

    strong: one batch for all; speedup is seconds of one device over seconds. weak: a batch for each device;
    efficiency is seconds of one device over seconds. On a CPU the devices are forced and have one thread each, so that
    there is something to gain up to the number of cores.
    """
    rows = []
    for kind in ("strong", "weak"):
        rows += _scaling_rows(setup, kind)
    return rows


def _scaling_rows(setup: timing.Setup, kind: str) -> list[timing.Row]:
    cores = timing.num_cores()
    on_cpu = jax.default_backend() == "cpu"
    counts = [n for n in _COUNTS if on_cpu or n <= jax.device_count()]
    seconds_of: dict[int, dict[str, float]] = {}
    for n in counts:
        sized = setup if kind == "strong" else _times_batch(setup, n)
        if on_cpu:
            lines = in_process(sized, "training", n, threads=1) + in_process(sized, "sampling", n, threads=1)
        else:
            with timing.first_devices(n):
                lines = [_training_row(sized), *sampling(sized)]
        seconds_of[n] = {"training": lines[0].figures["seconds"], "sampling": lines[1].figures["seconds"]}
    rows = []
    for n, seconds in seconds_of.items():
        figures: dict[str, float] = {"devices": n}
        gain = "speedup" if kind == "strong" else "efficiency"
        for name, value in seconds.items():
            figures |= {f"{name}_seconds": value, f"{name}_{gain}": seconds_of[counts[0]][name] / value}
        ratios = tuple(f"{name}_{gain}" for name in seconds) if 1 < n <= (cores if on_cpu else n) else ()
        weak = "" if kind == "strong" else ", weak"
        rows.append(timing.Row("scaling", f"{n} device{'s' * (n > 1)}{weak}", figures, higher=ratios))
    return rows


def _times_batch(setup: timing.Setup, n: int) -> timing.Setup:
    """The sizes with `n` times the batch of training and of lifting."""
    sizes = setup.sizes
    return setup._replace(sizes=dataclasses.replace(sizes, train_batch=n * sizes.train_batch, batch=n * sizes.batch))


def startup(setup: timing.Setup) -> list[timing.Row]:
    """Seconds of `import jaxpose` in a new process once jax and flax are imported; 0.3 are asked for."""
    del setup
    runs = []
    for _ in range(_STARTS + 1):
        done = subprocess.run(
            [sys.executable, "-c", _IMPORTS], capture_output=True, text=True, encoding="utf-8", check=True
        )
        runs.append([float(x) for x in done.stdout.split()])
    base, beyond = np.array(runs[1:]).T
    figures = {
        "jax_and_flax_seconds": float(np.median(base)),
        "jaxpose_beyond_seconds": float(np.median(beyond)),
        "beyond_over_jax_and_flax": float(np.median(beyond / base)),
    }
    return [timing.Row("startup", "", figures, lower=("beyond_over_jax_and_flax",))]


def in_process(setup: timing.Setup, case: str, num: int, *, threads: int | None = None) -> list[timing.Row]:
    """Rows of a case of this command in a new process with `num` forced CPU devices."""
    kept = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if not flag.startswith(_FORCED)]
    environment = {**os.environ, "XLA_FLAGS": " ".join([*kept, f"{_FORCED}={num}"]), "JAX_PLATFORMS": "cpu"}
    if threads:
        environment["NPROC"] = str(threads)
    passed_on = ("repeats", "train_batch", "accumulate", "train_dtype", "model", "batch", "hypotheses")
    command = [sys.executable, "-m", "experiments.benchmark", f"--case={case}"]
    command += [f"--{name}={getattr(setup.sizes, name)}" for name in passed_on]
    how: dict[str, Any] = {"capture_output": True, "text": True, "encoding": "utf-8"}
    done = subprocess.run(command, **how, env=environment, cwd=Path(__file__).parents[2], check=False)
    if done.returncode:
        raise ValueError(f"{case} on {num} devices: exit status {done.returncode}: {done.stderr[-500:]}")
    return rows_of(done.stdout)


def random_bodies(model: released.Model, num: int) -> Bodies:
    """A data set of `num` random poses of the model's mean and spread: a step takes as long whatever is learned."""
    mean, std, spread = model.statistics
    joints = jnp.asarray(mean) + std * spread * jax.random.normal(jax.random.key(0), (num, *mean.shape))
    upright = joints * jnp.array([1.0, -1.0, -1.0])  # y up
    return Bodies(upright, jnp.arange(1.0, num + 1), model.statistics)


def _training_row(setup: timing.Setup) -> timing.Row:
    model, config, batch = setup.model, pose17.get_config(), setup.sizes.train_batch
    view, masks = ViewRates(**config.view), MaskRates(**config.masks)
    bodies = random_bodies(model, 64)
    tx = make_optimizer(make_schedule(1e-3, warmup_steps=1, total_steps=10))

    def example(key: Array, data: Any) -> Any:
        return pose_example(key, data, view, masks)

    build = functools.partial(
        make_step,
        example,
        make_loss(model.spec, config.loss, bodies.statistics.spread),
        tx,
        batch_size=batch,
        ema_decay=0.999,
        accumulate=setup.sizes.accumulate,
        compute_dtype=None if setup.sizes.train_dtype == "float32" else jnp.dtype(setup.sizes.train_dtype),
    )
    runner = make_runner(build, devices=timing.devices())
    state, data = runner.place((init_state(jax.random.key(0), model.params, tx), bodies))
    keys = timing.over_devices(jax.random.split(jax.random.key(1), batch))
    made = jax.jit(jax.vmap(lambda k, data: example(k, data), in_axes=(0, None)))

    def step() -> Any:
        nonlocal state
        state, metrics = runner.run(state, data, 1)
        return metrics

    started = time.perf_counter()
    jax.block_until_ready(step())
    first = time.perf_counter() - started
    peak = timing.peak_rss_mb(step)
    products = timing.product_runs(model.spec.network.hidden, setup.sizes.train_dtype, len(timing.devices()))
    times = timing.interleaved(setup.sizes.repeats, step, lambda: made(keys, data), *(run for run, _ in products))
    product = np.max([work / t for (_, work), t in zip(products, times[2:], strict=True)], 0)
    work = timing.training_operations(model.params, examples=batch, draws=config.loss.num_draws)
    seconds = float(np.median(times[0]))
    figures = {
        "batch": batch,
        "accumulate": setup.sizes.accumulate,
        "draws_per_example": config.loss.num_draws,
        "devices": len(timing.devices()),
        "seconds": seconds,
        "examples_per_second": batch / seconds,
        "gflops": work / seconds / 1e9,
        "product_gflops": float(np.median(product)) / 1e9,
        "share_of_product_rate": float(np.median(work / times[0] / product)),
        "share_of_step_making_data": float(np.median(times[1] / times[0])),
        "compile_and_first_seconds": first,
        "peak_rss_mb": peak,
    }
    setting = f"{len(timing.devices())} device{'s' * (len(timing.devices()) > 1)}, {setup.sizes.train_dtype}"
    return timing.Row("training", setting, figures, ("share_of_product_rate",), ("share_of_step_making_data",))
