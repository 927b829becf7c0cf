"""Error, best-of-H, ECE and time of every task over network calls, for every solver, on one set of weights.

    python -m experiments.evaluate_calls --out=runs/calls
    python -m experiments.evaluate_calls --fast=pose17_fast --out=runs/calls           and a few-step model beside them
    python -m experiments.evaluate_calls --task=lift --solver=ddim --stride=200 --out=runs/x

A row is a solver and a number of calls, told as made: T steps of one call and the one that ends them are T + 1; heun's
are 2 T + 1. One call, and heun's two, are one step without an end: what is left is the noise of the last time.
Rows of 1000 calls are of every 10th pose (of generation, a fifth of the poses): they are compared with rows of 50 calls
on the same poses, and have no part in the knee.

The knee of a task is the row of fewest calls that lies within 2 % of the least mean error of all rows, 5 % of the least
best-of-H and 0.02 of the least ECE; of generation, within 0.02 of the highest F1. Among rows of equal calls it is the
one of least mean error, or highest F1. All rows share their key, so that differences are the solver's.

Prints a table a task, writes calls.json and calls.png. Seconds are of one run of all poses, compiled before.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags, logging

from experiments import calls_tasks
from experiments.calls_tasks import Task, calls_of, carry, knee, steps_of
from jaxpose import model as released
from jaxpose.base import Array, Key
from jaxpose.diffusion import SDE, Solver, ancestral, ddim, dpmpp_2m, euler_maruyama, heun, time_grid
from jaxpose.files import write_json
from jaxpose.model import Model
from jaxpose.tasks.draw import ROWS_IN_FLIGHT, make_run
from jaxpose.training.checkpoint import git_commit

MODEL = flags.DEFINE_string("model", "pose17", "Model of joints: a bundled one's name or a .safetensors file.")
PRIOR = flags.DEFINE_string("prior", "prior21", "Prior over rotations, likewise.")
FAST = flags.DEFINE_string("fast", None, "A few-step model (Spec.times), for rows of its own.")
TASK = flags.DEFINE_list("task", None, "Only these tasks.")
SOLVER = flags.DEFINE_list("solver", None, "Only these solvers.")
CALLS = flags.DEFINE_list("calls", ["1", "2", "3", "5", "8", "10", "20", "50", "1000"], "Network calls.")
STRIDE = flags.DEFINE_integer("stride", 50, "Every so many validation poses (50: 40 poses).", lower_bound=1)
HYPOTHESES = flags.DEFINE_integer("hypotheses", 50, "Of lifting; 20 of the others, or this.", lower_bound=2)
GENERATED = flags.DEFINE_integer("generated", 1000, "Poses of generation.", lower_bound=250)
SEED = flags.DEFINE_integer("seed", 0, "Of the one key.")
OUT = flags.DEFINE_string("out", "runs/calls", "Folder for calls.json and calls.png.")

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


def main(argv: list[str]) -> None:
    del argv
    logging.set_verbosity(logging.WARNING)
    names, solvers = (_chosen(f, legal) for f, legal in ((TASK, TASKS), (SOLVER, tuple(SOLVERS))))
    calls = _numbers(CALLS.value)
    models = {name: released.load(PRIOR.value if "rotations" in name else MODEL.value) for name in names}
    fast = released.load(FAST.value) if FAST.value else None
    if fast is not None and not fast.spec.times:
        raise ValueError(f"--fast: needed a few-step model, with times; got {fast.spec.name!r}")
    rows, knees = [], {}
    for name in names:
        found = curve(models[name], name, solvers, calls, fast)
        knees[name] = told_knee(name, found)
        rows += found
    record = {
        "models": {m.spec.name: released.describe(m) for m in models.values()},
        "device": jax.devices()[0].device_kind,
        "seed": SEED.value,
        "commit": git_commit(),
        "stride": STRIDE.value,
        "knees": knees,
        "rows": rows,
    }
    out = Path(OUT.value)
    write_json(out / "calls.json", record)
    print(f"wrote {out / 'calls.json'}\nwrote {picture(out / 'calls.png', rows)}")


def curve(
    model: Model, name: str, solvers: tuple[str, ...], calls: list[int], fast: Model | None
) -> list[dict[str, Any]]:
    """All rows of a task: the solvers over the calls, the model's own default, and the few-step model."""
    task, few = make_task(model, name, 1), None
    print(f"\n{name}: {task.model.spec.name}, H = {task.num}, {_poses(task)} poses", flush=True)
    rows = []
    for solver in solvers:
        program = compiled(task, SOLVERS[solver](task.sde))
        own = task.num_steps + 1 if solver == _own(model) else None
        for n in sorted({n for n in calls if n < MANY} | ({own} if own else set())):
            if (plan := steps_of(solver, n)) is not None:
                row = measure(task, program, times_of(task, plan[0]), *plan)
                rows.append(shown(row | {"task": name, "solver": solver, "default": n == own}))
        if any(n >= MANY for n in calls) and solver in ("euler_maruyama", _own(model)):
            few = few or make_task(model, name, FEWER["poses"])
            program = compiled(few, SOLVERS[solver](few.sde))
            for n in [AGAINST, *(n for n in calls if n >= MANY)]:
                plan = (n - 1, True)
                row = measure(few, program, times_of(few, plan[0]), *plan)
                rows.append(shown(row | {"task": name, "solver": solver, "few": True}))
    if fast is not None and name in ("lift", "complete", "generate") and fast.spec.codec == model.spec.codec:
        task = make_task(fast, name, 1)
        run = make_run(fast, "posterior", task.sde, None)
        row = measure(task, compiled(task, run.solver), _padded(run.times), len(run.times) - 1, run.finish)
        rows.append(shown(row | {"task": name, "solver": fast.spec.name}))
    return rows


