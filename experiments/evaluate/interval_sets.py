"""Hypotheses beside their truth, which `evaluate intervals` scores: frames, clips, hidden and noisy 3D joints."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench, lifting
from experiments.models import groups
from experiments.options import option
from jaxpose import model as released
from jaxpose.app.commands.calibrate import Scored, turned
from jaxpose.base import Array, Camera, Hypotheses
from jaxpose.datasets.mocap import EVALUATION_ONLY, data_root, load_mocap
from jaxpose.evaluation import metrics
from jaxpose.evaluation.protocols import HIDDEN_PARTS, load_video_bench
from jaxpose.geometry.camera import project
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.io.arrays import load_arrays
from jaxpose.spaces.person import place
from jaxpose.tasks.complete import complete
from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.lift_video import lift_video
from jaxpose.tasks.measure import measure
from jaxpose.tasks.typicality import typicality

TASKS = ("lift", "detected", "clips", "complete", "denoise", "calibrate", "rotations")
FPS = 30.0
NOISE = 0.05  # metres, of denoising
_FILES = ("val_frames.npz", "out_frames.npz")
_WALKER_BLOCK = 0.2  # seconds: its film has 1.7
_CLIP = 54  # frames of UI-PRMD's sequences


@dataclasses.dataclass(frozen=True)
class Options(lifting.Options):
    bench: str | None = option(None, "One benchmark file of frames; by default val_frames.npz and out_frames.npz.")
    task: tuple[str, ...] = option((), "Which tasks; by default all that the model can do.", legal=TASKS)
    hypotheses: int = option(100, "3D poses per detection.", low=2)
    rendered: str = option(
        "runs/rendered", "Folder of shards of experiments.rendered, of whose split val task detected is."
    )
    cache: str = option("runs/evaluate/blazepose", "Folder in which detections of videos are kept.")


class Drawn(NamedTuple):
    """Hypotheses [H, N, 17, 3] of truths [N, 17, 3] metres about the root, radius [N, 17] as the result has it, people.

    counted: [N, 17] joints that are scored. clip: [N] numbers of clips, or None: frames of their own. groups: by name,
    the rows [N] of each. error_px: [N, K] of what was seen, in pixels of a crop of 256; NaN where not known.
    """

    samples: np.ndarray
    truth: np.ndarray
    radius: np.ndarray
    person: np.ndarray
    counted: np.ndarray
    clip: np.ndarray | None = None
    groups: Mapping[str, np.ndarray] = MappingProxyType({})
    error_px: np.ndarray | None = None


def lifted(model: released.Model, options: Options) -> Iterator[tuple[str, Drawn]]:
    """Frames of each file, with their groups."""
    judge = released.load("pose17")
    for name, data, person in frames(options):
        result, _ = lifting.lift_all(model, options, data.keypoints, data.confidence, data.intrinsics)
        inputs = bench.on_device(data)
        error = np.linalg.norm(np.asarray(metrics.align_root(result.mean) - metrics.align_root(inputs[3])), axis=-1)
        typical = np.asarray(typicality(judge, result.mean))
        by_group = seen_groups(result, inputs, typical, error.mean(-1))
        yield name, drawn_of(result, data.joints_cam, person, groups=by_group)


def frames(options: Options) -> Iterator[tuple[str, Any, np.ndarray]]:
    """Name, frames and people of each file that is asked for."""
    for path in (options.bench,) if options.bench else tuple(str(bench.bench_file(name)) for name in _FILES):
        if options.wants(name := Path(path).stem):
            names = load_arrays(path, "name")["name"][:: options.stride]
            yield name, bench.load_frames(options.stride, path), np.array([x.split("/")[0] for x in names])


def drawn_of(result: Hypotheses, truth: np.ndarray, person: np.ndarray, **more: Any) -> Drawn:
    """A result beside its truth, all about the root; every joint but the root counts."""
    samples, centred = (np.asarray(metrics.align_root(jnp.asarray(x))) for x in (result.samples, truth))
    counted = np.ones(truth.shape[:2], bool)
    counted[:, 0] = False
    return Drawn(samples, centred, np.asarray(result.radius_90), person, more.pop("counted", counted), **more)


def seen_groups(
    result: Hypotheses, inputs: tuple[Array, ...], typical: np.ndarray, error: np.ndarray
) -> dict[str, np.ndarray]:
    """Rows by what a user sees of each pose, and by its error [N], which no sign of doubt can surpass."""
    keypoints, confidence, intrinsics, _ = inputs
    root = place(intrinsics, keypoints, confidence, result.mean[None])
    away = jnp.linalg.norm(project(intrinsics, (result.mean + root[0][:, None])) - keypoints, axis=-1)
    extent = jnp.linalg.norm(keypoints.max(1) - keypoints.min(1), axis=-1)
    misfit = np.asarray((away * confidence).sum(-1) / confidence.sum(-1) / extent)
    lean = measure(np.asarray(result.mean), "trunk_elevation")["trunk_elevation"].values[0]
    seen, radius = np.asarray((confidence > 0).sum(-1)), np.asarray(result.radius_90).mean(-1)
    rows = {"leans below 20 degrees": lean < 20, "20 to 45": (lean >= 20) & (lean < 45), "45 and more": lean >= 45}
    for name, sign in {"misfit": misfit, "radius": radius, "typicality": -typical, "error (oracle)": error}.items():
        worst = sign > np.quantile(sign, 2 / 3)
        rows |= {f"{name}, better two thirds": ~worst, f"{name}, worst third": worst}
    rows |= {"all joints visible": seen == 17, "some hidden": seen < 17}
    rows |= {"typicality below 10": typical < 10, "10 to 50": (typical >= 10) & (typical < 50), "50 up": typical >= 50}
    return {name: np.flatnonzero(x) for name, x in rows.items() if x.sum() > 1}


def clips(model: released.Model, options: Options) -> Iterator[tuple[str, Drawn]]:
    """Clips of the validation people and of UI-PRMD."""
    data = load_video_bench(bench.bench_file("val_video.npz"))
    picked = (
        x[:: options.stride] for x in (data.keypoints, data.confidence, data.intrinsics, data.joints_cam, data.name)
    )
    keypoints, confidence, intrinsics, truth, names = picked
    person = np.array([name.split("/")[0] for name in names])
    sets = {"val_video": (keypoints, confidence, intrinsics, truth, person), "uiprmd": other_clips(options)}
    for name, (xy, sure, camera, true, who) in sets.items():
        num, length = true.shape[:2]
        clip = np.repeat(np.arange(num), length)
        flat = [x.reshape(-1, *x.shape[2:]) for x in (xy, sure, true)]
        how: dict[str, Any] = {"frame": np.tile(np.arange(length), num), "person": clip, "fps": FPS}
        how |= {"camera": Camera(jnp.asarray(np.repeat(camera, length, 0))), "num_hypotheses": options.hypotheses}
        if options.wants(name):
            result = lift_video(jax.random.key(options.seed), model, *flat[:2], **how)
            yield name, drawn_of(result, flat[2], np.repeat(who, length), clip=clip)


def other_clips(options: Options) -> tuple[np.ndarray, ...]:
    """Whole sequences of UI-PRMD as the benchmark's cameras and detector see them: keypoints, confidence, intrinsics,
    joints and person of each."""
    mocap = load_mocap(data_root(), "out_of_database", (EVALUATION_ONLY,))
    starts = np.flatnonzero(np.diff(mocap.sequence, prepend=-1))[:: options.stride]
    seen = groups.see(mocap, groups.BENCH, 0, options.seed, num_frames=_CLIP, rows=starts + _CLIP // 2)
    num = len(starts)
    arrays = (x.reshape(num, _CLIP, *x.shape[1:]) for x in (seen.keypoints, seen.confidence, seen.joints_cam))
    keypoints, confidence, joints = arrays
    return keypoints, confidence, np.tile(groups.PINHOLE, (num, 1)), joints, seen.subject[::_CLIP]


def of_joints(task: str, model: released.Model, options: Options) -> Iterator[tuple[str, Drawn]]:
    """3D joints of each file with a part hidden, or with noise."""
    for name, data, person in frames(options):
        truth = metrics.align_root(jnp.asarray(data.joints_cam, jnp.float32))
        rng, key = np.random.default_rng(options.seed), jax.random.key(options.seed)
        counted = np.ones(truth.shape[:2], bool)
        if task == "denoise":
            noisy = truth + NOISE * jax.random.normal(jax.random.key(7), truth.shape)
            result = denoise(key, model, noisy, noise=NOISE, num_hypotheses=options.hypotheses)
        else:
            counted = bench.one_part_of_each(rng, HIDDEN_PARTS, *truth.shape[:2])
            given = jnp.where(jnp.asarray(counted)[..., None], jnp.nan, truth)
            result = complete(key, model, given, num_hypotheses=options.hypotheses)
        samples, joints, radius = map(np.asarray, (result.samples, truth, result.radius_90))
        yield name, Drawn(samples, joints, radius, person, counted)


def calibration_sets(model: released.Model, options: Options) -> Iterator[tuple[str, dict[str, Scored]]]:
    """The walker by camera, and UI-PRMD by half of its people, in turn left out."""
    if options.wants("walker"):
        film = bench.load_walker()
        yield "walker", {camera: _walker(model, options, film, camera) for camera in film.name}
    if not options.wants("uiprmd"):
        return
    path = str(bench.bench_file("out_frames.npz"))
    data, names = bench.load_frames(options.stride, path), load_arrays(path, "name")["name"][:: options.stride]
    result, _ = lifting.lift_all(model, options, data.keypoints, data.confidence, data.intrinsics)
    sequence = np.unique(["_".join(name.split("_")[:2]) for name in names], return_inverse=True)[1]
    person = np.unique([name.split("/")[0] for name in names], return_inverse=True)[1]
    halves = {"first five": person < 5, "last five": person >= 5}
    samples, truth = (np.asarray(metrics.align_root(jnp.asarray(x))) for x in (result.samples, data.joints_cam))
    yield (
        "uiprmd",
        {n: Scored(samples[:, rows], truth[rows], sequence[rows], person[rows]) for n, rows in halves.items()},
    )


def _walker(model: released.Model, options: Options, film: bench.Walker, camera: str) -> Scored:
    """The walker in one camera beside the triangulation, in the joints that both name, about the middle of the hips."""
    view, number = bench.walker_view(film, camera), film.name.index(camera)
    result, _ = lifting.lift_all(model, options, view.keypoints, view.confidence, view.intrinsics)
    truth = np.full((len(view.truth), len(H36M_17.joints), 3), np.nan)
    truth[:, view.joints] = view.truth
    truth[:, 0] = truth[:, [H36M_17.joints.index(f"{side}_hip") for side in ("left", "right")]].mean(1)
    pair, _ = turned(np.asarray(result.samples, np.float64), truth, camera)
    block = 1000 * number + (view.frame / film.fps / _WALKER_BLOCK).astype(int)
    return Scored(*pair, block, np.full(len(truth), number))


def at(drawn: Drawn, rows: np.ndarray) -> Drawn:
    """Some rows of frames."""
    return Drawn(drawn.samples[:, rows], *(x[rows] for x in drawn[1:5]))
