"""Generation: unconditional poses, drawn from the model under the null condition."""

import jax.numpy as jnp
from jax.tree_util import Partial

from jaxpose.base import Array, Decoded, Key, Problem
from jaxpose.compiled import check_num, merged
from jaxpose.model import Model, needs, null_condition
from jaxpose.spaces.person import View, decode_pose
from jaxpose.tasks.draw import draw, from_noise, with_path
from jaxpose.tasks.refine import refined
from jaxpose.tasks.samplers import Sampler, stochastic

_ROWS = 64  # poses that share a key
# The law of all poses is wider than that of one pose that is seen, and takes more steps: precision against
# validation poses 0.35 at 8, 0.41 at 20 (python -m experiments.evaluate tasks --task=generate --steps=...).
NUM_STEPS = 30


@needs("generate", "joints", "condition")
def problem(model: Model, num_rows: int) -> Problem:
    """The unconditional problem of `num_rows` poses; ValueError for a model of other states than joints."""
    cond = null_condition(model, num_rows)
    assert cond is not None, "a model with that capability takes a condition"
    return Problem(from_noise(model, cond.value), Partial(_decode, model), cond, paired=False)


def generate(key: Key, model: Model, num: int, *, sampler: Sampler | None = None, return_path: bool = False) -> Array:
    """Draw `num` poses [num, J, 3] metres, root-relative, as a camera that looks at them sees them, from all sides.

    Of a model of motions they are the frames of one motion, 1/30 s apart. With `return_path` [T+1, num, J, 3], the
    denoising from start to result. A few-step model's base has the last call (tasks/refine.py).
    sampler: of `tasks.samplers`; NUM_STEPS steps unless it or a few-step model has its own. A temperature below 1 draws
             likelier and less varied poses.
    """
    check_num(num, "num")
    model = refined(model)
    sampler = (sampler or stochastic()).with_usual_steps(NUM_STEPS)
    rows = model.rows_for(num, _ROWS)
    result = draw(key, model, problem(model, rows), -(-num // rows), sampler, return_path=return_path)
    if result.path is None:
        return merged(result.samples, num)
    steps = [merged(step, num) for step in result.path]
    return jnp.stack(steps)


def _decode(model: Model, states: Array, kept: None) -> Decoded:
    return with_path(decode_pose(model.statistics, View(jnp.eye(3)), states))
