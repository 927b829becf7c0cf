"""DiffPose's own checkpoints in `lift`: one pose for each detection, by their own recipe (recipes/diffpose.py).

They know no camera but the image's size, no confidence and no missing joint. Their poses are in metres of the people
they were trained on; where the root stands is then found as for other models.
"""

from __future__ import annotations

import argparse
from collections.abc import Generator

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Key
from jaxpose.commands import detections, video
from jaxpose.commands.detections import Detections
from jaxpose.geometry.windows import Windows
from jaxpose.model import Model
from jaxpose.recipes.diffpose import lift_official
from jaxpose.spaces.person import place
from jaxpose.tasks.draw import spread
from jaxpose.tasks.lift import Lifted, stature

OFFICIAL_RECORD = {"sampler": "none"}  # what a summary says instead


def official_draw(model: Model, data: Detections, args: argparse.Namespace) -> Generator[str, None, video.Draw]:
    """What lifts some rows; `args.hypotheses` becomes 1. ValueError for a flag or input the model cannot take."""
    name = model.spec.name
    if args.steps is not None or args.sampler != "posterior" or args.path:
        flag = "--steps" if args.steps is not None else "--path" if args.path else "--sampler"
        raise ValueError(f"{flag}: means nothing to {name!r}, DiffPose's own checkpoint with its own few steps")
    hidden = np.argwhere(data.confidence == 0)
    if len(hidden):
        row, joint = hidden[0]
        found = f"frame {data.source.frame[row]} lacks {model.skeleton.joints[joint]}"
        raise ValueError(f"{name!r}, DiffPose's own checkpoint, needs every joint, and {found}")
    size = detections.image_size(data.source, args)
    if size is None:
        raise ValueError(f"--image-size: {name!r} needs the image's WIDTH,HEIGHT, and the file has none")
    args.hypotheses = 1
    yield f"DiffPose's own checkpoint: one pose each, relative to the root, {model.spec.scale}"
    width, height = (float(x) for x in size)

    def draw(key: Key, rows: np.ndarray, return_path: bool, windows: Windows | None = None) -> Lifted:
        return _lift(
            model,
            *(jnp.asarray(x[rows], jnp.float32) for x in (data.xy, data.confidence, data.intrinsics)),
            width,
            height,
            args.height,
            None if windows is None else (jnp.asarray(windows.index), jnp.asarray(windows.counted)),
        )

    return draw


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
) -> Lifted:
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
    return Lifted(samples, place(intrinsics, xy, confidence, samples), *spread(samples))
