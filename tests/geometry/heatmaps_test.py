"""Heatmaps: drawn frequencies against binomial bounds, peaks of blobs whose middles are known, grid to image."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats
from shared import refuses

from jaxpose.geometry.heatmaps import check_heatmaps, heatmap_peak, sample_heatmaps, to_image

KEY, NUM = jax.random.key(0), 100_000
draw = jax.jit(sample_heatmaps, static_argnums=2)
peak_of_12 = jax.jit(heatmap_peak)


def peak(maps):
    """`heatmap_peak` of maps [N, 48, 36], N <= 12: always the same shape, so one compilation."""
    return [x[0, : len(maps)] for x in peak_of_12(np.resize(maps, (1, 12, 48, 36)))]


def blob(u, v, sigma, height=48, width=36):
    """A Gaussian of height 1 about (u, v) [...] cells, taken at the cells' middles: [..., height, width]."""
    u, v = np.asarray(u)[..., None, None], np.asarray(v)[..., None, None]
    columns, rows = np.arange(width) + 0.5, (np.arange(height) + 0.5)[:, None]
    return np.exp(-((columns - u) ** 2 + (rows - v) ** 2) / (2 * sigma**2))


def test_cells_are_drawn_as_often_as_their_intensity_says():
    """Every cell within 5 deviations of its binomial, and empty cells never."""
    rng = np.random.default_rng(1)
    maps = rng.exponential(size=(2, 6, 9)) * (rng.uniform(size=(2, 6, 9)) < 0.7)
    maps[1] *= 1e-4  # the scale does not matter
    num = NUM
    uv = np.asarray(draw(KEY, maps, num))
    assert uv.min() >= 0
    cell = np.floor(uv).astype(int)
    for i, chance in enumerate(maps / maps.sum((1, 2), keepdims=True)):
        count = np.zeros((6, 9))
        np.add.at(count, (cell[i, :, 1], cell[i, :, 0]), 1)
        assert (abs(count - num * chance) <= 5 * np.sqrt(num * chance * (1 - chance))).all()
    assert not np.array_equal(uv[0] % 1, uv[1] % 1), "maps draw on their own"


def test_points_lie_evenly_within_their_cell():
    """Of the only cells with any intensity: a first and a last one."""
    maps = np.zeros((2, 6, 9))
    maps[0, 0, 0], maps[1, 5, 8] = 0.3, 200
    uv = np.asarray(draw(KEY, maps, NUM), float)
    for each, corner in zip(uv, [(0, 0), (8, 5)], strict=True):
        assert (np.floor(each) == corner).all()
        for values in (each - corner).T:
            assert stats.kstest(values, "uniform").pvalue > 1e-3
        assert abs(np.corrcoef(each.T)[0, 1]) < 5 / np.sqrt(NUM)


def test_a_map_that_says_nothing_is_drawn_from_all_over():
    maps = np.zeros((2, 6, 9))
    maps[1] = 3
    uv = np.asarray(draw(KEY, maps, NUM), float)
    for each in uv:
        for values, side in zip(each.T, (9, 6), strict=True):
            assert stats.kstest(values / side, "uniform").pvalue > 1e-3


def test_a_large_map_with_one_faint_corner():
    """Rounded sums of 65 536 cells would lose it: its share is 2^-17."""
    maps = np.ones((1, 256, 256), np.float32)
    maps[0, 255, 255] = 0.5
    uv = np.floor(np.asarray(draw(KEY, maps, 200_000)[0]))
    rows = np.bincount(uv[:, 1].astype(int), minlength=256)
    assert stats.chisquare(rows).pvalue > 1e-3
    assert uv.max() == 255


def test_the_peak_of_a_blob_is_its_middle():
    """Wherever in its cell that is, for blobs narrower and wider than the window."""
    uv = np.random.default_rng(2).uniform((9, 9), (27, 39), (12, 2))
    maps = 0.8 * np.stack([blob(*x, sigma) for x, sigma in zip(uv, np.resize([1.0, 2.0, 3.0], 12), strict=True)])
    found, confidence = peak(maps)
    np.testing.assert_allclose(found, uv, atol=0.01)
    np.testing.assert_allclose(confidence, maps.max((1, 2)), rtol=1e-6)


def test_the_higher_of_two_peaks_wins():
    found, confidence = peak((0.6 * blob(8.3, 10.6, 1.5) + 0.9 * blob(25.2, 33.9, 1.5))[None])
    np.testing.assert_allclose(found[0], [25.2, 33.9], atol=0.01)
    np.testing.assert_allclose(confidence, 0.9, rtol=0.1)


def test_confidence_of_loud_and_of_empty_maps():
    found, confidence = peak(np.stack([7 * blob(12, 12, 2.0), np.zeros((48, 36))]))
    np.testing.assert_array_equal(confidence, [1, 0])
    np.testing.assert_array_equal(found[1], [0, 0])


def test_the_grid_covers_the_box_edge_to_edge():
    box = jnp.array([[100.0, 50, 180, 240], [0, 0, 36, 48]])
    corners = jnp.broadcast_to(jnp.array([[0.0, 0], [36, 48], [18, 0]]), (2, 17, 3, 2))
    found = to_image(corners, box, (48, 36))
    np.testing.assert_allclose(found[0, 4], [[100, 50], [280, 290], [190, 50]], rtol=1e-6)
    np.testing.assert_allclose(found[1], corners[1], rtol=1e-6)
    np.testing.assert_allclose(to_image(corners[0, 0], box[0], (48, 36)), found[0, 0])


def test_a_blob_found_on_a_crop_lies_where_it_was_in_the_image():
    """A point of the image, rendered into two crops of it, comes back from both."""
    boxes = np.array([[30.0, 40, 144, 192], [5, 0, 216, 288]])
    wanted = np.array([99.3, 131.7])
    uv = (wanted - boxes[:, :2]) / boxes[:, 2:] * (36, 48)
    found, _ = peak(blob(*uv.T, 2.0))
    np.testing.assert_allclose(to_image(found, boxes, (48, 36)), [wanted, wanted], atol=0.05)


def bad_maps(value, place):
    maps = np.ones((70, 3, 4, 5))
    maps[place] = value
    return maps


def test_an_empty_map_may_be_a_hidden_joint():
    check_heatmaps(bad_maps(0, (66, 1)), missing="hide")
    refuses("joint 0 is negative", check_heatmaps, -bad_maps(0, (66, 1)), missing="hide")
    refuses("missing: 'drop'; must be 'error' or 'hide'", check_heatmaps, bad_maps(0, (66, 1)), missing="drop")
