"""Errors of keypoints that several cameras do not average away, and what they add to the draws of fused poses.

A keypoint of joint j in camera c lies at

    u_cj = project_c(x_j + T + b_j) + o_c + e_cj

e_cj  the detector's noise, independent: the likelihood (`tasks/observations.py`).
b_j   from the joint's centre to what the detector marks, alike in all cameras: N(0, s_j^2) on each axis.
o_c   of a whole image, alike in all joints: calibration and synchrony. Student's t, metres at the person's distance.

Cameras agree about x + b, so b is added to each draw of it. o_c moves the place T at which x fits all rays, by the gain
of that fit. T has, besides, the variance of the least squares that it is.

What cameras disagree about says how large e and o are. Each joint is triangulated; residuals r_cj of n cameras have
2 n - 3 degrees of freedom. Their median over a frame's joints is what can be seen of o_c. The rest, by the median of
chi^2, which outliers hardly move, gives a factor on the assumed noise (Birge, Phys. Rev. 40, 207, 1932). For o_c

    tau^2 = (nu_0 tau_0^2 + sum_c |median_j r_cj|^2) / nu,      nu = nu_0 + 2 n - 3

whatever the number of frames: a calibration errs alike in all. Of two cameras' four numbers o_c one is seen.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Camera, Key
from jaxpose.geometry.camera import across_rays, normalise
from jaxpose.geometry.products import product, turned
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.tasks.observations import Sight, place_gain

# Metres on each axis, root mean square of three sources: the mean errors of the two of examples/detectors.py, at
# 8 mm a pixel of the crop of a person of 1.7 m (hip 15, 24; knee 4, 5; ankle 20, 21; elbow, wrist and shoulder 3, 10),
# and triangulated keypoints against markers: 40 mm in space at hip and knee, 8 mm at the ankle (Needham et al., Sci Rep
# 11, 20673, 2021), 20 mm elsewhere (median of Nakano et al., Front. Sports Act. Living 2, 50, 2020).
_OFFSET = {"hip": 0.021, "knee": 0.014, "ankle": 0.017}
_OTHER_OFFSET = 0.013
# So tau has the median 10 mm, and is above 25 mm in one set-up of ten: the errors of calibration that Pose2Sim's manual
# wants and still accepts.
_CAMERA_STD, _CAMERA_FREEDOM = 0.0083, 2
_LEAST_JOINTS = 4  # of a frame, seen by two cameras or more, to separate o_c from e_cj


class Systematic(NamedTuple):
    """joint: [J] s_j, m; camera: tau, m at the person; freedom: nu of o_c; noise_factor: on the assumed e, >= 1."""

    joint: np.ndarray
    camera: float
    freedom: int
    noise_factor: float


class Drawn(NamedTuple):
    """The errors of H hypotheses: joint [H, J, 3] m in the world's axes, camera [H, C, 2] m at the person."""

    joint: Array
    camera: Array


def joint_offsets(skeleton: Skeleton) -> np.ndarray:
    """s_j [J] metres of a detector whose offsets are not known, by the joint's kind."""
    return np.array([_OFFSET.get(joint.split("_")[-1], _OTHER_OFFSET) for joint in skeleton.joints])


def estimate(
    xy: np.ndarray, noise_px: np.ndarray, confidence: np.ndarray, camera: Camera, joint: np.ndarray
) -> Systematic:
    """The errors of keypoints xy [F, C, J, 2] px with noise and confidence [F, C, J] (0: not seen) of cameras [C].

    joint: [J] s_j, which no disagreement of cameras shows. With one camera the others have their usual values.
    """
    residual, sigma = _residuals(xy, noise_px, confidence, camera)
    visible = np.isfinite(residual[..., 0])
    known = visible.sum(1) >= 2
    count, joints = visible.sum(1), known.sum(1)  # [F, J] cameras of a joint, [F] joints of a frame
    frames = joints >= _LEAST_JOINTS
    if not frames.any():
        return Systematic(joint, _CAMERA_STD, _CAMERA_FREEDOM, 1.0)
    residual, sigma, visible, count = residual[frames], sigma[frames], visible[frames], count[frames]
    known, joints = known[frames], joints[frames]
    residual = np.where(known[:, None, :, None], residual, np.nan)
    has = (visible & known[:, None]).any(-1)
    whole = np.zeros((*has.shape, 2))
    whole[has] = np.nanmedian(residual[has], 1)
    of_frame = np.maximum(2 * has.sum(1) - 3, 1)
    freedom = int(of_frame.max())
    square = freedom * np.mean(np.square(whole).sum((1, 2)) / of_frame)
    tau = np.sqrt((_CAMERA_FREEDOM * _CAMERA_STD**2 + square) / (_CAMERA_FREEDOM + freedom))
    chi2 = np.nansum(np.square((residual - whole[:, :, None]) / sigma[..., None]), (1, 3))
    of_joint = np.maximum(2 * count - 3, 1) * (1 - 1 / joints)[:, None]
    middle = of_joint * (1 - 2 / (9 * of_joint)) ** 3  # median of chi^2 (Wilson and Hilferty 1931)
    factor = np.sqrt(np.median((chi2 / middle)[known]))
    return Systematic(joint, float(tau), _CAMERA_FREEDOM + freedom, float(max(factor, 1.0)))


