"""Videos of a prepared folder (h36m.py) as training examples: real cameras and detections, in the units of `clips.py`.

    x0    = encode_pose(camera-frame truth)          in the view that the frame's own detections and intrinsics give
    xy    = the truth's projection without lens distortion; cond = encode_keypoints(detections)
    mirror: u -> -u, cx -> -cx, X -> -X, left and right joints change places: the video of the mirrored person

A piece is a stretch of one video with consecutive frame numbers; a clip never leaves its piece. Frames without a true
pose (`has_truth`) are removed first, so that they end a piece.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Key
from jaxpose.conditioning import MaskRates, draw_joints
from jaxpose.datasets.h36m import Frames, has_truth
from jaxpose.examples.clips import ClipExample
from jaxpose.geometry.camera import project
from jaxpose.geometry.skeleton import H36M_17, mirror
from jaxpose.spaces.person import Statistics, encode_keypoints, encode_pose, encode_xy, fit_statistics, to_view

_NUM_FITTED = 20_000  # frames that the statistics are taken from, as many as `make_bodies` takes


class Filmed(NamedTuple):
    """N frames on the device, sorted by video and time.

    keypoints: [N, J, 2] pixels. confidence: [N, J]. camera: [N, J, 3] metres, camera axes. intrinsics: [N, 4] pixels.
    first, last: [N], the rows at which each row's piece begins and ends. statistics: of the state, over these frames.
    """

    keypoints: Array
    confidence: Array
    camera: Array
    intrinsics: Array
    first: Array
    last: Array
    statistics: Statistics


def film(frames: Frames) -> Filmed:
    """The frames that have a true pose, 420 bytes each, on the default device.

    ValueError where no frame has one, or where a frame occurs twice in its video.
    """
    known = np.flatnonzero(has_truth(frames))
    if not len(known):
        raise ValueError(f"frames: none of {len(frames.frame)} has a true pose; needed at least one")
    rows = known[np.lexsort((frames.frame[known], frames.video[known]))]
    first, last = _pieces(frames.video[rows], frames.frame[rows])
    taken = (frames.keypoints, frames.confidence, frames.camera, frames.intrinsics)
    keypoints, confidence, camera, intrinsics = (jnp.asarray(x[rows]) for x in taken)
    spaced = np.linspace(0, len(rows) - 1, min(len(rows), _NUM_FITTED)).astype(int)
    statistics = _statistics(*(x[spaced] for x in (keypoints, confidence, camera, intrinsics)))
    return Filmed(keypoints, confidence, camera, intrinsics, jnp.asarray(first), jnp.asarray(last), statistics)


def filmed_example(
    key: Key, filmed: Filmed, masks: MaskRates, *, num_frames: int = 1, flip: float = 0.5
) -> ClipExample:
    """A random stretch of `num_frames` frames, forwards or backwards.

    Beyond the ends of a shorter piece its first or last frame is repeated.
    flip: share of mirrored examples, in [0, 1]; ValueError beyond. Joints are hidden for the whole clip.
    """
    if not 0 <= flip <= 1:
        raise ValueError(f"flip: got {flip}; legal is 0..1, the share of mirrored examples")
    row_key, turn_key, flip_key, mask_key = jax.random.split(key, 4)
    middle = jax.random.randint(row_key, (), 0, len(filmed.first))
    wanted = middle + jax.random.rademacher(turn_key, ()) * (jnp.arange(num_frames) - num_frames // 2)
    rows = jnp.clip(wanted, filmed.first[middle], filmed.last[middle])
    seen = tuple(x[rows] for x in filmed[:4])
    flipped = jax.random.bernoulli(flip_key, flip)
    seen = jax.tree.map(lambda a, b: jnp.where(flipped, a, b), mirror_film(*seen), seen)
    keypoints, confidence, camera, intrinsics = seen
    confidence = confidence * draw_joints(mask_key, masks, H36M_17)
    cond, view = encode_keypoints(intrinsics, keypoints, confidence)
    true_px = project(intrinsics, camera)
    return ClipExample(encode_pose(filmed.statistics, view, camera), encode_xy(view, intrinsics, true_px), cond)


def mirror_film(
    keypoints: Array, confidence: Array, camera: Array, intrinsics: Array
) -> tuple[Array, Array, Array, Array]:
    """Keypoints [..., J, 2], confidence [..., J], joints [..., J, 3], intrinsics [..., 4] of the mirrored scene."""
    image = mirror(jnp.concatenate([keypoints, confidence[..., None]], -1), H36M_17)
    turned = intrinsics * jnp.array([1.0, 1.0, -1.0, 1.0])
    return image[..., :2], image[..., 2], mirror(camera, H36M_17), turned


def _pieces(video: np.ndarray, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last row [N] of the piece of each row; rows are sorted."""
    same, step = np.diff(video) == 0, np.diff(frame)
    if (twice := same & (step == 0)).any():
        row = np.argmax(twice)
        raise ValueError(f"frames: frame {frame[row]} of video {video[row]} occurs twice; needed each once")
    begins = np.append(0, np.flatnonzero(~same | (step != 1)) + 1)
    ends = np.append(begins[1:], len(frame)) - 1
    piece = np.searchsorted(begins, np.arange(len(frame)), side="right") - 1
    return begins[piece], ends[piece]


@jax.jit
def _statistics(keypoints: Array, confidence: Array, camera: Array, intrinsics: Array) -> Statistics:
    """Over the frames and their mirror images."""
    seen = keypoints, confidence, camera, intrinsics
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), seen, mirror_film(*seen))
    _, view = encode_keypoints(both[3], both[0], both[1])
    return fit_statistics(to_view(view, both[2]))
