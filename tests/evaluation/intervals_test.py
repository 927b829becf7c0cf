"""What intervals hold: normal hypotheses and truths of the same and other laws, exact quantiles, shares of people."""

import numpy as np
import pytest
from scipy import stats
from shared import refuses

from jaxpose.evaluation import intervals

N, H = 4000, 200


@pytest.fixture(scope="module")
def drawn():
    """Hypotheses N(m, 1) about middles m, and middles [N]."""
    rng = np.random.default_rng(0)
    middle = rng.normal(0, 30, N)
    return middle + rng.normal(size=(H, N)), middle


@pytest.mark.parametrize(("std", "factor"), [(1.0, 1.0), (1.5, 1.5), (0.5, 0.5)])
def test_figures_of_normal_errors_are_those_of_the_normal_law(drawn, std, factor):
    """Truths with `std` times the hypotheses' spread: coverage, CRPS, Winkler's score and the factor in closed form."""
    values, middle = drawn
    truth = middle + std * np.random.default_rng(1).normal(size=N)
    row = intervals.interval_row(values, truth)
    for level in intervals.LEVELS:
        half = stats.norm.ppf((1 + level) / 2)
        share = 2 * stats.norm.cdf(half / std) - 1
        assert abs(row[f"coverage_{round(100 * level)}"] - share) < 0.02, level
    z = stats.norm.ppf(0.95)
    outside = 2 * (std * stats.norm.pdf(z / std) - z * stats.norm.sf(z / std))
    np.testing.assert_allclose(row["winkler"], 2 * z + 20 * outside, rtol=0.04)
    np.testing.assert_allclose(row["width"], 2 * z, rtol=0.02)
    np.testing.assert_allclose(row["factor"], factor, rtol=0.04)
    np.testing.assert_allclose(row["error"], std * np.sqrt(2 / np.pi), rtol=0.03)
    crps = np.sqrt(2 / np.pi) * np.sqrt(1 + std**2) - 1 / np.sqrt(np.pi)
    np.testing.assert_allclose(row["crps"], crps, rtol=0.03)


def test_the_factor_makes_the_interval_hold_exactly(drawn):
    """Of these truths as many are within as the quantile of n numbers says; skewed hypotheses have an end each."""
    values, middle = np.exp(0.3 * drawn[0][:, :501] / 30), drawn[1][:501]
    truth = np.exp(0.3 * middle / 30) * np.random.default_rng(2).lognormal(0, 0.05, 501)
    factor = intervals.interval_row(values, truth)["factor"]
    low, centre, high = np.quantile(values, (0.05, 0.5, 0.95), axis=0)
    inside = (truth >= centre - factor * (centre - low) - 1e-12) & (truth <= centre + factor * (high - centre) + 1e-12)
    assert inside.sum() == 451  # 0.9 of 500 steps, and the first


def test_a_truth_that_is_not_known_needs_no_factor():
    """NaN stays NaN, so that a calibration leaves it out; a truth on the median needs 0."""
    values = np.linspace(-1, 1, 21)[:, None] * np.ones(3)
    np.testing.assert_allclose(intervals.needed_factor(values, np.array([np.nan, 0.0, 0.9])), [np.nan, 0, 1])


def test_people_who_count_once_give_clopper_and_pearsons_interval():
    """By scipy; a person of one frame each leaves n - 1 of n, as a variance that is estimated does."""
    inside = np.arange(40) < 33
    low, high = intervals.interval_of_share(inside, np.arange(40))
    expected = stats.binomtest(33, 40).proportion_ci(0.95, "exact")
    np.testing.assert_allclose((low, high), (expected.low, expected.high), atol=0.01)


@pytest.mark.parametrize("share", [0.6, 0.9])
def test_the_interval_over_people_holds_the_share_of_a_law_of_people(share):
    """Ten people whose own shares follow a beta law, 30 frames each: at least 93 % of intervals hold the mean."""
    rng = np.random.default_rng(3)
    held = []
    for _ in range(400):
        of_person = rng.beta(20 * share, 20 * (1 - share), 10)
        inside = rng.random((10, 30)) < of_person[:, None]
        low, high = intervals.interval_of_share(inside.ravel(), np.repeat(np.arange(10), 30))
        held.append(low <= share <= high)
    assert np.mean(held) > 0.93


def test_a_person_of_one_frame_hardly_counts_beside_people_of_many():
    """Ten people of 300 frames, of whom 84 to 95 % are within; then one more, of a single frame, outside."""
    inside = (np.arange(3000) % 100) < 84 + np.repeat(np.arange(10), 300) % 12
    person = np.repeat(np.arange(10), 300)
    more = intervals.interval_of_share(np.append(inside, False), np.append(person, 10))
    np.testing.assert_allclose(more, intervals.interval_of_share(inside, person), atol=0.01)


def test_one_person_and_no_failure_say_little():
    """Of one person, or people of whom none ever failed, each counts once: 0.025 ** (1 / m) at the lower end."""
    for people in (1, 5):
        low, high = intervals.interval_of_share(np.ones(100, bool), np.arange(100) % people)
        np.testing.assert_allclose((low, high), (0.025 ** (1 / people), 1))
    assert intervals.promise(9) == 0.9


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_a_conformal_factor_holds_its_level_for_another_unit(spread):
    """Twenty units with a common size of error each: over many draws 90 % or more of a new unit's, and no 95 %."""
    rng = np.random.default_rng(4)
    held = []
    for _ in range(600):
        needed = np.exp(spread * rng.normal(size=(21, 1))) * abs(rng.normal(size=(21, 15)))
        factor = intervals.conformal_factor(needed[:20].ravel(), np.repeat(np.arange(20), 15))
        held.append((needed[20] <= factor).mean())
    assert 0.885 < np.mean(held) < 0.95


def test_units_of_one_truth_give_the_rank_of_conformal_prediction():
    """Of 20 the 19th, as ceil(0.9 * 21) says (of 20 itself: the 18th); 9 are the fewest, and give the largest."""
    needed = np.random.default_rng(5).permutation(20).astype(float)
    assert intervals.conformal_factor(needed, np.arange(20)) == 18
    assert intervals.conformal_factor(needed[:9], np.arange(9)) == needed[:9].max()
    refuses("needed 9 units to promise 90%, got 8", intervals.conformal_factor, needed[:8], np.arange(8))
    assert (intervals.least_units(0.9), intervals.least_units(0.5)) == (9, 1)
    low, high = intervals.held_by_calibration(29)
    np.testing.assert_allclose([low, high], stats.beta(27, 3).ppf([0.05, 0.95]))


def test_what_does_not_fit_is_refused():
    refuses(r"values: needed \[H, N\].*\(3, 4\) and \(5,\)", intervals.interval_row, np.zeros((3, 4)), np.zeros(5))
    refuses("finite", intervals.interval_row, np.full((3, 4), np.nan), np.zeros(4))
