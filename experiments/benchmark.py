"""How fast, and how near to what the machine can do.

    python -m experiments.benchmark [--case=sampling --case=memory --case=group_norm --case=training]

One table row and one JSON line per case: compile time apart from run time, medians of interleaved runs, and beside
each throughput the ceiling measured in the same run. Operations are counted from the network's own matrices: what
is shared (time features by all poses, the condition branch by the hypotheses of a pose) is counted once.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging

from jaxpose import model as released
from jaxpose.networks.layers import GroupNorm
from jaxpose.tasks.lift import jitted_lift

MODEL = flags.DEFINE_string("model", "pose17", "Model of the sampling and memory cases.")
REPEATS = flags.DEFINE_integer("repeats", 5, "Timed runs of each case; the median counts.", lower_bound=1)
HYPOTHESES = flags.DEFINE_integer("hypotheses", 200, "Hypotheses of the sampling case.", lower_bound=1)
BATCH = flags.DEFINE_integer("batch", 64, "Poses of the sampling case.", lower_bound=1)


def sampling(model: released.Model) -> dict[str, Any]:
    """Poses a second of `lift`, and its share of the matrix-product rate at the network's own width."""
    steps, num, batch = model.spec.num_steps, HYPOTHESES.value, BATCH.value
    inputs = example_inputs(batch)
    width = model.spec.network.hidden
    square = jax.random.normal(jax.random.key(0), (width, width)) / width**0.5
    products = jax.jit(lambda a: jax.lax.scan(lambda a, _: (a @ square, None), a, length=50)[0])
    few, many = (jax.random.normal(jax.random.key(1), (rows, width)) for rows in (2048, 8192))
    started = time.perf_counter()
    jax.block_until_ready(lift(model, inputs, num))
    first = time.perf_counter() - started
    lifting, of_few, of_many = interleaved(
        lambda: lift(model, inputs, num), lambda: products(few), lambda: products(many)
    )
    rate = sampling_operations(model, num, batch) / lifting / 1e9
    limit = 100 * width**2 / 1e9 * max(len(few) / of_few, len(many) / of_many)
    return {
        "poses": batch,
        "hypotheses": num,
        "network_calls": steps + 1,
        "seconds": lifting,
        "poses_per_second": batch * num / lifting,
        "gflops": rate,
        "product_gflops": limit,
        "share_of_product_rate": rate / limit,
        "compile_and_first_run_seconds": first,
    }


def memory(model: released.Model) -> dict[str, Any]:
    """Working memory of the compiled lift for 1 pose, by hypotheses: beyond the result it must not grow."""
    inputs = example_inputs(1)
    result = {}
    for num in (1_000, 10_000):
        compiled = jitted_lift.lower(
            jax.random.key(0), model, *inputs[:2], intrinsics=inputs[2], num_hypotheses=num
        ).compile()
        working = getattr(
            compiled.memory_analysis(), "temp_size_in_bytes", float("nan")
        )  # not on every device
        output = num * 17 * 3 * 4
        result[f"working_mb_{num}"] = working / 1e6
        result[f"result_mb_{num}"] = output / 1e6
    return result


def group_norm(model: released.Model) -> dict[str, Any]:
    """Forward and backward of our norm over the last axis, and of flax's, as a ratio."""
    width, groups = model.spec.network.hidden, model.spec.network.num_groups
    x = jax.random.normal(jax.random.key(0), (2048, width))
    runs = []
    for norm in (GroupNorm(groups), nn.GroupNorm(groups, epsilon=1e-5, reduction_axes=(-1,))):
        params = norm.init(jax.random.key(0), x)
        gradient = jax.jit(jax.grad(lambda x, norm=norm, params=params: nn.silu(norm.apply(params, x)).sum()))
        runs.append(lambda gradient=gradient: [gradient(x) for _ in range(20)])
    ours, flax_own = interleaved(*runs)
    return {"ours_ms": 50 * ours, "flax_ms": 50 * flax_own, "flax_over_ours": flax_own / ours}


