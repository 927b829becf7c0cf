"""What an evaluation prints and writes: tables, privileges and what was tuned, the settings of the run."""

import json
import math

import pytest
from command_line import called

from experiments.evaluate import __main__ as program
from experiments.evaluate import harness
from experiments.evaluate.__main__ import FILES, main
from experiments.evaluate.harness import Options, Row, Table, report
from jaxpose.training.checkpoint import git_commit


def items():
    columns = {"mean": "mean_mm:.1f", "share": "share:.0%", "double": lambda v: f"{2 * v['mean_mm']:.0f}"}
    yield Table("2 poses", "intrinsics", "the step on these poses", columns)
    yield Row("a", {"mean_mm": 12.34, "share": 0.5})
    yield Row("b", {"mean_mm": 20.0, "share": math.nan}, "exact 2D")
    yield Table("3 poses", "none", "nothing")
    yield {"network_calls": 9}
    yield Row("c", {"ratio": [0.98765, 0.9, 1.1], "error_mm": 3.14159, "task": "text"})


def test_tables_are_printed_and_rows_written_with_what_they_were_told(tmp_path, capsys):
    path = report("frames", items(), Options(out=str(tmp_path), seed=7), None)
    assert path == tmp_path / "frames.json"
    printed = capsys.readouterr().out.splitlines()
    assert printed[1:7] == [
        "2 poses",
        "privileges: intrinsics",
        "tuned: the step on these poses",
        "row | mean | share | double",
        "a | 12.3 | 50% | 25",
        "b | 20.0 |  | 40  (exact 2D)",
    ]
    assert "c: ratio 0.9877 (0.9 to 1.1), error_mm 3.142" in printed
    record = json.loads(path.read_text())
    assert [row["name"] for row in record["rows"]] == ["a", "b", "c"]
    assert [row["privileges"] for row in record["rows"]] == ["intrinsics", "exact 2D; intrinsics", "none"]
    assert [row["tuned"] for row in record["rows"]] == ["the step on these poses"] * 2 + ["nothing"]
    assert (record["seed"], record["network_calls"], record["options"]["seed"]) == (7, 9, 7)
    assert record["commit"] == git_commit()
    assert record["rows"][1]["share"] is None, "JSON has no NaN"
    assert "cpu" in record["device"].lower()


def test_only_the_rows_asked_for_and_unknown_ones_are_refused(tmp_path, capsys):
    path = report("frames", items(), Options(out=str(tmp_path), row=("b",)), None)
    assert [row["name"] for row in json.loads(path.read_text())["rows"]] == ["b"]
    assert "a | 12.3" not in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"--row: got \['d'\], must be one of \['a', 'b', 'c'\]"):
        report("frames", items(), Options(out=str(tmp_path / "none"), row=("a", "d")), None)
    assert not (tmp_path / "none").exists()
    asked = Options(out=str(tmp_path), row=("base", "x"))
    path = report(
        "frames", (Row(name, {}) for name in ("base", "w", "x") if name == "base" or asked.wants(name)), asked, None
    )
    assert [row["name"] for row in json.loads(path.read_text())["rows"]] == ["base", "x"]


def test_all_runs_every_evaluator_that_needs_no_files_of_the_user(capsys, monkeypatch):
    ran = []

    def evaluate(what, argv, *, several):
        ran.append((what, argv, several))
        raise SystemExit(2 if what == "score" else 0)

    monkeypatch.setattr(program, "evaluate", evaluate)
    code, text = called(capsys, main, "all", "--stride=9")
    assert code == 2
    assert [what for what, *_ in ran] == [what for what in FILES if what not in ("h36m", "gfpose")]
    assert ran[0][1:] == (["--stride=9"], False)
    assert "== h36m: left out, needs --model, --data" in text


def test_every_evaluator_has_a_file_with_its_function(capsys):
    """In processes of their own imports would take long: that each is there is read from the files."""
    folder = harness.Path(harness.__file__).parent
    for what, file in FILES.items():
        assert f"\ndef {what}(" in (folder / f"{file}.py").read_text()
        assert f"    {what} " in called(capsys, main)[1] or f" {what} " in called(capsys, main)[1]


def test_an_unknown_evaluator_is_named(capsys):
    code, text = called(capsys, main, "nosuch")
    assert code == 2
    assert "got 'nosuch', must be one of all, frames, walker" in text


@pytest.mark.parametrize("what", ["frames", "intervals"])
def test_help_lists_the_flags(what, capsys):
    code, text = called(capsys, main, what, "--help")
    assert code == 0
    assert f"python -m experiments.evaluate {what}" in text
    assert "--hypotheses" in text
