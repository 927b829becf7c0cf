"""`jaxpose generate` as a user calls it: the Python function's poses, which other commands read."""

import dataclasses
import json

import jax
import numpy as np

from jaxpose.app import cli
from jaxpose.io.poses3d import read_poses3d
from jaxpose.model import load, save
from jaxpose.tasks.generate import generate
from jaxpose.tasks.samplers import probability_flow


def test_the_poses_are_the_python_functions_and_can_be_read(run, model_file, tmp_path):
    run("generate", "--num", 5, "--out", tmp_path, "--seed", 2, "--sampler", "probability_flow")
    expected = generate(jax.random.key(2), load(model_file), 5, sampler=probability_flow())
    with np.load(tmp_path / "generated.npz") as z:
        np.testing.assert_array_equal(z["samples"], expected)
    np.testing.assert_array_equal(read_poses3d(tmp_path / "generated.npz").joints, expected)
    summary = json.loads((tmp_path / "generated.json").read_text())
    assert (summary["seed"], summary["sampler"], summary["num_poses"]) == (2, "probability_flow", 5)
    assert summary["model"]["name"] == "tiny"


def test_a_few_step_model_takes_its_own_steps(model_file, tmp_path):
    tiny = load(model_file)
    few = dataclasses.replace(tiny, spec=dataclasses.replace(tiny.spec, num_steps=1, times=(1.0, 0.2)))
    save(tmp_path / "few.safetensors", few)
    flags = ["--model", tmp_path / "few.safetensors", "--out", tmp_path / "o", "--no-pictures"]
    cli.main(list(map(str, ["generate", "--num", 3, *flags])))
    with np.load(tmp_path / "o" / "generated.npz") as z:
        np.testing.assert_array_equal(z["samples"], generate(jax.random.key(0), few, 3))
    assert json.loads((tmp_path / "o" / "generated.json").read_text())["network_calls"] == 2
