"""A fuzzer of the commands: generated command lines over all flags that the options have, and the law that holds.

    run_case(seed, case, folder) -> None, or what breaks the law, in words

The law: a command ends with code 0, and every file that it wrote is whole, with finite numbers where they are promised;
or with 1 or 2, one bounded line on stderr that begins with `jaxpose`, and no file; it compiles at most MOST_PROGRAMS.
Flags and their types are read from the parser, so that a new one is tried without an edit here. Inputs are small files,
some with numbers that no camera sees. Fits and downloads are replaced (`fuzz/command_stubs.py`), as their programs take
long to compile; the rest is what the user runs.
"""

import contextlib
import io
import json
import os
import random
import signal
import sys
import traceback
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from command_line import arguments_of
from compilations import counted
from fuzz.command_inputs import INPUTS, SUITABLE, write_input
from fuzz.command_stubs import stubs
from fuzz.harness import loop_seconds

from jaxpose.app import cli
from jaxpose.app.commands.options import COMMANDS, DATA
from jaxpose.app.commands.report import _MAY_LACK

MOST_PROGRAMS = 500
_MOST_LOOPS = 1000  # of `loop_seconds`, after which a case is taken to run for ever
_MOST_CHARACTERS = 1001
_INTS = ("0", "-1", "-0", "1.5", "1e3", "3e9", str(2**31), str(2**63), str(2**70), "9" * 400, "0x10", "0b1", "nan", "")
_FLOATS = ("0", "-1", "1e-300", "1e25", "1e30", "1e309", "-inf", "nan", "0.5.5", "1_0", "")
_TEXTS = (
    *("", " ", "x", "é☃", "-", "--", "../x", "a/b", "x" * 300, "a\nb", "\udcff", "none", "0", "random:99", "%s{}"),
    *(",,",),
)
_NUMBERS = ("0,0", "0,0,0", "1,2,3,4", "-1,-1", "1e9,1e9", "nan,1,1", "1,2", "640,480", "900,900,320,240", "0,1,0", ",")
# Words that flags of text take, by flag; and that some flag takes.
_LEGAL = {
    "--task": ("lift", "complete", "denoise", "generate", "generate_rotations"),
    "--format": ("jax", "onnx", "coco17", "coco", "h36m17"),
    "--up": ("y", "z", "-y"),
    "--unit": ("m", "cm", "mm"),
    "--hide": ("left_arm", "random:2", "left_leg,trunk", "left_knee", "legs", "hands"),
    "--method": ("dposer", "replace", "dps", "mcg"),
    "--sampler": ("posterior", "probability_flow", "mean_flow"),
    "--split": ("train", "test", "valid"),
    "--weights": ("raw", "ema"),
    "--skeleton": ("h36m17", "coco17", "smpl22", "body25"),
}
_WORDS = (*(word for words in _LEGAL.values() for word in words), "blazepose-lite", "rtmpose", "S1,S2", "0,1")
# Flags that keep a case short, where it is not told otherwise; idle is waited for, so it stays as it is.
_QUICK = {"--hypotheses": "2", "--steps": "2", "--num": "3", "--idle": "0.02", "--samples": "5", "--host": "127.0.0.1"}
_PICKLED = ("positions_2d", "metadata")  # trees of DiffPose's files of mixtures
_DRAWN = ("lift", "generate", "fuse")  # pictures of bodies take long
_ALWAYS = ("--idle", "--host", "--port")


class Late(BaseException):
    """A case that does not end."""


def run_case(seed: int, case: int, folder: Path) -> str | None:
    """What a command line of this number does wrong."""
    rng = random.Random(f"{seed} {case}")
    before = {path: path.stat().st_mtime_ns for path in _inputs(rng, folder).values()}
    given = command_line(rng, folder)
    code, said, compiled = _called(given, folder)
    wrong = said if code is None else broken(given, code, said, folder, before)
    if wrong is None and compiled > MOST_PROGRAMS:
        wrong = f"it compiled {compiled} programs"
    return None if wrong is None else f"jaxpose {' '.join(map(repr, given))}\n{wrong}"


