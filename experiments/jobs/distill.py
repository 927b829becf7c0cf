"""Few-step models: a released model's network taught to draw x0 at each of a few calls (diffusion/distill.py).

A config of `kind` "distill" is run by experiments/train.py. `loss.method`: "energy" learns from the data alone and
starts from the teacher's weights; "consistency" follows the teacher's flow. Data and masks are the teacher's.
"""

import dataclasses
import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.jobs.job import Job, load_bodies
from experiments.jobs.score import make_evaluators
from jaxpose import model as released
from jaxpose.base import Array, Condition, Example, Key, PredictFn
from jaxpose.conditioning import MaskRates
from jaxpose.diffusion import ddim, time_grid
from jaxpose.diffusion.distill import consistency_loss, energy_loss
from jaxpose.diffusion.prediction import bind
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import pose_example
from jaxpose.geometry.skeleton import Skeleton, bones
from jaxpose.model import require

METHODS = ("energy", "consistency")


def distill_job(config: ConfigDict) -> Job:
    """The run of a few-step model from the teacher that `train.init` names."""
    teacher = released.load(config.train.init)
    require(teacher, "distillation", "joints", "condition")
    if teacher.spec.times and (config.loss.method != "energy" or teacher.spec.times != tuple(config.times)):
        raise ValueError(
            f"config.train.init: {config.train.init} is a few-step model of times {teacher.spec.times}; it goes on "
            f"with the same config.times and by config.loss.method 'energy', got {tuple(config.times)} and "
            f"{config.loss.method!r}"
        )
    bodies, _ = load_bodies(config)
    bodies = bodies._replace(statistics=teacher.statistics)
    spec = dataclasses.replace(
        teacher.spec, name=config.name, times=tuple(config.times), num_steps=len(config.times) - 1
    )

    def export(params: Any) -> released.Model:
        return released.Model(params, teacher.statistics, spec)

    return Job(
        spec=spec,
        params=teacher.params,
        statistics=teacher.statistics,
        data=bodies,
        example=functools.partial(pose_example, view=ViewRates(**config.view), masks=MaskRates(**config.masks)),
        loss=make_loss(teacher, spec, config.loss),
        evaluators=make_evaluators(spec, export, config.data),
        export=export,
        initial=teacher if teacher.spec.times else None,  # of another teacher the hypotheses are drawn otherwise
    )


def make_loss(teacher: released.Model, spec: released.Spec, config: ConfigDict) -> Any:
    """(params, key, example) -> loss and metrics, by `config.method`."""
    if config.method not in METHODS:
        raise ValueError(f"config.loss.method: got {config.method!r}, legal are {METHODS}")
    sde, spread = spec.sde(), jnp.asarray(teacher.statistics.spread)
    views = jnp.asarray(scored_views(teacher.skeleton))

    def bound(params: Any) -> PredictFn:
        def apply(x: Array, t: Array, cond: Condition | None) -> Any:
            return spec.network.apply(params, x, t, cond)

        return bind(apply, sde, spec.target, spread)

    def energy(params: Any, key: Key, example: Example) -> tuple[Array, dict[str, Array]]:
        return energy_loss(
            key, bound(params), sde, example, spec.times, views, num_draws=config.num_draws, early=config.early
        )

    def consistency(params: Any, key: Key, example: Example) -> tuple[Array, dict[str, Array]]:
        times = time_grid(sde, config.num_levels, "log_snr")
        return consistency_loss(key, bound(params), bound(teacher.params), ddim(sde), sde, example, times)

    return energy if config.method == "energy" else consistency


def scored_views(skeleton: Skeleton) -> np.ndarray:
    """[K, J]: every joint relative to the root, and every bone, as sums of joints."""
    eye = np.eye(len(skeleton.joints), dtype=np.float32)
    return np.stack([*(eye[1:] - eye[0]), *(eye[child] - eye[parent] for parent, child in bones(skeleton))])
