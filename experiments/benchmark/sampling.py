"""Cases of `experiments.benchmark` on lifting: many sizes, and the 1000-call recipe beside it."""

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark import timing
from experiments.evaluate.bench import bench_path
from jaxpose import model as released
from jaxpose.base import Array, Camera, Hypotheses
from jaxpose.evaluation.metrics import align_root, best_of, mpjpe
from jaxpose.evaluation.protocols import LiftingBench, load_lifting_bench
from jaxpose.tasks.lift import lift
from jaxpose.tasks.samplers import SAMPLERS, Sampler, original, stochastic

_SAMPLES = 200  # hypotheses of the recipe case


def sampling(setup: timing.Setup) -> list[timing.Row]:
    """`lift` of --batch poses by --hypotheses, the model's own steps, float32."""
    return [_lifting_row(setup, "sampling", "", setup.sizes.hypotheses, setup.sizes.batch, stochastic(), "float32")]


def lifting(setup: timing.Setup) -> Iterator[timing.Row]:
    """`lift` over hypotheses x poses x steps x samplers x types; what is not float32 with its distance from that."""
    sizes = setup.sizes
    samplers = [SAMPLERS[name](steps) for steps in sizes.grid_steps or (None,) for name in sizes.grid_sampler]
    grid = itertools.product(sizes.grid_hypotheses, sizes.grid_batch, samplers, sizes.grid_dtype)
    for num, batch, sampler, dtype in grid:
        name = f"{num} x {batch}, {sampler.network_calls(setup.model)} calls, {sampler.name}, {dtype}"
        yield _lifting_row(setup, "lifting", name, num, batch, sampler, dtype)


def recipe(setup: timing.Setup) -> list[timing.Row]:
    """200 hypotheses by 1000 calls of Euler-Maruyama against few calls of the same network, of one pose and of many.

    Where validation poses are (shared/bench): mean best-of-200 of both, the ratio, and its standard error over poses.
    """
    inputs, truth = recipe_inputs(setup)
    one = tuple(x[:1] for x in inputs)
    models = {"shipped": setup.model} | ({} if setup.fast is None else {"few steps": setup.fast})
    alone = [lift_program(setup.model, one, _SAMPLES, sampler=original())]
    alone += [lift_program(model, one, _SAMPLES) for model in models.values()]
    together = [lift_program(setup.model, inputs, _SAMPLES, sampler=original())]
    together += [lift_program(model, inputs, _SAMPLES) for model in models.values()]
    times = timing.interleaved(min(setup.sizes.repeats, 3), *(program.run for program in alone))
    # the recipe of many poses once: it is long enough to be its own median
    slow_samples, slow_seconds = _once(together[0])
    slow_error = best_mm(slow_samples, truth)
    rows = []
    for i, (name, model) in enumerate(models.items(), 1):
        fast_times = timing.interleaved(setup.sizes.repeats, together[i].run)[0]
        figures: dict[str, float] = {
            "calls": stochastic().network_calls(model),
            "recipe_calls": 1000,
            "hypotheses": _SAMPLES,
            "recipe_seconds_one": float(np.median(times[0])),
            "seconds_one": float(np.median(times[i])),
            "speedup_one": float(np.median(times[0] / times[i])),
            "poses": len(inputs[0]),
            "recipe_seconds": slow_seconds,
            "seconds": float(np.median(fast_times)),
            "speedup": slow_seconds / float(np.median(fast_times)),
        }
        if slow_error is not None:
            error = best_mm(together[i].run().samples, truth)
            assert error is not None
            figures |= best_figures(slow_error, error)
        higher, lower = ("speedup_one", "speedup"), ("best_of_200_over_recipe",)
        rows.append(timing.Row("recipe", name, figures, higher, lower if slow_error is not None else ()))
    return rows


