"""Operators of observations: numpy's projections and least squares, what a true pose must give back, invariances."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shared import refuses

from jaxpose.base import Camera
from jaxpose.geometry.skeleton import BODY_25, COCO_17, H36M_17, bones
from jaxpose.model import ASSETS
from jaxpose.spaces.person import encode_keypoints
from jaxpose.tasks import observations
from jaxpose.tasks.observations import sight

UP = (0.0, 0.0, 1.0)
DISTORTION = np.array([[0.05, -0.02, 0.001, -0.002, 0.003]] * 3)


@pytest.fixture(scope="module")
def scene():
    """A person [17, 3] in a world with z up, far from its origin, and three cameras K [3, 4], R, t around it."""
    with np.load(ASSETS / "demo_clip.npz") as clip:
        x_cam = clip["joints_cam"][40].astype(np.float64)
    x = (x_cam - x_cam.mean(0)) @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]) + [12.0, -7.0, 1.0]
    K, R, t = [], [], []
    for yaw, high, distance in ((0.3, 0.5, 4.0), (2.1, 0.0, 5.0), (4.0, 1.0, 3.5)):
        away = distance * np.array([np.sin(yaw), -np.cos(yaw), 0]) + [0.4, -0.3, high]
        forward = -away / np.linalg.norm(away)
        right = np.cross(forward, UP) / np.linalg.norm(np.cross(forward, UP))
        R.append(np.stack([right, np.cross(forward, right), forward]))
        t.append(-R[-1] @ (x.mean(0) + away + [0.2, 0.1, 0.0]))
        K.append([900.0 + 50 * yaw, 910.0 + 50 * yaw, 500.0, 480.0])
    return x, np.array(K), np.array(R), np.array(t)


def project(x, K, R, t, distortion=None):
    """Pixels [C, J, 2], written out as OpenCV's manual has it."""
    uv = []
    for c in range(len(K)):
        x_cam = x @ R[c].T + t[c]
        a, b = (x_cam[:, :2] / x_cam[:, 2:]).T
        if distortion is not None:
            k1, k2, p1, p2, k3 = distortion[c]
            r2 = a * a + b * b
            bend = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
            a, b = (
                a * bend + 2 * p1 * a * b + p2 * (r2 + 2 * a * a),
                b * bend + p1 * (r2 + 2 * b * b) + 2 * p2 * a * b,
            )
        uv.append(np.stack([K[c, 0] * a + K[c, 2], K[c, 1] * b + K[c, 3]], -1))
    return np.array(uv)


def seen(uv, K, R=None, t=None, distortion=None, confidence=None, noise=0.1, **how):
    given = (None if v is None else jnp.asarray(v, jnp.float32) for v in (K, distortion, R, t))
    confidence = np.ones(uv.shape[:-1]) if confidence is None else confidence
    noise = jnp.full(uv.shape[:-1], noise) if np.ndim(noise) == 0 else jnp.asarray(noise, jnp.float32)
    return sight(jnp.asarray(uv, jnp.float32), noise, jnp.asarray(confidence), Camera(*given), **how)


def in_view(view, x):
    """Joints of the world about their middle, in the view's axes."""
    return jnp.asarray(x - x.mean(0), jnp.float32) @ view.R_view_world.T


@pytest.mark.parametrize(("chosen", "distortion"), [([0], None), ([1, 2], DISTORTION), ([0, 1, 2], None)])
def test_exact_keypoints_give_back_the_place_of_the_true_pose(scene, chosen, distortion):
    x, K, R, t = scene
    uv = project(x, K, R, t, distortion)[chosen]
    uv_gaps, confidence = uv.copy(), np.ones(uv.shape[:-1])
    uv_gaps[0, 3], confidence[-1, 5:7] = np.nan, 0
    bent = None if distortion is None else distortion[chosen]

    @jax.jit
    def found():
        view = seen(uv_gaps, K[chosen], R[chosen], t[chosen], bent, confidence, up=UP)
        pose, what = in_view(view, x), observations.seen_by(view)
        return observations.to_world(view, pose), what.operator(pose), what.value

    placed, predicted, value = found()
    np.testing.assert_allclose(placed, x, atol=2e-3)
    np.testing.assert_allclose(predicted, uv, atol=0.03)
    np.testing.assert_array_equal(np.isnan(value).all(-1), (confidence == 0) | np.isnan(uv_gaps).all(-1))


