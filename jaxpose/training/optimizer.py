"""Adam with decoupled weight decay, global-norm clipping, and a learning rate that warms up and then decays.

    lr(n) = peak n / warmup                                           n < warmup
    lr(n) = peak (end + (1 - end) (1 + cos(pi u)) / 2)                u = (n - warmup) / (total - warmup)

Adam: Kingma & Ba, 2015; decoupled decay: Loshchilov & Hutter, 2019; cosine: Loshchilov & Hutter, 2017.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import optax

from jaxpose.base import Array


def make_schedule(
    learning_rate: float,
    *,
    warmup_steps: int,
    total_steps: int,
    schedule: Literal["cosine", "constant"] = "cosine",
    end_fraction: float = 0.0,
) -> optax.Schedule:
    """Learning rate at a step: linear to `learning_rate`, then flat or a cosine to `end_fraction` of it."""
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(f"warmup_steps must lie in 0..total_steps = {total_steps}, got {warmup_steps}")
    if schedule not in ("cosine", "constant"):
        raise ValueError(f"schedule must be 'cosine' or 'constant', got {schedule!r}")

    def rate(step: Array) -> Array:
        warmup = jnp.minimum(1.0, step / warmup_steps) if warmup_steps else 1.0
        if schedule == "constant":
            return learning_rate * jnp.asarray(warmup)
        u = jnp.clip((step - warmup_steps) / max(total_steps - warmup_steps, 1), 0.0, 1.0)
        return learning_rate * warmup * (end_fraction + (1 - end_fraction) * (1 + jnp.cos(jnp.pi * u)) / 2)

    return rate


def make_optimizer(
    learning_rate: float,
    *,
    warmup_steps: int,
    total_steps: int,
    schedule: Literal["cosine", "constant"] = "cosine",
    end_fraction: float = 0.0,
    weight_decay: float = 0.0,
    clip_norm: float | None = 1.0,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> optax.GradientTransformation:
    """Clip the gradient's global norm to `clip_norm` (None: do not), then AdamW that decays matrices only."""
    rate = make_schedule(
        learning_rate, warmup_steps=warmup_steps, total_steps=total_steps, schedule=schedule, end_fraction=end_fraction
    )
    adam = optax.adamw(rate, b1, b2, eps, weight_decay=weight_decay, mask=_matrices)
    return adam if clip_norm is None else optax.chain(optax.clip_by_global_norm(clip_norm), adam)


def _matrices(params: optax.Params) -> optax.Params:
    return jax.tree.map(lambda p: jnp.ndim(p) > 1, params)
