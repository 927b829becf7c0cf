"""The `jaxpose` command: reads its arguments, imports what they name and runs it; `commands/ending.py` is how it ends.

A command's module is imported when the command runs: `jaxpose --help` loads neither JAX nor numpy.
"""

import importlib
import sys
import time

from jaxpose.commands import ending
from jaxpose.program_cache import use_compilation_cache


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script."""
    started, given = time.time(), sys.argv[1:] if argv is None else argv
    with ending.in_one_line(own_process=argv is None) as running:
        from jaxpose.commands.options import COMMANDS, DATA
        from jaxpose.commands.parser import parse

        chosen = parse(given, running)
        if chosen is None:  # help or version
            return
        name, options = chosen
        ending.check_alone()
        use_compilation_cache()
        place, _, function = COMMANDS[name][1].partition(":")
        run = getattr(importlib.import_module(f"jaxpose.{place}"), function)
        for line in run(options) if place.startswith("commands.") else run(**vars(options)):
            ending.say(line)
        ending.say(f"done in {time.time() - started:.1f} s", sys.stderr if name in DATA else sys.stdout)


if __name__ == "__main__":
    main()