def make_task(model: Model, name: str, fewer: int) -> Task:
    """A task by its name, of every `fewer`-th of its poses; of generation, of fewer of them."""
    num = HYPOTHESES.value if name == "lift" else min(20, HYPOTHESES.value)
    if name.startswith("generate"):
        num = GENERATED.value // (FEWER["generated"] if fewer > 1 else 1)
    made: Task = getattr(calls_tasks, name)(model, STRIDE.value * fewer, num)
    return made


def times_of(task: Task, steps: int) -> Array:
    """The model's own grid in `steps` steps, filled up."""
    return _padded(time_grid(task.sde, steps, task.model.spec.spacing))


def compiled(task: Task, solver: Solver) -> Callable[..., Array]:
    """A task's draws [H, N, ...] by (times [LONGEST], steps, finish), compiled once for all of them."""
    rows = _poses(task) if not task.name.startswith("generate") else _poses(task) // task.num

    def draw(key: Key, model: Model, times: Array, steps: Array, finish: Array) -> Array:
        def one(h: Array) -> Array:
            start_key, key_h = jax.random.split(jax.random.fold_in(key, h))
            x, offset = task.start(start_key)
            return carry(key_h, x, model.predict_fn(), solver, times, steps, finish, task.cond, task.project) - offset

        # a divisor, so that no rest needs a program of its own
        size = max(d for d in range(1, task.num + 1) if task.num % d == 0 and d * rows <= max(rows, ROWS_IN_FLIGHT))
        return task.decode(model, jax.lax.map(one, jnp.arange(task.num), batch_size=size))

    key, times = jax.random.key(SEED.value), jnp.zeros(LONGEST)
    program = jax.jit(draw).lower(key, task.model, times, 1, True).compile()
    return lambda *how: program(key, task.model, *how)


def measure(task: Task, program: Callable[..., Array], times: Array, steps: int, finish: bool) -> dict[str, Any]:
    """A row's figures, calls and seconds."""
    started = time.perf_counter()
    drawn = jax.block_until_ready(program(times, jnp.int32(steps), jnp.bool_(finish)))
    return {"steps": steps, "finish": finish, "seconds": time.perf_counter() - started, **task.figures(drawn)}


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """Print a row and give it back, its calls told."""
    row["calls"] = calls_of(row["solver"], row.pop("steps"), row.pop("finish"))
    numbers = ", ".join(f"{k} {row[k]:.4g}" for k in row if isinstance(row[k], float))
    more = ", the default" if row.get("default") else ", of fewer poses" if row.get("few") else ""
    print(f"{row['task']}, {row['solver']}, {row['calls']} calls{more}: {numbers}", flush=True)
    return row


def told_knee(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Print and give back the knee, and the default beside it."""
    whole = [r for r in rows if not r.get("few")]
    found = knee(whole)
    default = next((r for r in whole if r.get("default")), None)
    for said, row in (("knee", found), ("default", default)):
        if row is not None:
            figures = ", ".join(f"{k} {v:.4g}" for k, v in row.items() if isinstance(v, float))
            print(f"{name}, {said}: {row['solver']}, {row['calls']} calls: {figures}", flush=True)
    return {"knee": found, "default": default}


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
    shape = jax.eval_shape(lambda key: task.start(key)[0], jax.random.key(0)).shape
    return shape[0] * (task.num if task.name.startswith("generate") else 1)


def _padded(times: Array) -> Array:
    return jnp.concatenate([times, jnp.full(LONGEST - len(times), times[-1])])


def _chosen(flag: Any, legal: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := set(flag.value or ()) - set(legal):
        raise ValueError(f"--{flag.name}: got {sorted(unknown)}, legal are {list(legal)}")
    return tuple(flag.value or legal)


def _numbers(values: list[str]) -> list[int]:
    numbers = [int(v) if v.isdigit() else 0 for v in values]
    if not all(1 <= n <= LONGEST for n in numbers):
        raise ValueError(f"--calls: got {values}, legal are whole numbers from 1 to {LONGEST}")
    return numbers


def cli() -> None:
    """Errors that a user can mend leave with code 2 and one line."""
    try:
        app.run(main)
    except ValueError as error:
        print(f"evaluate_calls: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    cli()
