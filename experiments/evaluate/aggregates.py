"""Aggregates of hypotheses, without the truth: those of `evaluation/aggregate.py` against the mean.

    python -m experiments.evaluate aggregates                              validation frames, four rows, every 20th pose
    python -m experiments.evaluate aggregates --dataset=walker --stride=4  real detections of four cameras
    python -m experiments.evaluate aggregates --stride=1 --likelihood=0    all frames, without the costly likelihood

A table for each row and number of hypotheses: three errors in mm by aggregate, with the 95 % interval of their
difference from the mean's (paired bootstrap over poses; of the walker over stretches of 10 frames). MPJPE is relative
to the root, P-MPJPE after Procrustes, absolute in the camera frame: each hypothesis where the keypoints put it
(`spaces.person.place`), then aggregated. Where the camera is assumed, absolute errors are mostly the camera's. The
walker's truth is a triangulation good to 1-2 cm, relative to the hips' middle.
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
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.tasks.lift import lift
from jaxpose.tasks.score import lifted_log_density

_PLAIN = ("mean", "median", "geometric_median", "medoid", "mode", "pose_mode")
_FIGURES = ("mpjpe_mm", "p_mpjpe_mm", "absolute_mm")
_TUNED = "; the noise and tempering of `reprojection` on every eighth of the validation poses"


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    """Of aggregation."""

    dataset: str = option("frames", "What to score on.", legal=("frames", "walker"))
    bench: str | None = option(None, "Benchmark file; by default val_frames.npz beside JAXPOSE_DATA.")
    hypotheses: tuple[int, ...] = option((10, 50, 200), "3D poses per detection.", low=2)
    likelihood: int = option(50, "With up to so many hypotheses, by likelihood too.", low=0)
    added: float = option(aggregate.ADDED, "What weights may add to the mean's variance.", low=1e-9)
    noise_px: float | None = option(None, "Of the keypoints; by default 0.05 of their extent.", low=1e-9)
    stride: int = option(20, "Every n-th pose or frame only.", low=1)

    @property
    def variant(self) -> str:
        return self.dataset


class Case(NamedTuple):
    """N detections, pixels, and their truth [N, S, 3] metres, camera frame.

    joints: [S] of the model's 17. origin: places among the S whose middle is the origin of root-relative errors.
    groups: [N] what the bootstrap draws together, or None.
    """

    keypoints: np.ndarray
    confidence: np.ndarray
    intrinsics: np.ndarray
    truth: np.ndarray
    joints: np.ndarray
    origin: list[int]
    groups: np.ndarray | None = None


def aggregates(model: released.Model, options: Options) -> Iterator[Item]:
    """A table for each case and number of hypotheses; the hypotheses of fewer are the first of more."""
    cases = {"frames": frames, "walker": walker}[options.dataset](options)
    for name, case in cases.items():
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
            yield Row(how, about | against(options.seed, errors, base, case.groups))


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
    pose, placed, truth = pose[:, case.joints], placed[:, case.joints], jnp.asarray(case.truth)
    own, true = (p - p[:, jnp.array(case.origin)].mean(1, keepdims=True) for p in (pose, truth))
    errors = metrics.mpjpe(own, true), metrics.p_mpjpe(pose, truth), metrics.mpjpe(placed, truth)
    return {k: 1000 * np.asarray(e, np.float64) for k, e in zip(_FIGURES, errors, strict=True)}


def against(
    seed: int, errors: dict[str, np.ndarray], base: dict[str, np.ndarray], groups: np.ndarray | None
) -> dict[str, Any]:
    """Mean errors, and how far they are from the base's, with intervals."""
    row: dict[str, Any] = {}
    for k in _FIGURES:
        gap = paired_bootstrap(seed, errors[k], base[k], groups=groups, num=2000)
        row[k] = float(errors[k].mean())
        row[_minus(k)] = [gap.mean, gap.low, gap.high]
    return row


def frames(options: Options) -> dict[str, Case]:
    """The rows of `experiments.evaluate frames`: by how much the model was told."""
    data = bench.load_frames(options.stride, options.bench)
    names = ("detected", "COCO joints", "exact", "camera unknown")
    return {
        name: Case(np.asarray(xy), np.asarray(confidence), intrinsics, data.joints_cam, np.arange(17), [0])
        for name, (xy, confidence, intrinsics) in zip(names, bench.lifting_inputs(data), strict=True)
    }


def walker(options: Options) -> dict[str, Case]:
    """All cameras in one row, so that the bootstrap's groups are stretches of time, not cameras."""
    film, parts = bench.load_walker(), []
    for camera, R, t in zip(film.name, film.R_cam_world, film.t_cam, strict=True):
        view = bench.walker_view(film, camera)
        part = (view.keypoints, view.confidence, view.intrinsics, view.truth @ R.T + t, view.frame // 10)
        parts.append([np.asarray(x)[:: options.stride] for x in part])
    keypoints, seen, intrinsics, truth, groups = (np.concatenate(x) for x in zip(*parts, strict=True))
    hips = [int(np.flatnonzero(view.joints == H36M_17.joints.index(f"{side}_hip"))[0]) for side in ("left", "right")]
    return {"walker": Case(keypoints, seen, intrinsics, truth.astype(np.float32), view.joints, hips, groups)}


def _minus(figure: str) -> str:
    return f"{figure.removesuffix('_mm')}_minus_mean_mm"


def _cell(values: dict[str, Any], figure: str) -> str:
    gap, low, high = values[_minus(figure)]
    difference = "" if values["aggregate"] == "mean" else f" ({gap:+.2f} [{low:+.2f}, {high:+.2f}])"
    return f"{values[figure]:.1f}{difference}"
