"""Error, best-of-H, ECE and time of every task over network calls, for every solver, on one set of weights.

    python -m experiments.evaluate calls --out=runs/calls
    python -m experiments.evaluate calls --fast=pose17_fast --out=runs/calls           and a few-step model beside them
    python -m experiments.evaluate calls --task=lift --solver=ddim --stride=200 --out=runs/x

    lift                 2D detected, camera known                              all joints about the root
    complete             3D joints, exact, both arms missing                    the hidden joints
    denoise              every joint with 50 mm of noise per coordinate, told   all joints about the root
    generate             from nothing, against the validation poses             joints about the root
    complete_rotations   both arms' rotations missing, `replace` (prior21)      the hidden arms' joints
    generate_rotations   from nothing, against the validation poses (prior21)   rotation vectors

Figures over N poses and H hypotheses: `mean_mm`, the error of the samples' mean; `best_mm`, of the best hypothesis, an
oracle that reads the truth; `ece`. Of generation: precision and recall with three neighbours, `f1`, their harmonic
mean, and the Frechet distance. Recalibration is left out: it would hide what is asked.

A row is a solver and the number of calls that it makes: T steps of one call and the one that ends them are T + 1;
heun's are 2 T + 1. One call, and heun's two, are one step without an end: what is left is the noise of the last time.
The knee of a task is the row of fewest calls that lies within 2 % of the least mean error of all rows, 5 % of the least
best-of-H and 0.02 of the least ECE; of generation, within 0.02 of the highest F1. Among rows of equal calls it is the
one of least mean error, or highest F1. All rows share their key, so that differences are the solver's.

Beside the JSON file stands calls.png. Seconds are of one run of all poses, compiled before.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from experiments.evaluate import bench, harness
from experiments.evaluate.bench import generic_body, joints_of, load_frames, load_poses, on_device
from experiments.evaluate.harness import Item, Row, Table, timed
from experiments.options import option
from jaxpose import model as released
from jaxpose.base import Array, Camera, Condition, Key
from jaxpose.diffusion import SDE, Solver, ancestral, ddim, dpmpp_2m, euler_maruyama, heun, replace, time_grid
from jaxpose.evaluation import calibration, generation, metrics
from jaxpose.evaluation.protocols import HIDDEN_PARTS
from jaxpose.model import Model, Spec
from jaxpose.tasks import complete as completion
from jaxpose.tasks import denoise as denoising
from jaxpose.tasks import generate as generating
from jaxpose.tasks import lift as lifting
from jaxpose.tasks import rotations
from jaxpose.tasks.complete_rotations import PARTS
from jaxpose.tasks.draw import draw
from jaxpose.tasks.samplers import Run, Sampler, stochastic

SOLVERS: dict[str, Callable[[SDE], Solver]] = {
    "dpmpp_2m_sde": lambda sde: dpmpp_2m(sde, eta=1.0),
    "dpmpp_2m": dpmpp_2m,
    "ddim": ddim,
    "heun": heun,
    "euler_maruyama": euler_maruyama,
    "ancestral": ancestral,
}
TASKS = ("lift", "complete", "denoise", "generate", "complete_rotations", "generate_rotations")
_TOLD = {
    "lift": f"2D detected, intrinsics; {bench.NO_DEPTH}",
    "complete": "the other 3D joints, exact",
    "denoise": "noisy 3D joints, the noise level",
    "complete_rotations": "the other rotations, exact, and the root",
}
_WITHIN = {"mean_mm": 1.02, "best_mm": 1.05}  # times the least
_SHARE = 0.02  # of ECE, F1
_NOISE = 0.05  # metres


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    model: str = option("pose17", "Model of joints: a bundled one's name or a .safetensors file.")
    prior: str = option("prior21", "Prior over rotations, likewise.")
    fast: str | None = option(None, "A few-step model (Spec.times), for rows of its own.")
    task: tuple[str, ...] = option(TASKS, "Only these tasks.", legal=TASKS)
    solver: tuple[str, ...] = option(tuple(SOLVERS), "Only these solvers.", legal=tuple(SOLVERS))
    calls: tuple[int, ...] = option((1, 2, 3, 5, 8, 10, 20, 50), "Network calls.", low=1, high=1001)
    stride: int = option(50, "Every so many validation poses (50: 40 poses).", low=1)
    hypotheses: int = option(50, "Of lifting; 20 of the others, or this.", low=2)
    generated: int = option(1000, "Poses of generation.", low=250)


class Task(NamedTuple):
    """What is drawn, [H, N, J, 3] or of generation [N, J, 3], how draws score, and the solver steps by default."""

    draw: Callable[[Key, Model, Sampler], Array]
    figures: Callable[[Array], dict[str, float]]
    num_steps: int


def calls(model: Model, options: Options) -> Iterator[Item]:
    """A table a task, its knee beside the default."""
    fast = released.require(released.load(options.fast), "--fast", "few_steps") if options.fast else None
    prior = released.load(options.prior) if any("rotations" in name for name in options.task) else model
    rows, knees = [], {}
    for name in options.task:
        of_task = []
        for item in curve(prior if "rotations" in name else model, name, fast, options):
            of_task += [item.values] if isinstance(item, Row) else []
            yield item
        knees[name] = {"knee": knee(of_task), "default": next((r for r in of_task if r.get("default")), None)}
        for what, row in knees[name].items():
            if row is not None:
                print(f"{name}, {what}: {harness.line(named(row), {})}", flush=True)
        rows += of_task
    yield {"models": {m.spec.name: released.describe(m) for m in (model, prior, fast) if m is not None}, "knees": knees}
    print(f"wrote {picture(Path(options.out) / 'calls.png', rows)}")


def curve(model: Model, name: str, fast: Model | None, options: Options) -> Iterator[Item]:
    """All rows of a task: the solvers over the calls, the model's own default, and the few-step model."""
    task = _MAKERS[name](model, options)
    tuned = f"{bench.tuned(model)}; recalibration is left out"
    yield Table(f"{name}: {model.spec.name}", f"{_TOLD.get(name, 'none')}; best_mm chooses by the truth", tuned)
    usual = {1.0: "dpmpp_2m_sde", 0.0: "dpmpp_2m"}.get(model.spec.eta, "dpmpp_2m_sde")
    for solver in options.solver:
        default = task.num_steps + 1 if solver == usual else 0
        for number in sorted({*options.calls, default} - {0}):
            if (plan := steps_of(solver, number)) is not None:
                sampler = Sampler(f"{solver} {plan}", partial(_run, solver, *plan))
                about = {"task": name, "solver": solver, "calls": calls_of(solver, *plan)}
                about |= {"default": True} if number == default else {}
                yield named(about | measure(task, model, sampler, options.seed))
    if fast is not None and name in ("lift", "complete", "generate") and fast.spec.space == model.spec.space:
        task = _MAKERS[name](fast, options)
        about = {"task": name, "solver": fast.spec.name, "calls": stochastic().network_calls(fast)}
        yield named(about | measure(task, fast, stochastic(), options.seed))


