"""What the cases of `experiments.benchmark` share: programs, runs in turn, ceilings, operations.

A machine is never as fast twice, so a case is timed in turn with the two ceilings of the device, and its shares are
taken round by round; the median counts:

    product   C <- C W in a loop, C [2048 or 8192 rows a device, width], W [width, width], the better of both
    copy      x -> x + 1 over an array far larger than any cache, bytes read and written

Operations are counted from the network's own matrices, 2 for each weight, and only what the task needs: time features
once a call for all poses, the condition branch once a pose for all its hypotheses and calls. What a program wastes
(the norm's own products, padding, what it computes twice) is not counted, so a share of 1 cannot be had by waste.
"""

import contextlib
import dataclasses
import functools
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import psutil
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.options import option
from jaxpose import model as released
from jaxpose.base import Array
from jaxpose.tasks.samplers import SAMPLERS

Run = Callable[[], Any]
DTYPES = ("float32", "bfloat16", "float16")

_LEAST_SECONDS = 0.05  # of one timed ceiling, and of one side of a round
_PRODUCT_ROWS = (2048, 8192)
_visible: int | None = None  # devices, where not all
# What a matrix reads is data and not another layer's output: its gradient is not taken back through it.
_FIRST_LAYERS = ("pre", "cond", "time")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is timed, at what size and how often."""

    model: str = option("pose17", "Model of lifting, 3D tasks and training.")
    fast: str = option("pose17_fast", "Few-step model beside it; its rows are left out where it is absent.")
    repeats: int = option(5, "Timed rounds of each row; the median counts.", low=1)
    hypotheses: int = option(200, "Hypotheses of the sampling case.", low=1)
    batch: int = option(64, "Poses of the sampling case.", low=1)
    grid_hypotheses: tuple[int, ...] = option((10, 200), "Hypotheses of lifting.", low=1)
    grid_batch: tuple[int, ...] = option((1, 64), "Poses of lifting.", low=1)
    grid_steps: tuple[int, ...] = option((), "Solver steps of lifting; the model's own by default.", low=1)
    grid_sampler: tuple[str, ...] = option(("posterior",), "Samplers of lifting.", legal=tuple(SAMPLERS))
    grid_dtype: tuple[str, ...] = option(("float32", "bfloat16"), "Types of lifting.", legal=DTYPES)
    recipe_poses: int = option(12, "Validation poses of the recipe case.", low=1)
    against: str | None = option(
        None,
        "Folder with checkpoints of GFPose, DiffPose or DPoser, or Python files that give their torch modules, "
        "whose code is run; or 'random'. Cases equal_calls and equal_quality, by default these alone.",
    )
    against_poses: int = option(12, "Persons of their batch; every row is of one person too.", low=1)
    against_calls: int = option(50, "Calls timed of a recipe of 1000.", low=1, high=1000)
    train_batch: int = option(4096, "Examples of a training step.", low=1)
    accumulate: int = option(0, "Slices of a device's share of a step; 0: as training chooses.", low=0)
    train_dtype: str = option("float32", "Type of the training step.", legal=DTYPES)


class Setup(NamedTuple):
    """The sizes, the model that they name, and one of few steps, None where there is none."""

    sizes: Sizes
    model: released.Model
    fast: released.Model | None = None


class Row(NamedTuple):
    """One line of a case. higher, lower: which figures are ratios of one run, and where better is."""

    case: str
    setting: str
    figures: dict[str, float]
    higher: tuple[str, ...] = ()
    lower: tuple[str, ...] = ()


class Program(NamedTuple):
    """A compiled program with its arguments: `run()`, seconds of tracing and compiling, working memory in MB."""

    run: Run
    compile_seconds: float
    working_mb: float


class Operations(NamedTuple):
    """Multiplications and additions of a network's matrices: once a call, once a pose, and for each hypothesis' call.

    first: the part of each that lies in layers which read data.
    """

    step: int
    pose: int
    hypothesis: int
    first: tuple[int, int, int]


def compiled(function: Callable[..., Any], *args: Any) -> Program:
    """The program of function(*args); arguments with their sharding, and no constants."""
    started = time.perf_counter()
    program = jax.jit(function).lower(*args).compile()
    seconds = time.perf_counter() - started
    return Program(functools.partial(program, *args), seconds, working_mb(program))


def working_mb(program: Any) -> float:
    """Temporary memory of a compiled program, MB; nan where a device does not tell."""
    return getattr(program.memory_analysis(), "temp_size_in_bytes", math.nan) / 1e6


def interleaved(repeats: int, *runs: Run, warm: bool = False) -> np.ndarray:
    """Seconds [runs, repeats] of each of `runs`, timed in turn; not `warm`: after each has run once untimed."""
    for run in () if warm else runs:
        jax.block_until_ready(run())
    return np.array([[_seconds(run) for run in runs] for _ in range(repeats)]).T


def in_turn(repeats: int, *runs: Run) -> tuple[np.ndarray, np.ndarray]:
    """Wall and processor seconds, each [runs, repeats], of `runs` in turn; one that is over too soon is repeated."""
    for run in runs:
        jax.block_until_ready(run())
    turns = [max(1, round(_LEAST_SECONDS / _clocked(run)[0])) for run in runs]
    rounds = [[_clocked(run, num) for run, num in zip(runs, turns, strict=True)] for _ in range(repeats)]
    wall, cpu = np.moveaxis(np.array(rounds), (0, 1, 2), (2, 1, 0))
    return wall, cpu


def _clocked(run: Run, turns: int = 1) -> tuple[float, float]:
    """Seconds, and processor seconds of all threads, of a run, the mean of `turns`."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(turns):
        jax.block_until_ready(run())
    return (time.perf_counter() - wall) / turns, (time.process_time() - cpu) / turns


