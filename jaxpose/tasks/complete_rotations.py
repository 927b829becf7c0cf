"""Completion of a body pose: some joint rotations given, the others drawn many times.

    dposer     each hypothesis starts at its own noise; Adam down the DPoser regulariser in the hidden coordinates
    replace    the sampler, observed coordinates set to their value under noise after every step (ScoreSDE's inpainting)
    dps        the sampler, guided by the gradient of the distance to what is observed, through the network (DPS)
    mcg        both: DPS' gradient and replacement (MCG)

What is observed is returned as it came. The originals' recipes, which keep every hypothesis at one start, and whose DPS
and MCG do not differentiate the network, are in dposer_official.py.

Source: Lu et al., DPoser (2023); Song et al. (2021); Chung et al. (2022, 2023); spec/dposer.md, sections 5 and 7.2.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxpose.base import Array, Condition, Key
from jaxpose.diffusion import dpmpp_2m, prior_sample, replace, sample_hypotheses, time_grid
from jaxpose.diffusion.guidance import measurement, observed
from jaxpose.diffusion.minimise import minimise
from jaxpose.diffusion.regulariser import ScheduleFn, regulariser, truncated
from jaxpose.geometry.rotations import canonical_axis_angle
from jaxpose.model import Model
from jaxpose.tasks.draw import ROWS_IN_FLIGHT
from jaxpose.tasks.rotations import check_body_pose, check_rotation_model, to_axis_angle, to_state

METHODS = ("dposer", "replace", "dps", "mcg")
# The 21 joints, without the root, that a name stands for (spec/dposer.md, section 7.2; its trunk has the shoulders).
PARTS: dict[str, tuple[int, ...]] = {
    "left_leg": (0, 3, 6, 9),
    "right_leg": (1, 4, 7, 10),
    "left_arm": (12, 15, 17, 19),
    "right_arm": (13, 16, 18, 20),
    "trunk": (2, 5, 8, 15, 16),
    "hands": (19, 20),
}
PARTS |= {
    "legs": (*PARTS["left_leg"], *PARTS["right_leg"]),
    "arms": (*PARTS["left_arm"], *PARTS["right_arm"]),
    "left_body": (*PARTS["left_leg"], *PARTS["left_arm"]),
    "right_body": (*PARTS["right_leg"], *PARTS["right_arm"]),
}


class DPoserSettings(NamedTuple):
    """Steps of Adam, its learning rate, and the schedule of t; chosen on validation (`experiments.evaluate prior`)."""

    num_steps: int = 200
    learning_rate: float = 0.1
    schedule: ScheduleFn = truncated(0.3, 0.05)
    weight: str = "snr"


def complete_rotations(
    key: Key,
    model: Model,
    body_pose: Array,
    known: Array,
    *,
    num_hypotheses: int = 10,
    method: str = "dposer",
    settings: DPoserSettings | None = None,
    num_steps: int | None = None,
    noise: float = 0.05,
    chunk: int = ROWS_IN_FLIGHT,
) -> Array:
    """Draw whole poses [H, N, 21, 3] axis-angle radians that agree with body poses [N, 21, 3] where these are known.

    known:     [N, 21] or [21], 1 where a joint's rotation is given, 0 where it is to be drawn (it may be NaN there).
    method:    one of METHODS. settings: of "dposer". num_steps: solver steps of the others; None: the model's own.
    noise:     of "dps" and "mcg", in standard deviations of the prior's state: how exactly what is known is held.
    chunk:     poses computed at once.
    ValueError for another method, wrong shapes, no known joint's finite value, or a model of joint positions.
    """
    check_rotation_model(model, "complete")
    if method not in METHODS:
        raise ValueError(f"method: got {method!r}, legal are {METHODS}")
    if num_hypotheses < 1:
        raise ValueError(f"num_hypotheses: needed at least 1, got {num_hypotheses}")
    num = model.spec.state_shape[0]
    if body_pose.ndim != 3 or body_pose.shape[1:] != (num, 3) or known.shape not in ((num,), body_pose.shape[:2]):
        raise ValueError(
            f"needed body_pose [N, {num}, 3] with known [{num}] or [N, {num}], got {body_pose.shape} and {known.shape}"
        )
    known = jnp.broadcast_to(known, body_pose.shape[:2])
    check_body_pose(body_pose, known)
    body_pose = jnp.where(known[..., None] > 0, body_pose, 0)
    value = to_state(model, body_pose)
    mask = jnp.broadcast_to(known[..., None], value.shape).astype(value.dtype)
    cond = Condition(mask * value, mask)
    if method == "dposer":
        states = _optimised(key, model, cond, num_hypotheses, settings or DPoserSettings(), chunk)
    else:
        states = _sampled(key, model, cond, num_hypotheses, method, num_steps, noise, chunk)
    drawn = canonical_axis_angle(to_axis_angle(model, states))
    return jnp.where(known[..., None] > 0, body_pose, drawn)


def _optimised(key: Key, model: Model, cond: Condition, num: int, settings: DPoserSettings, chunk: int) -> Array:
    sde, predict = model.spec.sde(), model.predict_fn()

    def energy(key: Key, state: Array, k: Array) -> Array:
        t_key, z_key = jax.random.split(key)
        t = settings.schedule(t_key, k, settings.num_steps)
        whole = jnp.where(cond.mask > 0, cond.value, state)
        return regulariser(z_key, predict, sde, whole, t, weight=settings.weight)

    def one(h: Array) -> Array:
        start_key, key_h = jax.random.split(jax.random.fold_in(key, h))
        start = jax.random.normal(start_key, cond.value.shape)
        found = minimise(key_h, energy, start, optax.adam(settings.learning_rate), settings.num_steps)
        return jnp.where(cond.mask > 0, cond.value, found.variables)

    return jax.lax.map(one, jnp.arange(num), batch_size=max(1, min(num, chunk // len(cond.value))))


def _sampled(
    key: Key, model: Model, cond: Condition, num: int, method: str, num_steps: int | None, noise: float, chunk: int
) -> Array:
    sde, predict = model.spec.sde(), model.predict_fn()
    if method in ("dps", "mcg"):
        predict = measurement(predict, sde, observed(cond), noise=noise)
    times = time_grid(sde, num_steps or model.spec.num_steps, model.spec.spacing)
    return sample_hypotheses(
        key,
        num,
        lambda k: prior_sample(k, sde, cond.value.shape),
        predict,
        dpmpp_2m(sde, eta=model.spec.eta),
        times,
        chunk=max(1, chunk // len(cond.value)),
        project=replace(sde, cond) if method in ("replace", "mcg") else None,
    )
