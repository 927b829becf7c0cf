"""`jaxpose fit INPUT --out DIR`: 2D keypoints of one or several cameras in, bodies out."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Bodies, Camera, Key
from jaxpose.commands import blocks, fitted, models, report, views
from jaxpose.commands.blocks import Block, Drawn
from jaxpose.commands.fitted import Rows
from jaxpose.commands.options import Fit
from jaxpose.commands.report_bodies import Shown, turned, write_bodies
from jaxpose.commands.views import Views
from jaxpose.fitting.engine import BodyParameters, posed_body
from jaxpose.fitting.keypoints import FitSettings, fit_keypoints
from jaxpose.fitting.terms import project
from jaxpose.geometry.axes import FRAME_TAGS, turn
from jaxpose.geometry.body import Body
from jaxpose.geometry.body_joints import body_points
from jaxpose.io.arrays import load_arrays

_SMOOTH, _RATE = 600.0, 30.0  # 1 / m^2 at 30 frames a second: `denoise_motion`'s at 20 mm of noise


def fit(options: Fit) -> Iterator[str]:
    """Read, fit and write; each row for itself, or with --as-clip each person as one moving body."""
    path, output = options.input, options.output
    if options.smooth is not None and not (options.as_clip and options.smooth >= 0):
        raise ValueError(f"--smooth: needed --as-clip and a weight of 0 or more, got {options.smooth:g}")
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    report.check_out(output.out, path)
    model = models.load_fit_prior(options.prior, output.model, "fit")
    body = models.load_body(options.files.body)
    seen = views.read_views(path, body, options)
    yield from seen.said
    num = len(seen.xy)
    start = None if options.start is None else _read_start(options.start, num, body)
    settings, groups = FitSettings(), list(blocks.even(num, doubling=True))
    if options.as_clip:
        smooth = (_SMOOTH if options.smooth is None else options.smooth) * ((seen.fps or _RATE) / _RATE) ** 3
        settings = settings._replace(weights=settings.weights._replace(smooth=smooth))
        groups = yield from _clips(seen)

    prior, start_pose = fitted.prior_of(options.prior, model), fitted.start_pose(model)

    def work(key: Key, block: Block, return_path: bool) -> Rows:
        rows = block.rows
        xy, confidence, noise = seen.xy[rows], seen.confidence[rows], seen.noise_px[rows]
        own = None if start is None else _of(start, rows, as_clip=options.as_clip)
        if options.as_clip:  # one item of many frames, cameras of the first
            xy, confidence, noise = np.moveaxis(xy, 0, 1)[None], np.moveaxis(confidence, 0, 1)[None], noise.mean()[None]
            rows = rows[:1]
        else:
            xy, confidence = xy[:, :, None], confidence[:, :, None]
        cameras, xy, confidence = seen.of(rows), jnp.asarray(xy), jnp.asarray(confidence)
        found = fit_keypoints(
            key,
            body,
            xy,
            confidence,
            cameras,
            seen.points,
            prior,
            noise_px=jnp.asarray(noise),
            start=own,
            start_pose=start_pose,
            up=seen.up,
            settings=settings,
        )
        error = _error_px(body, found, xy, confidence, cameras, points=seen.points)
        return fitted.as_rows(found)._replace(error_px=error)

    rows, spent = yield from blocks.gather(work, groups, num, seed=output.seed, what="fitted")
    said = report.record("fit", path, model, spent, num, seed=output.seed)
    yield from _write(options, body, seen, rows, said)


def _clips(seen: Views) -> Any:
    """Each person's rows, in the order of their frames, as a block; yields lines about frames that are missing."""
    found = []
    for place, person in enumerate(np.unique(seen.person)):
        rows = np.flatnonzero(seen.person == person)
        rows = rows[np.argsort(seen.frame[rows], kind="stable")]
        if (np.asarray(seen.of(rows).intrinsics) != np.asarray(seen.of(rows[:1]).intrinsics)).any():
            raise ValueError(f"--as-clip: the camera of person {person} changes from frame to frame")
        if len(np.unique(np.diff(seen.frame[rows]))) > 1:
            yield f"person {person} is not in every frame: those that are there are taken as following each other"
        found.append(Block(place, rows, np.arange(len(rows))))
    return found


@functools.partial(jax.jit, static_argnames="points")
def _error_px(body: Body, found: Bodies, xy: Array, confidence: Array, cameras: Camera, *, points: str) -> Array:
    """How far fitted points lie from keypoints xy [N, C, F, K, 2] px: the mean [N F, C] of those seen."""
    best = jax.tree.map(lambda x: x[0], found)
    away = jnp.linalg.norm(project(cameras, body_points(posed_body(body, best), points)) - xy, axis=-1)
    seen = confidence > 0
    error = jnp.where(seen, away, 0).sum(-1) / jnp.where(seen.any(-1), seen.sum(-1), jnp.nan)
    return jnp.moveaxis(error, 1, 2).reshape(-1, xy.shape[1])


