"""The models that --model names, and the body of --body.

Models judge too: `judged` returns the arrays and the entry of the summary about the typicality of a result's poses,
which all commands add, and `score`'s line. Where the judge's file has no quantiles, or joints are of another set,
nothing is added.
"""

import functools
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxpose.app.commands.pictures import labels
from jaxpose.app.commands.values import refuse
from jaxpose.base import LEAST_PERCENTILE
from jaxpose.compiled import filled
from jaxpose.geometry.body import Body
from jaxpose.io import body_files
from jaxpose.io.anny_body import anny_body
from jaxpose.model import DEFAULT_MODEL, Model, load, require
from jaxpose.tasks.typicality import can_judge, out_of_distribution, typicality

DEFAULT_PRIOR = "prior21"


@functools.cache
def bundled(name: str) -> Model:
    """A released model, read once: commands judge by one what they may have drawn by it."""
    return load(name)


def rotation_moments() -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation [21, 3] rad of the rotations that the bundled prior was trained on."""
    mean, std, spread = (np.asarray(x) for x in bundled(DEFAULT_PRIOR).statistics)
    return mean, std * spread


def load_model(options: Any, command: str, default: str = DEFAULT_MODEL, *, needs: tuple[str, ...] = ()) -> Model:
    """The model that --model names, or the default, with weights of --dtype; its products are of --precision.

    needs: what `command` asks of it. ValueError where it has not, and for an option that is for models of other kinds.
    """
    chosen = getattr(options, "output", options)
    if chosen.precision != "default":
        jax.config.update("jax_default_matmul_precision", chosen.precision)
    model = bundled(default) if chosen.model in (None, default) else load(chosen.model)
    model = model if chosen.dtype == "float32" else model.astype(chosen.dtype)
    _refuse_of_others(command, options, require(model, f"--model: `jaxpose {command}`", *needs))
    return model


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


def _refuse_of_others(command: str, options: Any, model: Model) -> None:
    names, why = OF_ROTATIONS.get(command, ()), "is for a prior over joint rotations, such as prior21"
    if is_prior(model):
        names, why = OF_JOINTS.get(command, ()), "is for models of joint positions"
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


_BLOCK = 64  # poses judged at once: one program for all results
_typicality = jax.jit(typicality)


def judged(
    judge: Model, pose: np.ndarray, arrays: dict[str, Any], least: float = LEAST_PERCENTILE
) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """Arrays, an entry of the summary and a line about the typicality of poses by a judge, empty where it cannot say.

    arrays: `frame` and `person` [N], where they are known; `joints` [J] names, where poses are of joints. least: the
    percentile below which poses are unlike training poses.
    """
    of_joints = judge.spec.space.representation is None and "joints" in arrays
    if not can_judge(judge) or (of_joints and tuple(map(str, arrays["joints"])) != judge.skeleton.joints):
        return {}, {}, ""
    parts = []
    for start in range(0, len(pose), _BLOCK):
        rows = np.asarray(pose[start : start + _BLOCK], np.float32)
        parts.append(np.asarray(_typicality(judge, filled(rows, len(rows), _BLOCK)))[: len(rows)])
    percentile = np.concatenate(parts)
    outside = np.asarray(out_of_distribution(percentile, least))
    line = f"typicality: {outside.sum()} of {len(outside)} poses are unlike training poses (below percentile {least:g})"
    if outside.any():
        line += f": first at {labels(arrays['frame'], arrays.get('person'))[int(np.argmax(outside))]}"
    known = percentile[np.isfinite(percentile)]
    summary = {
        **{"judged_by": judge.spec.name, "least_percentile": least, "out_of_distribution": int(outside.sum())},
        "median": round(float(np.median(known)), 1) if known.size else None,
    }
    return {"typicality": percentile, "out_of_distribution": outside}, {"typicality": summary}, line
