"""Inverse kinematics: bodies whose points agree with 3D positions, some of them missing, all of them noisy.

    E = sum over seen points rho(|x - y| / noise) + w_prior prior(pose) + |betas|^2 / 2      (engine.py, terms.py)

The start turns and moves the prior's mean pose onto the points (Kabsch). With the prior, what no marker holds is what
people do; hypotheses start at different poses of it.

Source: Lu et al., DPoser (2023), section on partial and noisy input; spec/dposer.md, sections 7.4 and 7.5.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Bodies, Key, Numbers
from jaxpose.compiled import check_shape, jitted, traced
from jaxpose.fitting.engine import POSE_AND_PLACE, BodyParameters, Free, PosePrior, posed_body, start_parameters
from jaxpose.fitting.terms import Points, Settings, fit_term
from jaxpose.geometry.body import Body
from jaxpose.geometry.body_joints import body_points, known_points
from jaxpose.geometry.products import turned
from jaxpose.geometry.rotations import axis_angle_from_matrix, nearest_turn

_EXACT = 0.002  # metres: markers are trusted no further than this, or the pose could not move between them
_FAR = 0.25  # metres: only farther markers may be outliers, or every exact one would be at the first step
_START_SPREAD = 0.3  # radians between the starting poses of hypotheses


IKSettings = Settings  # errors below 25 cm are never outliers, whatever the width


def _check(key: Key, body: Body, targets: Numbers, points: str, *args: Any, noise: Any = 0.0, **named: Any) -> None:
    check_targets(body, targets, points)
    check_shape("noise", noise, (), np.shape(targets)[:-1], (*np.shape(targets)[:1], 1, 1))
    if not traced(targets):
        visible = (np.isfinite(np.asarray(targets)).all(-1) & known_points(body, points)).sum(-1)
        for n, f in np.argwhere(visible < 3)[:1]:
            raise ValueError(f"targets: frame {f} of clip {n} has fewer than three points that the body has")


@jitted("points", "num_hypotheses", "free", "settings", check=_check)
def ik(
    key: Key,
    body: Body,
    targets: Numbers,
    points: str,
    prior: PosePrior | None,
    *,
    noise: float | Numbers = 0.0,
    start_pose: Numbers | None = None,
    num_hypotheses: int = 1,
    free: Free = POSE_AND_PLACE,
    settings: Settings | None = None,
) -> Bodies:
    """Fit bodies to targets [N, F, K, 3] metres, NaN where a point is not seen; N clips of F frames, F = 1 for poses.

    points:     the set whose K points these are, of `geometry.body_joints` ("smpl22", "coco17", "openpose25", ...).
    prior:      `dposer_prior`, `energy_prior` or None.
    noise:      metres, standard deviation of each coordinate: scalar or [N, F, K].
    start_pose: [21, 3] axis-angle, such as the prior's mean; zeros by default.
    settings:   numbers, not arrays: each other value is compiled anew.
    ValueError for shapes that do not fit, or a frame without three seen points.
    """
    settings = settings or IKSettings()
    visible = seen_points(body, targets, points)
    y = jnp.where(visible[..., None], targets, 0)
    scale = jnp.maximum(jnp.broadcast_to(noise, y.shape[:-1]), _EXACT)
    width = None if settings.width is None else jnp.maximum(settings.width, _FAR / scale)
    term = Points(y, visible, scale, width, points)

    def one(h: Array) -> Bodies:
        pose_key, fit_key = jax.random.split(jax.random.fold_in(key, h))
        start = start_parameters(y.shape[0], y.shape[1], body.shapedirs.shape[-1], start_pose)
        spread = _START_SPREAD * jax.random.normal(pose_key, start.body_pose.shape) * (num_hypotheses > 1)
        start = aligned(body, start._replace(body_pose=start.body_pose + spread), points, y, visible)
        fitted = fit_term(fit_key, body, prior, term, start, settings, free)
        return jax.tree.map(lambda x: x[0], fitted)

    return jax.lax.map(one, jnp.arange(num_hypotheses))


def check_targets(body: Body, targets: Numbers, points: str) -> None:
    """ValueError where targets are not [N, F, K, 3] of the point set."""
    shape = ("N", "F", len(known_points(body, points)), 3)
    check_shape("targets", targets, shape, note=f" for points {points!r}")


def seen_points(body: Body, targets: Numbers, points: str) -> Array:
    """[N, F, K] bool: which of the targets [N, F, K, 3] are there and on the body."""
    return jnp.isfinite(targets).all(-1) & known_points(body, points)


def aligned(body: Body, start: BodyParameters, points: str, y: Array, visible: Array) -> BodyParameters:
    """The start turned and moved so that its points lie nearest to y [N, F, K, 3] where visible [N, F, K] (Kabsch)."""
    posed = posed_body(body, start._replace(global_orient=jnp.zeros_like(start.global_orient)))
    pelvis = posed.joints[..., :1, :]
    R, x_mid, y_mid = nearest_turn(body_points(posed, points), y, visible.astype(y.dtype))
    # the body turns about its pelvis: where the turned points' middle then lies says how far to move
    moved = y_mid - pelvis - turned(R, x_mid - pelvis)
    return start._replace(global_orient=axis_angle_from_matrix(R), transl=moved[..., 0, :])
