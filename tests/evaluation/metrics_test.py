"""Pose errors against scipy, hand-made answers, the originals' numbers, and their defining invariances."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.transform import Rotation
from shared import GOLDEN, refuses

from jaxpose.evaluation import metrics as m

POSE_ERRORS = {
    "mpjpe": jax.jit(m.mpjpe),
    "n_mpjpe": jax.jit(m.n_mpjpe),
    "p_mpjpe": jax.jit(m.p_mpjpe),
    "p_mpjpe_reflect": jax.jit(partial(m.p_mpjpe, allow_reflection=True)),
    "pck": jax.jit(m.pck),
    "auc": jax.jit(m.auc),
}


@pytest.fixture(scope="module")
def poses():
    """Truth and a prediction a little off: 8 poses of 17 joints about the size of a person, metres."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(8, 17, 3)) * 0.4
    return (truth + rng.normal(size=truth.shape) * 0.15).astype(np.float32), truth.astype(np.float32)


def scipy_aligned(pred, truth, weights, *, reflection=False):
    """Similarity alignment of one pose in float64 by scipy's solvers."""
    pred, truth, weights = (np.asarray(x, np.float64) for x in (pred, truth, weights))
    p_mean, g_mean = np.average(pred, 0, weights), np.average(truth, 0, weights)
    p, g = pred - p_mean, truth - g_mean
    if reflection:
        turn = orthogonal_procrustes(p * weights[:, None], g)[0].T
    else:
        turn = Rotation.align_vectors(g, p, weights)[0].as_matrix()
    turned = p @ turn.T
    return (weights[:, None] * turned * g).sum() / (weights[:, None] * p * p).sum() * turned + g_mean


