"""Completion of a body pose: some joint rotations given, the others drawn many times.

    few_steps  the calls of a few-step model, conditioned on what is observed; the default of such a model
    dposer     each hypothesis starts at its own noise; Adam down the DPoser regulariser in the hidden coordinates
    replace    the sampler, observed coordinates set to their value under noise after every step (ScoreSDE's inpainting)
    dps        the sampler, guided by the gradient of the distance to what is observed, through the network (DPS)
    mcg        both: DPS' gradient and replacement (MCG)

What is observed is returned as it came. `rotation_spread` says where most hypotheses lie; how far people are from there
differs by method, and is the model's recalibration "complete_METHOD". The originals' recipes keep every hypothesis at
one start, and their DPS and MCG do not differentiate the network: tests/dposer_original.py of commit 301b7c0.

Source: Lu et al., DPoser (2023); Song et al. (2021); Chung et al. (2022, 2023); spec/dposer.md, sections 5 and 7.2.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxpose.base import Array, Condition, Key, Numbers
from jaxpose.compiled import check_shape, filled, part, size_for, traced
from jaxpose.diffusion import replace
from jaxpose.diffusion.guidance import held, measurement, observed
from jaxpose.diffusion.minimise import minimise
from jaxpose.diffusion.regulariser import Schedule, Weight, regulariser, snr, truncated
from jaxpose.geometry.products import product
from jaxpose.geometry.rotations import axis_angle_from_matrix, canonical_axis_angle, matrix_from_axis_angle
from jaxpose.model import Model, Recalibration, able, needs, require
from jaxpose.tasks.draw import ROWS_IN_FLIGHT, draw_states
from jaxpose.tasks.refine import refined
from jaxpose.tasks.rotations import check_body_pose, problem, to_state
from jaxpose.tasks.samplers import stochastic

# Name -> joints, of the 21 without the root (spec/dposer.md, section 7.2; its trunk has the shoulders).
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


_SCHEDULE = truncated(0.3, 0.05)


@dataclasses.dataclass(frozen=True)
class Descent:
    """Adam down the DPoser regulariser; its numbers are chosen on validation (`experiments.evaluate prior`)."""

    num_steps: int = 200
    learning_rate: float = 0.1
    schedule: Schedule = _SCHEDULE
    weight: Weight = snr
    needs: ClassVar[tuple[str, ...]] = ("rotations", "score")

    def states(self, key: Key, model: Model, cond: Condition, num: int, chunk: int) -> Array:
        """States that end the descent."""
        sde, predict = model.spec.sde(), model.predict_fn()

        def energy(key: Key, state: Array, k: Array) -> Array:
            t_key, z_key = jax.random.split(key)
            t = self.schedule(t_key, k, self.num_steps)
            whole = jnp.where(cond.mask > 0, cond.value, state)
            return regulariser(z_key, predict, sde, whole, t, weight=self.weight)

        def one(h: Array) -> Array:
            start_key, key_h = jax.random.split(jax.random.fold_in(key, h))
            start = jax.random.normal(start_key, cond.value.shape)
            end = minimise(key_h, energy, start, optax.adam(self.learning_rate), self.num_steps)
            return jnp.where(cond.mask > 0, cond.value, end.variables)

        return jax.lax.map(one, jnp.arange(num), batch_size=max(1, min(num, chunk // len(cond.value))))


@dataclasses.dataclass(frozen=True)
class Guided:
    """The sampler, held to what is known.

    num_steps: solver steps; None: the model's own.
    noise:     of what is known, in standard deviations of the state, for guidance by its gradient; None: no guidance.
    replaced:  whether known coordinates are set to their value under noise after every step.
    """

    num_steps: int | None = None
    noise: float | None = None
    replaced: bool = True
    needs: ClassVar[tuple[str, ...]] = ("rotations", "score")

    def states(self, key: Key, model: Model, cond: Condition, num: int, chunk: int) -> Array:
        """States that the guided sampler draws."""
        sde, noise = model.spec.sde(), self.noise
        guide = None if noise is None else lambda f: measurement(f, sde, observed(cond), noise=noise)
        held_to = {"guide": guide, "project": replace(sde, cond) if self.replaced else None}
        return _drawn(key, model, cond, num, chunk, self.num_steps, **held_to)


@dataclasses.dataclass(frozen=True)
class FewSteps:
    """The calls of a few-step model.

    spread: factor on the distance of the hypotheses from their mean. At 1 they are draws; below, nearer to the mean, as
    those of `Descent` are, and their recalibration does not hold.
    """

    spread: float = 1.0
    needs: ClassVar[tuple[str, ...]] = ("rotations", "few_steps")

    def states(self, key: Key, model: Model, cond: Condition, num: int, chunk: int) -> Array:
        """States that the few calls draw."""
        guide = functools.partial(held, sde=model.spec.sde())
        drawn = _drawn(key, refined(model), cond, num, chunk, cond=cond, guide=guide)
        mean = drawn.mean(0)
        return drawn if self.spread == 1 else mean + self.spread * (drawn - mean)


def _drawn(
    key: Key, model: Model, known: Condition, num: int, chunk: int, num_steps: int | None = None, **changes: Any
) -> Array:
    """States [H, N, 21, D] of the unconditional problem with changes."""
    posed = dataclasses.replace(problem(model, known.value), **changes)
    at_once = max(1, chunk // len(known.value))
    return draw_states(key, model, posed, num=num, sampler=stochastic(num_steps), chunk=at_once)[0]


# A way to complete poses; hashable, so it is a static argument of jit. `states`: (key, model, condition of N poses, H,
# poses computed at once) -> states [H, N, 21, D]; needs: of the model.
Method: TypeAlias = FewSteps | Descent | Guided
# the name on the command line -> Method
METHODS: dict[str, Callable[..., Method]] = {"few_steps": FewSteps, "dposer": Descent, "replace": Guided}
METHODS["dps"] = functools.partial(Guided, noise=0.05, replaced=False)
METHODS["mcg"] = functools.partial(Guided, noise=0.05)


def methods_of(model: Model) -> tuple[str, ...]:
    """The names of METHODS that a model has, the default first."""
    return tuple(name for name, make in METHODS.items() if able(model, *make().needs) is not None)


@needs("complete", "rotations")
def complete_rotations(
    key: Key,
    model: Model,
    body_pose: Numbers,
    known: Numbers,
    *,
    num_hypotheses: int = 10,
    method: Method | None = None,
    chunk: int = ROWS_IN_FLIGHT,
) -> Array:
    """Draw whole poses [H, N, 21, 3] axis-angle radians that agree with body poses [N, 21, 3] where these are known.

    known:  [N, 21] or [21], 1 where a joint's rotation is given, 0 where it is to be drawn (it may be NaN there).
    method: None: FewSteps() of a few-step model, Descent() of others. Those but FewSteps need a score: a few-step
            model's base has it.
    chunk:  poses computed at once.
    ValueError for wrong shapes, a known joint's value that is not finite, or a model of joint positions.
    """
    joints = model.spec.state_shape[0]
    check_shape("body_pose", body_pose, ("N", joints, 3))
    rows = len(body_pose)
    check_shape("known", known, (joints,), (rows, joints))
    check_body_pose(body_pose, known)
    method = method or METHODS[methods_of(model)[0]]()
    if not isinstance(method, Method):
        raise ValueError(f"method: needed FewSteps(), Descent() or Guided(), got {method!r:.40}")
    model = require(model, "complete", *method.needs)
    if traced(key, model, body_pose, known):
        return _complete(key, model, body_pose, known, num_hypotheses, method, chunk)
    given = (np.asarray(body_pose), np.broadcast_to(known, (rows, joints)))
    drawn = _complete(key, model, *filled(given, rows, size_for(rows)), size_for(num_hypotheses), method, chunk)
    return part(drawn, slice(num_hypotheses), slice(rows))


@functools.partial(jax.jit, static_argnums=(4, 5, 6))
def _complete(
    key: Key, model: Model, body_pose: Array, known: Array, num_hypotheses: int, method: Method, chunk: int
) -> Array:
    known = jnp.broadcast_to(known, body_pose.shape[:2])[..., None]
    body_pose = jnp.where(known > 0, body_pose, 0)
    value = to_state(model, body_pose)
    mask = jnp.broadcast_to(known, value.shape).astype(value.dtype)
    states = method.states(key, model, Condition(mask * value, mask), num_hypotheses, chunk)
    drawn = canonical_axis_angle(model.decode(states))
    return jnp.where(known > 0, body_pose, drawn)


class RotationSpread(NamedTuple):
    """Summary of rotations [H, N, J, 3]: mean [N, J, 3] axis-angle; std, radius_90 [N, J] of the angle from it."""

    mean: Array
    std: Array
    radius_90: Array


@jax.jit
def rotation_spread(samples: Array, recalibration: Recalibration | None = None) -> RotationSpread:
    """Mean of rotations [H, N, J, 3], nearest in the mean of matrices; their rms angle from it; what 90 % lie within.

    recalibration: such as model.recalibration.get("complete_dposer"): its `radius` makes `radius_90` hold the truth of
    people left out in 90 % of the cases.
    """
    R = matrix_from_axis_angle(samples)
    # the rotation nearest to a mean M = U S V^T is U diag(1, 1, det U V^T) V^T
    U, _, Vt = jnp.linalg.svd(R.mean(0))
    mean = product(U.at[..., 2].multiply(jnp.linalg.det(product(U, Vt))[..., None]), Vt)
    away = jnp.linalg.norm(axis_angle_from_matrix(product(jnp.swapaxes(mean, -1, -2), R)), axis=-1)
    factor = 1.0 if recalibration is None else recalibration.radius
    std = jnp.sqrt(jnp.square(away).mean(0))
    return RotationSpread(axis_angle_from_matrix(mean), std, factor * jnp.quantile(away, 0.9, axis=0))
