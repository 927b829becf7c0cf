"""Error, best-of-H, ECE and time of every task over network calls, for every solver, on one set of weights.

    python -m experiments.evaluate calls --out=runs/calls
    python -m experiments.evaluate calls --fast=pose17_fast --out=runs/calls           and a few-step model beside them
    python -m experiments.evaluate calls --task=lift --solver=ddim --stride=200 --out=runs/x

A row is a solver and a number of calls, told as made: T steps of one call and the one that ends them are T + 1; heun's
are 2 T + 1. One call, and heun's two, are one step without an end: what is left is the noise of the last time.
Rows of 1000 calls are of every 10th pose (of generation, a fifth of the poses): they are compared with rows of 50 calls
on the same poses, and have no part in the knee.

The knee of a task is the row of fewest calls that lies within 2 % of the least mean error of all rows, 5 % of the least
best-of-H and 0.02 of the least ECE; of generation, within 0.02 of the highest F1. Among rows of equal calls it is the
one of least mean error, or highest F1. All rows share their key, so that differences are the solver's.

Beside the JSON file stands calls.png. Seconds are of one run of all poses, compiled before.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from experiments.evaluate import bench, calls_tasks, harness
from experiments.evaluate.calls_tasks import Task, calls_of, carry, knee, steps_of
from experiments.evaluate.harness import Item, Row, Table
from experiments.options import option
from jaxpose import model as released
from jaxpose.base import Array, Key
from jaxpose.diffusion import SDE, Solver, ancestral, ddim, dpmpp_2m, euler_maruyama, heun, time_grid
from jaxpose.model import Model
from jaxpose.tasks.draw import ROWS_IN_FLIGHT
from jaxpose.tasks.samplers import stochastic

SOLVERS: dict[str, Callable[[SDE], Solver]] = {
    "dpmpp_2m_sde": lambda sde: dpmpp_2m(sde, eta=1.0),
    "dpmpp_2m": dpmpp_2m,
    "ddim": ddim,
    "heun": heun,
    "euler_maruyama": euler_maruyama,
    "ancestral": ancestral,
}
TASKS = ("lift", "complete", "denoise", "generate", "complete_rotations", "generate_rotations")
MANY = 200  # calls from which fewer poses do
FEWER, AGAINST = {"poses": 10, "generated": 5}, 50
LONGEST = 1001  # entries of the times, so that one program serves every number of steps up to 1000
_TOLD = {
    "lift": f"2D detected, intrinsics; {bench.NO_DEPTH}",
    "complete": "the other 3D joints, exact",
    "denoise": "noisy 3D joints, the noise level",
    "complete_rotations": "the other rotations, exact, and the root",
}


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    """Of network calls."""

    model: str = option("pose17", "Model of joints: a bundled one's name or a .safetensors file.")
    prior: str = option("prior21", "Prior over rotations, likewise.")
    fast: str | None = option(None, "A few-step model (Spec.times), for rows of its own.")
    task: tuple[str, ...] = option(TASKS, "Only these tasks.", legal=TASKS)
    solver: tuple[str, ...] = option(tuple(SOLVERS), "Only these solvers.", legal=tuple(SOLVERS))
    calls: tuple[int, ...] = option((1, 2, 3, 5, 8, 10, 20, 50, 1000), "Network calls.", low=1, high=LONGEST)
    stride: int = option(50, "Every so many validation poses (50: 40 poses).", low=1)
    hypotheses: int = option(50, "Of lifting; 20 of the others, or this.", low=2)
    generated: int = option(1000, "Poses of generation.", low=250)


def calls(model: Model, options: Options) -> Iterator[Item]:
    """A table a task, its knee beside the default."""
    fast = released.load(options.fast) if options.fast else None
    if fast is not None and not fast.spec.times:
        raise ValueError(f"--fast: needed a few-step model, with times; got {fast.spec.name!r}")
    prior = released.load(options.prior) if any("rotations" in name for name in options.task) else model
    rows, knees = [], {}
    for name in options.task:
        used, found = prior if "rotations" in name else model, []
        for item in curve(used, name, fast, options):
            found += [item.values] if isinstance(item, Row) else []
            yield item
        whole = [r for r in found if not r.get("few")]
        knees[name] = {"knee": knee(whole), "default": next((r for r in whole if r.get("default")), None)}
        for said, row in knees[name].items():
            if row is not None:
                print(f"{name}, {said}: {harness.line(named(row), {})}", flush=True)
        rows += found
    yield {"models": {m.spec.name: released.describe(m) for m in (model, prior, fast) if m is not None}, "knees": knees}
    print(f"wrote {picture(Path(options.out) / 'calls.png', rows)}")


def curve(model: Model, name: str, fast: Model | None, options: Options) -> Iterator[Item]:
    """All rows of a task: the solvers over the calls, the model's own default, and the few-step model."""
    task, few = make_task(model, name, 1, options), None
    title = f"{name}: {task.model.spec.name}, H = {task.num}, {_poses(task)} poses"
    tuned = f"{bench.tuned(model)}; recalibration is left out"
    yield Table(title, f"{_TOLD.get(name, 'none')}; best_mm chooses by the truth", tuned)
    wanted = set(options.calls)
    for solver in options.solver:
        program = compiled(task, SOLVERS[solver](task.sde), options.seed)
        own = task.num_steps + 1 if solver == _own(model) else None
        for n in sorted({n for n in wanted if n < MANY} | ({own} if own else set())):
            if (plan := steps_of(solver, n)) is not None:
                yield row_of(name, solver, measure(task, program, times_of(task, plan[0]), *plan), default=n == own)
        many = sorted(n for n in wanted if n >= MANY)
        if many and solver in ("euler_maruyama", _own(model)):
            few = few or make_task(model, name, FEWER["poses"], options)
            program = compiled(few, SOLVERS[solver](few.sde), options.seed)
            for n in [AGAINST, *many]:
                yield row_of(name, solver, measure(few, program, times_of(few, n - 1), n - 1, True), few=True)
    if fast is not None and name in ("lift", "complete", "generate") and fast.spec.codec == model.spec.codec:
        task = make_task(fast, name, 1, options)
        run = stochastic().run(fast.spec, task.sde)
        program = compiled(task, run.solver, options.seed)
        yield row_of(name, fast.spec.name, measure(task, program, _padded(run.times), len(run.times) - 1, run.finish))


