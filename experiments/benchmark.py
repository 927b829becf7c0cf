"""How fast, and how near to what the machine can do.

    python -m experiments.benchmark [--case=sampling --case=memory --case=group_norm --case=training --case=graph
        --case=stream --case=fitting]

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
from jaxpose.base import Condition
from jaxpose.geometry.codec import encode_keypoints
from jaxpose.networks.diffpose import DiffPose
from jaxpose.networks.graph import GraFormer, GraphDenoiser
from jaxpose.networks.layers import GroupNorm
from jaxpose.networks.mixste import MixSTE
from jaxpose.tasks.lift import jitted_lift
from jaxpose.tasks.stream import jitted_step, start_stream

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


def graph(model: released.Model) -> dict[str, Any]:
    """DiffPose's denoiser, 96 wide and 5 deep, on 1024 poses: folded against term by term; and 5 samples in 5 steps.

    cpu: seconds of all cores together, which other work on the machine disturbs less. at_once: rows that the network
    sees together (`tasks.diffpose.ROWS_AT_ONCE`). Sampling is `draw_poses`: encoder, and one call more than steps.
    """
    from experiments.plain_graph import denoise
    from jaxpose.tasks.diffpose import ROWS_AT_ONCE, draw_poses, in_slices

    poses, t, network = 1024, jnp.float32(0.5), GraphDenoiser()
    x = jax.random.normal(jax.random.key(0), (poses, 17, 5))
    params = jax.jit(network.init)(jax.random.key(1), x[0], t)

    def folded(size: int) -> Callable[[], Any]:
        run = jax.jit(lambda params, x: in_slices(lambda rows: network.apply(params, rows, t), x, size))
        return lambda: run(params, x)

    # weights are arguments: XLA would copy constants for every pose when it compiles, which a user's do not get
    per_term = jax.jit(lambda params, x: denoise(network, params["params"], x, jnp.full(poses, t)))
    slices = sorted({32, 128, 512, poses, ROWS_AT_ONCE})
    runs = {"per_term": lambda: per_term(params, x), **{f"folded_{n}_at_once": folded(n) for n in slices}}
    expected = runs["per_term"]()
    for run in runs.values():
        np.testing.assert_allclose(run(), expected, atol=2e-5)
    wall = dict(zip(runs, interleaved(*runs.values()), strict=True))
    cpu = {name: cpu_seconds(run) for name, run in runs.items()}
    ours = f"folded_{ROWS_AT_ONCE}_at_once"

    whole, cond = official_size(model), example_condition(poses)
    draw = jax.jit(lambda m: draw_poses(jax.random.key(0), m, cond, num_hypotheses=5, num_steps=5))
    return {
        **{f"{name}_seconds": v for name, v in wall.items()},
        **{f"{name}_cpu_seconds": v for name, v in cpu.items()},
        "per_term_over_folded": wall["per_term"] / wall[ours],
        "per_term_over_folded_cpu": cpu["per_term"] / cpu[ours],
        "sampling_5x5_seconds": interleaved(lambda: draw(whole))[0],
        "sampling_5x5_cpu_seconds": cpu_seconds(lambda: draw(whole)),
    }


def stream(model: released.Model) -> dict[str, Any]:
    """Milliseconds of a frame of `step_stream`, network as in diffpose17_video with random weights; 30 fps leave 33."""
    video = MixSTE(num_frames=81, width=64, depth=3, num_heads=4)
    network = DiffPose(GraFormer(64, 4), video, GraphDenoiser(64, 4), context_width=64 + 13)
    spec = released.Spec("stream", network, target="edm", eta=0.0)
    live = released.Model(released.init_params(jax.random.key(0), spec), model.statistics, spec)
    keypoints, confidence, intrinsics = example_inputs(1)
    result: dict[str, Any] = {}
    for num in (10, 20):
        state = start_stream(jax.random.key(0), live, num_hypotheses=num)
        times, busy = [], []
        for frame in range(20 * REPEATS.value + 2):
            started, used = time.perf_counter(), time.process_time()
            _, state = jax.block_until_ready(
                jitted_step(live, state, keypoints[0], confidence[0], intrinsics=intrinsics)
            )
            if frame == 0:
                result[f"first_and_compile_seconds_{num}"] = time.perf_counter() - started
            elif frame > 1:
                times.append(time.perf_counter() - started)
                busy.append(time.process_time() - used)
        result |= {f"ms_{num}": 1e3 * float(np.median(times)), f"cpu_ms_{num}": 1e3 * float(np.median(busy))}
        result[f"fastest_ms_{num}"] = 1e3 * min(times)
    return result


def fitting(model: released.Model) -> dict[str, Any]:
    """256 frames, 500 steps: bodies to 2D keypoints with the prior `prior21`, in one batch and one by one (8)."""
    from jaxpose.data.capsule_body import capsule_body
    from jaxpose.geometry.body_joints import body_points
    from jaxpose.tasks.body_fit import Free, dposer_prior, posed_body, start_parameters
    from jaxpose.tasks.fit import FitSettings, fit, one_camera, project
    from jaxpose.tasks.rotations import generate_rotations

    num, singles = 256, 8
    body, prior_model = capsule_body(), released.load("prior21")
    poses = generate_rotations(jax.random.key(0), prior_model, num, num_steps=20)
    start = start_parameters(num, 1, body.shapedirs.shape[-1], poses[:, None])
    start = start._replace(transl=start.transl + jnp.array([0.0, 0.0, 4.0]))
    intrinsics = jnp.tile(jnp.array([1100.0, 1100.0, 500.0, 500.0]), (num, 1))
    uv = project(one_camera(intrinsics), body_points(posed_body(body, start), "openpose25"))
    still = start._replace(body_pose=jnp.zeros_like(start.body_pose))
    settings = FitSettings(num_steps=500)

    @jax.jit
    def run(rows: jax.Array, prior_model: released.Model, body: Any) -> jax.Array:
        return fit(
            jax.random.key(0), body, uv[rows], jnp.ones(uv[rows].shape[:-1]), one_camera(intrinsics[rows]),
            "openpose25", dposer_prior(prior_model), noise_px=3.0, start=jax.tree.map(lambda x: x[rows], still),
            free=Free(), settings=settings,
        ).joints  # fmt: skip

    batch, each = interleaved(
        lambda: run(jnp.arange(num), prior_model, body),
        lambda: [run(jnp.array([i]), prior_model, body) for i in range(singles)],
    )
    one_by_one = each * num / singles
    return {"frames": num, "steps": settings.num_steps, "seconds": batch, "one_by_one_seconds": one_by_one,
            "one_by_one_over_batch": one_by_one / batch}  # fmt: skip


CASES = {f.__name__: f for f in (sampling, memory, group_norm, training, graph, stream, fitting)}
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


def official_size(model: released.Model) -> released.Model:
    """A DiffPose model of single frames with networks of the original's size and random weights."""
    network = DiffPose(GraFormer(), None, GraphDenoiser(), context_width=96 + 13)
    spec = released.Spec("official size", network, target="edm")
    params = jax.jit(lambda: released.init_params(jax.random.key(0), spec))()
    return released.Model(params, model.statistics, spec)


def example_condition(batch: int) -> Condition:
    """What a model is told of `example_inputs`."""
    keypoints, confidence, intrinsics = example_inputs(batch)
    return encode_keypoints(intrinsics, keypoints, confidence)[0]


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


def cpu_seconds(run: Callable[[], Any]) -> float:
    """Median processor time of `run`, of all threads."""
    times = []
    for _ in range(REPEATS.value):
        started = time.process_time()
        jax.block_until_ready(run())
        times.append(time.process_time() - started)
    return float(np.median(times))


if __name__ == "__main__":
    try:
        app.run(main)
    except ValueError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        sys.exit(2)
