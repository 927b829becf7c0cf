"""Bodies of the commands: the priors that the flags name, and fits as `ik`, `fit` and `denoise` return them.

`joints3d` of the best body is written with `joints`, `up` and `unit` among a result's arrays, so that whatever reads 3D
joints reads it.
"""

from collections.abc import Generator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.app.commands import pictures, report
from jaxpose.app.commands.blocks import Spent
from jaxpose.app.commands.models import DEFAULT_PRIOR, load_model
from jaxpose.app.commands.options import Fit, Ik
from jaxpose.app.commands.pictures import labels
from jaxpose.app.commands.report import Outcome
from jaxpose.app.commands.values import refuse
from jaxpose.base import ROW_AXIS, Array, Bodies
from jaxpose.fitting.engine import PosePrior
from jaxpose.fitting.least_squares import LevenbergMarquardt
from jaxpose.fitting.priors import dposer_prior, energy_prior, l2_energy
from jaxpose.fitting.terms import Settings
from jaxpose.geometry.axes import FRAME_TAGS, turn
from jaxpose.geometry.body import Body, posed
from jaxpose.geometry.body_joints import body_points
from jaxpose.geometry.skeleton import SKELETONS, SMPL_22
from jaxpose.io.poses3d import BodyPoints
from jaxpose.io.take import rotation_matrices, rotation_vectors
from jaxpose.model import Model
from jaxpose.tasks.blocks import Drawn
from jaxpose.tasks.rotations import rotation_std

BODY_JOINTS = SMPL_22.joints[1:]


class Fitting(NamedTuple):
    """The model of --prior dposer, the prior of fits, and the mean pose [21, 3] where they start.

    pose_std: [21, 3] radians, the deviations of likely poses, for the radii of a fit.
    """

    model: Model | None
    prior: PosePrior | None
    start_pose: Array | None
    pose_std: Array


def with_method(settings: Settings, method: str | None, prior: str = "dposer") -> Settings:
    """Settings of a fit with the steps of --method; ValueError for second-order steps under another prior."""
    if method is None:
        return settings
    if method == "second_order" and prior != "dposer":
        raise ValueError(f"--method second_order: is for --prior dposer, got {prior}")
    chosen = None if method == "adam" else settings.method or LevenbergMarquardt(50)
    return settings._replace(method=chosen)


def load_fitting(options: Fit | Ik, command: str) -> Fitting:
    """The prior that --prior and --model name; ValueError where an option of its is without meaning."""
    prior = options.prior
    if prior == "dposer":
        return dposer(load_model(options, command, DEFAULT_PRIOR, needs=("rotations",)))
    refuse(options.output, f"is of --prior dposer, and --prior {prior} was given", "model", "dtype", "precision")
    if prior == "l2":  # |x|^2 is the energy of a Gaussian of that deviation
        return Fitting(None, energy_prior(l2_energy), None, jnp.full((21, 3), 0.5**0.5))
    return Fitting(None, None, None, jnp.full((21, 3), jnp.pi))


def dposer(model: Model) -> Fitting:
    """A prior over joint rotations, as fits take it."""
    mean = model.decode(jnp.zeros(model.spec.state_shape))
    return Fitting(model, dposer_prior(model), mean, rotation_std(model))


def joints_of(body: Body, body_pose: Any, global_orient: Any, pelvis: Any, betas: Any = None) -> np.ndarray:
    """The 22 joints [..., 22, 3] metres of bodies with the pelvis at pelvis [..., 3]."""
    joints = np.asarray(posed(body, body_pose, global_orient, betas).joints)[..., :22, :]
    return joints - joints[..., :1, :] + np.asarray(pelvis)[..., None, :]


def as_rows(fitted: Bodies) -> dict[str, Array]:
    """Fitted clips [H, N, F] as rows: R = N F frames, H hypotheses.

    body_pose [H, R, 21, 3], global_orient [H, R, 3] rad, transl [H, R, 3] m (moves the template), betas [H, R, S],
    joints [H, R, 22, 3] m, energy [H, R] of the whole clip.
    """
    lead = fitted.body_pose.shape[:3]
    values = fitted._asdict() | {
        "betas": jnp.broadcast_to(fitted.betas[:, :, None], (*lead, fitted.betas.shape[-1])),
        "energy": jnp.broadcast_to(fitted.energy[:, :, None], lead),
    }
    names = ("body_pose", "global_orient", "transl", "betas", "joints", "energy")
    num = lead[1] * lead[2]  # not -1: a skeleton has no betas, and an empty array no size to tell it from
    return {name: values[name].reshape(lead[0], num, *values[name].shape[3:]) for name in names}