def test_the_place_is_numpys_least_squares(scene):
    x, K, R, t = scene
    rng = np.random.default_rng(0)
    uv = project(x, K, R, t) + rng.normal(0, 8, (3, 17, 2))
    noise = rng.uniform(2, 20, (3, 17))
    poses = rng.normal(0, 0.4, (2, 17, 3))
    poses -= poses.mean(1, keepdims=True)

    @jax.jit
    def found():
        view = seen(uv, K, R, t, noise=noise, up=UP)
        return view.R_cam_view, view.t_cam, observations.placement(view)(jnp.asarray(poses, jnp.float32))

    R_view, t_view, places = (np.asarray(v, np.float64) for v in found())
    for pose, place in zip(poses, places, strict=True):
        rows, rest = [], []
        for c, j, e in itertools.product(range(3), range(17), range(2)):
            a = (uv[c, j, e] - K[c, 2 + e]) / K[c, e]
            row = R_view[c, e] - a * R_view[c, 2]
            w = K[c, e] / (noise[c, j] * t_view[c, 2])
            rows.append(w * row)
            rest.append(-w * (row @ pose[j] + t_view[c, e] - a * t_view[c, 2]))
        np.testing.assert_allclose(place, np.linalg.lstsq(np.array(rows), np.array(rest))[0], atol=1e-3)


def test_an_unknown_focal_length_is_found():
    with np.load(ASSETS / "demo_clip.npz") as clip:
        x = clip["joints_cam"][[0, 40]].astype(np.float64)
    K, guess = np.array([[1300.0, 1300, 600, 500]]), np.array([[900.0, 900, 600, 500]])
    uv = np.array([project(v, K, np.eye(3)[None], np.zeros((1, 3))) for v in x])

    @jax.jit
    @jax.vmap
    def found(uv, pose):
        view = seen(uv, guess, noise=0.05, R_view_world=jnp.eye(3))
        return observations.fit_pinhole(view, pose), observations.seen_by(view, known_focal=False).operator(pose)

    pinhole, predicted = found(jnp.asarray(uv, jnp.float32), jnp.asarray(x - x.mean(1, keepdims=True), jnp.float32))
    np.testing.assert_allclose(pinhole.focal, 1300, rtol=0.01)
    np.testing.assert_allclose(pinhole.place, x.mean(1), rtol=0.01, atol=0.01)
    np.testing.assert_allclose(predicted, uv, atol=0.1)

    def two_cameras():
        two = seen(*(np.repeat(v, 2, 0) for v in (uv[0], guess, np.eye(3)[None], np.zeros((1, 3)))))
        return observations.fit_pinhole(two, jnp.zeros((17, 3)))

    refuses("one camera without distortion, got 2", jax.eval_shape, two_cameras)


