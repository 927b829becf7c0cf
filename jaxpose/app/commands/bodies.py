"""Bodies: the models and priors that the flags name, fits as `ik`, `fit` and `denoise` share them, and their files.

NAME.npz           the numbers; `joints3d` of the best body stands with `joints`, `up` and `unit`, so that whatever
                   reads 3D joints reads it
NAME_motion.npz    the best body as a motion, y up, as `io.motion.read_motion` reads it
NAME.json          what was done
NAME.png, .html    pictures; with --bvh, --glb and --obj files for other programs
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax.numpy as jnp
import numpy as np

from jaxpose.app.commands import exports, report, tracks, typical
from jaxpose.app.commands.blocks import AXIS, Drawn
from jaxpose.app.commands.models import Chosen, load_prior
from jaxpose.app.commands.options import Complete, Denoise, Fit, Generate, Ik, Interpolate
from jaxpose.base import Array, Bodies
from jaxpose.fitting.engine import PosePrior
from jaxpose.fitting.ik import IKSettings
from jaxpose.fitting.keypoints import FitSettings
from jaxpose.fitting.least_squares import LevenbergMarquardt
from jaxpose.fitting.motion import MotionSettings
from jaxpose.fitting.priors import dposer_prior, energy_prior, l2_energy
from jaxpose.geometry.axes import FRAME_TAGS, turn
from jaxpose.geometry.body import Body, PosedBody, full_rotations
from jaxpose.geometry.body_joints import body_points
from jaxpose.geometry.skeleton import SKELETONS, SMPL_22, Skeleton
from jaxpose.io.motion import Motion, save_motion
from jaxpose.io.poses3d import BodyPoints
from jaxpose.io.take import rotation_matrices, rotation_vectors
from jaxpose.model import Model
from jaxpose.tasks.rotations import rotation_std, to_axis_angle

_Settings = TypeVar("_Settings", IKSettings, MotionSettings, FitSettings)
BODY_JOINTS = SMPL_22.joints[1:]
_MOST_BODIES, _MOST_FRAMES, _MOST_STILLS, _MOST_OBJECTS = 6, 300, 8, 20  # of a page, of its sheet, of an .obj


class Fitting(NamedTuple):
    """The model of --prior dposer, the prior of fits, and the mean pose [21, 3] where they start.

    pose_std: [21, 3] radians, the deviations of likely poses, for the radii of a fit.
    """

    model: Model | None
    prior: PosePrior | None
    start_pose: Array | None
    pose_std: Array


class Shown(NamedTuple):
    """Bodies [H, F] in a world with y up; H = 0 is the best.

    body_pose [H, F, 21, 3], global_orient [H, F, 3] rad; pelvis [H, F, 3] m, the position of that joint; betas
    [F, S] or [S] of the best, or None for the template. labels: F. fps: None where frames are not of one motion.
    source: what is said in the motion's file. observed: [F, K, 3] m, NaN where missing. names: of the H bodies.
    rest: [22, 3] m by person, the joints at rest where they are not the body's. frame, person: [F], where several
    people move.
    """

    body_pose: np.ndarray
    global_orient: np.ndarray
    pelvis: np.ndarray
    betas: np.ndarray | None = None
    labels: list[str] | None = None
    fps: float | None = None
    source: str = ""
    note: str = ""
    observed: np.ndarray | None = None
    observed_skeleton: Skeleton | None = None
    names: list[str] | None = None
    rest: dict[int, np.ndarray] | None = None
    frame: np.ndarray | None = None
    person: np.ndarray | None = None


def with_method(settings: _Settings, method: str | None, prior: str = "dposer") -> _Settings:
    """Settings of a fit with what --method says; ValueError for second-order steps under another prior."""
    if method is None:
        return settings
    if method == "second_order" and prior != "dposer":
        raise ValueError(f"--method second_order: is for --prior dposer, got {prior}")
    chosen = None if method == "adam" else settings.method or LevenbergMarquardt(50)
    return settings._replace(method=chosen)


def load_fitting(prior: str, chosen: Chosen, command: str) -> Fitting:
    """What --prior and --model name; ValueError where --model or --dtype is without meaning."""
    if prior == "dposer":
        return dposer(load_prior(chosen, command))
    if chosen.model is not None or chosen.dtype != "float32":
        flag = "dtype" if chosen.model is None else "model"
        raise ValueError(f"--{flag}: is of --prior dposer, and --prior {prior} was given")
    if prior == "l2":  # |x|^2 is the energy of a Gaussian of that deviation
        return Fitting(None, energy_prior(l2_energy), None, jnp.full((21, 3), 0.5**0.5))
    return Fitting(None, None, None, jnp.full((21, 3), jnp.pi))


def dposer(model: Model) -> Fitting:
    """A prior over joint rotations, as fits take it."""
    mean = to_axis_angle(model, jnp.zeros(model.spec.state_shape))
    return Fitting(model, dposer_prior(model), mean, rotation_std(model))


def joints_of(body: Body, body_pose: Any, global_orient: Any, pelvis: Any, betas: Any = None) -> np.ndarray:
    """The 22 joints [..., 22, 3] metres of bodies whose pelvis stands at pelvis [..., 3]."""
    rotations = full_rotations(body, jnp.asarray(body_pose), jnp.asarray(global_orient))
    joints = np.asarray(body.shape(_betas(betas)).pose(rotations).joints[..., :22, :])
    return joints - joints[..., :1, :] + np.asarray(pelvis)[..., None, :]


def as_rows(found: Bodies) -> dict[str, Array]:
    """Fitted clips [H, N, F] as rows: R = N F frames, H hypotheses.

    body_pose [H, R, 21, 3], global_orient [H, R, 3] rad, transl [H, R, 3] m (moves the template), betas [H, R, S],
    joints [H, R, 22, 3] m, energy [H, R] of the whole clip.
    """
    lead = found.body_pose.shape[:3]
    values = found._asdict() | {
        "betas": jnp.broadcast_to(found.betas[:, :, None], (*lead, found.betas.shape[-1])),
        "energy": jnp.broadcast_to(found.energy[:, :, None], lead),
    }
    names = ("body_pose", "global_orient", "transl", "betas", "joints", "energy")
    num = lead[1] * lead[2]  # not -1: a skeleton has no betas, and an empty array no size to tell it from
    return {name: values[name].reshape(lead[0], num, *values[name].shape[3:]) for name in names}


def point_error(body: Body, rows: dict[str, Any], points: str, xyz: np.ndarray) -> np.ndarray:
    """How far the points of the first hypothesis lie from those seen [R, K, 3]: [R, K] metres, NaN where not seen."""
    pose, root, transl, betas = (
        jnp.asarray(rows[name][0]) for name in ("body_pose", "global_orient", "transl", "betas")
    )
    posed = body.shape(betas).pose(full_rotations(body, pose, root), transl)
    return np.linalg.norm(np.asarray(body_points(posed, points)) - xyz, axis=-1)


def best_first(rows: Drawn) -> Drawn:
    """The same rows, the hypotheses of each in the order of their energies."""
    order = np.argsort(rows["energy"], 0)

    def in_order(value: np.ndarray) -> np.ndarray:
        return np.take_along_axis(value, order.reshape(*order.shape, *[1] * (value.ndim - 2)), 0)

    return {name: in_order(value) if name in AXIS else value for name, value in rows.items()}


def say_points(data: BodyPoints) -> str:
    """What of a file's joints is used."""
    source, up = data.source.skeleton, f"{data.source.up} up ({data.source.axes})"
    left = f"; markers left out: {', '.join(data.source.ignored)}" if data.source.ignored else ""
    return f"{source.name}, {up}, {data.used} of {len(source.joints)} points used, as {data.points}{left}"


