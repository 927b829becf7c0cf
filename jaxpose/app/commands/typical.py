"""Typicality of a result's poses: the arrays and the entry of the summary that all commands add, and `score`'s line.

The one pose of each row is judged: that of --aggregate, else the mean of the hypotheses, else the pose itself. Poses of
any model are judged by one network of known score, `pose17` for its 17 joints and `prior21` for rotations of bodies,
joints in the axes of a level camera. Where the judge's file has no quantiles, or joints are of another set, nothing is
added.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxpose.app.commands.models import DEFAULT_PRIOR, bundled
from jaxpose.base import LEAST_PERCENTILE
from jaxpose.compiled import filled
from jaxpose.geometry.axes import to_camera
from jaxpose.model import DEFAULT_MODEL, Model
from jaxpose.tasks.typicality import can_judge, out_of_distribution, typicality

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
