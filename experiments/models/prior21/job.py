"""Training of a prior over body-joint rotations, for `experiments.train`: configs with `kind` "prior".

An example is the pose of one frame, drawn by its weight, perhaps in the mirror, perhaps spliced: the joints above the
pelvis of one frame with the legs of another. No condition: completion, denoising and fitting bring their own.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.models.frames import training_frames
from experiments.models.initial import keeps_statistics, load_initial
from experiments.models.job import Job, level_loss, validation
from experiments.models.own_views import own_frames
from experiments.models.stored import takes_of
from experiments.models.training import show
from jaxpose import model as released
from jaxpose.base import Array, Example, Key
from jaxpose.datasets.mocap import load_rotations
from jaxpose.datasets.shards import open_shards
from jaxpose.diffusion.losses import log_snr_times, uniform_times
from jaxpose.examples.stored import frame_rows
from jaxpose.geometry.skeleton import SMPL_22, mirror_rotations
from jaxpose.io.arrays import load_arrays
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.spaces import SPACES, Space
from jaxpose.spaces.person import Statistics
from jaxpose.spaces.rotations import REPRESENTATIONS, min_max, z_score
from jaxpose.training.step import TrainState
from jaxpose.training.streaming import Gathered, Stream

_NORMALISERS = {"z_score": z_score, "min_max": min_max}
_LEGS = np.isin(np.arange(21), (0, 1, 3, 4, 6, 7, 9, 10))
_BLOCKS = 20  # of noise levels at which validation poses are denoised


class Poses(NamedTuple):
    """Training poses [N, 21, 3] axis-angle radians on the device, and the running sum [N] of their weights."""

    rotations: Array
    cumulative: Array


class PoseRates(NamedTuple):
    """Probabilities of seeing a pose in the mirror, and of legs from another frame; jitter: radians of noise."""

    mirror: float = 0.5
    splice: float = 0.0
    jitter: float = 0.0


def rotation_example(
    key: Key, poses: Poses, rates: PoseRates, space: Space, normaliser: Statistics, rows: Array | None = None
) -> Example:
    """One pose as a state [21, D] of the space; rows: [2] of it and of another, None: drawn by their weights."""
    own_key, other_key, splice_key, mirror_key, jitter_key = jax.random.split(key, 5)

    def draw(key: Key) -> Array:
        u = jax.random.uniform(key) * poses.cumulative[-1]
        return jnp.minimum(jnp.searchsorted(poses.cumulative, u, side="right"), len(poses.rotations) - 1)

    own, other = (draw(own_key), draw(other_key)) if rows is None else rows
    x = poses.rotations[own]
    if rates.splice:
        spliced = jnp.where(_LEGS[:, None], poses.rotations[other], x)
        x = jnp.where(jax.random.bernoulli(splice_key, rates.splice), spliced, x)
    x = jnp.where(jax.random.bernoulli(mirror_key, rates.mirror), mirror_rotations(x, SMPL_22), x)
    if rates.jitter:
        noise = rates.jitter * jax.random.normal(jitter_key, x.shape)
        x = x + jnp.where(jnp.asarray(normaliser.spread)[:, :3] > 0, noise, 0)
    return Example(space.encode(normaliser, x), None)


def stored_rotations(key: Key, data: Gathered, **how: Any) -> Example:
    """`rotation_example` of the rows of one example."""
    return rotation_example(key, Poses(data.rows["rotations"], jnp.zeros(0)), rows=jnp.arange(2), **how)


def load_poses(config: ConfigDict) -> tuple[Array, Poses | Stream]:
    """Poses [N, 21, 3] whose statistics are the normaliser's, and what training draws from."""
    if folder := config.data.get("stream", ""):
        shards = open_shards(folder)
        if "rotations" not in shards.maps:
            raise ValueError(f"{folder}: shards of {', '.join(shards.maps)}; needed those of rotations")
        print(f"{len(shards):,} poses in {folder}")
        takes = takes_of(shards)
        return jnp.asarray(shards.resident["sample"]), Stream(takes, frame_rows, shards.take)
    train, weights = training_frames(config.data, config.seed, load_rotations)
    poses = jnp.asarray(train.body_pose, jnp.float32)
    print(f"{len(poses)} poses of {len(train.name)} sequences")
    return poses, Poses(poses, jnp.asarray(np.cumsum(weights), jnp.float32))


