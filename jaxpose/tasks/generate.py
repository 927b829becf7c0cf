"""Generation: poses out of nothing, drawn from the model under the null condition."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Key
from jaxpose.model import Model
from jaxpose.spaces.person import View, decode_pose
from jaxpose.tasks.draw import check_person_codec, draw_states, null_condition

_ROWS = 64  # poses that share a key
# The law of all poses is wider than that of one pose that is seen, and takes more steps: precision against
# validation poses 0.35 at 8, 0.41 at 20 (`experiments.evaluate tasks --task=generate --steps=...`).
NUM_STEPS = 30


def generate(
    key: Key,
    model: Model,
    num: int,
    *,
    num_steps: int | None = None,
    sampler: str = "posterior",
    temperature: float = 1.0,
    return_path: bool = False,
) -> Array:
    """Draw `num` poses [num, J, 3] metres, root-relative, as a camera that looks at them sees them, from all sides.

    With `return_path` [T+1, num, J, 3], the denoising from start to result. sampler: as in `draw_states`.
    num_steps: solver steps, NUM_STEPS unless told or the model is a few-step one.
    temperature: 1 draws from what the model takes for the law of poses; below 1, likelier and less varied poses.
    """
    check_person_codec(model, "generate")
    if num < 1:
        raise ValueError(f"num: needed at least 1, got {num}")
    rows = min(num, _ROWS)
    own = sampler.startswith("original") or bool(model.spec.times)
    states = draw_states(
        key,
        model,
        null_condition(model, rows),
        num_hypotheses=-(-num // rows),
        num_steps=num_steps or (None if own else NUM_STEPS),
        sampler=sampler,
        temperature=temperature,
        return_path=return_path,
    )
    poses = decode_pose(model.statistics, View(jnp.eye(3)), states)
    if not return_path:
        return poses.reshape(-1, *poses.shape[2:])[:num]
    return jnp.moveaxis(poses, 1, 0).reshape(poses.shape[1], -1, *poses.shape[3:])[:, :num]


jitted_generate = jax.jit(generate, static_argnames=("num", "num_steps", "sampler", "temperature", "return_path"))
