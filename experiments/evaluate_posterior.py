"""What one posterior function gives on real and validation data: zero-shot lifting, fused cameras, mixed measurements.

    python -m experiments.evaluate_posterior --task=lift --stride=40 --out=runs/posterior
    python -m experiments.evaluate_posterior --task=fuse --stride=10 --hypotheses=50 --out=runs/posterior
    python -m experiments.evaluate_posterior --task=parts --stride=40 --hypotheses=50 --out=runs/posterior

lift   2D of the benchmark's frames, K known: pose17 told the keypoints as its condition, and the same network told
       nothing, whose law of poses meets the keypoints in `posterior`; also with the focal length unknown to it.
fuse   the walker's real detections in 1, 2, 3 and 4 calibrated cameras, averaged over the subsets, against `points3d`
       (a triangulation of all four, good to 1-2 cm) over the 12 joints that both joint sets have; and, which favours
       nobody, against the detections of the cameras that were not used. Rows: triangulation, the law told nothing, and
       the law told the first camera's keypoints.
parts  validation poses from 3D joints with noise, some exact joints, bone lengths, limb directions and end effectors,
       each alone and all together.
Prints a table and writes `posterior_<task>.json` beside it.
"""

from __future__ import annotations

import functools
import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging

from jaxpose import model as released
from jaxpose.base import Array
from jaxpose.commands.detections import rescaled
from jaxpose.datasets.mocap import data_root
from jaxpose.evaluation.metrics import p_mpjpe
from jaxpose.evaluation.protocols import LiftingBench, lifting_row, load_lifting_bench
from jaxpose.files import write_json
from jaxpose.geometry.camera import project, undistort
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import COCO_17, H36M_17, bones
from jaxpose.spaces.person import encode_keypoints
from jaxpose.tasks import observations
from jaxpose.tasks.lift import jitted_lift
from jaxpose.tasks.observations import Observed
from jaxpose.tasks.posterior import Prior, fitted, posterior, prior_of
from jaxpose.training.checkpoint import git_commit

MODEL = flags.DEFINE_string("model", "pose17", "A bundled model's name or a .safetensors file.")
TASK = flags.DEFINE_enum("task", "lift", ["lift", "fuse", "parts"], "What to evaluate.")
HYPOTHESES = flags.DEFINE_integer("hypotheses", 200, "Draws of each posterior.", lower_bound=2)
STEPS = flags.DEFINE_integer("steps", None, "Solver steps of `posterior`; by default its own.")
STRIDE = flags.DEFINE_integer("stride", 40, "Every n-th pose or frame only.", lower_bound=1)
NOISE = flags.DEFINE_float("noise", observations.SURE, "Of a sure keypoint, share of the person's extent.")
ROBUST = flags.DEFINE_float("robust", None, "Degrees of freedom of Student's t for keypoints; None: Gaussian.")
ROWS = flags.DEFINE_multi_string("row", None, "Only the rows of these names.")
SEED = flags.DEFINE_integer("seed", 0, "Of the one key.")
OUT = flags.DEFINE_string("out", "runs/posterior", "Folder for the JSON file.")

_SHOWN = ("mean", "geometric_median", "best_of_10", "best_of_N", "p_mean", "p_best_of_N", "energy_score")
SHARED = [joint for joint in COCO_17.joints if joint in H36M_17.joints and joint != "nose"]
_COCO = np.array([COCO_17.joints.index(joint) for joint in SHARED])
_OURS = np.array([H36M_17.joints.index(joint) for joint in SHARED])


def main(argv: list[str]) -> None:
    del argv
    logging.set_verbosity(logging.WARNING)
    model = released.load(MODEL.value)
    told_nothing = jax.jit(lambda key: fitted(key, prior_of(model)).covariance)(jax.random.key(SEED.value))
    prior = prior_of(model)._replace(covariance=told_nothing)
    result = {
        "model": released.describe(model),
        "hypotheses": HYPOTHESES.value,
        "steps": STEPS.value,
        "stride": STRIDE.value,
        "noise": NOISE.value,
        "robust": ROBUST.value,
        "seed": SEED.value,
        "commit": git_commit(),
        "device": jax.devices()[0].device_kind,
        "rows": {"lift": lifting, "fuse": fusion, "parts": parts}[TASK.value](model, prior),
    }
    path = Path(OUT.value) / f"posterior_{TASK.value}.json"
    write_json(path, result)
    print(f"wrote {path}")


def bench() -> LiftingBench:
    """Every n-th validation frame."""
    path = data_root().parent / "bench" / "val_frames.npz"
    return LiftingBench(*(x[:: STRIDE.value] for x in load_lifting_bench(path)))


