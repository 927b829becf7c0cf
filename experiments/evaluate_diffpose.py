"""Does the diffusion improve on its own context encoder, and what do steps, samples, mixture and context give?

    python -m experiments.evaluate_diffpose --model=diffpose17 --out=runs/diffpose
    python -m experiments.evaluate_diffpose --model=diffpose17_video --dataset=video --out=runs/diffpose

Every row is of the fixed benchmark: 2D detected, camera known, root depth never given; errors in mm, root-relative, in
camera axes. "ratio" is the row's error of the mean pose over that of the encoder alone, with the 95 % interval of a
paired bootstrap over sequences (frames) or clips (video). One setting is changed at a time.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging

from jaxpose import model as released
from jaxpose.base import Array
from jaxpose.datasets.mocap import data_root
from jaxpose.evaluation import aggregate, calibration, metrics
from jaxpose.evaluation.bootstrap import paired_bootstrap
from jaxpose.evaluation.protocols import load_lifting_bench
from jaxpose.evaluation.video import load_video_bench
from jaxpose.files import write_json
from jaxpose.spaces.person import decode_pose, encode_keypoints
from jaxpose.tasks.diffpose import START, draw_poses, encode_rows, initial_distribution
from jaxpose.tasks.stream import Stream, start_stream, step_stream
from jaxpose.training.checkpoint import git_commit

MODEL = flags.DEFINE_string("model", "diffpose17", "A DiffPose model's name or a .safetensors file.")
DATASET = flags.DEFINE_enum("dataset", "frames", ["frames", "video"], "val_frames or val_video.")
BENCH = flags.DEFINE_string("bench", None, "Benchmark file; by default the one beside JAXPOSE_DATA.")
STRIDE = flags.DEFINE_integer("stride", 1, "Every n-th pose or clip only.", lower_bound=1)
HYPOTHESES = flags.DEFINE_integer(
    "hypotheses", 200, "Samples of a pose, unless a row says another number.", lower_bound=2
)
ROWS = flags.DEFINE_multi_string("row", None, "Only the rows of these names.")
SEED = flags.DEFINE_integer("seed", 0, "Of the one key.")
OUT = flags.DEFINE_string("out", "runs/diffpose", "Folder for the JSON file.")


class Clips(NamedTuple):
    """C inputs of F rows each: a clip's frames, or all single frames as one input."""

    keypoints: np.ndarray
    confidence: np.ndarray
    intrinsics: np.ndarray
    truth: np.ndarray
    group: np.ndarray


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


def main(argv: list[str]) -> None:
    del argv
    logging.set_verbosity(logging.WARNING)
    model, clips = released.load(MODEL.value), load_clips()
    base = joint_errors(encoder_poses(model, clips), clips)
    print(f"{base.size} poses, {model.spec.name}; mm", flush=True)
    rows: dict[str, Any] = {"encoder alone": figures(encoder_poses(model, clips)[None], clips, base)}
    show("encoder alone", rows["encoder alone"])
    for name, setting in SETTINGS.items():
        if setting.live and DATASET.value == "frames":
            continue
        if not ROWS.value or name in ROWS.value:
            samples, seconds = draw(model, clips, setting)
            rows[name] = figures(samples, clips, base, setting.aggregate) | {"seconds": seconds, **setting._asdict()}
            show(name, rows[name])
    path = Path(OUT.value) / f"{model.spec.name}_{DATASET.value}.json"
    write_json(
        path,
        {
            "model": released.describe(model),
            "poses": int(base.size),
            "seed": SEED.value,
            "commit": git_commit(),
            "device": jax.devices()[0].device_kind,
            "rows": rows,
        },
    )
    print(f"wrote {path}")


def load_clips() -> Clips:
    """The benchmark as clips; single frames are one clip of all, grouped by sequence."""
    name = f"val_{DATASET.value}.npz"
    path = Path(BENCH.value) if BENCH.value else data_root().parent / "bench" / name
    if DATASET.value == "video":
        video = load_video_bench(path)
        picked = [x[:: STRIDE.value] for x in (video.keypoints, video.confidence, video.intrinsics, video.joints_cam)]
        clips, frames = picked[3].shape[:2]
        intrinsics = np.broadcast_to(picked[2][:, None], (clips, frames, 4))
        return Clips(picked[0], picked[1], intrinsics, picked[3], np.repeat(np.arange(clips), frames))
    bench = load_lifting_bench(path)
    with np.load(path, allow_pickle=False) as z:
        group = z["name"][:: STRIDE.value]
    picked = [x[None, :: STRIDE.value] for x in (bench.keypoints, bench.confidence, bench.intrinsics, bench.joints_cam)]
    return Clips(picked[0], picked[1], picked[2], picked[3], group)