def _seconds(run: Run) -> float:
    started = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - started


def measured(
    setup: Setup, program: Program, *, width: int, operations: float = 0, traffic: float = 0, dtype: str = "float32"
) -> dict[str, float]:
    """Figures of a program beside both ceilings: seconds, rates, shares, compile time and memory.

    operations, traffic: what the task needs, in operations and bytes; 0: not counted. width: of the ceiling's matrix.
    """
    peak = peak_rss_mb(program.run)
    turns = max(1, round(_LEAST_SECONDS / _seconds(program.run)))  # of a program that is over too soon to time
    products, copy = product_runs(width, dtype, len(devices())), copy_run(len(devices()))
    runs = (lambda: [program.run() for _ in range(turns)], *(run for run, _ in products), copy[0])
    times = interleaved(setup.sizes.repeats, *runs, warm=True)
    times[0] /= turns
    product = np.max([work / t for (_, work), t in zip(products, times[1:-1], strict=True)], 0)
    moved = copy[1] / times[-1]
    figures = {"seconds": float(np.median(times[0]))}
    if operations:
        figures |= {
            "gflops": operations / figures["seconds"] / 1e9,
            "product_gflops": float(np.median(product)) / 1e9,
            "share_of_product_rate": float(np.median(operations / times[0] / product)),
        }
    else:
        figures["product_gflops"] = float(np.median(product)) / 1e9
    figures["copy_gb_per_second"] = float(np.median(moved)) / 1e9
    if traffic:
        figures["share_of_copy_rate"] = float(np.median(traffic / times[0] / moved))
    return figures | {"compile_seconds": program.compile_seconds, "working_mb": program.working_mb, "peak_rss_mb": peak}


@contextlib.contextmanager
def first_devices(num: int) -> Iterator[None]:
    """Within it, cases run on the first `num` devices alone."""
    global _visible
    before, _visible = _visible, num
    try:
        yield
    finally:
        _visible = before


def devices() -> list[jax.Device]:
    """What cases run on: all devices, or the first ones."""
    return jax.devices()[:_visible]


def num_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def product_runs(width: int, dtype: str, num_devices: int) -> list[tuple[Run, float]]:
    """Loops of matrix products at a network's width on the devices, each with its number of operations."""
    matrix = replicated(jax.random.normal(jax.random.key(0), (width, width), jnp.float32) / width**0.5)
    matrix = matrix.astype(dtype)
    unrolled = 1 if jax.default_backend() == "cpu" else 32  # a device asks its host after each turn of the loop

    @jax.jit
    def products(x: Array, times: Array) -> Array:
        def some(_: Any, x: Array) -> Array:
            for _ in range(unrolled):
                x = x @ matrix
            return x

        return jax.lax.fori_loop(0, times, some, x)

    runs = []
    for rows in (n * num_devices for n in _PRODUCT_ROWS):
        x = jax.random.normal(jax.random.key(1), (rows, width), jnp.float32).astype(dtype)
        run, times = _long_enough(products, over_devices(x))
        runs.append((run, 2.0 * rows * width**2 * unrolled * times))
    return runs