# ------------------------------------------------------------------------------------------------ zero-shot lifting
def lifting(model: released.Model, prior: Prior) -> dict[str, Any]:
    """Rows of (method, whether the focal length is known); the first is the network told the keypoints."""
    data = bench()
    keypoints, confidence, intrinsics, truth = (
        jnp.asarray(x, jnp.float32) for x in (data.keypoints, data.confidence, data.intrinsics, data.joints_cam)
    )

    def conditional() -> Array:
        key = jax.random.key(SEED.value)
        return jitted_lift(
            key, model, keypoints, confidence, intrinsics=intrinsics, num_hypotheses=HYPOTHESES.value
        ).samples

    def told_nothing(method: str, smc: bool = False, known_focal: bool = True) -> Callable[[], Array]:
        def one(row: tuple[Array, ...]) -> Array:
            index, uv, sure, camera = row
            noise = observations.keypoint_noise_px(uv, sure, NOISE.value)
            view = observations.sight(uv[None], noise[None], sure[None], camera[None])
            seen = observations.seen_by(view, known_focal=known_focal)
            drawn = draw(jax.random.fold_in(jax.random.key(SEED.value), index), prior, (seen,), method, smc)
            return jnp.einsum("ji,hkj->hki", view.R_view_world, drawn)

        rows = (jnp.arange(len(keypoints)), keypoints, confidence, intrinsics)
        return jax.jit(lambda: jnp.swapaxes(jax.lax.map(one, rows), 0, 1))

    rows = {
        "told the keypoints (lift)": conditional,
        "told nothing, pseudo_inverse": told_nothing("pseudo_inverse"),
        "told nothing, pseudo_inverse, smc": told_nothing("pseudo_inverse", smc=True),
        "told nothing, dps": told_nothing("dps"),
        "told nothing, dps, smc": told_nothing("dps", smc=True),
        "told nothing, pseudo_inverse, focal unknown": told_nothing("pseudo_inverse", known_focal=False),
    }
    return table(rows, truth, data.category)


def draw(key: Array, prior: Prior, seen: tuple[Observed, ...], method: str, smc: bool = False) -> Array:
    """Joints [H, J, 3] of equally likely draws: those with weights are drawn again by them, systematically."""
    drawn = posterior(
        key,
        prior,
        *observations.together(*seen),
        method=method,
        smc=smc,
        robust=ROBUST.value,
        num_hypotheses=HYPOTHESES.value,
        num_steps=STEPS.value,
    )
    at = (jnp.arange(HYPOTHESES.value) + jax.random.uniform(key)) / HYPOTHESES.value
    chosen = jnp.minimum(jnp.searchsorted(jnp.cumsum(drawn.weights), at), HYPOTHESES.value - 1)
    return drawn.samples[chosen]


def table(rows: dict[str, Callable[[], Array]], truth: Array, category: np.ndarray) -> dict[str, dict[str, Any]]:
    """A line of errors for what each row draws [H, N, J, 3]; seconds include compilation."""
    print(f"{len(truth)} poses; mm | " + " | ".join(_SHOWN) + " | coverage_90 | ECE | s/pose")
    result = {}
    for name, samples_of in rows.items():
        if ROWS.value and name not in ROWS.value:
            continue
        started = time.perf_counter()
        samples = jax.block_until_ready(samples_of())
        row = lifting_row(samples, truth, category)
        row["seconds_per_pose"] = (time.perf_counter() - started) / len(truth)
        shown = " | ".join(f"{row[k.replace('_N', f'_{HYPOTHESES.value}') + '_mm']:.1f}" for k in _SHOWN)
        print(
            f"{name} | {shown} | {row['coverage_90']:.2f} | {row['ece']:.3f} | {row['seconds_per_pose']:.2f}",
            flush=True,
        )
        result[name] = row
    return result


# ------------------------------------------------------------------------------------------------ several cameras
def fusion(model: released.Model, prior: Prior) -> dict[str, Any]:
    """Errors by number of cameras, averaged over their subsets."""
    walker = load_walker()
    print(
        "cameras, row | absolute | about their middle | Procrustes | px in the other cameras | spread mm | coverage_90"
    )
    result: dict[str, Any] = {}
    for num in (1, 2, 3, 4):
        subsets = list(itertools.combinations(range(4), num))
        for name in ("triangulation", "told nothing", "told the first camera"):
            if (name == "triangulation" and num == 1) or (ROWS.value and name not in ROWS.value):
                continue
            figures = []
            for subset in subsets:
                if name == "triangulation":
                    world = triangulate(walker, subset)[None]
                else:
                    world = fused(walker, subset, model, prior, name == "told the first camera")
                figures.append(fusion_figures(walker, subset, world))
            row = {k: float(np.nanmean([f[k] for f in figures])) for k in figures[0]}
            print(f"{num}, {name} | " + " | ".join(f"{v:.1f}" for v in row.values()), flush=True)
            result[f"{num} cameras, {name}"] = row
    return result


