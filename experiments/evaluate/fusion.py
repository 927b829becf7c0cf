"""Fused cameras, as `jaxpose fuse` draws them: errors, and whether the spread covers them.

    python -m experiments.evaluate fusion --stride=10 --hypotheses=48

Rows are of 1 to 4 cameras, averaged over their subsets. "triangulation": least squares. "independent": the posterior if
all keypoints err independently. "systematic": with the errors that cameras share (`tasks/systematic.py`), as in the
command; "but for offsets": without those of joints, so of what the detector marks. In 90 %: the share of joints within
the 90 % radius about the mean of the draws, as they stand in the world and about the middle of the hips, with an
interval by bootstrap over blocks of 10 frames.

walker      real detections. Its `points3d` are a triangulation of the same detector in all four cameras, good to 1 to
            2 cm: it has the detector's offsets, and errors of what it is compared with. Two cameras are also held
            against a triangulation of the other two, whose own errors then count as ours; or as what they are told to
            be, where the spread of their draws is added.
simulated   validation people in rings of four cameras, which are 1 cm off on each image axis at the person, with the
            errors of two real detectors (examples/detectors.py), whose bias is alike in all cameras; with offsets of
            joints of published size; and with nothing that cameras share.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench, harness
from experiments.evaluate.harness import Column, Item, Row, Table, compared
from experiments.options import option
from jaxpose import model as released
from jaxpose.base import Camera
from jaxpose.datasets.mocap import data_root, load_mocap
from jaxpose.evaluation.calibration import ece
from jaxpose.evaluation.metrics import p_mpjpe
from jaxpose.examples import detectors
from jaxpose.geometry.camera import look_at, project, undistort
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import COCO_17, H36M_17
from jaxpose.io.keypoints import rescaled
from jaxpose.tasks import observations, systematic
from jaxpose.tasks.fuse import STEPS, fuse_rows
from jaxpose.tasks.methods import pseudo_inverse
from jaxpose.tasks.priors import Prior, fitted, prior_of

SHARED = [joint for joint in COCO_17.joints if joint in H36M_17.joints and joint != "nose"]
_COCO = np.array([COCO_17.joints.index(joint) for joint in SHARED])
_OURS = np.array([H36M_17.joints.index(joint) for joint in SHARED])
_HIPS = np.array([SHARED.index(joint) for joint in ("left_hip", "right_hip")])
_ROWS = ("triangulation", "independent", "systematic")
_BLOCK = 10  # frames that the bootstrap draws together
_NUM_POSES, _POSES_OF_RING = 24, 6  # simulated
# m on each axis, by the last word of a joint's name: 40 mm in space at hips and knees, 8 mm at ankles; of the others
# the mean absolute error of 20 mm, less some noise (publications: tasks/systematic.py)
_PUBLISHED = {"hip": 0.023, "knee": 0.023, "ankle": 0.005, "shoulder": 0.02, "elbow": 0.02, "wrist": 0.02}
_FOCAL, _MIDDLE = 1100.0, 500.0  # px, of simulated cameras
_COLUMNS: dict[str, Column] = {
    "absolute mm": "absolute_mm:.1f",
    "in 90 %": lambda row: _share(row, "absolute_90"),
    "ECE": "absolute_ece:.3f",
    "from hips mm": "hips_mm:.1f",
    "in 90 % ": lambda row: _share(row, "hips_90"),
    "ECE ": "hips_ece:.3f",
    "P-MPJPE": "p_mm:.1f",
    "px in the others": "other_cameras_px:.1f",
    "spread mm": "spread_mm:.1f",
}


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    hypotheses: int = option(200, "Draws of each posterior.", low=2)
    steps: int | None = option(None, "Solver steps; by default those of the command.", low=1)
    stride: int = option(40, "Every n-th frame only.", low=1)
    noise: float = option(observations.SURE, "Of a sure keypoint, share of the person's extent.")
    robust: float | None = option(None, "Degrees of freedom of Student's t for keypoints; None: Gaussian.")


class Errors(NamedTuple):
    """Of a simulated detector: its table; of cameras, m at the person on each image axis; of kinds of joints, m.

    Those of cameras and joints are the same in all poses of a ring.
    """

    table: np.ndarray
    camera: float
    joint: dict[str, float]


class Scene(NamedTuple):
    """F moments of a person in C cameras: keypoints xy [F, C, J, 2] px of the prior's joints, confidence [F, C, J].

    truth: [F, 12, 3] m of the SHARED joints in the world, whose vertical is `up`. block: [F] what the bootstrap draws.
    """

    xy: np.ndarray
    confidence: np.ndarray
    camera: Camera
    truth: np.ndarray
    up: str
    block: np.ndarray


def fusion(model: released.Model, options: Options) -> Iterator[Item]:
    """The tables of the walker and of simulated people."""
    prior = fitted(jax.random.key(options.seed), prior_of(model))
    walker = load_walker(options.stride)
    title = f"{len(walker.xy)} frames of the walker, {options.hypotheses} hypotheses; cameras, row"
    privileges = "cameras calibrated; points3d is a triangulation of the same detections in all four cameras"
    yield Table(title, privileges, "the number of steps on this walker; no spread", _COLUMNS)
    for num in (1, 2, 3, 4):
        subsets = list(itertools.combinations(range(4), num))
        for name in _ROWS:
            if (name == "triangulation" and num == 1) or not options.wants(name):
                continue
            worlds = {c: drawn(name, walker, c, prior, options) for c in subsets}
            for what in worlds[subsets[0]]:
                rows = [figures(walker, c, world[what]) for c, world in worlds.items()]
                yield Row(f"{num}, {what}", averaged(rows))
                if num == 2:
                    rows = [against(walker, c, world[what]) for c, world in worlds.items()]
                    yield Row(f"{num}, {what}, against the other two", averaged(rows))
                if num == 2 and name != "triangulation":
                    others = {c: worlds[_rest(c)][what] for c in subsets}
                    rows = [against(walker, c, _both(world[what], others[c])) for c, world in worlds.items()]
                    yield Row(f"{num}, {what}, against the other two with their spread", averaged(rows))
    yield from simulated(prior, options)


def simulated(prior: Prior, options: Options) -> Iterator[Item]:
    """Rows of two and four cameras for each kind of error."""
    people = f"{_NUM_POSES} poses of validation people in {_NUM_POSES // _POSES_OF_RING} rings of 4 simulated cameras"
    tuned = "nothing; the offsets of joints are partly the detectors' biases"
    yield Table(f"{people}; errors, cameras, row", "cameras as calibrated; exact truth", tuned, _COLUMNS)
    unbiased = detectors.DETECTOR * [0, 0, 1, 1, 1]
    kinds = {
        "nothing shared": Errors(unbiased, 0.0, {}),
        "detector": Errors(detectors.DETECTOR, 0.01, {}),
        "BlazePose": Errors(detectors.BLAZEPOSE, 0.01, {}),
        "published offsets": Errors(unbiased, 0.01, _PUBLISHED),
    }
    for kind, errors in kinds.items():
        rings = [ring(options.seed + i, errors) for i in range(_NUM_POSES // _POSES_OF_RING)]
        for num, name in itertools.product((2, 4), ("independent", "systematic")):
            if options.wants(name):
                subset = tuple(range(num))
                worlds = [drawn(name, scene, subset, prior, options) for scene in rings]
                whole = rings[0]._replace(
                    truth=np.concatenate([scene.truth for scene in rings]),
                    block=np.arange(_NUM_POSES) // _POSES_OF_RING,
                )
                for what in worlds[0]:
                    draws = np.concatenate([world[what] for world in worlds], 1)
                    yield Row(f"{kind}, {num}, {what}", averaged([figures(whole, None, draws)]))


def drawn(name: str, scene: Scene, subset: tuple[int, ...], prior: Prior, options: Options) -> dict[str, np.ndarray]:
    """Joints [H, F, 12, 3] in the world by the name of what they are of; H = 1 of a triangulation."""
    if name == "triangulation":
        return {name: triangulate(scene, subset)[None]}
    c = np.array([*subset, *_rest(subset)])  # unused cameras see nothing: one program for all
    camera = jax.tree.map(lambda x: x[c], scene.camera)
    xy, sure = scene.xy[:, c], scene.confidence[:, c] * (np.arange(4)[:, None] < len(subset))
    noise = np.asarray(observations.keypoint_noise_px(jnp.asarray(xy), jnp.asarray(sure), options.noise))
    shared = None
    if name == "systematic":
        errors = systematic.estimate(xy, noise, sure, camera, systematic.joint_offsets(H36M_17))
        noise = noise * np.float32(errors.noise_factor)
        key, num = jax.random.key(options.seed + 1), options.hypotheses
        shared = systematic.draw(key, errors, H36M_17, num_cameras=4, num_hypotheses=num)
    given = (jnp.asarray(x, jnp.float32) for x in (xy, noise, sure))
    method = pseudo_inverse(options.steps or STEPS, robust=options.robust)
    how: dict[str, Any] = {"up": scene.up, "num_hypotheses": options.hypotheses, "method": method}
    fused = fuse_rows(jax.random.key(options.seed), prior, *given, camera, shared, **how)
    world = np.asarray(fused["samples"] + fused["root"][:, :, None])[:, :, _OURS]
    if shared is None:
        return {name: world}
    return {"systematic but for offsets": world - np.asarray(shared.joint)[:, None, _OURS], name: world}


def against(walker: Scene, subset: tuple[int, ...], world: np.ndarray) -> dict[str, Any]:
    """Figures of two cameras with the triangulation of the other two as the truth."""
    return figures(walker._replace(truth=triangulate(walker, _rest(subset))), subset, world)


def _both(world: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Draws of two cameras, about their mean, with the spread of the other two's, independent of theirs."""
    order = np.random.default_rng(0).permutation(len(other))
    return world + (other - other.mean(0))[order]


