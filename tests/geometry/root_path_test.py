"""The smoother against one dense least-squares problem of the same model, and what is known of feet and noise."""

import numpy as np
import pytest

from jaxpose.geometry import root_path as rp
from jaxpose.geometry.root_path import contacts, smooth_root
from jaxpose.geometry.skeleton import H36M_17

UP = np.array([0.0, -1.0, 0.0])
RATE = 30.0


def walk(num=60, noise=0.0, seed=0):
    """A walk away from a level camera 1.5 m high: root, ankles about it [F, 2, 3], which stand [F, 2], true root.

    Steps of half a second: a foot stands while the other swings, 0.8 m on and 0.2 m up.
    """
    rng = np.random.default_rng(seed)
    seconds = np.arange(num) / RATE
    root = np.stack([0.3 + 0 * seconds, 0.55 + 0 * seconds, 4 + 0.8 * seconds], -1)
    feet, down = [], []
    for side, first in ((0.1, 0.0), (-0.1, 0.5)):
        phase = (seconds + first) % 1.0
        swing = np.clip(2 * phase - 1, 0, 1)
        z = 4 + 0.8 * (np.floor(seconds + first) - first + swing) + 0.2
        feet.append(np.stack([0.3 + side + 0 * z, 1.42 - 0.2 * np.sin(np.pi * swing), z], -1))
        down.append(phase < 0.5)
    ray = root / np.linalg.norm(root, axis=-1, keepdims=True)
    seen = root + noise * rng.normal(size=(num, 1)) * ray
    return seen, np.stack(feet, 1) - root[:, None], np.stack(down, 1), root, seconds


def dense(root, depth_std, ankles, stands, seconds, up, level):
    """The same unknowns, 13 a frame, by least squares on all frames at once."""
    num, rows, right = len(root), [], []
    ray = rp._averaged(root, seconds)
    ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    along = ray[:, :, None] * ray[:, None, :]
    jitter = rp._jitter(root, np.eye(3) - along)

    def add(f, parts, value, covariance):
        J = np.zeros((len(value), 13 * num))
        for at, matrix in parts:
            J[:, 13 * f + at : 13 * f + at + matrix.shape[1]] += matrix
        L = np.linalg.inv(np.linalg.cholesky(covariance))
        rows.append(L @ J)
        right.append(L @ value)

    one, eye = np.eye(1), np.eye(3)
    add(0, [(6, one)], [0.0], one * (rp._LASTING * depth_std[0]) ** 2)
    for f in range(num):
        noise = jitter**2 * (eye - along[f]) + (rp._WHITE * depth_std[f]) ** 2 * along[f]
        add(f, [(0, eye), (6, ray[f][:, None])], root[f], noise)
        for k in (0, 1):
            noise = rp._POINT_ACROSS**2 * (eye - along[f]) + rp._POINT_ALONG**2 * along[f]
            add(f, [(0, -eye), (7 + 3 * k, eye)], ankles[f, k], noise)
            if stands[f, k] > 0.5:
                add(f, [(7 + 3 * k, up[None])], [level], one * (rp._LEVEL / stands[f, k]) ** 2)
        if f:
            F, Q = rp._transition(seconds[f] - seconds[f - 1], depth_std[f], np.minimum(stands[f], stands[f - 1]))
            add(f - 1, [(0, -F), (13, np.eye(13))], np.zeros(13), Q)
    A, b = np.concatenate(rows), np.concatenate(right)
    covariance = np.linalg.inv(A.T @ A)
    at = 13 * np.arange(num)[:, None] + np.arange(3)
    return (covariance @ (A.T @ b)).reshape(num, 13)[:, :3], covariance[at[:, :, None], at[:, None, :]]


def test_the_smoother_is_the_least_squares_solution_and_its_covariance():
    root, ankles, down, _, seconds = walk(25, noise=0.1)
    seconds = seconds + 0.2 * (np.arange(25) > 12)  # a gap
    given = (root, np.linspace(0.08, 0.15, 25), ankles, 0.9 * down, seconds, UP, -1.42)
    path = smooth_root(*given)
    expected, covariance = dense(*given)
    np.testing.assert_allclose(path.root, expected, atol=2e-4)  # wide but finite before the first frame
    np.testing.assert_allclose(path.covariance, covariance, atol=2e-5)


def test_noise_of_depth_is_smoothed_and_more_where_feet_stand():
    error = {}
    for seed in range(3):
        root, ankles, down, true, seconds = walk(noise=0.12, seed=seed)
        std = np.full(len(root), 0.15)
        for name, stands in (("none", 0 * down), ("feet", 1.0 * down)):
            path = smooth_root(root, std, ankles, stands, seconds, UP, -1.42)
            error[name] = error.get(name, 0) + np.linalg.norm(path.root - true, axis=-1).mean()
        error["raw"] = error.get("raw", 0) + np.linalg.norm(root - true, axis=-1).mean()
    assert error["feet"] < error["none"] < 0.7 * error["raw"]


def test_jitter_across_the_ray_does_not_pull_the_depth():
    """Along a jittering ray, a lasting error of depth took up some of the jitter, and the path came too near."""
    root, ankles, down, true, seconds = walk(100)
    root = root + np.random.default_rng(0).normal(0, 0.03, root.shape) * [1, 1, 0]
    path = smooth_root(root, np.full(100, 0.15), ankles, 0.0 * down, seconds, UP, -1.42)
    assert abs(path.root - true)[:, 2].max() < 0.05


def test_a_foot_stands_where_it_is_low_and_still():
    root, ankles, down, _, seconds = walk(90)
    found = contacts(root, ankles, seconds, UP, -1.42)
    assert found[down].mean() > 0.8
    assert found[~down].mean() < 0.25
    lifted = contacts(root, ankles + 0.4 * UP, seconds, UP, -1.42)
    assert lifted.max() < 0.05


def test_only_the_place_of_the_camera_counts_not_that_of_the_origin():
    root, ankles, down, _, seconds = walk(40, noise=0.1)
    shift, std = np.linspace([2, 1, 3], [5, 1, -4], 40), np.full(40, 0.15)
    at_origin = smooth_root(root, std, ankles, 0.9 * down, seconds, UP, -1.42)
    given, level = root + shift[0], -1.42 + UP @ shift[0]
    path = smooth_root(given, std, ankles, 0.9 * down, seconds, UP, level, eye=shift[:1])
    np.testing.assert_allclose(path.root - shift[0], at_origin.root, atol=1e-3)  # wide but finite at first
    touches = contacts(given, ankles, seconds, UP, level, shift[:1])
    np.testing.assert_allclose(touches, contacts(root, ankles, seconds, UP, -1.42), atol=1e-9)


def test_jitter_is_that_of_white_noise():
    root = np.random.default_rng(0).normal(0, 0.05, (3000, 3))
    assert rp._jitter(root, np.tile(np.diag([1.0, 1, 0]), (3000, 1, 1))) == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize("num", [1, 2, 4])
def test_a_few_frames_are_legal(num):
    root, ankles, down, true, seconds = walk(num)
    path = smooth_root(root, np.full(num, 0.1), ankles, 0.0 * down, seconds, UP, -1.42)
    np.testing.assert_allclose(path.root, true, atol=0.02)
    assert np.isfinite(contacts(root, ankles, seconds, UP, -1.42)).all()


def test_limbs_without_a_length_stay_finite():
    x = np.zeros((4, 17, 3))
    moved = rp.grounded(x, np.ones((4, len(rp.CONTACTS))), np.arange(4) / 30, H36M_17)
    assert np.isfinite(moved).all()
