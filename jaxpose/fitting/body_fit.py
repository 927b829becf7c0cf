"""Fitting a body model to what is seen of it: the engine of `ik`, `fit` and `denoise_motion`.

An item is one clip of one person, of F >= 1 frames; its shape is one, its pose, orientation and place are of each
frame. Thousands of items are fitted at once; hypotheses are more items. Its energy, in nats, is

    E = sum over what is seen of rho(|error| / noise)             3D points, or keypoints in any number of cameras
      + smooth / 2 sum |x_{f+1} - 2 x_f + x_{f-1}|^2              x: the 22 joints, metres
      + w_prior(k) sum_f prior(pose_f) + w_shape |betas|^2 / 2
      + w_bend sum exp(...)                                       knees and elbows that bend the wrong way

    rho(r) = r^2 / 2,  or with a width c the robust c^2 r^2 / (2 (c^2 + r^2))   (Geman-McClure)

The prior is a function of the pose, so that DPoser, a Gaussian, a mixture and none are compared in one code.

Source: Bogo et al., SMPLify (2016); Lu et al., DPoser (2023); spec/dposer.md, sections 7.3 to 7.5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxpose.base import Array, Key
from jaxpose.diffusion.minimise import Minimised, minimise
from jaxpose.diffusion.regulariser import ScheduleFn, regulariser, truncated
from jaxpose.geometry.body import Body, PosedBody, full_rotations
from jaxpose.model import Model
from jaxpose.tasks.rotations import check_rotation_model, to_state

# (key, body_pose [..., 21, 3] axis-angle, step k, total steps) -> energy [...]
PosePrior: TypeAlias = Callable[[Key, Array, Array, int], Array]
# (posed body of [N, F], step k) -> energy [N, F]
DataFn: TypeAlias = Callable[[PosedBody, Array], Array]
_TIMES = (0.2, 0.05)  # first and last t; DPoser-X's of motion denoising
# left and right elbow about y, left and right knee about x: entries of the 63 and the sign of bending the wrong way
_BEND = ((52, 1.0), (55, -1.0), (9, -1.0), (12, -1.0))


class BodyParameters(NamedTuple):
    """N clips of F frames: body_pose [N, F, 21, 3], global_orient [N, F, 3] rad, transl [N, F, 3] m, betas [N, S]."""

    body_pose: Array
    global_orient: Array
    transl: Array
    betas: Array


class Weights(NamedTuple):
    """Weights of the energy's terms; smooth in 1 / m^2; prior falls over the steps from `prior_start` times itself."""

    prior: float | Array = 1.0
    smooth: float | Array = 0.0
    shape: float | Array = 1.0
    bend: float | Array = 0.0
    prior_start: float | Array = 1.0


class Free(NamedTuple):
    """What a fit may change."""

    body_pose: bool = True
    global_orient: bool = True
    transl: bool = True
    betas: bool = True


EVERYTHING, POSE_AND_PLACE = Free(), Free(betas=False)


def dposer_prior(
    model: Model, schedule: ScheduleFn | None = None, *, weight: str = "snr_squared", reduction: str = "sum"
) -> PosePrior:
    """The DPoser regulariser of a prior over rotations (diffusion/regulariser.py), all poses at the one t of the step.

    With "snr_squared" and "sum" a weight of 1 in `Weights` serves all tasks, since the data terms are in nats.
    """
    check_rotation_model(model, "a fit")
    sde, predict = model.spec.sde(), model.predict_fn()
    schedule = schedule or truncated(*_TIMES)

    def prior(key: Key, body_pose: Array, k: Array, total: int) -> Array:
        t_key, z_key = jax.random.split(key)
        t = schedule(t_key, k, total)
        return regulariser(z_key, predict, sde, to_state(model, body_pose), t, weight=weight, reduction=reduction)

    return prior


def energy_prior(energy: Callable[[Array], Array]) -> PosePrior:
    """A prior from an energy of poses as vectors x [..., 63] -> [...] (fitting/baselines.py)."""
    return lambda key, body_pose, k, total: energy(body_pose.reshape(*body_pose.shape[:-2], -1))


def posed_body(body: Body, parameters: BodyParameters) -> PosedBody:
    """The bodies [N, F] of parameters; the translation moves the body from where its template stands."""
    rotations = full_rotations(body, parameters.body_pose, parameters.global_orient)
    return body.shape(parameters.betas[:, None]).pose(rotations, parameters.transl)


def start_parameters(num: int, num_frames: int, num_betas: int, body_pose: Array | None = None) -> BodyParameters:
    """Zero parameters, but for a body pose [21, 3] or [N, F, 21, 3] to start from."""
    pose = jnp.zeros((21, 3)) if body_pose is None else jnp.asarray(body_pose)
    flat = jnp.zeros((num, num_frames, 3))
    return BodyParameters(jnp.broadcast_to(pose, (num, num_frames, 21, 3)), flat, flat, jnp.zeros((num, num_betas)))


def robust(squared: Array, width: float | Array | None) -> Array:
    """rho of squared, scaled errors: half of them, or Geman-McClure's of that width, which tends to width^2 / 2."""
    return squared / 2 if width is None else width**2 * squared / (2 * (width**2 + squared))


def bend_energy(body_pose: Array) -> Array:
    """sum exp(angle)^2 [...] of knees and elbows, angle > 0 where they bend the wrong way; poses [..., 21, 3]."""
    flat = body_pose.reshape(*body_pose.shape[:-2], 63)
    entries, signs = np.array([e for e, _ in _BEND]), np.array([s for _, s in _BEND], np.float32)
    return jnp.exp(2 * flat[..., entries] * signs).sum(-1)


def fit_body(
    key: Key,
    body: Body,
    data: DataFn,
    start: BodyParameters,
    prior: PosePrior | None,
    *,
    weights: Weights,
    num_steps: int,
    learning_rate: float,
    free: Free = EVERYTHING,
    tolerance: float = 0.0,
) -> Minimised:
    """Adam down the energy of every item from `start`; its step falls by a cosine to a twentieth.

    prior: None for none. tolerance: as in `minimise`; items that have stopped improving are frozen.
    """

    def energy(key: Key, parameters: BodyParameters, k: Array) -> Array:
        posed = posed_body(body, parameters)
        total = data(posed, k).sum(-1)
        if free.body_pose:
            joints = posed.joints[..., :22, :]
            if joints.shape[1] > 2:
                bend = joints[:, 2:] - 2 * joints[:, 1:-1] + joints[:, :-2]
                total = total + weights.smooth / 2 * jnp.square(bend).sum((1, 2, 3))
            total = total + weights.bend * bend_energy(parameters.body_pose).sum(-1)
            if prior is not None:
                fall = weights.prior_start + (1 - weights.prior_start) * k / max(num_steps - 1, 1)
                total = total + weights.prior * fall * prior(key, parameters.body_pose, k, num_steps).sum(-1)
        return total + weights.shape / 2 * jnp.square(parameters.betas).sum(-1)

    tx = optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps, 0.05))
    return minimise(key, energy, start, tx, num_steps, tolerance=tolerance, trainable=free)
