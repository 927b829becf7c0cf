"""--dtype: which commands take it, and that the network they run has weights of that type."""

import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from command_line import arguments_of

from jaxpose.app.commands.bodies import load_fitting
from jaxpose.app.commands.models import load_model
from jaxpose.app.commands.options import COMMANDS
from jaxpose.model import load
from jaxpose.tasks.generate import generate
from jaxpose.tasks.rotations import generate_rotations

DRAWING = ("lift", "live", "fuse", "complete", "denoise", "generate", "score", "ik", "fit", "interpolate", "view")


class Chosen(NamedTuple):
    model: str | None = None
    dtype: str = "float32"


def test_every_command_that_runs_a_network_takes_it():
    assert set(DRAWING) <= set(COMMANDS)
    for command in DRAWING:
        (argument,) = [a for a in arguments_of(command) if "--dtype" in a.names]
        assert argument.hint.__args__ == ("float32", "bfloat16"), command


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_weights_are_of_that_type(model_file, dtype):
    chosen = load_model(Chosen(str(model_file), dtype))
    assert {leaf.dtype for leaf in jax.tree.leaves(chosen.params)} == {jnp.dtype(dtype)}
    plain = load(model_file)
    np.testing.assert_array_equal(chosen.statistics.mean, plain.statistics.mean)


@pytest.mark.slow
def test_results_are_those_of_the_narrow_network(run, model_file, poses, tmp_path):
    """Near float32's with the same seed, and not the same; generation's are the Python function's."""
    hidden = np.array(poses)
    hidden[:, 3] = np.nan
    for name, joints in (("whole", poses), ("hidden", hidden)):
        np.savez(tmp_path / f"{name}.npz", joints3d=joints)
    commands = {
        "generated": ("generate", "--num", 4),
        "hidden": ("complete", tmp_path / "hidden.npz"),
        "whole": ("denoise", tmp_path / "whole.npz", "--noise", 0.05),
    }
    for name, arguments in commands.items():
        found = {}
        for dtype in ("float32", "bfloat16"):
            run(*arguments, "--out", tmp_path / dtype, "--dtype", dtype)
            with np.load(tmp_path / dtype / f"{name}.npz") as z:
                found[dtype] = z["samples"]
            summary = json.loads((tmp_path / dtype / f"{name}.json").read_text())
            assert summary["model"]["dtype"] == dtype, name
        assert 0 < np.abs(found["bfloat16"] - found["float32"]).max() < 0.1, name
        if name == "generated":
            narrow = generate(jax.random.key(0), load(model_file).astype("bfloat16"), 4)
            np.testing.assert_allclose(found["bfloat16"], narrow, atol=1e-5)


def test_a_prior_too(run_prior, prior_file, tmp_path):
    run_prior("generate", "--num", 3, "--out", tmp_path, "--dtype", "bfloat16")
    narrow = generate_rotations(jax.random.key(0), load(prior_file).astype("bfloat16"), 3)
    with np.load(tmp_path / "generated.npz") as z:
        np.testing.assert_allclose(z["body_pose"], narrow, atol=1e-5)


def test_what_means_nothing_is_refused(refused, tmp_path):
    with pytest.raises(ValueError, match="--dtype: is of --prior dposer, and --prior none was given"):
        load_fitting("none", Chosen(dtype="bfloat16"), "fit")
    with pytest.raises(ValueError, match="--model: is of --prior dposer"):
        load_fitting("l2", Chosen("prior21"), "fit")
    assert "--dtype" in refused("generate", "--num", 2, "--out", tmp_path / "o", "--dtype", "float16")
