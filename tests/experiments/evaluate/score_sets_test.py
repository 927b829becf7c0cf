"""AUROC against scikit-learn; what the corruptions keep and break; the baselines against scipy."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance
from sklearn.metrics import roc_auc_score

from experiments.evaluate import score_sets
from jaxpose.geometry.skeleton import H36M_17

RNG = np.random.default_rng(0)
POSES = RNG.normal(0, 0.3, (40, 17, 3))


@pytest.mark.parametrize("digits", [0, 1, 6])
def test_auroc_is_scikit_learns(digits):
    """With few digits nearly all are ties."""
    clean, other = (np.round(RNG.normal(mean, 1, num), digits) for mean, num in ((0.4, 300), (-0.3, 500)))
    labels = np.repeat([1, 0], (300, 500))
    expected = roc_auc_score(labels, np.concatenate([clean, other]))
    np.testing.assert_allclose(score_sets.auroc(clean, other), expected, atol=1e-12)


def test_corruptions_change_what_they_say():
    sets = score_sets.corrupted_joints(POSES, np.random.default_rng(1))
    clean = sets.pop("clean")
    gaps = lambda x: np.sort(np.stack([distance.pdist(p) for p in x]), 1)  # noqa: E731
    for mm in (25, 50, 100):
        np.testing.assert_allclose(1000 * (sets.pop(f"noise {mm} mm") - clean).std(), mm, rtol=0.05)
    for factor in (0.8, 1.25):
        np.testing.assert_allclose(gaps(sets.pop(f"scaled {factor}")), factor * gaps(clean), rtol=1e-5)
    assert len(sets) == 4
    for x in sets.values():  # mirrored or exchanged: the same points up to a reflection
        np.testing.assert_allclose(gaps(x), gaps(clean), atol=1e-5)
    legal = sets["mirrored left-right, relabelled (legal)"]
    for left, right in zip(H36M_17.left, H36M_17.right, strict=True):
        np.testing.assert_array_equal(legal[:, left], clean[:, right] * np.float32([-1, 1, 1]))
    elbow = [H36M_17.joints.index(f"{side}_elbow") for side in ("left", "right")]
    np.testing.assert_array_equal(sets["arms exchanged"][:, elbow], clean[:, elbow[::-1]])
    np.testing.assert_array_equal(sets["legs exchanged"][:, elbow], clean[:, elbow])


def test_corrupted_rotations_leave_alone_what_never_moves():
    std = np.full((21, 3), 0.2)
    std[9, 1] = 0
    clean = RNG.normal(0, 0.2, (500, 21, 3)).astype(np.float32)
    sets = score_sets.corrupted_rotations(clean, std, np.random.default_rng(1))
    noise = sets["noise 0.25 of a deviation"] - clean
    assert not noise[:, 9, 1].any()
    np.testing.assert_allclose(noise[:, 0].std(0), 0.05, rtol=0.15)
    np.testing.assert_allclose(sets["turned 1.5 times as far"], 1.5 * clean, rtol=1e-6)
    np.testing.assert_array_equal(sets["knees bent the other way"][:, [3, 4]], -clean[:, [3, 4]])
    np.testing.assert_array_equal(sets["knees bent the other way"][:, 5:], clean[:, 5:])


def test_baselines_are_a_gaussian_and_the_nearest_pose():
    train = RNG.normal(size=(400, 2, 3)) @ RNG.normal(size=(3, 3))
    poses = RNG.normal(size=(7, 2, 3))
    found = score_sets.baseline_scores(score_sets.fit_baselines(train), poses)
    flat, reference = poses.reshape(7, 6), train.reshape(400, 6)
    law = stats.multivariate_normal(reference.mean(0), np.cov(reference.T))
    np.testing.assert_allclose(np.diff(found["gaussian"]), np.diff(law.logpdf(flat)), rtol=1e-3)
    np.testing.assert_allclose(found["nearest"], -distance.cdist(flat, reference).min(1), rtol=1e-6)
