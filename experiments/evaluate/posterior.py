"""What one posterior function gives on real and validation data: zero-shot lifting, fused cameras, mixed measurements.

    python -m experiments.evaluate posterior --task=lift --stride=40 --out=runs/posterior
    python -m experiments.evaluate posterior --task=fuse --stride=10 --hypotheses=50 --out=runs/posterior
    python -m experiments.evaluate posterior --task=parts --stride=40 --hypotheses=50 --out=runs/posterior

lift   2D of the benchmark's frames, K known: pose17 given the keypoints as its condition, and the same network
       unconditional, whose law of poses meets the keypoints in `posterior`; also with the focal length unknown to it.
fuse   the walker's real detections in 1, 2, 3 and 4 calibrated cameras, averaged over the subsets, against `points3d`
       (a triangulation of all four, good to 1-2 cm) over the 12 joints that both joint sets have; and, which favours
       nobody, against the detections of the cameras that were not used. Rows: triangulation, the unconditional law, and
       the law given the first camera's keypoints.
parts  validation poses from 3D joints with noise, some exact joints, bone lengths, limb directions and end effectors,
       each alone and all together.
"""

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench, harness
from experiments.evaluate.harness import Column, Item, Row, Table
from experiments.options import option
from jaxpose import model as released
from jaxpose.base import Array, Camera
from jaxpose.commands.detections import rescaled
from jaxpose.evaluation.metrics import p_mpjpe
from jaxpose.evaluation.protocols import lifting_row
from jaxpose.geometry.camera import project, undistort
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import COCO_17, H36M_17
from jaxpose.spaces.person import encode_keypoints
from jaxpose.tasks import observations
from jaxpose.tasks.lift import lift
from jaxpose.tasks.methods import METHODS
from jaxpose.tasks.posterior import Observed
from jaxpose.tasks.posterior import posterior as draw_posterior
from jaxpose.tasks.priors import Prior, fitted, prior_of

SHARED = [joint for joint in COCO_17.joints if joint in H36M_17.joints and joint != "nose"]
_COCO = np.array([COCO_17.joints.index(joint) for joint in SHARED])
_OURS = np.array([H36M_17.joints.index(joint) for joint in SHARED])


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    """Of the posterior."""

    task: str = option("lift", "What to evaluate.", legal=("lift", "fuse", "parts"))
    hypotheses: int = option(200, "Draws of each posterior.", low=2)
    steps: int | None = option(None, "Solver steps of `posterior`; by default its own.", low=1)
    stride: int = option(40, "Every n-th pose or frame only.", low=1)
    noise: float = option(observations.SURE, "Of a sure keypoint, share of the person's extent.")
    robust: float | None = option(None, "Degrees of freedom of Student's t for keypoints; None: Gaussian.")

    @property
    def variant(self) -> str:
        return self.task


def posterior(model: released.Model, options: Options) -> Iterator[Item]:
    """The table of --task."""
    prior = fitted(jax.random.key(options.seed), prior_of(model))
    yield from {"lift": lifting, "fuse": fusion, "parts": parts}[options.task](model, prior, options)


# ------------------------------------------------------------------------------------------------ zero-shot lifting
def lifting(model: released.Model, prior: Prior, options: Options) -> Iterator[Item]:
    """Rows of (method, whether the focal length is known); the first is the network told the keypoints."""
    data = bench.load_frames(options.stride)
    keypoints, confidence, intrinsics, truth = bench.on_device(data)

    def conditional() -> Array:
        key, num = jax.random.key(options.seed), options.hypotheses
        return lift(key, model, keypoints, confidence, camera=Camera(intrinsics), num_hypotheses=num).samples

    def told_nothing(method: str, smc: bool = False, known_focal: bool = True) -> Callable[[], Array]:
        def one(row: tuple[Array, ...]) -> Array:
            index, uv, sure, camera = row
            noise = observations.keypoint_noise_px(uv, sure, options.noise)
            view = observations.sight(uv[None], noise[None], sure[None], camera[None])
            seen = observations.seen_by(view, known_focal=known_focal)
            key = jax.random.fold_in(jax.random.key(options.seed), index)
            drawn = draw(key, prior, (seen,), method, options, smc)
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
    told = {name: "2D detected, principal point" if "focal" in name else "2D detected, intrinsics" for name in rows}
    yield from table(model, rows, told, truth, data.category, options)


