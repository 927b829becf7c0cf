"""Bodies fitted to what was seen of them.

`jaxpose fit INPUT --out DIR`: 2D keypoints of one or several cameras in, bodies out. Keypoints of one camera are read
as `jaxpose lift` reads them; files of several are those of `io/multiview.py`.
`jaxpose ik INPUT --out DIR`: 3D points of bodies, some of them missing, in; whole bodies out.
"""

import functools
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.app.commands import blocks, bodies, clips, detections, exports, report
from jaxpose.app.commands.options import Fit, Ik
from jaxpose.app.commands.pictures import labels
from jaxpose.app.commands.report import Outcome
from jaxpose.app.commands.values import refuse
from jaxpose.base import Array, Bodies, Camera, Key
from jaxpose.fitting import ik as ik_task
from jaxpose.fitting.engine import EVERYTHING, POSE_AND_PLACE, BodyParameters, posed_body
from jaxpose.fitting.ik import IKSettings
from jaxpose.fitting.keypoints import FitSettings, fit_keypoints, observed, one_camera
from jaxpose.fitting.terms import Settings, project
from jaxpose.fitting.uncertainty import gaussian_radius_90, joint_spread
from jaxpose.geometry.body import Body
from jaxpose.geometry.body_joints import body_points, joint_set_of, known_points, point_set_of
from jaxpose.geometry.camera import extent_px
from jaxpose.geometry.skeleton import SKELETONS
from jaxpose.geometry.windows import rows_of_people
from jaxpose.io.arrays import as_finite, load_arrays
from jaxpose.io.multiview import MultiView
from jaxpose.io.poses3d import LEAST_POINTS, check_enough, read_body_points
from jaxpose.tasks.blocks import Block, even

_SMOOTH, _RATE = 600.0, 30.0  # 1 / m^2 at 30 frames a second: `denoise_motion`'s at 20 mm of noise
_ONE_CAMERA = ("camera", "fov", "camera_name", "format")
_MOST_ERROR = 0.05  # of that extent, mean over points: chosen by fits of the bundled clips, which have 0.02 to 0.03
_SHARE = 0.01  # of a person's larger extent in the image: about a detector's error (examples/detectors.py, DETECTOR)
_MEMORY = 8.0  # that a fitted pose takes, of a drawn one: 12 kB a pose, of 8,000 at once (see blocks.py)
_START = {"body_pose": 63, "global_orient": 3, "transl": 3, "betas": 1}  # of --start: least numbers in a row


@report.command("fit", "{}_fitted")
def fit(options: Fit, _: str) -> Generator[str, None, Outcome]:
    """Read and fit: each row for itself, or with --as-clip each person as one moving body."""
    output, as_clip = options.output, options.as_clip
    if not as_clip:
        refuse(options, "is for --as-clip", "smooth")
    body, fitting = exports.body_of(output.exports), bodies.load_fitting(options, "fit")
    detections.check_calibration(options.input, options.keypoints, options.cameras)
    files = yield from clips.keypoints_of_all(options.input, options.video, output.out)
    views, noise_px, lines = _read(files, body, options)
    num = len(views.xy)
    start = None if options.start is None else _read_start(options.start, num, body)
    yield from lines
    settings = bodies.with_method(FitSettings(), options.method, options.prior)
    groups = (yield from _clips(views)) if as_clip else list(even(num, doubling=True))
    if as_clip:
        smooth = (_SMOOTH if options.smooth is None else options.smooth) * ((views.fps or _RATE) / _RATE) ** 3
        settings = settings._replace(weights=settings.weights._replace(smooth=smooth))
    work = _worker(body, views, noise_px, fitting, settings, start, as_clip=as_clip)
    rows, spent = yield from blocks.gather(work, groups, num, seed=output.seed, what="fitted")
    error, per_frame = rows["error_px"], np.nanmean(rows["error_px"], 1)
    median, worst = np.median(per_frame).item(), per_frame.max().item()
    yield f"keypoints met within {median:.1f} px in the median of frames, at worst {worst:.1f} px"
    arrays = {
        **{"error_px": per_frame, "error_px_camera": error, "noise_px": noise_px},
        **{key: rows[key] for key in ("covariance", "radius_90", "root_radius_90")},
        **{"keypoints2d": views.xy, "confidence2d": views.confidence, "frame": views.frame},
        **{"person": views.person, "fps": views.fps, "seconds": views.seconds},
    }
    first_pose = options.start and str(options.start)
    summary = {
        **{"prior": options.prior, "as_clip": as_clip, "read": lines, "start": first_pose},
        "error_px": {"median": round(median, 2), "max": round(worst, 2)},
        "error_px_camera": report.rounded(np.nanmean(error, 0), 2),
    }
    shown: dict[str, Any] = {"labels": labels(views.frame, views.person, [f", {e:.1f} px" for e in per_frame])}
    shown["source"] = f"fitted to {options.input[0].name}"
    outcome = bodies.fitted(fitting.model, spent, body, rows, views.up, arrays, summary, **shown)
    return outcome._replace(doubts={"keypoints": per_frame > _MOST_ERROR * _extent_px(views.xy, views.confidence)})


