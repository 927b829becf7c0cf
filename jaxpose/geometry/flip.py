"""Mirroring: of rotations, and test-time averaging of a predictor over a pose and its mirror image.

    g(x) = (f(x) + M f(M x)) / 2        M: x negated, left and right joints swapped (`skeleton.mirror`); M M = 1

g commutes with M whatever f does, and g = f where f already does. VideoPose3D (Pavllo et al. 2019) and MixSTE evaluate
so, and DiffPose's video context encoder with them (spec/diffpose.md, 3.3).

A rotation about an axis a becomes M R M, of the same angle about (a_x, -a_y, -a_z): the axis is mirrored and the sense
of rotation changes.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.geometry.skeleton import Skeleton, mirror


def flip_average(predict: Callable[..., Array], skeleton: Skeleton) -> Callable[..., Array]:
    """The predictor x [..., J, D], ... -> pose [..., J, 3] that averages `predict` over x and its mirror image.

    The first of x's D numbers is the horizontal place, measured from the mirror: pixels need the image's middle at 0.
    The others, such as a confidence, only change sides. Further arguments reach `predict` as they are and must mean
    the same in the mirror. ValueError where x or the pose has not the skeleton's joints.
    """

    def averaged(x: Array, *args: Any, **kwargs: Any) -> Array:
        mirrored = predict(mirror(x, skeleton), *args, **kwargs)
        return (predict(x, *args, **kwargs) + mirror(mirrored, skeleton)) / 2

    return averaged


def mirror_rotations(axis_angle: Array, skeleton: Skeleton) -> Array:
    """Local rotations seen in a mirror across x: left and right change places, y and z of each axis change sign.

    axis_angle and result: [..., J, 3] radians for all J joints of the skeleton, or [..., J - 1, 3] without its root.
    """
    num, given = len(skeleton.joints), jnp.shape(axis_angle)[-2]
    if given not in (num, num - 1):
        raise ValueError(f"axis_angle: needed {num} joints or {num - 1}, of {skeleton.name!r}, got {given}")
    order = np.arange(num)
    order[list(skeleton.left)], order[list(skeleton.right)] = skeleton.right, skeleton.left
    order = order[num - given :] - (num - given)  # the root, which has no other side, comes first
    return axis_angle[..., order, :] * jnp.array([1.0, -1.0, -1.0], axis_angle.dtype)
