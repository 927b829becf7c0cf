"""Intervals of joint angles against the numbers that the bodies were bent by."""

import numpy as np
import pytest

from jaxpose.evaluation.angles import angle_row
from jaxpose.geometry.skeleton import H36M_17

NUM, HYPOTHESES = 300, 200
J = {name: j for j, name in enumerate(H36M_17.joints)}


def bent(hip, knee, shoulder, elbow):
    """Bodies [..., 17, 3] whose limbs are turned forward (z) by degrees [..., 2], left and right; y is up, x left."""
    hip, knee, shoulder, elbow = (np.radians(np.asarray(x, np.float64)) for x in (hip, knee, shoulder, elbow))
    poses = np.zeros((*hip.shape[:-1], 17, 3))
    for name, height in (("hip", 0.9), ("spine", 1.1), ("thorax", 1.4), ("neck_nose", 1.5), ("head", 1.65)):
        poses[..., J[name], 1] = height
    for s, (side, x) in enumerate((("left", 1), ("right", -1))):
        for names, width, top, lengths, first, second in (
            (("hip", "knee", "ankle"), 0.1, 0.9, (0.4, 0.43), hip[..., s], -knee[..., s]),
            (("shoulder", "elbow", "wrist"), 0.18, 1.4, (0.3, 0.27), shoulder[..., s], elbow[..., s]),
        ):
            at = np.broadcast_to([x * width, top, 0.0], (*hip.shape[:-1], 3))
            for name, length, angle in zip(names, (0, *lengths), (0 * first, first, first + second), strict=True):
                at = at + length * np.stack([0 * angle, -np.cos(angle), np.sin(angle)], -1)
                poses[..., J[f"{side}_{name}"], :] = at
    return poses


@pytest.fixture(scope="module")
def drawn():
    """True angles (2, NUM, 2) and hypotheses about them, all degrees, far enough from 0 not to fold."""
    rng = np.random.default_rng(0)
    middle = rng.uniform(30, 80, (4, NUM, 2))
    return middle + 5 * rng.normal(size=middle.shape), middle + 5 * rng.normal(size=(HYPOTHESES, *middle.shape))


def test_intervals_are_those_of_the_angles(drawn):
    truth, samples = drawn
    row = angle_row(bent(*np.moveaxis(samples, 1, 0)), bent(*truth))
    low, middle, high = np.quantile(samples, [0.05, 0.5, 0.95], axis=0)
    for name, i in (("hip", 0), ("knee", 1), ("shoulder", 2), ("elbow", 3)):
        inside = (low[i] <= truth[i]) & (truth[i] <= high[i])
        np.testing.assert_allclose(row[f"{name}_coverage_90"], inside.mean(), atol=2 / truth[i].size)
        np.testing.assert_allclose(row[f"{name}_width_90_deg"], (high - low)[i].mean(), rtol=1e-3)
        np.testing.assert_allclose(row[f"{name}_error_deg"], np.abs(middle - truth)[i].mean(), rtol=1e-3)
        assert 0.85 < row[f"{name}_coverage_90"] < 0.94, "hypotheses and truths of one distribution"
    assert row["straight_knees"] == 0
    assert np.isnan(row["straight_knee_bias_deg"])


def test_bias_is_of_knees_that_are_straight(drawn):
    """Legs 4 degrees too bent below 15, and 20 above, which must not count."""
    truth = drawn[0].copy()
    truth[1] = np.random.default_rng(1).uniform(2, 40, (NUM, 2))
    found = truth.copy()
    found[1] += np.where(truth[1] < 15, 4, 20)
    row = angle_row(np.stack([bent(*found)] * 3), bent(*truth))
    np.testing.assert_allclose(row["straight_knee_bias_deg"], 4, atol=0.01)
    np.testing.assert_allclose(row["straight_knee_mean_pose_bias_deg"], 4, atol=0.01)
    assert row["straight_knees"] == (truth[1] < 15).sum()
    assert row["straight_knee_coverage_90"] == 0  # three equal hypotheses, 4 degrees off


def test_folding_of_a_straight_knee_is_told_apart_by_the_mean_pose(drawn):
    """Hypotheses 10 degrees to either side of a straight knee: each is bent, their mean is not."""
    truth = drawn[0].copy()
    truth[1] = 0.5
    found = np.stack([truth, truth])
    found[:, 1] += np.array([10, -10])[:, None, None]
    row = angle_row(bent(*np.moveaxis(found, 1, 0)), bent(*truth))
    np.testing.assert_allclose(row["straight_knee_bias_deg"], 9.5, atol=0.01)
    assert abs(row["straight_knee_mean_pose_bias_deg"]) < 0.05
