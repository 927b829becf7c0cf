"""Options of a command: what flags make of a dataclass, and how illegal ones are named."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import called
from shared import refuses

from experiments import options
from experiments.options import option, parse, run, usage


@dataclass(frozen=True)
class Options:
    """All kinds of fields."""

    model: str = option(None, "A file.", required=True)
    stride: int = option(3, "Every n-th.", low=1)
    noise: float | None = option(None, "Metres.", low=0)
    flip: bool = option(False, "Mirror.")
    how: str = option("mean", "Aggregate.", legal=("mean", "median"))
    calls: tuple[int, ...] = option((1, 2), "Network calls.", low=1, high=9)
    row: tuple[str, ...] = option((), "Names.", split=False)
    kinds: tuple[str, ...] = option(("a",), "Kinds.", legal=("a", "b"))


def test_defaults_and_types():
    assert parse(Options, ["--model=m"]) == Options("m")
    given = ["--model=m", "--stride=4", "--noise=0.5", "--flip", "--how=median", "--calls=3,4", "--calls=5"]
    found = parse(Options, [*given, "--kinds=b,a", "--row=x, y", "--row=z"])
    assert found == Options("m", 4, 0.5, True, "median", (3, 4, 5), ("x, y", "z"), ("b", "a"))
    assert parse(Options, ["--model=m", "--kinds="]).kinds == ()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--stride=0", "--stride=0"),
        ("--stride=few", "--stride"),
        ("--noise=-1", "--noise"),
        ("--how=mode", "--how=mode"),
        ("--calls=1,10", r"--calls: got \[10\], must be 1 to 9"),
        ("--calls=x", r"--calls: got \['x'\], must be numbers of type int"),
        ("--kinds=a,c", r"--kinds: got \['c'\], must be one of \['a', 'b'\]"),
        ("--nosuch=1", "nosuch"),
        ("word", "got 'word', which is no flag"),
        ("--stride=1180591620717411303424", "--stride: got a number of 71 bits, must be -2,147,483,647 to 2,147,"),
        ("--noise=nan", "--noise: got nan"),
        ("--noise=inf", "--noise: got inf"),
    ],
)
def test_illegal_flags_are_named(flag, message):
    refuses(message, parse, Options, ["--model=m", flag])


def test_what_must_be_given_is_asked_for():
    refuses("--model: needed, got none", parse, Options, [])


def test_a_command_leaves_with_its_status_or_with_2(capsys):
    def command(argv):
        run("prog", lambda options: options.stride, Options, "What it does.", argv)

    assert called(capsys, command, "--model=m", "--stride=1")[0] == 1
    assert called(capsys, command, "--model=m", "--stride=0") == (
        2,
        "prog: flag --stride=0: 0 is not a positive integer\n",
    )
    code, text = called(capsys, command, "--help")
    assert code == 0
    assert text.startswith("What it does.\n")
    assert all(f"--{name}" in text for name in ("model", "stride", "calls"))
    assert "(1, 2 by default)" in usage(Options, "")


@pytest.mark.parametrize("name", ["prior21:original", "experiments/configs/prior21.py:original"])
def test_a_config_is_known_by_its_model_and_by_its_old_path(name):
    file = str(Path(options.__file__).parent / "models/prior21/config.py")
    assert options.with_config_file(["", f"--config={name}", "--config.seed=1"])[1:] == [
        f"--config={file}:original",
        "--config.seed=1",
    ]
    assert options.with_config_file(["--config", name])[1] == f"{file}:original"
    assert options.config_file("mine/new.py") == "mine/new.py"
    assert options.config_file("finetune:pose17").endswith("models/finetune.py:pose17")