def _inputs(rng: random.Random, folder: Path) -> dict[str, Path]:
    files = {kind: write_input(kind, folder, rng) for kind in INPUTS}
    (folder / "folder").mkdir()
    (folder / "file").write_text("text")
    return files


def command_line(rng: random.Random, folder: Path) -> list[str]:
    """The arguments of a command: what it needs, mostly, and some of what it takes; in some cases much of it wrong."""
    command, wild = rng.choice([*COMMANDS]), rng.random() < 0.3
    draw = _Values(rng, command, wild, folder, rng.choice(SUITABLE.get(command, [*INPUTS])))
    found, arguments = command.split(), arguments_of(command)
    for argument in arguments:
        name = argument.names[0]
        asked = rng.random() < ((0.97 if wild else 1) if argument.required else (5 if wild else 1.2) / len(arguments))
        if name not in _ALWAYS and (asked or name in _QUICK or name == "--model"):
            for _ in range(2 if wild and rng.random() < 0.02 else 1):
                found += draw.flag(argument, asked and not argument.required)
    flags = {argument.names[0] for argument in arguments}
    found += ["--idle=0.02"] * ("--idle" in flags)
    if "--camera" in flags and command == "live" and not wild:
        found.append("--camera=900,900,320,240")
    if "--no-pictures" in flags - {*found}:
        found += ["--no-pictures"] * (command not in _DRAWN or rng.random() < 0.9)
    if wild and rng.random() < 0.1:
        found.append(rng.choice(("--unknown", "stray", "--out", "-", "--help", "--no-track", "--empty-camera", "\x00")))
    if wild and rng.random() < 0.03:
        return rng.sample(found, len(found))
    return found


class _Values(NamedTuple):
    """Draws values of flags; source: the input that a tame command line names."""

    rng: random.Random
    command: str
    wild: bool
    folder: Path
    source: str

    def flag(self, argument: Any, free: bool) -> list[str]:
        """A flag with a value, as it is typed in one of the ways; free: not one that keeps the case short."""
        names = [name for name in argument.names if not name.startswith(("--no-no-", "--empty-"))]
        if argument.hint in (bool, bool | None):
            return [argument.names[0]]
        value = self.value(argument, free)
        name = self.rng.choice(names)
        return [f"{name}={value}"] if self.rng.random() < 0.8 else [name, value]

    def value(self, argument: Any, free: bool) -> str:
        name, hint, rng = argument.names[0], argument.hint, self.rng
        wrong = self.wild or rng.random() < 0.1
        if name == "--out":
            return self.out(wrong)
        if name in _QUICK and not (free and wrong):
            return _QUICK[name]
        if name == "--model" and rng.random() < 0.97:
            return self.model()
        of = [a for a in (hint, *typing.get_args(hint)) if a is not type(None)]
        if any(typing.get_origin(a) is Literal for a in of):
            legal = [x for a in of if typing.get_origin(a) is Literal for x in typing.get_args(a)]
            return rng.choice(_TEXTS) if wrong and rng.random() < 0.5 else str(rng.choice(legal))
        if Path in of:
            return self.path(wrong, argument.required or self.command == "prepare gmm")
        if int in of:
            return rng.choice(_INTS) if wrong else str(rng.randint(1, 5))
        if float in of:
            return rng.choice(_FLOATS) if wrong else rng.choice(("0.05", "0.4", "1", "1.7", "20", "50"))
        if any("float" in str(a) or "int" in str(a) for a in of):
            return rng.choice(_NUMBERS)
        return rng.choice(_TEXTS if wrong and rng.random() < 0.5 else _LEGAL.get(name, _WORDS))

    def out(self, wrong: bool) -> str:
        kind = self.command.split()[0]
        file = {"export": "a.jaxexport", "convert": "a.safetensors", "prepare": "new", "calibrate": "a.json"}.get(
            kind, "out/deep"
        )
        file = "a.npz" if self.command in ("prepare gmm", "prepare body") else file
        if not wrong or self.rng.random() < 0.5:
            return str(self.folder / file)
        return self.rng.choice(("", ".", "file", "file/a", "folder", "/proc/a", "y" * 300, "no/a.npz", "/dev/full"))

    def model(self) -> str:
        rotations = self.command in ("ik", "fit", "interpolate") or "rotations" in self.source or "bvh" in self.source
        name = "tinyrot" if rotations else "tinymotion" if self.command == "live" else "tiny"
        if self.rng.random() < 0.15:
            name = self.rng.choice(("tiny", "tinyrot", "tinymotion"))
        return str(self.folder / name) + ".safetensors"

    def path(self, wrong: bool, source: bool) -> str:
        if wrong and self.rng.random() < 0.2:
            return self.rng.choice((str(self.folder), "folder", "file", "none.npz", "", "x" * 300, "7"))
        if source and not wrong:
            return self.source if self.source == "-" else str(self.folder / self.source)
        return str(self.folder / self.rng.choice([*INPUTS]))


