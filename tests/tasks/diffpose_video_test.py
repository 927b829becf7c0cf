"""DiffPose of video: each frame is encoded in a window of frames about it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diffpose_models import condition, tiny

from jaxpose.tasks import diffpose


@pytest.fixture(scope="module")
def video():
    return tiny(6)


@jax.jit
def _encode(model, cond):
    return diffpose.encode(diffpose.network_of(model), model.params, cond)


def of_window(model, cond, rows):
    return _encode(model, jax.tree.map(lambda x: np.asarray(x)[np.array(rows)], cond))


encode_rows = jax.jit(diffpose.encode_rows)


@pytest.mark.slow
def test_a_frame_is_encoded_in_the_window_about_it(video):
    """Windows of 6 at a stride of 2 over 10 frames: frame 4 is third of rows 2..7, frame 0 first of 0..5."""
    cond = condition(10)
    rows = encode_rows(video, cond)
    for frame, first in ((0, 0), (2, 0), (4, 2), (5, 2), (6, 4), (9, 4)):
        window = of_window(video, cond, range(first, first + 6))
        for found, expected in zip(rows, window, strict=True):
            np.testing.assert_allclose(found[frame], expected[frame - first], atol=1e-5)
    apart = jnp.abs(of_window(video, cond, range(6)).pose[4] - rows.pose[4]).max()
    assert apart > 1e-3, "other windows must give other poses, or nothing was tested"


@pytest.mark.slow
def test_given_windows_are_taken(video):
    """Reversed rows in one window, each where it counts; a clip of fewer frames is filled up with its last."""
    cond = condition(6)
    index, counted = (
        np.array([[5, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5]]),
        np.array([[True] * 4 + [False] * 2, [True] * 2 + [False] * 4]),
    )
    rows = encode_rows(video, cond, (index, counted))
    reverse, forward = (of_window(video, cond, i) for i in index)
    np.testing.assert_allclose(rows.pose, np.concatenate([forward.pose[:2], reverse.pose[:4][::-1]]), atol=1e-5)
    short = encode_rows(video, jax.tree.map(lambda x: x[:4], cond))
    filled = of_window(video, cond, [0, 1, 2, 3, 3, 3])
    np.testing.assert_allclose(short.pose, filled.pose[:4], atol=1e-5)
