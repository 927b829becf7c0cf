"""How fast, and how near to what the machine can do.

    python -m experiments.benchmark                                    the default cases, some minutes on 2 cores
    python -m experiments.benchmark --case=lifting --case=recipe       these; --case=all: the slow ones too
    python -m experiments.benchmark --compare                          and what got slower; exit status 1 if anything
    python -m experiments.benchmark --record                           keep the ratios for later comparison
    python -m experiments.benchmark --document=docs/benchmarks.md      and put the tables into the page

One table row and one JSON line per row of a case: compile time apart from run time, medians of interleaved runs, and
beside each throughput the ceilings measured in the same run (experiments/bench_timing.py). The cases stand in
experiments/bench_*.py; the same command serves GPU and TPU, and cuts batches over all devices that JAX shows.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import jax
from absl import app, flags, logging

from experiments import bench_ratios
from experiments.bench_networks import graph, group_norm
from experiments.bench_sampling import interactive, lifting, memory, recipe, sampling
from experiments.bench_tasks import fitting, likelihood, skinning, stream, tasks
from experiments.bench_timing import Row, Setup, num_cores
from experiments.bench_training import scaling, startup, training
from jaxpose import model as released
from jaxpose.tasks.draw import SAMPLERS
from jaxpose.training.checkpoint import git_commit

CASES: dict[str, Callable[[Setup], Iterable[Row]]] = {
    f.__name__: f
    for f in (
        startup,
        sampling,
        lifting,
        interactive,
        recipe,
        memory,
        tasks,
        training,
        likelihood,
        skinning,
        group_norm,
        scaling,
        graph,
        stream,
        fitting,
    )
}
OPT_IN = ("scaling", "graph", "stream", "fitting")  # run by name or by --case=all
DTYPES = ("float32", "bfloat16", "float16")
RATIOS = Path(__file__).with_name("benchmark_ratios.json")

CASE = flags.DEFINE_multi_string("case", None, f"Cases to run: {', '.join(CASES)} or all.")
MODEL = flags.DEFINE_string("model", "pose17", "Model of lifting, 3D tasks and training.")
FAST = flags.DEFINE_string("fast", "pose17_fast", "Few-step model beside it; its rows are left out where it is absent.")
REPEATS = flags.DEFINE_integer("repeats", 5, "Timed rounds of each row; the median counts.", lower_bound=1)
HYPOTHESES = flags.DEFINE_integer("hypotheses", 200, "Hypotheses of the sampling case.", lower_bound=1)
BATCH = flags.DEFINE_integer("batch", 64, "Poses of the sampling case.", lower_bound=1)
GRID_H = flags.DEFINE_multi_integer("grid_hypotheses", [10, 200], "Hypotheses of lifting.", lower_bound=1)
GRID_B = flags.DEFINE_multi_integer("grid_batch", [1, 64], "Poses of lifting.", lower_bound=1)
GRID_STEPS = flags.DEFINE_multi_integer("grid_steps", [], "Solver steps of lifting; the model's own by default.", 1)
GRID_SAMPLER = flags.DEFINE_multi_string("grid_sampler", ["posterior"], f"Samplers of lifting: {', '.join(SAMPLERS)}.")
GRID_DTYPE = flags.DEFINE_multi_string("grid_dtype", ["float32", "bfloat16"], f"Types of lifting: {', '.join(DTYPES)}.")
POSES = flags.DEFINE_integer("recipe_poses", 12, "Validation poses of the recipe case.", lower_bound=1)
TRAIN_BATCH = flags.DEFINE_integer("train_batch", 4096, "Examples of a training step.", lower_bound=1)
ACCUMULATE = flags.DEFINE_integer("accumulate", 1, "Slices of a device's share of a step.", lower_bound=1)
TRAIN_DTYPE = flags.DEFINE_string("train_dtype", "float32", f"Type of the training step: {', '.join(DTYPES)}.")
COMPARE = flags.DEFINE_bool("compare", False, "Say which ratios got worse than on record; exit status 1 if any.")
RECORD = flags.DEFINE_bool("record", False, "Write the ratios of this run to --ratios, for this kind of device.")
FILE = flags.DEFINE_string("ratios", str(RATIOS), "File of the ratios on record.")
TOLERANCE = flags.DEFINE_float("tolerance", 0.15, "Share by which a ratio may be worse.", lower_bound=0, upper_bound=1)
DOCUMENT = flags.DEFINE_string("document", None, "Page whose tables to write, such as docs/benchmarks.md.")


def main(argv: list[str]) -> int:
    logging.set_verbosity(logging.WARNING)
    cases, setup = chosen(CASE.value), make_setup(argv)
    known = bench_ratios.read(Path(FILE.value))
    if COMPARE.value and device() not in known:
        raise ValueError(f"{FILE.value}: nothing on record for {device()!r}, but {list(known)}; --record writes it")
    found: dict[str, list[Row]] = {}
    for name in cases:
        started = time.perf_counter()
        for row in CASES[name](setup):
            show(row)
            found.setdefault(name, []).append(row)
        print(f"{name} took {time.perf_counter() - started:.0f} s", flush=True)
    ratios = bench_ratios.ratios_of([row for rows in found.values() for row in rows])
    if DOCUMENT.value:
        about = f"{device()}, JAX {jax.__version__}, commit {git_commit()[:12]}"
        tables = {name: bench_ratios.table(rows) for name, rows in found.items()}
        bench_ratios.document(Path(DOCUMENT.value), about, tables)
    good = True
    if COMPARE.value:
        verdicts = bench_ratios.compare(known[device()]["ratios"], ratios, cases)
        good = bench_ratios.say(verdicts, TOLERANCE.value)
    if RECORD.value:
        bench_ratios.record(Path(FILE.value), device(), ratios, jax=jax.__version__, commit=git_commit())
    return 0 if good else 1


def chosen(names: list[str] | None) -> list[str]:
    """Cases by name in the order of CASES; ValueError for a name that is none."""
    if not names:
        return [name for name in CASES if name not in OPT_IN]
    if unknown := sorted(set(names) - {*CASES, "all"}):
        raise ValueError(f"--case: got {', '.join(unknown)}, legal are {', '.join(CASES)} and all")
    return [name for name in CASES if name in names or "all" in names]


def make_setup(argv: list[str]) -> Setup:
    """What the flags say; ValueError for what they may not."""
    if argv[1:]:
        raise ValueError(f"got {argv[1]!r}, which is no flag; cases are named by --case=")
    for flag, values, legal in (
        ("grid_sampler", GRID_SAMPLER.value, SAMPLERS),
        ("grid_dtype", GRID_DTYPE.value, DTYPES),
        ("train_dtype", [TRAIN_DTYPE.value], DTYPES),
    ):
        if wrong := [v for v in values if v not in legal]:
            raise ValueError(f"--{flag}: got {wrong[0]!r}, legal are {', '.join(legal)}")
    return Setup(
        model=released.load(MODEL.value),
        name=MODEL.value,
        fast=few_step_model(FAST.value),
        repeats=REPEATS.value,
        hypotheses=HYPOTHESES.value,
        batch=BATCH.value,
        grid_hypotheses=tuple(GRID_H.value),
        grid_batch=tuple(GRID_B.value),
        grid_steps=tuple(GRID_STEPS.value),
        grid_sampler=tuple(GRID_SAMPLER.value),
        grid_dtype=tuple(GRID_DTYPE.value),
        recipe_poses=POSES.value,
        train_batch=TRAIN_BATCH.value,
        accumulate=ACCUMULATE.value,
        train_dtype=TRAIN_DTYPE.value,
    )


def few_step_model(name: str) -> released.Model | None:
    """The few-step model; None, with the reason printed, where the default is not there; ValueError for another."""
    try:
        model = released.load(name)
    except ValueError as error:
        if FAST.default != name:
            raise ValueError(f"--fast: {error}") from error
        print(f"no rows of a few-step model: {error}", flush=True)
        return None
    if not model.spec.times:
        raise ValueError(f"--fast: {name} is no few-step model (its Spec.times is empty)")
    return model


def device() -> str:
    """Kind and number of devices, and of a CPU its cores: what ratios are compared within."""
    kind = jax.devices()[0].device_kind
    cores = f", {num_cores()} cores" if jax.default_backend() == "cpu" else ""
    return f"{jax.device_count()} x {kind}{cores}"


def show(row: Row) -> None:
    """A row for people and a line for programs."""
    name = f"{row.case} ({row.setting})" if row.setting else row.case
    print(f"{name}: " + ", ".join(f"{k} {v:.4g}" for k, v in row.figures.items()))
    print(bench_ratios.line_of(row, device=device(), jax=jax.__version__), flush=True)


def cli() -> None:
    """Errors that a user can mend leave with code 2 and one line."""
    try:
        app.run(main)
    except ValueError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    cli()
