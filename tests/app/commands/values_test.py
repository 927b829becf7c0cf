"""What flags refuse before any work: numbers that no array holds, and places where no result can be."""

import os
import typing
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from command_line import arguments_of, called, needed

from jaxpose.app import cli
from jaxpose.app.commands.options import COMMANDS


def numbers(command):
    kinds = {int: int, float: float, int | None: int, float | None: float}
    found = [(argument.names[0], kinds.get(argument.hint)) for argument in arguments_of(command)]
    return [(flag, kind) for flag, kind in found if kind]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_number_of_any_command_is_without_bounds(command, capsys, tmp_path):
    """The flags are those that the options have: a new one is tried without an edit here."""
    for flag, kind in numbers(command):
        extreme = ("nan", "1e30", "-inf") if kind is float else (f"-{2**70}", hex(2**20000))
        for value in extreme:
            given = needed(command, tmp_path) | {flag: value}
            code, said = called(capsys, cli.main, *command.split(), *(f"{name}={x}" for name, x in given.items()))
            assert code == 2
            assert f"{flag}: needed" in said, (command, flag, value, said)
            assert said.count("\n") == 1
            assert len(said) < 300


def test_the_numbers_of_all_commands_are_found():
    """So that the test above does not pass on nothing: as many as the dataclasses have."""

    def count(options):
        hints = typing.get_type_hints(options)
        kinds = (int, float, int | None, float | None)
        own = [hints[entry.name] for entry in fields(options) if entry.name != "_"]
        return sum(count(hint) if is_dataclass(hint) else hint in kinds for hint in own)

    for name, (options, _) in COMMANDS.items():
        assert len(numbers(name)) == count(options), name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--hypotheses", "3e9"], "--hypotheses: needed a whole number, got '3e9'"),
        (["--hypotheses", "1.5"], "--hypotheses: needed a whole number, got '1.5'"),
        (["--seed", "1.0"], "--seed: needed a whole number, got '1.0'"),
        (["--steps", "2.5"], "--steps: needed a whole number, got '2.5'"),
        (["--calibration-unit", "mm"], "--calibration-unit: means nothing without --calibration"),
        (["--image-size", "0,100"], "--image-size: needed WIDTH,HEIGHT in whole pixels, 1 to 1,000,000"),
        (["--image-size", "1e999,5"], "--image-size: needed WIDTH,HEIGHT"),
        (["--camera", "1e30,1e30,1,1"], "--camera: needed fx,fy,cx,cy in pixels, at most 1e7"),
        (["--camera", "nan,9,1,1"], "--camera: needed fx,fy,cx,cy"),
        (["--gravity", "0,1e-300,0"], "--gravity: needed a length"),
    ],
)
def test_numbers_in_lists_are_checked_too(arguments, said, capsys, tmp_path):
    found = called(capsys, cli.main, "lift", "x.json", "--out", str(tmp_path), *arguments)
    assert found[0] == 2
    assert said in found[1]


def test_a_loop_of_links_is_no_file(capsys, tmp_path):
    (tmp_path / "a.npz").symlink_to(tmp_path / "a.npz")
    code, line = called(capsys, cli.main, "lift", str(tmp_path / "a.npz"), "--out", str(tmp_path / "out"))
    assert code == 2
    assert "a.npz: " in line


def places(folder):
    (folder / "file").write_text("")
    (folder / "nowhere").symlink_to(folder / "gone")
    os.mkfifo(folder / "pipe")
    return {
        "a file": (folder / "file", f"{folder}/file is a file"),
        "below a file": (folder / "file" / "a" / "b", f"{folder}/file is a file"),
        "a link to nothing": (folder / "nowhere" / "a", f"{folder}/nowhere is a link to nothing"),
        "a long name": (folder / ("x" * 300), "a name of 300 bytes"),
        "no rights": (folder / "locked" / "a", f"nothing can be written to {folder}/locked: Permission denied"),
    }


@pytest.mark.parametrize("place", ["a file", "below a file", "a link to nothing", "a long name", "no rights"])
@pytest.mark.parametrize("command", ["lift", "prepare motion", "prepare fragments", "generate"])
def test_a_place_where_nothing_can_be_written_is_told_before_the_work(place, command, capsys, tmp_path, monkeypatch):
    out, said = places(tmp_path)[place]
    (tmp_path / "locked").mkdir()
    _lock(monkeypatch, tmp_path / "locked")
    before = sorted(tmp_path.rglob("*"))
    given = {"generate": ["--num", "1"], "prepare fragments": ["--files", "x.npz"]}.get(command, ["x.npz"])
    code, found = called(capsys, cli.main, *command.split(), *given, "--out", str(out))
    assert code == 2
    assert f"jaxpose {command}: --out: {said}" in found
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux")
def test_a_system_folder_is_no_place_for_results(capsys, tmp_path):
    for out in ("/proc/a", "/sys/a"):
        code, said = called(capsys, cli.main, "generate", "--num", "1", "--out", out)
        assert (code, "--out: nothing can be written to" in said) == (2, True)


@pytest.mark.parametrize("place", ["pipe", "folder", "no/file", "locked/file", "/dev/null"])
def test_a_file_that_cannot_be_made_is_told_before_the_work(place, capsys, tmp_path, monkeypatch):
    places(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "locked").mkdir()
    _lock(monkeypatch, tmp_path / "locked")
    code, said = called(capsys, cli.main, "export", "--task", "lift", "--out", str(tmp_path / place))
    assert code == 2
    assert "jaxpose export: --out: n" in said
    assert Path("/dev/null").is_char_device()


def _lock(monkeypatch, folder):
    """No rights in a folder, for root too, who runs some tests."""
    import tempfile

    real = tempfile.TemporaryFile

    def refused(*given, dir, **how):
        if Path(dir) == folder:
            raise PermissionError(13, "Permission denied")
        return real(*given, dir=dir, **how)

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)


@pytest.mark.parametrize("name", ["x" * 200, "a\nb", "a\udcff", "a/b", ".."])
def test_names_that_no_file_should_have(name, capsys, tmp_path):
    code, said = called(capsys, cli.main, "generate", "--num", "1", "--out", str(tmp_path), "--name", name)
    assert code == 2
    assert "--name: got" in said
    assert said.count("\n") == 1


def test_a_folder_in_the_place_of_a_result_is_told_first(capsys, tmp_path):
    (tmp_path / "generated.npz").mkdir()
    code, said = called(capsys, cli.main, "generate", "--num", "1", "--out", str(tmp_path))
    assert code == 2
    assert "generated.npz is no file, and would be in the way" in said
