"""Score a lifting model on the fixed benchmark, every figure with the privileges it used.

    python -m experiments.evaluate --model=pose17 --out=runs/eval            validation frames, four rows
    python -m experiments.evaluate --model=pose17 --dataset=walker           real detections from four cameras

Prints a table and writes `<dataset>.json`, and for each row of `frames` a picture of its reliability (with `[viz]`).
Rows of `frames`: 2D detected and camera known (the benchmark's
own setting), the same through COCO's joint set, 2D exact, and camera unknown. Root depth is never given.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging

from jaxpose import model as released
from jaxpose.base import Array
from jaxpose.commands.detections import DEFAULT_FOV_DEG, rescaled
from jaxpose.datasets.mocap import data_root
from jaxpose.evaluation import calibration
from jaxpose.evaluation.metrics import align_root, p_mpjpe
from jaxpose.evaluation.protocols import LiftingBench, lifting_row, load_lifting_bench
from jaxpose.files import write_json
from jaxpose.geometry.camera import intrinsics_from_fov
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import COCO_17, H36M_17
from jaxpose.io.keypoints import read_keypoints
from jaxpose.tasks.lift import Lifted, jitted_lift
from jaxpose.training.checkpoint import git_commit
from jaxpose.viz import reliability_png

MODEL = flags.DEFINE_string("model", "pose17", "A bundled model's name or a .safetensors file.")
DATASET = flags.DEFINE_enum("dataset", "frames", ["frames", "walker"], "What to score on.")
BENCH = flags.DEFINE_string("bench", None, "Benchmark file; by default val_frames.npz beside JAXPOSE_DATA.")
HYPOTHESES = flags.DEFINE_integer("hypotheses", 200, "3D poses per detection.", lower_bound=2)
STEPS = flags.DEFINE_integer("steps", None, "Solver steps; by default the model's own.")
STRIDE = flags.DEFINE_integer("stride", 1, "Every n-th pose only.", lower_bound=1)
ROWS = flags.DEFINE_multi_string("row", None, "Only the rows of these names.")
SEED = flags.DEFINE_integer("seed", 0, "Of the one key.")
OUT = flags.DEFINE_string("out", "runs/eval", "Folder for the JSON file.")

_SHOWN = ("mean", "geometric_median", "best_of_10", "best_of_N", "p_mean", "p_best_of_N", "crps", "energy_score")


def main(argv: list[str]) -> None:
    del argv
    logging.set_verbosity(logging.WARNING)
    model = released.load(MODEL.value)
    result = {
        "model": released.describe(model),
        "hypotheses": HYPOTHESES.value,
        "network_calls": (STEPS.value or model.spec.num_steps) + 1,
        "solver": f"dpmpp_2m(eta={model.spec.eta:g}), {model.spec.spacing} grid",
        "device": jax.devices()[0].device_kind,
        "seed": SEED.value,
        "commit": git_commit(),
        "rows": {"frames": frames, "walker": walker}[DATASET.value](model),
    }
    path = Path(OUT.value) / f"{DATASET.value}.json"
    write_json(path, result)
    print(f"wrote {path}")


def frames(model: released.Model) -> dict[str, Any]:
    """Rows of the benchmark file, by how much the model was told."""
    path = Path(BENCH.value) if BENCH.value else data_root().parent / "bench" / "val_frames.npz"
    bench = LiftingBench(*(x[:: STRIDE.value] for x in load_lifting_bench(path)))
    sure = np.ones_like(bench.confidence)
    no_camera = np.tile(intrinsics_from_fov(1000, 1000, np.radians(DEFAULT_FOV_DEG)), (len(sure), 1))
    through_coco = (jnp.asarray(bench.keypoints), jnp.asarray(bench.confidence))
    for source, target in ((H36M_17, COCO_17), (COCO_17, H36M_17)):
        through_coco = convert_joints(*through_coco, source, target)
    settings = {
        "detected, K given": (bench.keypoints, bench.confidence, bench.intrinsics),
        "detected in COCO's joints, K given": (*through_coco, bench.intrinsics),
        "true, K given": (bench.keypoints_true, sure, bench.intrinsics),
        f"detected, {DEFAULT_FOV_DEG:g} degrees assumed": (bench.keypoints, bench.confidence, no_camera),
    }
    rows = {}
    print(
        f"{len(sure)} poses of {path.name}; mm; 2D, camera | "
        + " | ".join(_SHOWN)
        + " | macro | ECE | in 50 % | in 90 % | in 90 % radius | s/pose"
    )
    for name, inputs in settings.items():
        if ROWS.value and name not in ROWS.value:
            continue
        lifted, seconds = lift_all(model, *inputs)
        row = lifting_row(lifted.samples, bench.joints_cam, bench.category, radius_90=lifted.radius_90)
        row |= {"seconds_per_pose": seconds / len(sure), "root_depth": "none", "scale": model.spec.scale}
        rows[name] = row
        shown = [row[f"{k.replace('_N', f'_{HYPOTHESES.value}')}_mm"] for k in _SHOWN]
        print(
            f"{name} | " + " | ".join(f"{v:.1f}" for v in shown) + f" | {row['macro_mean_mm']:.1f}"
            f" | {row['ece']:.3f} | {row['coverage_50']:.0%} | {row['coverage_90']:.0%}"
            f" | {row['radius_coverage_90']:.0%} | {row['seconds_per_pose']:.4f}",
            flush=True,
        )
        picture(name, lifted.samples, bench.joints_cam)
    return rows


def picture(name: str, samples: Array, truth: np.ndarray) -> None:
    """The reliability of one row per joint and axis, where matplotlib is there to draw it."""
    samples, relative = align_root(samples), align_root(jnp.asarray(truth))
    curve = calibration.ece(samples, relative)
    axes = calibration.reliability(samples, relative)
    out = Path(OUT.value) / f"reliability_{re.sub('[^a-z0-9]+', '_', name.lower())}.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        reliability_png(out, curve.levels, curve.curve, axes, H36M_17, title=f"{name}: ECE {float(curve.ece):.3f}")
    except ImportError as error:
        print(f"no picture of the reliability: {error}")
    else:
        print(f"wrote {out}")


def walker(model: released.Model) -> dict[str, Any]:
    """P-MPJPE of the mean pose, each camera alone, over the joints that COCO and the model both name."""
    path = data_root() / "keypoints2d" / "walker_4cam.npz"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; set JAXPOSE_DATA")
    with np.load(path) as z:
        points3d, cameras = z["points3d"], [str(c) for c in z["camera"]]
    rows = {}
    for camera in cameras:
        kp = read_keypoints(path, camera=camera)
        confidence = np.where(kp.confidence >= 0.1, kp.confidence, 0)
        sure = jnp.asarray(rescaled(confidence))
        converted = convert_joints(jnp.asarray(kp.xy), sure, kp.skeleton, H36M_17)
        samples = lift_all(model, *converted, kp.intrinsics)[0].samples
        shared = [j for j in kp.skeleton.joints if j in H36M_17.joints]
        ours = np.array([H36M_17.joints.index(j) for j in shared])
        truth = jnp.asarray(points3d[:, [kp.skeleton.joints.index(j) for j in shared]])
        error = 1000 * p_mpjpe(samples.mean(0)[:, ours], truth)
        best = 1000 * jnp.stack([p_mpjpe(s, truth) for s in samples[:, :, ours]]).min(0)
        rows[camera] = {"p_mean_mm": float(error.mean()), f"p_best_of_{HYPOTHESES.value}_mm": float(best.mean())}
        print(f"{camera}: {len(shared)} joints, " + ", ".join(f"{k} {v:.1f}" for k, v in rows[camera].items()))
    return rows


def lift_all(model: released.Model, keypoints: Any, confidence: Any, intrinsics: Any) -> tuple[Lifted, float]:
    """What lifting gives and the seconds it took, compilation apart."""
    inputs = [jnp.asarray(x, jnp.float32) for x in (keypoints, confidence, intrinsics)]

    key, shape = jax.random.key(SEED.value), {"num_hypotheses": HYPOTHESES.value, "num_steps": STEPS.value}
    compiled = jitted_lift.lower(key, model, inputs[0], inputs[1], intrinsics=inputs[2], **shape).compile()
    started = time.perf_counter()
    lifted = jax.block_until_ready(compiled(key, model, inputs[0], inputs[1], intrinsics=inputs[2]))
    return lifted, time.perf_counter() - started


def cli() -> None:
    """Errors that a user can mend leave with code 2 and one line."""
    try:
        app.run(main)
    except ValueError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    cli()
