"""Does the diffusion improve on its own context encoder, and what do steps, samples, mixture and context give?

    python -m experiments.evaluate diffpose --model=diffpose17 --out=runs/diffpose               single frames
    python -m experiments.evaluate diffpose --model=diffpose17 --ambiguous                       with doubtful heatmaps
    python -m experiments.evaluate video --model=diffpose17_video --out=runs/diffpose            clips

Every row is of the fixed benchmark: 2D detected, camera known, root depth never given; errors in mm, root-relative, in
camera axes. "ratio" is the row's error of the mean pose over that of the encoder alone, with the 95 % interval of a
paired bootstrap over sequences (frames) or clips (video). One setting is changed at a time.

ambiguous: joints are brought in doubt by `examples.heatmaps` (sides exchanged, hidden, beyond a border), and the frames
with a doubtful joint are scored. There "ratio" is over the diffusion that starts from the heavier peaks alone.
"""

import dataclasses
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench, harness
from experiments.evaluate.harness import Item, Row, Table
from experiments.options import option
from jaxpose import model as released
from jaxpose.base import Array, Camera
from jaxpose.diffusion.mixture import Mixture
from jaxpose.evaluation import aggregate, calibration, metrics
from jaxpose.evaluation.protocols import load_video_bench
from jaxpose.examples.heatmaps import HeatmapRates, Heatmaps, draw_heatmaps
from jaxpose.geometry.camera import project
from jaxpose.io.arrays import load_arrays
from jaxpose.spaces.keypoints import encode_mixture
from jaxpose.spaces.person import decode_pose, encode_keypoints
from jaxpose.tasks.diffpose import START, draw_poses, encode_rows, initial_distribution
from jaxpose.tasks.samplers import sampler_of
from jaxpose.tasks.stream import Stream, start_stream, step_stream


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    model: str = option("diffpose17", "A DiffPose model's name or a .safetensors file.")
    bench: str | None = option(None, "Benchmark file; by default the one beside JAXPOSE_DATA.")
    hypotheses: int = option(200, "Samples of a pose, unless a row says another number.", low=2)


@dataclasses.dataclass(frozen=True)
class FrameOptions(Options):
    ambiguous: bool = option(False, "Simulated heatmaps with joints in doubt, in place of keypoints.")

    @property
    def variant(self) -> str:
        """Its own file for the heatmaps."""
        return "ambiguous" if self.ambiguous else ""


@dataclasses.dataclass(frozen=True)
class VideoOptions(Options):
    model: str = option("diffpose17_video", "A DiffPose model's name or a .safetensors file.")


class Clips(NamedTuple):
    """C inputs of F rows each: a clip's frames, or all single frames as one input; peaks of heatmaps in pixels."""

    keypoints: np.ndarray
    confidence: np.ndarray
    intrinsics: np.ndarray
    truth: np.ndarray
    group: np.ndarray
    peaks: Mixture | None = None


class Setting(NamedTuple):
    """What a row changes: steps K (None: the model's), samples N, mixture components M, what the denoiser is told."""

    steps: int | None = None
    samples: int | None = None
    components: int = 1
    whole_pose: bool = False
    depth: str = "encoder"
    features: bool = True
    sampler: str = "posterior"
    aggregate: str = "mean"
    live: bool = False
    heatmaps: bool = False


SETTINGS = {
    "released": Setting(),
    **{f"K = {k}": Setting(steps=k) for k in (1, 2, 3, 5, 8, 25)},
    **{f"N = {n}": Setting(samples=n) for n in (1, 2, 5, 10, 20, 50)},
    **{f"M = {m}, joint by joint": Setting(components=m) for m in (2, 3, 5)},
    "M = 5, whole poses": Setting(components=5, whole_pose=True),
    "M = 1, depth from histograms": Setting(depth="histogram"),
    "M = 5, depth from histograms": Setting(components=5, depth="histogram"),
    "without f_ST": Setting(features=False),
    "one sample, mean flow": Setting(samples=1, sampler="mean_flow"),
    "live, frame by frame": Setting(samples=20, live=True),
    **{f"aggregate: {a}": Setting(aggregate=a) for a in ("median", "geometric_median", "mode")},
}
DOUBTFUL = {
    "M = 1, of heatmaps": Setting(heatmaps=True),
    **{f"M = {m}, of heatmaps": Setting(components=m, heatmaps=True) for m in (2, 3, 5)},
    **{f"M = {m}, ensemble": Setting(components=m, depth="ensemble", heatmaps=True) for m in (1, 5)},
}
# shares of the simulated heatmaps; those that the recipe with mixtures trains on (docs/training.md)
RATES = HeatmapRates(swap=0.3, occlude=0.06, truncate=0.15)