def load_walker() -> dict[str, np.ndarray]:
    """Every n-th frame: keypoints [F, C, 17, 2] without lens distortion, confidence, cameras, points3d."""
    path = data_root() / "keypoints2d" / "walker_4cam.npz"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; set JAXPOSE_DATA")
    with np.load(path) as z:
        keypoints, points = z["keypoints"][:: STRIDE.value], z["points3d"][:: STRIDE.value]
        K, R, t = (z[k].astype(np.float32) for k in ("K", "R", "t"))
        distortion = np.pad(z["dist"], ((0, 0), (0, 1))).astype(np.float32)
    intrinsics = np.stack([K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]], -1)
    confidence = np.nan_to_num(keypoints[..., 2])
    confidence = np.where((confidence >= 0.1) & np.isfinite(keypoints).all(-1), confidence, 0)
    plane = (np.nan_to_num(keypoints[..., :2]) - intrinsics[:, None, 2:]) / intrinsics[:, None, :2]
    straight = np.asarray(undistort(jnp.asarray(plane), jnp.asarray(distortion)))
    xy = straight * intrinsics[:, None, :2] + intrinsics[:, None, 2:]
    return {
        "xy": xy,
        "confidence": np.stack([rescaled(c) for c in np.swapaxes(confidence, 0, 1)], 1),
        "intrinsics": intrinsics,
        "R": R,
        "t": t,
        "points3d": points,
    }


def triangulate(walker: dict[str, np.ndarray], subset: tuple[int, ...]) -> np.ndarray:
    """COCO's joints [F, 12, 3] by linear least squares, weighted by confidence, on the rays of a subset of cameras."""
    c = list(subset)
    plane = (walker["xy"][:, c] - walker["intrinsics"][c, None, 2:]) / walker["intrinsics"][c, None, :2]
    R, t = walker["R"][c].astype(np.float64), walker["t"][c].astype(np.float64)
    rows = R[:, None, :2] - plane[..., None] * R[:, None, 2:]  # [F, C, J, 2, 3]
    rest = plane * t[:, None, 2:] - t[:, None, :2]
    w = walker["confidence"][:, c, :, None]
    A = np.einsum("fcje,fcjei,fcjek->fjik", w * w, rows, rows)
    b = np.einsum("fcje,fcjei,fcje->fji", w * w, rows, rest)
    enough = (w[..., 0] > 0).sum(1) >= 2
    points = np.linalg.solve(np.where(enough[..., None, None], A, np.eye(3)), b[..., None])[..., 0]
    return np.where(enough[..., None], points, np.nan)[:, _COCO]


def fused(
    walker: dict[str, np.ndarray], subset: tuple[int, ...], model: released.Model, prior: Prior, told: bool
) -> np.ndarray:
    """Joints [H, F, 12, 3] in the world; told: the first camera's keypoints are the network's condition."""
    c = [*subset, *(c for c in range(4) if c not in subset)]  # unused cameras see nothing: one program for all
    used = np.arange(4)[:, None] < len(subset)
    xy, confidence = convert_joints(
        jnp.asarray(walker["xy"][:, c]), jnp.asarray(walker["confidence"][:, c] * used), COCO_17, H36M_17
    )
    cameras = tuple(jnp.asarray(walker[k][c]) for k in ("intrinsics", "R", "t"))
    return np.asarray(_fuse(told, model, prior.covariance, xy, confidence, NOISE.value, *cameras))


@functools.partial(jax.jit, static_argnums=0)
def _fuse(
    told: bool,
    model: released.Model,
    covariance: Array,
    xy: Array,
    confidence: Array,
    sure: float,
    intrinsics: Array,
    R: Array,
    t: Array,
) -> Array:
    own = observations.measured_joints(COCO_17, H36M_17)

    def one(row: tuple[Array, ...]) -> Array:
        index, xy, confidence = row
        noise = observations.keypoint_noise_px(xy, confidence, sure)
        up = None if told else (0.0, 0.0, 1.0)
        view = observations.sight(xy, noise, confidence * own, intrinsics, R, t, up=up)
        seen, prior = observations.seen_by(view), prior_of(model)
        if told:
            prior = prior_of(model, encode_keypoints(intrinsics[0], xy[0], confidence[0])[0])
            seen = seen._replace(value=seen.value.at[0].set(jnp.nan))
        prior = prior._replace(covariance=covariance)
        key = jax.random.fold_in(jax.random.key(SEED.value), index)
        drawn = draw(key, prior, (seen,), "pseudo_inverse")
        return observations.to_world(view, drawn)[:, _OURS]

    return jnp.swapaxes(jax.lax.map(one, (jnp.arange(len(xy)), xy, confidence)), 0, 1)


