"""The `jaxpose` command: reads its arguments, imports what they name and runs it; `commands/ending.py` is how it ends.

A command's module is imported when the command runs: `jaxpose --help` loads neither JAX nor numpy.
"""

import atexit
import gc
import importlib
import sys
import time

from jaxpose.app.commands import ending
from jaxpose.runtime.program_bound import bound_programs
from jaxpose.runtime.program_cache import use_compilation_cache


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script."""
    started, given, own_process = time.time(), sys.argv[1:] if argv is None else argv, argv is None
    if own_process:
        gc.disable()  # imports leave nothing to collect: 0.1 s of a command, and 0.3 s of its end
        atexit.register(gc.freeze)
    with ending.in_one_line(own_process=own_process) as running:
        from jaxpose.app.commands.options import COMMANDS, DATA
        from jaxpose.app.commands.parser import parse

        chosen = parse(given, running)
        if chosen is None:  # help or version
            return
        name, options = chosen
        ending.check_alone()
        use_compilation_cache()
        if own_process:
            bound_programs()
        place, _, function = COMMANDS[name][1].partition(":")
        run = getattr(importlib.import_module(f"jaxpose.{place}"), function)
        if own_process:
            gc.freeze()
            gc.enable()
        for line in run(options) if place.startswith("app.commands.") else run(**vars(options)):
            ending.say(line)
        ending.say(f"done in {time.time() - started:.1f} s", sys.stderr if name in DATA else sys.stdout)


if __name__ == "__main__":
    main()
