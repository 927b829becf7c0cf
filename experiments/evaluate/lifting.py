"""Lifting on the fixed benchmark and on real detections, every figure with the privileges it used.

    python -m experiments.evaluate frames --model=pose17             validation frames, four rows
    python -m experiments.evaluate walker --model=pose17             real detections from four cameras

Rows of `frames`: 2D detected and camera known (the benchmark's own setting), the same through COCO's joint set, 2D
exact, and camera unknown. Root depth is never given. Beside the JSON file stands, for each row, a picture of its
reliability (with `[viz]`). `walker`: P-MPJPE of the mean pose, each camera alone, over the joints that COCO and the
model both name, against a triangulation that is itself good to 1-2 cm.
"""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench, harness
from experiments.evaluate.harness import Item, Row, Table, timed
from experiments.options import option
from jaxpose import model as released
from jaxpose.app.viz import reliability_png
from jaxpose.base import Array, Camera, Hypotheses
from jaxpose.evaluation import calibration
from jaxpose.evaluation.metrics import align_root, p_mpjpe
from jaxpose.evaluation.protocols import lifting_row
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.io.keypoints import DEFAULT_FOV_DEG
from jaxpose.tasks.lift import lift
from jaxpose.tasks.samplers import stochastic


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    bench: str | None = option(None, "Benchmark file; by default val_frames.npz beside JAXPOSE_DATA.")
    hypotheses: int = option(200, "3D poses per detection.", low=2)
    steps: int | None = option(None, "Solver steps; by default the model's own.", low=1)


def frames(model: released.Model, options: Options) -> Iterator[Item]:
    """Rows of the benchmark file, by how much the model was told."""
    data = bench.load_frames(options.stride, options.bench)
    rows = {
        "detected, K given": "intrinsics",
        "detected in COCO's joints, K given": "intrinsics; 2D once through COCO's joint set",
        "true, K given": "intrinsics and exact 2D",
        f"detected, {DEFAULT_FOV_DEG:g} degrees assumed": "none: the camera is assumed",
    }
    shown = ("mean", "geometric_median", "best_of_10", "best_of_N", "p_mean", "p_best_of_N", "crps", "energy_score")
    columns = {k: f"{k.replace('_N', f'_{options.hypotheses}')}_mm:.1f" for k in shown} | {"macro": "macro_mean_mm:.1f"}
    columns |= {"ECE": "ece:.3f", "in 50 %": "coverage_50:.0%", "in 90 %": "coverage_90:.0%"}
    columns |= {"in 90 % radius": "radius_coverage_90:.0%", "s/pose": "seconds_per_pose:.4f"}
    title = f"{len(data.category)} poses of {Path(options.bench or 'val_frames.npz').name}; mm; 2D, camera"
    yield Table(title, f"{bench.NO_DEPTH}; best_of_* choose by the truth", bench.tuned(model), columns)
    yield {
        "network_calls": stochastic(options.steps).network_calls(model),
        "solver": f"dpmpp_2m(eta={model.spec.eta:g}), {model.spec.spacing} grid",
    }
    for (name, privileges), inputs in zip(rows.items(), bench.lifting_inputs(data), strict=True):
        if not options.wants(name):
            continue
        lifted, seconds = lift_all(model, options, *inputs)
        row = lifting_row(lifted.samples, data.joints_cam, data.category, radius_90=lifted.radius_90)
        row |= {"seconds_per_pose": seconds / len(data.category), "root_depth": "none", "scale": model.spec.scale}
        yield Row(name, row, privileges)
        picture(Path(options.out), name, lifted.samples, data.joints_cam)


