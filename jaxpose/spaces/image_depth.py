"""Image-and-depth codec: GFPose's state, pixels with a depth on the pixel scale of the person's root.

    u = fx X / Z + cx,   v = fy Y / Z + cy,   d = r (Z - Z_root),   r = fx / Z_root + 1/2   px per metre
    state = (u - 500, v - 500, d) / (500 / 30)

r is what the published Human3.6M files imply: a box from the projections of the root moved 1 m to the left and to the
right has the width 2 fx / Z_root, and r = (right - left + 1) / 2. The way back needs the true root depth, and a pose
has another state elsewhere in the image.

Source: GFPose (CVPR 2023) and the LCN data files it reads, as described in spec/gfpose.md, 3.1 and 6.1.
"""

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.geometry import camera
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.spaces.person import Statistics

IMAGE_SIZE = 1000.0  # pixels; of every camera, though two of Human3.6M's are 1002 high (spec/gfpose.md, 3.1)
_DATA_SCALE = 30.0  # GFPose multiplies [-1, 1] by this

_SHAPE = (len(H36M_17.joints), 3)
# numpy, so that importing this starts no device; jax takes it where it takes its own arrays
STATISTICS = Statistics(
    np.broadcast_to(np.array([IMAGE_SIZE / 2, IMAGE_SIZE / 2, 0], np.float32), _SHAPE),
    np.full(_SHAPE, IMAGE_SIZE / 2 / _DATA_SCALE, np.float32),
)


def ratio_of(intrinsics: Array | np.ndarray, root_depth: Array | np.ndarray) -> Array | np.ndarray:
    """Pixels per metre of depth [...] for a root at `root_depth` [...] metres seen by intrinsics [..., 4]."""
    return intrinsics[..., 0] / root_depth + 0.5


def ratio_of_box(box_px: Array | np.ndarray) -> Array | np.ndarray:
    """Pixels per metre of depth [...] from the files' boxes [..., 4] = left, top, right, bottom pixels."""
    return (box_px[..., 2] - box_px[..., 0] + 1) / 2


def to_image_depth(intrinsics: Array, x_cam: Array, root: int = 0) -> Array:
    """(u, v, d) pixels [..., J, 3] of camera-frame joints [..., J, 3] metres before the camera (z > 0)."""
    z = x_cam[..., 2]
    root_depth = z[..., root]
    d = ratio_of(intrinsics, root_depth)[..., None] * (z - root_depth[..., None])
    return jnp.concatenate([camera.project(intrinsics, x_cam), d[..., None]], -1)


def back_project(uvd_px: Array, intrinsics: Array, ratio: Array, root_depth: Array) -> Array:
    """Camera-frame joints [..., J, 3] metres of (u, v, d) pixels; the inverse of `to_image_depth`.

    intrinsics [..., 4] pixels, ratio [...] pixels per metre and root_depth [...] metres broadcast to the leading axes.
    """
    z = uvd_px[..., 2] / ratio[..., None] + root_depth[..., None]
    return camera.back_project(intrinsics, uvd_px[..., :2], z)


def encode(uvd_px: Array) -> Array:
    """The model's state [..., 17, 3] of (u, v, d) pixels."""
    return (uvd_px - STATISTICS.mean) / STATISTICS.std


def decode(x0: Array) -> Array:
    """(u, v, d) pixels [..., 17, 3] of a model's state; the inverse of `encode`."""
    return x0 * STATISTICS.std + STATISTICS.mean
