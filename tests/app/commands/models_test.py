"""--dtype: which commands take it, and that the network they run has weights of that type."""

import typing
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from command_line import arguments_of

from jaxpose.app.commands import models
from jaxpose.app.commands.bodies import load_fitting
from jaxpose.app.commands.models import load_model
from jaxpose.app.commands.options import COMMANDS
from jaxpose.model import load

DRAWING = ("lift", "live", "fuse", "complete", "denoise", "generate", "score", "ik", "fit", "interpolate", "view")


class Chosen(NamedTuple):
    model: str | None = None
    dtype: str = "float32"


def test_every_command_that_runs_a_network_takes_it():
    assert set(DRAWING) <= set(COMMANDS)
    for command in DRAWING:
        (argument,) = [a for a in arguments_of(command) if "--dtype" in a.names]
        assert argument.hint.__args__ == ("float32", "bfloat16"), command


def test_the_options_of_a_kind_of_model_are_options_of_the_command():
    for table in (models.OF_JOINTS, models.OF_ROTATIONS):
        for command, names in table.items():
            known = typing.get_type_hints(COMMANDS[command][0])
            for name in names:
                group, _, field = name.rpartition(".")
                assert field in (typing.get_type_hints(known[group]) if group else known), (command, name)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_weights_are_of_that_type(model_file, dtype):
    chosen = load_model(Chosen(str(model_file), dtype))
    assert {leaf.dtype for leaf in jax.tree.leaves(chosen.params)} == {jnp.dtype(dtype)}
    plain = load(model_file)
    np.testing.assert_array_equal(chosen.statistics.mean, plain.statistics.mean)


def test_what_means_nothing_is_refused(refused, tmp_path):
    with pytest.raises(ValueError, match="--dtype: is of --prior dposer, and --prior none was given"):
        load_fitting("none", Chosen(dtype="bfloat16"), "fit")
    with pytest.raises(ValueError, match="--model: is of --prior dposer"):
        load_fitting("l2", Chosen("prior21"), "fit")
    assert "--dtype" in refused("generate", "--num", 2, "--out", tmp_path / "o", "--dtype", "float16")
