"""Averaging over the mirror: its fixed points, its symmetry, and the published lists of sides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shared import refuses

from jaxpose.geometry.rotations import forward_kinematics, matrix_from_axis_angle
from jaxpose.geometry.skeleton import COCO_17, H36M_17, SMPL_22, flip_average, mirror, mirror_rotations

# spec/diffpose.md 3.3
LEFT, RIGHT = [4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]


@pytest.fixture(scope="module")
def keypoints():
    """Places and confidences [2, 5, 17, 3] of two clips."""
    return np.random.default_rng(0).normal(size=(2, 5, 17, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def lopsided():
    """A predictor with no symmetry at all: every output number sees every input number."""
    weights = np.random.default_rng(1).normal(0, 0.1, size=(51, 51)).astype(np.float32)

    def predict(x):
        return jnp.tanh(x.reshape(*x.shape[:-2], 51) @ weights).reshape(*x.shape[:-2], 17, 3)

    return predict


def by_hand(x):
    """The mirror as VideoPose3D's evaluation writes it: x negated, then sides exchanged by lists."""
    out = np.array(x)
    out[..., 0] *= -1
    out[..., LEFT + RIGHT, :] = out[..., RIGHT + LEFT, :]
    return out


def test_the_average_is_that_of_the_published_lists(keypoints, lopsided):
    expected = (np.asarray(lopsided(keypoints)) + by_hand(lopsided(by_hand(keypoints)))) / 2
    np.testing.assert_allclose(flip_average(lopsided, H36M_17)(keypoints), expected, atol=1e-6)
    np.testing.assert_allclose(jax.jit(flip_average(lopsided, H36M_17))(keypoints), expected, atol=1e-6)
    assert np.abs(expected - np.asarray(lopsided(keypoints))).max() > 0.1


@pytest.mark.parametrize("skeleton", [H36M_17, COCO_17], ids=lambda s: s.name)
def test_flipped_twice_nothing_has_changed(keypoints, skeleton, monkeypatch):
    once = mirror(keypoints, skeleton)
    assert np.abs(np.asarray(once) - keypoints).max() > 0.1
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")  # which has a form of its own
    np.testing.assert_array_equal(mirror(once, skeleton), keypoints)


def test_the_average_commutes_with_the_mirror_whatever_the_predictor(keypoints, lopsided):
    averaged = flip_average(lopsided, H36M_17)
    flipped_after = mirror(averaged(keypoints), H36M_17)
    np.testing.assert_allclose(averaged(mirror(keypoints, H36M_17)), flipped_after, atol=1e-6)
    # so averaging again changes nothing
    np.testing.assert_allclose(flip_average(averaged, H36M_17)(keypoints), averaged(keypoints), atol=1e-6)


def test_further_arguments_reach_the_predictor(keypoints):
    got = flip_average(lambda x, scale, *, shift: scale * x + shift, H36M_17)(
        keypoints, 3.0, shift=np.float32([0, 1, 2])
    )
    np.testing.assert_allclose(got, 3 * keypoints + np.float32([0, 1, 2]), atol=1e-5)


def test_mirrored_rotations_place_mirrored_joints():
    """On a body that is its own mirror image: first turned then mirrored, or turned by what the mirror shows."""
    rng = np.random.default_rng(3)
    order = np.arange(22)
    order[list(SMPL_22.left)], order[list(SMPL_22.right)] = SMPL_22.right, SMPL_22.left
    offsets = rng.normal(size=(22, 3))
    offsets = (offsets + offsets[order] * [-1, 1, 1]) / 2
    vectors = jnp.asarray(rng.normal(size=(4, 22, 3)))

    def place(v):
        return forward_kinematics(matrix_from_axis_angle(v), jnp.asarray(offsets), SMPL_22.parents)[0]

    expected = mirror(place(vectors), SMPL_22)
    np.testing.assert_allclose(place(mirror_rotations(vectors, SMPL_22)), expected, atol=1e-5)
    without_root = mirror_rotations(vectors[:, 1:], SMPL_22)
    np.testing.assert_allclose(without_root, mirror_rotations(vectors, SMPL_22)[:, 1:])
    refuses("needed 22 joints or 21", mirror_rotations, vectors[:, 2:], SMPL_22)
