"""The models that --model names, and the body of --body.

Models judge too: `of_joints`, `of_bodies` and `judged` return the arrays and the entry of the summary about the
typicality of a result's poses, which all commands add, and `score`'s line.

The one pose of each row is judged: that of --aggregate, else the mean of the hypotheses, else the pose itself. Poses of
any model are judged by one network of known score, `pose17` for its 17 joints and `prior21` for rotations of bodies,
joints in the axes of a level camera. Where the judge's file has no quantiles, or joints are of another set, nothing is
added.
"""

import functools
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

from jaxpose.app.commands.options import Live, Score, View
from jaxpose.app.commands.values import Output, refuse
from jaxpose.base import LEAST_PERCENTILE
from jaxpose.compiled import filled
from jaxpose.geometry.axes import to_camera
from jaxpose.geometry.body import Body
from jaxpose.io import body_files
from jaxpose.io.anny_body import anny_body
from jaxpose.model import DEFAULT_MODEL, Model, load, require
from jaxpose.tasks.typicality import can_judge, out_of_distribution, typicality

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


_BLOCK = 64  # poses judged at once: one program for all results
_typicality = jax.jit(typicality)


class Judged(NamedTuple):
    """Additions to the arrays and to the summary, and lines."""

    arrays: dict[str, np.ndarray]
    summary: dict[str, Any]
    lines: tuple[str, ...]


_NOTHING = Judged({}, {}, ())


def of_joints(arrays: dict[str, Any]) -> Judged:
    """Typicality by a result's arrays: `pose`, `mean` or `samples` [N, J, 3] metres, `joints` [J] names, `up`."""
    judge, pose = bundled(DEFAULT_MODEL), next(arrays[name] for name in ("pose", "mean", "samples") if name in arrays)
    if tuple(map(str, arrays["joints"])) != judge.skeleton.joints:
        return _NOTHING
    return judged(judge, to_camera(np.asarray(pose), str(arrays["up"])), arrays)


def of_bodies(body_pose: np.ndarray, arrays: dict[str, Any]) -> Judged:
    """Typicality of body poses [N, 21, 3] axis-angle radians."""
    return judged(bundled(DEFAULT_PRIOR), body_pose, arrays)


def judged(judge: Model, pose: np.ndarray, arrays: dict[str, Any], least: float = LEAST_PERCENTILE) -> Judged:
    """Typicality of poses by a judge; arrays: `frame` and `person` [N], where they are known."""
    if not can_judge(judge):
        return _NOTHING
    parts = []
    for start in range(0, len(pose), _BLOCK):
        rows = np.asarray(pose[start : start + _BLOCK], np.float32)
        parts.append(np.asarray(_typicality(judge, filled(rows, len(rows), _BLOCK)))[: len(rows)])
    percentile = np.concatenate(parts)
    outside = np.asarray(out_of_distribution(percentile, least))
    line = f"typicality: {outside.sum()} of {len(outside)} poses are unlike training poses (below percentile {least:g})"
    if outside.any():
        first = int(np.argmax(outside))
        person = arrays.get("person")
        line += f": first at frame {arrays['frame'][first]}" + ("" if person is None else f", person {person[first]}")
    known = percentile[np.isfinite(percentile)]
    summary = {
        **{"judged_by": judge.spec.name, "least_percentile": least, "out_of_distribution": int(outside.sum())},
        "median": round(float(np.median(known)), 1) if known.size else None,
    }
    return Judged({"typicality": percentile, "out_of_distribution": outside}, {"typicality": summary}, (line,))
