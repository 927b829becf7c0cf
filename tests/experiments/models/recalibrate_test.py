"""When a recalibration is kept: where people that it was not fitted on gained by it."""

import pytest

from experiments.models.recalibrate import helps


def lines(drawn, after):
    """The table of one condition: as drawn, on the other half, and in-sample, where a fit always looks good."""
    halves = [("-", "b", drawn), ("a", "b", after), ("-", "a", drawn), ("b", "a", after)]
    rows = [("-", "all", 1.0), *halves, ("all", "all", 0.0)]
    return [{"fitted_on": fitted, "scored_on": scored, "ece": ece} for fitted, scored, ece in rows]


@pytest.mark.parametrize(("drawn", "after", "kept"), [(0.06, 0.05, True), (0.05, 0.06, False)])
def test_other_people_decide(drawn, after, kept, capsys):
    assert helps(lines(drawn, after), spread=True) is kept
    assert f"{drawn:.3f} as drawn, {after:.3f} recalibrated" in capsys.readouterr().out


@pytest.mark.parametrize(("drawn", "after", "kept"), [(0.8, 0.92, True), (0.88, 0.95, False)])
def test_of_a_radius_alone_its_share_decides(drawn, after, kept):
    """However far the samples' own calibration is off, which it does not change."""
    rows = [{**line, "ece": 1.0, "radius_coverage_90": line["ece"]} for line in lines(drawn, after)]
    assert helps(rows, spread=False) is kept
