"""How a command ends: its exit code, and one line on stderr where it did not do what it was called for.

    0    done                                     2    what the user can mend: a flag, an input, too little memory
    1    the work stopped half-way: a file could not be written, memory ran out
    130  Ctrl-C (SIGINT)                          143  SIGTERM
    141  who reads the output has left (SIGPIPE), without a line

Any other error is one of this program, and keeps its traceback. This module loads the standard library alone: it is
imported before everything that takes time to import.
"""

import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

FAILED, REFUSED, INTERRUPTED, TERMINATED, UNHEARD = 1, 2, 130, 143, 141
_WORDS = {INTERRUPTED: "interrupted", TERMINATED: "terminated"}
_MOST = 1000  # characters of a line
_PATIENCE = 1.0  # seconds that a signal waits for the program to look at it, which compiled code does not
# Processes, and the number of this one, as launchers tell them.
_LAUNCHERS = (
    ("SLURM_NTASKS", "SLURM_PROCID"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("PMI_SIZE", "PMI_RANK"),
    ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"),
    ("TPU_WORKER_HOSTNAMES", "TPU_WORKER_ID"),
)


class Running:
    """The command that runs; its name is known when its arguments are read."""

    name = ""

    def says(self, text: str) -> str:
        """One line about it, not longer than a screen."""
        line = " ".join(f"jaxpose {self.name}".split()) + ": " + " ".join(text.split())
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
        return line if len(line) <= _MOST else line[: _MOST - 4] + " ..."


class Terminated(BaseException):
    """SIGTERM, wherever the program is; no error, as KeyboardInterrupt is none."""


@contextmanager
def in_one_line(*, own_process: bool) -> Iterator[Running]:
    """The errors of a command as in the module's table; SystemExit instead of them.

    own_process: an interruption ends the process at once. Else Python would wait for what XLA computes, and then tear
    down what its threads still use, which is a segmentation fault.
    """
    running = Running()
    try:
        with _heard(running), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of overflow and NaN: results are checked as a whole
            yield running
    except (Exception, KeyboardInterrupt, Terminated) as error:
        _remove_drafts()  # one may be left by an interruption at the very moment at which it is removed
        code, text = _meaning(error)
        if text is None:
            raise
        if text:
            print(running.says(text), file=sys.stderr, flush=True)
        if own_process and not isinstance(error, Exception):
            os._exit(code)  # each line of stdout was flushed
        raise SystemExit(code) from None


def _meaning(error: BaseException) -> tuple[int, str | None]:
    """The exit code of an error and its line: "" is none, None a traceback."""
    kind, text = type(error), str(error)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, _WORDS[INTERRUPTED]
    if isinstance(error, Terminated):
        return TERMINATED, _WORDS[TERMINATED]
    if isinstance(error, BrokenPipeError):
        _drop_output()
        return UNHEARD, ""
    if isinstance(error, _Unwritten) or kind.__name__ == "WriteError":  # the latter of jaxpose.files: it loads numpy
        return FAILED, text
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in text):  # XLA's
        return FAILED, f"memory ran out; lower --hypotheses or --num ({text or 'MemoryError'})"
    if isinstance(error, RecursionError):
        return REFUSED, f"the input is nested too deeply ({text})"
    if isinstance(error, ValueError | OSError):
        return REFUSED, text or kind.__name__
    return FAILED, None


def say(line: str, file: Any = None) -> None:
    """Print a line at once; an error names the output, where it is not that nobody reads it."""
    try:
        print(line, file=file, flush=True)
    except BrokenPipeError:
        raise
    except UnicodeEncodeError:
        print(line.encode("ascii", "backslashreplace").decode(), file=file, flush=True)
    except OSError as error:
        _drop_output()
        raise _Unwritten(f"standard output: {error.strerror}") from error


class _Unwritten(OSError):
    """An error of standard output, like `files.WriteError`."""


def _drop_output() -> None:
    """Nothing more goes to stdout: Python would try again at its end, and complain."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # until the process ends


def check_alone() -> None:
    """ValueError in all processes but the first of those that a launcher started: each would write the same files."""
    for of_all, of_this in _LAUNCHERS:
        processes, number = os.environ.get(of_all, ""), os.environ.get(of_this, "")
        hosts = processes.count(",") + 1  # names of them, or their number
        count = int(processes) if processes.isdecimal() else hosts
        if count > 1 and number.isdecimal() and int(number) > 0:
            raise ValueError(
                f"process {number} of {count} ({of_this}): a command runs in one process, the first; start one alone, "
                f"or each without {of_this} where they do different work"
            )


@contextmanager
def _heard(running: Running) -> Iterator[None]:
    """SIGINT and SIGTERM end the command at any moment, also where Python does not look: while XLA compiles.

    The handler raises in the main thread. Where that does not come to it for `_PATIENCE`, a thread removes the drafts
    of files and ends the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noticed = threading.Event()

    def stop(number: int, _: FrameType | None) -> None:
        noticed.set()
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours = [number for number, handler in before.items() if handler in (signal.default_int_handler, signal.SIG_DFL)]
    hook, sys.unraisablehook = sys.unraisablehook, _not_swallowed(running, sys.unraisablehook)
    for number in ours:
        signal.signal(number, stop)
    here, there = socket.socketpair()  # Windows takes no pipe that does not block
    there.setblocking(False)
    wakeup = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
    watching = threading.Thread(target=_watch, args=(here, noticed, stop, running), daemon=True)
    watching.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number in ours:
            signal.signal(number, before[number])
        sys.unraisablehook = hook
        there.close()  # ends the thread


def _watch(signals: socket.socket, noticed: threading.Event, handler: Any, running: Running) -> None:
    while number := signals.recv(1):
        # a command may have another meaning for a signal (`live`: the input has ended)
        if signal.getsignal(number[0]) is handler and not noticed.wait(_PATIENCE):
            _leave(INTERRUPTED if number[0] == signal.SIGINT else TERMINATED, running)
    signals.close()


def _not_swallowed(running: Running, otherwise: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Ends the process where an interruption comes to code that cannot raise: finalisers and callbacks."""

    def hook(what: Any) -> None:
        if issubclass(what.exc_type, KeyboardInterrupt | Terminated):
            _leave(INTERRUPTED if what.exc_type is KeyboardInterrupt else TERMINATED, running)
        otherwise(what)

    return hook


def _leave(code: int, running: Running) -> None:
    _remove_drafts(for_ever=True)
    os.write(2, (running.says(_WORDS[code]) + "\n").encode())
    os._exit(code)


def _remove_drafts(*, for_ever: bool = False) -> None:
    files: Any = sys.modules.get("jaxpose.files")  # if it is not there, there are none
    if hasattr(files, "remove_drafts"):
        if for_ever:
            files.making.acquire(timeout=1)
        files.remove_drafts()