def write_fits(
    options: Denoise | Fit | Ik,
    name: str,
    body: Body,
    rows: Drawn,
    up: str,
    arrays: dict[str, Any],
    summary: dict[str, Any],
    *,
    many: bool = False,
    **shown: Any,
) -> Iterator[str]:
    """Write fitted rows in a world with `up`; arrays: `frame`, `person` and `fps` among them.

    summary: `prior` among its entries. many: with the axis of hypotheses. shown: further fields of `Shown`.
    """
    numbers = {key: rows[key] if many else rows[key][0] for key in rows if key in AXIS and key != "joints"}
    numbers |= {"samples": rows["joints"] if many else None, "joints3d": rows["joints"][0], **arrays}
    summary = {**summary, "num_poses": rows["joints"].shape[1], "frame_tag": FRAME_TAGS[up]}
    root, pelvis = rows["global_orient"], rows["joints"][..., 0, :]
    if up != "y":
        R = turn(up, "y")
        root = rotation_vectors(R @ rotation_matrices(root.astype(np.float64))).astype(np.float32)
        pelvis = (pelvis @ R.T).astype(np.float32)
    betas = rows["betas"][0] if rows["betas"].shape[-1] else None
    shown |= {"betas": betas, "fps": arrays["fps"], "note": f"prior {summary['prior']}"}
    shown |= {key: arrays[key] for key in ("frame", "person")}
    yield from write_bodies(options, name, numbers, summary, Shown(rows["body_pose"], root, pelvis, **shown), body, up)


