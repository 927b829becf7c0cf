"""Write `jaxpose/assets/demo_clip.npz`: `python -m experiments.make_assets.demo`.

A procedural person (`walking.py`) before a static camera, and what a 2D detector makes of it, whose errors drift over
time; of key 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.make_assets.mannequin import sample_body
from experiments.make_assets.walking import draw_style, film
from jaxpose.base import Array, Key
from jaxpose.files import write_npz
from jaxpose.geometry.camera import look_at, project, world_to_camera
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.model import ASSETS

ASSET, FPS = ASSETS / "demo_clip.npz", 30.0


class DemoClip(NamedTuple):
    """A person before a static camera (1000 x 1000 px, x right, y down), and what a 2D detector makes of it.

    keypoints [F, 17, 2] px, confidence [F, 17] in [0, 1]: detections; (0, 0) and confidence 0 where occluded.
    keypoints_true [F, 17, 2] px: exact projection. joints_cam [F, 17, 3] m. intrinsics [4] px.
    """

    keypoints: Array
    confidence: Array
    keypoints_true: Array
    joints_cam: Array
    intrinsics: Array


# Standard deviation of a detection in x and in y, over the person's extent in the image (its larger side).
DETECTION_SPREAD = tuple(x / 1000 for x in (7, 10, 8, 8, 10, 8, 8, 6, 5, 3, 5, 8, 8, 9, 8, 8, 9))
OUTLIER_SPREAD = 0.05
_OUTLIER_RATE = 0.02
_ERROR_MEMORY = 0.8  # correlation of a joint's error with that of the frame before


@jax.jit
def detect_clip(key: Key, keypoints_true: Array) -> tuple[Array, Array]:
    """Detections of a clip [F, 17, 2] px: keypoints with errors that drift over time, and confidence [F, 17].

    2 % are outliers with confidence below 0.35; the others have 0.55 to 1, less for larger errors.
    """
    drift_key, outlier_key, jump_key, confidence_key = jax.random.split(key, 4)
    shape = keypoints_true.shape
    white = jax.random.normal(drift_key, shape)
    fresh = jnp.sqrt(1 - _ERROR_MEMORY**2)
    _, unit = jax.lax.scan(lambda e, w: (_ERROR_MEMORY * e + fresh * w,) * 2, white[0], white)
    outlier = jax.random.bernoulli(outlier_key, _OUTLIER_RATE, shape[:2])
    relative = unit * jnp.array(DETECTION_SPREAD)[:, None]
    relative = jnp.where(outlier[..., None], OUTLIER_SPREAD * jax.random.normal(jump_key, shape), relative)
    extent = jnp.max(keypoints_true.max(1) - keypoints_true.min(1), axis=-1)
    jitter = jax.random.uniform(confidence_key, shape[:2])
    sure = 0.55 + 0.45 * jnp.exp(-0.5 * jnp.linalg.norm(unit, axis=-1)) * (0.6 + 0.4 * jitter)
    return keypoints_true + relative * extent[:, None, None], jnp.where(outlier, 0.05 + 0.3 * jitter, sure)


def demo_clip(key: Key, num_frames: int = 90) -> DemoClip:
    """Draw a clip of a walking, gesturing person from 4 m away, one wrist occluded for a fifth of it."""
    motion_key, camera_key, detect_key, side_key, start_key = jax.random.split(key, 5)
    joints = film(draw_style(motion_key), sample_body(jax.random.split(motion_key, 4)[3]), num_frames, FPS)
    centre = 0.5 * (joints[:, 0].min(0) + joints[:, 0].max(0))
    azimuth, miss = jax.random.uniform(camera_key, (2,), minval=-1.0) * jnp.array([jnp.pi, 0.1])
    eye = jnp.stack([centre[0] + 4 * jnp.sin(azimuth), jnp.array(1.5), centre[2] + 4 * jnp.cos(azimuth)])
    joints_cam = world_to_camera(*look_at(eye, centre + miss, jnp.array([0.0, 1.0, 0.0])), joints)
    intrinsics = jnp.array([1145.0, 1145.0, 500.0, 500.0])
    keypoints_true = project(intrinsics, joints_cam)
    keypoints, confidence = detect_clip(detect_key, keypoints_true)
    start = jax.random.uniform(start_key, minval=0.2, maxval=0.6) * num_frames
    frame = jnp.arange(num_frames)[:, None]
    wrist = jnp.array([13, 16])[jax.random.randint(side_key, (), 0, 2)]
    occluded = (frame >= start) & (frame < start + 0.2 * num_frames) & (jnp.arange(17) == wrist)
    keypoints, confidence = (jnp.where(occluded[..., None], 0.0, keypoints), jnp.where(occluded, 0.0, confidence))
    return DemoClip(keypoints, confidence, keypoints_true, joints_cam, intrinsics)


def main() -> None:
    """Write the asset: a compressed .npz with the keys of DemoClip, `fps` and `joints` (the 17 names)."""
    arrays = jax.device_get(demo_clip(jax.random.key(0)))._asdict()
    write_npz(ASSET, arrays | {"fps": np.float32(FPS), "joints": np.array(H36M_17.joints)}, compress=True)


if __name__ == "__main__":
    main()