def _worker(
    body: Body,
    views: MultiView,
    noise_px: np.ndarray,
    fitting: bodies.Fitting,
    settings: Settings,
    start: BodyParameters | None,
    *,
    as_clip: bool,
) -> Callable[[Key, Block, bool], dict[str, Array]]:
    """What fits the rows of a block, each for itself or all as one clip, and says how sure it is of its joints."""

    items = (1, -1) if as_clip else (-1, 1)  # one item of many frames, with the cameras of the first; or of one each

    def work(key: Key, block: Block, _: bool) -> dict[str, Array]:
        xy, confidence, noise = (
            x[block.rows].reshape(*items, *x.shape[1:]) for x in (views.xy, views.confidence, noise_px)
        )
        xy, confidence, noise = np.moveaxis(xy, 1, 2), np.moveaxis(confidence, 1, 2), noise.mean(1)
        rows = block.rows[: len(xy)]
        given: dict[str, Any] = {"start": None, "up": views.up}
        if start is not None:
            pose, root, transl, betas = (jnp.asarray(x[block.rows]).reshape(*items, *x.shape[1:]) for x in start)
            given["start"] = BodyParameters(pose, root, transl, betas.mean(1))
        given_points = (jnp.asarray(xy), jnp.asarray(confidence), _camera_of(views, rows))
        given |= {"noise_px": jnp.asarray(noise), "start_pose": fitting.start_pose, "settings": settings}
        fitted = fit_keypoints(key, body, *given_points, views.points, fitting.prior, **given)
        best = jax.tree.map(lambda x: x[0], fitted)
        term = observed(body, *given_points, views.points, given["noise_px"])
        covariance, of_root = (x.reshape(-1, *x.shape[2:]) for x in joint_spread(body, best, term, fitting.pose_std))
        sure = {"covariance": covariance, "radius_90": gaussian_radius_90(covariance)}
        sure["root_radius_90"] = gaussian_radius_90(of_root)
        error = _error_px(body, fitted, *given_points, points=views.points)
        return {**bodies.as_rows(fitted), "error_px": error, **sure}

    return work