def _called(given: list[str], folder: Path) -> tuple[int | None, str, int]:
    """The exit code, stderr and compiled programs of a command line; None and a traceback where it did not exit."""
    out, error = io.StringIO(), io.StringIO()
    streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(error)
    with counted() as compiled, stubs(folder), _at(folder), _ending(), streams[0], streams[1]:
        sys.stdin = io.StringIO('{"frame": 0, "people": []}\n')
        try:
            cli.main(given)
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        except (Exception, Late):
            return None, traceback.format_exc(), 0
        finally:
            sys.stdin = sys.__stdin__
    return code, error.getvalue(), compiled.count


@contextlib.contextmanager
def _at(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _ending() -> Iterator[None]:
    """Ends what runs for ever, by the processor's time in units of a loop timed in this process."""
    most = _MOST_LOOPS * loop_seconds()

    def late(*_: Any) -> None:
        raise Late(f"it takes more than {most:.0f} s of the processor, {_MOST_LOOPS} times the loop of calibration")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, most)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def broken(given: list[str], code: int, said: str, folder: Path, before: dict[Path, int]) -> str | None:
    """What breaks the law."""
    if code not in (0, 1, 2):
        return f"it ended with code {code}: {said}"
    command = given[0] if given else ""
    told = said.splitlines()
    if code and not (given[:2] == ["prepare", "mocap"] and code == 1 and not told):
        told = [line for line in told if not (command in DATA and line.startswith("done"))]
        if len(told) != 1 or not said.startswith("jaxpose") or len(told[0]) > _MOST_CHARACTERS:
            return f"code {code}, and not one line: {said[:3000]}"
        if not told[0].isprintable():
            return f"what cannot be printed: {told[0]!r}"
    elif not code and told and command not in DATA:
        return f"code 0, and on stderr: {said[:3000]}"
    changed = [path for path, when in before.items() if path.stat().st_mtime_ns != when]
    if changed:
        return f"it wrote into its input {changed[0]}"
    written = [p for p in folder.rglob("*") if p.is_file() and p not in before and p != folder / "file"]
    if left := [path for path in folder.rglob("*") if path.suffix == ".tmp"]:
        return f"a draft is left: {left[0]}"
    # work that a later call goes on from, and the cache
    written = [p for p in written if not any(part.endswith(".parts") or part == "cache" for part in p.parts)]
    if code == 2 and written:
        return f"code 2, and files were written: {', '.join(str(p.relative_to(folder)) for p in written)}: {said}"
    return next((wrong for path in written if (wrong := _unsound(path))), None)


def _unsound(path: Path) -> str | None:
    """What is wrong with a file that a command wrote."""
    if not path.stat().st_size:
        return f"{path} is empty"
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"), parse_constant=float.fromhex)
        elif path.suffix == ".npz":
            with np.load(path) as z:
                if z.zip.testzip() is not None:
                    return f"{path} is damaged"
                for name in (n for n in z.files if n not in _PICKLED):
                    value = z[name]
                    if value.dtype.kind == "f" and name not in _MAY_LACK and not np.isfinite(value).all():
                        return f"{path}: {name} is not finite"
    except Exception:
        return f"{path} is not whole: {traceback.format_exc()}"
    return None