def write_point_fits(
    options: Denoise | Ik, name: str, body: Body, targets: BodyPoints, rows: Drawn, said: dict[str, Any], **more: Any
) -> Iterator[str]:
    """Write bodies fitted to the 3D points of a file; more: of `write_fits`. The first hypothesis is the motion's."""
    path, source, points = options.input, targets.source, targets.points
    error = point_error(body, rows, points, targets.xyz) if "error" not in rows else rows["error"]
    found = 1000 * error[np.isfinite(error)]
    yield (
        f"points met within {np.median(found):.1f} mm in the median, 95 in 100 within {np.quantile(found, 0.95):.1f} mm"
    )
    arrays = {"observed": targets.xyz, "points": points, "error": error}
    arrays |= report.rows(source.frame, source.person, source.fps)
    error_mm = {"median": round(float(np.median(found)), 2), "mean": round(float(found.mean()), 2)}
    summary = {**said, "input_unit": source.unit, "input_up": source.up, "error_mm": error_mm}
    more |= {"labels": report.labels(source.frame, source.person), "source": f"fitted to {path.name}"}
    bones = SKELETONS.get({"openpose25": "body25"}.get(points, points))  # where the points have any
    more |= {"observed": targets.xyz, "observed_skeleton": bones}
    yield from write_fits(options, name, body, rows, "y", arrays, summary, **more)


def write_bodies(
    options: Complete | Denoise | Fit | Generate | Ik | Interpolate,
    name: str,
    arrays: dict[str, Any],
    summary: dict[str, Any],
    shown: Shown,
    body: Body,
    up: str = "y",
) -> Iterator[str]:
    """Write the files that the module docstring names; each appears whole or not at all.

    up: of the world of the arrays, of which the summary's `frame_tag` says more.
    """
    out, files, pictures = options.output.out, options.output.exports, not options.output.no_pictures
    arrays = {**arrays, **report.axes(SMPL_22.joints, up, summary["frame_tag"])}
    report.check_finite(arrays)
    judged = typical.of_bodies(arrays.get("mean", shown.body_pose[0]), arrays)
    yield from judged.said
    arrays, summary = arrays | judged.arrays, summary | judged.summary
    clip = None
    if exports.any_of(files):
        moving = (shown.body_pose, shown.global_orient, shown.pelvis)
        shape: dict[str, Any] = {
            "betas": shown.betas,
            "rests": shown.rest,
            "still": shown.fps is None and "fps" not in arrays,
        }
        clip = tracks.of_bodies(body, *moving, arrays, files.takes or 0, **shape)
        summary = summary | {"exports": clip.said}
    yield from report.write_numbers(out, name, arrays, summary | {"body": str(files.body or "anny")})
    betas = None if shown.betas is None else np.asarray(shown.betas)
    one_shape = betas if betas is None or betas.ndim == 1 else betas[0] if (betas == betas[0]).all() else None
    still = (shown.body_pose[0], shown.global_orient[0], shown.pelvis[0])
    motion = Motion(*still, shown.fps or 30.0, one_shape, shown.source)
    save_motion(out / f"{name}_motion.npz", motion)
    yield f"wrote {out / name}_motion.npz"
    if clip is not None:
        yield from exports.lines(clip)
        yield from exports.write(files, out, name, clip, body)
    if files.obj or pictures:
        yield from _draw(out, name, shown, body, files.obj, pictures)