def diffpose(model: released.Model, options: FrameOptions) -> Iterator[Item]:
    """Single frames: one input of all, grouped by sequence."""
    clips = frame_clips(options.bench, options.stride)
    if options.ambiguous:
        yield from doubtful_rows(model, options, ambiguous(clips, options.seed))
    else:
        yield from rows_of(model, options, clips)


def frame_clips(path: str | None, stride: int) -> Clips:
    """Every `stride`-th frame of a benchmark of frames as one input, by default the one beside JAXPOSE_DATA."""
    data = bench.load_frames(stride, path)
    z = load_arrays(path or bench.bench_file("val_frames.npz"))
    group = z["name"][::stride]
    return Clips(data.keypoints[None], data.confidence[None], data.intrinsics[None], data.joints_cam[None], group)


def ambiguous(clips: Clips, seed: int) -> Clips:
    """The frames of one input in which a joint is in doubt, each by itself, under simulated heatmaps."""
    keypoints, confidence, intrinsics, truth = (jnp.asarray(x[0]) for x in clips[:4])
    keys = jax.random.split(jax.random.key(seed), len(truth))

    @jax.jit
    @jax.vmap
    def draw(key: Array, keypoints: Array, confidence: Array, xy: Array) -> Heatmaps:
        return draw_heatmaps(key, keypoints[None], confidence[None], xy[None], RATES)

    heatmaps = jax.tree.map(lambda x: x[:, 0], draw(keys, keypoints, confidence, project(intrinsics, truth)))
    rows = np.asarray(heatmaps.doubtful.any(-1))
    peaks = jax.tree.map(lambda x: x[None, rows], heatmaps.peaks)
    shown = [np.asarray(x)[None, rows] for x in (heatmaps.keypoints, heatmaps.confidence, intrinsics, truth)]
    return Clips(shown[0], shown[1], shown[2], shown[3], clips.group[rows], peaks)


def video(model: released.Model, options: VideoOptions) -> Iterator[Item]:
    """Clips of 243 frames."""
    yield from rows_of(model, options, video_clips(options.bench, options.stride))


def video_clips(path: str | None, stride: int) -> Clips:
    """Every `stride`-th clip of a video benchmark, by default the one beside JAXPOSE_DATA."""
    data = load_video_bench(path or bench.bench_file("val_video.npz"))
    picked = (data.keypoints, data.confidence, data.intrinsics, data.joints_cam)
    keypoints, confidence, intrinsics, truth = (x[::stride] for x in picked)
    num, frames = truth.shape[:2]
    intrinsics = np.broadcast_to(intrinsics[:, None], (num, frames, 4))
    return Clips(keypoints, confidence, intrinsics, truth, np.repeat(np.arange(num), frames))


def rows_of(model: released.Model, options: Options, clips: Clips) -> Iterator[Item]:
    """The encoder alone, then every setting."""
    encoded = encoder_poses(model, clips)
    base = joint_errors(encoded, clips)
    privileges = f"2D detected, intrinsics; {bench.NO_DEPTH}; best_of_* choose by the truth"
    yield Table(f"{base.size} poses, {model.spec.name}; mm", privileges, bench.tuned(model))
    yield Row("encoder alone", figures(encoded[None], clips, base, options.seed))
    yield from setting_rows(model, options, clips, base, SETTINGS)


def setting_rows(
    model: released.Model, options: Options, clips: Clips, base: np.ndarray, settings: dict[str, Setting]
) -> Iterator[Row]:
    """A row for each setting that is asked for; streams are of clips alone."""
    for name, setting in settings.items():
        if options.wants(name) and not (setting.live and len(clips.truth) == 1):
            samples, seconds = draw(model, clips, setting, options)
            row = figures(samples, clips, base, options.seed, setting.aggregate)
            yield Row(name, row | {"seconds": seconds, **setting._asdict()})


def doubtful_rows(model: released.Model, options: Options, clips: Clips) -> Iterator[Item]:
    """The encoder and the diffusion on the heavier peaks, then from mixtures of the heatmaps."""
    single, seconds = draw(model, clips, Setting(), options)
    base = joint_errors(single.mean(0), clips)
    privileges = f"heatmaps simulated about detections, intrinsics; {bench.NO_DEPTH}; best_of_* choose by the truth"
    yield Table(f"{base.size} poses with a joint in doubt, {model.spec.name}; mm", privileges, bench.tuned(model))
    encoded = encoder_poses(model, clips)
    yield Row("encoder alone", figures(encoded[None], clips, base, options.seed))
    yield Row("peaks alone", figures(single, clips, base, options.seed) | {"seconds": seconds})
    yield from setting_rows(model, options, clips, base, DOUBTFUL)