def _of(start: BodyParameters, rows: np.ndarray, *, as_clip: bool) -> BodyParameters:
    """Some rows of [R, ...] as items of a frame each, or as the frames of one item with their mean betas."""
    pose, root, transl = (jnp.expand_dims(jnp.asarray(x[rows]), 0 if as_clip else 1) for x in start[:3])
    betas = jnp.asarray(start.betas[rows])
    return BodyParameters(pose, root, transl, betas.mean(0, keepdims=True) if as_clip else betas)


def _read_start(path: Path, num: int, body: Body) -> BodyParameters:
    """Parameters of `num` rows from an .npz: body_pose [R, 21, 3] or [R, 63 or more], global_orient, transl, betas.

    betas may be missing or of one row; all are in the world axes of the cameras.
    """
    if not path.is_file():
        raise ValueError(f"--start: {path}: no such file")
    if path.suffix != ".npz":
        raise ValueError(f"--start: {path}: suffix {path.suffix!r}; needed .npz")
    z = load_arrays(path)
    lacks = [key for key in ("body_pose", "global_orient", "transl") if key not in z]
    if lacks:
        raise ValueError(f"--start: {path}: keys {sorted(z)} lack {', '.join(lacks)}")
    found = {
        key: np.asarray(z[key], np.float32) for key in ("body_pose", "global_orient", "transl", "betas") if key in z
    }
    flat = {key: value.reshape(len(value), -1) if value.ndim > 1 else value[None] for key, value in found.items()}
    if "betas" in flat and len(flat["betas"]) == 1:
        flat["betas"] = np.repeat(flat["betas"], num, 0)
    for key, least in (("body_pose", 63), ("global_orient", 3), ("transl", 3), ("betas", 1)):
        if key in flat and (len(flat[key]) != num or flat[key].shape[1] < least or not np.isfinite(flat[key]).all()):
            raise ValueError(
                f"--start: {path}: {key} is {list(found[key].shape)}; needed {num} rows of {least} or more finite "
                "numbers"
            )
    betas = np.zeros((num, body.shapedirs.shape[-1]), np.float32)
    if "betas" in flat:
        width = min(betas.shape[1], flat["betas"].shape[1])
        betas[:, :width] = flat["betas"][:, :width]
    pose = flat["body_pose"][:, :63].reshape(num, 21, 3)
    return BodyParameters(pose, flat["global_orient"], flat["transl"], betas)  # type: ignore[arg-type]  # numpy's, yet


def _write(options: Fit, body: Body, seen: Views, rows: Drawn, said: dict[str, Any]) -> Iterator[str]:
    """Write the fitted bodies: numbers in the cameras' axes, the motion and pictures y up."""
    path, error = options.input, rows["error_px"]
    per_frame = np.nanmean(error, 1)
    yield (
        f"keypoints met within {np.median(per_frame):.1f} px in the median of frames, at worst {per_frame.max():.1f} px"
    )
    arrays = {
        **fitted.fit_arrays(rows, seen.up, many=False),
        **{"error_px": per_frame, "error_px_camera": error, "noise_px": seen.noise_px},
        **{"keypoints2d": seen.xy, "confidence2d": seen.confidence, **report.rows(seen.frame, seen.person, seen.fps)},
    }
    summary = {
        **{**said, "prior": options.prior, "num_poses": len(seen.xy), "as_clip": options.as_clip},
        **{"start": None if options.start is None else str(options.start), "read": seen.said},
        "error_px": {"median": round(float(np.median(per_frame)), 2), "max": round(float(per_frame.max()), 2)},
        **{"error_px_camera": np.nanmean(error, 0).round(2).tolist(), "frame_tag": FRAME_TAGS[seen.up]},
    }
    root, pelvis = turned(turn(seen.up, "y"), rows["global_orient"], rows["joints"][..., 0, :])
    titles = report.labels(seen.frame, seen.person, [f", {e:.1f} px" for e in per_frame])
    source, note = f"fitted to {path.name}", f"prior {options.prior}"
    shown = Shown(rows["body_pose"], root, pelvis, rows["betas"][0], titles, seen.fps, source, note)
    yield from write_bodies(
        options.output, options.files, f"{report.name_of(path)}_fitted", arrays, summary, shown, body
    )
