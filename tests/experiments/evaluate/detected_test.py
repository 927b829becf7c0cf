"""Detected videos: models of video lift whole tracks, and the scored rows are those of their hypotheses."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.evaluate import detected
from jaxpose.base import Hypotheses
from jaxpose.examples.detections import Detections
from jaxpose.geometry.camera import project


@pytest.mark.parametrize("window", [None, 81])
def test_every_third_row_is_scored_with_its_own_hypotheses(window, monkeypatch):
    """Seven different poses of two people, each lifted to its truth."""
    truth = np.float32(np.random.default_rng(0).normal((0, 0, 5), 0.3, (7, 17, 3)))
    tracks, given = np.array([0, 0, 0, 0, 1, 1, 1]), {}

    def lifted(_, model, xy, confidence, *, num_hypotheses, **how):
        given.update(how)
        rows = [np.flatnonzero(np.isclose(plane, x).all((1, 2))).item() for x in np.asarray(xy)]
        samples = jnp.asarray([truth[rows] - truth[rows][:, :1]] * num_hypotheses)
        return Hypotheses(samples, samples[0], None, np.ones((len(rows), 17)), None)

    monkeypatch.setattr(detected, "lift_video" if window else "lift", lifted)
    xy = 0.02 + project(detected._PLANE, jnp.asarray(truth))  # an error of the calibration, of whole people
    plane, sure = np.asarray(xy), jnp.ones((7, 17))
    read = Detections(xy[:, None], sure[:, None], sure[..., None], jnp.asarray(truth), jnp.zeros((7, 3)))
    film = detected.Film(read, 10 + tracks, tracks, np.array([0, 1, 2, 3, 0, 1, 2]), 60.0)
    model = SimpleNamespace(spec=SimpleNamespace(network=SimpleNamespace(window=window)))
    options = SimpleNamespace(seed=0, hypotheses=3, stride=3)
    drawn = detected._drawn(model, options, film, xy, sure)
    np.testing.assert_allclose(drawn.samples, np.stack([drawn.truth] * 3), atol=1e-5)
    np.testing.assert_array_equal(drawn.person, [10, 10, 11])
    assert drawn.samples.shape == (3, 3, 17, 3)
    assert np.nanmax(drawn.error_px[2]) < 1e-3
    if window:
        np.testing.assert_array_equal(given["person"], tracks)
        assert given["fps"] == 60
