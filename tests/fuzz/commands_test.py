"""Commands are fuzzed: JAXPOSE_FUZZ_CASES cases (25 in `make test`, 5000 nightly) from JAXPOSE_FUZZ_SEED on."""

import os
from pathlib import Path

import pytest
from fuzz import harness
from fuzz.commands import run_case

_FEW = 25


def _count(usual: int) -> int:
    return int(os.environ.get("JAXPOSE_FUZZ_CASES", usual))


def test_some_command_lines_obey_the_law(tmp_path):
    faults = []
    for case in range(min(_FEW, _count(_FEW))):
        (tmp_path / str(case)).mkdir()
        if wrong := run_case(harness.seed(), case, tmp_path / str(case)):
            faults.append(f"case {case} of seed {harness.seed()}: {wrong}")
    assert not faults, "\n\n".join(faults[:5])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_many_command_lines_obey_the_law():
    """In workers, whose memory is bounded."""
    found = harness.faults("fuzz.commands", range(_FEW, _count(5000)), harness.seed())
    assert not found, "\n\n".join(fault.said for fault in found)