def best_figures(recipe_mm: np.ndarray, found_mm: np.ndarray) -> dict[str, float]:
    """Means of two best-of-200 [N], their ratio, and its standard error over the poses (paired, delta method)."""
    ratio = found_mm.mean() / recipe_mm.mean()
    spread = np.std(found_mm - ratio * recipe_mm, ddof=1) if len(found_mm) > 1 else np.nan
    return {
        "recipe_best_of_200_mm": float(recipe_mm.mean()),
        "best_of_200_mm": float(found_mm.mean()),
        "best_of_200_over_recipe": float(ratio),
        "standard_error": float(spread / np.sqrt(len(found_mm)) / recipe_mm.mean()),
    }


def lift_program(
    model: released.Model,
    inputs: tuple[Array, ...],
    num: int,
    *,
    sampler: Sampler | None = None,
    dtype: str | None = None,
) -> timing.Program:
    """`lift` of inputs (keypoints, confidence, intrinsics), the poses cut over all devices, weights as `dtype`."""

    def run(key: Array, model: released.Model, xy: Array, sure: Array, intrinsics: Array) -> Hypotheses:
        return lift(key, model, xy, sure, camera=Camera(intrinsics), num_hypotheses=num, sampler=sampler)

    keypoints, confidence = timing.over_devices(inputs[:2])
    intrinsics = timing.over_devices(inputs[2]) if inputs[2].ndim == 2 else timing.replicated(inputs[2])
    key, whole = timing.replicated((jax.random.key(0), model if dtype is None else model.astype(dtype)))
    return timing.compiled(run, key, whole, keypoints, confidence, intrinsics)


def _lifting_row(
    setup: timing.Setup, case: str, name: str, num: int, batch: int, sampler: Sampler, dtype: str
) -> timing.Row:
    model, inputs, calls = setup.model, timing.example_inputs(batch), sampler.network_calls(setup.model)
    draw: Callable[..., timing.Program] = functools.partial(lift_program, model, inputs, num, sampler=sampler)
    program = draw(dtype=dtype)
    work = timing.sampling_operations(model, calls=calls, poses=batch, hypotheses=num)
    measurements = timing.measured(setup, program, width=model.spec.network.hidden, operations=work, dtype=dtype)
    figures = {"poses": batch, "hypotheses": num, "calls": calls, **measurements}
    figures["poses_per_second"] = batch * num / measurements["seconds"]
    if dtype != "float32":
        samples, exact = program.run().samples, draw(dtype="float32").run().samples
        figures["sample_error_mm"] = float(1000 * jnp.linalg.norm(samples - exact, axis=-1).mean())
        mean_error = jnp.linalg.norm(samples.mean(0) - exact.mean(0), axis=-1)
        figures["mean_error_mm"] = float(1000 * mean_error.mean())
    return timing.Row(case, name, figures, higher=("share_of_product_rate",))


def recipe_inputs(setup: timing.Setup) -> tuple[tuple[Array, ...], Array | None]:
    """Evenly spaced validation poses with their truth [N, J, 3], or frames of the bundled clip without."""
    path, num = bench_path("val_frames.npz"), setup.sizes.recipe_poses
    if not path.is_file():
        print(f"recipe: no best-of-200, {path} is absent; times are of the bundled clip's frames", flush=True)
        keypoints, confidence, intrinsics = timing.example_inputs(num)
        return (keypoints, confidence, jnp.tile(intrinsics, (num, 1))), None
    bench = load_lifting_bench(path)
    if num > len(bench.keypoints):
        raise ValueError(f"--recipe_poses: got {num}, {path} holds {len(bench.keypoints)}")
    rows = np.arange(num) * (len(bench.keypoints) // num)
    chosen = LiftingBench(*(x[rows] for x in bench))
    inputs = tuple(jnp.asarray(x) for x in (chosen.keypoints, chosen.confidence, chosen.intrinsics))
    return inputs, align_root(jnp.asarray(chosen.joints_cam))


def best_mm(samples: Array, truth: Array | None) -> np.ndarray | None:
    """Best-of-H [N] in mm."""
    return None if truth is None else np.asarray(1000 * best_of(mpjpe(align_root(samples), truth)))


def _once(program: timing.Program) -> tuple[Any, float]:
    started = time.perf_counter()
    samples = jax.block_until_ready(program.run()).samples
    return samples, time.perf_counter() - started
