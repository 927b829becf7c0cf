"""What every evaluation shares: its options, timing, the printed table, the JSON file.

An evaluator is a generator evaluate(model, options) of three kinds of items:

    Table    begins a table: what its rows are of, what they were told, what was tuned on what
    Row      a line of it: a name and its figures
    dict     what else the JSON file shall hold

The file is <out>/<what>[_<task or dataset>][_<model>][_bfloat16].json with the command, options, seed, version, commit
("-dirty" where files differ from it), device and version of JAX, and of every row its privileges and what was tuned on
its data. --row=NAME is a row's name, or what an evaluator asks `Options.wants` for.
"""

import dataclasses
import math
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import launch
from experiments.evaluate.bench import bench_path
from experiments.options import option
from jaxpose import model as released
from jaxpose.evaluation.bootstrap import paired_bootstrap
from jaxpose.files import write_json
from jaxpose.training import processes
from jaxpose.training.checkpoint import git_commit

DTYPES = ("float32", "bfloat16")
Column = str | Callable[[dict[str, Any]], str]


@dataclasses.dataclass(frozen=True)
class Options:
    """What all evaluators take; each has its own defaults and more fields."""

    model: str = option("pose17", "A bundled model's name or a .safetensors file.")
    dtype: str = option("float32", "Of the network's products.", legal=DTYPES)
    stride: int = option(1, "Every n-th pose, clip or frame only.", low=1)
    seed: int = option(0, "Of the one key.")
    row: tuple[str, ...] = option((), "Only the rows of these names; give the flag once for each.", split=False)
    out: str = option("runs/evaluate", "Folder for the JSON file.")

    @property
    def variant(self) -> str:
        """What tells apart the files of one evaluator's tables; "" where it has one."""
        return ""

    def wants(self, row: str) -> bool:
        """Whether --row asks for a row of this name, and it is this process' (launch.py)."""
        _asked.append(row)
        return (not self.row or row in self.row) and launch.owner(row) == jax.process_index()


_asked: list[str] = []  # names that the running evaluator has asked `wants` for


class Table(NamedTuple):
    """Begins a table.

    privileges: what its rows are told that a user's own data would not tell. tuned: what was chosen on which data.
    columns: heading -> "figure:format", or a function of the figures; {}: all numbers of a row, with their names.
    """

    title: str
    privileges: str
    tuned: str
    columns: Mapping[str, Column] = {}


class Row(NamedTuple):
    """A line of the table before it: figures by name, JSON values; privileges beyond the table's."""

    name: str
    values: dict[str, Any]
    privileges: str | None = None


Item = Table | Row | dict[str, Any]


def report(
    what: str, items: Iterable[Item], options: Options, model: released.Model | None, argv: Sequence[str] = ()
) -> Path:
    """Print what an evaluator yields as it comes, and write it to the file described above, whose path is returned.

    argv: the command line. ValueError for a name of --row that no row has.
    """
    _asked.clear()
    names: list[str] = []
    more: dict[str, Any] = {}
    own: list[tuple[int, int, Row]] = []  # each with the number of its table, and its place there
    tables = [Table("", "", "")]
    for item in items:
        if isinstance(item, Table):
            tables.append(item)
            print(heading(item), flush=True)
        elif isinstance(item, Row):
            names.append(item.name.partition(" [")[0])
            if options.row and not _asked and names[-1] not in options.row:
                continue
            print(line(item, tables[-1].columns), flush=True)
            own.append((len(tables) - 1, launch.place(item.name, len(own)), item))
        else:
            more |= item
    names = list(dict.fromkeys([*names, *_asked]))  # rows that no name asks for are always there
    if unknown := sorted(set(options.row) - set(names)):
        raise ValueError(f"--row: got {unknown}, must be one of {names}")
    rows = []
    for number, row in _of_all_processes(own):
        table = tables[number]
        if row not in [r for _, _, r in own]:
            print(line(row, table.columns), flush=True)
        privileges = "; ".join(filter(None, (row.privileges, table.privileges)))
        rows.append({"name": row.name, **row.values, "privileges": privileges, "tuned": table.tuned})
    record = {
        "evaluator": what,
        "command": shlex.join(["python", "-m", "experiments.evaluate", what, *argv]),
        "version": metadata.version("jaxpose"),
        "model": None if model is None else released.describe(model),
        "options": dataclasses.asdict(options),
        "seed": options.seed,
        "benchmark": str(bench_path("val_frames.npz").parent),
        "commit": git_commit(),
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    }
    dtype = "" if options.dtype == "float32" else options.dtype
    parts = [what, options.variant, "" if model is None else model.spec.name, dtype]
    path = Path(options.out) / f"{'_'.join(filter(None, parts))}.json"
    if processes.is_first():
        write_json(path, _finite(record | more | {"rows": rows}))
        print(f"{record['command']}, version {record['version']}, commit {record['commit']}\nwrote {path}")
    return path


def _of_all_processes(own: list[tuple[int, int, Row]]) -> list[tuple[int, Row]]:
    """The rows of all, in the order of one process; a row that several have is that of the first of them."""
    if jax.process_count() == 1:
        return [(number, row) for number, _, row in own]
    entries: dict[tuple[int, str], tuple[int, int, Row]] = {}
    for process in range(jax.process_count()):
        for number, place, row in processes.agreed(own, process):
            entries.setdefault((number, row[0]), (number, place, Row(*row)))
    return [(number, row) for number, _, row in sorted(entries.values(), key=lambda entry: entry[:2])]


def heading(table: Table) -> str:
    """The lines above a table's rows."""
    lines = ["", table.title, f"privileges: {table.privileges}", f"tuned: {table.tuned}"]
    return "\n".join([*lines, " | ".join(["row", *table.columns])] if table.columns else lines)


def line(row: Row, columns: Mapping[str, Column]) -> str:
    """A row as it is printed, with its own privileges at the end."""
    privileges = "" if row.privileges is None else f"  ({row.privileges})"
    if not columns:
        figures = [
            f"{k} {_shown(v)}"
            for k, v in row.values.items()
            if isinstance(v, float) or (isinstance(v, list) and len(v) == 3)
        ]
        return f"{row.name}: {', '.join(figures)}{privileges}"
    cells = [_cell(row.values, column) for column in columns.values()]
    return " | ".join([row.name, *cells]) + privileges


def timed(run: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """The result of run(*args), compiled first, and its seconds without the compilation."""
    compiled = jax.jit(run).lower(*args).compile()
    started = time.perf_counter()
    return jax.block_until_ready(compiled(*args)), time.perf_counter() - started


def compared(seed: int, errors: np.ndarray, base: np.ndarray, groups: np.ndarray | None) -> dict[str, list[float]]:
    """Ratio and difference of errors [N] and the base's on the same poses, each with its 95 % interval.

    groups: [N] what the paired bootstrap draws together.
    """
    change = paired_bootstrap(seed, errors, base, groups=groups)
    ratio = [change.ratio, change.ratio_low, change.ratio_high]
    return {"ratio": ratio, "difference": [change.mean, change.low, change.high]}


def _cell(values: dict[str, Any], column: Column) -> str:
    if callable(column):
        return column(values)
    name, _, form = column.partition(":")
    value = values.get(name)
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else f"{value:{form}}"


def _finite(value: Any) -> Any:
    """The value with None for numbers that JSON has not: figures that a row does not have."""
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(value: Any) -> str:
    if isinstance(value, list):  # a figure with its interval
        return "{:.4g} ({:.4g} to {:.4g})".format(*value)
    return f"{value:.4g}"