def training(model: released.Model) -> dict[str, Any]:
    """Examples a second of one optimiser step of the lifting loss, data made in the step, on procedural bodies."""
    from experiments.configs import pose17
    from experiments.train import make_loss
    from jaxpose.conditioning import MaskRates
    from jaxpose.data.mannequin import sample_body
    from jaxpose.data.synthetic import sample_pose
    from jaxpose.data.views import ViewRates, make_bodies, pose_example
    from jaxpose.training.optimizer import make_optimizer
    from jaxpose.training.step import init_state, make_step

    config = pose17.get_config()
    view, masks = ViewRates(**config.view), MaskRates(**config.masks)
    keys = jax.random.split(jax.random.key(0), 64)
    joints = jax.vmap(lambda k: sample_pose(k, sample_body(k)))(keys)
    bodies = make_bodies(np.asarray(joints), np.full(64, 1 / 64), view)
    tx = make_optimizer(1e-3, warmup_steps=1, total_steps=10)
    batch = config.train.batch_size

    def example(key: jax.Array, data: Any) -> Any:
        return pose_example(key, data, view, masks)

    step = make_step(
        example,
        make_loss(model.spec, config.loss, bodies.statistics.spread),
        tx,
        batch_size=batch,
        ema_decay=0.999,
    )
    run = jax.jit(step, donate_argnums=0)
    data_only = jax.jit(jax.vmap(lambda k: example(k, bodies)))
    state = init_state(jax.random.key(0), model.params, tx)
    times, making = [], []
    for _ in range(REPEATS.value + 1):
        started = time.perf_counter()
        state, _ = jax.block_until_ready(run(state, bodies))
        times.append(time.perf_counter() - started)
        started = time.perf_counter()
        jax.block_until_ready(data_only(jax.random.split(jax.random.key(1), batch)))
        making.append(time.perf_counter() - started)
    seconds, data = float(np.median(times[1:])), float(np.median(making[1:]))
    return {
        "batch": batch,
        "draws_per_example": config.loss.num_draws,
        "step_seconds": seconds,
        "examples_per_second": batch / seconds,
        "share_of_step_making_data": data / seconds,
    }


CASES = {f.__name__: f for f in (sampling, memory, group_norm, training)}
CHOSEN = flags.DEFINE_multi_enum("case", None, list(CASES), "Cases to run; all by default.")


def main(argv: list[str]) -> None:
    del argv
    logging.set_verbosity(logging.WARNING)
    model = released.load(MODEL.value)
    device = f"{len(jax.devices())} x {jax.devices()[0].device_kind}"
    for name in CHOSEN.value or CASES:
        row = CASES[name](model)
        print(f"{name}: " + ", ".join(f"{k} {v:.4g}" for k, v in row.items()))
        print(json.dumps({"case": name, "device": device, "jax": jax.__version__, **row}), flush=True)


def lift(model: released.Model, inputs: tuple[jax.Array, ...], num: int) -> jax.Array:
    """Samples of `example_inputs`."""
    return jitted_lift(
        jax.random.key(0), model, inputs[0], inputs[1], intrinsics=inputs[2], num_hypotheses=num
    ).samples


def example_inputs(batch: int) -> tuple[jax.Array, ...]:
    """Keypoints, confidences and intrinsics of frames of the bundled clip."""
    with np.load(released.ASSETS / "demo_clip.npz") as z:
        rows = np.arange(batch) % len(z["keypoints"])
        return tuple(jnp.asarray(x) for x in (z["keypoints"][rows], z["confidence"][rows], z["intrinsics"]))


def sampling_operations(model: released.Model, num: int, batch: int) -> float:
    """Multiplications and additions of all matrix products in one `lift`."""
    totals = {"pose": 0, "hypothesis": 0, "step": 0}
    for path, leaf in flax.traverse_util.flatten_dict(model.params, sep="/").items():
        if leaf.ndim == 2:
            name = path.split("/")[-2]
            once = name == "time" or name.endswith("_time")
            shared = name.startswith(("cond", "encoder")) or name.endswith("_cond")
            totals["step" if once else "pose" if shared else "hypothesis"] += 2 * leaf.size
    if model.spec.network.difference:
        totals["hypothesis"] += totals.pop("pose")
    per_call = totals["step"] + batch * totals.get("pose", 0) + batch * num * totals["hypothesis"]
    return float(per_call) * (model.spec.num_steps + 1)


def interleaved(*runs: Callable[[], Any]) -> list[float]:
    """Median seconds of each of `runs`, timed in turn after one run to warm up."""
    times: list[list[float]] = [[] for _ in runs]
    for repeat in range(REPEATS.value + 1):
        for run, record in zip(runs, times, strict=True):
            started = time.perf_counter()
            jax.block_until_ready(run())
            if repeat:
                record.append(time.perf_counter() - started)
    return [float(np.median(t)) for t in times]


if __name__ == "__main__":
    try:
        app.run(main)
    except ValueError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        sys.exit(2)
