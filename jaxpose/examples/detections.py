"""Training examples of what real detectors gave for bodies with known joints, such as rendered ones."""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Example, Key
from jaxpose.conditioning import MaskRates, draw_joints
from jaxpose.examples.bodies import Bodies
from jaxpose.examples.clips import ClipExample, Clips, as_example, clip_example
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import PINHOLE, pose_example
from jaxpose.geometry.camera import project
from jaxpose.geometry.products import turned as rotated
from jaxpose.geometry.skeleton import H36M_17, mirror, other_side
from jaxpose.spaces.person import Statistics, encode_keypoints, encode_pose, tell_evidence, tell_vertical

T = TypeVar("T", Example, ClipExample)
_ROLL = 0.35  # radians, standard deviation; detectors turn their crop with the person


class Detections(NamedTuple):
    """N bodies before a camera, each read by R detectors; joints of H36M_17.

    xy: [N, R, 17, 2] on the plane z = 1. confidence: [N, R, 17] in [0, 1], 0: not reading. evidence: [N, 17, E] on that
    plane, as of `lift`, the same for all detectors; NaN: not known. x_cam: [N, 17, 3] metres, camera axes. up_cam:
    [N, 3] the world's upward direction, camera axes.
    """

    xy: Array
    confidence: Array
    evidence: Array
    x_cam: Array
    up_cam: Array


class Runs(NamedTuple):
    """Runs of rows that follow each other: of each row the first and the last of its run and the frames, at 30 a
    second, from one to the next, all [N]."""

    first: Array
    last: Array
    step: Array


class Seen(NamedTuple):
    """Bodies for the simulated detector, and what real ones gave."""

    bodies: Bodies
    detections: Detections


class SeenClips(NamedTuple):
    """Clips for the simulated detector, and what real ones gave, with the runs of its rows."""

    clips: Clips
    detections: Detections
    runs: Runs


def mixed_example(key: Key, data: Seen, view: ViewRates, masks: MaskRates, share: float) -> Example:
    """An example of the real detectors in `share` of the cases, else `pose_example`; share: in [0, 1]."""
    which_key, own_key = jax.random.split(key)
    real = detection_example(own_key, data.detections, data.bodies.statistics, view, masks)
    return _either(which_key, share, real, pose_example(own_key, data.bodies, view, masks))


def mixed_clip(
    key: Key, data: SeenClips, view: ViewRates, masks: MaskRates, share: float, *, num_frames: int
) -> ClipExample:
    """The same of `num_frames` = F frames at 30 a second, else `clip_example`."""
    which_key, own_key, row_key, mask_key = jax.random.split(key, 4)
    reading = read(own_key, data.detections, view, to_and_fro(row_key, data.runs, num_frames))
    sure = reading.confidence * draw_joints(mask_key, masks, H36M_17)
    pinhole, statistics = jnp.asarray(PINHOLE), data.clips.bodies.statistics
    real = as_example(statistics, pinhole, reading.xy, sure, reading.x_cam, project(pinhole, reading.x_cam))
    return _either(which_key, share, real, clip_example(own_key, data.clips, view, masks, num_frames=num_frames))


def _either(key: Key, share: float, real: T, simulated: T) -> T:
    is_real = jax.random.bernoulli(key, share)

    def chosen(a: Array, b: Array) -> Array:
        b = jnp.pad(b, [(0, n - m) for n, m in zip(a.shape, b.shape, strict=True)])  # nothing simulated has evidence
        return jnp.where(is_real, a, b)

    return jax.tree.map(chosen, real, simulated)


def detection_example(key: Key, data: Detections, statistics: Statistics, view: ViewRates, masks: MaskRates) -> Example:
    """The state and condition of a random body as a random detector read it, perhaps in the mirror.

    Of `view` the shares `mirror`, `told` and `evidence` count; the camera rolls where `free` is above 0. Of `masks`
    what hides joints; a depth is never told.
    """
    row_key, read_key, mask_key, told_key, evidence_key = jax.random.split(key, 5)
    reading = read(read_key, data, view, jax.random.randint(row_key, (1,), 0, len(data.xy)).astype(jnp.float32))
    sure = reading.confidence[0] * draw_joints(mask_key, masks, H36M_17)
    cond, turned = encode_keypoints(jnp.asarray(PINHOLE), reading.xy[0], sure)
    if view.told:
        cond = tell_vertical(cond, turned, jnp.where(jax.random.bernoulli(told_key, view.told), reading.up_cam, 0.0))
    if view.evidence:
        evidence = jnp.where(jax.random.bernoulli(evidence_key, view.evidence), reading.evidence[0], jnp.nan)
        cond = tell_evidence(cond, turned, jnp.asarray(PINHOLE), evidence)
    return Example(encode_pose(statistics, turned, reading.x_cam[0]), cond)


def to_and_fro(key: Key, runs: Runs, num_frames: int) -> Array:
    """Places [F] among the rows, for F frames at 30 a second: from a random row on, to and fro in its run.

    A body of which there is one row stands still.
    """
    row = jax.random.randint(key, (), 0, len(runs.first))
    first, length = runs.first[row], runs.last[row] - runs.first[row]
    gone = (row - first + jnp.arange(num_frames) / runs.step[row]) % jnp.maximum(2 * length, 1)
    return first + jnp.where(length, jnp.minimum(gone, 2 * length - gone), 0)


def read(key: Key, data: Detections, view: ViewRates, place: Array) -> Detections:
    """Frames at places [F] among the rows of one body, as a random detector read them: without R, and up_cam [3].

    Perhaps in the mirror, and by a camera that may roll. Between two rows all is linear but the confidence, which is
    the lower one.
    """
    reader_key, mirror_key = jax.random.split(key)
    reader = jax.random.randint(reader_key, (), 0, data.xy.shape[1])
    low, high = (f(place).astype(jnp.int32) for f in (jnp.floor, jnp.ceil))

    def at(values: Array) -> Array:
        part = (place - low).reshape(-1, *[1] * (values.ndim - 1))
        return values[low] + part * (values[high] - values[low])

    xy, confidence = at(data.xy[:, reader]), jnp.minimum(data.confidence[low, reader], data.confidence[high, reader])
    evidence, x_cam, up = at(data.evidence), at(data.x_cam), data.up_cam[low[0]]
    other, side = other_side(H36M_17), jnp.array([-1.0, 1.0, 1.0])
    flipped = xy[:, other] * side[:2], confidence[:, other], evidence[:, other], mirror(x_cam, H36M_17), up * side
    is_mirrored = jax.random.bernoulli(mirror_key, view.mirror)
    xy, confidence, evidence, x_cam, up = (
        jnp.where(is_mirrored, a, b) for a, b in zip(flipped, (xy, confidence, evidence, x_cam, up), strict=True)
    )
    if view.free:
        angle = _ROLL * jax.random.normal(jax.random.fold_in(mirror_key, 1))
        xy, x_cam, (up,) = rolled(angle, xy, x_cam, up[None])
    return Detections(xy, confidence, evidence, x_cam, up)


def rolled(angle: Array, xy: Array, *cam: Array) -> tuple[Array, ...]:
    """Points [..., 2] on the plane z = 1 and vectors [..., 3] after a roll of the camera about its axis, radians."""
    c, s = jnp.cos(angle), jnp.sin(angle)
    R = jnp.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    return rotated(R[:2, :2], xy), *(rotated(R, x) for x in cam)