def _draw(out: Path, name: str, shown: Shown, body: Body, objects: bool, pictures: bool) -> Iterator[str]:
    """The meshes of some bodies: stills, evenly spaced, and the page of at most so many frames."""
    from jaxpose.app import viz

    faces, num = np.asarray(body.faces), shown.body_pose.shape[1]
    rows = np.linspace(0, num - 1, min(num, _MOST_OBJECTS)).astype(int)
    posed, move = _posed(shown, body, slice(1), rows)
    stills = np.asarray(posed.skin())[0] + move[0, :, None]
    if objects:
        yield f"wrote {viz.write_obj(out / f'{name}.obj', stills, faces)} of {len(stills)} bodies"
    if not pictures:
        return
    labels = [""] * num if shown.labels is None else shown.labels
    few = np.linspace(0, len(rows) - 1, min(len(rows), _MOST_STILLS)).astype(int)
    titles = [labels[row] or f"frame {row}" for row in rows[few]]
    yield f"wrote {viz.mesh_sheet(out / f'{name}.png', stills[few], faces, titles=titles)}"
    several = shown.person is not None and len(np.unique(shown.person)) > 1
    make = _scene_of_people if several else _scene_of_one
    skins, options = make(shown, body)
    page = viz.mesh_page(skins, faces, title=name, note=shown.note, max_frames=_MOST_FRAMES, **options)
    yield f"wrote {page.write(out / f'{name}.html')}"


def _scene_of_one(shown: Shown, body: Body) -> tuple[list[Any], dict[str, Any]]:
    """The first hypotheses of one moving body, and the options of its page."""
    from jaxpose.app import viz

    each, num = slice(_MOST_BODIES), shown.body_pose.shape[1]
    skins = viz.skins_of(*_posed(shown, body, each, np.arange(num)))
    return skins, {
        **{"names": None if shown.names is None else shown.names[each], "labels": shown.labels, "fps": shown.fps},
        **{"observed": shown.observed, "observed_skeleton": shown.observed_skeleton},
    }


def _scene_of_people(shown: Shown, body: Body) -> tuple[list[Any], dict[str, Any]]:
    """The best body of each person in one space over time."""
    from jaxpose.app import viz
    from jaxpose.app.viz.crowd import make_crowd

    crowd = make_crowd(shown.body_pose.shape[1], shown.frame, shown.person)
    skins = []
    for place in range(len(crowd.people)):
        rows = np.flatnonzero(crowd.who == place)
        (own,) = viz.skins_of(*_posed(shown, body, slice(1), rows))
        transforms = np.full((len(crowd.frames), *own.transforms.shape[1:]), np.nan)
        transforms[crowd.at[rows]] = own.transforms
        skins.append(own._replace(transforms=transforms))
    return skins, {
        **{"names": [f"person {person}" for person in crowd.people], "fps": shown.fps},
        "max_bodies": len(skins),
        "observed": None if shown.observed is None else crowd.spread_out(shown.observed),
        "observed_skeleton": shown.observed_skeleton,
    }


def _posed(shown: Shown, body: Body, bodies: slice, rows: np.ndarray) -> tuple[PosedBody, np.ndarray]:
    """Some bodies [H] in some frames [F], posed, and what moves them to their place, [H, F, 3]."""
    pick = (bodies, rows)
    betas = shown.betas if shown.betas is None or np.ndim(shown.betas) == 1 else shown.betas[rows]
    rotations = full_rotations(body, jnp.asarray(shown.body_pose[pick]), jnp.asarray(shown.global_orient[pick]))
    posed = body.shape(_betas(betas)).pose(rotations)
    return posed, shown.pelvis[pick] - np.asarray(posed.joints[..., 0, :])


def _betas(betas: Any) -> Any:
    return None if betas is None else jnp.asarray(betas)
