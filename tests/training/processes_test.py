"""Ends of a run as a command; and (slow) runs of several processes over gloo: killed, stopped, resumed by others."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
import xla
from training import tiny

from jaxpose.training import checkpoint, processes
from jaxpose.training.parallel import is_key

TOTAL = 61
WAITS = ("initialization_timeout", "heartbeat_timeout_seconds", "shutdown_timeout_seconds")
BOUND = 1e-6  # what another order of the sums over devices may change in the weights after TOTAL steps


@contextlib.contextmanager
def started(workdir, num, devices=1, shard="", late=""):
    """The processes of one run, which are killed at the end; stderr and stdout go to files beside the folder."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} {xla.FLAGS}", "NPROC": "1"}
    runs = []
    for index in range(num):
        command = [sys.executable, tiny.__file__, workdir, TOTAL, 5, 10, index, num, port, shard, late]
        with open(log_of(workdir, index), "w", encoding="utf-8") as log:
            runs.append(subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=log, env=env))
    try:
        yield runs
    finally:
        for run in runs:
            run.kill()
            run.wait()


def log_of(workdir, index):
    return Path(f"{workdir}.{index}.log")


def ended(runs, seconds=300):
    return [run.wait(seconds) for run in runs]


def run_all(workdir, num, **how):
    """The weights at the end of a run that is left alone."""
    with started(workdir, num, **how) as runs:
        assert ended(runs) == [0] * num, log_of(workdir, 0).read_text()
    return weights(workdir)


def weights(workdir):
    state, meta = checkpoint.restore_latest(workdir, like=tiny.start())
    assert meta["step"] == TOTAL
    return [np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in jax.tree.leaves(state)]


def await_step(workdir, step, runs):
    deadline = time.monotonic() + 300
    while max(checkpoint.steps(workdir), default=-1) < step:
        assert all(run.poll() is None for run in runs), log_of(workdir, 0).read_text()
        assert time.monotonic() < deadline
        time.sleep(0.001)


def assert_equal(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


def assert_close(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=BOUND)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("two") / "run"
    return workdir, run_all(workdir, 2)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("one")
    tiny.run(workdir, TOTAL, checkpoint_every=10)
    return weights(workdir)


@pytest.fixture
def fake_others(monkeypatch):
    """As one of two processes that wait an hour, without another; what the others are asked, in its order."""
    from orbax.checkpoint import multihost

    events = []

    def barrier(*, key, timeout_ms):
        events.append((key.rpartition(" ")[0], timeout_ms // 60_000))

    def compiled(shape, dtype):
        events.append("compiled")
        return lambda x: (events.append("run"), Local(x[0]))[1], None

    class Local(NamedTuple):
        value: Any

        def addressable_data(self, _):
            return self.value

    monkeypatch.setattr(multihost, "get_barrier_sync_fn", lambda: barrier)
    monkeypatch.setattr(processes, "_compiled_largest", compiled)
    monkeypatch.setattr(jax, "make_array_from_process_local_data", lambda _, x: x)
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: events.append("initialize"))
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    monkeypatch.setattr(processes, "_wait_minutes", 60)
    return events


def test_all_meet_between_the_compilation_of_a_collective_and_its_run(fake_others):
    assert processes.largest(2.0) == (2.0,)
    assert fake_others == ["compiled", ("compared", 60), "run"]
    fake_others.clear()
    assert processes.agreed({"a": 1}) == {"a": 1}
    assert fake_others == ["compiled", ("compared", 7 * 24 * 60), "run", "compiled", ("compared", 60), "run"]


def test_all_meet_once_they_have_joined(fake_others):
    processes.join("train", "host:1", 2, 1, wait_minutes=30)
    assert fake_others == ["initialize", "compiled", ("compared", 30), "run"]


def test_no_two_meetings_have_one_name(fake_others, monkeypatch):
    from orbax.checkpoint import multihost

    keys = []
    monkeypatch.setattr(multihost, "get_barrier_sync_fn", lambda: lambda *, key, timeout_ms: keys.append(key))
    processes.meet("saved")
    processes.meet("saved")
    assert len(set(keys)) == 2


def test_processes_that_do_not_come_are_named(fake_others, monkeypatch):
    from orbax.checkpoint import multihost

    def late(*, key, timeout_ms):
        lines = (
            "DEADLINE_EXCEEDED: Barrier timed out. Id: saved 3::0.",
            "Some timed out task names:",
            "1",
            "12",
            "",
            "RPC",
        )
        raise RuntimeError("\n".join(lines))

    monkeypatch.setattr(multihost, "get_barrier_sync_fn", lambda: late)
    with pytest.raises(RuntimeError, match=r"did not come within 60 minutes: 1, 12 \(saved\); --wait_minutes"):
        processes.meet("saved")


@pytest.mark.parametrize("minutes", [10, 45])
def test_the_others_are_awaited_for_minutes(monkeypatch, minutes):
    def refuses(*given, **waits):
        assert given == ("host:1", 2, 1)
        assert waits == dict.fromkeys(WAITS, 60 * minutes)
        raise RuntimeError("DEADLINE_EXCEEDED: barrier timed out\nframes of C++")

    monkeypatch.setattr(jax.distributed, "initialize", refuses)
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    with pytest.raises(ValueError, match=r"^--distributed: host:1 \(DEADLINE_EXCEEDED: barrier timed out\)$"):
        processes.join("train", "host:1", 2, 1, **({} if minutes == 10 else {"wait_minutes": minutes}))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("--workdir: another run is under way there"), 2),
        (OSError("checkpoints/5: the checkpoint could not be written (No space left on device)"), 1),
        (FloatingPointError("step 7: loss nan"), 1),
        (KeyboardInterrupt(), 130),
        (SystemExit(143), 143),
    ],
)
def test_what_ends_a_run_is_one_line_and_a_code(error, code, capsys):
    with pytest.raises(SystemExit) as left, processes.as_one("train"):
        raise error
    assert left.value.code == code
    assert capsys.readouterr().err == ("" if code == 143 else f"train: {str(error) or 'interrupted'}\n")