def draw(
    key: Array, prior: Prior, seen: tuple[Observed, ...], method: str, options: Options, smc: bool = False
) -> Array:
    """Joints [H, J, 3] of equally likely draws: those with weights are drawn again by them, systematically."""
    num, steps = options.hypotheses, {} if options.steps is None else {"num_steps": options.steps}
    chosen = METHODS[method](**steps, smc=smc, robust=options.robust)
    drawn = draw_posterior(key, prior, *seen, method=chosen, num_hypotheses=num)
    at = (jnp.arange(num) + jax.random.uniform(key)) / num
    again = jnp.minimum(jnp.searchsorted(jnp.cumsum(drawn.weights), at), num - 1)
    return drawn.samples[again]


def table(
    model: released.Model,
    rows: dict[str, Callable[[], Array]],
    told: dict[str, str],
    truth: Array,
    category: np.ndarray,
    options: Options,
) -> Iterator[Item]:
    """A line of errors for what each row draws [H, N, J, 3]; seconds include compilation."""
    shown = ("mean", "geometric_median", "best_of_10", "best_of_N", "p_mean", "p_best_of_N", "energy_score")
    columns: dict[str, Column] = {k: f"{k.replace('_N', f'_{options.hypotheses}')}_mm:.1f" for k in shown}
    columns |= {"coverage_90": "coverage_90:.2f", "ECE": "ece:.3f", "s/pose": "seconds_per_pose:.2f"}
    yield Table(
        f"{len(truth)} poses; mm", f"{bench.NO_DEPTH}; best_of_* choose by the truth", bench.tuned(model), columns
    )
    for name, samples_of in rows.items():
        if options.wants(name):
            started = time.perf_counter()
            samples = jax.block_until_ready(samples_of())
            row = lifting_row(samples, truth, category)
            yield Row(name, row | {"seconds_per_pose": (time.perf_counter() - started) / len(truth)}, told[name])


# ------------------------------------------------------------------------------------------------ several cameras
def fusion(model: released.Model, prior: Prior, options: Options) -> Iterator[Item]:
    """Errors by number of cameras, averaged over their subsets."""
    walker = load_walker(options.stride)
    columns: dict[str, Column] = {
        "absolute": "absolute_mm:.1f",
        "about their middle": "middle_mm:.1f",
        "Procrustes": "p_mm:.1f",
        "px in the other cameras": "other_cameras_px:.1f",
        "spread mm": "spread_mm:.1f",
        "coverage_90": "coverage_90:.1f",
    }
    title = f"{len(walker['points3d'])} frames of the walker; cameras, row"
    yield Table(title, "cameras calibrated; points3d is made of all four", "nothing on this walker", columns)
    for num in (1, 2, 3, 4):
        subsets = list(itertools.combinations(range(4), num))
        for name in ("triangulation", "told nothing", "told the first camera"):
            if (name == "triangulation" and num == 1) or not options.wants(name):
                continue
            figures = []
            for subset in subsets:
                if name == "triangulation":
                    world = triangulate(walker, subset)[None]
                else:
                    world = fused(walker, subset, model, prior, name == "told the first camera", options)
                figures.append(fusion_figures(walker, subset, world))
            row = {k: float(np.nanmean([f[k] for f in figures])) for k in figures[0]}
            yield Row(f"{num}, {name}", row)


