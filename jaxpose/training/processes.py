"""Several processes of one training run, on one host or many: joining, agreeing, and the end of one of them.

Every process runs the same program; the first (index 0) alone writes metrics and prints. Where a process ends before
the others, a collective of theirs fails with an error of JAX, which becomes one line and exit code 1; or JAX's
coordination service, which notices it first, ends them with a message of its own.
"""

import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jax
import numpy as np

T = TypeVar("T")
WAIT_S = 600  # for the others to come, to answer and to leave: they may read and compile at different speeds


def folder(path: str | os.PathLike[str]) -> Any:
    """A work folder as an absolute path: of this machine, or of storage such as gs:// (through etils)."""
    if "://" in os.fspath(path):
        from etils import epath

        return epath.Path(path)
    return Path(path).absolute()


def join(name: str, coordinator: str | None = None, num_processes: int | None = None, index: int | None = None) -> None:
    """Make this process one of a run's; called before JAX is used otherwise.

    coordinator: HOST:PORT of the first process; None: TPU, Slurm, Open MPI and GKE tell it. name: of the command, for
    what is printed. ValueError where the others do not come within `WAIT_S` seconds.
    """
    if coordinator:
        print(f"{name}: process {index} of {num_processes}, at {coordinator}", flush=True)
    jax.config.update("jax_enable_preemption_service", False)  # notice.py reads signals in one process as in many
    jax.config.update("jax_cpu_get_global_topology_timeout_minutes", WAIT_S // 60)
    waits: dict[str, Any] = {f"{what}_timeout_seconds": WAIT_S for what in ("heartbeat", "shutdown")}
    try:
        jax.distributed.initialize(coordinator, num_processes, index, initialization_timeout=WAIT_S, **waits)
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
    if _has_others():
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


@contextlib.contextmanager
def as_one(name: str) -> Iterator[None]:
    """Context of a run as a command: what ends it is one line, and an exit code, in every process.

    2 for what a user can mend (ValueError), 1 for a full disk, a loss that is no number and, in a run of several
    processes, any error of JAX, 128 + number after a signal.
    """
    try:
        yield
    except (ValueError, OSError, FloatingPointError) as error:
        _leave(2 if isinstance(error, ValueError) else 1, f"{name}: {error}")
    except RuntimeError as error:
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
