"""`experiments.train` as a user runs it: config overrides, a model at the end, a resumed run, bad input."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import xla
from mocap_folder import random_mocap
from shared import refuses

import jaxpose
from experiments.train import check_numbers

ROOT = Path(__file__).parents[2]
TINY = [
    f"--config.{k}"
    for k in (
        *("network.hidden=32", "network.time_width=16", "network.num_groups=4", "train.batch_size=16"),
        *("train.warmup_steps=1", "train.steps_per_dispatch=2", "train.log_every=2", "train.checkpoint_every=2"),
    )
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder as of JAXPOSE_DATA."""
    return random_mocap(tmp_path_factory.mktemp("data"))


def train(data, workdir, *flags):
    command = [sys.executable, "-m", "experiments.train", "--config=pose17:0.7"]
    env = {**os.environ, "JAXPOSE_DATA": str(data), "XLA_FLAGS": xla.FLAGS}
    return subprocess.run(
        [*command, f"--workdir={workdir}", *TINY, *flags], cwd=ROOT, env=env, capture_output=True, text=True
    )


@pytest.mark.slow
def test_a_run_ends_in_a_model_and_a_resumed_run_in_the_same(data, tmp_path):
    whole = train(data, tmp_path / "whole", "--config.train.steps=4", f"--export={tmp_path}/whole.safetensors")
    assert whole.returncode == 0, whole.stderr
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert config["config"]["network"]["hidden"] == 32
    assert config["seed"] == 0
    assert config["commit"]
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert all(np.isfinite(line["loss"]) for line in lines)
    # a warm-up of 1 step, then a cosine over 3: steps 0, 1 and 2, 3
    rates = 1e-3 * (1 + np.cos(np.pi * np.arange(3) / 3)) / 2
    np.testing.assert_allclose([line["learning_rate"] for line in lines], [rates[0] / 2, rates[1:].mean()], rtol=1e-5)
    assert (tmp_path / "whole" / "curves.png").read_bytes()[:4] == b"\x89PNG"
    # Done already: called again, it trains nothing and exports the same weights.
    again = train(data, tmp_path / "whole", "--config.train.steps=4", f"--export={tmp_path}/again.safetensors")
    assert again.returncode == 0, again.stderr
    assert f"{tmp_path}/whole: goes on from step 4 of 4\n" in again.stdout
    first, second = (jaxpose.load(tmp_path / f"{n}.safetensors") for n in ("whole", "again"))
    jax.tree.map(np.testing.assert_array_equal, first.params, second.params)
    shutil.rmtree(tmp_path / "whole" / "checkpoints" / "4")  # stopped after 2 steps: exported as it is
    flags = ["--config.train.steps=4", "--export_now", f"--export={tmp_path}/early.safetensors"]
    stopped = train(data, tmp_path / "whole", *flags)
    assert stopped.returncode == 0, stopped.stderr
    early = jax.tree.leaves(jaxpose.load(tmp_path / "early.safetensors").params)
    assert not all(np.array_equal(a, b) for a, b in zip(early, jax.tree.leaves(first.params), strict=True))
    assert not (tmp_path / "whole" / "checkpoints" / "4").exists()
    # Going on from these weights: a first step of warm-up has rate 0, so the raw weights are still the old ones.
    flags = ["--config.train.steps=1", "--config.view.coco=0.5", f"--config.train.init={tmp_path}/whole.safetensors"]
    tuned = train(data, tmp_path / "tuned", *flags, f"--export={tmp_path}/tuned.safetensors")
    assert tuned.returncode == 0, tuned.stderr
    jax.tree.map(np.testing.assert_array_equal, first.params, jaxpose.load(tmp_path / "tuned.safetensors").params)


def test_bad_settings_leave_with_code_2(data, tmp_path):
    result = train(tmp_path / "nowhere", tmp_path / "w")
    assert result.returncode == 2
    assert "no splits.json there" in result.stderr
    result = train(data, tmp_path / "w", "--config.train.mode=threads", "--config.train.steps=2")
    assert result.returncode == 2
    assert "mode must be one of" in result.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["stray"], "train: got 'stray', which is no flag; --help lists them\n"),
        (["--config=none.py"], "train: [Errno 2] No such file or directory: 'none.py'\n"),
        (
            ["--config.train.setps=3"],
            "train: --config.train.setps: no such entry; the nearest is --config.train.steps\n",
        ),
        (["--export_now"], "train: --export_now: needed the file, --export=FILE.safetensors\n"),
        (["--config.seed=1180591620717411303424"], "train: --config.seed: got a number of 71 bits; must be at most "),
    ],
)
def test_flags_that_are_not_legal_leave_with_code_2_and_one_line(data, tmp_path, flags, said):
    result = train(data, tmp_path / "w", *flags)
    assert result.returncode == 2
    assert result.stderr.startswith(said), result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "w").exists()


def test_numbers_of_a_config_that_no_run_can_hold():
    check_numbers({"seed": 2**32 - 1, "train": {"steps": 10**9, "rate": 1e-4, "path": "x", "pmap": True}})
    for wrong in ({"seed": 2**32}, {"seed": -1}, {"train": {"steps": 10**17}}, {"a": {"b": {"rate": float("nan")}}}):
        refuses(r"--config\.(seed|train\.steps|a\.b\.rate): got ", check_numbers, wrong)