def prior_job(config: ConfigDict) -> Job:
    """The run that a config of kind "prior" describes."""
    spec = released.Spec(
        name=config.name,
        network=ScoreMLP(**config.network),
        skeleton="smpl22",
        context=0,
        codec=config.codec,
        process=config.process.name,
        process_args=tuple(config.process.args),
        target=config.loss.target,
        scale="none: rotations alone",
        **config.sampler,
    )
    initial = load_initial(config.train.init, spec)
    poses, data = load_poses(config)
    if initial is None:
        normaliser, params = fit_normaliser(config, poses), released.init_params(jax.random.key(config.seed), spec)
    else:
        spec, params = initial.spec, initial.params
        normaliser = initial.statistics if keeps_statistics(config) else fit_normaliser(config, poses)
    sde = spec.sde()._replace(t_min=config.loss.t_min)
    times = uniform_times(sde) if config.loss.times == "uniform" else log_snr_times(sde)
    return Job(
        spec=spec,
        params=params,
        statistics=normaliser,
        data=data,
        example=functools.partial(
            stored_rotations if isinstance(data, Stream) else rotation_example,
            rates=PoseRates(**config.poses),
            space=SPACES[config.codec],
            normaliser=normaliser,
        ),
        loss=level_loss(spec, sde, times, config.loss.weighting, jnp.asarray(normaliser.spread)),
        evaluators=_evaluators(spec, normaliser, config.data.folder),
        export=lambda params: released.Model(params, normaliser, spec),
        initial=initial,
    )


def fit_normaliser(config: ConfigDict, poses: Array) -> Statistics:
    """The statistics of poses [N, 21, 3] and their mirror images together, as `config.normaliser` names."""
    both = jnp.concatenate([poses, mirror_rotations(poses, SMPL_22)])
    state = REPRESENTATIONS[config.codec].from_axis_angle(both)
    return Statistics(*(jnp.asarray(x, jnp.float32) for x in _NORMALISERS[config.normaliser](np.asarray(state))))


def validation_poses(folder: str) -> Array | None:
    """Poses [N, 21, 3] of validation people, the folder's own or the benchmark's; None where that is absent."""
    own = own_frames(folder, load_rotations) if folder else None
    if own is not None:
        return jnp.asarray(own[0].body_pose[own[1]])
    path = None if folder else validation("val_frames.npz")
    return None if path is None else jnp.asarray(load_arrays(path)["body_pose"][::2].reshape(-1, 21, 3))


def _evaluators(spec: released.Spec, normaliser: Statistics, folder: str) -> dict[str, Any]:
    """How well validation poses are denoised; none where there are none.

    The tasks' own figures: `experiments.evaluate prior`.
    """
    pose = validation_poses(folder)
    if pose is None:
        return {}
    x0 = spec.space.encode(normaliser, pose)
    sde = spec.sde()
    levels = jnp.linspace(0.03, 0.6, _BLOCKS)
    moving = np.flatnonzero(np.asarray(normaliser.spread) > 0)

    @jax.jit
    def errors(params: Any) -> Array:
        predict = released.Model(params, normaliser, spec).predict_fn()

        def at(t: Array, key: Key) -> Array:
            eps = jax.random.normal(key, x0.shape)
            x = sde.alpha(t) * x0 + sde.sigma(t) * eps
            error = jnp.square(predict(x, t, None).eps - eps).reshape(len(x), -1)
            return error[:, moving].mean()

        return jax.lax.map(lambda a: at(*a), (levels, jax.random.split(jax.random.key(0), _BLOCKS)))

    def validate(state: TrainState) -> dict[str, float]:
        mse = np.asarray(errors(state.ema_params))
        low, middle, high = (float(part.mean()) for part in np.array_split(mse, 3))
        row = {"eps_mse": float(mse.mean()), "low": low, "middle": middle, "high": high}
        show(row)
        return row

    return {"val": validate}
