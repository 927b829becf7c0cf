"""The work of `jaxpose fit`: rows fitted in blocks, or each person as a clip; parameters to go on from; files."""

from __future__ import annotations

import argparse
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Key
from jaxpose.commands import bodies, fitted_bodies, fitting, results
from jaxpose.commands.views import Views
from jaxpose.fitting.engine import BodyParameters
from jaxpose.fitting.keypoints import FitSettings
from jaxpose.geometry.body import Body
from jaxpose.io.arrays import load_arrays
from jaxpose.model import Model

_SMOOTH, _RATE = 600.0, 30.0  # 1 / m^2 at 30 frames a second: `denoise_motion`'s at 20 mm of noise


def fit_frames(
    body: Body, model: Model | None, seen: Views, start: BodyParameters | None, args: argparse.Namespace
) -> Generator[str, None, results.Drawn]:
    """Every row for itself."""

    def draw(key: Key, rows: np.ndarray, return_path: bool) -> fitting.Rows:
        xy, confidence = (jnp.asarray(x[rows])[:, :, None] for x in (seen.xy, seen.confidence))
        own = None if start is None else _of(start, rows, 1)
        return fitting.fit_rows(
            key,
            body,
            model,
            xy,
            confidence,
            seen.of(rows),
            jnp.asarray(seen.noise_px[rows]),
            own,
            points=seen.points,
            prior=args.prior,
            up=seen.up,
            settings=FitSettings(),
        )

    return (yield from results.in_blocks(draw, len(seen.xy), args))


def fit_clips(
    body: Body, model: Model | None, seen: Views, start: BodyParameters | None, args: argparse.Namespace
) -> Generator[str, None, results.Drawn]:
    """Each person's rows, in the order of their frames, as one moving body; cameras are those of the first row."""
    settings = FitSettings()
    smooth = (_SMOOTH if args.smooth is None else args.smooth) * ((seen.fps or _RATE) / _RATE) ** 3
    settings = settings._replace(weights=settings.weights._replace(smooth=smooth))
    started = time.time()
    whole: results.Drawn = {}
    people = np.unique(seen.person)
    for place, person in enumerate(people):
        rows = np.flatnonzero(seen.person == person)
        rows = rows[np.argsort(seen.frame[rows], kind="stable")]
        xy, confidence = (jnp.asarray(np.moveaxis(x[rows], 0, 1))[None] for x in (seen.xy, seen.confidence))
        if (np.asarray(seen.of(rows).intrinsics) != np.asarray(seen.of(rows[:1]).intrinsics)).any():
            raise ValueError(f"--as-clip: the camera of person {person} changes from frame to frame")
        own = None if start is None else _of(start, rows, 0)
        if own is not None:
            own = own._replace(betas=own.betas.mean(0, keepdims=True))
        found = fitting.fit_rows(
            jax.random.fold_in(jax.random.key(args.seed), place),
            body,
            model,
            xy,
            confidence,
            seen.of(rows[:1]),
            jnp.asarray(seen.noise_px[rows].mean()[None]),
            own,
            points=seen.points,
            prior=args.prior,
            up=seen.up,
            settings=settings,
        )
        for name, value in jax.device_get(found)._asdict().items():
            axis = results.AXIS.get(name, 0)
            shape = (*value.shape[:axis], len(seen.xy), *value.shape[axis + 1 :])
            whole.setdefault(name, np.empty(shape, value.dtype))[(slice(None),) * axis + (rows,)] = value
        if len(np.unique(np.diff(seen.frame[rows]))) > 1:
            yield f"person {person} is not in every frame: those that are there are taken as following each other"
        done = int(np.isin(seen.person, people[: place + 1]).sum())
        yield f"fitted person {person}, {len(rows)} frames; {done / (time.time() - started):.1f} frames/s"
    return whole | {"seconds": np.array(time.time() - started)}


def _of(start: BodyParameters, rows: np.ndarray, axis: int) -> BodyParameters:
    """Some rows of [R, ...]: axis 1: as items of a frame each, 0: as the frames of one item; betas as they are."""
    pose, root, transl = (jnp.expand_dims(jnp.asarray(x[rows]), axis) for x in start[:3])
    return BodyParameters(pose, root, transl, jnp.asarray(start.betas[rows]))


def read_start(path: Path, num: int, body: Body) -> BodyParameters:
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


def write(
    out: Path, path: Path, model: Model | None, body: Body, seen: Views, rows: results.Drawn, args: argparse.Namespace
) -> Iterator[str]:
    """Write the fitted bodies: numbers in the cameras' axes, the motion and pictures y up."""
    error, tag = rows["error_px"], bodies.FRAME_TAGS[seen.up]
    per_frame = np.nanmean(error, 1)
    said = f"{np.median(per_frame):.1f} px in the median of frames, at worst {per_frame.max():.1f} px"
    yield f"keypoints met within {said}"
    arrays: dict[str, Any] = {
        **fitted_bodies.fit_arrays(rows, seen.up, tag, many=False),
        **{"error_px": per_frame, "error_px_camera": error, "noise_px": seen.noise_px},
        **{"keypoints2d": seen.xy, "confidence2d": seen.confidence, "frame": seen.frame, "person": seen.person},
        **({} if seen.fps is None else {"fps": seen.fps}),
    }
    num = len(seen.xy)
    summary = {
        **bodies.record(path, model, args, float(rows["seconds"])),
        **{"prior": args.prior, "num_poses": num, "as_clip": args.as_clip, "start": args.start, "read": seen.said},
        "error_px": {"median": round(float(np.median(per_frame)), 2), "max": round(float(per_frame.max()), 2)},
        "error_px_camera": np.nanmean(error, 0).round(2).tolist(),
        **{"poses_per_second": round(num / float(rows["seconds"]), 2), "frame_tag": tag},
    }
    root, pelvis = bodies.turned(bodies.R_Y_UP[seen.up], rows["global_orient"], rows["joints"][..., 0, :])
    labels = [f"frame {f}, person {p}, {e:.1f} px" for f, p, e in zip(seen.frame, seen.person, per_frame, strict=True)]
    shown = bodies.Shown(
        rows["body_pose"],
        root,
        pelvis,
        rows["betas"][0],
        labels,
        seen.fps,
        f"fitted to {path.name}",
        f"prior {args.prior}",
    )
    yield from bodies.write(out, f"{results.name_of(path)}_fitted", arrays, summary, shown, body, args)
