"""Where a joint may be in the image: by a keypoint's confidence, or by a mixture of Gaussians."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Numbers
from jaxpose.diffusion.mixture import Mixture
from jaxpose.spaces.person import View, encode_xy

# Detector's errors in pixels of a 256 x 256 crop whose side is 1.2 of the person (examples/detectors.py).
_CROP, _CROP_PX = 1.2, 256.0
_LEAST_PX, _MOST_PX = 2.5, 13.5  # standard deviations of what it finds, and of what it misses
HIDDEN_STD = 1.0  # of a keypoint that was not seen, in units of the person's extent


def keypoint_std(keypoints: Array) -> Array:
    """Standard deviation [..., J] of keypoints (u, v, confidence) [..., J, 3], in their units.

    The size of a detector's error by its confidence c, the inverse of our training detector's rule
    (`examples.detectors.draw_confidence`): e = 9.5 - 4.2 logit((c - 0.08) / 0.92) pixels of a crop.
    """
    uv, confidence = keypoints[..., :2], keypoints[..., 2]
    visible = confidence > 0
    share = jnp.clip((confidence - 0.08) / 0.92, 0.01, 0.99)
    size = 9.5 - 4.2 * (jnp.log(share) - jnp.log1p(-share))
    std_px = jnp.clip(size / np.sqrt(2), _LEAST_PX, _MOST_PX)
    low = jnp.where(visible[..., None], uv, jnp.inf).min(-2)
    high = jnp.where(visible[..., None], uv, -jnp.inf).max(-2)
    extent = (high - low).max(-1)
    person = jnp.where(extent > 0, extent, 1.0)  # one joint, or none, has no extent
    return jnp.where(visible, std_px * (_CROP / _CROP_PX * person)[..., None], HIDDEN_STD)


def encode_mixture(view: View, intrinsics: Numbers, mixture_px: Mixture) -> Mixture:
    """A mixture over pixels, weight [N, J, M], in the units of the condition that came with `view`."""
    flat, std = (x.reshape(len(x), -1, 2) for x in mixture_px[1:])

    def moved(direction: Array) -> tuple[Array, Array]:
        return jax.jvp(lambda uv: encode_xy(view, intrinsics, uv), (flat,), (std * direction,))

    # to first order; the turn of the view tilts a Gaussian a little, and its axes are kept
    (mean, by_u), (_, by_v) = map(moved, jnp.eye(2))
    shape = mixture_px.mean.shape
    return mixture_px._replace(mean=mean.reshape(shape), std=jnp.hypot(by_u, by_v).reshape(shape))
