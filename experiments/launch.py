"""Flags of commands that run in several processes, one for each host (or each GPU), all started with the same command.

    --distributed                                                  TPU pods, Slurm, Open MPI, GKE: they say the rest
    --coordinator=HOST:PORT --num_processes=N --process_id=I       elsewhere; HOST is that of process 0

Pieces of work, such as the rows of a table, are given to the processes in turn.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from absl import flags

Result = TypeVar("Result")  # a NamedTuple of arrays
Item = TypeVar("Item")

_TOGETHER = ("coordinator", "num_processes", "process_id")
_owners: dict[str, int] = {}  # of each piece of work, in the order in which it was asked for


def define(values: flags.FlagValues) -> None:
    """Add the flags to `values`."""
    where: dict = {"flag_values": values, "module_name": "flags"}
    flags.DEFINE_bool("distributed", False, "One of several processes that the cluster tells of each other.", **where)
    flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, where no cluster tells it.", **where)
    flags.DEFINE_integer("num_processes", None, "Of the run; with --coordinator.", lower_bound=1, **where)
    flags.DEFINE_integer("process_id", None, "0 to num_processes - 1; with --coordinator.", lower_bound=0, **where)
    about = "For the other processes to come, to meet, to answer and to leave."
    flags.DEFINE_integer("wait_minutes", 10, about, lower_bound=1, upper_bound=24 * 60, **where)


def start(name: str, values: flags.FlagValues, *, supported: bool = True) -> None:
    """Join the other processes where the flags ask for it; ValueError for flags that do not fit together.

    supported: whether the command `name` can be one of several processes.
    """
    given: dict[str, Any] = {flag: values[flag].value for flag in _TOGETHER}
    missing = [f"--{flag}" for flag, value in given.items() if value is None]
    if len(missing) == len(_TOGETHER) and not values["distributed"].value:
        return
    if not supported:
        raise ValueError(f"--distributed, --coordinator: {name} runs in one process")
    if 0 < len(missing) < len(_TOGETHER):
        raise ValueError(f"{', '.join(missing)}: needed with --{', --'.join(set(given) - {m[2:] for m in missing})}")
    if not missing and given["process_id"] >= given["num_processes"]:
        raise ValueError(f"--process_id: got {given['process_id']}, must be 0 to {given['num_processes'] - 1}")
    from jaxpose.training import processes

    wait: Any = values["wait_minutes"].value
    processes.join(name, given["coordinator"], given["num_processes"], given["process_id"], wait_minutes=wait)


def owner(name: str) -> int:
    """The process that does the piece of work `name`; all processes ask for the same pieces in the same order."""
    import jax

    return _owners.setdefault(name, len(_owners) % jax.process_count())


def place(name: str, default: int) -> int:
    """Where in the order of pieces of work `name` is; `default` where nobody asked for it."""
    return list(_owners).index(name) if name in _owners else default


def divided(items: Mapping[str, Item], compute: Callable[[str, Item], Result], kind: type[Result]) -> dict[str, Result]:
    """compute(name, item) -> a `kind` of arrays for each item, each by one process, and in all of them at the end."""
    import jax

    from jaxpose.training import processes

    if jax.process_count() == 1:
        return {name: compute(name, item) for name, item in items.items()}
    owners = {name: owner(name) for name in items}
    own: dict[str, Any] = {n: compute(n, item) for n, item in items.items() if owners[n] == jax.process_index()}
    sent = {n: processes.arrays_of(owners[n], own[n]._asdict() if n in own else {}) for n in items}
    return {n: own[n] if n in own else kind(**arrays) for n, arrays in sent.items()}