@pytest.mark.parametrize("kind", [RuntimeError, ValueError])
def test_an_error_of_jax_keeps_its_traceback_in_one_process_and_is_one_line_in_several(monkeypatch, kind):
    with pytest.raises(RuntimeError, match="fault"), processes.as_one("train"):
        raise RuntimeError("fault")
    ends = []
    monkeypatch.setattr(processes, "_has_others", lambda: True)
    monkeypatch.setattr(processes, "exit_at_once", lambda *end: ends.append(end))
    with processes.as_one("train"):
        raise kind("Gloo: connection closed by peer\nframes of C++")
    ((code, line),) = ends
    assert code == 1
    assert line.startswith("train: Gloo: connection closed by peer; start all processes again")


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_other_and_all_resume(tmp_path, two, victim):
    workdir = tmp_path / "run"
    with started(workdir, 2) as runs:
        await_step(workdir, 10, runs)
        runs[victim].kill()
        assert runs[1 - victim].wait(900) != 0
    assert log_of(workdir, 1 - victim).read_text().strip()
    assert_equal(run_all(workdir, 2), two[1])
    assert (workdir / "metrics.jsonl").read_bytes() == (two[0] / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_a_signal_to_one_process_ends_all_with_a_checkpoint(tmp_path, two):
    workdir = tmp_path / "run"
    with started(workdir, 2) as runs:
        await_step(workdir, 10, runs)
        runs[1].send_signal(signal.SIGTERM)
        codes = ended(runs)
        assert codes[1] == 143
        assert codes[0] != 0, "1 or an abort where the other left at once, in an evaluation"
    saved = checkpoint.steps(workdir)[-1]
    assert f"saved at step {saved}" in log_of(workdir, 1).read_text()
    assert_equal(run_all(workdir, 2), two[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num", "devices", "shard"), [(2, 1, ""), (4, 1, ""), (2, 2, ""), (2, 1, "shard"), (2, 2, "shard")]
)
def test_processes_devices_and_shards_reach_the_weights_of_one(tmp_path, one, num, devices, shard):
    assert_close(run_all(tmp_path / "run", num, devices=devices, shard=shard), one)


@pytest.mark.slow
@pytest.mark.parametrize(("late", "shard"), [("first save", ""), ("first step", "shard")])
def test_a_process_may_be_later_than_gloo_waits(tmp_path, one, late, shard):
    assert_close(run_all(tmp_path / "run", 2, shard=shard, late=late), one)


@pytest.mark.slow
@pytest.mark.parametrize("shard", ["", "shard"])
def test_two_processes_resume_what_four_saved(tmp_path, one, shard):
    workdir = tmp_path / "run"
    with started(workdir, 4, shard=shard) as runs:
        await_step(workdir, 20, runs)
        runs[2].send_signal(signal.SIGTERM)
        assert 0 not in ended(runs)
    assert_close(run_all(workdir, 2, shard=shard), one)
