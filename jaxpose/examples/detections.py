"""Training examples of what real detectors gave for bodies with known joints, such as rendered ones."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Example, Key
from jaxpose.conditioning import MaskRates, draw_joints
from jaxpose.examples.bodies import Bodies
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import PINHOLE, pose_example
from jaxpose.geometry.skeleton import H36M_17, mirror, other_side
from jaxpose.spaces.person import Statistics, encode_keypoints, encode_pose, tell_vertical


class Detections(NamedTuple):
    """N bodies before a camera, each read by R detectors; joints of H36M_17.

    xy: [N, R, 17, 2] on the plane z = 1. confidence: [N, R, 17] in [0, 1], 0: not seen. x_cam: [N, 17, 3] metres,
    camera axes. up_cam: [N, 3] the world's upward direction, camera axes.
    """

    xy: Array
    confidence: Array
    x_cam: Array
    up_cam: Array


class Seen(NamedTuple):
    """Bodies for the simulated detector, and what real ones gave."""

    bodies: Bodies
    detections: Detections


def mixed_example(key: Key, data: Seen, view: ViewRates, masks: MaskRates, share: float) -> Example:
    """An example of the real detectors in `share` of the cases, else `pose_example`; share: in [0, 1]."""
    which_key, own_key = jax.random.split(key)
    real = detection_example(own_key, data.detections, data.bodies.statistics, view, masks)
    simulated = pose_example(own_key, data.bodies, view, masks)
    is_real = jax.random.bernoulli(which_key, share)
    return jax.tree.map(lambda a, b: jnp.where(is_real, a, b), real, simulated)


def detection_example(key: Key, data: Detections, statistics: Statistics, view: ViewRates, masks: MaskRates) -> Example:
    """The state and condition of a random body as a random detector read it, perhaps in the mirror.

    Of `view` the shares `mirror` and `told` count, of `masks` what hides joints; a depth is never told.
    """
    row_key, reader_key, mirror_key, mask_key, told_key = jax.random.split(key, 5)
    row = jax.random.randint(row_key, (), 0, data.xy.shape[0])
    reader = jax.random.randint(reader_key, (), 0, data.xy.shape[1])
    xy, confidence, x_cam, up = data.xy[row, reader], data.confidence[row, reader], data.x_cam[row], data.up_cam[row]
    is_mirrored = jax.random.bernoulli(mirror_key, view.mirror)
    other = other_side(H36M_17)
    flipped = xy[other] * jnp.array([-1.0, 1.0]), confidence[other], mirror(x_cam, H36M_17), up * jnp.array([-1, 1, 1])
    xy, confidence, x_cam, up = (
        jnp.where(is_mirrored, a, b) for a, b in zip(flipped, (xy, confidence, x_cam, up), strict=True)
    )
    cond, turned = encode_keypoints(jnp.asarray(PINHOLE), xy, confidence * draw_joints(mask_key, masks, H36M_17))
    if view.told:
        cond = tell_vertical(cond, turned, jnp.where(jax.random.bernoulli(told_key, view.told), up, 0.0))
    return Example(encode_pose(statistics, turned, x_cam), cond)
