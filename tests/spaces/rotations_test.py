"""Normalisers by hand, and both ways to write a rotation there and back; golden norms: dposer_official_test.py."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxpose.spaces.rotations import REPRESENTATIONS, decode, encode, min_max, z_score

# one joint: a coordinate by hand, one that never moves, and one that moves by less than rounding
X = np.array([[0.0, 2.5, 1.0], [1.0, 2.5, 1.00001], [2.0, 2.5, 1.0], [9.0, 2.5, 1.0]])[:, None]


def test_z_score_by_hand():
    got = z_score(X)
    np.testing.assert_allclose(got.mean, [[3, 2.5, 1.0000025]])
    # squares 9 + 4 + 1 + 36 = 50 over N - 1 = 3
    np.testing.assert_allclose(got.std, [[np.sqrt(50 / 3), 1, 1]])
    np.testing.assert_array_equal(got.spread, [[1, 0, 0]])
    z = encode(got, X)
    np.testing.assert_allclose(z[:, 0, 0], (np.array([0, 1, 2, 9]) - 3) / np.sqrt(50 / 3), rtol=1e-6)
    np.testing.assert_array_equal(z[:, 0, 1], 0)


def test_what_seldom_moves_is_never_far_away():
    """A foot that turns by 0.5 rad in one of 10,000 frames and by rounding in the others."""
    x = np.random.default_rng(0).normal(0, 2e-4, (10_000, 1, 1))
    x[7] = 0.5
    got = z_score(x)
    assert float(np.abs(encode(got, x)).max()) < 10.5
    assert float(got.spread[0, 0]) == 1  # it moves


def test_min_max_by_hand():
    got = min_max(X)
    np.testing.assert_allclose(got.mean, [[4.5, 2.5, 1.000005]])
    np.testing.assert_allclose(got.std, [[4.5, 1, 1]])
    # the deviation of what the network sees
    np.testing.assert_allclose(got.spread, [[np.sqrt(50 / 3) / 4.5, 0, 0]])
    np.testing.assert_allclose(encode(got, X)[:, 0, 0], [-1, -7 / 9, -5 / 9, 1], rtol=1e-6)
    np.testing.assert_allclose(encode(got, X).std(0, ddof=1)[0, 0], got.spread[0, 0], rtol=1e-6)


def test_quantiles_leave_outliers_outside():
    x = np.linspace(0, 1, 1001)[:, None, None] * [1.0, 2.0]
    got = min_max(x, 0.1)
    np.testing.assert_allclose(got.mean, [[0.5, 1]])
    np.testing.assert_allclose(got.std, [[0.4, 0.8]])
    np.testing.assert_allclose(np.abs(encode(got, x)).max(0), 1.25, rtol=1e-6)


@pytest.mark.parametrize("codec", REPRESENTATIONS)
@pytest.mark.parametrize("make", [z_score, min_max])
def test_rotations_come_back(codec, make):
    """Angles below pi as the same vector; every angle as the same rotation, which scipy says."""
    rng = np.random.default_rng(1)
    axis = rng.normal(size=(200, 21, 3))
    v = axis / np.linalg.norm(axis, axis=-1, keepdims=True) * rng.uniform(0, 3.1, (200, 21, 1))
    form = REPRESENTATIONS[codec]
    state = form.from_axis_angle(jnp.asarray(v, jnp.float32))
    assert state.shape[-1] == form.width
    normaliser = make(np.asarray(state))
    back = decode(normaliser, encode(normaliser, state))
    np.testing.assert_allclose(form.to_axis_angle(back), v, atol=2e-3)
    matrices = Rotation.from_rotvec(v.reshape(-1, 3)).as_matrix().reshape(*v.shape[:-1], 3, 3)
    if codec == "rot6d":
        np.testing.assert_allclose(state, matrices[..., :2].reshape(*v.shape[:-1], 6), atol=1e-6)