def encoder_poses(model: released.Model, clips: Clips) -> Array:
    """Poses [C, F, J, 3] metres of the context encoder alone."""

    @jax.jit
    def one(keypoints: Array, confidence: Array, intrinsics: Array) -> Array:
        cond, view = encode_keypoints(intrinsics, keypoints, confidence)
        return decode_pose(model.statistics, view, encode_rows(model, cond).pose)

    return jnp.stack([one(*map(jnp.asarray, x)) for x in zip(*clips[:3], strict=True)])


def draw(model: released.Model, clips: Clips, setting: Setting) -> tuple[Array, float]:
    """Samples [H, C, F, J, 3] metres, and seconds, compilation apart."""
    key = jax.random.key(SEED.value)

    @jax.jit
    def live(keypoints: Array, confidence: Array, intrinsics: Array) -> Array:
        def step(stream: Stream, seen: tuple[Array, Array]) -> tuple[Stream, Array]:
            lifted, stream = step_stream(model, stream, *seen, intrinsics=intrinsics[0])
            return stream, lifted.samples[:, 0]

        stream = start_stream(key, model, num_hypotheses=setting.samples or HYPOTHESES.value)
        return jnp.swapaxes(jax.lax.scan(step, stream, (keypoints, confidence))[1], 0, 1)

    @jax.jit
    def one(keypoints: Array, confidence: Array, intrinsics: Array) -> Array:
        cond, view = encode_keypoints(intrinsics, keypoints, confidence)
        states = draw_poses(
            key,
            model,
            cond,
            num_hypotheses=setting.samples or HYPOTHESES.value,
            num_steps=setting.steps,
            sampler=setting.sampler,
            features=setting.features,
            start=lambda encoded: initial_distribution(
                jax.random.fold_in(key, START),
                model,
                encoded,
                num_components=setting.components,
                depth=setting.depth,
                whole_pose=setting.whole_pose,
            ),
        )
        return decode_pose(model.statistics, view, states)

    inputs = [tuple(map(jnp.asarray, x)) for x in zip(*clips[:3], strict=True)]
    compiled = (live if setting.live else one).lower(*inputs[0]).compile()
    started = time.perf_counter()
    samples = jnp.stack([jax.block_until_ready(compiled(*x)) for x in inputs], 1)
    return samples, time.perf_counter() - started


def joint_errors(poses: Array, clips: Clips) -> np.ndarray:
    """Mean joint error [C * F] mm, root-relative."""
    return 1000 * np.asarray(metrics.mpjpe(*map(metrics.align_root, (poses, jnp.asarray(clips.truth))))).reshape(-1)


def figures(samples: Array, clips: Clips, base: np.ndarray, how: str = "mean") -> dict[str, Any]:
    """A row: errors of the aggregate, its ratio to `base`, calibration; of clips also the motion's errors."""
    truth = metrics.align_root(jnp.asarray(clips.truth))
    num, joints = len(samples), truth.shape[-2:]
    pose = getattr(aggregate, how)(samples)
    error = joint_errors(pose, clips)
    flat, flat_truth = samples.reshape(num, -1, *joints), truth.reshape(-1, *joints)
    change = paired_bootstrap(SEED.value, error, base, groups=clips.group)
    row: dict[str, Any] = {
        "mean_mm": float(error.mean()),
        "p_mpjpe_mm": 1000 * float(metrics.p_mpjpe(pose.reshape(-1, *joints), flat_truth).mean()),
        "ratio": [change.ratio, change.ratio_low, change.ratio_high],
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


def show(name: str, row: dict[str, Any]) -> None:
    """One line; the ratio with its interval."""
    ratio, low, high = row["ratio"]
    shown = {k: v for k, v in row.items() if isinstance(v, float) and k != "seconds"}
    text = ", ".join(f"{k} {v:.3f}" if k == "ece" else f"{k} {v:.2f}" for k, v in shown.items())
    print(f"{name}: {text}, ratio {ratio:.3f} ({low:.3f} to {high:.3f})", flush=True)


def cli() -> None:
    """Errors that a user can mend leave with code 2 and one line."""
    try:
        app.run(main)
    except ValueError as error:
        print(f"evaluate_diffpose: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    cli()
