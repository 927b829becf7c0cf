"""Several processes of one training run, on one host or many: joining, agreeing, and the end of one of them.

Every process runs the same program; the first (index 0) alone writes metrics and prints. Where a process ends before
the others, JAX's coordination service aborts them with pages of C++ frames, or a collective fails; either becomes one
line and exit code 1.
"""

import atexit
import contextlib
import ctypes
import io
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jax
import numpy as np

T = TypeVar("T")
ENDED = "another process of this run has ended; start all again to go on from the last checkpoint"
# how errors of collectives and of the coordination service say so, which JAX raises as several types
_OF_OTHERS = re.compile("Gloo|NCCL|UNAVAILABLE|DEADLINE_EXCEEDED|barrier|coordination", re.IGNORECASE)
_abort_line: list[str] = []  # what an abort means at present
_kept: list[Any] = []  # what the C library knows the address of
_stderr = 2  # where lines for the user go, also while file descriptor 2 is filtered
_SEARCH_S = 120  # for all processes to come
_HEARTBEAT_S = 30  # after which a process that does not answer counts as ended; one that was killed does at once
_FAILED = re.compile(rb"[EF]\d{4} .*(coordination|client\.h)")
# what the coordination service and gloo print about a process that has ended, or about having connected
_LOGGED = re.compile(
    rb"(?:[EFWI]\d{4} .*(coordination|client\.h|preemption_sync)|\*\*\* Check failure|    @ |\[Gloo\]|RPC: |$)"
)


def folder(path: str | os.PathLike[str]) -> Any:
    """A work folder as an absolute path: of this machine, or of storage such as gs:// (through etils)."""
    if "://" in os.fspath(path):
        from etils import epath

        return epath.Path(path)
    return Path(path).absolute()


def join(name: str, coordinator: str | None = None, num_processes: int | None = None, index: int | None = None) -> None:
    """Make this process one of a run's; called before JAX is used otherwise.

    coordinator: HOST:PORT of the first process; None: TPU, Slurm, Open MPI and GKE say all themselves. name: of the
    command, for what is printed. ValueError where the others cannot be found.
    """
    _abort_line[:] = [f"{name}: the processes of the run did not find each other at {coordinator} in {_SEARCH_S} s"]
    _tell_of_aborts()
    if coordinator:
        print(f"{name}: process {index} of {num_processes}, at {coordinator}", flush=True)
    jax.config.update("jax_enable_preemption_service", False)  # notice.py hears of it in one process as in many
    try:
        jax.distributed.initialize(
            coordinator, num_processes, index, initialization_timeout=_SEARCH_S, heartbeat_timeout_seconds=_HEARTBEAT_S
        )
    except (ValueError, RuntimeError) as error:
        where = coordinator or "no cluster was found; --coordinator, --num_processes and --process_id name one"
        raise ValueError(f"--distributed: {where} ({str(error).splitlines()[0]})") from error
    _abort_line[:] = [f"{name}: {ENDED}"]


def is_first() -> bool:
    """Whether this process writes and prints for all."""
    return jax.process_index() == 0


def agreed(value: T, owner: int = 0) -> T:
    """What the process `owner` has (JSON), in every process; a meeting of all of them."""
    if jax.process_count() == 1:
        return value
    return json.loads(_sent(json.dumps(value).encode(), owner))


def arrays_of(owner: int, arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The named arrays of the process `owner`, in every process; what the others pass does not count."""
    if jax.process_count() == 1:
        return {name: np.asarray(value) for name, value in arrays.items()}
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **{name: np.asarray(value) for name, value in arrays.items()})
    with np.load(io.BytesIO(_sent(content.getvalue(), owner)), allow_pickle=False) as found:
        return dict(found)


def _sent(data: bytes, owner: int) -> bytes:
    from jax.experimental import multihost_utils

    is_source = jax.process_index() == owner
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(data)), is_source=is_source))
    padded = np.zeros(length, np.uint8)
    if is_source:
        padded[:] = np.frombuffer(data, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(padded, is_source=is_source)).tobytes()


def largest(*values: float) -> tuple[float, ...]:
    """The largest of each value over all processes."""
    if jax.process_count() == 1:
        return values
    from jax.experimental import multihost_utils

    return tuple(np.asarray(multihost_utils.process_allgather(np.asarray(values, np.float32))).max(0).tolist())


def meet(name: str) -> None:
    """Wait for all processes."""
    if jax.distributed.is_initialized() and jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


@contextlib.contextmanager
def as_one(name: str) -> Iterator[None]:
    """Context of a run as a command: what ends it is one line, and an exit code, in every process.

    2 for what a user can mend (ValueError), 1 for a full disk, a loss that is no number and a process that has ended,
    128 + number after a signal.
    """
    try:
        yield
    except (ValueError, OSError, FloatingPointError, RuntimeError) as error:
        if jax.distributed.is_initialized() and _OF_OTHERS.search(str(error)):
            _leave(1, f"{name}: {ENDED}")
        if isinstance(error, RuntimeError):
            raise
        _leave(2 if isinstance(error, ValueError) else 1, f"{name}: {error}")
    except KeyboardInterrupt:
        _leave(128 + signal.SIGINT, f"{name}: interrupted")
    except SystemExit:
        meet("left")  # all leave, so none is told that another has ended
        raise


def _leave(code: int, line: str) -> NoReturn:
    """End this process; where there are others, at once, as they are not waited for."""
    if jax.distributed.is_initialized() and jax.process_count() > 1:
        exit_at_once(code, line)
    if line:
        print(line, file=sys.stderr)
    sys.exit(code)


def exit_at_once(code: int, line: str) -> NoReturn:
    """End this process without waiting for its threads, for other processes or for what these print meanwhile."""
    sys.stdout.flush()
    sys.stderr.flush()
    if line:
        os.write(_stderr, f"{line}\n".encode())
    os._exit(code)


def _tell_of_aborts() -> None:
    """From now on the abort of the coordination service is one line, `_abort_line`, and exit code 1.

    An abort for another reason keeps what it printed.
    """
    global _stderr
    failed = threading.Event()
    _stderr = stderr = os.dup(2)
    read, write = os.pipe()
    os.dup2(write, 2)
    os.close(write)

    def forward() -> None:
        with os.fdopen(read, "rb") as lines:
            for line in lines:
                if _FAILED.match(line):
                    failed.set()  # what follows is more of it
                if not failed.is_set() and not _LOGGED.match(line):
                    os.write(stderr, line)

    thread = threading.Thread(target=forward, name="stderr", daemon=True)
    thread.start()

    def undo() -> None:
        os.dup2(stderr, 2)  # which closes the pipe
        thread.join()

    atexit.register(undo)

    @ctypes.CFUNCTYPE(None, ctypes.c_int)
    def aborted(_: int) -> None:
        if failed.wait(1.0):  # in the other thread, which reads what was printed before
            os.write(stderr, f"{_abort_line[0]}\n".encode())
        os._exit(1 if failed.is_set() else 128 + signal.SIGABRT)

    _kept.append(aborted)
    ctypes.CDLL(None).signal(signal.SIGABRT, aborted)
