"""Terms of a fit's energy, each a pytree of arrays that is a function: (posed, parameters, step) -> energy [N], nats.

    Points       sum over seen points rho(|x - y| / noise)                     3D points
    Keypoints    sum over cameras and points conf^2 rho(|u - y| / noise)       pixels
    Smoothness   weight / 2 sum |x_{f+1} - 2 x_f + x_{f-1}|^2                  the 22 joints of a clip, metres
    Bends        weight sum exp(angle)^2                                       knees and elbows bent the wrong way

    rho(r) = r^2 / 2,  or with a width c the robust c^2 r^2 / (2 (c^2 + r^2))   (Geman-McClure)

Source: Bogo et al., SMPLify (2016); spec/dposer.md, section 7.3.
"""

from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Bodies, Camera, Key, Numbers
from jaxpose.fitting.engine import BodyParameters, Free, PosePrior, Term, fit
from jaxpose.fitting.least_squares import LevenbergMarquardt
from jaxpose.geometry import camera
from jaxpose.geometry.body import Body, PosedBody
from jaxpose.geometry.body_joints import body_points

_NEAREST = 0.1  # metres before a camera: nearer points, and those behind it, are taken as being there
# left and right elbow about y, left and right knee about x: entries of the 63 and the sign of bending the wrong way
_BEND = ((52, 1.0), (55, -1.0), (9, -1.0), (12, -1.0))


class Weights(NamedTuple):
    """Weights of the energy's terms; smooth in 1 / m^2; prior falls over the steps from `prior_start` times itself."""

    prior: float = 1.0
    smooth: float = 0.0
    shape: float = 1.0
    bend: float = 0.0
    prior_start: float = 1.0


class Settings(NamedTuple):
    """Settings of a fit: steps and learning rate (radians, metres) of Adam, weights, robust loss, method.

    width:  of the robust loss, in units of the noise; None for squares.
    method: None for Adam, which also serves fits without a prior, and with one that has no residuals (`energy_prior`).
    place_steps, place_rate, starts: of `fit_keypoints`, its first stage, and how many starts reach the second.
    """

    num_steps: int = 300
    learning_rate: float = 0.05
    weights: Weights = Weights()
    width: float | None = 5.0
    method: LevenbergMarquardt | None = LevenbergMarquardt()
    place_steps: int = 60
    place_rate: float = 0.05
    starts: int = 4


class Squares:
    """A term whose energy is half of the squares of its residuals."""

    def residuals(self, posed: PosedBody, parameters: BodyParameters) -> Array:
        """[N, ...]."""
        raise NotImplementedError

    def __call__(self, posed: PosedBody, parameters: BodyParameters, k: Array) -> Array:
        residuals = self.residuals(posed, parameters)
        return jnp.square(residuals).sum(tuple(range(1, residuals.ndim))) / 2


@flax.struct.dataclass
class Points(Squares):
    """3D points that were observed: targets [N, F, K, 3] m, seen [N, F, K] bool, noise [N, F, K] m of each number.

    width: of the robust loss, in units of the noise, broadcasting to it; None for squares. points: the set of the K
    points, of `geometry.body_joints`. Targets are finite where not seen, too.
    """

    targets: Array
    seen: Array
    noise: Array
    width: Array | None
    points: str = flax.struct.field(pytree_node=False)

    def residuals(self, posed: PosedBody, parameters: BodyParameters) -> Array:
        """[N, F, K, 3]."""
        away = self.seen[..., None] * (body_points(posed, self.points) - self.targets) / self.noise[..., None]
        return shrunk(away, self.width)


@flax.struct.dataclass
class Keypoints(Squares):
    """Keypoints in C cameras: uv_px [N, C, F, K, 2], confidence [N, C, F, K] in [0, 1], 0 for not seen; noise_px [N].

    cameras: leading axes [N, C], each of which may be 1, and no size.
    width: of the robust loss, in units of the noise; None for squares. points: as of `Points`.
    """

    uv_px: Array
    confidence: Array
    cameras: Camera
    noise_px: Array
    width: float | None = flax.struct.field(pytree_node=False)
    points: str = flax.struct.field(pytree_node=False)

    def residuals(self, posed: PosedBody, parameters: BodyParameters) -> Array:
        """[N, F, C, K, 2]."""
        error = project(self.cameras, body_points(posed, self.points)) - self.uv_px
        away = shrunk(error / self.noise_px[:, None, None, None, None], self.width)
        return jnp.swapaxes(self.confidence[..., None] * away, 1, 2)


