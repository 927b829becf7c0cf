"""What `evaluate calls` counts, how it samples and which row it calls the knee."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.evaluate.calls_tasks import calls_of, carry, knee, steps_of
from jaxpose.base import Prediction
from jaxpose.diffusion import ddim, dpmpp_2m, heun, sample, vp

SDE = vp()
SHAPE = (2, 3)


def unit_normal(x, t, cond):
    """The opinion of data N(0, 1) under a process that keeps the variance."""
    del cond
    return Prediction(SDE.alpha(t) * x, SDE.sigma(t) * x, -x)


def test_one_program_of_any_number_of_steps_samples_as_the_library_does():
    """A solver with a memory and fresh noise, one compilation for two numbers of steps."""
    key, x, solver = jax.random.key(0), jnp.linspace(-1, 1, 6).reshape(SHAPE), dpmpp_2m(SDE, eta=1.0)
    program = jax.jit(lambda times, steps: carry(key, x, unit_normal, solver, times, steps, True))
    for steps in (1, 4):
        times = np.linspace(1, 0.1, steps + 1, dtype=np.float32)
        filled = np.concatenate([times, np.full(9 - len(times), times[-1])])
        expected = jax.jit(lambda times: sample(key, x, unit_normal, solver, times))(times)
        np.testing.assert_allclose(program(filled, steps), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "solver", "told"), [("ddim", ddim(SDE), (1, 2, 3, 4, 5)), ("heun", heun(SDE), (None, 2, 3, 3, 5))]
)
def test_calls_are_those_made(name, solver, told):
    """Counted in a run without compilation, for 1 to 5 calls asked for."""
    times, made = np.linspace(1, 0.1, 5), []

    def counted(x, t, cond):
        made.append(t)
        return Prediction(x, x, x)

    with jax.disable_jit():
        for calls, expected in zip((1, 2, 3, 4, 5), told, strict=True):
            plan = steps_of(name, calls)
            assert (plan is None) == (expected is None)
            if plan is None:
                continue
            made.clear()
            carry(jax.random.key(0), jnp.ones(SHAPE), counted, solver, times, *plan)
            assert len(made) == calls_of(name, *plan) == expected


def row(calls, mean, best, ece):
    return {"calls": calls, "mean_mm": mean, "best_mm": best, "ece": ece}


def test_the_knee_is_the_cheapest_row_near_the_best_of_each_figure():
    rows = [row(2, 101, 60, 0.02), row(5, 101.9, 52.4, 0.029), row(5, 101.0, 52.0, 0.031), row(8, 100, 50, 0.01)]
    assert knee(rows) is rows[1]  # the first is 20 % off the best of H, the third 0.021 off the ECE
    assert knee([*rows, row(3, 102, 52.5, 0.03)])["calls"] == 3
    assert knee([*rows, row(3, float("nan"), 52.5, 0.03)]) is rows[1]
    generated = [{"calls": n, "f1": f1} for n, f1 in ((3, 0.5), (20, 0.59), (20, 0.595), (50, 0.61))]
    assert knee(generated) is generated[2]
