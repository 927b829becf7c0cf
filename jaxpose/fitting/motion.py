"""Denoising a motion: noisy 3D joints of every frame in, one moving body out.

    E = sum |x - y|^2 / (2 s^2) + smooth / 2 sum |x''|^2 + w_prior sum_f L(pose_f)          (engine.py, terms.py)

s is the noise, known or estimated: noise of variance s^2 on each coordinate adds 70 s^2 to a squared fourth difference,
to which real motion at 30 Hz adds next to nothing,

    s^2 = median over joints and coordinates of the mean of (y_{f-2} - 4 y_{f-1} + 6 y_f - 4 y_{f+1} + y_{f+2})^2 / 70

The data term is in nats, so the other weights do not depend on s. Missing joints (NaN) are filled from the frames
around and by the prior. The body is a body model's, or with `skeleton_of` a tree of the bone lengths that are seen,

    L^2 = mean over frames of |x_child - x_parent|^2 - 6 s^2

Source: Lu et al., DPoser (2023); spec/dposer.md, section 7.4. The published recipe has unsquared distances, and weights
and times for three noise levels.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Bodies, Key, Numbers
from jaxpose.compiled import check_shape, jitted, traced
from jaxpose.fitting.engine import POSE_AND_PLACE, Free, PosePrior, start_parameters
from jaxpose.fitting.ik import aligned, check_targets, seen_points
from jaxpose.fitting.least_squares import LevenbergMarquardt
from jaxpose.fitting.terms import Points, Settings, Weights, fit_term
from jaxpose.geometry.body import Body, skeleton_body
from jaxpose.geometry.body_joints import known_points
from jaxpose.geometry.rotations import forward_kinematics
from jaxpose.geometry.skeleton import SMPL_22, other_side

_LEAST_NOISE = 0.002  # metres
_FOURTH = (1.0, -4.0, 6.0, -4.0, 1.0)


# `smooth` is for 30 frames a second, where it is 1 / (a few cm per frame^2)^2
MotionSettings = partial(
    Settings, num_steps=400, weights=Weights(smooth=600.0), width=None, method=LevenbergMarquardt(40)
)


def estimate_noise(targets: Numbers) -> Array:
    """Standard deviation [N] in metres of each coordinate of joints [N, F, K, 3], NaN where missing; F >= 5."""
    if targets.ndim != 4 or targets.shape[1] < len(_FOURTH):
        raise ValueError(f"targets: needed [N, F, K, 3] with F >= 5 to estimate noise, got {list(targets.shape)}")
    num = targets.shape[1] - len(_FOURTH) + 1
    fourth = sum(c * targets[:, i : i + num] for i, c in enumerate(_FOURTH))
    noise = jnp.sqrt(jnp.nanmedian(jnp.nanmean(jnp.square(fourth), 1) / 70, (1, 2)))
    if not traced(noise) and not (finite := np.isfinite(noise)).all():
        raise ValueError(f"targets: clip {finite.argmin()} has no point in five frames running to estimate noise from")
    return noise


def skeleton_of(targets: Array, rest_joints: Array, noise: float | Array) -> Body:
    """A body without a mesh that has the bone lengths of joints [F, 22, 3] (SMPL_22, NaN where missing) of one person.

    rest_joints: [22, 3] metres, a body at rest whose bone directions (and, for bones never seen, lengths) are taken.
    noise: metres, of each coordinate; it lengthens what is seen of a bone, and that is taken off. Sides are averaged.
    """
    parents = np.array(SMPL_22.parents[1:])
    bones = targets[:, 1:] - targets[:, parents]
    square = jnp.nanmean(jnp.square(bones).sum(-1), 0) - 6 * jnp.square(noise)
    rest = rest_joints[1:] - rest_joints[parents]
    at_rest = jnp.linalg.norm(rest, axis=-1)
    length = jnp.where(jnp.isfinite(square), jnp.sqrt(jnp.maximum(square, (at_rest / 3) ** 2)), at_rest)
    length = (length + length[other_side(SMPL_22)[1:] - 1]) / 2
    offsets = jnp.concatenate([jnp.zeros((1, 3)), rest * (length / at_rest)[:, None]])
    still = jnp.broadcast_to(jnp.eye(3), (22, 3, 3))
    return skeleton_body(forward_kinematics(still, offsets, SMPL_22.parents)[0])


def _check(key: Key, body: Body, targets: Numbers, points: str, *args: Any, noise: Any = None, **named: Any) -> None:
    check_targets(body, targets, points)
    known = known_points(body, points)
    if not traced(targets) and not (np.isfinite(np.asarray(targets)).all(-1) & known).any((1, 2)).all():
        raise ValueError("targets: needed clips with points that the body has, got one without any")
    if noise is None:
        estimate_noise(targets)
    else:
        check_shape("noise", noise, (), np.shape(targets)[:1])
    if named.get("betas") is not None:
        widths = range(body.shapedirs.shape[-1] + 1)
        check_shape("betas", named["betas"], (len(targets), widths), (widths,))


@jitted("points", "free", "settings", check=_check)
def denoise_motion(
    key: Key,
    body: Body,
    targets: Numbers,
    points: str,
    prior: PosePrior | None,
    *,
    noise: float | Numbers | None = None,
    start_pose: Numbers | None = None,
    betas: Numbers | None = None,
    free: Free = POSE_AND_PLACE,
    settings: Settings | None = None,
) -> Bodies:
    """Fit a moving body to joints [N, F, K, 3] metres of N clips, NaN where missing; the result has H = 1.

    points: the set whose K points these are, of `geometry.body_joints`. prior: `dposer_prior`, `energy_prior` or None.
    noise:  metres, of each coordinate: scalar or [N]; None: estimated. start_pose: [21, 3], the prior's mean.
    betas:  [N, S] shape to start from. free: what may change; the root's rotation and place are held without
            `global_orient` and `transl` at 0. settings: numbers, not arrays: each other value is compiled anew.
    """
    visible = seen_points(body, targets, points)
    noise = estimate_noise(targets) if noise is None else noise
    s = jnp.maximum(jnp.broadcast_to(noise, targets.shape[:1]), _LEAST_NOISE)
    y = jnp.where(visible[..., None], targets, 0)
    start = start_parameters(y.shape[0], y.shape[1], body.shapedirs.shape[-1], start_pose)
    if betas is not None:
        start = start._replace(betas=jnp.zeros_like(start.betas).at[:, : betas.shape[-1]].set(betas))
    if free.global_orient:
        start = aligned(body, start, points, y, visible)
    return fit_term(
        key, body, prior, Points(y, visible, s[:, None, None], None, points), start, settings or MotionSettings(), free
    )
