"""Flags of commands in several processes, and work divided between processes against that of one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xla
from absl import flags
from shared import needs_bench, refuses

from experiments import launch
from jaxpose.training import processes

ROOT = Path(__file__).parents[2]

DIVIDED = """
import sys
from typing import Any, NamedTuple
import numpy as np
from absl import flags
from experiments import launch
from jaxpose.training import processes

class Found(NamedTuple):
    a: Any
    b: Any

values = flags.FlagValues()
launch.define(values)
values(["", *sys.argv[1:]])
launch.start("test", values)
done = []

def compute(name, n):
    done.append(name)
    return Found(np.arange(n), np.float32(n) / 3)

found = launch.divided({"x": 3, "y": 4, "z": 5}, compute, Found)
print(done, [[f.a.tolist(), float(f.b)] for f in found.values()])
print(processes.agreed([processes.is_first(), "text"], 1), processes.largest(float(len(done)), 0.0))
"""


def parsed(*given):
    values = flags.FlagValues()
    launch.define(values)
    values(["", *given])
    return values


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--coordinator=h:1"], "--num_processes, --process_id: needed with --coordinator"),
        (["--num_processes=2", "--process_id=0"], "--coordinator: needed with"),
        (["--coordinator=h:1", "--num_processes=2", "--process_id=2"], "--process_id: got 2, must be 0 to 1"),
    ],
)
def test_flags_that_do_not_fit_are_named(given, message):
    refuses(message, launch.start, "train", parsed(*given))


@pytest.mark.parametrize(("given", "minutes"), [([], 10), (["--wait_minutes=90"], 90)])
def test_the_wait_for_the_others_is_a_flag(monkeypatch, given, minutes):
    joined = []
    monkeypatch.setattr(processes, "join", lambda *args, **how: joined.append((args, how)))
    launch.start("train", parsed("--coordinator=h:1", "--num_processes=2", "--process_id=1", *given))
    assert joined == [(("train", "h:1", 2, 1), {"wait_minutes": minutes})]


def test_a_command_of_one_process_says_so():
    refuses("quantiles runs in one process", launch.start, "quantiles", parsed("--distributed"), supported=False)
    launch.start("quantiles", parsed(), supported=False)


def test_one_process_does_all():
    pair = launch.divided({"x": 1, "y": 2}, lambda name, n: (name, n), tuple)
    assert pair == {"x": ("x", 1), "y": ("y", 2)}


def together(num, *command):
    """The output of each of `num` processes, which must all leave with 0."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "XLA_FLAGS": xla.FLAGS, "NPROC": "1"}
    launched = [[f"--coordinator=localhost:{port}", f"--num_processes={num}", f"--process_id={i}"] for i in range(num)]
    runs = [
        subprocess.Popen(
            [sys.executable, *command, *(more if num > 1 else [])],
            cwd=ROOT,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for more in launched
    ]
    found = [run.communicate(timeout=400) for run in runs]
    assert [run.returncode for run in runs] == [0] * num, found
    return [out for out, _ in found]


@pytest.mark.slow
def test_each_piece_of_work_is_done_once_and_known_to_all():
    outputs = [
        [line for line in out.splitlines() if not line.startswith(("test:", "[Gloo]"))]
        for out in together(2, "-c", DIVIDED)
    ]
    rows = [[0, 1, 2], 1.0], [[0, 1, 2, 3], float(np.float32(4) / 3)], [[0, 1, 2, 3, 4], float(np.float32(5) / 3)]
    assert [out[0] for out in outputs] == [f"['x', 'z'] {list(rows)}", f"['y'] {list(rows)}"]
    assert [out[1] for out in outputs] == ["[False, 'text'] (2.0, 0.0)"] * 2


@pytest.mark.slow
@needs_bench
def test_two_processes_evaluate_as_one(tmp_path):
    flags = ["--stride=100", "--hypotheses=5", "--steps=2"]
    rows = []
    for num in (1, 2):
        together(num, "-m", "experiments.evaluate", "frames", *flags, f"--out={tmp_path / str(num)}")
        rows.append(json.loads((tmp_path / str(num) / "frames_pose17.json").read_text())["rows"])
    assert [row["name"] for row in rows[0]] == [row["name"] for row in rows[1]]
    for one, two in zip(*rows, strict=True):
        for name in one.keys() - {"seconds_per_pose"}:
            if isinstance(one[name], float):
                np.testing.assert_allclose(one[name], two[name], rtol=1e-4, err_msg=name)
