"""Crops against OpenCV's rule written as a loop, and the geometry of regions against hand-made answers."""

import numpy as np
from scipy import ndimage

from jaxpose.app.detect.people import Region, background_shift, crop, tiles, to_image, whole


def test_a_crop_is_the_bilinear_value_in_steps_of_a_32nd():
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    region, size = Region(np.array([12.3, 9.1]), 17.0, 0.4), 8
    c, s = np.cos(0.4), np.sin(0.4)
    for extend in (True, False):
        found = crop(rgb, region, size, extend=extend)
        for i in range(size):
            for j in range(size):
                u, v = 17 * (j / size - 0.5), 17 * (i / size - 0.5)
                x, y = (round(32 * value) / 32 for value in (12.3 + c * u - s * v, 9.1 + s * u + c * v))
                value = np.zeros(3)
                for px, wx in ((int(np.floor(x)), 1 - x % 1), (int(np.floor(x)) + 1, x % 1)):
                    for py, wy in ((int(np.floor(y)), 1 - y % 1), (int(np.floor(y)) + 1, y % 1)):
                        inside = 0 <= px < 30 and 0 <= py < 20
                        if inside or extend:
                            value += wx * wy * rgb[min(max(py, 0), 19), min(max(px, 0), 29)]
                np.testing.assert_array_equal(found[i, j], np.floor(value + 0.5))


def test_points_of_a_crop_lie_where_its_pixels_came_from():
    rgb = np.zeros((200, 200, 3), np.uint8)
    rgb[58:63, 118:123] = 255  # a dot about (120, 60)
    region = Region(np.array([110.0, 70.0]), 64.0, -0.6)
    seen = crop(rgb, region, 64, extend=True)[..., 0]
    place = np.argwhere(seen > 128).mean(0)[::-1] / 64
    np.testing.assert_allclose(to_image(region, place), (120, 60), atol=0.7)


def test_squares_cover_the_image():
    for height, width in ((90, 160), (160, 90), (100, 100), (40, 200)):
        rgb = np.zeros((height, width, 3), np.uint8)
        corner = np.array([[0, 0], [width, 0], [0, height], [width, height]])
        for squares in ([whole(rgb)], tiles(rgb)):
            inside = [(abs(corner - square.centre) <= square.side / 2 + 1e-9).all(-1) for square in squares]
            assert np.any(inside, axis=0).all()


def test_the_background_tells_how_far_a_camera_moved():
    """A picture of squares is moved by 24 pixels of 384, behind a person who moves by 60; a flat one tells nothing."""
    rng, nobody = np.random.default_rng(0), np.zeros((0, 4))
    scene = np.kron(rng.integers(0, 255, (30, 60, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    first, moved = scene[:, :384].copy(), scene[:, 24:408].copy()
    person = rng.integers(0, 255, (120, 60, 3), np.uint8)
    first[60:180, 100:160], moved[60:180, 160:220] = person, person
    boxes = np.array([[100, 60, 160, 180], [160, 60, 220, 180.0]])
    np.testing.assert_allclose(background_shift(first, moved, boxes), 24 / 384, atol=0.006)
    still = scene[:, :384].copy()
    still[60:180, 160:220] = person
    assert background_shift(first, still, boxes) == 0
    assert np.isnan(background_shift(np.zeros_like(first), np.zeros_like(first), nobody))
    assert np.isnan(background_shift(first, moved, np.array([[0, 0, 384, 240.0]])))


def test_a_shift_is_told_beside_a_person_who_fills_an_upright_image():
    """480 x 1080 pixels, of which only a strip of 200 above the person is background, as in a film by a telephone."""
    noise = np.random.default_rng(1).normal(0, 300, (1080, 560, 3))
    scene = ndimage.gaussian_filter(noise, (6, 6, 0)) + 128
    shift = background_shift(scene[:, :480], scene[:, 30:510], np.array([[0, 200, 480, 1080.0]]))
    np.testing.assert_allclose(shift, 30 / 1080, atol=0.004)
