"""Forward kinematics against a loop over joints in scipy's rotations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxpose.geometry.rotations import forward_kinematics, matrix_from_axis_angle
from jaxpose.geometry.skeleton import SMPL_22

PARENTS = SMPL_22.parents


@pytest.fixture(scope="module")
def body() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(5, 22, 3)), rng.normal(size=(22, 3))


def loop_of(vectors: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joints [22, 3] and global rotations [22, 3, 3] in float64."""
    G: list[Rotation] = []
    x: list[np.ndarray] = []
    for j, p in enumerate(PARENTS):
        local = Rotation.from_rotvec(vectors[j])
        G.append(local if p < 0 else G[p] * local)
        x.append(offsets[j] if p < 0 else x[p] + G[p].apply(offsets[j]))
    return np.stack(x), np.stack([g.as_matrix() for g in G])


def test_joints_are_those_of_a_loop(body):
    vectors, offsets = body
    joints, turned = jax.jit(forward_kinematics, static_argnums=2)(
        matrix_from_axis_angle(vectors), jnp.asarray(offsets), PARENTS
    )
    for b in range(5):
        x, G = loop_of(vectors[b], offsets)
        np.testing.assert_allclose(joints[b], x, atol=1e-5)
        np.testing.assert_allclose(turned[b], G, atol=1e-5)


def test_derivatives_are_finite_differences_of_the_loop(body):
    """Forwards and backwards, of rotations and of offsets, at small angles and at large ones."""
    vectors, offsets = body[0][0], body[1]
    vectors = vectors * np.where(np.arange(22) % 3, 1.0, 1e-4)[:, None]
    weight, along = np.random.default_rng(2).normal(size=(2, 22, 3))

    def total(v, o):
        return (forward_kinematics(matrix_from_axis_angle(v), o, PARENTS)[0] * weight).sum()

    inputs = jnp.asarray(vectors, jnp.float32), jnp.asarray(offsets, jnp.float32)
    gradients = jax.jit(jax.grad(total, (0, 1)))(*inputs)
    step = 1e-5
    for place, gradient in enumerate(gradients):
        ends = []
        for sign in (1, -1):
            moved = [vectors, offsets]
            moved[place] = moved[place] + sign * step * along
            ends.append((loop_of(*moved)[0] * weight).sum())
        wanted = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose((gradient * along).sum(), wanted, rtol=1e-4)
        tangents = [jnp.zeros((22, 3)), jnp.zeros((22, 3))]
        tangents[place] = jnp.asarray(along, jnp.float32)
        np.testing.assert_allclose(jax.jvp(total, inputs, tuple(tangents))[1], wanted, rtol=1e-4)


def test_a_body_without_numbers_does_not_touch_the_others(body):
    vectors, offsets = body

    def squares(v):
        return (forward_kinematics(matrix_from_axis_angle(v), jnp.asarray(offsets), PARENTS)[0] ** 2).sum()

    missing = np.where(np.arange(5)[:, None, None] == 2, np.nan, vectors)
    clean, broken = (jax.grad(squares)(jnp.asarray(v, jnp.float32)) for v in (vectors, missing))
    others = np.array([0, 1, 3, 4])
    np.testing.assert_allclose(broken[others], clean[others], rtol=1e-5)