def measure(task: Task, model: Model, sampler: Sampler, seed: int) -> dict[str, Any]:
    """Seconds and figures of a row."""
    model = dataclasses.replace(model, recalibration={})
    samples, seconds = timed(lambda key, model: task.draw(key, model, sampler), jax.random.key(seed), model)
    return {"seconds": seconds, **task.figures(samples)}


def _run(solver: str, steps: int, finish: bool, sampler: Sampler, spec: Spec, sde: SDE) -> Run:
    del sampler
    return Run(SOLVERS[solver](sde), time_grid(sde, steps, spec.spacing), finish)


def _lift(model: Model, options: Options) -> Task:
    """Every `stride`-th detection of the benchmark."""
    keypoints, confidence, intrinsics, joints = on_device(load_frames(options.stride))
    how: dict[str, Any] = {"camera": Camera(intrinsics), "num_hypotheses": options.hypotheses}

    def drawn(key: Key, model: Model, sampler: Sampler) -> Array:
        return lifting.lift(key, model, keypoints, confidence, sampler=sampler, **how).samples

    return Task(drawn, partial(posterior_figures, metrics.align_root(joints)), model.spec.num_steps)


def _complete(model: Model, options: Options) -> Task:
    """Every `stride`-th pose without its arms."""
    truth, hidden = _truth(options), list(HIDDEN_PARTS["arms"])
    given = truth.at[:, jnp.array(hidden)].set(jnp.nan)

    def drawn(key: Key, model: Model, sampler: Sampler) -> Array:
        return completion.complete(key, model, given, num_hypotheses=_few(options), sampler=sampler).samples

    return Task(drawn, partial(posterior_figures, truth, chosen=hidden), model.spec.num_steps)


