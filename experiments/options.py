"""Command lines of the experiments: a dataclass of options, each field an absl flag.

    @dataclass(frozen=True)
    class Options:
        stride: int = option(1, "Every n-th pose only.", low=1)
        calls: tuple[int, ...] = option((1, 2), "Network calls.")        --calls=1,2 or --calls=1 --calls=2

A field is a bool, int, float or str, one of these or None, or a tuple of one of them. What a command does is then a
function of its options, which a test calls as the command line does.
"""

import dataclasses
import math
import sys
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from absl import flags, logging

from experiments import launch

T = TypeVar("T")
_MOST = 2**31 - 1
_MODELS = Path(__file__).parent / "models"
_DEFINE: dict[type, Callable[..., Any]] = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    legal: Sequence[str] = (),
    required: bool = False,
    split: bool = True,
) -> Any:
    """A field of an options class: its default, its help, bounds of a number, legal values of a text.

    required: the flag must be given. split: values of a tuple are separated by commas too, not by repetition alone.
    """
    metadata = {"help": help, "low": low, "high": high, "legal": legal, "required": required, "split": split}
    return dataclasses.field(default=default, metadata=metadata)


def parse(kind: type[T], argv: Sequence[str]) -> T:
    """Options of the flags in `argv`; ValueError names the flag, what came and what is legal."""
    return _parse(kind, argv)[0]


def _parse(kind: type[T], argv: Sequence[str]) -> tuple[T, flags.FlagValues]:
    values_of, bases = _flags_of(kind)
    try:
        rest = values_of(["", *argv])[1:]
    except flags.Error as error:
        raise ValueError(str(error)) from error
    if rest:
        raise ValueError(f"got {rest[0]!r}, which is no flag; --help lists them")
    values = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]  # any dataclass
        value, base = values_of[field.name].value, bases[field.name]
        if base is not None and value is not None:
            value = _many(field, base, value)
        values[field.name] = field.default if value is None else value
        _check_number(field.name, values[field.name])
        if values[field.name] is None and field.metadata["required"]:
            raise ValueError(f"--{field.name}: needed, got none: {field.metadata['help']}")
    return kind(**values), values_of


def _check_number(name: str, value: Any) -> None:
    """ValueError for numbers that no array of a run holds."""
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, int) and abs(number) > _MOST:
            raise ValueError(f"--{name}: got a number of {number.bit_length()} bits, must be {-_MOST:,} to {_MOST:,}")
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError(f"--{name}: got {number}, must be finite")


def config_file(name: str) -> str:
    """The file of a config: a model of experiments/models by its name, or by its path in versions up to 0.8."""
    path, colon, recipe = name.partition(":")
    short = path.removeprefix("experiments/configs/").removesuffix(".py")
    if not Path(path).is_file():
        for file in (_MODELS / short / "config.py", _MODELS / f"{short}.py"):
            if short.isidentifier() and file.is_file():
                return f"{file}{colon}{recipe}"
    return name


def with_config_file(argv: Sequence[str]) -> list[str]:
    """The command line with the value of --config as `config_file`."""
    resolved = [f"--config={config_file(a[9:])}" if a.startswith("--config=") else a for a in argv]
    return [config_file(a) if before == "--config" else a for before, a in zip(["", *resolved], resolved, strict=False)]


def usage(kind: type, text: str) -> str:
    """The text of --help: what the command does, then its flags."""
    return f"{text.strip()}\n\n{_flags_of(kind)[0].module_help('flags').strip()}"


def run(
    name: str,
    main: Callable[[T], int | None],
    kind: type[T],
    text: str,
    argv: Sequence[str] | None = None,
    *,
    several: bool = False,
) -> None:
    """Call main(options) and leave with its status; errors that a user can mend leave with code 2 and one line.

    several: the command may be one of several processes (launch.py).
    """
    argv = sys.argv[1:] if argv is None else argv
    logging.set_verbosity(logging.WARNING)  # orbax tells of every file it touches
    if {"--help", "-h"} & set(argv):
        print(usage(kind, text))
        return
    try:
        options, values = _parse(kind, argv)
        launch.start(name, values, supported=several)
        status = main(options)
    except (ValueError, OSError) as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(status or 0)


def _flags_of(kind: type) -> tuple[flags.FlagValues, dict[str, type | None]]:
    """The flags of an options class, and of each that takes many values their type, None of the others."""
    defined, bases = flags.FlagValues(), {}
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        about, default = field.metadata, typing.cast(Any, field.default)
        # `int | None` is an int that may be left out; `tuple[int, ...]` is a flag that is given many times
        hint = next((a for a in typing.get_args(hints[field.name]) if a is not types.NoneType), hints[field.name])
        is_many = typing.get_origin(hints[field.name]) is tuple
        bases[field.name] = hint if is_many else None
        bounds = {"lower_bound": about["low"], "upper_bound": about["high"]}
        more: dict[str, Any] = {"flag_values": defined, "module_name": "flags"}
        if is_many:
            shown = f" ({', '.join(map(str, default))} by default)" if default else ""
            flags.DEFINE_multi_string(field.name, None, about["help"] + shown, **more)
        elif about["legal"]:
            flags.DEFINE_enum(field.name, default, list(about["legal"]), about["help"], **more)
        else:
            _DEFINE[hint](field.name, default, about["help"], **(bounds if hint in (int, float) else {}), **more)
    launch.define(defined)
    return defined, bases


def _many(field: dataclasses.Field[Any], base: type, texts: list[str]) -> tuple[Any, ...]:
    """Values of a flag that takes many; ValueError for one that is not legal."""
    about = field.metadata
    parts = [part for text in texts for part in (text.split(",") if about["split"] else [text]) if part]
    if about["legal"] and (unknown := sorted(set(parts) - set(about["legal"]))):
        raise ValueError(f"--{field.name}: got {unknown}, must be one of {list(about['legal'])}")
    try:
        values = tuple(base(part) for part in parts)
    except ValueError as error:
        raise ValueError(f"--{field.name}: got {parts}, must be numbers of type {base.__name__}") from error
    low, high = about["low"], about["high"]
    if wrong := [v for v in values if (low is not None and not v >= low) or (high is not None and not v <= high)]:
        raise ValueError(f"--{field.name}: got {wrong}, must be {low} to {'any' if high is None else high}")
    return values
