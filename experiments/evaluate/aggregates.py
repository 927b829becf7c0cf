"""Aggregates of hypotheses, without the truth: those of `evaluation/aggregate.py` against the mean.

    python -m experiments.evaluate aggregates                              validation frames, four rows, every 20th pose
    python -m experiments.evaluate aggregates --stride=1 --likelihood=0    all frames, without the costly likelihood

A table for each row and number of hypotheses: three errors in mm by aggregate, with the 95 % interval of their
difference from the mean's (paired bootstrap over poses). MPJPE is relative to the root, P-MPJPE after Procrustes,
absolute in the camera frame: each hypothesis where the keypoints put it (`spaces.person.place`), then aggregated. Where
the camera is assumed, absolute errors are mostly the camera's.
"""

import dataclasses
import functools
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench, harness
from experiments.evaluate.harness import Column, Item, Row, Table
from experiments.options import option
from jaxpose import model as released
from jaxpose.base import Array, Camera
from jaxpose.evaluation import aggregate, metrics
from jaxpose.evaluation.bootstrap import paired_bootstrap
from jaxpose.tasks.lift import lift
from jaxpose.tasks.score import lifted_log_density

_PLAIN = ("mean", "median", "geometric_median", "medoid", "mode", "pose_mode")
_FIGURES = ("mpjpe_mm", "p_mpjpe_mm", "absolute_mm")
_TUNED = "; the noise and tempering of `reprojection` on every eighth of the validation poses"


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    bench: str | None = option(None, "Benchmark file; by default val_frames.npz beside JAXPOSE_DATA.")
    hypotheses: tuple[int, ...] = option((10, 50, 200), "3D poses per detection.", low=2)
    likelihood: int = option(50, "With up to so many hypotheses, by likelihood too.", low=0)
    added: float = option(aggregate.ADDED, "What weights may add to the mean's variance.", low=1e-9)
    noise_px: float | None = option(None, "Of the keypoints; by default 0.05 of their extent.", low=1e-9)
    stride: int = option(20, "Every n-th pose only.", low=1)


class Case(NamedTuple):
    """N detections, pixels, and their truth [N, 17, 3] metres, camera frame."""

    keypoints: np.ndarray
    confidence: np.ndarray
    intrinsics: np.ndarray
    truth: np.ndarray


def aggregates(model: released.Model, options: Options) -> Iterator[Item]:
    """A table for each case and number of hypotheses; the hypotheses of fewer are the first of more."""
    for name, case in frames(options).items():
        if options.wants(name):
            yield from of_case(model, options, name, case)


def of_case(model: released.Model, options: Options, name: str, case: Case) -> Iterator[Item]:
    """Tables of one case."""
    inputs = [jnp.asarray(x, jnp.float32) for x in (case.keypoints, case.confidence, case.intrinsics)]
    xy, confidence, intrinsics = inputs
    key = jax.random.key(options.seed)
    lifted = lift(key, model, xy, confidence, camera=Camera(intrinsics), num_hypotheses=max(options.hypotheses))
    assert lifted.root is not None, "lift places its poses"
    likely = [n for n in options.hypotheses if n <= options.likelihood]
    log_density = None
    if likely:
        samples, started = lifted.samples[: max(likely)], time.perf_counter()
        log_density = lifted_log_density(key, model, samples, xy, confidence, intrinsics=intrinsics)
        jax.block_until_ready(log_density)
        seconds = time.perf_counter() - started
        yield {"likelihood_seconds": seconds}
        shown = f"likelihood of {max(likely)} hypotheses: {1000 * seconds / len(xy):.0f} ms a pose"
        print(f"{shown}, compilation included", flush=True)
    columns: dict[str, Column] = {"effective number": "effective_number:.0f"}
    columns |= {k: functools.partial(_cell, figure=k) for k in _FIGURES}
    camera_told = "camera assumed" if name == "camera unknown" else "intrinsics"
    for num in options.hypotheses:
        title = f"{name}, {len(xy)} poses, {num} hypotheses"
        yield Table(title, f"{camera_told}; {bench.NO_DEPTH}", bench.tuned(model) + _TUNED, columns)
        base = None
        density = log_density if num in likely else None
        for how, poses, placed, number in candidates(options, lifted.samples[:num], lifted.root[:num], inputs, density):
            errors = scores(case, poses, placed)
            base = base or errors
            about = {"case": name, "hypotheses": num, "aggregate": how, "poses": len(xy), "effective_number": number}
            yield Row(how, about | against(options.seed, errors, base))


def candidates(
    options: Options, samples: Array, root: Array, inputs: list[Array], log_density: Array | None
) -> Iterator[tuple[str, Array, Array, float]]:
    """Of each aggregate: name, pose relative to the root and in the camera frame [N, J, 3], effective number."""
    placed = samples + root[:, :, None]
    for how in _PLAIN:
        one = _JITTED[how]
        yield how, one(samples), one(placed), float(len(samples))
    by_agreement = _reprojection(samples, *inputs, noise_px=options.noise_px, added=options.added)
    weighted = {"reprojection": ("mean", by_agreement)}
    weighted["reprojection, geometric_median"] = ("geometric_median", by_agreement)
    if log_density is not None:
        by_likelihood = aggregate.likelihood_weights(log_density[: len(samples)], added=options.added)
        weighted["likelihood"] = ("mean", by_likelihood)
    for how, (kind, weights) in weighted.items():
        number = float(aggregate.effective_number(weights).mean())
        yield how, _JITTED[kind](samples, weights), _JITTED[kind](placed, weights), number


_JITTED = {how: jax.jit(getattr(aggregate, how)) for how in _PLAIN}
_reprojection = jax.jit(aggregate.reprojection_weights, static_argnames="added")


def scores(case: Case, pose: Array, placed: Array) -> dict[str, np.ndarray]:
    """Errors [N] in mm of poses [N, J, 3] relative to their root and in the camera frame."""
    truth = jnp.asarray(case.truth)
    errors = (
        metrics.mpjpe(pose - pose[:, :1], truth - truth[:, :1]),
        metrics.p_mpjpe(pose, truth),
        metrics.mpjpe(placed, truth),
    )
    return {k: 1000 * np.asarray(e, np.float64) for k, e in zip(_FIGURES, errors, strict=True)}


def against(seed: int, errors: dict[str, np.ndarray], base: dict[str, np.ndarray]) -> dict[str, Any]:
    """Mean errors, and how far they are from the base's, with intervals."""
    row: dict[str, Any] = {}
    for k in _FIGURES:
        gap = paired_bootstrap(seed, errors[k], base[k], num=2000)
        row[k] = float(errors[k].mean())
        row[_minus(k)] = [gap.mean, gap.low, gap.high]
    return row


def frames(options: Options) -> dict[str, Case]:
    """The rows of `experiments.evaluate frames`: by how much the model was told."""
    data = bench.load_frames(options.stride, options.bench)
    names = ("detected", "COCO joints", "exact", "camera unknown")
    return {
        name: Case(np.asarray(xy), np.asarray(confidence), intrinsics, data.joints_cam)
        for name, (xy, confidence, intrinsics) in zip(names, bench.lifting_inputs(data), strict=True)
    }


def _minus(figure: str) -> str:
    return f"{figure.removesuffix('_mm')}_minus_mean_mm"


def _cell(values: dict[str, Any], figure: str) -> str:
    gap, low, high = values[_minus(figure)]
    difference = "" if values["aggregate"] == "mean" else f" ({gap:+.2f} [{low:+.2f}, {high:+.2f}])"
    return f"{values[figure]:.1f}{difference}"
