"""Rotations: round trips, scipy's answers, and derivatives where formulas divide by zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxpose.geometry import rotations as rot


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Axis-angle vectors of all lengths up to 2 pi, 0 and a half turn among them."""
    rng = np.random.default_rng(0)
    axis = rng.normal(size=(200, 3))
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = np.concatenate([[0, 1e-7, 1e-4, np.pi - 1e-4, np.pi], rng.uniform(0, 2 * np.pi - 0.01, 195)])
    return (axis * angle[:, None]).astype(np.float32)


def test_matrices_are_scipys(vectors):
    np.testing.assert_allclose(
        rot.matrix_from_axis_angle(vectors), Rotation.from_rotvec(vectors).as_matrix(), atol=2e-6
    )


def test_every_representation_comes_back(vectors):
    R = rot.matrix_from_axis_angle(vectors)
    back = {
        "axis-angle": rot.matrix_from_axis_angle(rot.axis_angle_from_matrix(R)),
        "6D": rot.matrix_from_rot6d(rot.rot6d_from_matrix(R)),
        "quaternion": rot.matrix_from_axis_angle(rot.axis_angle_from_quaternion(rot.quaternion_from_matrix(R))),
        "canonical": rot.matrix_from_axis_angle(rot.canonical_axis_angle(vectors)),
    }
    for name, other in back.items():
        np.testing.assert_allclose(other, R, atol=5e-6, err_msg=name)


def test_canonical_vectors_are_short_and_scipys(vectors):
    short = np.asarray(rot.canonical_axis_angle(vectors))
    assert np.linalg.norm(short, axis=-1).max() <= np.pi + 1e-5
    inside = np.linalg.norm(vectors, axis=-1) < np.pi - 1e-3
    np.testing.assert_allclose(short[inside], vectors[inside], atol=2e-5)
    expected = Rotation.from_rotvec(vectors).as_rotvec()
    away = np.abs(np.linalg.norm(vectors, axis=-1) - np.pi) > 1e-3  # at a half turn both signs of the axis are right
    np.testing.assert_allclose(short[away], expected[away], atol=1e-4)


def test_quaternions_are_scipys_with_the_scalar_first(vectors):
    ours = np.asarray(rot.quaternion_from_axis_angle(vectors))
    theirs = Rotation.from_rotvec(vectors).as_quat(canonical=True, scalar_first=True)
    np.testing.assert_allclose(np.abs((ours * theirs).sum(-1)), 1, atol=1e-6)
    assert (ours[:, 0] >= 0).all()


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-3, 1.0, np.pi - 1e-4, np.pi, np.pi + 0.1, 2 * np.pi])
def test_derivatives_are_finite_differences(angle):
    """Of the exponential and of a way there and back, in float64, along and across the axis."""
    with jax.enable_x64(True):
        axis = np.array([0.48, 0.6, 0.64])
        v = jnp.asarray(angle * axis)
        for function in (
            rot.matrix_from_axis_angle,
            lambda v: rot.rot6d_from_matrix(rot.matrix_from_axis_angle(v)),
            lambda v: rot.quaternion_from_matrix(rot.matrix_from_axis_angle(v)) ** 2,
        ):
            exact = jax.jacfwd(function)(v)
            assert np.isfinite(exact).all()
            assert np.isfinite(jax.jacrev(function)(v)).all()
            if angle < 1e-8:
                continue  # the difference quotient straddles the branch, the limit is tested below
            h = 1e-6
            numeric = jnp.stack([(function(v + h * e) - function(v - h * e)) / (2 * h) for e in jnp.eye(3)], -1)
            np.testing.assert_allclose(exact, numeric, atol=1e-5)


def test_derivative_at_zero_is_the_generator():
    generator = jax.jacfwd(rot.matrix_from_axis_angle)(jnp.zeros(3))
    expected = np.zeros((3, 3, 3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        expected[k, j, i], expected[j, k, i] = 1, -1
    np.testing.assert_allclose(generator, expected, atol=1e-6)
    back = jax.jacfwd(lambda v: rot.axis_angle_from_matrix(rot.matrix_from_axis_angle(v)))(jnp.zeros(3))
    np.testing.assert_allclose(back, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("angle", [1e-6, 0.5, 3.0, np.pi - 1e-3])
def test_the_logarithm_undoes_the_exponential_to_first_order(angle):
    with jax.enable_x64(True):
        v = angle * jnp.array([0.48, 0.6, 0.64])
        jacobian = jax.jacrev(lambda v: rot.axis_angle_from_matrix(rot.matrix_from_axis_angle(v)))(v)
        np.testing.assert_allclose(jacobian, np.eye(3), atol=1e-5)


def test_gram_schmidt_takes_any_columns(vectors):
    skewed = rot.rot6d_from_matrix(rot.matrix_from_axis_angle(vectors)).reshape(-1, 3, 2)
    # longer, and the second leaning on the first
    skewed = np.asarray(skewed) @ np.array([[2.0, 0.7], [0.0, 3.0]], np.float32)
    np.testing.assert_allclose(
        rot.matrix_from_rot6d(skewed.reshape(-1, 6)), rot.matrix_from_axis_angle(vectors), atol=1e-5
    )
    assert np.isfinite(jax.grad(lambda x: rot.matrix_from_rot6d(x).sum())(jnp.zeros(6))).all()