def draw(key: Key, errors: Systematic, skeleton: Skeleton, *, num_cameras: int, num_hypotheses: int) -> Drawn:
    """The errors of each hypothesis, the same in all frames; joints between two sides are moved as their middle."""
    joint_key, camera_key, scale_key = jax.random.split(key, 3)
    joint = jnp.asarray(errors.joint)[:, None] * _normal(joint_key, num_hypotheses, (len(skeleton.joints), 3))
    for middle, side in (("hip", "hip"), ("thorax", "shoulder")):
        sides = [f"left_{side}", f"right_{side}"]
        if {middle, *sides} <= set(skeleton.joints):
            at = [skeleton.joints.index(name) for name in sides]
            joint = joint.at[:, skeleton.joints.index(middle)].set(joint[:, np.array(at)].mean(1))
    chi2 = _of_pairs(lambda k: jax.random.chisquare(k, errors.freedom), scale_key, num_hypotheses)
    scale = errors.camera * jnp.sqrt(errors.freedom / chi2)
    return Drawn(joint, scale[:, None, None] * _normal(camera_key, num_hypotheses, (num_cameras, 2)))


def moved(key: Key, view: Sight, world: Array, errors: Drawn) -> Array:
    """Draws [H, J, 3] m of what the detector marks (`to_world`) with the errors: of the joints; key: of the moment."""
    gain, covariance = place_gain(view)
    shift = jnp.einsum("icje,hce->hi", gain, errors.camera, precision="highest")
    shift += turned(jnp.linalg.cholesky(covariance), _normal(key, len(world), (3,)))
    return world + product(shift, view.R_view_world)[:, None] + errors.joint


def _normal(key: Key, num: int, shape: tuple[int, ...]) -> Array:
    """Standard normal numbers [num, *shape]; every second row is the one before with its sign changed.

    So they have the mean 0, and the draws keep the mean that the keypoints give.
    """
    sign = 1.0 - 2.0 * (jnp.arange(num) % 2).reshape(-1, *[1] * len(shape))
    return sign * _of_pairs(lambda k: jax.random.normal(k, shape), key, num)


def _of_pairs(draw_one: Callable[[Key], Array], key: Key, num: int) -> Array:
    return jax.vmap(lambda h: draw_one(jax.random.fold_in(key, h // 2)))(jnp.arange(num))


def _residuals(
    xy: np.ndarray, noise_px: np.ndarray, confidence: np.ndarray, camera: Camera
) -> tuple[np.ndarray, np.ndarray]:
    """How far rays pass their joint's triangulation [F, C, J, 2], NaN where it is not seen, and the noise; metres."""
    intrinsics, R, t = (np.asarray(x, np.float64) for x in (camera.intrinsics, camera.R_cam_world, camera.t_cam))
    visible = (confidence > 0) & np.isfinite(xy).all(-1)
    straight = (jnp.asarray(v, jnp.float32)[None] for v in (camera.intrinsics, camera.distortion) if v is not None)
    first, *rest = straight
    plane = np.asarray(
        normalise(first, jnp.asarray(np.where(visible[..., None], xy, 0), jnp.float32), *rest), np.float64
    )
    rows = across_rays(R[:, None], plane)  # [F, C, J, 2, 3]
    asked = plane * t[:, None, 2:] - t[:, None, :2]
    focal = intrinsics[:, None, :2].mean(-1)
    depth = np.ones(visible.shape)
    for _ in range(3):  # the depth, which weighs the rays, is known after the first
        sigma = noise_px * depth / focal
        weight = np.where(visible, 1 / np.square(sigma), 0)
        A = np.einsum("fcj,fcjei,fcjek->fjik", weight, rows, rows)
        A += 1e-9 * (1 + np.trace(A, axis1=-2, axis2=-1))[..., None, None] * np.eye(3)
        x = np.linalg.solve(A, np.einsum("fcj,fcjei,fcje->fji", weight, rows, asked)[..., None])[..., 0]
        depth = np.maximum(np.einsum("ci,fji->fcj", R[:, 2], x) + t[:, None, 2], 0.1)
    residual = np.einsum("fcjei,fji->fcje", rows, x) - asked
    return np.where(visible[..., None], residual, np.nan), sigma