def _read(paths: tuple[Path, ...], body: Body, options: Fit) -> tuple[MultiView, np.ndarray, list[str]]:
    """The rows of a file, or of a file for each camera, with cameras [R or 1, C]; their noise [R] pixels; lines.

    The lines say what was read and assumed. ValueError names a row of which no camera sees three points.
    """
    path, of_cameras = paths[0], len(paths) > 1 or detections.holds_cameras(paths[0])
    views, lines = _of_cameras(paths, options) if of_cameras else _of_one_camera(path, options)
    if not len(views.xy):
        raise ValueError(f"{path}: no frame in it; needed at least one")
    confidence = views.confidence * known_points(body, views.points)
    count = (confidence > 0).sum(-1).max(1)
    few = np.flatnonzero(count < LEAST_POINTS)
    if few.size:
        raise ValueError(
            f"{path}: frame {views.frame[few[0]]}, person {views.person[few[0]]}: {count[few[0]]} points that the body "
            f"has, in any camera; needed {LEAST_POINTS} or more"
        )
    noise = options.noise_px or np.maximum(_SHARE * _extent_px(views.xy, confidence), 0.5)
    noise = np.broadcast_to(noise, len(confidence)).astype(np.float32)
    how = f"noise taken as {np.median(noise):.1f} px" + ("" if options.noise_px else ", 1 % of each person's size")
    return views._replace(confidence=confidence), noise, [*lines, how]


def _of_cameras(paths: tuple[Path, ...], options: Fit) -> tuple[MultiView, list[str]]:
    given = options.keypoints
    if len(paths) > 1:
        if given.calibration is None:
            raise ValueError(f"{len(paths)} files: needed --calibration with a camera for each")
        refuse(given, "is for keypoints of one camera", *_ONE_CAMERA)
    else:
        refuse(given, f"{paths[0]} has its own calibrated cameras (--cameras chooses)", *_ONE_CAMERA)
    (views,), lines = detections.read_views(paths, options, given, given.min_confidence)
    return views._replace(camera=jax.tree.map(lambda x: x[None], views.camera)), lines


def _of_one_camera(path: Path, options: Fit) -> tuple[MultiView, list[str]]:
    refuse(options, f"is for a file of several calibrated cameras, and {path} is none", "cameras", "up")
    skeleton = detections.joint_set(options.skeleton)
    if skeleton is not None and skeleton.name not in SKELETONS:
        raise ValueError(
            f"--points: {skeleton.name} is not read from files of one camera; must be one of {', '.join(SKELETONS)}"
        )
    given = (options.keypoints, None if skeleton is None else skeleton.name)
    span = clips.span_of(options.input, options.video)
    taken: dict[str, Any] = {"fps": options.fps, "span": span}
    data = detections.read_detections(path, lambda of: joint_set_of(point_set_of(of)), *given, **taken)
    source, camera = data.source, one_camera(jnp.asarray(data.intrinsics, jnp.float32))
    name = point_set_of(source.skeleton)
    rows = (name, source.frame, "-y", source.fps, source.person, source.seconds)
    views = MultiView(data.xy[:, None], data.confidence[:, None], camera, ("",), 1, *rows)
    return views, [*data.lines, f"{source.skeleton.name} as {name}"]


def _camera_of(views: MultiView, rows: np.ndarray) -> Camera:
    """The cameras of some rows."""
    return jax.tree.map(lambda x: x[rows] if len(x) > 1 else x, views.camera)


