"""Commands called as from a shell, in this process: what they print, and the code they leave with."""

from collections.abc import Callable, Sequence
from typing import Any


def called(capsys: Any, main: Callable[[Sequence[str]], Any], *argv: str) -> tuple[int, str]:
    """The exit code of main(argv), and what it printed to both streams."""
    code = 0
    try:
        main(list(argv))
    except SystemExit as left:
        code = int(left.code or 0)
    streams = capsys.readouterr()
    return code, streams.out + streams.err
