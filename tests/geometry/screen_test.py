"""Screen coordinates: the corners of an image, the published formula, and the way back."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.geometry.camera import denormalise_screen, normalise_screen


def test_corners_and_centre_of_an_image():
    """The width spans [-1, 1], the height the same scale, and the middle is 0."""
    px = jnp.array([[0.0, 0.0], [1920.0, 1080.0], [960.0, 540.0], [1920.0, 0.0]])
    expected = [[-1, -0.5625], [1, 0.5625], [0, 0], [1, -0.5625]]
    np.testing.assert_allclose(normalise_screen(px, 1920, 1080), expected, atol=1e-7)


def test_each_row_has_the_size_of_its_own_camera():
    """Against pixel / w * 2 - (1, h / w), written out in numpy (spec/diffpose.md, 3.3)."""
    px = np.random.default_rng(0).uniform(0, 1000, (4, 17, 2))
    sizes = np.array([[1000, 1002], [1000, 1000], [2048, 2048], [1920, 1080]])
    uv = normalise_screen(jnp.asarray(px), *jnp.asarray(sizes).T)
    each = [p / w * 2 - np.array([1, h / w]) for p, (w, h) in zip(px, sizes, strict=True)]
    np.testing.assert_allclose(uv, np.stack(each), atol=1e-6)


def test_pixels_come_back_also_under_jit():
    px = jnp.asarray(np.random.default_rng(1).uniform(-50, 2100, (3, 5, 17, 2)), jnp.float32)
    there_and_back = jax.jit(lambda x: denormalise_screen(normalise_screen(x, 1000, 1002), 1000, 1002))
    np.testing.assert_allclose(there_and_back(px), px, atol=1e-3)
