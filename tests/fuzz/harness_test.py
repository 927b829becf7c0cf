"""The harness itself: what breaks the law in each of the ways is found, told with its number, and the rest goes on."""

import pytest
from fuzz import harness

_MISDEEDS = """
import os, sys, time
from pathlib import Path
from fuzz.harness import broken

def misdeed(case, file):
    match case:
        case 1: raise KeyError("x")
        case 2: raise ValueError("no file is named")
        case 3: raise ValueError(f"{file}: " + "long " * 200)
        case 4: raise ValueError(f"{file}: two\\nlines")
        case 5: os.kill(os.getpid(), 11)
        case 6:
            while True: pass
        case 7: bytearray(1300 << 20)
        case 8:
            try: bytearray(1 << 40)
            except MemoryError as error: raise ValueError(f"{file}: too large") from error
        case 9: raise ValueError(f"{file}: right")

def run_case(seed, case, folder):
    assert seed == 3 and not list(folder.iterdir())
    file = folder / "file"
    file.write_text("")
    return broken(lambda: misdeed(case, file), file)
"""


def test_each_way_of_breaking_the_law_is_a_fault_of_its_case(tmp_path, monkeypatch):
    (tmp_path / "misdeeds.py").write_text(_MISDEEDS)
    monkeypatch.syspath_prepend(tmp_path)
    found = harness.faults("misdeeds", range(6), 3, most=20)
    with monkeypatch.context() as patch:  # of the one case that runs for ever
        patch.setattr(harness, "MOST_LOOPS", 60)
        found += harness.faults("misdeeds", range(6, 7), 3)
    found += harness.faults("misdeeds", range(7, 11), 3)
    assert [fault.case for fault in found] == [1, 2, 3, 4, 5, 6, 7, 8]
    words = "KeyError,names none,characters,one printable line,ended the process,60 loops,MB of memory,more memory"
    for fault, word in zip(found, words.split(","), strict=True):
        assert word in fault.said
        assert f"misdeeds --seed 3 --case {fault.case}" in fault.said


def test_a_fuzzer_that_does_not_start_is_no_success(tmp_path):
    with pytest.raises(RuntimeError, match="did not start"):
        harness.faults("there_is_no_such_fuzzer", range(3), 0)
