"""Clips of posed bodies seen by a fixed virtual camera and a virtual 2D detector: training examples, in JAX.

Camera, body and detector are those of `views.py` and `detectors.py`, one for a clip. A clip of one frame is an example
of the single-frame model.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Condition, Key
from jaxpose.conditioning import MaskRates, draw_joints
from jaxpose.datasets.mocap import Mocap
from jaxpose.diffusion.mixture import Mixture
from jaxpose.examples import views
from jaxpose.examples.bodies import Bodies, draw_row
from jaxpose.examples.heatmaps import HeatmapRates, draw_heatmaps
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import PINHOLE
from jaxpose.geometry.camera import project
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.geometry.windows import piece_ends
from jaxpose.spaces.keypoints import encode_mixture
from jaxpose.spaces.person import Statistics, encode_keypoints, encode_pose, encode_xy


class Clips(NamedTuple):
    """Bodies, and for each row the `first` and `last` row [N] of its sequence."""

    bodies: Bodies
    first: Array
    last: Array


class ClipExample(NamedTuple):
    """F frames as seen: x0 [F, J, 3] state, xy [F, J, 2] true keypoints in the units of `cond`, of the detections.

    peaks: what heatmaps say of (u, v), weight [F, J, M], in the same units; None without heatmaps.
    """

    x0: Array
    xy: Array
    cond: Condition
    peaks: Mixture | None = None


def make_clips(bodies: Bodies, mocap: Mocap) -> Clips:
    """Clips of the bodies that `make_bodies` made of the same mocap."""
    return Clips(bodies, *map(jnp.asarray, piece_ends(mocap.sequence, np.arange(len(mocap.sequence)))))


def stretch(key: Key, middle: Array, first: Array, last: Array, num_frames: int) -> Array:
    """Rows [F] around row `middle`, forwards or backwards; beyond its piece the first or last row is repeated."""
    wanted = middle + jax.random.rademacher(key, ()) * (jnp.arange(num_frames) - num_frames // 2)
    return jnp.clip(wanted, first[middle], last[middle])


class SeenClip(NamedTuple):
    """F frames of a body before a camera: keypoints and xy, as detected and exact, [F, J, 2] on the plane z = 1,
    confidence [F, J], x_cam [F, J, 3] metres, up_cam [3]."""

    keypoints: Array
    confidence: Array
    xy: Array
    x_cam: Array
    up_cam: Array


def seen_clip(
    key: Key, clips: Clips, view: ViewRates, num_frames: int, drawn: tuple[Array, Array] | None = None
) -> SeenClip:
    """A random `stretch` of `num_frames` frames, of a body drawn anew, by a camera that stands still.

    drawn: rows [F] of the clip and [F] of another, whose limbs it may get; None: drawn by their weights.
    """
    draw_key, body_key, camera_key, detect_key = jax.random.split(key, 4)
    rows, other = _draw_rows(draw_key, clips, num_frames) if drawn is None else drawn
    x_world = views.drawn_body(body_key, clips.bodies, rows, other, view)
    R, t = views.draw_camera(camera_key, x_world[num_frames // 2], view)
    x_cam = views.before_camera(R, t, x_world)
    xy = project(jnp.asarray(PINHOLE), x_cam)
    return SeenClip(*views.detected(detect_key, xy, view), xy, x_cam, R[:, 1])


def clip_example(
    key: Key,
    clips: Clips,
    view: ViewRates,
    masks: MaskRates,
    *,
    num_frames: int = 1,
    heatmaps: HeatmapRates | None = None,
    drawn: tuple[Array, Array] | None = None,
) -> ClipExample:
    """A random `stretch` of `num_frames` frames; heatmaps: how often they are ambiguous, None: there are none.

    drawn: as in `seen_clip`.
    """
    clip_key, mask_key = jax.random.split(key)
    seen = seen_clip(clip_key, clips, view, num_frames, drawn)
    keypoints, confidence, peaks = seen.keypoints, seen.confidence, None
    if heatmaps is not None:
        shown = draw_heatmaps(jax.random.fold_in(key, 1), keypoints, confidence, seen.xy, heatmaps)
        keypoints, confidence, peaks = shown.keypoints, shown.confidence, shown.peaks
    confidence = confidence * draw_joints(mask_key, masks, H36M_17)
    return as_example(clips.bodies.statistics, jnp.asarray(PINHOLE), keypoints, confidence, seen.x_cam, seen.xy, peaks)


def as_example(
    statistics: Statistics,
    intrinsics: Array,
    keypoints: Array,
    confidence: Array,
    x_cam: Array,
    xy: Array,
    peaks: Mixture | None = None,
) -> ClipExample:
    """The example of detections [F, J, 2] and [F, J], joints [F, J, 3], their projections [F, J, 2], and heatmaps."""
    cond, view = encode_keypoints(intrinsics, keypoints, confidence)
    told = None if peaks is None else encode_mixture(view, intrinsics, peaks)
    return ClipExample(encode_pose(statistics, view, x_cam), encode_xy(view, intrinsics, xy), cond, told)


def _draw_rows(key: Key, clips: Clips, num_frames: int) -> tuple[Array, Array]:
    """Rows [F] of a clip, and [F] of another, whose legs it may get."""

    def rows(key: Key) -> Array:
        row_key, turn_key = jax.random.split(key)
        return stretch(turn_key, draw_row(row_key, clips.bodies), clips.first, clips.last, num_frames)

    first, second = jax.random.split(key)
    return rows(first), rows(second)
