"""When a recalibration is kept: where people that it was not fitted on gained by it."""

import pytest

from experiments.models.recalibrate import helps


def lines(drawn, after):
    """The table of one condition: as drawn, on the other half, and in-sample, where a fit always looks good."""
    halves = [("-", "b", drawn), ("a", "b", after), ("-", "a", drawn), ("b", "a", after)]
    rows = [("-", "all", 0.0), *halves, ("all", "all", 0.9)]
    return [{"fitted_on": fitted, "scored_on": scored, "radius_coverage_90": share} for fitted, scored, share in rows]


@pytest.mark.parametrize(("drawn", "after", "kept"), [(0.8, 0.92, True), (0.88, 0.95, False)])
def test_other_people_decide(drawn, after, kept, capsys):
    assert helps(lines(drawn, after)) is kept
    assert f"{abs(drawn - 0.9):.3f} as drawn, {abs(after - 0.9):.3f} recalibrated" in capsys.readouterr().out
