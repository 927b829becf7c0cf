"""Cameras: round trips, agreement of frames, Brown distortion against its written-out formula, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from shared import refuses

from jaxpose.geometry import camera

INTRINSICS = jnp.array([1145.0, 1143.0, 512.0, 515.0])
DISTORTION = jnp.array([-0.2, 0.24, -0.001, -0.0015, -0.002])  # the size of Human3.6M's lenses


@pytest.fixture
def points():
    x = jax.random.normal(jax.random.key(0), (5, 17, 3))
    return x + jnp.array([0.0, 0.0, 5.0])


def test_projection_of_known_points():
    x = jnp.array([[0.0, 0.0, 2.0], [1.0, -0.5, 2.0]])
    np.testing.assert_allclose(camera.project(INTRINSICS, x), [[512, 515], [512 + 572.5, 515 - 285.75]], rtol=1e-6)


def test_distortion_is_browns_formula(points):
    xy = np.asarray(points[..., :2] / points[..., 2:], np.float64)
    k1, k2, p1, p2, k3 = np.asarray(DISTORTION, np.float64)
    r2 = (xy**2).sum(-1, keepdims=True)
    radial = xy * (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3)
    tangential = 2 * xy[..., :1] * xy[..., 1:] * np.array([p1, p2]) + np.array([p2, p1]) * (r2 + 2 * xy**2)
    np.testing.assert_allclose(camera.distort(jnp.asarray(xy), DISTORTION), radial + tangential, atol=1e-6)


def test_undistort_inverts_distort(points):
    xy = points[..., :2] / points[..., 2:]
    np.testing.assert_allclose(camera.undistort(camera.distort(xy, DISTORTION), DISTORTION), xy, atol=1e-5)


@pytest.mark.parametrize("distortion", [None, DISTORTION])
def test_back_projection_inverts_projection(points, distortion):
    uv = camera.project(INTRINSICS, points, distortion)
    np.testing.assert_allclose(
        camera.back_project(INTRINSICS, uv, points[..., 2], distortion), points, atol=1e-4, rtol=1e-4
    )


def test_intrinsics_broadcast_per_row(points):
    rows = INTRINSICS * jnp.linspace(0.5, 2.0, 5)[:, None]
    each = [camera.project(k, x) for k, x in zip(rows, points, strict=True)]
    np.testing.assert_allclose(camera.project(rows, points), jnp.stack(each), rtol=1e-6)


def test_world_and_camera_frames_are_inverse_and_look_at_looks(points):
    eye, target = jnp.array([3.0, 1.5, -2.0]), jnp.array([0.2, 0.9, 0.4])
    R, t = camera.look_at(eye, target, jnp.array([0.0, 1.0, 0.0]))
    np.testing.assert_allclose(np.asarray(R) @ np.asarray(R).T, np.eye(3), atol=1e-6)
    assert float(jnp.linalg.det(R)) == pytest.approx(1, abs=1e-5)
    seen = camera.world_to_camera(R, t, jnp.stack([eye, target, target + jnp.array([0.0, 0.1, 0.0])]))
    distance = jnp.linalg.norm(target - eye)
    np.testing.assert_allclose(seen[:2], [[0, 0, 0], [0, 0, distance]], atol=1e-5)
    assert seen[2, 1] < 0, "up in the world is up in the image, where y points down"
    assert abs(seen[2, 0]) < 1e-5


def test_points_5_m_away_keep_their_digits():
    """Against double precision; with operands of bfloat16 they moved by up to 30 mm (tests/exact_test.py)."""
    rng = np.random.default_rng(0)
    R = Rotation.random(100, rng).as_matrix().astype(np.float32)
    x = rng.normal((0, 0, 5), 0.5, (100, 17, 3)).astype(np.float32)
    seen = camera.world_to_camera(jnp.asarray(R), jnp.zeros((100, 3)), jnp.asarray(x))
    np.testing.assert_allclose(seen, np.einsum("nij,nkj->nki", R.astype(float), x.astype(float)), atol=3e-6)


@pytest.mark.parametrize("xy", [(0.0, 0.0), (0.3, -0.2), (-2.0, 1.0), (1e-6, 1e-7)])
def test_turn_to_is_the_smallest_rotation_onto_the_axis(xy):
    xy = jnp.array(xy)
    R = camera.turn_to(xy)
    ray = jnp.append(xy, 1.0) / jnp.linalg.norm(jnp.append(xy, 1.0))
    np.testing.assert_allclose(np.asarray(R) @ np.asarray(R).T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(np.asarray(R) @ np.asarray(ray), [0, 0, 1], atol=1e-6)
    # A rotation by angle a has trace 1 + 2 cos a; the smallest one turns by the ray's own angle to the axis.
    assert float(jnp.trace(R)) == pytest.approx(1 + 2 * float(ray[2]), abs=1e-5)


def test_intrinsics_from_fov_spans_the_image():
    fx, fy, cx, cy = camera.intrinsics_from_fov(1920, 1080, np.radians(90))
    assert (fx, fy) == (pytest.approx(960), pytest.approx(960))
    assert (cx, cy) == (960, 540)


@pytest.mark.parametrize(
    ("bad", "message"),
    [([1, 1, 0], r"needed \[\.\.\., 4\]"), ([0, 1, 0, 0], "must be positive"), ([1, np.nan, 0, 0], "must be finite")],
)
def test_bad_intrinsics_are_named(bad, message):
    refuses(f"K: .*{message}|K: {message}", camera.check_intrinsics, np.array(bad, float), "K")
