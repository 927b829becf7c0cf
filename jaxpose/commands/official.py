"""DiffPose's own checkpoints in `lift`: one pose for each detection, by their own recipe (recipes/diffpose.py).

They know no camera but the image's size, no confidence and no missing joint. Their poses are in metres of the people
they were trained on; where the root stands is then found as for other models.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Hypotheses, Key
from jaxpose.commands.blocks import Block
from jaxpose.commands.detections import Detections
from jaxpose.commands.option_groups import Sampling
from jaxpose.commands.video import device_windows
from jaxpose.model import Model
from jaxpose.recipes.diffpose import lift_official
from jaxpose.spaces.person import place
from jaxpose.tasks.draw import spread
from jaxpose.tasks.lift import stature


def record(model: Model) -> dict[str, Any]:
    """What a summary says of the sampler."""
    return {"network_calls": len(model.spec.indices), "sampler": "none"}


def official_work(model: Model, data: Detections, sampling: Sampling, body_height: float | None) -> Any:
    """What lifts a block, for `blocks.gather`. ValueError for a flag or input that the model cannot take."""
    name = model.spec.name
    for flag, given in (
        ("steps", sampling.steps),
        ("path", sampling.path),
        ("sampler", sampling.sampler != "posterior"),
    ):
        if given:
            raise ValueError(f"--{flag}: means nothing to {name!r}, DiffPose's own checkpoint with its own few steps")
    hidden = np.argwhere(data.confidence == 0)
    if len(hidden):
        row, joint = hidden[0]
        found = f"frame {data.source.frame[row]} lacks {model.skeleton.joints[joint]}"
        raise ValueError(f"{name!r}, DiffPose's own checkpoint, needs every joint, and {found}")
    if data.image_size is None:
        raise ValueError(f"--image-size: {name!r} needs the image's WIDTH,HEIGHT, and the file has none")
    width, height = (float(x) for x in data.image_size)

    def work(key: Key, block: Block, return_path: bool) -> Hypotheses:
        return _lift(model, *data.observed(block.rows), width, height, body_height, device_windows(block))

    return work


@jax.jit
def _lift(
    model: Model,
    xy: Array,
    confidence: Array,
    intrinsics: Array,
    width: Array,
    height: Array,
    body_height: Array | None,
    windows: tuple[Array, Array] | None,
) -> Hypotheses:
    if windows is None:
        poses = lift_official(model, xy, (width, height))
    else:
        index, counted = windows
        of_windows = lift_official(model, xy[index], (width, height), flip=True)  # as the released evaluation
        row = jnp.where(counted, index, len(xy))  # what does not count is dropped
        poses = jnp.zeros((*xy.shape[:-1], 3)).at[row].set(of_windows, mode="drop")
    samples = poses[None]
    if body_height is not None:
        samples = samples * (body_height / stature(samples, model))[..., None, None]
    return Hypotheses(samples, *spread(samples), place(intrinsics, xy, confidence, samples))