def _denoise(model: Model, options: Options) -> Task:
    """Every `stride`-th pose with noise."""
    truth = _truth(options)
    noisy = truth + _NOISE * jax.random.normal(jax.random.key(7), truth.shape)
    how: dict[str, Any] = {"noise": _NOISE, "num_hypotheses": _few(options)}

    def drawn(key: Key, model: Model, sampler: Sampler) -> Array:
        return metrics.align_root(denoising.denoise(key, model, noisy, sampler=sampler, **how).samples)

    return Task(drawn, partial(posterior_figures, truth), model.spec.num_steps)


def _generate(model: Model, options: Options) -> Task:
    """Poses against all validation poses."""
    del model
    real = metrics.align_root(on_device(load_frames(1))[3])
    drawn = lambda key, m, sampler: generating.generate(key, m, options.generated, sampler=sampler)  # noqa: E731
    return Task(drawn, partial(set_figures, real), generating.NUM_STEPS)


def _complete_rotations(model: Model, options: Options) -> Task:
    """Every `stride`-th body pose without its arms."""
    body, poses, hidden = generic_body(), jnp.asarray(load_poses(options.stride).body_pose), list(PARTS["arms"])
    known = jnp.ones(poses.shape[:2]).at[:, jnp.array(hidden)].set(0)
    value = rotations.to_state(model, poses)
    mask = jnp.broadcast_to(known[..., None], value.shape)
    project = Partial(replace(model.spec.sde(), Condition(mask * value, mask)))
    problem = dataclasses.replace(rotations.problem(model, value), project=project)

    def drawn(key: Key, model: Model, sampler: Sampler) -> Array:
        turns = draw(key, model, problem, _few(options), sampler).samples
        return joints_of(body, jnp.where(known[..., None] > 0, poses, turns))

    figures = partial(posterior_figures, joints_of(body, poses), chosen=[joint + 1 for joint in hidden])
    return Task(drawn, figures, model.spec.num_steps)


def _generate_rotations(model: Model, options: Options) -> Task:
    """Body poses against all validation poses."""
    real = jnp.asarray(load_poses(1).body_pose)
    drawn = lambda key, m, sampler: rotations.generate_rotations(key, m, options.generated, sampler=sampler)  # noqa: E731
    return Task(drawn, partial(set_figures, real), model.spec.num_steps)


_MAKERS = dict(
    zip(TASKS, (_lift, _complete, _denoise, _generate, _complete_rotations, _generate_rotations), strict=True)
)


def _truth(options: Options) -> Array:
    return metrics.align_root(on_device(load_frames(options.stride))[3])


def _few(options: Options) -> int:
    return min(20, options.hypotheses)


