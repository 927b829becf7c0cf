"""Anchors and boxes by hand, and suppression against a loop over pairs."""

import numpy as np

from jaxpose.app.detect.blazepose import anchors, boxes, suppress


def test_anchors_of_mediapipes_detector():
    """2254 anchors: 28 x 28 x 2, 14 x 14 x 2, and 7 x 7 x 6 of three layers of equal stride."""
    found = anchors(224, (8, 16, 32, 32, 32), 2)
    assert found.shape == (2254, 2)
    np.testing.assert_allclose(found[:4] * 224, [(4, 4), (4, 4), (12, 4), (12, 4)])
    np.testing.assert_allclose(found[28 * 2] * 224, (4, 12))
    np.testing.assert_allclose(found[-7:] * 224, [(176, 208), *[(208, 208)] * 6])


def test_boxes_are_offsets_from_anchors_in_pixels_of_the_input():
    centres = np.array([[0.25, 0.5], [0.75, 0.5]])
    raw = np.zeros((2, 8))
    raw[1] = 22.4, -44.8, 112, 56, 0, 0, 22.4, 22.4
    found = boxes(raw, np.array([-3.0, 2.0]), centres, 224, 0.5)
    score = 1 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(found, [[score, 0.85, 0.3, 0.5, 0.25, 0.75, 0.5, 0.85, 0.6]], rtol=1e-6)


def test_suppression_averages_each_group_by_score():
    box = {"a": (0.5, 0.5, 0.4, 0.4), "b": (0.52, 0.5, 0.4, 0.4), "c": (0.1, 0.1, 0.1, 0.1)}
    rows = np.array([[0.6, *box["b"], 3.0], [0.7, *box["c"], 5.0], [0.9, *box["a"], 1.0]])
    found = suppress(rows, 0.3)
    np.testing.assert_allclose(found[:, 0], (0.9, 0.7))
    np.testing.assert_allclose(found[0, 1:], (0.9 * rows[2, 1:] + 0.6 * rows[0, 1:]) / 1.5)
    np.testing.assert_allclose(found[1], rows[1])
    assert suppress(np.zeros((0, 6)), 0.3).shape == (0, 6)
    # Overlap of 1/3: two equal squares, one moved by half of its side.
    halves = np.array([[0.9, 0.0, 0, 1, 1, 0], [0.8, 0.5, 0, 1, 1, 0]])
    assert len(suppress(halves, 0.32)) == 1
    assert len(suppress(halves, 0.34)) == 2
