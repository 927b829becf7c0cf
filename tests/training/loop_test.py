"""A run that is stopped, killed or goes wrong, against one that was left alone."""

import functools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training import tiny

from jaxpose.training import checkpoint, processes
from jaxpose.training.loop import fit
from jaxpose.training.notice import Notice
from jaxpose.training.parallel import is_key, make_runner
from jaxpose.training.step import init_state, make_step

TOTAL = 253  # not a multiple of the dispatch, the log or the checkpoint period


def same_run(one, other, state_one, state_other):
    for a, b in zip(jax.tree.leaves(state_one), jax.tree.leaves(state_other), strict=True):
        a, b = (jax.random.key_data(x) if is_key(x) else x for x in (a, b))
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), strict=True)
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("uninterrupted")
    return workdir, tiny.run(workdir, TOTAL, checkpoint_every=TOTAL)


def newest(workdir):
    """Step of the newest checkpoint, whole or not; and whether there is one that is not."""
    folder = workdir / "checkpoints"
    names = os.listdir(folder) if folder.exists() else []
    return max((int(name.split(".")[0]) for name in names), default=0), any("tmp" in name for name in names)


class Killed(BaseException):
    """What no code of the run may catch, as it could not catch SIGKILL."""


def test_processes_meet_before_the_first_save_after_compilation_and_after_evaluations(tmp_path, monkeypatch):
    events, runner, save = [], make_runner(tiny.builder(), max_steps=5), checkpoint.save

    def noted(name, function):
        return lambda *args: (events.append(name), function(*args))[1]

    monkeypatch.setattr(processes, "meet", events.append)
    monkeypatch.setattr(checkpoint, "save", noted("save", save))
    runner = runner._replace(compile=noted("compile", runner.compile), run=noted("run", runner.run))
    tiny.run(tmp_path, 1, runner=runner, evaluate=lambda state: (events.append("evaluate"), tiny.weight_sum(state))[1])
    assert events == ["begun", "save", "saved", "compile", "compiled", "run", "save", "saved", "evaluate", "evaluated"]


