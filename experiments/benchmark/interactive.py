"""Cases of `experiments.benchmark` on one person: live, dragged, in a fresh process, and with very many hypotheses."""

import functools
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxpose
from experiments.benchmark.sampling import lift_program
from experiments.benchmark.timing import Program, Row, Setup, compiled, example_inputs, measured, sampling_operations
from jaxpose import model as released
from jaxpose.base import Camera
from jaxpose.tasks.samplers import stochastic

_HYPOTHESES = 50
_FRAMES = 64
_MANY = (1, 1_000, 10_000, 100_000)


def interactive(setup: Setup) -> list[Row]:
    """One person, 50 hypotheses, from numpy to numpy: lifted frame by frame, and completed while joints come and go.

    By `jaxpose.interactive`, in turn with the program of the task; the targets are 5 ms and 50 ms.
    """
    models = (("shipped", setup.model), ("few steps", setup.fast))
    known = [(name, model) for name, model in models if model is not None]
    return [_live_row(setup, name, model) for name, model in known] + [
        _dragged_row(setup, name, model) for name, model in known
    ]


def memory(setup: Setup) -> list[Row]:
    """Working memory of the compiled lift for 1 pose, by hypotheses, beside the result of 100,000.

    The floor is what one hypothesis needs: weights as the norms want them, and the condition's features.
    """
    figures: dict[str, float] = {}
    for num in _MANY:
        program = lift_program(setup.model, example_inputs(1), num)
        figures[f"working_mb_{num}"] = program.working_mb
    result = _MANY[-1] * 18 * 3 * 4 / 1e6  # joints and root
    floor, many = figures[f"working_mb_{_MANY[0]}"], figures[f"working_mb_{_MANY[-1]}"]
    figures |= {
        f"result_mb_{_MANY[-1]}": result,
        "peak_over_result": (result + many) / result,
        "peak_above_floor_over_result": (result + many - floor) / result,
    }
    return [Row("memory", "", figures, lower=("peak_over_result", "peak_above_floor_over_result"))]


def fresh(setup: Setup) -> list[Row]:
    """`jaxpose lift --no-pictures` of one person in a fresh process: the first one, and later ones beside `import jax`.

    The compilation cache is empty at the start; medians of runs in turn. The target is 2 s.
    """
    with tempfile.TemporaryDirectory() as folder:
        clip, home = Path(folder) / "one.npz", {**os.environ, "XDG_CACHE_HOME": folder}
        with np.load(released.ASSETS / "demo_clip.npz") as z:
            np.savez(clip, **{name: z[name][:1] if z[name].ndim > 1 else z[name] for name in z.files})
        lift = ["-m", "jaxpose.app.cli", "lift", str(clip), "--no-pictures", "--out", folder, "--name", "found"]

        def seconds(*arguments: str) -> float:
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], env=home, check=True, stdout=subprocess.DEVNULL)
            return time.perf_counter() - started

        first = seconds(*lift)
        turns = np.array([[seconds(*lift), seconds("-c", "import jax")] for _ in range(setup.sizes.repeats)]).T
    later, jax_alone = (float(np.median(x)) for x in turns)
    ratio = float(np.median(turns[0] / turns[1]))
    figures = {"first_seconds": first, "seconds": later, "import_jax_seconds": jax_alone, "over_import_jax": ratio}
    return [Row("fresh", "", figures, lower=("over_import_jax",))]


def _live_row(setup: Setup, name: str, model: released.Model) -> Row:
    xy, sure, camera = (np.asarray(x) for x in example_inputs(_FRAMES))

    def lift(key: Any, model: released.Model, xy: Any, sure: Any, intrinsics: Any) -> Any:
        return jaxpose.lift(key, model, xy, sure, camera=Camera(intrinsics), num_hypotheses=_HYPOTHESES)

    frames = [(xy[i : i + 1], sure[i : i + 1], camera) for i in range(_FRAMES)]
    answer, timed = _in_turn(setup, lift, model, frames)
    calls = stochastic().network_calls(model)
    work = sampling_operations(model, calls=calls, poses=1, hypotheses=_HYPOTHESES)
    program = Program(functools.partial(answer, *frames[0]), timed["first_seconds"], math.nan)
    measurements = measured(setup, program, width=model.spec.network.hidden, operations=work)
    shares = {key: measurements[key] for key in ("gflops", "product_gflops", "share_of_product_rate")}
    figures = {"hypotheses": _HYPOTHESES, "calls": calls, **timed, **shares}
    return Row("interactive", name, figures, higher=("over_task", "share_of_product_rate"))


def _dragged_row(setup: Setup, name: str, model: released.Model) -> Row:
    """Each frame has other known joints, one of them moved."""
    with np.load(released.ASSETS / "demo_clip.npz") as z:
        joints = z["joints_cam"][:_FRAMES].astype(np.float32)
    rng = np.random.default_rng(0)

    def complete(key: Any, model: released.Model, joints: Any, noise: Any) -> Any:
        return jaxpose.complete(key, model, joints, noise=noise, num_hypotheses=_HYPOTHESES)

    frames = []
    for pose in joints:
        some = rng.permutation(len(pose))[: rng.integers(2, len(pose))]
        known = np.full_like(pose, np.nan)
        known[some] = pose[some]
        known[some[0]] += rng.normal(0, 0.1, 3)
        frames.append((known[None], np.full((1, len(pose)), 0.01, np.float32)))
    timed = _in_turn(setup, complete, model, frames)[1]
    figures = {"hypotheses": _HYPOTHESES, "calls": stochastic().network_calls(model), **timed}
    return Row("interactive", f"a dragged joint, {name}", figures, higher=("over_task",))


def _in_turn(
    setup: Setup, task: Callable[..., Any], model: released.Model, frames: list[Any]
) -> tuple[Callable[..., Any], dict[str, float]]:
    """What answers, the milliseconds of a frame by it, and how many times as long the task's own program takes.

    The least is of a moment in which nothing else ran.
    """
    key = jax.random.key(0)
    started = time.perf_counter()
    answer = jaxpose.interactive(task, key, model)
    np.asarray(answer(*frames[0]).samples)
    first = time.perf_counter() - started
    program = compiled(task, key, model, *frames[0]).run.func  # type: ignore[attr-defined]  # of a partial
    np.asarray(program(key, model, *frames[0]).samples)
    times = []
    for turn in range(40 * setup.sizes.repeats):
        frame, pair = frames[turn % len(frames)], []
        for run in (answer, lambda *given: program(key, model, *given)):
            started = time.perf_counter()
            np.asarray(run(*frame).samples)
            pair.append(time.perf_counter() - started)
        times.append(pair)
    ours, own = 1e3 * np.array(times).T
    return answer, {
        "ms": float(np.median(ours)),
        "ms_least": float(np.min(ours)),
        "ms_90th": float(np.quantile(ours, 0.9)),
        "over_task": float(np.median(own / ours)),
        "first_seconds": first,
    }
