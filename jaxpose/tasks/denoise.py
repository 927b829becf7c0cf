"""Denoising: noisy 3D joints in, clean poses out, with the noise level given or estimated.

A pose with noise s on every coordinate is a state of the process at the time t* where sigma / alpha is that noise, so
sampling starts there (GFPose, CVPR 2023, with the start time that its code lacks; spec/gfpose.md, 5.5):

    x_t* = alpha(t*) y,   sigma(t*) / alpha(t*) = s / unit

States are about the middle of all joints. Taking out the middle of y takes out a part of the noise, which is put back
by a common shift of s / sqrt(J): x_t* then has exactly the law that the network was trained on, and the sample's place
is that of y less the shift, as uncertain as it is. (A flow that seeks the mean takes the mean shift, none.)

An unknown level is found by expectation maximisation (Dempster, Laird and Rubin, 1977), for every pose on its own,

    s_new^2 = mean over joints, coordinates and samples of (y - x)^2,   x ~ p(x | y, s)

over-relaxed, log s <- log s + 1.6 (log s_new - log s), since the plain step closes only 40 to 60 % of the way
(Salakhutdinov and Roweis, ICML 2003).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxpose.base import Array, Decoded, Hypotheses, Key, Numbers, Problem, Start
from jaxpose.compiled import check_shape, filled, traced
from jaxpose.diffusion import time_at
from jaxpose.model import Model, needs, null_condition
from jaxpose.spaces.person import View, decode_view, encode_pose
from jaxpose.tasks.complete import complete
from jaxpose.tasks.draw import check_joints, draw_states, drawn, with_path
from jaxpose.tasks.samplers import Sampler, stochastic
from jaxpose.tasks.typicality import judged

_FIRST_GUESS = 0.05  # metres
_EM_STEPS, _EM_SAMPLES, _OVER_RELAXED = 4, 8, 1.6
_LEVELS = (0.003, 0.5)  # metres: from the process' own last noise to what leaves nothing of a pose


@needs("denoise", "joints", "condition", "any_level")
def denoise(
    key: Key,
    model: Model,
    joints: Numbers,
    *,
    noise: float | Numbers | None = None,
    num_hypotheses: int = 50,
    sampler: Sampler | None = None,
    return_path: bool = False,
) -> Hypotheses:
    """Draw clean poses of noisy joints [N, J, 3] metres; compiled once for a shape, and usable inside jit.

    joints: as in `complete`, all of them finite. Where they are not, the pose comes back as NaN, or as a ValueError if
            the numbers are known. A few-step model's base takes them.
    noise:  metres, standard deviation of each coordinate: scalar or [N], taken as 3 to 500 mm where it is less or more;
            None: estimated, in `estimate_calls` network calls more, and given in the result. A model of motions, whose
            rows are the frames of one motion, needs it, and takes the joints as `complete` does.
    sampler: of `tasks.samplers`; one "mean_flow" sample is nearly the mean of many. The "original" ones keep GFPose's
            step size, which is right for a start from pure noise alone, and so inflate poses.
    """
    check_joints(model, joints, complete="denoise")
    if "motion" in model.capabilities:
        if noise is None:
            raise ValueError(f"noise: got none; {model.spec.name!r} is a model of motions, and needs it in metres")
        how: Any = {"num_hypotheses": num_hypotheses, "sampler": sampler, "return_path": return_path}
        return complete(key, model, joints, noise=noise, **how)
    num, sampler = joints.shape[0], sampler or stochastic()
    level: Any = None
    if noise is not None:
        level = noise if traced(noise) else np.asarray(noise, np.float32)
        check_shape("noise", level, (), (num,))
        level = (jnp if traced(noise) else np).broadcast_to(level, (num,))
    if not traced(key, model, joints, level):
        joints, level = filled((joints, level), num, model.rows_for(num))
    estimate_key, key = jax.random.split(key)
    given = (estimate_key, joints, level, np.float32(not sampler.seeks_mean))
    result = drawn(_posed, key, model, given, num_hypotheses, num, sampler, return_path=return_path)
    return judged(model, result)


def problem(model: Model, joints: Array, level: Array, shift: Array | float = 1.0) -> Problem:
    """The problem of denoising joints [N, J, 3] metres of noise `level` [N] metres: each row starts at its own time.

    shift: share that is put back of the noise that taking out the middle removes: 1, or 0 for a flow to the mean.
    """
    observed = encode_pose(model.statistics, View(jnp.eye(3)), joints)
    start = Partial(_start, model, observed, level, jnp.asarray(shift, jnp.float32))
    decode = Partial(_decode, model, joints.mean(-2, keepdims=True))
    noise = jnp.broadcast_to(level[:, None], joints.shape[:2])
    return Problem(start, decode, null_condition(model), noise=noise, task="denoise")


def estimate_calls(model: Model) -> int:
    """Network calls of `estimate_noise`, one after the other."""
    return _EM_STEPS * stochastic().network_calls(model)


def estimate_noise(key: Key, model: Model, joints: Numbers) -> Array:
    """Noise per coordinate [N] metres of joints [N, J, 3], by expectation maximisation, within 3 to 500 mm."""
    joints = jnp.asarray(joints)
    observed = joints - joints.mean(-2, keepdims=True)

    def improve(step: int, level: Array) -> Array:
        states, shift = draw_states(
            jax.random.fold_in(key, step), model, problem(model, joints, level), num=_EM_SAMPLES, sampler=stochastic()
        )
        poses = decode_view(model.statistics, states - shift)
        square = ((observed - poses + poses.mean(-2, keepdims=True)) ** 2).mean(0).sum((-1, -2))
        # about their middle, J joints have J - 1 joints' worth of noise
        improved = jnp.sqrt(square / (3 * (joints.shape[1] - 1)))
        return jnp.clip(level * (improved / level) ** _OVER_RELAXED, *_LEVELS)

    return jax.lax.fori_loop(0, _EM_STEPS, improve, jnp.full(joints.shape[0], _FIRST_GUESS))


def _posed(
    key: Key, model: Model, estimate_key: Key, joints: Array, level: Array | None, shift: Array | float
) -> Problem:
    level = estimate_noise(estimate_key, model, joints) if level is None else level
    return problem(model, joints, jnp.clip(level, *_LEVELS), shift)


def _start(model: Model, observed: Array, level: Array, shifted: Array, key: Key) -> Start:
    sde, unit = model.spec.sde(), model.statistics.std.max()

    def one(n: Array, y: Array, level: Array) -> tuple[Array, Key, Array, Array]:
        t_start = time_at(sde, -2 * jnp.log(level / unit))
        shift_key, step_key = jax.random.split(jax.random.fold_in(key, n))
        shift = level / unit / jnp.sqrt(y.shape[0]) * jax.random.normal(shift_key, (1, 3))
        shift = shift * shifted
        return sde.alpha(t_start) * (y + shift), step_key, t_start, shift

    x, keys, times, shift = jax.vmap(one)(jnp.arange(len(observed)), observed, level)
    return Start(x, keys, times, kept=shift)


def _decode(model: Model, middle: Array, states: Array, shift: Array) -> Decoded:
    shift = shift if states.ndim == 4 else shift[:, None]
    return with_path(decode_view(model.statistics, states - shift) + middle)
