"""The training loop: resume, dispatch, check, log, save, evaluate; leave when asked to.

Steps are counted by how many are done. A dispatch has at most `steps_per_dispatch` steps, takes about a second, and
ends at the latest where something is due: a checkpoint, an evaluation, the end. Lines of a step are written before its
checkpoint, and a checkpoint before an evaluation, which a resume makes up for: a kill at any time loses no line.

SIGTERM, Ctrl-C: the dispatch under way is saved, and the process leaves with code 128 + number; at once where there is
nothing to save, as while the program is compiled (notice.py). SIGKILL: the run goes on from the newest checkpoint. In
every case it ends with the same weights as one that was left alone, bit for bit on the same devices.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from jaxpose.training import checkpoint, notice, processes
from jaxpose.training.parallel import Runner
from jaxpose.training.progress import Console, MetricLog, open_log
from jaxpose.training.run_folder import locked
from jaxpose.training.step import OWN_METRICS, Data, TrainState

Evaluator: TypeAlias = Callable[[TrainState], Mapping[str, float]]
Rows: TypeAlias = dict[str, list[float]]  # metrics of successive steps

_DISPATCH_S = 1.0


def fit(
    state: TrainState,
    runner: Runner,
    data: Data,
    *,
    workdir: str | Path,
    total_steps: int,
    log_every: int = 100,
    checkpoint_every: int = 1000,
    eval_every: int = 0,
    evaluators: Mapping[str, Evaluator] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> TrainState:
    """Train `state` to `total_steps`, or on from the newest checkpoint in `workdir`; the state on this process.

    metrics.jsonl holds means over each `log_every` steps and the values of the evaluators as "<evaluator>/<name>",
    every `eval_every` steps (0: at the end only); an evaluator gets the state on this process' first device, in every
    process. `meta` (JSON values: config, seed, commit) goes into every checkpoint. ValueError where another run has the
    folder. FloatingPointError names the first step with a loss, gradient or update that is not finite.
    SystemExit(128 + number) after a signal.
    """
    evaluators, meta = evaluators or {}, meta or {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(workdir))
        asked = stack.enter_context(notice.watched())
        window: Rows = {}  # metrics since the last line; saved, or the next line would differ after a resume
        restored = checkpoint.restore_latest(workdir, like=state)
        if restored:
            state, window = restored[0], restored[1]["window"]
        saved = int(state.step) if restored else -1
        state, data, done = runner.place(state), runner.put(data), int(state.step)
        log = stack.enter_context(contextlib.closing(open_log(workdir, done)))
        console = Console(done, total_steps, runner.batch_size)

        def save() -> None:
            nonlocal saved
            if saved < done:
                log.flush()
                checkpoint.save(workdir, state, {**meta, "window": window})
                saved = done

        def evaluate() -> None:
            """At the end, and where due; not again where a line tells of it."""
            due = evaluators and done and (done == total_steps or (eval_every and done % eval_every == 0))
            if not due or processes.agreed(log.has(done, f"{next(iter(evaluators))}/")):
                return
            save()
            with asked.nothing_to_lose(done):
                here = runner.local(state)
                found = {name: evaluator(here) for name, evaluator in evaluators.items()}
            processes.meet("evaluated")
            log.write(done, {f"{name}/{key}": float(v) for name, row in found.items() for key, v in row.items()})

        processes.meet("begun")  # all have read and placed their data; collectives wait for 30 s only
        save()  # of step 0: what cannot be written is known before hours of work
        if done < total_steps:
            with asked.nothing_to_lose(done):
                runner.compile(state, data)
            processes.meet("compiled")
        evaluate()
        console.restart(done)
        length, begun = 1, time.monotonic()
        while done < total_steps:
            periods = [every for every in (checkpoint_every, eval_every) if every]
            end = min(done + length, total_steps, *((done // every + 1) * every for every in periods))
            state, rows = runner.run(state, data, end - done)
            metrics = {name: values.astype(np.float64).tolist() for name, values in rows.items()}
            _check_finite(metrics, done)
            window = _log_rows(log, window, metrics, done, log_every)
            seconds, stop = processes.largest((time.monotonic() - begun) / (end - done), asked.number)
            done = end
            rate = console.show(done, metrics["loss"][-1])
            if rate is not None:
                log.write_rate(done, rate)
            if stop or done == total_steps or (checkpoint_every and done % checkpoint_every == 0):
                save()
            if stop and done < total_steps:
                asked.number = int(stop)
                raise asked.leave(done)
            evaluate()
            length, begun = min(runner.max_steps, max(1, int(_DISPATCH_S / seconds))), time.monotonic()
        return runner.local(state)


def _check_finite(rows: Rows, start: int) -> None:
    values = {name: np.asarray(rows[name]) for name in OWN_METRICS}
    bad = ~np.all([np.isfinite(v) for v in values.values()], axis=0)
    if bad.any():
        first = int(bad.argmax())
        shown = ", ".join(f"{name} {v[first]}" for name, v in values.items())
        raise FloatingPointError(f"step {start + first + 1}: {shown}; the checkpoints before it stay")


def _log_rows(log: MetricLog, window: Rows, rows: Rows, start: int, log_every: int) -> Rows:
    """Write the mean of every `log_every` steps that `rows` completes; the steps left over."""
    first = 0
    for end in range(1, len(rows["loss"]) + 1):
        if (start + end) % log_every == 0:
            complete = {name: window.get(name, []) + values[first:end] for name, values in rows.items()}
            log.write(start + end, {name: float(np.mean(values)) for name, values in complete.items()})
            window, first = {}, end
    return {name: window.get(name, []) + values[first:] for name, values in rows.items()}
