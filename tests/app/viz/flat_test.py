"""Pictures of a video inside a page: the right frames, at most as many as a page shows, small together."""

import io

import numpy as np
import pytest
from PIL import Image

from jaxpose.app.viz.page import film_of


def video(num, height, width, seen):
    """Frames whose grey is their number; `seen` collects which were read."""
    for number in range(num):
        seen.append(number)
        yield number, np.full((height, width, 3), number, np.uint8)


def shown(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_rows_get_the_picture_of_their_frame_and_nothing_is_read_beyond_the_last():
    seen = []
    film = film_of(video(200, 90, 160, seen), np.array([40, 7, 7, 120]))
    for content, grey in zip(film, (40, 7, 7, 120), strict=True):
        assert shown(content).shape == (90, 160, 3)
        np.testing.assert_allclose(shown(content).mean(), grey, atol=2)
    assert seen[-1] == 120


def test_a_frame_that_the_video_lacks_has_none():
    film = film_of(video(5, 40, 60, []), np.array([3, 9]))
    assert film[0] is not None
    assert film[1] is None


@pytest.mark.parametrize("num", [60, 900])
def test_all_pictures_together_stay_small_and_keep_their_shape(num):
    noise = np.random.default_rng(0).normal(128, 30, (45, 80, 3))
    picture = np.kron(noise, np.ones((16, 16, 1))).clip(0, 255).astype(np.uint8)  # 720 x 1280, of blocks
    film = film_of(((number, picture) for number in range(num)), np.arange(num))
    made = [content for content in film if content is not None]
    assert len(made) == min(num, 300)
    assert 3e5 < sum(map(len, made)) < 1.1e6
    height, width = shown(made[0]).shape[:2]
    assert width / height == pytest.approx(16 / 9, rel=0.01)
