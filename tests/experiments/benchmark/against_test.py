"""`experiments.benchmark --against`: its arithmetic, its cases, and what it says without torch or files."""

import sys

import numpy as np
import pytest
from command_line import called

import experiments.against
from experiments.benchmark import __main__ as command
from experiments.benchmark import timing
from experiments.benchmark.against import in_turn, ratio_of
from experiments.benchmark.timing import Setup, Sizes
from experiments.options import run


def test_a_ratio_is_the_median_over_rounds_and_its_interval_is_wide_where_rounds_differ():
    theirs, ours = np.array([2.0, 8.0, 3.0]), np.array([1.0, 2.0, 1.0])
    ratio, low, high = ratio_of(theirs, ours)
    assert (ratio, low, high) == (3.0, 2.0, 4.0)  # 7 of 27 draws of 3 have the least as their median
    assert ratio_of(4 * ours, ours) == (4.0, 4.0, 4.0)
    # of many rounds the interval is that of the median: 1.96 sqrt(pi / 2) deviations over the root of their number
    rounds = np.random.default_rng(0).normal(10, 1, 400)
    ratio, low, high = ratio_of(rounds, np.ones(400))
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(np.pi / 2 / 400), rel=0.25)


def test_sides_take_turns_and_a_part_of_a_recipe_counts_as_the_whole(monkeypatch):
    order = []

    def clocked(run, turns=1):
        return run() / turns * turns, 2 * run()

    monkeypatch.setattr(timing, "_clocked", clocked)

    def side(name, seconds):
        return lambda: order.append(name) or seconds

    found = in_turn(Setup(Sizes(repeats=3), None), side("ours", 0.5), side("theirs", 2.0), 20.0)
    assert order[-12:] == ["ours", "ours", "theirs", "theirs"] * 3
    assert (found["ours_ms"], found["original_ms"]) == (500.0, 40_000.0)
    assert [found[k] for k in ("ratio", "ratio_low", "ratio_high", "cpu_ratio")] == [80.0] * 4


def options(**given):
    return command.Options(**given)


def test_which_cases_run():
    both = ["equal_calls", "equal_quality"]
    assert command.chosen(options(against="random")) == both
    assert command.chosen(options(against="random", case=("equal_calls",))) == both[:1]
    assert command.chosen(options(against="random", case=("stream",))) == ["stream", *both]
    assert not set(both) & set(command.chosen(options()))
    assert not set(both) & set(command.chosen(options(case=("all",))))
    assert "fitting" in command.chosen(options(case=("all",)))
    assert "fitting" not in command.chosen(options())


def test_errors_are_one_line_and_leave_with_2(tmp_path, monkeypatch, capsys):
    main = lambda argv: run("benchmark", command.main, command.Options, "", argv)  # noqa: E731
    code, said = called(capsys, main, "--case=equal_calls")
    assert (code, "need --against=FOLDER" in said) == (2, True)
    if "torch" in sys.modules or _has_torch():
        code, said = called(capsys, main, f"--against={tmp_path}", "--case=equal_calls")
        assert (code, "no file of .pth" in said) == (2, True)
    for name in [n for n in sys.modules if n.startswith("experiments.against.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)  # as where it is not installed
    monkeypatch.delattr(experiments.against, "folder", raising=False)
    code, said = called(capsys, main, f"--against={tmp_path}")
    assert (code, "torch is needed for this flag alone" in said) == (2, True)


def _has_torch():
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True
