"""--dtype and --precision: which commands take them, and that the network they run has such weights and products."""

import re
import typing
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from command_line import arguments_of
from shared import refuses

from jaxpose.app.commands import models
from jaxpose.app.commands.bodies import load_fitting
from jaxpose.app.commands.models import load_model
from jaxpose.app.commands.options import COMMANDS
from jaxpose.app.commands.values import Output
from jaxpose.model import load

DRAWING = ("lift", "live", "fuse", "complete", "denoise", "generate", "score", "ik", "fit", "interpolate", "view")


def chosen(model=None, **options):
    return Output(out=Path(), model=model, **options)


def test_every_command_that_runs_a_network_takes_it():
    assert set(DRAWING) <= set(COMMANDS)
    for command in DRAWING:
        for name, legal in {"--dtype": ("float32", "bfloat16"), "--precision": ("default", "high", "highest")}.items():
            (argument,) = [a for a in arguments_of(command) if name in a.names]
            assert argument.hint.__args__ == legal, command


def test_the_options_of_a_kind_of_model_are_options_of_the_command():
    for table in (models.OF_JOINTS, models.OF_ROTATIONS):
        for command, names in table.items():
            known = typing.get_type_hints(COMMANDS[command][0])
            for name in names:
                group, _, field = name.rpartition(".")
                assert field in (typing.get_type_hints(known[group]) if group else known), (command, name)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_weights_are_of_that_type(model_file, dtype):
    model = load_model(chosen(str(model_file), dtype=dtype), "lift")
    assert {leaf.dtype for leaf in jax.tree.leaves(model.params)} == {jnp.dtype(dtype)}
    plain = load(model_file)
    np.testing.assert_array_equal(model.statistics.mean, plain.statistics.mean)


def test_products_of_the_network_are_of_that_precision(model_file):
    """By the option, and by JAX's own context in Python; the device's where neither says otherwise."""

    def precisions():
        x, t = jnp.zeros((1, *model.spec.state_shape)), jnp.ones(1)
        products = re.findall(r"dot_general\[.*?\]\n", str(jax.make_jaxpr(model.predict_fn())(x, t, None)), re.S)
        return {"HIGHEST" in product for product in products}

    model = load_model(chosen(str(model_file)), "lift")
    assert False in precisions()  # not all: norms are exact
    with jax.default_matmul_precision("highest"):
        assert precisions() == {True}
    try:
        load_model(chosen(str(model_file), precision="highest"), "lift")
        assert precisions() == {True}
    finally:
        jax.config.update("jax_default_matmul_precision", None)


def test_what_means_nothing_is_refused(refused, tmp_path):
    with pytest.raises(ValueError, match="--dtype: is of --prior dposer, and --prior none was given"):
        load_fitting(SimpleNamespace(prior="none", output=chosen(dtype="bfloat16")), "fit")
    for flag, output in (("precision", chosen(precision="high")), ("model", chosen("prior21"))):
        refuses(f"--{flag}: is of --prior dposer", load_fitting, SimpleNamespace(prior="l2", output=output), "fit")
    assert "--dtype" in refused("generate", "--num", 2, "--out", tmp_path / "o", "--dtype", "float16")
