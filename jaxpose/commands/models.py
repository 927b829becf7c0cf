"""The models that --model names, and the body of --body."""

import functools
from pathlib import Path

from jaxpose.geometry.body import Body
from jaxpose.io import body_files
from jaxpose.io.anny_body import anny_body
from jaxpose.model import DEFAULT_MODEL, Model, load

DEFAULT_PRIOR = "prior21"


@functools.cache
def bundled(name: str) -> Model:
    """A released model, read once: commands judge by one what they may have drawn by it."""
    return load(name)


def is_prior(model: Model) -> bool:
    """Whether a model is of joint rotations, not of joint positions."""
    return "rotations" in model.capabilities


def load_joint_model(name: str | None, command: str) -> Model:
    """The model that --model names; ValueError where it is a prior over joint rotations."""
    model = bundled(DEFAULT_MODEL) if name in (None, DEFAULT_MODEL) else load(name)
    if is_prior(model):
        raise ValueError(
            f"--model: {model.spec.name!r} is a prior over joint rotations; `jaxpose {command}` needs a model of joint "
            f"positions, such as {DEFAULT_MODEL!r} (`jaxpose fit` takes 2D keypoints and such a prior)"
        )
    return model


def load_prior(name: str | None, command: str) -> Model:
    """The prior that --model names, or the bundled one; ValueError where it is no prior over rotations."""
    model = bundled(DEFAULT_PRIOR) if name in (None, DEFAULT_PRIOR) else load(name)
    if not is_prior(model):
        raise ValueError(
            f"--model: {model.spec.name!r} is a model of joint positions (codec {model.spec.codec!r}); "
            f"`jaxpose {command}` needs a prior over joint rotations, such as {DEFAULT_PRIOR!r}"
        )
    return model


def load_body(path: Path | None) -> Body:
    """The body of --body, or ANNY's."""
    if path is None:
        return anny_body()
    if not path.is_file():
        raise ValueError(f"--body: {path}: no such file")
    return body_files.load_body(path)