def make_task(model: Model, name: str, fewer: int, options: Options) -> Task:
    """A task by its name, of every `fewer`-th of its poses; of generation, of fewer of them."""
    num = options.hypotheses if name == "lift" else min(20, options.hypotheses)
    if name.startswith("generate"):
        num = options.generated // (FEWER["generated"] if fewer > 1 else 1)
    made: Task = getattr(calls_tasks, name)(model, options.stride * fewer, num)
    return made


def times_of(task: Task, steps: int) -> Array:
    """The model's own grid in `steps` steps, filled up."""
    return _padded(time_grid(task.sde, steps, task.model.spec.spacing))


def compiled(task: Task, solver: Solver, seed: int) -> Callable[..., Array]:
    """A task's draws [H, N, ...] by (times [LONGEST], steps, finish), compiled once for all of them."""
    rows = _poses(task) if not task.name.startswith("generate") else _poses(task) // task.num

    def draw(key: Key, model: Model, times: Array, steps: Array, finish: Array) -> Array:
        problem = task.problem

        def one(h: Array) -> Any:
            start = problem.start(jax.random.fold_in(key, h))
            how = times, steps, finish, problem.cond, problem.project
            return carry(start.key, start.x, model.predict_fn(), solver, *how), start.kept

        # a divisor, so that no rest needs a program of its own
        size = max(d for d in range(1, task.num + 1) if task.num % d == 0 and d * rows <= max(rows, ROWS_IN_FLIGHT))
        states, kept = jax.lax.map(one, jnp.arange(task.num), batch_size=size)
        return problem.decode(states, kept, None).samples

    key, times = jax.random.key(seed), jnp.zeros(LONGEST)
    program = jax.jit(draw).lower(key, task.model, times, 1, True).compile()
    return lambda *how: program(key, task.model, *how)


def measure(task: Task, program: Callable[..., Array], times: Array, steps: int, finish: bool) -> dict[str, Any]:
    """A row's figures, calls and seconds."""
    started = time.perf_counter()
    drawn = jax.block_until_ready(program(times, jnp.int32(steps), jnp.bool_(finish)))
    return {"steps": steps, "finish": finish, "seconds": time.perf_counter() - started, **task.figures(drawn)}


def row_of(task: str, solver: str, found: dict[str, Any], **marks: bool) -> Row:
    """A row, its calls told."""
    number = calls_of(solver, found.pop("steps"), found.pop("finish"))
    about = {"task": task, "solver": solver, "calls": number, **{k: True for k, v in marks.items() if v}}
    return named(about | found)


def named(values: dict[str, Any]) -> Row:
    """The row of these values."""
    more = ", the default" if values.get("default") else ", of fewer poses" if values.get("few") else ""
    return Row(f"{values['task']}, {values['solver']}, {values['calls']} calls{more}", values)


def picture(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Curves over calls, a row of panels a task; the default is ringed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(r["task"] for r in rows))
    figure = Figure(figsize=(14, 3 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(names), 4, squeeze=False)
    for line, name in zip(panels, names, strict=True):
        whole = [r for r in rows if r["task"] == name and not r.get("few")]
        kinds = ("f1", "precision", "recall") if "f1" in whole[0] else ("mean_mm", "best_mm", "ece")
        for panel, kind in zip(line, (*kinds, "seconds"), strict=True):
            for solver in dict.fromkeys(r["solver"] for r in whole):
                points = sorted((r["calls"], r[kind]) for r in whole if r["solver"] == solver)
                panel.plot(*zip(*points, strict=True), "o-", markersize=3, label=solver)
            default = [(r["calls"], r[kind]) for r in whole if r.get("default")]
            panel.plot(*zip(*default, strict=True) if default else ((), ()), "ko", markersize=9, fillstyle="none")
            panel.set(xscale="log", xlabel="network calls", title=f"{name}: {kind}")
            marks = sorted({1, 2, 5, 10, 20, 50} | {max(r["calls"] for r in whole)})
            panel.set_xticks(marks, [str(n) for n in marks])
            panel.minorticks_off()
            if kind.endswith("_mm"):
                least = min(r[kind] for r in whole)
                panel.set_ylim(0.95 * least, 2 * least)
    panels[0, 0].legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    return path


def _own(model: Model) -> str:
    """The solver that the tasks take by default, where it is one of SOLVERS."""
    return {1.0: "dpmpp_2m_sde", 0.0: "dpmpp_2m"}.get(model.spec.eta, "dpmpp_2m_sde")


def _poses(task: Task) -> int:
    shape = jax.eval_shape(task.problem.start, jax.random.key(0)).x.shape
    return shape[0] * (task.num if task.name.startswith("generate") else 1)


def _padded(times: Array) -> Array:
    return jnp.concatenate([times, jnp.full(LONGEST - len(times), times[-1])])
