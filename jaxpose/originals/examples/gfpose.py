"""Training examples of Human3.6M in GFPose's way (CVPR 2023; spec/gfpose.md, 3.1 and 4.1).

    x0        = encode(u, v, d)                                the truth, spaces/image_depth.py
    condition = encode(u', v') of the detections, depth hidden
              = x0, depth shown                                at the rate `masks.depth`
    and then hidden by pose, part and joint (conditioning.py).

Two differences from the original: state and condition are mirrored together (there, independently), and frames are
drawn with replacement (there, shuffled in epochs).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Condition, Example, Key
from jaxpose.conditioning import MaskRates, mask_condition
from jaxpose.geometry.skeleton import H36M_17, mirror
from jaxpose.originals.datasets.h36m import Frames
from jaxpose.spaces.image_depth import encode


class ImagePoses(NamedTuple):
    """The data set on the device: truth [N, 17, 3] and detections [N, 17, 2], pixels."""

    image: Array
    keypoints: Array


def on_device(frames: Frames) -> ImagePoses:
    """The arrays of `frames` that training needs, 340 bytes a frame, on the default device."""
    return ImagePoses(jnp.asarray(frames.image), jnp.asarray(frames.keypoints))


def gfpose_example(
    key: Key, poses: ImagePoses, masks: MaskRates, *, flip: float = 0.0, use_truth: bool = False
) -> Example:
    """One training example of a frame drawn uniformly: state [17, 3] and its masked condition.

    flip: share of mirrored examples, in [0, 1]. use_truth: show exact projections in place of detections. The
    condition has no context: GFPose's network has no confidences as input.
    """
    if not 0 <= flip <= 1:
        raise ValueError(f"flip must be in [0, 1], got {flip}")
    frame_key, kind_key, flip_key, mask_key = jax.random.split(key, 4)
    index = jax.random.randint(frame_key, (), 0, poses.image.shape[0])
    x0 = encode(poses.image[index])
    shown = x0 if use_truth else encode(jnp.pad(poses.keypoints[index], ((0, 0), (0, 1))))
    is_3d = jax.random.bernoulli(kind_key, float(masks.depth))
    value = jnp.where(is_3d, x0, shown.at[:, 2].set(0))
    if flip:
        flipped = jax.random.bernoulli(flip_key, float(flip))
        x0, value = (jnp.where(flipped, mirror(x, H36M_17), x) for x in (x0, value))
    mask = jnp.ones_like(x0).at[:, 2].set(is_3d)
    # The depth level was decided above, with the value that belongs to it.
    cond = mask_condition(mask_key, Condition(value, mask), masks._replace(depth=1.0), H36M_17)
    return Example(x0, cond)
