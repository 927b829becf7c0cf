"""Few-step models: a released model's network taught to draw x0 at each of a few calls (diffusion/distill.py).

A config of `kind` "distill" is run by experiments/train.py. It learns from the data alone and starts from the teacher's
weights. Data and masks are the teacher's. A prior over rotations is told besides of the joints whose rotations are
known; the weights of that branch start at 0.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from experiments.models.job import Job
from experiments.models.prior21 import job as prior
from experiments.models.score import load_data, make_evaluators, with_statistics
from experiments.models.training import show
from jaxpose import model as released
from jaxpose.base import Array, Condition, Example, Key, PredictFn
from jaxpose.conditioning import MaskRates, draw_joints
from jaxpose.diffusion.distill import energy_loss
from jaxpose.diffusion.guidance import held
from jaxpose.diffusion.prediction import bind
from jaxpose.evaluation.generation import frechet_distance
from jaxpose.evaluation.protocols import completion_row
from jaxpose.geometry.rotations import forward_kinematics, matrix_from_axis_angle, offsets_of
from jaxpose.geometry.skeleton import SMPL_22, Skeleton, bones
from jaxpose.io.anny_body import anny_body
from jaxpose.model import require
from jaxpose.spaces.person import Statistics
from jaxpose.tasks.complete_rotations import PARTS, complete_rotations
from jaxpose.tasks.rotations import generate_rotations
from jaxpose.training.step import TrainState

_REACH = 0.15  # metres of a joint's place that count as much as one deviation of its rotation
_DRAWN, _SHOWN = 2000, 10  # poses that validation generates, and hypotheses of its completions


def distill_job(config: ConfigDict) -> Job:
    """The run of a few-step model from the teacher that `train.init` names."""
    teacher = released.load(config.train.init)
    of_rotations = "poses" in config
    require(teacher, "distillation", *(("rotations",) if of_rotations else ("joints", "condition")))
    times = teacher.spec.times
    if times and times != tuple(config.times):
        raise ValueError(
            f"config.train.init: {config.train.init} is a few-step model of times {times}; it goes on "
            f"with the same config.times, got {tuple(config.times)}"
        )
    # the base is what the released model was made from, not a teacher of the user's own
    of_base = bool(config.get("base")) and config.base in (config.train.init, teacher.spec.base)
    spec = dataclasses.replace(
        teacher.spec,
        name=config.name,
        times=tuple(config.times),
        num_steps=len(config.times) - 1,
        base=config.base if of_base else "",
        refine=config.refine if of_base else 0.0,
    )
    initial = teacher if times else None  # of another teacher the hypotheses are drawn otherwise
    return (_job_of_rotations if of_rotations else _job_of_joints)(config, teacher, spec, initial)


def _export(teacher: released.Model, spec: released.Spec) -> Callable[[Any], released.Model]:
    base = released.base_of(spec)
    return lambda params: released.Model(params, teacher.statistics, spec, base=base)


def _job_of_joints(
    config: ConfigDict, teacher: released.Model, spec: released.Spec, initial: released.Model | None
) -> Job:
    source, export = load_data(config), _export(teacher, spec)
    views = jnp.asarray(scored_views(teacher.skeleton))
    return Job(
        spec=spec,
        params=teacher.params,
        statistics=teacher.statistics,
        data=with_statistics(source.data, teacher.statistics),
        example=source.example,
        loss=make_loss(teacher, spec, config.loss, lambda x0: jnp.matmul(views, x0, precision="highest")),
        evaluators=make_evaluators(spec, export, config.data),
        export=export,
        initial=initial,
    )


def _job_of_rotations(
    config: ConfigDict, teacher: released.Model, spec: released.Spec, initial: released.Model | None
) -> Job:
    network = dataclasses.replace(teacher.spec.network, condition_width=config.condition_width)
    spec = dataclasses.replace(spec, network=network)
    _, poses = prior.load_poses(config)
    rates, masks = prior.PoseRates(**config.poses), MaskRates(**config.masks)

    def example(key: Key, data: Any) -> Example:
        pose_key, mask_key = jax.random.split(key)
        x0 = prior.rotation_example(pose_key, data, rates, spec.space, teacher.statistics).x0
        mask = jnp.broadcast_to(draw_joints(mask_key, masks, SMPL_22)[1:, None], x0.shape)
        return Example(x0, Condition(mask * x0, mask))

    export = _export(teacher, spec)
    views = functools.partial(turned_and_placed, spec, teacher.statistics, rest_offsets())
    return Job(
        spec=spec,
        params=with_condition(teacher, spec, config.seed) if initial is None else teacher.params,
        statistics=teacher.statistics,
        data=poses,
        example=example,
        loss=make_loss(teacher, spec, config.loss, views),
        evaluators=rotation_evaluators(export, config.data.folder),
        export=export,
        initial=initial,
    )


def with_condition(teacher: released.Model, spec: released.Spec, seed: int) -> Any:
    """The teacher's weights in a network that is told a condition, which changes nothing yet."""
    fresh = flatten_dict(released.init_params(jax.random.key(seed), spec))
    silent = {path: 0 * w if any(name.endswith("_cond") for name in path) else w for path, w in fresh.items()}
    return unflatten_dict(silent | flatten_dict(teacher.params))


