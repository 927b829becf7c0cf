"""Commands are fuzzed: JAXPOSE_FUZZ_CASES cases (25 in `make test`, 5000 nightly) from JAXPOSE_FUZZ_SEED on."""

import os
from pathlib import Path

import pytest
from fuzz.commands import run_case

SEED = int(os.environ.get("JAXPOSE_FUZZ_SEED", "0"))
_MOST_BYTES = 1 << 30
_FEW = 25


def _faults(folder, cases, *, measured):
    """Cases that break the law; measured: taking over 1 GiB counts too."""
    faults = []
    for case in cases:
        place = folder / str(case)
        place.mkdir()
        before = _resident("VmRSS") if measured else 0
        if measured:
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew
        wrong = run_case(SEED, case, place)
        if measured and wrong is None and (taken := _resident("VmHWM") - before) > _MOST_BYTES:
            wrong = f"it took {taken / 2**20:.0f} MB"
        faults += [f"case {case} of seed {SEED}: {wrong}"] if wrong else []
    return faults


def _resident(field):
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def _count(usual):
    return int(os.environ.get("JAXPOSE_FUZZ_CASES", usual))


def test_some_command_lines_obey_the_law(tmp_path):
    faults = _faults(tmp_path, range(min(_FEW, _count(_FEW))), measured=False)
    assert not faults, "\n\n".join(faults[:5])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_many_command_lines_obey_the_law(tmp_path):
    faults = _faults(tmp_path, range(_FEW, _count(5000)), measured=True)
    assert not faults, "\n\n".join(faults[:5])