def _rest(subset: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(c for c in range(4) if c not in subset)


def figures(scene: Scene, subset: tuple[int, ...] | None, world: np.ndarray) -> dict[str, Any]:
    """Errors of the mean of draws [H, F, 12, 3]: mm from the truth, and px from the detections of unused cameras."""
    known = np.isfinite(scene.truth).all((1, 2)) & np.isfinite(world).all((0, 2, 3))
    truth, draws = scene.truth[known], world[:, known]
    pose, block = draws.mean(0), scene.block[known]
    row: dict[str, Any] = {"p_mm": float(1000 * p_mpjpe(jnp.asarray(pose), jnp.asarray(truth)).mean())}
    for what, centre in (("absolute", lambda x: x), ("hips", lambda x: x - x[..., _HIPS, :].mean(-2, keepdims=True))):
        off = np.linalg.norm(centre(pose) - centre(truth), axis=-1)
        row[f"{what}_mm"] = float(1000 * off.mean())
        if len(world) > 1:
            radius = np.quantile(np.linalg.norm(centre(draws) - centre(pose), axis=-1), 0.9, axis=0)
            row[f"{what}_within"] = (off <= radius).mean(-1), block
            row[f"{what}_ece"] = float(ece(*map(jnp.asarray, (centre(draws), centre(truth))), root=None).ece)
    row["spread_mm"] = float(1000 * np.sqrt(draws.var(0).sum(-1)).mean()) if len(world) > 1 else np.nan
    px = []
    for c in _rest(subset or (0, 1, 2, 3)):
        R, t = (np.asarray(x)[c] for x in (scene.camera.R_cam_world, scene.camera.t_cam))
        seen = np.asarray(project(scene.camera.intrinsics[c], jnp.asarray(pose @ R.T + t, jnp.float32)))
        away = np.linalg.norm(seen - scene.xy[known, c][:, _OURS], axis=-1)
        px.append(np.median(away[scene.confidence[known, c][:, _OURS] > 0.5]))
    return row | {"other_cameras_px": float(np.mean(px)) if px else np.nan}


def averaged(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over subsets; of the shares within 90 %, over frames of all subsets, with the interval over blocks."""
    row: dict[str, Any] = {}
    for name in found[0]:
        if not name.endswith("_within"):
            row[name] = _mean(found, name)
            continue
        share, block = (np.concatenate([f[name][i] for f in found]) for i in (0, 1))
        if len(np.unique(block)) > 1:
            row[name.replace("within", "90")] = compared(0, share, np.ones_like(share), block)["ratio"]
    return row


def _mean(found: list[dict[str, Any]], name: str) -> float:
    values = [f[name] for f in found if np.isfinite(f[name])]
    return float(np.mean(values)) if values else float("nan")


def _share(row: dict[str, Any], name: str) -> str:
    return "{:.0%} ({:.0%} to {:.0%})".format(*row[name]) if name in row else ""


def load_walker(stride: int) -> Scene:
    """Every n-th frame of the walker's detections, without lens distortion."""
    film = bench.load_walker(stride)
    intrinsics, distortion, R, t = (x.astype(np.float32) for x in film[2:6])
    confidence = np.nan_to_num(film.keypoints[..., 2])
    confidence = np.where((confidence >= 0.1) & np.isfinite(film.keypoints).all(-1), confidence, 0)
    plane = (np.nan_to_num(film.keypoints[..., :2]) - intrinsics[:, None, 2:]) / intrinsics[:, None, :2]
    straight = np.asarray(undistort(jnp.asarray(plane), jnp.asarray(distortion)))
    xy = straight * intrinsics[:, None, :2] + intrinsics[:, None, 2:]
    confidence = np.stack([rescaled(c) for c in np.swapaxes(confidence, 0, 1)], 1)
    moved = convert_joints(jnp.asarray(xy), jnp.asarray(confidence), COCO_17, H36M_17)
    xy, confidence = (np.asarray(x) for x in moved)
    camera = Camera(*(jnp.asarray(x) for x in (intrinsics, np.zeros((4, 5), np.float32), R, t)))  # type: ignore[arg-type]  # four fields
    measured = observations.measured_joints(COCO_17, H36M_17)
    block = np.arange(len(xy)) * stride // _BLOCK
    return Scene(xy, confidence * measured, camera, film.points3d[:, _COCO], "z", block)


def ring(seed: int, errors: Errors) -> Scene:
    """Poses of validation people in four cameras around them, by a detector with errors."""
    rng = np.random.default_rng(seed)
    joints = load_mocap(data_root(), "val").joints
    x = joints[rng.choice(len(joints), _POSES_OF_RING, replace=False)]
    x = x - [[[1, 0, 1]]] * x[:, :1]  # where each stands: all in the middle
    yaw = rng.uniform(0, 2 * np.pi) + np.arange(4) * np.pi / 2 + rng.uniform(-0.4, 0.4, 4)
    distance, height = rng.uniform(3, 5, 4), rng.uniform(0.8, 2.2, 4)
    eyes = np.stack([distance * np.sin(yaw), height, distance * np.cos(yaw)], -1)
    placed = [look_at(*(jnp.asarray(v, jnp.float32) for v in (eye, (0, 0.9, 0), (0, 1, 0)))) for eye in eyes]
    R, t = (np.stack([np.asarray(p[i]) for p in placed]) for i in (0, 1))
    spread = [errors.joint.get(joint.split("_")[-1], 0.0) for joint in H36M_17.joints]
    marked = x + np.array(spread)[:, None] * rng.normal(size=(17, 3))
    seen = np.einsum("cij,fkj->fcki", R, marked) + t[:, None]
    uv = _FOCAL * seen[..., :2] / seen[..., 2:] + _MIDDLE
    uv += (errors.camera * rng.normal(size=(4, 1, 2))) * _FOCAL / distance[:, None, None]
    error = bench.detector_errors(rng, errors.table, rng.normal(size=uv.shape))
    confidence = np.asarray(detectors.draw_confidence(jax.random.key(seed), jnp.asarray(error)))
    intrinsics = np.tile([_FOCAL, _FOCAL, _MIDDLE, _MIDDLE], (4, 1))
    camera = Camera(*(jnp.asarray(v, jnp.float32) for v in (intrinsics, np.zeros((4, 5)), R, t)))  # type: ignore[arg-type]  # four fields
    return Scene(uv + error * bench.crop_pixel(uv), confidence, camera, x[:, _OURS], "y", np.arange(_POSES_OF_RING))


def triangulate(scene: Scene, subset: tuple[int, ...]) -> np.ndarray:
    """The SHARED joints [F, 12, 3] by linear least squares, weighted by confidence, on the rays of some cameras."""
    c = list(subset)
    intrinsics, R, t = (
        np.asarray(x, np.float64)[c] for x in (scene.camera.intrinsics, scene.camera.R_cam_world, scene.camera.t_cam)
    )
    plane = (scene.xy[:, c] - intrinsics[:, None, 2:]) / intrinsics[:, None, :2]
    return bench.triangulate(plane, scene.confidence[:, c] ** 2, R, t)[:, _OURS]
