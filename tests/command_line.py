"""Commands called as from a shell, in this process: what they print, the code they leave with, and their flags."""

import json
import typing
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxpose.app.commands.parser import make_parser


def called(capsys: Any, main: Callable[[Sequence[str]], Any], *argv: str) -> tuple[int, str]:
    """The exit code of main(argv), and what it printed to both streams."""
    code = 0
    try:
        main(list(argv))
    except SystemExit as left:
        code = int(left.code or 0)
    streams = capsys.readouterr()
    return code, streams.out + streams.err


def refusal(capsys: Any, main: Callable[[Sequence[str]], Any], *argv: object) -> str:
    """The one line with which main(argv) refuses, with code 2; what was printed before it comes first."""
    code, printed = called(capsys, main, *map(str, argv))
    assert (code, "Traceback" in printed) == (2, False), printed
    assert printed.splitlines()[-1].startswith("jaxpose")
    return printed


def drained(work: Generator[str, None, Any]) -> tuple[Any, list[str]]:
    """The result of a generator, and what it yielded."""
    lines = []
    while True:
        try:
            lines.append(next(work))
        except StopIteration as finished:
            return finished.value, lines


def written(path: Path, content: Any) -> Path:
    """A file of text, of arrays (.npy, .npz) or of JSON values; of None a folder."""
    if content is None:
        path.mkdir()
    elif isinstance(content, np.ndarray):
        np.save(path, content)
    elif path.suffix == ".npz":
        np.savez(path, **content)
    else:
        lines = [content] if isinstance(content, str) or path.suffix != ".jsonl" else content
        text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        path.write_text(text, encoding="utf-8")
    return path


def arguments_of(command: str) -> list[Any]:
    """The flags of a command as the parser has them: cyclopts' `Argument` with names, hint, required and so on."""
    app: Any = make_parser()
    for part in command.split():
        app = app[part]
    return [argument for argument in app.assemble_argument_collection() if not argument.children]


def needed(command: str, folder: Path) -> dict[str, str]:
    """The flags that a command needs, each with a value of its type; files are not there."""

    def value(argument: Any) -> str:
        legal = typing.get_args(argument.hint) if typing.get_origin(argument.hint) is Literal else ()
        kinds = {int: "3", float: "0.5"}
        return str(legal[0]) if legal else kinds.get(argument.hint, str(folder / f"{argument.names[0][2:]}.npz"))

    return {argument.names[0]: value(argument) for argument in arguments_of(command) if argument.required}
