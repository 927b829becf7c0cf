"""Normalisation of rotations, z = (x - mean) / std of axis-angle or 6D vectors, and back.

    z-score    mean and standard deviation (over N - 1), at least 0.05
    min-max    the middle of the range as mean, half of it as std: z in [-1, 1]

A coordinate that never moves in the data (SMPL's collars in most motion capture) has std 1 and spread 0: z is then
0 for the data, and a model of the "edm" target predicts exactly that, whatever the noise.

Source: DPoser (spec, section 3); its originals divide by the bare deviation. Some coordinates hardly move in most takes
and much in a few (feet with one axis or three): by their deviation alone those few would be thousands of units away.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.geometry import rotations as rot
from jaxpose.spaces.person import Statistics

_STILL = 1e-4  # radians, or entries of a matrix: a standard deviation below this is rounding
_LEAST = 0.05  # the same unit, of one unit of z


def z_score(x: Array | np.ndarray) -> Statistics:
    """The normaliser that brings x [N, J, D] to mean 0 and deviation 1, less where it is below 0.05; N >= 2."""
    x = _checked(x)
    std = x.std(0, ddof=1)
    moves = std > _STILL
    return Statistics(x.mean(0), np.where(moves, np.maximum(std, _LEAST), 1), np.where(moves, 1.0, 0.0))


def min_max(x: Array | np.ndarray, quantile: float = 0.0) -> Statistics:
    """The normaliser that brings x [N, J, D] between its quantile and 1 - quantile to [-1, 1]; N >= 2.

    quantile: 0 for the extremes; DPoser-X takes 0.001.
    """
    if not 0 <= quantile < 0.5:
        raise ValueError(f"quantile: needed a number in [0, 0.5), got {quantile}")
    x = _checked(x)
    low, high = np.quantile(x, [quantile, 1 - quantile], axis=0)
    moves = (high - low) / 2 > _STILL
    scale = np.where(moves, (high - low) / 2, 1)
    return Statistics((low + high) / 2, scale, np.where(moves, x.std(0, ddof=1) / scale, 0.0))


def encode(statistics: Statistics, x: Array) -> Array:
    """Numbers z [..., J, D] of a network, of x [..., J, D]."""
    return (x - jnp.asarray(statistics.mean)) / jnp.asarray(statistics.std)


def decode(statistics: Statistics, z: Array) -> Array:
    """The x [..., J, D] of a network's numbers z [..., J, D]."""
    return z * jnp.asarray(statistics.std) + jnp.asarray(statistics.mean)


def moving_basis(statistics: Statistics, shape: tuple[int, int]) -> tuple[Array, float]:
    """Basis [J D, n] of the coordinates that moved in training, and the log of the volume of its unit cube."""
    std = np.asarray(statistics.std, np.float64)
    moves = np.broadcast_to(np.asarray(statistics.spread) > 0, shape).ravel()
    return jnp.asarray(np.eye(moves.size)[:, moves], jnp.float32), float(np.log(std.ravel()[moves]).sum())


class Representation(NamedTuple):
    """A way to write a rotation in `width` numbers: from and to axis-angle [..., 3]. unit: of the numbers, in words."""

    width: int
    unit: str
    from_axis_angle: Callable[[Array], Array]
    to_axis_angle: Callable[[Array], Array]


# the codec of a model of rotations -> its representation. Axis-angle is taken as it comes: canonical vectors or not,
# a model must be shown what it was trained on.
REPRESENTATIONS: dict[str, Representation] = {
    "axis_angle": Representation(3, "radians of axis-angle", lambda v: v, lambda v: v),
    "rot6d": Representation(
        6,
        "entries of rotation matrices",
        lambda v: rot.rot6d_from_matrix(rot.matrix_from_axis_angle(v)),
        lambda x: rot.axis_angle_from_matrix(rot.matrix_from_rot6d(x)),
    ),
}


def _checked(x: Array | np.ndarray) -> np.ndarray:
    values = np.asarray(x, np.float64)
    if values.ndim != 3 or len(values) < 2:
        raise ValueError(f"x: needed [N, J, D] with N >= 2, got {list(values.shape)}")
    if not np.isfinite(values).all():
        raise ValueError("x: needed finite numbers, got NaN or infinity")
    return values
