"""How sure a fit to keypoints is: Laplace's approximation about the fitted body.

    H    = sum over cameras and points conf^2 w J_u' J_u / noise^2 + P        J_u = du / dtheta, pixels
    C    = J_x H^-1 J_x'                      J_x = dx / dtheta, of the pelvis, and of joints about the pelvis

theta are body pose, orientation, translation and shape; w is the robust loss' weight at the fitted body; P holds the
precisions of the prior: of the training poses' rotations, number by number, of betas 1. What the prior knows of
joints together is left out, and so is what the frames of a clip know of each other: C is too wide rather than too
narrow there. It is too narrow where a detector is wrong in the same way in many points, and where the fit is at
the wrong one of two solutions, of which it knows nothing.

The radius that holds 90 % of a Gaussian with covariance C: |x|^2 is taken as a chi-squared law with the same mean and
variance, whose quantile is that of Wilson and Hilferty (1931).
"""

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Bodies
from jaxpose.fitting.engine import BodyParameters, posed_body
from jaxpose.fitting.terms import Keypoints, project
from jaxpose.geometry.body import Body
from jaxpose.geometry.body_joints import body_points

_POSE = 63
_PLACE = 6  # numbers of orientation and translation, of which nothing is known before
_LOOSE = 1e-6  # their precision, so that H can be solved
_NORMAL_90 = 1.2816


@jax.jit
def joint_spread(body: Body, fitted: Bodies, evidence: Keypoints, pose_std: Array) -> tuple[Array, Array]:
    """Covariances m^2 of fitted bodies: [N, F, 22, 3, 3] of joints about the pelvis, [N, F, 3, 3] of the pelvis; world.

    fitted: fields without the axis of hypotheses. evidence: keypoints that they were fitted to. pose_std: [21, 3]
    radians, deviations of what the prior takes for likely; 0 where it knows a number exactly.
    """
    best = BodyParameters(*fitted[:4])
    num_betas = best.betas.shape[-1]

    def outputs(parameters: BodyParameters) -> tuple[Array, Array]:
        posed = posed_body(body, parameters)
        pelvis, others = posed.joints[..., :1, :], posed.joints[..., 1:22, :]
        return project(evidence.cameras, body_points(posed, evidence.points)), jnp.concatenate(
            [pelvis, others - pelvis], -2
        )

    def moved(direction: Array) -> tuple[Array, Array]:
        pose, orient, transl, betas = jnp.split(direction, (_POSE, _POSE + 3, _POSE + _PLACE))
        parts = BodyParameters(pose.reshape(21, 3), orient, transl, betas)
        along = jax.tree.map(lambda part, like: jnp.broadcast_to(part, like.shape), parts, best)
        return jax.jvp(outputs, (best,), (along,))[1]

    J_uv, J_x = jax.lax.map(moved, jnp.eye(_POSE + _PLACE + num_betas))  # [D, N, C, F, K, 2], [D, N, F, 22, 3]
    away = (outputs(best)[0] - evidence.uv_px) / evidence.noise_px[:, None, None, None, None]
    weight = evidence.confidence**2
    if evidence.width is not None:
        weight = weight * jnp.square(evidence.width**2 / (evidence.width**2 + jnp.square(away).sum(-1)))
    weight = weight / jnp.square(evidence.noise_px)[:, None, None, None]
    H = jnp.einsum("ncfk,dncfke,bncfke->nfdb", weight, J_uv, J_uv, precision="highest")
    std = jnp.maximum(pose_std.reshape(-1), 1e-3)
    precision = jnp.concatenate([1 / jnp.square(std), jnp.full(_PLACE, _LOOSE), jnp.ones(num_betas)])
    # numbers of very different size: scaled to a unit diagonal before the solve
    scale = 1 / jnp.sqrt(jnp.einsum("nfdd->nfd", H) + precision)
    H = scale[..., None] * (H + jnp.diag(precision)) * scale[..., None, :]
    root = jax.scipy.linalg.cho_factor(H + 1e-6 * jnp.eye(H.shape[-1]))[0]
    J_x = jnp.moveaxis(J_x, 0, 2) * scale[..., None, None]  # [N, F, D, 22, 3]
    flat = J_x.reshape(*J_x.shape[:3], -1)
    half = jax.scipy.linalg.solve_triangular(root, flat, trans=1).reshape(J_x.shape)
    covariance = jnp.einsum("nfdja,nfdjb->nfjab", half, half, precision="highest")
    return covariance.at[:, :, 0].set(0), covariance[:, :, 0]


def gaussian_radius_90(covariance: Array) -> Array:
    """Radius [...] about the mean that holds 90 % of a Gaussian of covariance [..., 3, 3]; within 2 %."""
    mean = jnp.einsum("...ii->...", covariance)
    square = jnp.square(covariance).sum((-2, -1))
    degrees = jnp.square(mean) / jnp.maximum(square, 1e-30)
    ninth = 2 / (9 * jnp.maximum(degrees, 1e-6))
    quantile = degrees * (1 - ninth + _NORMAL_90 * jnp.sqrt(ninth)) ** 3
    return jnp.sqrt(jnp.maximum(quantile * square, 0) / jnp.maximum(mean, 1e-30))
