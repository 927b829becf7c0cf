"""Commands and training run without what only POSIX has (`without_posix.py`), and read and write text as UTF-8."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xla
from keypoint_files import coco_results, people, write
from mocap_folder import random_mocap

from jaxpose.model import ASSETS

ROOT = Path(__file__).parents[1]
SMALL = (
    *("--config.network.hidden=32", "--config.network.time_width=16", "--config.network.num_groups=4"),
    *("--config.train.steps=20", "--config.train.batch_size=16", "--config.train.steps_per_dispatch=2"),
    *("--config.train.log_every=10", "--config.train.checkpoint_every=10"),
)


def run(*arguments, **env):
    """Both streams of a child process without POSIX, which must end well."""
    command = [sys.executable, "-X", "warn_default_encoding", "tests/without_posix.py", *map(str, arguments)]
    env = os.environ | {"XLA_FLAGS": xla.FLAGS, "JAX_ENABLE_COMPILATION_CACHE": "false"} | env
    child = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, encoding="utf-8")
    assert child.returncode == 0, child.stderr
    return child.stdout + child.stderr


def test_poses_are_lifted_and_generated(tmp_path):
    run(
        "jaxpose", "lift", ASSETS / "demo_clip.npz", "--hypotheses", 4, "--steps", 2, "--no-pictures", "--out", tmp_path
    )
    with np.load(tmp_path / "demo_clip.npz") as z:
        assert np.isfinite(z["samples"]).all()
    run("jaxpose", "generate", "--num", 2, "--steps", 2, "--no-pictures", "--out", tmp_path)
    assert json.loads((tmp_path / "generated.json").read_bytes())["model"]["name"] == "pose17"


@pytest.mark.slow
def test_a_body_is_fitted(tmp_path):
    file = write(tmp_path / "people.json", coco_results(people(1, 17)))
    assert "wrote" in run("jaxpose", "fit", file, "--no-pictures", "--out", tmp_path)


@pytest.mark.slow
def test_a_training_of_20_steps(tmp_path):
    data, workdir = random_mocap(tmp_path), tmp_path / "run"
    config = "--config=pose17:0.7"
    run("train", config, f"--workdir={workdir}", *SMALL, f"--export={tmp_path}/m.safetensors", JAXPOSE_DATA=str(data))
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == [10, 20]
    assert (tmp_path / "m.safetensors").is_file()
