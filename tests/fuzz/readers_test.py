"""Damaged files of every format: the documented error or a right result. More by JAXPOSE_FUZZ_CASES and _SEED."""

import pytest
from fuzz import harness

_SHARE = 0.8  # of all cases; the commands have the rest
_NIGHTLY = 40  # times as many


def _run(cases: range) -> None:
    found = harness.faults("fuzz.readers", cases, harness.seed())
    assert not found, "\n\n".join(fault.said for fault in found)


def test_damaged_files_are_read_right_or_refused():
    _run(range(harness.count(_SHARE)))


@pytest.mark.slow
def test_many_damaged_files_are_read_right_or_refused():
    few = harness.count(_SHARE)
    _run(range(few, _NIGHTLY * few))
