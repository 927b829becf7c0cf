"""Case `eager` of `experiments.benchmark`: plain calls as the README shows them, beside their own compiled programs."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxpose
from experiments.benchmark.timing import Row, Setup, compiled, example_inputs, in_turn
from jaxpose import model as released
from jaxpose.base import Camera
from jaxpose.tasks.complete_rotations import PARTS

_PRIORS = ("prior21", "prior21_fast")


class Call(NamedTuple):
    """A task as a user calls it: run(key, model, *args), the arguments as numpy arrays."""

    name: str
    model: released.Model
    run: Callable[..., Any]
    args: tuple[Any, ...]


def eager(setup: Setup) -> Iterator[Row]:
    """Milliseconds of a plain call from numpy arrays, and of the program of the same call; 1.5 times that is asked for.

    One person (64 poses of generation), as many hypotheses as the task draws by default.
    """
    models = [setup.model] if setup.fast is None else [setup.model, setup.fast]
    for call in [*(c for m in models for c in joint_calls(m)), *(c for name in _PRIORS for c in rotation_calls(name))]:
        yield row_of(setup, call)


def row_of(setup: Setup, call: Call) -> Row:
    """The row of one call."""
    key = jax.random.key(0)
    program = compiled(call.run, key, call.model, *map(jnp.asarray, call.args)).run
    (plain, own), _ = in_turn(setup.sizes.repeats, lambda: call.run(key, call.model, *call.args), program)
    figures = {
        "ms": 1e3 * float(np.median(plain)),
        "program_ms": 1e3 * float(np.median(own)),
        "over_program": float(np.median(plain / own)),
    }
    return Row("eager", call.name, figures, lower=("over_program",))


def joint_calls(model: released.Model) -> Iterator[Call]:
    """Tasks on joint positions; a few-step model does not denoise."""
    name = model.spec.name
    detected = tuple(np.asarray(x) for x in example_inputs(1))
    joints = np.array(model.statistics.mean, np.float32)[None]
    hidden = joints.copy()
    hidden[:, list(model.skeleton.parts[2])] = np.nan
    lift = lambda key, m, xy, sure, K: jaxpose.lift(key, m, xy, sure, camera=Camera(K))  # noqa: E731
    yield Call(f"lift, {name}", model, lift, detected)
    yield Call(f"complete, {name}", model, lambda key, m, x: jaxpose.complete(key, m, x, noise=0.01), (hidden,))
    yield Call(f"denoise, {name}", model, lambda key, m, x: jaxpose.denoise(key, m, x, noise=0.03), (joints,))
    yield Call(f"generate, {name}", model, lambda key, m: jaxpose.generate(key, m, 64), ())


def rotation_calls(name: str) -> Iterator[Call]:
    """Tasks on joint rotations."""
    model, poses, known = released.load(name), np.zeros((1, 21, 3), np.float32), np.ones(21, np.float32)
    known[list(PARTS["left_arm"])] = 0
    yield Call(f"complete_rotations, {name}", model, jaxpose.complete_rotations, (poses, known))
    run = lambda key, m: jaxpose.generate_rotations(key, m, 64)  # noqa: E731
    yield Call(f"generate_rotations, {name}", model, run, ())
