"""Which one pose to take of many hypotheses, blindly: the aggregates of `evaluation/aggregate.py` against the mean.

    python -m experiments.evaluate_aggregates                              validation frames, four rows, every 20th pose
    python -m experiments.evaluate_aggregates --dataset=walker --stride=4  real detections of four cameras
    python -m experiments.evaluate_aggregates --stride=1 --likelihood=0    all frames, without the costly likelihood

Prints, for each row, number of hypotheses and aggregate, three errors in mm with the 95 % interval of their difference
from the mean's (paired bootstrap over poses; of the walker over stretches of 10 frames), and writes
`aggregates_<dataset>.json`. MPJPE is relative to the root, P-MPJPE after Procrustes, absolute in the camera frame:
each hypothesis where the keypoints put it (`codec.place`), then aggregated. Where the camera is assumed, absolute
errors are mostly the camera's. The walker's truth is a triangulation good to 1-2 cm, relative to the hips' middle.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging

from jaxpose import model as released
from jaxpose.base import Array
from jaxpose.commands.detections import DEFAULT_FOV_DEG, rescaled
from jaxpose.datasets.mocap import data_root
from jaxpose.evaluation import aggregate, metrics
from jaxpose.evaluation.bootstrap import paired_bootstrap
from jaxpose.evaluation.protocols import LiftingBench, load_lifting_bench
from jaxpose.files import write_json
from jaxpose.geometry.camera import intrinsics_from_fov
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import COCO_17, H36M_17
from jaxpose.io.keypoints import read_keypoints
from jaxpose.tasks.lift import jitted_lift
from jaxpose.tasks.likelihood import jitted_lifted_log_density
from jaxpose.training.checkpoint import git_commit

MODEL = flags.DEFINE_string("model", "pose17", "A bundled model's name or a .safetensors file.")
DATASET = flags.DEFINE_enum("dataset", "frames", ["frames", "walker"], "What to score on.")
BENCH = flags.DEFINE_string("bench", None, "Benchmark file; by default val_frames.npz beside JAXPOSE_DATA.")
HYPOTHESES = flags.DEFINE_multi_integer("hypotheses", [10, 50, 200], "3D poses per detection.", lower_bound=2)
LIKELIHOOD = flags.DEFINE_integer("likelihood", 50, "With up to so many hypotheses, by likelihood too.")
ADDED = flags.DEFINE_float("added", aggregate.ADDED, "What weights may add to the mean's variance.")
NOISE_PX = flags.DEFINE_float("noise_px", None, "Of the keypoints; by default 0.05 of their extent.")
STRIDE = flags.DEFINE_integer("stride", 20, "Every n-th pose or frame only.", lower_bound=1)
ROWS = flags.DEFINE_multi_string("row", None, "Only the rows of these names.")
SEED = flags.DEFINE_integer("seed", 0, "Of the one key.")
OUT = flags.DEFINE_string("out", "runs/eval", "Folder for the JSON file.")

_PLAIN = ("mean", "median", "geometric_median", "medoid", "mode", "pose_mode")
_FIGURES = ("mpjpe_mm", "p_mpjpe_mm", "absolute_mm")


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


def main(argv: list[str]) -> None:
    del argv
    logging.set_verbosity(logging.WARNING)
    if not ADDED.value > 0:
        raise ValueError(f"--added: needed a number > 0, got {ADDED.value}")
    if NOISE_PX.value is not None and not NOISE_PX.value > 0:
        raise ValueError(f"--noise_px: needed pixels > 0, got {NOISE_PX.value}")
    model = released.load(MODEL.value)
    cases = {"frames": frames, "walker": walker}[DATASET.value]()
    if unknown := set(ROWS.value or ()) - set(cases):
        raise ValueError(f"--row: got {sorted(unknown)}, legal are {list(cases)}")
    result = {
        "model": released.describe(model),
        "added": ADDED.value,
        "noise_px": NOISE_PX.value,
        "stride": STRIDE.value,
        "device": jax.devices()[0].device_kind,
        "seed": SEED.value,
        "commit": git_commit(),
        "rows": {name: row(model, name, case) for name, case in cases.items() if name in (ROWS.value or cases)},
    }
    path = Path(OUT.value) / f"aggregates_{DATASET.value}.json"
    write_json(path, result)
    print(f"wrote {path}")


def row(model: released.Model, name: str, case: Case) -> dict[str, Any]:
    """Figures by number of hypotheses and aggregate; the hypotheses of fewer are the first of more."""
    inputs = [jnp.asarray(x, jnp.float32) for x in (case.keypoints, case.confidence, case.intrinsics)]
    xy, confidence, intrinsics = inputs
    most = max(HYPOTHESES.value)
    key = jax.random.key(SEED.value)
    lifted = jitted_lift(key, model, xy, confidence, intrinsics=intrinsics, num_hypotheses=most)
    likely = [n for n in HYPOTHESES.value if n <= LIKELIHOOD.value]
    log_density, seconds = None, None
    if likely:
        samples, started = lifted.samples[: max(likely)], time.perf_counter()
        log_density = jitted_lifted_log_density(
            key, model, samples, xy, confidence, intrinsics=intrinsics
        ).block_until_ready()
        seconds = time.perf_counter() - started
    found: dict[str, Any] = {"poses": len(xy), "likelihood_seconds": seconds}
    for num in HYPOTHESES.value:
        errors = {}
        print(f"\n{name}, {len(xy)} poses, {num} hypotheses | effective number | {' | '.join(_FIGURES)}")
        for how, poses, placed, number in candidates(
            lifted.samples[:num], lifted.root[:num], inputs, log_density if num in likely else None
        ):
            errors[how] = scores(case, poses, placed) | {"effective_number": number}
            print(shown(how, errors[how], errors["mean"], case.groups), flush=True)
        found[str(num)] = {how: record(e, errors["mean"], case.groups) for how, e in errors.items()}
    if seconds is not None:
        print(f"likelihood of {max(likely)} hypotheses: {1000 * seconds / len(xy):.0f} ms a pose, compilation included")
    return found


def candidates(
    samples: Array, root: Array, inputs: list[Array], log_density: Array | None
) -> Iterator[tuple[str, Array, Array, float]]:
    """Of each aggregate: name, pose relative to the root and in the camera frame [N, J, 3], effective number."""
    placed = samples + root[:, :, None]
    for how in _PLAIN:
        one = _JITTED[how]
        yield how, one(samples), one(placed), float(len(samples))
    by_agreement = _reprojection(samples, *inputs, noise_px=NOISE_PX.value, added=ADDED.value)
    weighted = {"reprojection": ("mean", by_agreement)}
    weighted["reprojection, geometric_median"] = ("geometric_median", by_agreement)
    if log_density is not None:
        by_likelihood = aggregate.likelihood_weights(log_density[: len(samples)], added=ADDED.value)
        weighted["likelihood"] = ("mean", by_likelihood)
    for how, (kind, weights) in weighted.items():
        number = float(aggregate.effective_number(weights).mean())
        yield how, _JITTED[kind](samples, weights), _JITTED[kind](placed, weights), number


_JITTED = {how: jax.jit(getattr(aggregate, how)) for how in _PLAIN}
_reprojection = jax.jit(aggregate.reprojection_weights, static_argnames="added")


def scores(case: Case, pose: Array, placed: Array) -> dict[str, Any]:
    """Errors [N] in mm of poses [N, J, 3] relative to their root and in the camera frame."""
    pose, placed, truth = pose[:, case.joints], placed[:, case.joints], jnp.asarray(case.truth)
    own, true = (p - p[:, jnp.array(case.origin)].mean(1, keepdims=True) for p in (pose, truth))
    errors = metrics.mpjpe(own, true), metrics.p_mpjpe(pose, truth), metrics.mpjpe(placed, truth)
    return {k: 1000 * np.asarray(e, np.float64) for k, e in zip(_FIGURES, errors, strict=True)}


def record(errors: dict[str, Any], base: dict[str, Any], groups: np.ndarray | None) -> dict[str, Any]:
    """Mean errors, and how far they are from the base's, with intervals."""
    found: dict[str, Any] = {"effective_number": errors["effective_number"]}
    for k in _FIGURES:
        gap = paired_bootstrap(SEED.value, errors[k], base[k], groups=groups, num=2000)
        found[k] = float(errors[k].mean())
        found[f"{k.removesuffix('_mm')}_minus_mean_mm"] = [gap.mean, gap.low, gap.high]
    return found


