"""Where a joint may be: deviations by a detector's confidence, and mixtures in the units of the condition."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.diffusion.mixture import Mixture
from jaxpose.examples.detectors import CROP, DETECTOR, OUTLIER_STD_PX, draw_confidence
from jaxpose.geometry.camera import project
from jaxpose.spaces import keypoints as space
from jaxpose.spaces.person import encode_keypoints, encode_xy

J, KEY = 17, jax.random.key(0)
keypoint_std = jax.jit(space.keypoint_std)


def test_a_confidence_tells_the_error_of_the_training_detector():
    """Many detections of `data.views.detect`'s law, by confidence: root mean square about what is told.

    Too wide by half where sure and unsure detections meet, since a confidence has noise of its own.
    """
    rng, num = np.random.default_rng(0), 4000
    error = DETECTOR[:, :2] + DETECTOR[:, 2:4] * rng.normal(size=(num, J, 2))
    outlier = rng.uniform(size=(num, J, 1)) > DETECTOR[:, 4:]
    error = np.where(outlier, OUTLIER_STD_PX * rng.normal(size=error.shape), error)
    confidence = np.asarray(jax.jit(draw_confidence)(KEY, error.astype(np.float32)))
    # joints on a diagonal of 100 pixels: the crop's 256 pixels are 120 of these
    uv = np.broadcast_to(np.linspace(0, 100, J)[:, None], (num, J, 2))
    told = np.asarray(keypoint_std(np.concatenate([uv, confidence[..., None]], -1)))
    told_px = told * 256 / (CROP * 100)
    for low, high in ((0.4, 0.5), (0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 0.9)):
        chosen = (low < confidence) & (confidence < high)
        assert chosen.sum() > 300
        found = np.sqrt((error[chosen] ** 2).mean())
        assert 1 / 1.6 < found / np.sqrt((told_px[chosen] ** 2).mean()) < 1.5, (low, found)


def test_the_deviation_of_keypoints_is_in_their_own_unit():
    rng = np.random.default_rng(1)
    keypoints = np.concatenate([rng.normal(size=(4, J, 2)), rng.uniform(0.1, 1, (4, J, 1))], -1)
    std = keypoint_std(keypoints)
    order = np.argsort(keypoints[0, :, 2])
    assert (np.diff(std[0][order]) <= 0).all()
    assert np.ptp(std[0]) > 0
    moved = keypoints * [3, 3, 1] + [5, -2, 0]
    np.testing.assert_allclose(keypoint_std(moved), 3 * std, rtol=1e-5)
    hidden = keypoints.copy()
    hidden[:, 2] = [1e3, 1e3, 0]  # far away, and not seen
    others = np.delete(np.arange(J), 2)
    told = keypoint_std(hidden)
    assert (told[:, 2] == 1).all()
    extent = [np.ptp(k[others, :2], 0).max() / np.ptp(k[:, :2], 0).max() for k in keypoints]
    np.testing.assert_allclose(told[:, others], std[:, others] * np.array(extent)[:, None], rtol=1e-5)
    lone = np.zeros((J, 3))
    lone[3] = 1
    assert (keypoint_std(lone) > 0).all()
    assert (keypoint_std(np.zeros((J, 3))) == 1).all()


def test_a_mixture_of_pixels_moves_as_its_points_do():
    """At the edge of the image, where the turn is no plain scaling: against draws that are encoded each."""
    rng = np.random.default_rng(2)
    intrinsics = jnp.array([[1145.0, 1143.0, 512.0, 515.0], [600.0, 620.0, 300.0, 200.0]])
    x = 0.3 * rng.normal(size=(2, J, 3)) + [[[1.8, 0.2, 4.0]], [[-0.5, 1.0, 3.0]]]
    uv = project(intrinsics, jnp.asarray(x, jnp.float32))
    _, view = jax.jit(encode_keypoints)(intrinsics, uv, jnp.ones((2, J)))
    mean = np.asarray(uv)[:, :, None] + rng.normal(0, 10, (2, J, 3, 2))
    std = rng.uniform(0.5, 2, mean.shape)
    weight = jnp.full((2, J, 3), 1 / 3)
    parts = Mixture(weight, *(jnp.asarray(a, jnp.float32) for a in (mean, std)))
    encoded = jax.jit(space.encode_mixture)(view, intrinsics, parts)
    noise = rng.normal(size=(4000, *mean.shape))
    points_of = jax.jit(jax.vmap(lambda p: encode_xy(view, intrinsics, p.reshape(2, -1, 2))))
    points = np.asarray(points_of(mean + std * noise)).reshape(4000, *mean.shape)
    np.testing.assert_array_equal(encoded.weight, weight)
    np.testing.assert_allclose(encoded.mean, points_of(mean[None])[0].reshape(mean.shape), atol=1e-5)
    np.testing.assert_allclose(encoded.std / points.std(0), 1, atol=5 / 8000**0.5)