def encoder_poses(model: released.Model, clips: Clips) -> Array:
    """Poses [C, F, J, 3] metres of the context encoder alone."""

    @jax.jit
    def one(keypoints: Array, confidence: Array, intrinsics: Array) -> Array:
        cond, view = encode_keypoints(intrinsics, keypoints, confidence)
        return decode_pose(model.statistics, view, encode_rows(model, cond).pose)

    return jnp.stack([one(*map(jnp.asarray, x)) for x in zip(*clips[:3], strict=True)])


def draw(model: released.Model, clips: Clips, setting: Setting, options: Options) -> tuple[Array, float]:
    """Samples [H, C, F, J, 3] metres, and seconds, compilation apart."""
    key, num = jax.random.key(options.seed), setting.samples or options.hypotheses

    @jax.jit
    def live(keypoints: Array, confidence: Array, intrinsics: Array) -> Array:
        def step(stream: Stream, seen: tuple[Array, Array]) -> tuple[Stream, Array]:
            lifted, stream = step_stream(model, stream, *seen, camera=Camera(intrinsics[0]))
            return stream, lifted.samples[:, 0]

        stream = start_stream(key, model, num_hypotheses=num)
        return jnp.swapaxes(jax.lax.scan(step, stream, (keypoints, confidence))[1], 0, 1)

    @jax.jit
    def one(keypoints: Array, confidence: Array, intrinsics: Array, peaks: Mixture | None = None) -> Array:
        cond, view = encode_keypoints(intrinsics, keypoints, confidence)
        mixture = {"num_components": setting.components, "depth": setting.depth, "whole_pose": setting.whole_pose}
        mixture["keypoints"] = None if peaks is None else encode_mixture(view, intrinsics, peaks)
        start_key = jax.random.fold_in(key, START)
        states = draw_poses(
            key,
            model,
            cond,
            num_hypotheses=num,
            sampler=sampler_of(setting.sampler, setting.steps),
            features=setting.features,
            start=lambda encoded: initial_distribution(start_key, model, encoded, **mixture),  # type: ignore[arg-type]  # of many types
        )
        return decode_pose(model.statistics, view, states)

    inputs: list[tuple[Any, ...]] = [tuple(map(jnp.asarray, x)) for x in zip(*clips[:3], strict=True)]
    if setting.heatmaps:
        inputs = [(*x, Mixture(*peaks)) for x, *peaks in zip(inputs, *clips.peaks, strict=True)]  # type: ignore[misc]  # there
    compiled = (live if setting.live else one).lower(*inputs[0]).compile()
    started = time.perf_counter()
    samples = jnp.stack([jax.block_until_ready(compiled(*x)) for x in inputs], 1)
    return samples, time.perf_counter() - started


def joint_errors(poses: Array, clips: Clips) -> np.ndarray:
    """Mean joint error [C * F] mm, root-relative."""
    return 1000 * np.asarray(metrics.mpjpe(*map(metrics.align_root, (poses, jnp.asarray(clips.truth))))).reshape(-1)


def figures(samples: Array, clips: Clips, base: np.ndarray, seed: int, how: str = "mean") -> dict[str, Any]:
    """A row: errors of the aggregate, its ratio to `base`, calibration; of clips also the motion's errors."""
    truth = metrics.align_root(jnp.asarray(clips.truth))
    num, joints = len(samples), truth.shape[-2:]
    pose = getattr(aggregate, how)(samples)
    error = joint_errors(pose, clips)
    flat, flat_truth = samples.reshape(num, -1, *joints), truth.reshape(-1, *joints)
    row: dict[str, Any] = {
        "mean_mm": float(error.mean()),
        "p_mpjpe_mm": 1000 * float(metrics.p_mpjpe(pose.reshape(-1, *joints), flat_truth).mean()),
        "ratio": harness.compared(seed, error, base, clips.group)["ratio"],
    }
    if num > 1:
        each = metrics.mpjpe(flat, flat_truth)
        row |= {
            "best_of_5_mm": 1000 * float(metrics.best_of(each, min(5, num)).mean()),
            f"best_of_{num}_mm": 1000 * float(metrics.best_of(each).mean()),
            "ece": float(calibration.ece(flat, flat_truth).ece),
        }
    if clips.truth.shape[0] > 1:
        row["velocity_mm"] = 1000 * float(metrics.velocity_error(pose, truth).mean())
        row["acceleration_mm"] = 1000 * float(metrics.acceleration_error(pose, truth).mean())
        row["acceleration_single_mm"] = 1000 * float(metrics.acceleration_error(samples[0], truth).mean())
    return row
