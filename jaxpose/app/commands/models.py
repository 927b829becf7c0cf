"""The models that --model names, and the body of --body."""

import functools
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np

from jaxpose.app.commands.options import Live, Score, View
from jaxpose.app.commands.values import Output, refuse
from jaxpose.geometry.body import Body
from jaxpose.io import body_files
from jaxpose.io.anny_body import anny_body
from jaxpose.model import DEFAULT_MODEL, Model, load, require

DEFAULT_PRIOR = "prior21"
Chosen: TypeAlias = Output | Live | Score | View  # the options that say which model runs, and as what type


@functools.cache
def bundled(name: str) -> Model:
    """A released model, read once: commands judge by one what they may have drawn by it."""
    return load(name)


def rotation_moments() -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation [21, 3] rad of the rotations that the bundled prior was trained on."""
    mean, std, spread = (np.asarray(x) for x in bundled(DEFAULT_PRIOR).statistics)
    return mean, std * spread


def load_model(
    chosen: Chosen, default: str = DEFAULT_MODEL, *, command: str = "", needs: tuple[str, ...] = ()
) -> Model:
    """The model that --model names, or the default, with weights of --dtype; its products are of --precision.

    needs: what `command` asks of it; ValueError where it has not.
    """
    if chosen.precision != "default":
        jax.config.update("jax_default_matmul_precision", chosen.precision)
    model = bundled(default) if chosen.model in (None, default) else load(chosen.model)
    return require(
        model if chosen.dtype == "float32" else model.astype(chosen.dtype), f"--model: `jaxpose {command}`", *needs
    )


def is_prior(model: Model) -> bool:
    """Whether a model is of joint rotations, not of joint positions."""
    return "rotations" in model.capabilities


# Command -> its options that are for models of joint positions, and those that are for priors over joint rotations.
OF_JOINTS = {
    "complete": ("keypoints", "height", "noise", "skeleton", "axes.unit", "sampling.path", "sampling.sampler"),
    "denoise": ("num_hypotheses", "sampling"),
    "generate": ("sampling.path",),
    "score": ("skeleton", "keypoints", "views", "axes.unit"),
}
OF_ROTATIONS = {"complete": ("method",), "denoise": ("shape", "method"), "score": ("fps",)}


def refuse_of_others(command: str, options: Any, model: Model) -> None:
    """ValueError naming the first option given that is for models of the other kind."""
    names, why = OF_ROTATIONS.get(command, ()), "is for a prior over joint rotations, such as prior21"
    if is_prior(model):
        names, why = OF_JOINTS[command], "is for models of joint positions"
    for name in names:
        group, _, field = name.rpartition(".")
        value = getattr(options, name, None)
        if is_dataclass(value):  # a group of options
            refuse(value, why)
        else:
            refuse(getattr(options, group) if group else options, why, field)


def load_body(path: Path | None) -> Body:
    """The body of --body, or ANNY's."""
    return anny_body() if path is None else body_files.load_body(path)
