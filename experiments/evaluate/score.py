"""How well the log density and the denoising error, which typicality is made of, tell corrupted poses from clean ones.

    python -m experiments.evaluate score --model=pose17 [--stride=10] [--out=DIR]
    python -m experiments.evaluate score --model=prior21

Prints the area under the ROC curve (AUROC: the chance that a corrupted pose scores below a clean one of another frame)
of every corruption of validation poses, beside two baselines fitted on training poses: the density of one Gaussian and
the distance to the nearest of 20,000 poses. A pose mirrored left to right, sides relabelled, is a legal pose: 0.5 is
right there. Mirrored in depth it has its left side at the right, and is not. `below_1` and `above_99` are the shares of
typicality below 1 and above 99, where the model's file has quantiles (`python -m experiments.models.quantiles`).

pose17:  joints in camera axes; "given keypoints" is the density under the simulated detections of the clean pose.
prior21: rotations; noise in shares of each number's deviation in training; everything 1.5 and 2 times as far from rest.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench, harness
from experiments.evaluate.harness import Item, Row, Table
from experiments.evaluate.score_sets import auroc, baseline_scores, corrupted_joints, corrupted_rotations, fit_baselines
from experiments.models.frames import training_frames
from experiments.models.pose17 import config as pose17
from experiments.models.prior21 import config as prior21
from experiments.options import option
from jaxpose import model as released
from jaxpose.base import Array
from jaxpose.conditioning import MaskRates
from jaxpose.datasets.mocap import balanced_weights, data_root, load_mocap, load_rotations
from jaxpose.examples.bodies import Bodies
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import pose_example
from jaxpose.geometry.skeleton import SMPL_22, mirror_rotations
from jaxpose.spaces.person import decode_view, encode_keypoints
from jaxpose.tasks import score as density
from jaxpose.tasks.typicality import denoising_error

_BLOCK = 256  # poses scored by one call
_REFERENCE = 20_000  # training poses of the baselines


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    stride: int = option(10, "Every so many validation poses.", low=1)
    steps: int = option(density.NUM_STEPS, "Intervals of the log-SNR.", low=1)
    density: bool = option(True, "Also the exact log density, which takes nearly all of the time.")


def score(model: released.Model, options: Options) -> Iterator[Item]:
    """One row for each set of poses, the first of which is the clean one."""
    make = rotation_sets if model.spec.space.representation else joint_sets
    sets, densities = make(model, options)
    baselines = fit_baselines(training_poses(model, _REFERENCE, options.seed + 1))
    privileges = "; ".join(f"{k}: {'2D detected, intrinsics' if 'given' in k else 'none'}" for k in densities)
    tuned = "intervals of the log-SNR on validation poses; quantiles, of training poses, in the model's file"
    yield Table(f"{len(sets['clean'])} validation poses, {model.spec.name}", privileges, tuned)
    clean: dict[str, Any] = {}
    judge = jax.jit(lambda x, _: denoising_error(model, x))
    for name, poses in sets.items():
        started = time.perf_counter()
        scores = {k: in_blocks(run, poses) for k, run in densities.items() if options.density}
        error = in_blocks(judge, poses)
        scores |= {"denoising": -error, **baseline_scores(baselines, poses)}
        clean = clean or scores
        row = {f"auroc_{k}": auroc(clean[k], v) for k, v in scores.items()}
        row |= {"median_nats": float(np.median(scores["density"]))} if options.density else {}
        if model.typicality.size:
            percentile = 100 - np.interp(error, model.typicality, np.linspace(0, 100, model.typicality.size))
            row |= {"below_1": float((percentile < 1).mean()), "above_99": float((percentile > 99).mean())}
        yield Row(f"{name} ({len(poses)})", row | {"seconds": time.perf_counter() - started})


Sets = tuple[dict[str, np.ndarray], dict[str, Callable[[Array, Array], Array]]]


def joint_sets(model: released.Model, options: Options) -> Sets:
    """Sets of joint positions; densities that are unconditional, and given the detections of the clean pose."""
    data = bench.load_frames(options.stride)
    cond, view = encode_keypoints(*(jnp.asarray(x) for x in (data.intrinsics, data.keypoints, data.confidence)))

    @jax.jit
    def given(x: Array, rows: Array) -> Array:
        seen = jax.tree.map(lambda a: a[rows], (cond, view))
        return density.log_density(model, x, *seen, num_steps=options.steps)

    sets = corrupted_joints(data.joints_cam, np.random.default_rng(options.seed))
    return sets, {"density": scorer(model, options.steps), "given_keypoints": given}


def rotation_sets(model: released.Model, options: Options) -> Sets:
    """Sets of joint rotations, and their density."""
    clean = bench.load_poses(options.stride).body_pose.astype(np.float32)
    moves = np.asarray(model.statistics.spread) > 0
    std = np.where(moves, np.asarray(model.statistics.std), 0)
    sets = corrupted_rotations(clean, std, np.random.default_rng(options.seed))
    return sets, {"density": scorer(model, options.steps)}


def training_poses(model: released.Model, num: int, seed: int) -> np.ndarray:
    """Poses [num, J, 3] drawn as in training, mirrored by half: joints in camera axes, or rotations."""
    keys = jax.random.split(jax.random.key(seed), num)
    if model.spec.space.representation:
        data, weights = training_frames(prior21.get_config().data, seed, load_rotations)
        rng = np.random.default_rng(seed)
        poses = data.body_pose[rng.choice(len(weights), num, p=weights)]
        mirrored = np.asarray(mirror_rotations(jnp.asarray(poses), SMPL_22))
        return np.where(rng.random(num)[:, None, None] < 0.5, mirrored, poses)
    mocap = load_mocap(data_root(), pose17.DATA["split"], pose17.DATA["files"], drop=pose17.DATA["drop"])
    weights = balanced_weights(mocap, 0.5, 0.5, pose17.DATA["category_factors"])
    total = jnp.asarray(np.cumsum(weights), jnp.float32)
    bodies = Bodies(jnp.asarray(mocap.joints), total, model.statistics)
    hidden = MaskRates(pose=1.0, part=0.0, joint=0.0, depth=0.0)  # then the view axes are the camera's
    states = jax.jit(jax.vmap(lambda k: pose_example(k, bodies, ViewRates(), hidden).x0))(keys)
    return np.asarray(decode_view(model.statistics, states))


def scorer(model: released.Model, num_steps: int) -> Callable[[Array, Array], Array]:
    """Poses, and the rows that they are -> log densities."""
    return jax.jit(lambda x, rows: density.log_density(model, x, num_steps=num_steps))


def in_blocks(run: Callable[[Array, Array], Array], poses: np.ndarray) -> np.ndarray:
    """`run` of all poses in blocks of one size, so that one program serves all."""
    parts = bench.blocks(len(poses), _BLOCK)
    return np.concatenate([np.asarray(run(jnp.asarray(poses[r]), jnp.asarray(r)))[:kept] for r, kept in parts])
