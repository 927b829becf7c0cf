"""Clips of posed bodies seen by a fixed virtual camera and a virtual 2D detector: training examples, in JAX.

Camera, body and the detector's error per frame are those of `views.py`; over time, a joint's error is a first-order
autoregression and outliers come in runs:

    e_f = m e_f-1 + sqrt(1 - m^2) z_f,    P(outlier at f | at f-1) = 0.7

The two constants were chosen by eye from the errors of the benchmark's validation clips. A clip of one frame is an
example of the single-frame model.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Condition, Key
from jaxpose.conditioning import MaskRates, draw_joints
from jaxpose.datasets.mocap import Mocap
from jaxpose.examples import bodies as anew
from jaxpose.examples import detectors, views
from jaxpose.examples.bodies import Bodies, draw_row
from jaxpose.examples.rates import ViewRates
from jaxpose.geometry.camera import project, world_to_camera
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.spaces.person import Statistics, encode_keypoints, encode_pose, encode_xy

_MEMORY = (0.8, 0.93)  # of a joint's error, from a frame to the next at 30 fps; one draw for a clip
_OUTLIER_STAYS = 0.7


class Clips(NamedTuple):
    """Bodies, and for each row the `first` and `last` row [N] of its sequence."""

    bodies: Bodies
    first: Array
    last: Array


class ClipExample(NamedTuple):
    """F frames as seen: x0 [F, J, 3] state, xy [F, J, 2] true keypoints in the units of `cond`, of the detections."""

    x0: Array
    xy: Array
    cond: Condition


def make_clips(bodies: Bodies, mocap: Mocap) -> Clips:
    """Clips of the bodies that `make_bodies` made of the same mocap."""
    return Clips(bodies, *map(jnp.asarray, pieces(mocap.sequence, np.arange(len(mocap.sequence)))))


def pieces(video: np.ndarray, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last row [N] of each row's piece, a stretch of one video with consecutive frames; rows are sorted."""
    begins = np.append(0, np.flatnonzero((np.diff(video) != 0) | (np.diff(frame) != 1)) + 1)
    ends = np.append(begins[1:], len(frame)) - 1
    piece = np.searchsorted(begins, np.arange(len(frame)), side="right") - 1
    return begins[piece], ends[piece]


def stretch(key: Key, middle: Array, first: Array, last: Array, num_frames: int) -> Array:
    """Rows [F] around row `middle`, forwards or backwards; beyond its piece the first or last row is repeated."""
    wanted = middle + jax.random.rademacher(key, ()) * (jnp.arange(num_frames) - num_frames // 2)
    return jnp.clip(wanted, first[middle], last[middle])


def clip_example(key: Key, clips: Clips, view: ViewRates, masks: MaskRates, *, num_frames: int = 1) -> ClipExample:
    """A random `stretch` of `num_frames` frames."""
    draw_key, body_key, camera_key, detect_key, mask_key = jax.random.split(key, 5)
    rows, other = _draw_rows(draw_key, clips, num_frames)
    joints = clips.bodies.joints
    # the same key for all frames: one body, mirrored or not, with one set of bones
    if clips.bodies.people is None:
        x_world = jax.vmap(lambda x, o: views.augment_body(body_key, x, o, view))(joints[rows], joints[other])
    else:
        x_world = anew.draw_body(body_key, clips.bodies, rows, other, view)
        x_world = anew.turn(jax.random.fold_in(body_key, 1), x_world, view)
    R, t = views.draw_camera(camera_key, x_world[num_frames // 2], view)
    x_cam = world_to_camera(R, t, x_world)
    x_cam = x_cam.at[..., 2].add(jnp.maximum(0.5 - x_cam[..., 2].min(), 0.0))  # no joint behind the camera
    pinhole = jnp.array([1.0, 1.0, 0.0, 0.0])
    xy = project(pinhole, x_cam)
    seen_xy, confidence = detect_clip(detect_key, xy, view)
    confidence = confidence * draw_joints(mask_key, masks, H36M_17)
    return as_example(clips.bodies.statistics, pinhole, seen_xy, confidence, x_cam, xy)


def as_example(
    statistics: Statistics, intrinsics: Array, keypoints: Array, confidence: Array, x_cam: Array, xy: Array
) -> ClipExample:
    """The example of detections [F, J, 2] and [F, J], joints [F, J, 3] and their projections [F, J, 2]."""
    cond, view = encode_keypoints(intrinsics, keypoints, confidence)
    return ClipExample(encode_pose(statistics, view, x_cam), encode_xy(view, intrinsics, xy), cond)


def detect_clip(key: Key, xy: Array, rates: ViewRates) -> tuple[Array, Array]:
    """Noisy keypoints and confidences ([F, J, 2], [F, J]) of projected joints xy [F, J, 2], in the unit of xy."""
    error_key, sure_key, plain_key, coco_key, neck_key = jax.random.split(key, 5)
    error = _detection_error(error_key, xy.shape, rates)
    crop_px = 256 / (detectors.CROP * jnp.max(xy.max(-2) - xy.min(-2), -1))[:, None, None]
    confidence = detectors.draw_confidence(sure_key, error)
    confidence = jnp.where(jax.random.bernoulli(plain_key, rates.no_confidence), 1.0, confidence)
    xy = xy + error / crop_px
    if not rates.coco:
        return xy, confidence
    coco = jax.vmap(lambda x, c: detectors.as_coco(neck_key, x, c))(xy, confidence)
    is_coco = jax.random.bernoulli(coco_key, rates.coco)
    return jnp.where(is_coco, coco[0], xy), jnp.where(is_coco, coco[1], confidence)


def _draw_rows(key: Key, clips: Clips, num_frames: int) -> tuple[Array, Array]:
    """Rows [F] of a clip, and [F] of another, whose legs it may get."""

    def rows(key: Key) -> Array:
        row_key, turn_key = jax.random.split(key)
        return stretch(turn_key, draw_row(row_key, clips.bodies), clips.first, clips.last, num_frames)

    first, second = jax.random.split(key)
    return rows(first), rows(second)


def _detection_error(key: Key, shape: tuple[int, ...], rates: ViewRates) -> Array:
    """Detection minus truth [F, J, 2] in pixels of a 256 x 256 crop."""
    memory_key, drift_key, outlier_key, jump_key, gain_key = jax.random.split(key, 5)
    gain = jax.random.uniform(gain_key, minval=rates.noise[0], maxval=rates.noise[1])
    memory = jax.random.uniform(memory_key, minval=_MEMORY[0], maxval=_MEMORY[1])
    white = jax.random.normal(drift_key, shape)
    fresh = jnp.sqrt(1 - memory**2)
    # the scan starts a frame before the first, so that all frames have the same distribution
    before = jax.random.normal(jax.random.fold_in(drift_key, 0), shape[1:])
    _, drift = jax.lax.scan(lambda e, w: (memory * e + fresh * w,) * 2, before, white)
    error = gain * (detectors.DETECTOR[:, :2] + detectors.DETECTOR[:, 2:4] * drift)
    # Markov chain that stays with _OUTLIER_STAYS; its stationary share of outliers is the table's
    share = 1 - detectors.DETECTOR[:, 4]
    begins = share * (1 - _OUTLIER_STAYS) / (1 - share)
    u = jax.random.uniform(outlier_key, shape[:2])
    _, outlier = jax.lax.scan(lambda out, u: (u < jnp.where(out, _OUTLIER_STAYS, begins),) * 2, u[0] < share, u)
    return jnp.where(outlier[..., None], detectors.OUTLIER_STD_PX * jax.random.normal(jump_key, shape), error)