@flax.struct.dataclass
class Smoothness(Squares):
    """Squared second differences of the joints' paths; weight in 1 / m^2. 0 for clips of less than three frames."""

    weight: float | Array

    def residuals(self, posed: PosedBody, parameters: BodyParameters) -> Array:
        """[N, F - 2, 22, 3]."""
        joints = posed.joints[..., :22, :]
        return jnp.sqrt(self.weight) * (joints[:, 2:] - 2 * joints[:, 1:-1] + joints[:, :-2])


@flax.struct.dataclass
class Bends(Squares):
    """Knees and elbows that bend the wrong way."""

    weight: float | Array

    def residuals(self, posed: PosedBody, parameters: BodyParameters) -> Array:
        """[N, F, 4]."""
        return jnp.sqrt(2 * self.weight) * jnp.exp(bends(parameters.body_pose))


def fit_term(
    key: Key, body: Body, prior: PosePrior | None, term: Term, start: BodyParameters, settings: Settings, free: Free
) -> Bodies:
    """`fit` of one term of observations, with the other terms as the settings weigh them where the pose is free."""
    weights = settings.weights
    others: list[Term] = [Smoothness(weights.smooth)] if free.body_pose and start.body_pose.shape[1] > 2 else []
    others += [Bends(weights.bend)] if free.body_pose else []
    # without a prior 30 second-order steps are too few: exact joints of 16 bodies were met within 19 mm, by Adam 6
    method = settings.method if hasattr(prior, "residuals") else None
    how: dict[str, Any] = {"prior_weight": weights.prior, "prior_start": weights.prior_start}
    how |= {"shape_weight": weights.shape, "num_steps": settings.num_steps, "learning_rate": settings.learning_rate}
    return fit(key, body, prior, term, *others, start=start, free=free, method=method, **how)


def shrunk(away: Array, width: float | Array | None) -> Array:
    """Scaled errors [..., D] as residuals, half of whose squares is their robust loss rho: at most width^2 / 2."""
    if width is None:
        return away
    square = jnp.square(away).sum(-1, keepdims=True)
    width = jnp.asarray(width)[..., None] if jnp.ndim(width) else jnp.asarray(width)
    return away * width * jax.lax.rsqrt(jnp.square(width) + square)


def bends(body_pose: Array) -> Array:
    """Angles [..., 4] of elbows and knees, > 0 where they bend the wrong way, of poses [..., 21, 3]."""
    signs = np.zeros((63, len(_BEND)), np.float32)
    for column, (entry, sign) in enumerate(_BEND):
        signs[entry, column] = sign
    return jnp.dot(body_pose.reshape(*body_pose.shape[:-2], 63), signs, precision="highest")


def placement(cameras: Camera) -> tuple[Array, Array]:
    """R [N, C, 3, 3] and t [N, C, 3] m of x_cam = R x_world + t: identity where the world axes are the camera's."""
    if cameras.R_cam_world is None or cameras.t_cam is None:
        return jnp.eye(3)[None, None], jnp.zeros((1, 1, 3))
    return jnp.asarray(cameras.R_cam_world), jnp.asarray(cameras.t_cam)


def project(cameras: Camera, x_world: Numbers) -> Array:
    """Pixels [N, C, F, K, 2] of points [N, F, K, 3] in metres; points behind a camera as if just before it."""
    distortion = None if cameras.distortion is None else cameras.distortion[:, :, None]
    return camera.project(cameras.intrinsics[:, :, None], in_cameras(cameras, x_world), distortion, nearest=_NEAREST)


def in_cameras(cameras: Camera, x_world: Numbers) -> Array:
    """Points [N, F, K, 3] metres in the axes of each camera: [N, C, F, K, 3]."""
    R, t = placement(cameras)
    return camera.world_to_camera(R[:, :, None], t[:, :, None], jnp.asarray(x_world)[:, None])
