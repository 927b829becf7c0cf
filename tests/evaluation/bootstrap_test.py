"""The paired bootstrap against all possible draws, against scipy, and how often its interval holds the truth."""

import itertools

import numpy as np
import pytest
from scipy import stats

from jaxpose.evaluation.bootstrap import paired_bootstrap


@pytest.mark.parametrize("groups", [None, ["x", "x", "y", "z", "z", "z"]])
def test_three_groups_have_27_draws(groups):
    """The interval of many draws is the interval of all that can be drawn."""
    a, b = np.array([1.0, 4, 2, 8, 5, 7]), np.array([2.0, 2, 3, 5, 9, 1])
    a, b = (a, b) if groups else (a[:3], b[:3])
    members = [[0, 1], [2], [3, 4, 5]] if groups else [[0], [1], [2]]
    draws = [np.concatenate([members[g] for g in draw]) for draw in itertools.product(range(3), repeat=3)]
    difference = [a[rows].mean() - b[rows].mean() for rows in draws]
    ratio = [a[rows].mean() / b[rows].mean() for rows in draws]
    got = paired_bootstrap(0, a, b, groups=groups, num=20000, level=0.8)
    assert got.mean == pytest.approx(a.mean() - b.mean())
    assert got.ratio == pytest.approx(a.mean() / b.mean())
    for values, low, high in ((difference, got.low, got.high), (ratio, got.ratio_low, got.ratio_high)):
        # a draw's value is one of few: the quantile is the one at which the share of draws passes 10 % and 90 %
        ordered = np.sort(values)
        assert low == pytest.approx(ordered[int(0.1 * 27)])
        assert high == pytest.approx(ordered[int(0.9 * 27)])


def test_scipys_percentile_interval():
    rng = np.random.default_rng(0)
    b = rng.gamma(4, 10, 300)
    a = b + rng.normal(-1, 6, 300).clip(-b)
    ours = paired_bootstrap(1, a, b, num=20000)
    for statistic, low, high in (
        (lambda x, y, axis: x.mean(axis) - y.mean(axis), ours.low, ours.high),
        (lambda x, y, axis: x.mean(axis) / y.mean(axis), ours.ratio_low, ours.ratio_high),
    ):
        theirs = stats.bootstrap(
            (a, b), statistic, paired=True, n_resamples=20000, method="percentile", rng=2
        ).confidence_interval
        width = theirs.high - theirs.low
        np.testing.assert_allclose([low, high], theirs, atol=0.03 * width)


def clips(rng, num_clips, frames, difference):
    """Errors of two methods, whose difference varies from clip to clip more than within one; and the clips' numbers."""
    hard = rng.gamma(4, 10, (num_clips, 1)) + rng.gamma(2, 5, (num_clips, frames)) + 40
    own = [rng.normal(0, 3, (num_clips, 1)) + rng.normal(0, 2, (num_clips, frames)) for _ in range(2)]
    return ((hard + own[0] + difference).ravel(), (hard + own[1]).ravel(), np.repeat(np.arange(num_clips), frames))


def coverage(num_clips, frames, use_groups, repetitions=300):
    held = 0
    for seed in range(repetitions):
        a, b, groups = clips(np.random.default_rng(seed), num_clips, frames, -2.0)
        got = paired_bootstrap(seed, a, b, groups=groups if use_groups else None, num=300)
        held += got.low <= -2.0 <= got.high
    return held / repetitions


def test_the_interval_holds_the_true_difference_in_about_95_percent():
    """300 repetitions: the share's own deviation is 1.3 %."""
    assert 0.905 <= coverage(60, 1, use_groups=False) <= 0.985
    assert 0.905 <= coverage(40, 8, use_groups=True) <= 0.985
    assert coverage(40, 8, use_groups=False) < 0.75, "frames taken as independent pretend to know too much"


def test_it_is_a_function_of_the_seed_and_changes_sign_with_the_order():
    a, b, groups = clips(np.random.default_rng(0), 12, 5, 1.0)
    first = paired_bootstrap(3, a, b, groups=groups, num=500)
    assert first == paired_bootstrap(3, a, b, groups=groups, num=500)
    assert first.low != paired_bootstrap(4, a, b, groups=groups, num=500).low
    swapped = paired_bootstrap(3, b, a, groups=groups, num=500)
    assert (swapped.mean, swapped.low, swapped.high) == pytest.approx((-first.mean, -first.high, -first.low))
    assert swapped.ratio_low == pytest.approx(1 / first.ratio_high)
