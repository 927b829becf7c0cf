"""Several processes of one training run, on one host or many: joining, agreeing, and the end of one of them.

Every process runs the same program; the first (index 0) alone writes metrics and prints. Where a process ends before
the others, a collective of theirs fails with an error of JAX, which becomes one line and exit code 1; or JAX's
coordination service, which notices it first, ends them with a message of its own.

Processes may differ by minutes, as they read and compile; gloo, which connects them on CPUs, waits 30 s for the others
in its first collective and in each reduce-scatter. So they meet at a barrier of the coordination service before, once
the collective is compiled.
"""

import contextlib
import functools
import io
import itertools
import json
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

T = TypeVar("T")
WAIT_MINUTES = 10
_WORK_MINUTES = 7 * 24 * 60  # for what others send, after hours of work; one that has ended is noticed by its heartbeat
_wait_minutes, _meetings = WAIT_MINUTES, itertools.count()


def folder(path: str | os.PathLike[str]) -> Any:
    """A work folder as an absolute path: of this machine, or of storage such as gs:// (through etils)."""
    if "://" in os.fspath(path):
        from etils import epath

        return epath.Path(path)
    return Path(path).absolute()


def join(
    name: str,
    coordinator: str | None = None,
    num_processes: int | None = None,
    index: int | None = None,
    wait_minutes: int = WAIT_MINUTES,
) -> None:
    """Make this process one of a run's, and wait for all; called before JAX is used otherwise.

    coordinator: HOST:PORT of the first process; None: TPU, Slurm, Open MPI and GKE tell it. name: of the command, for
    what is printed. wait_minutes: for the others to come, to meet, to answer and to leave. ValueError where they do not
    come.
    """
    global _wait_minutes
    _wait_minutes = wait_minutes
    if coordinator:
        print(f"{name}: process {index} of {num_processes}, at {coordinator}", flush=True)
    jax.config.update("jax_enable_preemption_service", False)  # notice.py reads signals in one process as in many
    jax.config.update("jax_cpu_get_global_topology_timeout_minutes", wait_minutes)
    names = ("initialization_timeout", "heartbeat_timeout_seconds", "shutdown_timeout_seconds")
    waits: dict[str, Any] = dict.fromkeys(names, 60 * wait_minutes)
    try:
        jax.distributed.initialize(coordinator, num_processes, index, **waits)
        largest(0)  # all meet, and gloo connects them
    except (ValueError, RuntimeError) as error:
        where = coordinator or "no cluster was found; --coordinator, --num_processes and --process_id name one"
        raise ValueError(f"--distributed: {where} ({first_line(error)})") from error


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
    own = data if jax.process_index() == owner else b""
    length = int(_largest(np.int32(len(own)), _WORK_MINUTES))
    return _largest(np.frombuffer(own.ljust(length, b"\0"), np.uint8)).tobytes()


def largest(*values: float) -> tuple[float, ...]:
    """The largest of each value over all processes."""
    return values if jax.process_count() == 1 else tuple(_largest(np.asarray(values, np.float32)).tolist())


def _largest(x: Any, minutes: int = 0) -> np.ndarray:
    """The largest of each number of an array over all processes, which meet once each has compiled the program."""
    program, sharding = _compiled_largest(np.shape(x), x.dtype)
    meet("compared", minutes)
    return np.asarray(program(jax.make_array_from_process_local_data(sharding, x[None])).addressable_data(0))


@functools.lru_cache(16)
def _compiled_largest(shape: tuple[int, ...], dtype: np.dtype) -> tuple[Any, NamedSharding]:
    """A program of an array [processes, *shape], and how that is divided."""
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    mesh = Mesh(np.array(devices).reshape(jax.process_count(), -1), ("process", "device"))
    by_process = NamedSharding(mesh, PartitionSpec("process"))
    given = jax.ShapeDtypeStruct((jax.process_count(), *shape), dtype, sharding=by_process)
    program = jax.jit(lambda x: x.max(0), out_shardings=NamedSharding(mesh, PartitionSpec()))
    return program.lower(given).compile(), by_process


def meet(name: str, minutes: int = 0) -> None:
    """Wait for all processes, `--wait_minutes` or `minutes`; RuntimeError that names those that did not come."""
    if not _has_others():
        return
    import orbax.checkpoint as ocp

    minutes = minutes or _wait_minutes
    try:
        ocp.multihost.get_barrier_sync_fn()(key=f"{name} {next(_meetings)}", timeout_ms=60_000 * minutes)
    except RuntimeError as error:
        if "DEADLINE_EXCEEDED" not in str(error):
            raise
        late = ", ".join(re.findall(r"^\d+$", str(error), re.MULTILINE)) or "some"
        what = f"processes that did not come within {minutes} minutes: {late} ({name}); --wait_minutes allows more"
        raise RuntimeError(what) from error


@contextlib.contextmanager
def as_one(name: str) -> Iterator[None]:
    """Context of a run as a command: what ends it is one line, and an exit code, in every process.

    2 for what a user can mend (ValueError), 1 for a full disk, a loss that is no number and, in a run of several
    processes, any error of JAX, 128 + number after a signal.
    """
    try:
        yield
    except (RuntimeError, ValueError, OSError, FloatingPointError) as error:
        if not isinstance(error, RuntimeError) and "Gloo" not in str(error):  # a failed reduce-scatter is a ValueError
            _leave(2 if isinstance(error, ValueError) else 1, f"{name}: {error}")
        if not _has_others():
            raise
        exit_at_once(1, f"{name}: {first_line(error)}; start all processes again to go on from the last checkpoint")
    except KeyboardInterrupt:
        _leave(128 + signal.SIGINT, f"{name}: interrupted")
    except SystemExit:
        meet("left")  # all leave together: a process that ends alone is an error of the others
        raise


def exit_at_once(code: int, line: str) -> NoReturn:
    """End this process without waiting for its threads or for other processes."""
    sys.stdout.flush()
    print(line, file=sys.stderr, flush=True)
    os._exit(code)


def _leave(code: int, line: str) -> NoReturn:
    """End this process; where there are others, at once, as they are not waited for."""
    if _has_others():
        exit_at_once(code, line)
    print(line, file=sys.stderr)
    sys.exit(code)


def _has_others() -> bool:
    return jax.distributed.is_initialized() and jax.process_count() > 1


def first_line(error: BaseException) -> str:
    """The beginning of an error's message, 200 characters at most."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
