"""How fast, and how near to what the machine can do.

    python -m experiments.benchmark                                    the default cases, some minutes on 2 cores
    python -m experiments.benchmark --case=lifting --case=recipe       these; --case=all: the slow ones too
    python -m experiments.benchmark --compare                          and what got slower; exit status 1 if anything
    python -m experiments.benchmark --record                           keep the ratios for later comparison
    python -m experiments.benchmark --document=docs/benchmarks.md      and put the tables into the page

One table row and one JSON line per row of a case: compile time apart from run time, medians of interleaved runs, and
beside each throughput the ceilings measured in the same run (experiments/benchmark/timing.py). The cases stand in
experiments/benchmark; the same command serves GPU and TPU, and cuts batches over all devices that JAX shows.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import jax

from experiments.benchmark import ratios
from experiments.benchmark.against import equal_calls, equal_quality
from experiments.benchmark.eager import eager
from experiments.benchmark.fits import fitting
from experiments.benchmark.interactive import fresh, interactive, memory
from experiments.benchmark.sampling import lifting, recipe, sampling
from experiments.benchmark.tasks import likelihood, skinning, stream, tasks
from experiments.benchmark.timing import Row, Setup, Sizes, num_cores
from experiments.benchmark.training import scaling, startup, training
from experiments.options import option, run
from jaxpose import model as released
from jaxpose.training.checkpoint import git_commit

CASES: dict[str, Callable[[Setup], Iterable[Row]]] = {
    f.__name__: f
    for f in (
        *(startup, fresh, sampling, lifting, interactive, eager, recipe, memory, tasks),
        *(training, likelihood, skinning, scaling, stream, fitting, equal_calls, equal_quality),
    )
}
OPT_IN = ("scaling", "stream", "fitting")  # run by name or by --case=all
AGAINST = ("equal_calls", "equal_quality")  # run where --against is given, and then these alone unless others are named
RATIOS = Path(__file__).with_name("ratios.json")


@dataclasses.dataclass(frozen=True)
class Options(Sizes):
    case: tuple[str, ...] = option((), f"Cases to run: {', '.join(CASES)} or all.", legal=(*CASES, "all"))
    compare: bool = option(False, "Say which ratios got worse than on record; exit status 1 if any.")
    record: bool = option(False, "Write the ratios of this run to --ratios, for this kind of device.")
    ratios: str = option(str(RATIOS), "File of the ratios on record.")
    tolerance: float = option(0.10, "Share by which a ratio may be worse.", low=0, high=1)
    again: int = option(2, "Times that a case is run again if a ratio is worse; the best counts.", low=0)
    document: str | None = option(None, "Page whose tables to write, such as docs/benchmarks.md.")


def main(options: Options) -> int:
    """Run the cases; 1 where a ratio got worse."""
    names = chosen(options)
    setup = Setup(options, released.load(options.model), few_step_model(options.fast))
    known = ratios.read(Path(options.ratios))
    if options.compare and device() not in known:
        raise ValueError(f"{options.ratios}: nothing on record for {device()!r}, but {list(known)}; --record writes it")
    by_case: dict[str, list[Row]] = {}
    for name in names:
        started = time.perf_counter()
        for row in CASES[name](setup):
            show(row)
            by_case.setdefault(name, []).append(row)
        print(f"{name} took {time.perf_counter() - started:.0f} s", flush=True)
    now = ratios.ratios_of([row for rows in by_case.values() for row in rows])
    if options.document:
        about = f"{device()}, JAX {jax.__version__}, commit {short_commit()}"
        ratios.document(Path(options.document), about, {name: ratios.table(rows) for name, rows in by_case.items()})
    good = True
    if options.compare:
        recorded = known[device()]["ratios"]
        best = measured_again(setup, recorded, now, names, options)  # for the verdict; --record keeps one measurement
        good = ratios.say(ratios.compare(recorded, best, names), options.tolerance)
    if options.record:
        ratios.record(Path(options.ratios), device(), now, jax=jax.__version__, commit=git_commit())
    return 0 if good else 1


def measured_again(
    setup: Setup, recorded: ratios.Ratios, now: ratios.Ratios, names: list[str], options: Options
) -> ratios.Ratios:
    """The better of each ratio after further runs of the cases with one that is worse.

    Other work on the machine does not last through them all; what is slower stays so.
    """
    for _ in range(options.again):
        worse = [v for v in ratios.compare(recorded, now, names) if v.worse(options.tolerance)]
        for case in dict.fromkeys(v.case for v in worse):
            print(f"again: {case}, for {', '.join(v.name for v in worse if v.case == case)}", flush=True)
            now = ratios.better_of(now, ratios.ratios_of(list(CASES[case](setup))))
    return now


def chosen(options: Options) -> list[str]:
    """The cases to run, in their order."""
    named = set(CASES) - set(AGAINST) if "all" in options.case else set(options.case)
    if options.against is not None:
        named |= set() if named & set(AGAINST) else set(AGAINST)
    elif not named:
        named = set(CASES) - set(OPT_IN) - set(AGAINST)
    return [name for name in CASES if name in named]


def few_step_model(name: str) -> released.Model | None:
    """The few-step model; None, with the reason printed, where the default is not there; ValueError for another."""
    try:
        model = released.load(name)
    except ValueError as error:
        if name != Sizes.fast:
            raise ValueError(f"--fast: {error}") from error
        print(f"no rows of a few-step model: {error}", flush=True)
        return None
    return released.require(model, "--fast", "few_steps")


def device() -> str:
    """Kind and number of devices, and of a CPU its cores: what ratios are compared within."""
    kind = jax.devices()[0].device_kind
    cores = f", {num_cores()} cores" if jax.default_backend() == "cpu" else ""
    return f"{jax.device_count()} x {kind}{cores}"


def show(row: Row) -> None:
    """A row for people and a line for programs."""
    name = f"{row.case} ({row.setting})" if row.setting else row.case
    print(f"{name}: " + ", ".join(f"{k} {v:.4g}" for k, v in row.figures.items()))
    print(ratios.line_of(row, device=device(), jax=jax.__version__), flush=True)


def short_commit() -> str:
    """The commit in 12 digits, with "-dirty" where files differ from it."""
    commit, dash, mark = git_commit().partition("-")
    return f"{commit[:12]}{dash}{mark}"


if __name__ == "__main__":
    run("benchmark", main, Options, __doc__)