def _extent_px(xy: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """The larger extent of the person, [R], mean over the cameras that see three points of it."""
    enough = (confidence > 0).sum(-1) >= LEAST_POINTS
    extent = np.where(enough, extent_px(xy, confidence > 0), 0)
    return extent.sum(1) / np.maximum(enough.sum(1), 1)


def _clips(views: MultiView) -> Generator[str, None, list[Block]]:
    """Each person's rows, in the order of their frames, as a block; yields lines about frames that are missing."""
    parts = []
    for place, (person, rows) in enumerate(rows_of_people(views.person, views.frame)):
        intrinsics = np.asarray(_camera_of(views, rows).intrinsics)
        if (intrinsics != intrinsics[:1]).any():
            raise ValueError(f"--as-clip: the camera of person {person} changes from frame to frame")
        if len(np.unique(np.diff(views.frame[rows]))) > 1:
            yield f"person {person} is not in every frame: those that are there are taken as following each other"
        parts.append(Block(place, rows, np.arange(len(rows))))
    return parts


@functools.partial(jax.jit, static_argnames="points")
def _error_px(body: Body, fitted: Bodies, xy: Array, confidence: Array, cameras: Camera, *, points: str) -> Array:
    """Mean distances [N F, C] of fitted points from the keypoints xy [N, C, F, K, 2] px that are seen."""
    best = jax.tree.map(lambda x: x[0], fitted)
    away = jnp.linalg.norm(project(cameras, body_points(posed_body(body, best), points)) - xy, axis=-1)
    visible = confidence > 0
    error = jnp.where(visible, away, 0).sum(-1) / jnp.where(visible.any(-1), visible.sum(-1), jnp.nan)
    return jnp.moveaxis(error, 1, 2).reshape(-1, xy.shape[1])


def _read_start(path: Path, num: int, body: Body) -> BodyParameters:
    """Parameters of `num` rows from an .npz: body_pose [R, 21, 3] or [R, 63 or more], global_orient, transl, betas.

    betas may be missing or of one row; all are in the world axes of the cameras.
    """
    z, flat, where = load_arrays(path, "body_pose", "global_orient", "transl"), {}, f"--start: {path}"
    for key, least in _START.items():
        value = np.atleast_2d(z.get(key, np.zeros((num, 1))))
        shapes = ((num, None), (1, None))[: 1 + (key == "betas")]
        rows = as_finite(where, key, value.reshape(len(value), -1), *shapes).astype(np.float32)
        if rows.shape[1] < least:
            raise ValueError(f"{where}: {key} is {list(value.shape)}; needed {least} or more numbers in a row")
        flat[key] = np.broadcast_to(rows, (num, rows.shape[1]))
    betas = np.zeros((num, body.shapedirs.shape[-1]), np.float32)
    width = min(betas.shape[1], flat["betas"].shape[1])
    betas[:, :width] = flat["betas"][:, :width]
    pose = flat["body_pose"][:, :63].reshape(num, 21, 3)
    return BodyParameters(pose, flat["global_orient"], flat["transl"], betas)  # type: ignore[arg-type]  # arrays of numpy


@report.command("ik")
def ik(options: Ik, _: str) -> Generator[str, None, Outcome]:
    """Read points and fit bodies to them."""
    path, output, num_hypotheses = options.input, options.output, options.num_hypotheses
    body, fitting = exports.body_of(output.exports, num_hypotheses), bodies.load_fitting(options, "ik")
    axes, skeleton = options.axes, detections.joint_set(options.skeleton)
    targets = read_body_points(path, body, skeleton=skeleton, up=axes.up, unit=axes.unit, only=options.only)
    check_enough(path, targets)
    num, points = len(targets.xyz), bodies.say_points(targets)
    yield f"{path}: {num} poses, {points}; noise taken as {1000 * options.noise:g} mm"
    free = EVERYTHING if options.shape else POSE_AND_PLACE
    settings = bodies.with_method(IKSettings(), options.method, options.prior)

    def work(key: Key, block: Block, _: bool) -> dict[str, Array]:
        xyz = jnp.asarray(targets.xyz[block.rows])[:, None]
        given: dict[str, Any] = {"start_pose": fitting.start_pose, "num_hypotheses": num_hypotheses, "free": free}
        given |= {"noise": jnp.float32(options.noise), "settings": settings}
        return bodies.as_rows(ik_task.ik(key, body, xyz, targets.points, fitting.prior, **given))

    how: dict[str, Any] = {"seed": output.seed, "num_hypotheses": num_hypotheses, "pose": _MEMORY}
    rows, spent = yield from blocks.gather(work, even(num, doubling=True), num, **how)
    summary = {
        **{"prior": options.prior, "shape_fitted": options.shape, "noise_m": options.noise},
        **{"only": None if options.only is None else ",".join(options.only), "num_hypotheses": num_hypotheses},
        "points": points,
    }
    rows, names = bodies.best_first(rows), [f"hypothesis {h}" for h in range(num_hypotheses)]
    how = {"many": True, "names": names}
    return (yield from bodies.fitted_to_points(fitting.model, spent, body, targets, rows, summary, path.name, **how))
