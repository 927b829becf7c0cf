"""The training loop: resume, dispatch, check, log, evaluate, save; stop on SIGTERM.

Steps are counted by how many are done. A dispatch ends at the next multiple of `steps_per_dispatch`; what is due every
n steps happens at the end of the dispatch that reaches or passes a multiple of n, and at the end of the run. Lines of a
step are written before its checkpoint, so that a kill at any time loses no line.

SIGTERM: the dispatch under way is finished, saved, and the process leaves with code 143 (128 + SIGTERM).
SIGKILL: the run goes on from the newest checkpoint, and ends with the same weights as one that was never killed.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from jaxpose.training import checkpoint
from jaxpose.training.parallel import Runner
from jaxpose.training.progress import Console, MetricLog, open_log
from jaxpose.training.step import OWN_METRICS, Data, TrainState

Evaluator: TypeAlias = Callable[[TrainState], Mapping[str, float]]
Rows: TypeAlias = dict[str, list[float]]  # metrics of successive steps

SIGTERM_EXIT = 128 + signal.SIGTERM


def fit(
    state: TrainState,
    runner: Runner,
    data: Data,
    *,
    workdir: str | Path,
    total_steps: int,
    batch_size: int,
    steps_per_dispatch: int = 100,
    log_every: int = 100,
    checkpoint_every: int = 1000,
    eval_every: int = 0,
    evaluators: Mapping[str, Evaluator] | None = None,
    meta: Mapping[str, Any] | None = None,
    keep_last: int = 3,
    keep_every: int = 0,
) -> TrainState:
    """Train `state` to `total_steps`, or on from the newest checkpoint in `workdir`; donates `state`.

    `batch_size` is for the rate on the console. metrics.jsonl holds means over each `log_every` steps and the values of
    the evaluators as "<evaluator>/<name>", every `eval_every` steps (0: at the end only). `meta` (JSON values: config,
    seed, commit) goes into every checkpoint. FloatingPointError names the first step with a loss, gradient or update
    that is not finite. SystemExit(143) after SIGTERM.
    """
    Path(workdir).mkdir(parents=True, exist_ok=True)
    window: Rows = {}  # metrics since the last line; saved, or the next line would differ after a resume
    if restored := checkpoint.restore_latest(workdir, like=state):
        state, window = restored[0], restored[1]["window"]
    state, data, done = runner.place(state), runner.place(data), int(state.step)
    log, console = open_log(workdir, done), Console(done, total_steps, batch_size)

    with contextlib.closing(log), _sigterm() as stop:
        for start, end in _dispatches(done, total_steps, steps_per_dispatch):
            state, metrics = runner.run(state, data, end - start)
            rows = {name: np.asarray(values, np.float64).tolist() for name, values in metrics.items()}
            _check_finite(rows, start)
            window = _log_rows(log, window, rows, start, log_every)
            console.show(end, rows["loss"][-1])
            if start == done:
                console.restart(end)
            last = end == total_steps
            if last or _passes(eval_every, start, end):
                for name, evaluate in (evaluators or {}).items():
                    log.write(end, {f"{name}/{key}": float(value) for key, value in evaluate(state).items()})
            if last or _passes(checkpoint_every, start, end) or stop.is_set():
                extended = {**(meta or {}), "window": window}
                checkpoint.save(workdir, state, extended, keep_last=keep_last, keep_every=keep_every)
            if stop.is_set() and not last:
                raise SystemExit(SIGTERM_EXIT)
    return state


def _dispatches(done: int, total_steps: int, length: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each dispatch from `done` on; ends are multiples of `length`, also after a resume."""
    while done < total_steps:
        end = min((done // length + 1) * length, total_steps)
        yield done, end
        done = end


def _passes(every: int, start: int, end: int) -> bool:
    """Whether a multiple of `every` lies in start < n <= end; of 0, never."""
    return every > 0 and end // every > start // every


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


@contextlib.contextmanager
def _sigterm() -> Iterator[threading.Event]:
    """An event that SIGTERM sets. Only the main thread may handle signals: elsewhere never set."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
