"""Videos of a prepared folder (h36m.py) as training examples: real cameras and detections, in the units of `clips.py`.

    x0    = encode_pose(camera-frame truth)          in the view that the frame's own detections and intrinsics give
    xy    = the truth's projection without lens distortion; cond = encode_keypoints(detections)
    mirror: u -> -u, cx -> -cx, X -> -X, left and right joints change places: the video of the mirrored person

A clip never leaves its piece (`pieces`). Frames without a true pose (`has_truth`) are removed first.

Training examples of Human3.6M in GFPose's way (CVPR 2023; spec/gfpose.md, 3.1 and 4.1).

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
import numpy as np

from jaxpose.base import Array, Condition, Example, Key
from jaxpose.conditioning import MaskRates, draw_joints, mask_condition
from jaxpose.diffusion.mixture import Mixture
from jaxpose.examples.clips import ClipExample, as_example, stretch
from jaxpose.geometry.camera import project
from jaxpose.geometry.skeleton import H36M_17, mirror, other_side
from jaxpose.geometry.windows import in_time, piece_ends
from jaxpose.originals.datasets.h36m import Frames, has_truth
from jaxpose.spaces.image_depth import encode
from jaxpose.spaces.person import Statistics, encode_keypoints, fit_statistics, to_view

_NUM_FITTED = 20_000  # frames that the statistics are taken from, as many as `make_bodies` takes


class Filmed(NamedTuple):
    """N frames on the device, sorted by video and time.

    keypoints: [N, J, 2] pixels. confidence: [N, J]. camera: [N, J, 3] metres, camera axes. intrinsics: [N, 4] pixels.
    first, last: [N], the rows at which each row's piece begins and ends. statistics: of the state, over these frames.
    mixture: mixtures of heatmaps, pixels, weight [N, J, M]; None where the folder has none.
    """

    keypoints: Array
    confidence: Array
    camera: Array
    intrinsics: Array
    first: Array
    last: Array
    statistics: Statistics
    mixture: Mixture | None = None


def film(frames: Frames, mixtures: np.ndarray | None = None) -> Filmed:
    """The frames that have a true pose, 420 bytes each, on the default device; ValueError for none, or one twice.

    mixtures: of the same frames (`load_mixtures`), 340 bytes more for each component.
    """
    known = np.flatnonzero(has_truth(frames))
    if not len(known):
        raise ValueError(f"frames: none of {len(frames.frame)} has a true pose; needed at least one")
    rows = known[in_time(frames.video[known], frames.frame[known])[0]]
    taken = (frames.keypoints, frames.confidence, frames.camera, frames.intrinsics)
    keypoints, confidence, camera, intrinsics = (jnp.asarray(x[rows]) for x in taken)
    spaced = np.linspace(0, len(rows) - 1, min(len(rows), _NUM_FITTED)).astype(int)
    statistics = _statistics(*(x[spaced] for x in (keypoints, confidence, camera, intrinsics)))
    first, last = (jnp.asarray(x) for x in piece_ends(frames.video[rows], frames.frame[rows]))
    mixture = None
    if mixtures is not None:
        values = jnp.asarray(mixtures[rows])
        mixture = Mixture(values[..., 0], values[..., 1:3], values[..., 3:])
    return Filmed(keypoints, confidence, camera, intrinsics, first, last, statistics, mixture)


def filmed_example(
    key: Key, filmed: Filmed, masks: MaskRates, *, num_frames: int = 1, flip: float = 0.5
) -> ClipExample:
    """A random `stretch` of frames; flip: share of mirrored ones, in [0, 1]. Joints are hidden for the whole clip."""
    if not 0 <= flip <= 1:
        raise ValueError(f"flip: got {flip}; must be 0..1, the share of mirrored examples")
    row_key, turn_key, flip_key, mask_key = jax.random.split(key, 4)
    middle = jax.random.randint(row_key, (), 0, len(filmed.first))
    rows = stretch(turn_key, middle, filmed.first, filmed.last, num_frames)
    parts = tuple(x[rows] for x in filmed[:4])
    flipped = jax.random.bernoulli(flip_key, flip)
    parts = jax.tree.map(lambda a, b: jnp.where(flipped, a, b), mirror_film(*parts), parts)
    keypoints, confidence, camera, intrinsics = parts
    peaks = None
    if filmed.mixture is not None:
        peaks = jax.tree.map(lambda x: x[rows], filmed.mixture)
        peaks = jax.tree.map(lambda a, b: jnp.where(flipped, a, b), _mirror_mixture(peaks), peaks)
    confidence = confidence * draw_joints(mask_key, masks, H36M_17)
    return as_example(filmed.statistics, intrinsics, keypoints, confidence, camera, project(intrinsics, camera), peaks)


def mirror_film(
    keypoints: Array, confidence: Array, camera: Array, intrinsics: Array
) -> tuple[Array, Array, Array, Array]:
    """Keypoints [..., J, 2], confidence [..., J], joints [..., J, 3], intrinsics [..., 4] of the mirrored scene."""
    image = mirror(jnp.concatenate([keypoints, confidence[..., None]], -1), H36M_17)
    turned = intrinsics * jnp.array([1.0, 1.0, -1.0, 1.0])
    return image[..., :2], image[..., 2], mirror(camera, H36M_17), turned


def _mirror_mixture(mixture: Mixture) -> Mixture:
    """Mixtures of the mirrored scene: u -> -u, left and right joints change places."""
    swapped = jax.tree.map(lambda x: x[:, other_side(H36M_17)], mixture)
    return swapped._replace(mean=swapped.mean * jnp.array([-1.0, 1]))


@jax.jit
def _statistics(keypoints: Array, confidence: Array, camera: Array, intrinsics: Array) -> Statistics:
    """Statistics over the frames and their mirror images."""
    parts = keypoints, confidence, camera, intrinsics
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), parts, mirror_film(*parts))
    _, view = encode_keypoints(both[3], both[0], both[1])
    return fit_statistics(to_view(view, both[2]))


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