def make_loss(teacher: released.Model, spec: released.Spec, config: ConfigDict, views: Callable[[Array], Array]) -> Any:
    """(params, key, example) -> loss and metrics; views: of x0, what the energy score compares."""
    sde, spread = spec.sde(), jnp.asarray(teacher.statistics.spread)

    def bound(params: Any) -> PredictFn:
        def apply(x: Array, t: Array, cond: Condition | None) -> Any:
            return spec.network.apply(params, x, t, spec.filled(cond))

        predict = bind(apply, sde, spec.target, spread)
        return held(predict, sde) if spec.space.representation else predict

    def energy(params: Any, key: Key, example: Example) -> tuple[Array, dict[str, Array]]:
        return energy_loss(
            key, bound(params), sde, example, spec.times, views, num_draws=config.num_draws, early=config.early
        )

    return energy


def scored_views(skeleton: Skeleton) -> np.ndarray:
    """[K, J]: every joint relative to the root, and every bone, as sums of joints."""
    eye = np.eye(len(skeleton.joints), dtype=np.float32)
    return np.stack([*(eye[1:] - eye[0]), *(eye[child] - eye[parent] for parent, child in bones(skeleton))])


def rest_offsets() -> Array:
    """Offsets [22, 3] metres of the bundled body's joints at rest, its pelvis at the origin."""
    offsets = offsets_of(anny_body().shape().joints[:22], SMPL_22.parents)
    return offsets.at[0].set(0)


def turned_and_placed(spec: released.Spec, statistics: Statistics, offsets: Array, state: Array) -> Array:
    """Of states [..., 21, D]: their numbers and the joints' places in units of `_REACH`, rows of 3."""
    turns = spec.space.decode(statistics, state)
    root = jnp.broadcast_to(jnp.eye(3), (*turns.shape[:-2], 1, 3, 3))
    local = jnp.concatenate([root, matrix_from_axis_angle(turns)], -3)
    places = forward_kinematics(local, offsets, SMPL_22.parents)[0][..., 1:, :]
    return jnp.concatenate([state.reshape(*state.shape[:-2], -1, 3), places / _REACH], -2)


def rotation_evaluators(export: Callable[[Any], released.Model], folder: str) -> dict[str, Any]:
    """Frechet distance of generated poses, and completion of legs and arms; none where there are no poses."""
    truth = prior.validation_poses(folder)
    if truth is None:
        return {}
    offsets = rest_offsets()

    @jax.jit
    def joints(turns: Array) -> Array:
        local = matrix_from_axis_angle(jnp.concatenate([jnp.zeros_like(turns[..., :1, :]), turns], -2))
        return forward_kinematics(local, offsets, SMPL_22.parents)[0]

    def validate(state: TrainState) -> dict[str, float]:
        model = export(state.ema_params)
        drawn = generate_rotations(jax.random.key(0), model, _DRAWN)
        row = {"fid": frechet_distance(drawn.reshape(_DRAWN, -1), truth.reshape(len(truth), -1))}
        some = truth[:: max(1, len(truth) // 250)]
        for part in ("legs", "arms"):
            known = jnp.ones(truth.shape[1]).at[jnp.array(PARTS[part])].set(0)
            completed = complete_rotations(jax.random.key(0), model, some, known, num_hypotheses=_SHOWN)
            errors = completion_row(joints(completed), joints(some), np.array(PARTS[part]) + 1)
            row |= {f"{part}_{name}_mm": errors[f"mpjpe_{name}_mm"] for name in ("min", "mean")}
        show(row)
        return row

    return {"val": validate}
