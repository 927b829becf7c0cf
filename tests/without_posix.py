"""Runs `python tests/without_posix.py jaxpose|train ARGUMENTS` as on Windows, as far as Linux can show it.

Modules and names that only POSIX has are taken away before this project is imported, and files below /proc cannot be
opened by it. Other packages are imported before: what they have installed on Linux is made for Linux.
"""

import importlib
import os
import signal
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog")
NAMES = (
    *("fork", "getuid", "geteuid", "mkfifo", "sched_getaffinity", "set_blocking", "sysconf", "sysconf_names"),
    *("uname",),
)
SIGNALS = ("SIGALRM", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGTSTP", "SIGUSR1", "SIGUSR2")


def take_away() -> None:
    """Leave what Windows has, for the code that is imported from here on."""
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    for name in NAMES:
        delattr(os, name)
    os.process_cpu_count = os.cpu_count  # as Python defines it where it has no sched_getaffinity
    for name in SIGNALS:
        delattr(signal, name)
    sys.addaudithook(_no_proc)


def _no_proc(event: str, arguments: tuple) -> None:
    if event == "open" and str(arguments[0]).startswith(("/proc", "/sys")) and _is_ours(sys._getframe(1)):
        raise FileNotFoundError(2, "no such file, as on Windows", str(arguments[0]))


def _is_ours(frame) -> bool:
    """Whether code of this project opens a file, by itself or through the standard library."""
    while frame is not None:
        file = frame.f_code.co_filename
        if "site-packages" in file:
            return False
        if file.startswith((str(ROOT / "jaxpose"), str(ROOT / "experiments"))):
            return True
        frame = frame.f_back
    return False


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    program, *sys.argv[1:] = sys.argv[1:]
    for name in ("psutil", "jax", "flax", "optax", "orbax.checkpoint" if program == "train" else "cyclopts"):
        importlib.import_module(name)  # extensions and servers of Linux, which need its modules
    warnings.filterwarnings("error", category=EncodingWarning, module="jaxpose|experiments")
    take_away()
    if program == "train":
        import runpy

        runpy.run_module("experiments.train", run_name="__main__", alter_sys=True)
    else:
        from jaxpose.app import cli

        cli.main()
