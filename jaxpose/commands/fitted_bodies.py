"""What `ik` and `denoise` make of fitted bodies: errors against the points they were given, arrays and files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxpose.commands import bodies, fitting, results
from jaxpose.commands.points import Targets
from jaxpose.geometry.body import Body, full_rotations
from jaxpose.geometry.body_joints import body_points
from jaxpose.geometry.skeleton import SKELETONS, SMPL_22, Skeleton
from jaxpose.model import Model


def model_of(args: argparse.Namespace) -> Model | None:
    """The prior of --model where --prior asks for one; ValueError where another prior leaves it without meaning."""
    if args.prior not in fitting.PRIORS:
        raise ValueError(f"--prior: got {args.prior!r}; legal are {', '.join(fitting.PRIORS)}")
    if args.prior == "dposer":
        return bodies.load_prior(args)
    if args.model is not None:
        raise ValueError(f"--model: is of --prior dposer, and --prior {args.prior} was given")
    return None


def skeleton_of_points(name: str) -> Skeleton | None:
    """The bones between the points of a set, where it has them."""
    return SKELETONS.get({"openpose25": "body25"}.get(name, name))


def point_error(body: Body, rows: results.Drawn, targets: Targets) -> np.ndarray:
    """How far the points of the first hypothesis lie from those seen, [R, K] metres, NaN where not seen."""
    rotations = full_rotations(body, jnp.asarray(rows["body_pose"][0]), jnp.asarray(rows["global_orient"][0]))
    posed = body.shape(jnp.asarray(rows["betas"][0])).pose(rotations, jnp.asarray(rows["transl"][0]))
    return np.linalg.norm(np.asarray(body_points(posed, targets.points)) - targets.xyz, axis=-1)


def say_error(error: np.ndarray) -> str:
    """A line about `point_error`."""
    mm = 1000 * error[np.isfinite(error)]
    return f"points met within {np.median(mm):.1f} mm in the median, 95 in 100 within {np.quantile(mm, 0.95):.1f} mm"


def best_first(rows: results.Drawn) -> results.Drawn:
    """The same rows, the hypotheses of each in the order of their energies."""
    order = np.argsort(rows["energy"], 0)

    def sorted_(value: np.ndarray) -> np.ndarray:
        return np.take_along_axis(value, order.reshape(*order.shape, *[1] * (value.ndim - 2)), 0)

    return {name: sorted_(value) if name in results.AXIS else value for name, value in rows.items()}


def fit_arrays(rows: results.Drawn, up: str, tag: str, *, many: bool) -> dict[str, Any]:
    """The arrays that every fit writes; many: with the axis of hypotheses."""
    names = ("body_pose", "global_orient", "transl", "betas", "energy")
    parameters = {name: rows[name] if many else rows[name][0] for name in names}
    return {
        **parameters,
        **({"samples": rows["joints"]} if many else {}),
        "joints3d": rows["joints"][0],
        "joints": np.array(SMPL_22.joints),
        **{"up": up, "unit": "m", "frame_tag": tag},
    }


def write_fit_3d(
    out: Path,
    path: Path,
    model: Model | None,
    body: Body,
    targets: Targets,
    rows: results.Drawn,
    error: np.ndarray,
    args: argparse.Namespace,
    said: dict[str, Any],
    fps: float | None = None,
    rest: np.ndarray | None = None,
) -> Iterator[str]:
    """Write bodies fitted to 3D points; the first hypothesis is the motion's. rest: as in `bodies.Shown`."""
    source, tag = targets.source, bodies.FRAME_TAGS["y"]
    many = rows["body_pose"].shape[0] > 1 or args.command == "ik"
    rate = fps or source.fps
    arrays = {
        **fit_arrays(rows, "y", tag, many=many),
        **{"observed": targets.xyz, "points": targets.points, "error": error},
        **{"frame": source.frame, "person": source.person},
        **({} if rate is None else {"fps": rate}),
    }
    found = 1000 * error[np.isfinite(error)]
    summary = {
        **bodies.record(path, model, args, float(rows["seconds"])),
        **{"prior": args.prior, "shape_fitted": args.shape, "num_poses": len(targets.xyz), "points": targets.said},
        **{"input_unit": source.unit, "input_up": source.up, "frame_tag": tag},
        "error_mm": {"median": round(float(np.median(found)), 2), "mean": round(float(found.mean()), 2)},
        **said,
    }
    labels = [f"frame {f}, person {p}" for f, p in zip(source.frame, source.person, strict=True)]
    names = [f"hypothesis {h}" for h in range(len(rows["joints"]))] if many else None
    betas = rows["betas"][0] if rows["betas"].shape[-1] else None
    shown = bodies.Shown(
        rows["body_pose"],
        rows["global_orient"],
        rows["joints"][..., 0, :],
        betas,
        labels,
        rate,
        f"fitted to {path.name}",
        f"prior {args.prior}",
        targets.xyz,
        skeleton_of_points(targets.points),
        names,
        rest=rest,
    )
    yield from bodies.write(out, results.name_of(path), arrays, summary, shown, body, args)
