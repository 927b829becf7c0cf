"""Progress of a training run: metrics.jsonl, times.jsonl, TensorBoard event files, a line on the console.

metrics.jsonl holds one object per line, {"step": n, name: value, ...}, and nothing that depends on the clock: after a
resume it equals, byte for byte, the file of a run that was never interrupted. times.jsonl has the rate and the time of
day (seconds since 1970) of each line on the console.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

from jaxpose.files import atomic
from jaxpose.training import processes


class MetricLog:
    """Open metrics.jsonl of a run and, where `tensorboard` is installed, its event file (else None).

    Processes but the first have no path, and write nothing. Storage with a scheme cannot append: there the file is
    written anew by `flush`.
    """

    def __init__(self, path: Any, events: Any, lines: list[str]):
        self.path, self.events, self._lines = path, events, lines
        self._stored = path is not None and "://" in os.fspath(path)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line; 6 digits, so that it can be read."""
        if self.path is None:
            return
        row = {"step": step} | {name: float(f"{value:.6g}") for name, value in sorted(values.items())}
        self._lines.append(json.dumps(row) + "\n")
        if not self._stored:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(self._lines[-1])
        if self.events is not None:
            self.events.add_event(_scalars(step, values))

    def write_rate(self, step: int, examples_per_s: float) -> None:
        """Append a line to times.jsonl; to a file in a storage nothing can be appended."""
        if self.path is None or self._stored:
            return
        row = {"step": step, "time": round(time.time(), 3), "examples_per_s": float(f"{examples_per_s:.6g}")}
        with self.path.with_name("times.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self.events is not None:
            self.events.add_event(_scalars(step, {"examples_per_s": row["examples_per_s"]}))

    def has(self, step: int, prefix: str) -> bool:
        """Whether a line of `step` has a name that begins so."""
        of_step = (json.loads(line) for line in reversed(self._lines) if _step_of(line) == step)
        return any(name.startswith(prefix) for row in of_step for name in row)

    def flush(self) -> None:
        """All lines are where they belong."""
        if self._stored:
            self.path.write_text("".join(self._lines), encoding="utf-8")

    def close(self) -> None:
        self.flush()
        if self.events is not None:
            self.events.close()


def open_log(workdir: str | Path, step: int) -> MetricLog:
    """Log of a run that goes on from `step`: what was logged beyond it, or torn by a kill, is dropped."""
    folder = processes.folder(workdir)
    if not processes.is_first():
        return MetricLog(None, None, [])
    path, lines = folder / "metrics.jsonl", []
    if path.exists():
        lines = [line + "\n" for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
        with atomic(path) as file:
            file.write("".join(lines).encode())
    return MetricLog(path, _open_events(folder / "tensorboard", step), lines)


class Console:
    """Prints step, loss, rate and time left, at most once in `period` seconds and at the end."""

    def __init__(self, start: int, total_steps: int, batch_size: int, period: float = 10.0):
        self.total_steps, self.batch_size, self.period = total_steps, batch_size, period
        self.first = self.shown = (start, time.monotonic())
        self.is_warm = False

    def restart(self, step: int) -> None:
        """Measure the rate from the end of the next dispatch on: what was before compiled, and that one warms up."""
        self.first, self.is_warm = (step, time.monotonic()), False

    def show(self, step: int, loss: float) -> float | None:
        """Examples a second where a line was printed, else None."""
        now = time.monotonic()
        if not processes.is_first():
            return None
        if not self.is_warm and step < self.total_steps:
            self.first, self.is_warm = (step, now), True
        if now - self.shown[1] < self.period and step < self.total_steps:
            return None
        rate = (step - self.first[0]) / max(now - self.first[1], 1e-9)
        left = _clock((self.total_steps - step) / rate) if rate else "unknown"
        speed = f"{rate * self.batch_size:,.0f} examples/s"
        print(f"step {step}/{self.total_steps}  loss {loss:.5g}  {speed}  {left} left", flush=True)
        self.shown = (step, now)
        return rate * self.batch_size


def _clock(seconds: float) -> str:
    minutes, s = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{s:02}"


def _step_of(line: str) -> float:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _open_events(directory: Any, step: int) -> Any:
    try:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        logging.warning("tensorboard is not installed (pip install jaxpose[train]): no event files")
        return None
    try:
        _await_new_second(directory)
        writer = EventFileWriter(os.fspath(directory))
    except Exception as error:  # of the storage's own library
        if "://" not in os.fspath(directory):
            raise
        logging.warning("%s: no event files (%s)", directory, error)
        return None
    # TensorBoard forgets, on reading this, what an interrupted run wrote at this step or later.
    session = SessionLog(status=SessionLog.START)
    writer.add_event(Event(step=step + 1, wall_time=time.time(), session_log=session))
    return writer


def _await_new_second(directory: Any) -> None:
    """TensorBoard reads event files in the order of their names: of one second, `.10` comes before `.9`."""
    while any(f".{int(time.time()):010d}." in file.name for file in directory.glob("*.tfevents.*")):
        time.sleep(0.05)


def _scalars(step: int, values: Mapping[str, float]) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
    return Event(step=step, wall_time=time.time(), summary=summary)
