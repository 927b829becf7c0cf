"""What `evaluate calls` counts, and which row it calls the knee."""

import jax
import jax.numpy as jnp
import pytest

from experiments.evaluate.calls import SOLVERS, _run, calls_of, knee, steps_of
from jaxpose import model as released
from jaxpose.base import Prediction
from jaxpose.diffusion import sample, vp

SPEC = released.Spec("none", None, spacing="log_snr")  # type: ignore[arg-type]  # no network is called


@pytest.mark.parametrize(("name", "expected"), [("ddim", (1, 2, 3, 4, 5)), ("heun", (None, 2, 3, 3, 5))])
def test_calls_are_those_made(name, expected):
    """Counted in a run without compilation, for 1 to 5 calls asked for."""
    made = []

    def counted(x, t, cond):
        made.append(t)
        return Prediction(x, x, x)

    with jax.disable_jit():
        for calls, number in zip((1, 2, 3, 4, 5), expected, strict=True):
            plan = steps_of(name, calls)
            assert (plan is None) == (number is None)
            if plan is not None:
                run = _run(name, *plan, None, SPEC, vp())
                made.clear()
                sample(jax.random.key(0), jnp.ones((2, 3)), counted, run.solver, run.times, finish=run.finish)
                assert len(made) == calls_of(name, *plan) == number
    assert name in SOLVERS


def row(calls, mean, best, ece):
    return {"calls": calls, "mean_mm": mean, "best_mm": best, "ece": ece}


def test_the_knee_is_the_cheapest_row_near_the_best_of_each_figure():
    rows = [row(2, 101, 60, 0.02), row(5, 101.9, 52.4, 0.029), row(5, 101.0, 52.0, 0.031), row(8, 100, 50, 0.01)]
    assert knee(rows) is rows[1]  # the first is 20 % off the best of H, the third 0.021 off the ECE
    assert knee([*rows, row(3, 102, 52.5, 0.03)])["calls"] == 3
    assert knee([*rows, row(3, float("nan"), 52.5, 0.03)]) is rows[1]
    generated = [{"calls": n, "f1": f1} for n, f1 in ((3, 0.5), (20, 0.59), (20, 0.595), (50, 0.61))]
    assert knee(generated) is generated[2]