def test_a_moved_world_changes_nothing_and_axes_are_those_of_the_codec(scene):
    x, K, R, t = scene
    uv = project(x, K, R, t)
    angle, shift = 0.7, np.array([3.0, -2.0, 0.5])
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    bent = 0.1 * np.random.default_rng(1).normal(size=(17, 3)).astype(np.float32)

    @jax.jit
    def found():
        one = seen(uv, K, R, t)
        moved = seen(uv, K, R @ turn.T, t - R @ turn.T @ shift)  # x' = turn x + shift
        pose = in_view(one, x) + bent
        _, codec = encode_keypoints(*(jnp.asarray(v, jnp.float32) for v in (K[0], uv[0], np.ones(17))))
        level = seen(uv, K, R, t, up=UP).R_view_world
        see, stand = ([f(v, pose) for v in (one, moved)] for f in (predicted, observations.to_world))
        return see, stand, (one.R_view_world, codec.R_view_cam @ R[0].astype(np.float32), level)

    (see, stand, (turned, by_codec, level)) = found()
    np.testing.assert_allclose(*see, atol=0.05)
    np.testing.assert_allclose(stand[1], np.asarray(stand[0]) @ turn.T + shift, atol=2e-3)
    np.testing.assert_allclose(turned, by_codec, atol=1e-5)
    np.testing.assert_allclose(level[1], [0, 0, -1], atol=1e-6)
    np.testing.assert_allclose(level @ level.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(level) == pytest.approx(1, abs=1e-5)
    assert level[2] @ turned[2] > 0.9


def predicted(view, pose):
    return observations.cameras(view)(pose)


def test_poses_that_reach_behind_a_camera_have_finite_derivatives(scene):
    x, K, R, t = scene
    uv = project(x, K, R, t)

    @jax.jit
    def slopes():
        views = seen(uv, K, R, t), seen(uv[:1], K[:1])
        operators = observations.cameras(views[0]), observations.seen_by(views[1], known_focal=False).operator
        huge = 30 * in_view(views[0], x)
        return [jax.value_and_grad(lambda pose, see=see: jnp.sum(see(pose) ** 2))(huge) for see in operators]

    for value, slope in slopes():
        assert np.isfinite(value)
        assert np.isfinite(slope).all()


def test_lengths_directions_and_chosen_joints(scene):
    x = np.stack([scene[0], scene[0] * [1, 2, 0.5]])
    away = np.array([x[:, c] - x[:, p] for p, c in bones(H36M_17)])  # [16, 2, 3]
    length = np.linalg.norm(away, axis=-1)
    moved = x + np.array([1.0, 2, 3])

    @jax.jit
    def found(X, moved):
        chosen = observations.joints([3, 6, 10])
        return [
            observations.bone_lengths(H36M_17)(X),
            observations.directions(bones(H36M_17))(X),
            observations.distances([(3, 6)])(X)[:, 0],
            observations.end_effectors([13, 16])(X),
            observations.end_effectors([13], 8)(X),
            chosen(X),
            chosen(moved),
            jax.jacobian(observations.bone_lengths(H36M_17))(0 * X[0]),
            jax.jacobian(observations.directions([(0, 1)]))(0 * X[0]),
        ]

    *values, slope, other = found(jnp.asarray(x, jnp.float32), jnp.asarray(moved, jnp.float32))
    middle = x[:, [3, 6, 10]].mean(1, keepdims=True)
    known = (
        length.T,
        np.swapaxes(away / length[..., None], 0, 1),
        np.linalg.norm(x[:, 6] - x[:, 3], axis=-1),
        x[:, [13, 16]] - x[:, :1],
        x[:, [13]] - x[:, [8]],
        x[:, [3, 6, 10]] - middle,
        x[:, [3, 6, 10]] - middle,
    )
    for value, truth in zip(values, known, strict=True):
        np.testing.assert_allclose(value, truth, atol=3e-5)
    assert np.isfinite(slope).all()
    assert np.isfinite(other).all()


def test_confidence_is_noise():
    noise = observations.confidence_noise(jnp.array([1.0, 0.25, 0.01]), 2.0)
    np.testing.assert_allclose(noise, [2.0, 16.0, 2 / 0.2**1.5], rtol=1e-6)
    uv = np.array([[100.0, 50], [300, 450], [900, 900], [np.nan, 0]])
    found = observations.keypoint_noise_px(jnp.asarray(uv), jnp.array([1.0, 0.25, 0.0, 1.0]), 0.01)
    # of 400 px: what is not seen does not make a person larger
    np.testing.assert_allclose(found[:2], [4.0, 32.0], rtol=1e-6)


def test_joints_that_say_nothing_of_their_own_are_left_out():
    names = np.array(H36M_17.joints)
    assert names[~observations.measured_joints(COCO_17, H36M_17)].tolist() == ["hip", "spine", "thorax", "head"]
    assert names[~observations.measured_joints(BODY_25, H36M_17)].tolist() == ["spine", "head"]
    assert observations.measured_joints(H36M_17, H36M_17).all()
