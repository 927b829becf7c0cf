"""Fitted bodies as `ik`, `fit` and `denoise` share them: rows of a result, errors against points, arrays and files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Bodies
from jaxpose.commands import report
from jaxpose.commands.blocks import AXIS, Drawn
from jaxpose.commands.option_groups import BodyFiles, Output
from jaxpose.commands.report_bodies import Shown, write_bodies
from jaxpose.fitting.engine import PosePrior
from jaxpose.fitting.priors import dposer_prior, energy_prior, l2_energy
from jaxpose.geometry.axes import FRAME_TAGS
from jaxpose.geometry.body import Body, full_rotations
from jaxpose.geometry.body_joints import body_points
from jaxpose.geometry.skeleton import SKELETONS, SMPL_22, Skeleton
from jaxpose.io.body_points import BodyPoints
from jaxpose.model import Model
from jaxpose.tasks.rotations import to_axis_angle


class Rows(NamedTuple):
    """Fitted bodies, one for each frame of each clip: R = N F rows, H hypotheses.

    body_pose [H, R, 21, 3], global_orient [H, R, 3] rad, transl [H, R, 3] m (moves the template), betas [H, R, S],
    joints [H, R, 22, 3] m, energy [H, R] of the whole clip; error [R, K] m of the points, error_px [R, C] mean distance
    of seen keypoints, or None.
    """

    body_pose: Array
    global_orient: Array
    transl: Array
    betas: Array
    joints: Array
    energy: Array
    error: Array | np.ndarray | None = None
    error_px: Array | None = None


def as_rows(found: Bodies) -> Rows:
    """Clips [H, N, F] as rows [H, R]."""
    lead = found.body_pose.shape[:3]
    betas = jnp.broadcast_to(found.betas[:, :, None], (*lead, found.betas.shape[-1]))
    energy = jnp.broadcast_to(found.energy[:, :, None], lead)
    num = lead[1] * lead[2]  # not -1: a skeleton has no betas, and an empty array no size to tell it from
    return Rows(*(x.reshape(lead[0], num, *x.shape[3:]) for x in (*found[:3], betas, found.joints, energy)))


def prior_of(name: str, model: Model | None) -> PosePrior | None:
    """The prior that --prior names; model: of "dposer"."""
    if name == "dposer":
        assert model is not None  # `models.load_fit_prior` loads one
        return dposer_prior(model)
    return energy_prior(l2_energy) if name == "l2" else None


def start_pose(model: Model | None) -> Array | None:
    """The prior's mean pose [21, 3], where a fit starts."""
    return None if model is None else to_axis_angle(model, jnp.zeros(model.spec.state_shape))


def point_error(body: Body, rows: Rows, points: str, xyz: np.ndarray) -> np.ndarray:
    """How far the points of the first hypothesis lie from those seen [R, K, 3]: [R, K] metres, NaN where not seen."""
    rotations = full_rotations(body, jnp.asarray(rows.body_pose[0]), jnp.asarray(rows.global_orient[0]))
    posed = body.shape(jnp.asarray(rows.betas[0])).pose(rotations, jnp.asarray(rows.transl[0]))
    return np.linalg.norm(np.asarray(body_points(posed, points)) - xyz, axis=-1)


def say_points(data: BodyPoints) -> str:
    """What of a file's joints is used."""
    source = data.source.skeleton
    return f"{source.name}, {data.used} of {len(source.joints)} points used, as {data.points}"


def say_error(error: np.ndarray) -> str:
    """A line about `point_error`."""
    mm = 1000 * error[np.isfinite(error)]
    return f"points met within {np.median(mm):.1f} mm in the median, 95 in 100 within {np.quantile(mm, 0.95):.1f} mm"


def best_first(rows: Drawn) -> Drawn:
    """The same rows, the hypotheses of each in the order of their energies."""
    order = np.argsort(rows["energy"], 0)

    def in_order(value: np.ndarray) -> np.ndarray:
        return np.take_along_axis(value, order.reshape(*order.shape, *[1] * (value.ndim - 2)), 0)

    return {name: in_order(value) if name in AXIS else value for name, value in rows.items()}


def fit_arrays(rows: Drawn, up: str, *, many: bool) -> dict[str, Any]:
    """The arrays that every fit writes; many: with the axis of hypotheses."""
    names = ("body_pose", "global_orient", "transl", "betas", "energy")
    return {
        **{name: rows[name] if many else rows[name][0] for name in names},
        **({"samples": rows["joints"]} if many else {}),
        **{"joints3d": rows["joints"][0], **report.axes(SMPL_22.joints, up, FRAME_TAGS[up])},
    }


def write(
    output: Output,
    files: BodyFiles,
    path: Path,
    body: Body,
    targets: BodyPoints,
    rows: Drawn,
    said: dict[str, Any],
    *,
    many: bool = False,
    rest: np.ndarray | None = None,
) -> Iterator[str]:
    """Write bodies fitted to 3D points; the first hypothesis is the motion's.

    said: entries of the summary, `prior` and `points` among them. many: with the axis of hypotheses. rest: of `Shown`.
    """
    source, error = targets.source, rows["error"]
    yield say_error(error)
    arrays = {
        **fit_arrays(rows, "y", many=many),
        **{"observed": targets.xyz, "points": targets.points, "error": error},
        **report.rows(source.frame, source.person, source.fps),
    }
    found = 1000 * error[np.isfinite(error)]
    summary = {
        **{**said, "num_poses": len(targets.xyz)},
        **{"input_unit": source.unit, "input_up": source.up, "frame_tag": FRAME_TAGS["y"]},
        "error_mm": {"median": round(float(np.median(found)), 2), "mean": round(float(found.mean()), 2)},
    }
    shown = Shown(
        rows["body_pose"],
        rows["global_orient"],
        rows["joints"][..., 0, :],
        rows["betas"][0] if rows["betas"].shape[-1] else None,
        report.labels(source.frame, source.person),
        source.fps,
        f"fitted to {path.name}",
        f"prior {said['prior']}",
        targets.xyz,
        _skeleton(targets.points),
        [f"hypothesis {h}" for h in range(len(rows["joints"]))] if many else None,
        rest=rest,
    )
    yield from write_bodies(output, files, report.name_of(path), arrays, summary, shown, body)


def _skeleton(points: str) -> Skeleton | None:
    """The bones between the points of a set, where it has them."""
    return SKELETONS.get({"openpose25": "body25"}.get(points, points))