@pytest.mark.parametrize("reflection", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_procrustes_equals_scipy(poses, reflection, weighted):
    pred, truth = poses
    pred = pred * np.array([-1, 1, 1], np.float32) if reflection else pred
    weights = np.random.default_rng(3).uniform(0.1, 2, size=(8, 17)) if weighted else np.ones((8, 17))
    ours = m.procrustes_align(pred, truth, weights if weighted else None, allow_reflection=reflection)
    theirs = [scipy_aligned(*args, reflection=reflection) for args in zip(pred, truth, weights, strict=True)]
    np.testing.assert_allclose(ours, theirs, atol=5e-6)


def test_p_mpjpe_of_a_collapsed_pose_is_the_spread_of_the_truth(poses):
    _, truth = poses
    expected = np.linalg.norm(truth - truth.mean(1, keepdims=True), axis=-1).mean(1)
    np.testing.assert_allclose(m.p_mpjpe(jnp.ones_like(truth), truth), expected, rtol=1e-5)


def test_mpjpe_and_pck_and_auc_of_a_hand_made_pose():
    truth = jnp.zeros((4, 3))
    pred = jnp.array([[0.0, 0, 0], [0.03, 0.04, 0], [0, 0, -0.15], [0.3, 0, 0.4]])
    errors = [0.0, 0.05, 0.15, 0.5]
    np.testing.assert_allclose(m.joint_errors(pred, truth), errors, rtol=1e-6)
    np.testing.assert_allclose(m.mpjpe(pred, truth), np.mean(errors), rtol=1e-6)
    assert float(m.pck(pred, truth, threshold=0.16)) == 0.75
    assert float(m.pck(pred, truth, threshold=0.14)) == 0.5
    assert float(m.pck(pred, truth, threshold=0.0)) == 0.0  # strictly nearer: an error of 0 is not below 0


@pytest.mark.parametrize("name", POSE_ERRORS)
def test_weights_choose_joints_and_shield_from_nan(poses, name):
    pred, truth = poses
    keep = np.arange(17) % 3 > 0
    spoiled_pred, spoiled_truth = pred.copy(), truth.copy()
    spoiled_truth[:, ~keep], spoiled_pred[2, ~keep] = np.nan, np.nan
    weights = np.broadcast_to(keep.astype(np.float32), (8, 17))
    chosen = POSE_ERRORS[name](spoiled_pred, spoiled_truth, weights)
    np.testing.assert_allclose(chosen, POSE_ERRORS[name](pred[:, keep], truth[:, keep]), atol=2e-6)
    np.testing.assert_allclose(POSE_ERRORS[name](spoiled_pred, spoiled_truth, weights[0]), chosen, atol=1e-6)


@pytest.mark.parametrize("name", POSE_ERRORS)
def test_a_nan_that_counts_makes_its_own_pose_nan(poses, name):
    pred, truth = poses
    spoiled = truth.copy()
    spoiled[3, 4, 1] = np.nan
    errors = np.asarray(POSE_ERRORS[name](pred, spoiled))
    assert np.isnan(errors[3])
    others = np.delete(np.arange(8), 3)
    np.testing.assert_allclose(errors[others], POSE_ERRORS[name](pred, truth)[others], atol=2e-6)


@pytest.mark.parametrize("name", POSE_ERRORS)
def test_hypotheses_broadcast_against_one_truth_as_vmap_does(poses, name):
    pred, truth = poses
    samples = np.stack([pred, truth, -pred])
    expected = jax.vmap(POSE_ERRORS[name], (0, None))(samples, truth)
    np.testing.assert_allclose(POSE_ERRORS[name](samples, truth), expected, atol=2e-6)


def test_best_of_is_the_minimum_of_the_first():
    errors = np.random.default_rng(0).exponential(size=(20, 6)).astype(np.float32)
    for num in (1, 7, 20):
        np.testing.assert_array_equal(m.best_of(errors, num), [min(errors[:num, i]) for i in range(6)])
    np.testing.assert_array_equal(m.best_of(errors), m.best_of(errors, 20))
    refuses(r"1\.\.20", m.best_of, errors, 21)


def test_diversity_of_gaussian_hypotheses_is_their_deviation_relative_to_the_root():
    sigma = np.array([0.02, 0.05, 0.11])
    samples = np.random.default_rng(0).normal(size=(2000, 2, 5, 3)) * sigma
    # Root and joint vary independently, so their difference varies by sqrt 2; a common shift is not seen.
    shift = np.random.default_rng(1).normal(size=(2000, 1, 1, 3))
    np.testing.assert_allclose(m.diversity(jnp.array(samples + shift)), [sigma * 2**0.5] * 2, rtol=0.05)
    assert (m.diversity(jnp.ones((5, 17, 3))) == 0).all()


def test_pairwise_distance_is_the_mean_over_all_pairs():
    samples = np.random.default_rng(0).normal(size=(6, 2, 4, 3))
    pairs = [np.linalg.norm(samples[i] - samples[j], axis=-1) for i in range(6) for j in range(i)]
    np.testing.assert_allclose(jax.jit(m.pairwise_distance)(samples), np.mean(pairs, 0), rtol=1e-5)
    refuses("H >= 2", m.pairwise_distance, jnp.zeros((1, 4, 3)))


def test_velocity_and_acceleration_errors_of_known_motions():
    t = np.arange(30)[:, None, None] / 30
    still = np.zeros((30, 17, 3), np.float32)
    drifting = still + (0.6 * t * np.array([0.6, 0.8, 0])).astype(np.float32)
    falling = still + (0.5 * 9.81 * t**2 * np.array([0, 0, 1])).astype(np.float32)
    np.testing.assert_allclose(m.velocity_error(drifting + 1.0, still, fps=30), 0.6, rtol=1e-3)
    np.testing.assert_allclose(m.velocity_error(drifting, still), 0.02, rtol=1e-3)
    np.testing.assert_allclose(m.acceleration_error(drifting, still, fps=30), 0, atol=1e-3)
    np.testing.assert_allclose(m.acceleration_error(falling, still, fps=30), 9.81, rtol=1e-3)
    refuses("F >= 3", m.acceleration_error, still[:2], still[:2])


def test_gfposes_own_alignment():
    z = np.load(GOLDEN / "gfpose/gfpose_peer.npz")
    aligned = m.procrustes_align(z["geo_cam_out"] / 1000, z["geo_gt"] / 1000, allow_reflection=True)
    np.testing.assert_allclose(aligned, z["geo_aligned"] / 1000, atol=1e-5)