def picture(out: Path, name: str, samples: Array, truth: np.ndarray) -> None:
    """The reliability of one row per joint and axis, where matplotlib is there to draw it."""
    samples, relative = align_root(samples), align_root(jnp.asarray(truth))
    curve = calibration.ece(samples, relative)
    axes = calibration.reliability(samples, relative)
    path = out / f"reliability_{re.sub('[^a-z0-9]+', '_', name.lower())}.png"
    out.mkdir(parents=True, exist_ok=True)
    try:
        reliability_png(path, curve.levels, curve.curve, axes, H36M_17, title=f"{name}: ECE {float(curve.ece):.3f}")
    except ImportError as error:
        print(f"no picture of the reliability: {error}")
    else:
        print(f"wrote {path}")


def walker(model: released.Model, options: Options) -> Iterator[Item]:
    """Each camera alone, and with the vertical of its calibration where the model can be told."""
    film = bench.load_walker()
    for camera in film.name:
        view = bench.walker_view(film, camera)
        if camera == film.name[0]:
            title = f"{len(view.joints)} joints of {len(view.frame[:: options.stride])} frames"
            yield Table(title, f"intrinsics; {bench.NO_DEPTH}; p_best_of_* chooses by the truth", _WALKER_TUNED)
        R = film.R_cam_world[film.name.index(camera)]
        ways = {camera: None} | ({f"{camera}, vertical told": R[:, 2]} if "vertical" in model.capabilities else {})
        for name, up in ways.items():
            if not options.wants(name):
                continue
            xy, sure, intrinsics, truth = (x[:: options.stride] for x in (*view[:3], view.truth))
            lifted = lift_all(model, options, xy, sure, intrinsics, up)[0]
            samples = lifted.samples
            error = 1000 * p_mpjpe(samples.mean(0)[:, view.joints], jnp.asarray(truth))
            best = 1000 * jnp.stack([p_mpjpe(s, jnp.asarray(truth)) for s in samples[:, :, view.joints]]).min(0)
            row = {"p_mean_mm": float(error.mean()), f"p_best_of_{options.hypotheses}_mm": float(best.mean())}
            turned = jnp.asarray(truth @ R.T, jnp.float32)
            yield Row(name, row | about_hips(lifted, view.joints, turned))


def about_hips(lifted: Hypotheses, joints: np.ndarray, truth: Array) -> dict[str, float]:
    """Error in mm, ECE and the share within the 90 % radius of joints [S] about the middle of the hips.

    truth: [N, S, 3] metres in camera axes.
    """
    hips = np.isin(joints, [H36M_17.joints.index(name) for name in ("left_hip", "right_hip")])
    centred = [x - x[..., hips, :].mean(-2, keepdims=True) for x in (lifted.samples[:, :, joints], truth)]
    away = jnp.linalg.norm(centred[0].mean(0) - centred[1], axis=-1)
    within = (away <= lifted.radius_90[:, joints])[:, ~hips].mean()
    one = calibration.ece(centred[0][:, :, ~hips], centred[1][:, ~hips], root=None).ece
    return {"mean_mm": 1000 * float(away[:, ~hips].mean()), "ece": float(one), "within_90": float(within)}


_WALKER_TUNED = "the map of COCO's nose to neck_nose on this walker"


def lift_all(
    model: released.Model, options: Options, keypoints: Any, confidence: Any, intrinsics: Any, up: Any = None
) -> tuple[Hypotheses, float]:
    """What lifting gives and the seconds it took, compilation apart; up [3]: the vertical in camera axes, if told."""
    key, inputs = jax.random.key(options.seed), (jnp.asarray(x, jnp.float32) for x in (keypoints, confidence))
    num, sampler = options.hypotheses, stochastic(options.steps)
    vertical = None if up is None else jnp.asarray(up, jnp.float32)

    def lifted(key: Array, model: released.Model, xy: Array, sure: Array, intrinsics: Array) -> Hypotheses:
        return lift(key, model, xy, sure, camera=Camera(intrinsics), num_hypotheses=num, sampler=sampler, up=vertical)

    return timed(lifted, key, model, *inputs, jnp.asarray(intrinsics, jnp.float32))
