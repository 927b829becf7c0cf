"""The parser of `jaxpose`, made from the options of the commands by cyclopts."""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from importlib.metadata import version
from os.path import realpath
from typing import Annotated, Any

from cyclopts import App, CycloptsError, MissingArgumentError, Parameter, ValidationError
from cyclopts.help import DefaultFormatter, HelpPanel

from jaxpose.app.commands.ending import Running
from jaxpose.app.commands.options import COMMANDS, GROUPS


def parse(given: Sequence[str], running: Running) -> tuple[str, Any] | None:
    """The command of the arguments and its options; None where help or the version was asked for, and given.

    ValueError for arguments that are not legal; `running` gets the name of the command as far as it is known.
    """
    if given[:1] == ["help"]:
        given = [*given[1:], "--help"]
    if len(given) == 0 or (len(given) == 1 and given[0] in GROUPS):
        running.name = " ".join(given)
        legal = dict.fromkeys(name.split()[len(given)] for name in COMMANDS if name.split()[: len(given)] == [*given])
        raise ValueError(f"needed a command, one of {', '.join(legal)}; --help describes them")
    try:
        chosen = make_parser()(list(given))
    except CycloptsError as error:
        running.name = " ".join(error.command_chain or ())
        raise ValueError(_message(error)) from None
    if chosen is not None:
        running.name = chosen[0]
        given = [x for value in vars(chosen[1]).values() for x in (value if isinstance(value, tuple) else (value,))]
        out = getattr(chosen[1], "out", None)
        if out and [realpath(path) for path in given if isinstance(path, type(out))].count(realpath(out)) > 1:
            raise ValueError(f"--out: {out} is an input and would be overwritten; needed another file")
    return chosen


def make_parser() -> App:
    """A parser of all commands: called with arguments, it returns (command, its options), None where it gave help.

    Raises CycloptsError for arguments that are not legal.
    """
    app = App(
        name="jaxpose",
        help="Probabilistic 3D human pose.",
        version=lambda: version("jaxpose"),
        version_flags=("--version", "-V"),
        default_parameter=Parameter(show_default=False, negative=()),
        print_error=False,
        exit_on_error=False,
        result_action="return_value",
        help_format="plaintext",
        help_formatter=_Help(),
    )
    app.register_install_completion_command(help="complete commands and options in this shell")
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
    def choose(given: Any) -> tuple[str, Any]:
        return name, given

    choose.__annotations__ = {"given": Annotated[options, Parameter(name="*")]}
    if all(entry.default is not MISSING for entry in fields(options)):
        choose.__defaults__ = (options(),)
    return choose


def _message(error: CycloptsError) -> str:
    """The fault of the arguments in one line, which begins with the flag where it is one flag."""
    argument = error.argument
    while argument is not None and argument.children:  # a group: its first option that is needed
        argument = next((child for child in argument.children if child.required), None)
    flag = None if argument is None else (argument.tokens and argument.tokens[0].keyword) or argument.name
    if isinstance(error, MissingArgumentError):
        unknown = [token for token in error.unused_tokens or () if token.startswith("--")]
        if flag in unknown:
            return f"{flag}: needed a value; one that begins with - is given as {flag}=-..."
        return "; ".join((*(f"{name}: not known" for name in unknown), f"{flag}: needed, and not given"))
    if isinstance(error, ValidationError) and error.exception_message:
        return f"{flag}: {error.exception_message}"
    if error.msg is not None and flag is not None:
        return f"{flag}: {error.msg}"
    return " ".join(str(error).split())