def point_error(body: Body, rows: dict[str, Any], points: str, xyz: np.ndarray) -> np.ndarray:
    """Distances [R, K] metres of the first hypothesis' points from observed ones [R, K, 3], NaN where there is none."""
    first = (rows[name][0] for name in ("body_pose", "global_orient", "betas", "transl"))
    return np.linalg.norm(np.asarray(body_points(posed(body, *first), points)) - xyz, axis=-1)


def best_first(rows: Drawn) -> Drawn:
    """The same rows, the hypotheses of each in the order of their energies."""
    order = np.argsort(rows["energy"], 0), np.arange(rows["energy"].shape[1])
    return {name: value[order] if name in ROW_AXIS else value for name, value in rows.items()}


def say_points(data: BodyPoints) -> str:
    """The joints of a file that are used, in words."""
    source, up = data.source.skeleton, f"{data.source.up} up ({data.source.axes})"
    left = f"; markers left out: {', '.join(data.source.ignored)}" if data.source.ignored else ""
    return f"{source.name}, {up}, {data.used} of {len(source.joints)} points used, as {data.points}{left}"


def fitted(
    model: Model | None,
    spent: Spent,
    body: Body,
    rows: Drawn,
    up: str,
    arrays: dict[str, Any],
    summary: dict[str, Any],
    *,
    many: bool = False,
    **shown: Any,
) -> Outcome:
    """The outcome of fitted rows in a world with `up`; arrays: `frame`, `person` and `fps` among them.

    summary: `prior` among its entries. many: with the axis of hypotheses. shown: further fields of `pictures.Bodies`.
    """
    numbers = {key: rows[key] if many else rows[key][0] for key in rows if key in ROW_AXIS and key != "joints"}
    numbers |= {"samples": rows["joints"] if many else None, "joints3d": rows["joints"][0], **arrays}
    num_hypotheses, num = rows["joints"].shape[:2]
    summary = {**summary, "num_poses": num, "frame_tag": FRAME_TAGS[up]}
    root, pelvis = rows["global_orient"], rows["joints"][..., 0, :]
    if up != "y":
        R = turn(up, "y")
        root = rotation_vectors(R @ rotation_matrices(root.astype(np.float64))).astype(np.float32)
        pelvis = (pelvis @ R.T).astype(np.float32)
    shown |= {"betas": rows["betas"][0] if rows["betas"].shape[-1] else None, "note": f"prior {summary['prior']}"}
    shown["note"] += "; a camera taken as level, no floor is known" if up == "-y" else ""
    shown |= {key: arrays[key] for key in ("frame", "person", "fps")}
    bodies = pictures.Bodies(body, rows["body_pose"], root, pelvis, **shown)
    numbers |= report.axes(SMPL_22.joints, up, FRAME_TAGS[up])
    return Outcome(model, spent, num * num_hypotheses, numbers, summary, bodies)


def fitted_to_points(
    model: Model | None,
    spent: Spent,
    body: Body,
    targets: BodyPoints,
    rows: Drawn,
    summary: dict[str, Any],
    file: str,
    **more: Any,
) -> Generator[str, None, Outcome]:
    """The outcome of bodies fitted to the 3D points of a file, whose motion is that of the first hypothesis.

    more: of `fitted`. Yields a line about the error.
    """
    source, points = targets.source, targets.points
    error = point_error(body, rows, points, targets.xyz) if "error" not in rows else rows["error"]
    mm = 1000 * error[np.isfinite(error)]
    yield f"points met within {np.median(mm):.1f} mm in the median, 95 in 100 within {np.quantile(mm, 0.95):.1f} mm"
    arrays = {"observed": targets.xyz, "points": points, "error": error}
    arrays |= {"frame": source.frame, "person": source.person, "fps": source.fps}
    error_mm = {"median": round(float(np.median(mm)), 2), "mean": round(float(mm.mean()), 2)}
    summary = {**summary, "input_unit": source.unit, "input_up": source.up, "error_mm": error_mm}
    more |= {"labels": labels(source.frame, source.person), "source": f"fitted to {file}", "observed": targets.xyz}
    bones = SKELETONS.get({"openpose25": "body25"}.get(points, points))  # where the points have any
    return fitted(model, spent, body, rows, "y", arrays, summary, observed_skeleton=bones, **more)
