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

Missing joints, or a noise of their own for each, are for `complete`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Key
from jaxpose.diffusion import sample, time_at
from jaxpose.model import Model
from jaxpose.spaces.person import View, decode_view, encode_pose
from jaxpose.tasks.draw import (
    ROWS_IN_FLIGHT,
    Posed,
    check_joints,
    check_noise,
    make_run,
    network_calls,
    null_condition,
    spread,
)

_FIRST_GUESS = 0.05  # metres
_EM_STEPS, _EM_SAMPLES, _OVER_RELAXED = 4, 8, 1.6
_LEVELS = (0.003, 0.5)  # metres: from the process' own last noise to what leaves nothing of a pose


def denoise(
    key: Key,
    model: Model,
    joints: Array,
    *,
    noise: float | Array | None = None,
    num_hypotheses: int = 50,
    num_steps: int | None = None,
    sampler: str = "posterior",
    return_path: bool = False,
) -> Posed:
    """Draw clean poses of noisy joints [N, J, 3] metres; pure, and usable inside jit.

    joints: as in `complete`, all of them finite. Where they are not, the pose comes back as NaN, or as a ValueError if
            the numbers are known. A few-step model is refused.
    noise:  metres, standard deviation of each coordinate: scalar or [N], taken as 3 to 500 mm where it is less or more;
            None: estimated, in `estimate_calls` network calls more, and told in the result.
    num_steps, sampler: as in `draw_states`; one "mean_flow" sample is nearly the mean of many. The "original" ones
            keep GFPose's step size, which is right for a start from pure noise alone, and so inflate poses.
    """
    check_joints(model, joints, "denoise", complete=True)
    if model.spec.times:
        raise ValueError(
            f"denoise starts in the midst of the process, which the few-step model {model.spec.name!r} never saw; "
            "complete(..., noise=) takes noisy joints with it"
        )
    num_rows, num_joints = joints.shape[:2]
    estimate_key, key = jax.random.split(key)
    level = estimate_noise(estimate_key, model, joints) if noise is None else jnp.asarray(noise, jnp.float32)
    check_noise(level, (), (num_rows,))
    level = jnp.clip(jnp.broadcast_to(level, num_rows), *_LEVELS)
    states = _from_matched_start(key, model, joints, level, num_hypotheses, num_steps, sampler, return_path)
    noise = jnp.broadcast_to(level[:, None], (num_rows, num_joints))
    poses = decode_view(model.statistics, states) + joints.mean(-2, keepdims=True)
    samples = poses[:, -1] if return_path else poses
    recalibration = model.recalibration.get("denoise") if sampler == "posterior" else None
    path = jnp.swapaxes(poses, 0, 1) if return_path else None
    return Posed(samples, *spread(samples, recalibration), noise, path)


def estimate_calls(model: Model) -> int:
    """How often `estimate_noise` asks the network, one call after the other."""
    return _EM_STEPS * network_calls(model, "posterior", None)


def estimate_noise(key: Key, model: Model, joints: Array) -> Array:
    """Noise per coordinate [N] metres of joints [N, J, 3], by expectation maximisation, within 3 to 500 mm."""
    observed = joints - joints.mean(-2, keepdims=True)

    def improve(step: int, level: Array) -> Array:
        states = _from_matched_start(
            jax.random.fold_in(key, step), model, joints, level, _EM_SAMPLES, None, "posterior"
        )
        poses = decode_view(model.statistics, states)
        square = ((observed - poses + poses.mean(-2, keepdims=True)) ** 2).mean(0).sum((-1, -2))
        # about their middle, J joints have J - 1 joints' worth of noise
        found = jnp.sqrt(square / (3 * (joints.shape[1] - 1)))
        return jnp.clip(level * (found / level) ** _OVER_RELAXED, *_LEVELS)

    return jax.lax.fori_loop(0, _EM_STEPS, improve, jnp.full(joints.shape[0], _FIRST_GUESS))


def _from_matched_start(
    key: Key,
    model: Model,
    joints: Array,
    level: Array,
    num_hypotheses: int,
    num_steps: int | None,
    sampler: str,
    return_path: bool = False,
) -> Array:
    """States [H, N, J, 3], or [H, T+1, N, J, 3] with the path, from joints with noise `level` [N] metres."""
    sde = model.spec.sde()
    unit = model.statistics.std.max()
    observed = encode_pose(model.statistics, View(jnp.eye(3)), joints)
    null = jax.tree.map(lambda x: x[0], null_condition(model, 1))

    def one(key: Key, y: Array, level: Array) -> Array:
        t_start = time_at(sde, -2 * jnp.log(level / unit))
        shift_key, key = jax.random.split(key)
        shift = level / unit / jnp.sqrt(y.shape[0]) * jax.random.normal(shift_key, (1, 3))
        shift = shift * (not sampler.endswith("mean_flow"))
        run = make_run(model, sampler, sde._replace(t_max=t_start), num_steps)
        result = sample(
            key,
            sde.alpha(t_start) * (y + shift),
            model.predict_fn(),
            run.solver,
            run.times,
            null,
            finish=run.finish,
            return_path=return_path,
        )
        return result - shift

    def hypothesis(h: Array) -> Array:
        keys = jax.vmap(lambda n: jax.random.fold_in(jax.random.fold_in(key, h), n))(jnp.arange(len(joints)))
        return jax.vmap(one, out_axes=int(return_path))(keys, observed, level)

    chunk = max(1, ROWS_IN_FLIGHT // len(joints))
    return jax.lax.map(hypothesis, jnp.arange(num_hypotheses), batch_size=chunk)


jitted_denoise = jax.jit(denoise, static_argnames=("num_hypotheses", "num_steps", "sampler", "return_path"))