def test_killed_while_saving_it_ends_like_an_uninterrupted_run(tmp_path, uninterrupted, monkeypatch):
    def killed(path):
        if path.name == "100":
            raise Killed

    write = checkpoint._write_hashes
    monkeypatch.setattr(checkpoint, "_write_hashes", lambda path: (killed(path), write(path)))
    with pytest.raises(Killed):
        tiny.run(tmp_path, TOTAL, checkpoint_every=50)
    monkeypatch.setattr(checkpoint, "_write_hashes", write)
    assert newest(tmp_path)[0] == 100
    assert checkpoint.steps(tmp_path)[-1] == 80, "saved before the evaluation"
    state = tiny.run(tmp_path, TOTAL, checkpoint_every=500)
    same_run(tmp_path, uninterrupted[0], state, uninterrupted[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_dispatch_under_way_and_leaves(tmp_path, uninterrupted, monkeypatch, number):
    noted, receive, runner = threading.Event(), Notice.receive, tiny.runner_of(max_steps=5)
    monkeypatch.setattr(Notice, "receive", lambda notice, number: (receive(notice, number), noted.set()))

    def run(state, data, num_steps):
        if int(state.step) >= 60 and not noted.is_set():
            signal.raise_signal(number)
            noted.wait()
        return runner.run(state, data, num_steps)

    with pytest.raises(SystemExit) as left:
        tiny.run(tmp_path, TOTAL, runner=runner._replace(run=run), checkpoint_every=10**9)
    assert left.value.code == 128 + number
    assert 60 < checkpoint.steps(tmp_path)[-1] < 80
    state = tiny.run(tmp_path, TOTAL, checkpoint_every=500)
    same_run(tmp_path, uninterrupted[0], state, uninterrupted[1])


def test_a_signal_ends_the_process_at_once_where_all_is_saved(monkeypatch):
    ends, asked = [], Notice()
    monkeypatch.setattr(processes, "exit_at_once", lambda *end: ends.append(end))
    asked.receive(signal.SIGTERM)
    assert not ends, "the dispatch under way is to be saved"
    asked.number = 0
    with asked.nothing_to_lose(20):
        asked.receive(signal.SIGINT)
        assert ends == [(130, "SIGINT: the run is saved at step 20 and goes on from there")]
    with pytest.raises(SystemExit), asked.nothing_to_lose(25):
        pass  # a signal that came before the block ends the run, too


IN_NATIVE_CODE = """
import sys, time
import numpy as np
from training import tiny
from jaxpose.training.parallel import Runner

def busy(*_):
    print("busy", flush=True)
    np.linalg.svd(np.random.default_rng(0).random((9000, 9000)))  # minutes in one call, as of a compiler

runner = tiny.runner_of(max_steps=5)
if sys.argv[2] == "compile":
    runner = runner._replace(compile=busy)
tiny.run(sys.argv[1], 253, runner=runner, checkpoint_every=1000, evaluate=busy)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("when", "step"), [("compile", 0), ("evaluate", 20)])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_met_at_once_while_native_code_runs(tmp_path, when, step, number):
    command = [sys.executable, "-c", IN_NATIVE_CODE, str(tmp_path), when]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(tiny.__file__).parents[1]), *sys.path])}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    while "busy" not in (line := process.stdout.readline()):
        assert line, process.stderr.read()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)  # it takes minutes if the signal waits
    assert process.returncode == 128 + number
    assert f"{number.name}: the run is saved at step {step}" in said
    assert checkpoint.steps(tmp_path)[-1] == step


def test_other_dispatch_lengths_change_nothing(tmp_path, uninterrupted):
    tiny.run(tmp_path, 33, max_steps=3)
    state = tiny.run(tmp_path, TOTAL, max_steps=5, checkpoint_every=500)
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(uninterrupted[1].params), strict=True):
        np.testing.assert_array_equal(a, b)
    losses = [{row["step"]: row["loss"] for row in lines(w) if "loss" in row} for w in (tmp_path, uninterrupted[0])]
    assert losses[0] == losses[1]
    assert list(losses[0]) == list(range(7, TOTAL + 1, 7))


def test_a_finished_run_returns_its_result(tmp_path, uninterrupted):
    state = tiny.run(uninterrupted[0], TOTAL)
    same_run(uninterrupted[0], uninterrupted[0], state, uninterrupted[1])


def test_evaluators_see_the_state_of_their_step(uninterrupted):
    workdir, state = uninterrupted
    rows = lines(workdir)
    values = {row["step"]: row["val/weight_sum"] for row in rows if "val/weight_sum" in row}
    assert list(values) == [*range(20, TOTAL, 20), TOTAL]
    assert values[TOTAL] == pytest.approx(tiny.weight_sum(state)["weight_sum"], rel=1e-5)
    assert values[20] != values[40]


def test_an_evaluation_that_was_cut_short_is_made_up_for(tmp_path, uninterrupted):
    def ends(state):
        raise SystemExit(9)

    with pytest.raises(SystemExit):
        tiny.run(tmp_path, TOTAL, checkpoint_every=50, evaluate=ends)
    assert checkpoint.steps(tmp_path) == [0, 20], "saved before it is evaluated"
    state = tiny.run(tmp_path, TOTAL, checkpoint_every=50)
    same_run(tmp_path, uninterrupted[0], state, uninterrupted[1])


def test_lines_are_means_over_the_steps_since_the_last(uninterrupted):
    step = jax.jit(tiny.builder()().whole)
    state, largest = tiny.start(), []
    for _ in range(14):
        state, metrics = step(state, tiny.make_data())
        largest.append(float(metrics["largest"]))
    rows = lines(uninterrupted[0])
    assert [row["step"] for row in rows[:2]] == [7, 14]
    for row, steps in zip(rows[:2], (slice(0, 7), slice(7, 14)), strict=True):
        assert row["largest"] == pytest.approx(np.mean(largest[steps]), rel=1e-5)


@pytest.mark.parametrize("where", ["loss", "gradient", "update"])
def test_nan_names_the_step_and_keeps_the_last_good_checkpoint(tmp_path, where):
    # w_n = -n: step n + 1 works on w = -n, so what breaks for w < -5.5 breaks in step 7.
    def loss_fn(params, key, example):
        w = params["w"]
        if where == "loss":
            return w + jnp.where(w < -5.5, jnp.nan, 0.0), {}
        if where == "gradient":  # d sqrt(u) / du is infinite at u = 0, and 0 * inf is not a number
            return w + 0.0 * jnp.sqrt(jnp.where(w < -5.5, 0.0 * w, 1.0)), {}
        return w, {}

    rate = (lambda n: jnp.where(n >= 6, jnp.nan, 1.0)) if where == "update" else 1.0
    tx = optax.sgd(rate)
    build = functools.partial(make_step, lambda key, data: (), loss_fn, tx, batch_size=2, ema_decay=0.5)
    runner = make_runner(build, devices=jax.devices()[:1])
    state = init_state(jax.random.key(0), {"w": jnp.zeros(())}, tx)
    options = {"total_steps": 12, "log_every": 2, "checkpoint_every": 4}
    with pytest.raises(FloatingPointError, match=r"^step 7: loss") as error:
        fit(state, runner, (), workdir=tmp_path, **options)
    assert {"loss": "loss nan", "gradient": "grad_norm nan", "update": "update_norm nan"}[where] in str(error.value)
    assert checkpoint.steps(tmp_path) == [0, 4]
    restored, _ = checkpoint.restore_latest(tmp_path, like=init_state(jax.random.key(0), {"w": jnp.zeros(())}, tx))
    assert float(restored.params["w"]) == -4
    assert [row["step"] for row in lines(tmp_path)] == [2, 4]


def test_the_signal_handler_of_the_caller_comes_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    tiny.run(tmp_path, 5)
    assert signal.getsignal(signal.SIGTERM) is before


def test_goes_on_with_another_number_of_devices(tmp_path):
    tiny.run(tmp_path, 10, runner=tiny.runner_of(4))
    state = tiny.run(tmp_path, 20)
    alone = tiny.run(tmp_path / "alone", 20)
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(alone.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=3e-6)
