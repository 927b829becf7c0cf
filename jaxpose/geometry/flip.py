"""Flip test-time augmentation: a predictor averaged with its view in the mirror.

    g(x) = (f(x) + M f(M x)) / 2        M: x negated, left and right joints swapped (`skeleton.mirror`); M M = 1

g commutes with M whatever f does, and g = f where f already does. VideoPose3D (Pavllo et al. 2019) and MixSTE evaluate
so, and DiffPose's video context encoder with them (spec/diffpose.md, 3.3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