def shown(how: str, errors: dict[str, Any], base: dict[str, Any], groups: np.ndarray | None) -> str:
    """A line of the table."""
    figures = record(errors, base, groups)
    cells = []
    for k in _FIGURES:
        gap, low, high = figures[f"{k.removesuffix('_mm')}_minus_mean_mm"]
        cells.append(f"{figures[k]:.1f}" + ("" if how == "mean" else f" ({gap:+.2f} [{low:+.2f}, {high:+.2f}])"))
    return f"{how} | {errors['effective_number']:.0f} | {' | '.join(cells)}"


def frames() -> dict[str, Case]:
    """The rows of `experiments.evaluate`: by how much the model was told."""
    path = Path(BENCH.value) if BENCH.value else data_root().parent / "bench" / "val_frames.npz"
    bench = LiftingBench(*(x[:: STRIDE.value] for x in load_lifting_bench(path)))
    sure = np.ones_like(bench.confidence)
    no_camera = np.tile(intrinsics_from_fov(1000, 1000, np.radians(DEFAULT_FOV_DEG)), (len(sure), 1))
    through_coco = (jnp.asarray(bench.keypoints), jnp.asarray(bench.confidence))
    for source, target in ((H36M_17, COCO_17), (COCO_17, H36M_17)):
        through_coco = convert_joints(*through_coco, source, target)
    settings: dict[str, tuple[Any, Any, np.ndarray]] = {
        "detected": (bench.keypoints, bench.confidence, bench.intrinsics),
        "COCO joints": (*through_coco, bench.intrinsics),
        "exact": (bench.keypoints_true, sure, bench.intrinsics),
        "camera unknown": (bench.keypoints, bench.confidence, no_camera),
    }
    return {
        name: Case(np.asarray(xy), np.asarray(confidence), intrinsics, bench.joints_cam, np.arange(17), [0])
        for name, (xy, confidence, intrinsics) in settings.items()
    }