def fusion_figures(walker: dict[str, np.ndarray], subset: tuple[int, ...], world: np.ndarray) -> dict[str, float]:
    """Errors of the mean of draws [H, F, 12, 3]: mm from points3d, and px from detections of unused cameras."""
    truth, pose = walker["points3d"][:, _COCO], world.mean(0)
    known = np.isfinite(truth).all((1, 2)) & np.isfinite(pose).all((1, 2))
    truth, pose, world = truth[known], pose[known], world[:, known]
    gap = lambda a, b: float(1000 * np.linalg.norm(a - b, axis=-1).mean())  # noqa: E731
    middle = [x - x.mean(-2, keepdims=True) for x in (pose, truth)]
    others = [c for c in range(4) if c not in subset]
    px = []
    for c in others:
        seen = np.asarray(project(walker["intrinsics"][c], pose @ walker["R"][c].T + walker["t"][c]))
        away = np.linalg.norm(seen - walker["xy"][known, c][:, _COCO], axis=-1)
        px.append(np.median(away[walker["confidence"][known, c][:, _COCO] > 0.5]))
    away = np.linalg.norm(world - np.median(world, 0), axis=-1)
    within = np.linalg.norm(truth - np.median(world, 0), axis=-1) <= np.quantile(away, 0.9, axis=0)
    return {
        "absolute_mm": gap(pose, truth),
        "middle_mm": gap(*middle),
        "p_mm": float(1000 * p_mpjpe(jnp.asarray(pose), jnp.asarray(truth)).mean()),
        "other_cameras_px": float(np.mean(px)) if px else float("nan"),
        "spread_mm": float(1000 * np.sqrt(world.var(0).sum(-1)).mean()),
        "coverage_90": 100 * float(within.mean()),
    }


# ------------------------------------------------------------------------------------------------ mixed measurements
LIMBS = [(1, 2), (2, 3), (4, 5), (5, 6), (11, 12), (12, 13), (14, 15), (15, 16), (0, 8)]
ENDS = (3, 6, 10, 13, 16)
CORE = (1, 4, 8, 11, 14)


def parts(model: released.Model, prior: Prior) -> dict[str, Any]:
    """Each measurement alone, and all: noise as said in the names."""
    data = bench()
    keypoints, intrinsics, truth = (
        jnp.asarray(x, jnp.float32) for x in (data.keypoints_true, data.intrinsics, data.joints_cam)
    )
    operators = {
        "all joints, 50 mm": (observations.joints(range(17)), 0.05),
        "hips and shoulders, 10 mm": (observations.joints(CORE), 0.01),
        "bone lengths, 10 mm": (observations.bone_lengths(H36M_17), 0.01),
        "directions of 9 limbs, 0.1": (observations.directions(LIMBS), 0.1),
        "hands, feet and head from the hip, 10 mm": (observations.end_effectors(ENDS), 0.01),
    }
    assert len(bones(H36M_17)) == 16

    def drawn(names: tuple[str, ...]) -> Callable[[], Array]:
        def one(row: tuple[Array, ...]) -> Array:
            index, uv, camera, x_cam = row
            key = jax.random.fold_in(jax.random.key(SEED.value), index)
            view = observations.sight(uv[None], jnp.ones((1, 17)), jnp.ones((1, 17)), camera[None])
            x = (x_cam - x_cam.mean(0)) @ view.R_view_world.T
            seen = []
            for i, name in enumerate(operators):
                operator, noise = operators[name]
                value = operator(x)
                value += noise * jax.random.normal(jax.random.fold_in(key, i), value.shape)
                seen += [Observed(value, operator, jnp.asarray(noise))] if name in names else []
            return jnp.einsum("ji,hkj->hki", view.R_view_world, draw(key, prior, tuple(seen), "pseudo_inverse"))

        rows = (jnp.arange(len(truth)), keypoints, intrinsics, truth)
        return jax.jit(lambda: jnp.swapaxes(jax.lax.map(one, rows), 0, 1))

    rows = {name: drawn((name,)) for name in operators} | {"all of them": drawn(tuple(operators))}
    return table(rows, truth, data.category)


def cli() -> None:
    """Errors that a user can mend leave with code 2 and one line."""
    try:
        app.run(main)
    except ValueError as error:
        print(f"evaluate_posterior: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    cli()