@functools.cache
def copy_run(num_devices: int) -> tuple[Run, float]:
    """A run that reads and writes a large array on each device, with its number of bytes."""
    size = (1 << 24 if jax.default_backend() == "cpu" else 1 << 28) * num_devices
    program = jax.jit(lambda x: x + 1)
    x = over_devices(jnp.zeros(size, jnp.float32))
    return lambda: program(x), 8.0 * size


def _long_enough(loop: Callable[..., Any], x: Array) -> tuple[Run, int]:
    times = 1
    jax.block_until_ready(loop(x, times))
    while True:
        run = functools.partial(loop, x, times)
        seconds = _seconds(run)
        if seconds >= _LEAST_SECONDS:
            return run, times
        times = max(2 * times, int(times * _LEAST_SECONDS / max(seconds, 1e-5)))


def over_devices(tree: Any) -> Any:
    """Arrays cut along their first axis over all devices; whole on each of them where the axis does not divide."""
    mesh = Mesh(np.array(devices()), ("batch",))

    def put(x: Array) -> Array:
        cut = x.ndim > 0 and x.shape[0] % mesh.size == 0
        return jax.device_put(x, NamedSharding(mesh, PartitionSpec("batch") if cut else PartitionSpec()))

    return jax.tree.map(put, tree) if mesh.size > 1 else tree


def replicated(tree: Any) -> Any:
    """Arrays whole on every device."""
    mesh = Mesh(np.array(devices()), ("batch",))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec())) if mesh.size > 1 else tree


def operations_of(params: Any) -> Operations:
    """Operations of a ScoreMLP by its weights' names; ValueError for weights of another network."""
    totals, first = {"step": 0, "pose": 0, "hypothesis": 0}, {"step": 0, "pose": 0, "hypothesis": 0}
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    if not any(name.endswith("pre/kernel") for name in flat):
        raise ValueError(f"operations are counted for ScoreMLP alone, got weights {sorted(flat)[:3]}")
    for path, leaf in flat.items():
        if leaf.ndim != 2:
            continue
        name = path.split("/")[-2]
        shared = name.startswith(("cond", "encoder")) or name.endswith("_cond")
        kind = "step" if name == "time" or name.endswith("_time") else "pose" if shared else "hypothesis"
        totals[kind] += 2 * leaf.size
        first[kind] += 2 * leaf.size * (name in _FIRST_LAYERS)
    return Operations(**totals, first=(first["step"], first["pose"], first["hypothesis"]))


def sampling_operations(model: released.Model, *, calls: int, poses: int, hypotheses: int) -> float:
    """Of drawing `hypotheses` of each of `poses` in so many network calls; poses=0: no condition, hypotheses in all."""
    operations = operations_of(model.params)
    conditioned = operations.pose * poses
    if poses and getattr(model.spec.network, "difference", False):
        conditioned *= hypotheses * calls
    return float(calls * (operations.step + max(poses, 1) * hypotheses * operations.hypothesis) + conditioned)


def training_operations(params: Any, *, examples: int, draws: int) -> float:
    """Of one gradient of `draws` noise levels of each of `examples`: forward, and backward to weights and layers.

    A layer's backward pass is twice its forward pass; half of that where what it reads is data.
    """
    of = operations_of(params)
    step, pose, hypothesis = (
        3 * total - part for total, part in zip((of.step, of.pose, of.hypothesis), of.first, strict=True)
    )
    return float(examples * (pose + draws * (step + hypothesis)))


def peak_rss_mb(run: Run) -> float:
    """Most resident memory of this process in MB while `run` runs.

    Only Linux can set the count back: on Windows it is the most since the process began, on macOS that after `run`.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
        jax.block_until_ready(run())
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3
    except OSError:
        jax.block_until_ready(run())
        used = psutil.Process().memory_info()
        return getattr(used, "peak_wset", used.rss) / 1e6


def example_inputs(batch: int) -> tuple[Array, ...]:
    """Keypoints, confidences and intrinsics of frames of the bundled clip."""
    with np.load(released.ASSETS / "demo_clip.npz") as z:
        rows = np.arange(batch) % len(z["keypoints"])
        return tuple(jnp.asarray(x) for x in (z["keypoints"][rows], z["confidence"][rows], z["intrinsics"]))