def walker() -> dict[str, Case]:
    """All cameras in one row, so that the bootstrap's groups are stretches of time, not cameras."""
    path = data_root() / "keypoints2d" / "walker_4cam.npz"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; set JAXPOSE_DATA")
    with np.load(path) as z:
        points3d, cameras, R, t = z["points3d"], [str(c) for c in z["camera"]], z["R"], z["t"]
    parts = []
    for camera, R_cam_world, t_cam in zip(cameras, R, t, strict=True):
        kp = read_keypoints(path, camera=camera)
        shared = [j for j in kp.skeleton.joints if j in H36M_17.joints]
        truth = points3d[:, [kp.skeleton.joints.index(j) for j in shared]] @ R_cam_world.T + t_cam
        sure = jnp.asarray(rescaled(np.where(kp.confidence >= 0.1, kp.confidence, 0)))
        xy, confidence = convert_joints(jnp.asarray(kp.xy), sure, kp.skeleton, H36M_17)
        parts.append((xy, confidence, kp.intrinsics, truth, kp.frame // 10))
    columns = (np.concatenate([np.asarray(part[k])[:: STRIDE.value] for part in parts]) for k in range(5))
    keypoints, seen, intrinsics, truth, groups = columns
    ours = np.array([H36M_17.joints.index(j) for j in shared])
    hips = [shared.index("left_hip"), shared.index("right_hip")]
    return {"walker": Case(keypoints, seen, intrinsics, truth.astype(np.float32), ours, hips, groups)}


def cli() -> None:
    """Errors that a user can mend leave with code 2 and one line."""
    try:
        app.run(main)
    except ValueError as error:
        print(f"evaluate_aggregates: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    cli()
