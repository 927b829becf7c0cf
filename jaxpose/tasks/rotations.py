"""Poses as rotations of the body's joints: encoding, decoding, unconditional sampling, interpolation.

A model of the codec "axis_angle" or "rot6d" is a prior over the 21 joint rotations of SMPL's bodies without the root,
axis-angle [..., 21, 3]. It has no condition, but for a few-step model, which is told of any of them.

Source: Lu et al., DPoser (2023), as described in spec/dposer.md, sections 5 and 7.1.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxpose.base import Array, Decoded, Key, Numbers, Problem
from jaxpose.compiled import part, size_for, traced
from jaxpose.diffusion import time_grid
from jaxpose.diffusion.flow import decode as from_latent
from jaxpose.diffusion.flow import encode as to_latent
from jaxpose.diffusion.flow import interpolate
from jaxpose.model import Model, needs, null_condition
from jaxpose.tasks.draw import ROWS_IN_FLIGHT, draw_states, from_noise
from jaxpose.tasks.refine import refined
from jaxpose.tasks.samplers import Sampler, stochastic

_FLOW_STEPS = 20  # of four network calls each
_RMS_STD = 0.28  # radians, the rms of `rotation_std(prior21)`


def check_rotations(model: Model, body_pose: Numbers, name: str = "body_pose") -> None:
    """ValueError where body poses are neither [..., 21, 3] nor [..., 63]."""
    num, shape = model.spec.state_shape[0], jnp.shape(body_pose)
    if shape[-1:] != (3 * num,) and shape[-2:] != (num, 3):
        raise ValueError(f"{name}: needed [..., {num}, 3] or [..., {3 * num}], got {list(shape)}")


def to_state(model: Model, body_pose: Array) -> Array:
    """States [..., 21, D] of body poses [..., 21, 3] axis-angle radians, or [..., 63]; ValueError for other shapes."""
    check_rotations(model, body_pose)
    num, shape = model.spec.state_shape[0], jnp.shape(body_pose)
    if shape[-1:] == (3 * num,):
        body_pose = jnp.reshape(body_pose, (*shape[:-1], num, 3))
    return model.encode(jnp.asarray(body_pose))


def rotation_std(model: Model) -> Array:
    """Deviations [21, 3] radians of the poses that a prior was trained on, 0 where they never move.

    For a prior over other numbers than axis-angle vectors: the rms of `prior21`'s deviations.
    """
    if model.spec.state_shape != (21, 3):
        return jnp.full((21, 3), _RMS_STD)
    return jnp.asarray(model.statistics.std * model.statistics.spread)


def problem(model: Model, like: Array) -> Problem:
    """The unconditional problem of body poses, of states shaped as `like` [N, 21, D]."""
    return Problem(from_noise(model, like), Partial(_decode, model), null_condition(model), paired=False)


def _decode(model: Model, states: Array, kept: None) -> Decoded:
    return Decoded(model.decode(states))


@needs("generate", "rotations")
def generate_rotations(
    key: Key, model: Model, num: int, *, sampler: Sampler | None = None, chunk: int = ROWS_IN_FLIGHT
) -> Array:
    """Draw `num` body poses [num, 21, 3] axis-angle radians from the prior.

    sampler: of `tasks.samplers`. chunk: poses computed at once.
    """
    model = refined(model)
    size = num if traced(key, model) else size_for(num)
    return part(_generate(key, model, size, sampler or stochastic(), chunk), slice(num))


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _generate(key: Key, model: Model, num: int, sampler: Sampler, chunk: int) -> Array:
    posed = problem(model, jnp.zeros((1, *model.spec.state_shape)))
    states, _ = draw_states(key, model, posed, num=num, sampler=sampler, chunk=chunk)
    return model.decode(states[:, 0])


@needs("interpolate", "rotations", "score")
def interpolate_rotations(
    model: Model, first: Numbers, second: Numbers, num: int, *, num_steps: int = _FLOW_STEPS
) -> Array:
    """A path [num, ..., 21, 3] of plausible poses from first to second [..., 21, 3] axis-angle, both ends included.

    Both are carried to their latent noise by the probability flow; the path is the great arc between the latents,
    carried back. num >= 2.
    """
    if num < 2:
        raise ValueError(f"num: needed at least 2, for both ends, got {num}")
    for name, end in (("first", first), ("second", second)):
        check_rotations(model, end, name)
        check_body_pose(end if traced(end) else np.reshape(end, (-1, model.spec.state_shape[0], 3)), name=name)
    if np.shape(first) != np.shape(second):
        raise ValueError(f"second: needed {list(np.shape(first))}, as first has, got {list(np.shape(second))}")
    return _interpolate(model, first, second, num, num_steps)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _interpolate(model: Model, first: Array, second: Array, num: int, num_steps: int) -> Array:
    sde, predict = model.spec.sde(), model.predict_fn()
    times = time_grid(sde, num_steps, model.spec.spacing)
    a, b = (to_latent(sde, predict, to_state(model, x), times) for x in (first, second))
    u = jnp.linspace(0, 1, num).reshape(num, *[1] * (a.ndim - 2))
    return model.decode(from_latent(sde, predict, interpolate(a, b, u), times))


def check_body_pose(body_pose: Numbers, known: Numbers | None = None, name: str = "body_pose") -> None:
    """ValueError, naming the pose and joint, where a known rotation is not finite or turns by more than 2 pi.

    body_pose: [N, 21, 3]. known: [N, 21], where it counts; None: everywhere. Longer vectors are degrees, or a mistake.
    """
    if isinstance(body_pose, jax.core.Tracer) or isinstance(known, jax.core.Tracer):
        return
    values = np.asarray(body_pose)
    counts = np.ones(values.shape[:-1], bool) if known is None else np.asarray(known) > 0
    angle = np.linalg.norm(np.nan_to_num(values), axis=-1)
    for what, wrong in (
        ("is not finite", ~np.isfinite(values).all(-1)),
        ("turns by more than 2 pi radians (are these degrees?)", angle > 2 * np.pi),
    ):
        places = np.argwhere(wrong & counts)
        if places.size:
            pose, joint = places[0]
            raise ValueError(f"{name}: joint {joint} of pose {pose} {what}: {values[pose, joint]}")
