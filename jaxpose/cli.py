"""The `jaxpose` command: it assembles the commands of `jaxpose.commands` and turns errors into what a user can read.

Errors that a user can mend leave with code 2 and one line that names the file or the flag.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from jaxpose.commands import (
    complete,
    convert,
    denoise,
    export,
    fit,
    fuse,
    generate,
    ik,
    interpolate,
    lift,
    prepare,
    score,
)

_COMMANDS = (lift, fuse, complete, denoise, generate, score, ik, fit, interpolate, export, convert, prepare)


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script."""
    parser = argparse.ArgumentParser(prog="jaxpose", description="Probabilistic 3D human pose.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in _COMMANDS:
        command.add_parser(commands)
    args = parser.parse_args(argv)
    started = time.time()
    use_compilation_cache()
    try:
        for line in args.run(args):
            print(line, flush=True)
    except (ValueError, OSError) as error:
        print(f"jaxpose {args.command}: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"done in {time.time() - started:.1f} s")


def use_compilation_cache() -> None:
    """Compiled programs are kept in the user's cache folder, unless JAX is told where."""
    import jax

    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(root / "jaxpose" / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


if __name__ == "__main__":
    main()
