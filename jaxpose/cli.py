"""The `jaxpose` command: a parser made from the options of the commands, and errors as lines that a user can read.

A command's module is imported when the command runs: `jaxpose --help` loads neither JAX nor numpy. Errors that a user
can mend leave with code 2 and one line that names the file or the flag.
"""

import importlib
import sys
import time
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Annotated, Any, NoReturn

from cyclopts import App, CycloptsError, MissingArgumentError, Parameter, ValidationError
from cyclopts.help import DefaultFormatter, HelpPanel

from jaxpose.commands.options import COMMANDS, DATA, GROUPS
from jaxpose.program_cache import use_compilation_cache

INTERRUPTED = 128 + 2  # as shells tell of a program that SIGINT ended


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script."""
    started, given = time.time(), sys.argv[1:] if argv is None else argv
    if len(given) == 0 or (len(given) == 1 and given[0] in GROUPS):
        legal = dict.fromkeys(name.split()[len(given)] for name in COMMANDS if name.split()[: len(given)] == given)
        _refuse(" ".join(given), f"needed a command, legal are {', '.join(legal)}; --help describes them")
    try:
        chosen = make_parser()(given)
    except CycloptsError as error:
        _refuse(" ".join(error.command_chain or ()), _message(error))
    if chosen is None:  # help or version
        return
    name, options = chosen
    use_compilation_cache()
    place, _, function = COMMANDS[name][1].partition(":")
    try:
        run = getattr(importlib.import_module(f"jaxpose.{place}"), function)
        for line in run(options) if place.startswith("commands.") else run(**vars(options)):
            print(line, flush=True)
    except (ValueError, OSError) as error:
        _refuse(name.partition(" ")[0], str(error))
    except KeyboardInterrupt:
        print(f"jaxpose {name}: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    print(f"done in {time.time() - started:.1f} s", file=sys.stderr if name in DATA else sys.stdout)


def make_parser() -> App:
    """A parser of all commands: called with arguments, it returns (command, its options), None where it gave help.

    Raises CycloptsError for arguments that are not legal.
    """
    app = App(
        name="jaxpose",
        help="Probabilistic 3D human pose.",
        version=_version,
        default_parameter=Parameter(show_default=False, negative=()),
        print_error=False,
        exit_on_error=False,
        result_action="return_value",
        help_format="plaintext",
        help_formatter=_Help(),
    )
    groups = {}
    for place, (name, (options, _)) in enumerate(COMMANDS.items()):
        group, _, kind = name.partition(" ")
        parent = app
        if kind:
            if group not in groups:
                groups[group] = App(name=group, help=GROUPS[group], version_flags=(), sort_key=place)
                app.command(groups[group])
            parent = groups[group]
        paragraphs = "\n\n".join(_one_line(part) for part in (options.__doc__ or "").split("\n\n"))
        parent.command(_choose(name, options), name=kind or group, help=paragraphs, sort_key=place)
    return app


def _version() -> str:
    from importlib.metadata import version

    return version("jaxpose")


class _Help(DefaultFormatter):
    """The library's tables, without the line breaks that the help has in the source."""

    def __call__(self, console: Any, options: Any, panel: HelpPanel) -> None:
        for entry in panel.entries:
            text = getattr(entry.description, "primary_renderable", None)
            if text is not None:
                text.plain = _one_line(text.plain)
        super().__call__(console, options, panel)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _choose(name: str, options: type) -> Callable[[Any], tuple[str, Any]]:
    """What the parser calls with a command's options."""

    def choose(given: Any) -> tuple[str, Any]:
        return name, given

    choose.__annotations__ = {"given": Annotated[options, Parameter(name="*")]}
    if all(entry.default is not MISSING for entry in fields(options)):
        choose.__defaults__ = (options(),)
    return choose


def _message(error: CycloptsError) -> str:
    """What is wrong with the arguments, in one line that begins with the flag where it is one flag."""
    argument = error.argument
    while argument is not None and argument.children:  # a group: its first option that is needed
        argument = next((child for child in argument.children if child.required), None)
    flag = None if argument is None else (argument.tokens and argument.tokens[0].keyword) or argument.name
    if isinstance(error, MissingArgumentError):
        return f"{flag}: needed, and not given"
    if isinstance(error, ValidationError) and error.exception_message:
        return f"{flag}: {error.exception_message}"
    if error.msg is not None and flag is not None:
        return f"{flag}: {error.msg}"
    return " ".join(str(error).split())


def _refuse(command: str, message: str) -> NoReturn:
    print(f"jaxpose {command}: {message}" if command else f"jaxpose: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
