"""The benchmark's table of tasks: the error of bfloat16, on results whose distance is known."""

import jax.numpy as jnp
import pytest

from experiments.benchmark.sampling import lift_program
from experiments.benchmark.tasks import bfloat16_figures
from experiments.benchmark.timing import Program, Setup, Sizes, example_inputs
from jaxpose import model as released
from jaxpose.base import Hypotheses


@pytest.mark.parametrize(("joints", "unit"), [(17, "mm"), (21, "mrad")])
def test_the_error_is_the_mean_distance(joints, unit):
    zeros = jnp.zeros((4, 2, joints, 3))
    exact, narrow = (Program(lambda x=x: x, 0.0, 0.0) for x in (zeros, zeros + jnp.array([0.003, 0.0, 0.004])))
    found = bfloat16_figures(Setup(Sizes(repeats=2), None), exact, narrow)
    assert found[f"bfloat16_error_{unit}"] == pytest.approx(5.0)
    assert found["bfloat16_speedup"] > 0


def test_lifting_runs_with_the_weights_that_it_is_given():
    """Not as float32 whatever the model's are: the error of bfloat16 was 0."""
    model, inputs = released.load("pose17_fast"), example_inputs(1)
    samples = [lift_program(m, inputs, 2).run() for m in (model, model.astype(jnp.bfloat16))]
    assert all(isinstance(found, Hypotheses) for found in samples)
    away = 1000 * jnp.linalg.norm(samples[0].samples - samples[1].samples, axis=-1).mean()
    assert 0 < away < 20
