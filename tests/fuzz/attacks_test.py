"""Attacks by hand: none ends the process, takes long, takes memory or is read as if it were right."""

from fuzz import harness
from fuzz.attacks import ATTACKS


def test_no_attack_does_harm():
    found = harness.faults("fuzz.attacks", range(len(ATTACKS)), 0, most=3)
    assert not found, "\n\n".join(f"{ATTACKS[fault.case].name}: {fault.said}" for fault in found)
