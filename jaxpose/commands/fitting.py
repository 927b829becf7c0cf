"""Fits as the commands call them: compiled once for all blocks of a run, and results row by row."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Bodies, Camera, Key
from jaxpose.fitting.baselines import l2_energy
from jaxpose.fitting.engine import EVERYTHING, POSE_AND_PLACE, BodyParameters, PosePrior, posed_body
from jaxpose.fitting.ik import IKSettings, ik
from jaxpose.fitting.keypoints import FitSettings, fit_keypoints
from jaxpose.fitting.motion import MotionSettings, denoise_motion
from jaxpose.fitting.priors import dposer_prior, energy_prior
from jaxpose.fitting.terms import project
from jaxpose.geometry.body import Body
from jaxpose.geometry.body_joints import body_points
from jaxpose.model import Model
from jaxpose.tasks.rotations import to_axis_angle

PRIORS = ("dposer", "none", "l2")


class Rows(NamedTuple):
    """Fitted bodies, one for each frame of each clip: R = N F rows, H hypotheses.

    body_pose [H, R, 21, 3], global_orient [H, R, 3] rad, transl [H, R, 3] m (moves the template), betas [H, R, S],
    joints [H, R, 22, 3] m, energy [H, R] of the whole clip; error_px [R, C] mean distance of seen keypoints, or None.
    """

    body_pose: Array
    global_orient: Array
    transl: Array
    betas: Array
    joints: Array
    energy: Array
    error_px: Array | None = None


def prior_of(name: str, model: Model | None) -> PosePrior | None:
    """The prior that --prior names; ValueError for another name."""
    if name not in PRIORS:
        raise ValueError(f"--prior: got {name!r}; legal are {', '.join(PRIORS)}")
    if name == "l2":
        return energy_prior(l2_energy)
    if name == "none":
        return None
    assert model is not None  # the commands load one for "dposer"
    return dposer_prior(model)


def start_pose(model: Model | None) -> Array | None:
    """The prior's mean pose [21, 3], where a fit starts."""
    return None if model is None else to_axis_angle(model, jnp.zeros(model.spec.state_shape))


@functools.partial(jax.jit, static_argnames=("points", "prior", "num_hypotheses", "shape", "settings"))
def ik_rows(
    key: Key,
    body: Body,
    model: Model | None,
    targets: Array,
    noise: Array,
    *,
    points: str,
    prior: str,
    num_hypotheses: int,
    shape: bool,
    settings: IKSettings | None = None,
) -> Rows:
    """`ik` of targets [N, F, K, 3]; shape: fit betas too."""
    fitted = ik(
        key,
        body,
        targets,
        points,
        prior_of(prior, model),
        noise=noise,
        start_pose=start_pose(model),
        num_hypotheses=num_hypotheses,
        free=EVERYTHING if shape else POSE_AND_PLACE,
        settings=settings,
    )
    return _rows(fitted)


@functools.partial(jax.jit, static_argnames=("points", "prior", "shape", "settings"))
def denoise_rows(
    key: Key,
    body: Body,
    model: Model | None,
    targets: Array,
    noise: Array,
    *,
    points: str,
    prior: str,
    shape: bool,
    settings: MotionSettings,
) -> Rows:
    """`denoise_motion` of one clip's targets [1, F, K, 3] with noise in metres; shape: fit betas too."""
    fitted = denoise_motion(
        key,
        body,
        targets,
        points,
        prior_of(prior, model),
        noise=noise,
        start_pose=start_pose(model),
        free=EVERYTHING if shape else POSE_AND_PLACE,
        settings=settings,
    )
    return _rows(fitted)


@functools.partial(jax.jit, static_argnames=("points", "prior", "up", "settings"))
def fit_rows(
    key: Key,
    body: Body,
    model: Model | None,
    xy: Array,
    confidence: Array,
    cameras: Camera,
    noise_px: Array,
    start: BodyParameters | None,
    *,
    points: str,
    prior: str,
    up: str,
    settings: FitSettings,
) -> Rows:
    """`fit` of keypoints xy [N, C, F, K, 2] px, and how far its points lie from them."""
    fitted = fit_keypoints(
        key,
        body,
        xy,
        confidence,
        cameras,
        points,
        prior_of(prior, model),
        noise_px=noise_px,
        start=start,
        start_pose=start_pose(model),
        up=up,
        settings=settings,
    )
    best = jax.tree.map(lambda x: x[0], fitted)
    away = jnp.linalg.norm(project(cameras, body_points(posed_body(body, best), points)) - xy, axis=-1)
    seen = confidence > 0
    error = jnp.where(seen, away, 0).sum(-1) / jnp.where(seen.any(-1), seen.sum(-1), jnp.nan)
    return _rows(fitted)._replace(error_px=jnp.moveaxis(error, 1, 2).reshape(-1, xy.shape[1]))


def _rows(found: Bodies) -> Rows:
    lead = found.body_pose.shape[:3]

    def flat(x: Array) -> Array:
        return x.reshape(lead[0], lead[1] * lead[2], *x.shape[3:])

    betas = jnp.broadcast_to(found.betas[:, :, None], (*lead, found.betas.shape[-1]))
    energy = jnp.broadcast_to(found.energy[:, :, None], lead)
    return Rows(*(flat(x) for x in (*found[:3], betas, found.joints, energy)))
