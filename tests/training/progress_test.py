"""The log of a run, and what becomes of it when the run is interrupted."""

import json
import sys

import pytest
from absl import logging

from jaxpose.training.progress import Console, open_log


def write(workdir, start, steps, loss):
    log = open_log(workdir, start)
    for n in steps:
        log.write(n, {"loss": loss + n, "val/mpjpe_mm": 60.0})
    log.close()


def rows(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_lines_beyond_the_resumed_step_and_torn_ones_are_dropped(tmp_path):
    write(tmp_path, 0, [10, 20, 30], loss=0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "lo')
    write(tmp_path, 20, [30, 40], loss=1000)
    assert [(r["step"], r["loss"]) for r in rows(tmp_path)] == [(10, 10), (20, 20), (30, 1030), (40, 1040)]
    assert not list(tmp_path.glob("*.tmp"))


def test_event_files_show_each_step_once(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    write(tmp_path, 0, [10, 20, 30], loss=0)
    write(tmp_path, 20, [30, 40], loss=1000)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(10, 10), (20, 20), (30, 1030), (40, 1040)]
    assert {e.value for e in events.Scalars("val/mpjpe_mm")} == {60.0}


def test_event_files_of_one_process_are_read_in_the_order_they_were_written(tmp_path, monkeypatch):
    """The names end with a counter, and `.10` sorts before `.9`."""
    writer = pytest.importorskip("tensorboard.summary.writer.event_file_writer")
    monkeypatch.setattr(writer, "_global_uid", writer.AtomicCounter(9))
    test_event_files_show_each_step_once(tmp_path)


def test_without_tensorboard_one_warning_and_the_lines(tmp_path, monkeypatch):
    warnings = []
    for name in [m for m in sys.modules if m.split(".")[0] == "tensorboard"] + ["tensorboard"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(logging, "warning", warnings.append)
    write(tmp_path, 0, [10, 20], loss=0)
    assert len(warnings) == 1
    assert "jaxpose[train]" in warnings[0]
    assert [r["step"] for r in rows(tmp_path)] == [10, 20]
    assert not (tmp_path / "tensorboard").exists()


def test_console_line_tells_rate_and_time_left(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("jaxpose.training.progress.time.monotonic", lambda: now[0])
    console = Console(0, total_steps=10_000, batch_size=64, period=10.0)
    now[0] += 60.0
    rates = [console.show(100, 0.5)]  # slow, as it compiles: not counted
    for step in range(200, 1000, 100):  # 100 steps in 4 s: 25 steps/s
        now[0] += 4.0
        rates.append(console.show(step, 0.5))
    console.show(10_000, 0.25)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "step 400/10000  loss 0.5  1,600 examples/s  0:06:24 left"
    assert [line.split()[1] for line in lines] == ["100/10000", "400/10000", "700/10000", "10000/10000"]
    assert [rate for rate in rates if rate] == [1600, 1600]


def test_rates_are_kept_apart_from_the_metrics(tmp_path):
    log = open_log(tmp_path, 0)
    log.write(10, {"loss": 1.0})
    log.write_rate(10, 1234.5678)
    log.close()
    assert rows(tmp_path) == [{"step": 10, "loss": 1.0}]
    line = json.loads((tmp_path / "times.jsonl").read_text())
    assert line["step"] == 10
    assert line["examples_per_s"] == 1234.57
