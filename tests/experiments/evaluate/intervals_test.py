"""The tables of intervals on bodies whose angles and errors are known."""

import numpy as np
import pytest
from bent_bodies import bent

from experiments.evaluate import intervals
from experiments.evaluate.interval_sets import FPS, Drawn
from jaxpose.evaluation.intervals import LEVELS

NUM, HYPOTHESES = 120, 60


@pytest.fixture(scope="module")
def drawn():
    """True angles (4, NUM, 2) and hypotheses about them, all degrees, far enough from 0 not to fold."""
    rng = np.random.default_rng(0)
    middle = rng.uniform(30, 80, (4, NUM, 2))
    return middle + 5 * rng.normal(size=middle.shape), middle + 5 * rng.normal(size=(HYPOTHESES, *middle.shape))


def a_set(samples, truth, **more):
    """Hypotheses and truths of angles [H, 4, N, 2] and [4, N, 2]; ten people; every joint but the root is scored."""
    counted = np.ones((truth.shape[1], 17), bool)
    counted[:, 0] = False
    joints = bent(*np.moveaxis(samples, 1, 0)), bent(*truth)
    own = np.quantile(np.linalg.norm(joints[0] - joints[0].mean(0), axis=-1), 0.9, axis=0)
    return Drawn(*joints, own, np.arange(truth.shape[1]) % 10, counted, **more)


def test_intervals_are_those_of_the_angles_left_and_right_alike(drawn):
    truth, samples = drawn
    one = a_set(samples, truth)
    values = intervals.measured(one)
    for i, name in enumerate(("hip_elevation", "knee_flexion", "shoulder_elevation", "elbow_flexion")):
        low, high = np.quantile(samples[:, i], [0.05, 0.95], axis=0)
        row = intervals.holds(values[name], one.person)
        inside = (low <= truth[i]) & (truth[i] <= high)
        np.testing.assert_allclose(row["coverage_90"], inside.mean(), atol=2 / inside.size)
        np.testing.assert_allclose(row["width"], (high - low).mean(), rtol=1e-3)
        assert (row["values"], row["people"], row["unit"]) == (2 * NUM, 10, "deg")
        assert intervals.summary(one, values)[name.split("_")[0]] == row["coverage_90"]
    few = intervals.summary(one, values, np.arange(40))
    np.testing.assert_allclose(few["poses"], 40)
    low, high = np.quantile(samples[:, 1, :40], [0.05, 0.95], axis=0)
    inside = (low <= truth[1, :40]) & (truth[1, :40] <= high)
    np.testing.assert_allclose(few["knee"], inside.mean(), atol=2 / inside.size)


def test_bias_is_of_knees_that_are_straight(drawn):
    """Legs 4 degrees too bent below 15, and 20 above, which must not count."""
    truth = drawn[0].copy()
    truth[1] = np.random.default_rng(1).uniform(2, 40, (NUM, 2))
    bias = np.where(truth[1] < 15, 4, 20) + np.array([-0.5, 0, 0.5])[:, None, None]
    samples = np.stack([truth] * 3)
    samples[:, 1] += bias
    one = a_set(samples, truth)
    row = intervals.summary(one, intervals.measured(one))
    np.testing.assert_allclose(row["straight_knee_bias_deg"], 4, atol=0.02)
    np.testing.assert_allclose(row["straight_knee_mean_pose_bias_deg"], 4, atol=0.02)
    assert row["straight_knees"] == (truth[1] < 15).sum()
    assert row["straight_knee_coverage"] == 0


def test_folding_of_a_straight_knee_is_told_apart_by_the_mean_pose(drawn):
    """Hypotheses 10 degrees to either side of a straight knee: each is bent, their mean is not."""
    truth = drawn[0].copy()
    truth[1] = 0.5
    samples = np.stack([truth, truth])
    samples[:, 1] += np.array([10, -9.9])[:, None, None]
    one = a_set(samples, truth)
    row = intervals.summary(one, intervals.measured(one))
    np.testing.assert_allclose(row["straight_knee_bias_deg"], 9.45, atol=0.01)
    assert abs(row["straight_knee_mean_pose_bias_deg"]) < 0.1


def test_the_radius_and_its_factors_are_scored_on_the_joints_that_count(drawn):
    """Normal errors of 20 mm, truths of the same: 90 %; a radius twice as wide holds nearly all; one joint counts."""
    rng = np.random.default_rng(2)
    samples, truth = rng.normal(0, 0.02, (200, 300, 17, 3)), rng.normal(0, 0.02, (300, 17, 3))
    counted = np.zeros((300, 17), bool)
    counted[:, 3] = True
    truth[:, 4] = 9.0  # not counted
    one = Drawn(samples, truth, np.zeros((300, 17)), np.arange(300) % 10, counted)
    own = intervals.radius_row(one, intervals.own_radius(one))
    for level in LEVELS:
        assert abs(own[f"coverage_{round(100 * level)}"] - level) < 0.06
    assert intervals.radius_row(one, 2 * intervals.own_radius(one))["coverage_90"] > 0.98
    np.testing.assert_allclose(own["factor"], 1, atol=0.1)


def test_clips_are_measured_each_for_itself_over_time(drawn):
    """Two clips of 30 frames: one bends by 20 degrees, one does not."""
    del drawn
    time = np.arange(30) / FPS
    knee = np.concatenate([60 - 20 * np.cos(2 * np.pi * time), 60 + 0 * time])
    truth = np.stack([np.full((60, 2), x) for x in (40.0, 0, 45, 50)])
    truth[1] = knee[:, None]
    stretched = np.linspace(0.8, 1.2, 11)[:, None, None, None]
    samples = np.repeat(truth[None], 11, 0)
    samples[:, 1] = 60 + stretched[:, 0] * (truth[1] - 60) + np.linspace(-5, 5, 11)[:, None, None]
    one = a_set(samples, truth, clip=np.repeat([0, 1], 30))
    values = intervals.measured(one)
    span = values["range of the knee"]  # of the clip that bends, left and right; the other's is 0 in every hypothesis
    np.testing.assert_allclose(span.truth, [40, 40], atol=0.1)
    np.testing.assert_allclose(span.sample[:, 0], 40 * stretched[:, 0, 0, 0], atol=0.1)
    assert list(span.rows) == [0, 0]
    np.testing.assert_allclose(np.unique(values["knee_flexion"].rows), np.arange(60))
    assert values["velocity of the knee"].unit == "deg/s"
    assert np.abs(values["velocity of the knee"].truth).max() == pytest.approx(20 * 2 * np.pi * 0.96, rel=0.03)


def test_figures_of_detections_are_of_the_joints_that_count(drawn):
    """A turned body of another size has no aligned error; joints without truth and their 2D count for nothing."""
    truth, samples = drawn
    one = a_set(samples, truth)
    turned = 1.1 * one.truth @ np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    unknown = np.where(np.arange(17)[:, None] < 3, np.nan, turned)
    counted = one.counted & np.isfinite(unknown).all(-1)
    pixels = np.where(np.arange(17) < 3, np.nan, np.linspace(0, 16, 17)) + np.zeros((NUM, 1))
    still = one._replace(samples=np.stack([one.truth] * 2), truth=unknown, counted=counted, error_px=pixels)
    row = intervals.about_detections(still, {}, pixels)
    assert row["pa_mm"] < 0.01
    assert (row["px_50"], row["px_90"]) == (9.5, 15.0)
    np.testing.assert_allclose(row["radius_mm"], 1000 * one.radius[counted].mean(), rtol=1e-6)