def posterior_figures(truth: Array, samples: Array, *, chosen: Sequence[int] | None = None) -> dict[str, float]:
    """Figures of samples [H, N, J, 3] of truths [N, J, 3] over the joints `chosen`; None: all, ECE without the root."""
    root: int | None = 0
    if chosen is not None:
        samples, truth, root = samples[:, :, jnp.array(chosen)], truth[:, jnp.array(chosen)], None
    return {
        "mean_mm": 1000 * float(metrics.mpjpe(samples.mean(0), truth).mean()),
        "best_mm": 1000 * float(metrics.best_of(metrics.mpjpe(samples, truth)).mean()),
        "ece": float(calibration.ece(samples, truth, root=root).ece),
    }


def set_figures(real: Array, samples: Array) -> dict[str, float]:
    """Figures of generated poses [..., J, 3] against real ones [M, J, 3]; Frechet distance in their unit squared."""
    fake, flat = samples.reshape(-1, real.shape[1] * 3), real.reshape(len(real), -1)
    if not bool(jnp.isfinite(fake).all()):
        return dict.fromkeys(("precision", "recall", "f1"), 0.0) | {"frechet": float("inf")}
    shares = generation.neighbour_metrics(flat, fake)
    f1 = 2 * shares.precision * shares.recall / max(shares.precision + shares.recall, 1e-9)
    frechet = generation.frechet_distance(fake, flat)
    return {"precision": shares.precision, "recall": shares.recall, "f1": f1, "frechet": frechet}


def steps_of(solver: str, calls: int) -> tuple[int, bool] | None:
    """Steps within `calls` network calls and whether a call ends them; None where the solver needs more."""
    each = 2 if solver == "heun" else 1
    if calls <= each:
        return (1, False) if calls == each else None
    return (calls - 1) // each, True


def calls_of(solver: str, steps: int, finish: bool) -> int:
    """Network calls of `steps` steps."""
    return steps * (2 if solver == "heun" else 1) + finish


def knee(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of fewest calls that is near the best of each figure, as told above; rows of one set of poses."""
    if "f1" in rows[0]:
        near = [r for r in rows if r["f1"] >= max(x["f1"] for x in rows) - _SHARE]
        return min(near, key=lambda r: (r["calls"], -r["f1"]))
    finite = [r for r in rows if math.isfinite(r["mean_mm"])]
    least = {k: min(r[k] for r in finite) for k in ("mean_mm", "best_mm", "ece")}
    near = [
        r
        for r in finite
        if all(r[k] <= factor * least[k] for k, factor in _WITHIN.items()) and r["ece"] <= least["ece"] + _SHARE
    ]
    # no single row may be near all three: then the rule of the mean alone
    near = near or [r for r in finite if r["mean_mm"] <= _WITHIN["mean_mm"] * least["mean_mm"]]
    return min(near, key=lambda r: (r["calls"], r["mean_mm"]))


def named(values: dict[str, Any]) -> Row:
    """The row of these values."""
    more = ", the default" if values.get("default") else ""
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
        of_task = [r for r in rows if r["task"] == name]
        kinds = ("f1", "precision", "recall") if "f1" in of_task[0] else ("mean_mm", "best_mm", "ece")
        for panel, kind in zip(line, (*kinds, "seconds"), strict=True):
            for solver in dict.fromkeys(r["solver"] for r in of_task):
                points = sorted((r["calls"], r[kind]) for r in of_task if r["solver"] == solver)
                panel.plot(*zip(*points, strict=True), "o-", markersize=3, label=solver)
            default = [(r["calls"], r[kind]) for r in of_task if r.get("default")]
            panel.plot(*zip(*default, strict=True) if default else ((), ()), "ko", markersize=9, fillstyle="none")
            panel.set(xscale="log", xlabel="network calls", title=f"{name}: {kind}")
            if kind.endswith("_mm"):
                least = min(r[kind] for r in of_task)
                panel.set_ylim(0.95 * least, 2 * least)
    panels[0, 0].legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    return path
