"""Training examples of what real detectors gave for bodies with known joints, such as rendered ones."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Example, Key
from jaxpose.conditioning import MaskRates, draw_joints
from jaxpose.examples.bodies import Bodies
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import PINHOLE, pose_example
from jaxpose.geometry.products import turned as rotated
from jaxpose.geometry.skeleton import H36M_17, mirror, other_side
from jaxpose.spaces.person import Statistics, encode_keypoints, encode_pose, tell_evidence, tell_vertical

_ROLL = 0.35  # radians, standard deviation; detectors turn their crop with the person


class Detections(NamedTuple):
    """N bodies before a camera, each read by R detectors; joints of H36M_17.

    xy: [N, R, 17, 2] on the plane z = 1. confidence: [N, R, 17] in [0, 1], 0: not seen. evidence: [N, 17, E] on that
    plane, as of `lift`, the same for all detectors; NaN: not known. x_cam: [N, 17, 3] metres, camera axes. up_cam:
    [N, 3] the world's upward direction, camera axes.
    """

    xy: Array
    confidence: Array
    evidence: Array
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

    def chosen(a: Array, b: Array) -> Array:
        b = jnp.pad(b, [(0, n - m) for n, m in zip(a.shape, b.shape, strict=True)])  # nothing simulated has evidence
        return jnp.where(is_real, a, b)

    return jax.tree.map(chosen, real, simulated)


def detection_example(key: Key, data: Detections, statistics: Statistics, view: ViewRates, masks: MaskRates) -> Example:
    """The state and condition of a random body as a random detector read it, perhaps in the mirror.

    Of `view` the shares `mirror`, `told` and `evidence` count; the camera rolls where `free` is above 0. Of `masks`
    what hides joints; a depth is never told.
    """
    row_key, reader_key, mirror_key, mask_key, told_key, evidence_key = jax.random.split(key, 6)
    row = jax.random.randint(row_key, (), 0, data.xy.shape[0])
    reader = jax.random.randint(reader_key, (), 0, data.xy.shape[1])
    xy, confidence, evidence = data.xy[row, reader], data.confidence[row, reader], data.evidence[row]
    x_cam, up, other, side = data.x_cam[row], data.up_cam[row], other_side(H36M_17), jnp.array([-1.0, 1.0, 1.0])
    flipped = xy[other] * side[:2], confidence[other], evidence[other], mirror(x_cam, H36M_17), up * side
    is_mirrored = jax.random.bernoulli(mirror_key, view.mirror)
    xy, confidence, evidence, x_cam, up = (
        jnp.where(is_mirrored, a, b) for a, b in zip(flipped, (xy, confidence, evidence, x_cam, up), strict=True)
    )
    if view.free:
        angle = _ROLL * jax.random.normal(jax.random.fold_in(mirror_key, 1))
        xy, x_cam, (up,) = rolled(angle, xy, x_cam, up[None])
    cond, turned = encode_keypoints(jnp.asarray(PINHOLE), xy, confidence * draw_joints(mask_key, masks, H36M_17))
    if view.told:
        cond = tell_vertical(cond, turned, jnp.where(jax.random.bernoulli(told_key, view.told), up, 0.0))
    if view.evidence:
        evidence = jnp.where(jax.random.bernoulli(evidence_key, view.evidence), evidence, jnp.nan)
        cond = tell_evidence(cond, turned, jnp.asarray(PINHOLE), evidence)
    return Example(encode_pose(statistics, turned, x_cam), cond)


def rolled(angle: Array, xy: Array, *cam: Array) -> tuple[Array, ...]:
    """Points [K, 2] on the plane z = 1 and vectors [K, 3] after a roll of the camera about its axis, radians."""
    c, s = jnp.cos(angle), jnp.sin(angle)
    R = jnp.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    return rotated(R[:2, :2], xy), *(rotated(R, x) for x in cam)