def load_walker(stride: int) -> dict[str, np.ndarray]:
    """Every n-th frame: keypoints [F, C, 17, 2] without lens distortion, confidence, cameras, points3d."""
    film = bench.load_walker(stride)
    intrinsics, distortion, R, t = (x.astype(np.float32) for x in film[2:6])
    confidence = np.nan_to_num(film.keypoints[..., 2])
    confidence = np.where((confidence >= 0.1) & np.isfinite(film.keypoints).all(-1), confidence, 0)
    plane = (np.nan_to_num(film.keypoints[..., :2]) - intrinsics[:, None, 2:]) / intrinsics[:, None, :2]
    straight = np.asarray(undistort(jnp.asarray(plane), jnp.asarray(distortion)))
    xy = straight * intrinsics[:, None, :2] + intrinsics[:, None, 2:]
    confidence = np.stack([rescaled(c) for c in np.swapaxes(confidence, 0, 1)], 1)
    cameras = {"intrinsics": intrinsics, "R": R, "t": t}
    return {"xy": xy, "confidence": confidence, **cameras, "points3d": film.points3d}


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
    walker: dict[str, np.ndarray],
    subset: tuple[int, ...],
    model: released.Model,
    prior: Prior,
    told: bool,
    options: Options,
) -> np.ndarray:
    """Joints [H, F, 12, 3] in the world; told: the first camera's keypoints are the network's condition."""
    c = [*subset, *(c for c in range(4) if c not in subset)]  # unused cameras see nothing: one program for all
    used = np.arange(4)[:, None] < len(subset)
    xy, confidence = convert_joints(
        jnp.asarray(walker["xy"][:, c]), jnp.asarray(walker["confidence"][:, c] * used), COCO_17, H36M_17
    )
    cameras = tuple(jnp.asarray(walker[k][c]) for k in ("intrinsics", "R", "t"))
    return np.asarray(_fuse(told, options, model, prior, xy, confidence, *cameras))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _fuse(
    told: bool,
    options: Options,
    model: released.Model,
    prior: Prior,
    xy: Array,
    confidence: Array,
    intrinsics: Array,
    R: Array,
    t: Array,
) -> Array:
    own = observations.measured_joints(COCO_17, H36M_17)

    def one(row: tuple[Array, ...]) -> Array:
        index, xy, confidence = row
        noise = observations.keypoint_noise_px(xy, confidence, options.noise)
        up = None if told else (0.0, 0.0, 1.0)
        view = observations.sight(xy, noise, confidence * own, intrinsics, R, t, up=up)
        seen, law = observations.seen_by(view), prior
        if told:
            given = prior_of(model, encode_keypoints(intrinsics[0], xy[0], confidence[0])[0])
            law = dataclasses.replace(given, covariance=prior.covariance)
            seen = seen._replace(value=seen.value.at[0].set(jnp.nan))
        key = jax.random.fold_in(jax.random.key(options.seed), index)
        drawn = draw(key, law, (seen,), "pseudo_inverse", options)
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


def parts(model: released.Model, prior: Prior, options: Options) -> Iterator[Item]:
    """Each measurement alone, and all: noise as said in the names."""
    data = bench.load_frames(options.stride)
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

    def drawn(names: tuple[str, ...]) -> Callable[[], Array]:
        def one(row: tuple[Array, ...]) -> Array:
            index, uv, camera, x_cam = row
            key = jax.random.fold_in(jax.random.key(options.seed), index)
            view = observations.sight(uv[None], jnp.ones((1, 17)), jnp.ones((1, 17)), camera[None])
            x = (x_cam - x_cam.mean(0)) @ view.R_view_world.T
            seen = []
            for i, name in enumerate(operators):
                operator, noise = operators[name]
                value = operator(x)
                value += noise * jax.random.normal(jax.random.fold_in(key, i), value.shape)
                seen += [Observed(value, operator, jnp.asarray(noise))] if name in names else []
            drawn = draw(key, prior, tuple(seen), "pseudo_inverse", options)
            return jnp.einsum("ji,hkj->hki", view.R_view_world, drawn)

        rows = (jnp.arange(len(truth)), keypoints, intrinsics, truth)
        return jax.jit(lambda: jnp.swapaxes(jax.lax.map(one, rows), 0, 1))

    rows = {name: drawn((name,)) for name in operators} | {"all of them": drawn(tuple(operators))}
    told = dict.fromkeys(rows, "measurements made of the true pose, with the noise told; axes that look at the person")
    yield from table(model, rows, told, truth, data.category, options)
