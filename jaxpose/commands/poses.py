"""3D joints as the commands take them, in the model's joint set, and what becomes of them in the file's own axes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.commands import results
from jaxpose.geometry.axes import covariance_from_camera, from_camera
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import Skeleton, get_skeleton
from jaxpose.io.poses3d import Poses3D, read_poses3d
from jaxpose.model import Model

_AXES = {"-y": "x right, y down, z forward", "y": "of the input, y up", "z": "of the input, z up"}


class Observed(NamedTuple):
    """N poses in the model's joint set: joints [N, J, 3] metres, camera axes, NaN where missing or hidden.

    source: the same rows as the file has them.
    """

    joints: np.ndarray
    source: Poses3D
    num_dropped: int


def read_observed(
    path: Path, target: Skeleton, args: argparse.Namespace, hide: Callable[[int], np.ndarray] | None = None
) -> Observed:
    """The 3D joints of a file in the joint set `target`; poses of which nothing is left are left out.

    hide: number of poses -> [N, J] bool, joints to be hidden. ValueError where no pose is left.
    """
    skeleton = get_skeleton(args.skeleton) if args.skeleton else None
    poses = read_poses3d(path, skeleton=skeleton, up=args.up, unit=args.unit)
    seen = jnp.asarray(np.isfinite(poses.joints).all(-1), jnp.float32)
    converted = convert_joints(jnp.asarray(poses.joints), seen, poses.skeleton, target)
    joints, known = jax.device_get(converted)
    hidden = np.zeros(known.shape, bool) if hide is None else hide(len(known))
    joints = np.where(((known > 0) & ~hidden)[..., None], joints, np.nan).astype(np.float32)
    rows = np.isfinite(joints).any((1, 2))
    if not rows.any():
        why = "--hide hides all that is there" if (known > 0).any() else f"none is of {target.name}"
        raise ValueError(f"{path}: no pose has an observed joint left: {why} (`jaxpose generate` draws from nothing)")
    kept = poses._replace(joints=poses.joints[rows], frame=poses.frame[rows], person=poses.person[rows])
    return Observed(joints[rows], kept, int((~rows).sum()))


def describe(path: Path, data: Observed) -> Iterator[str]:
    """Lines that say what was read, assumed and left out."""
    source = data.source
    yield f"{path}: {len(data.joints)} 3D poses of {source.skeleton.name}, in {source.unit}, {source.up} up"
    if data.num_dropped:
        yield f"left out {data.num_dropped} poses without an observed joint"


def label(poses: Poses3D, row: int) -> str:
    """A pose of a file in words."""
    return f"frame {poses.frame[row]}, person {poses.person[row]}"


def missing_per_joint(joints: np.ndarray, skeleton: Skeleton) -> dict[str, int]:
    """In how many of the poses [N, J, D] each joint is missing (not finite), of those that are in any."""
    counts = (~np.isfinite(joints).all(-1)).sum(0).tolist()
    return {name: count for name, count in zip(skeleton.joints, counts, strict=True) if count}


def write(
    out: Path,
    path: Path,
    model: Model,
    data: Observed,
    posed: results.Drawn,
    args: argparse.Namespace,
    said: dict[str, Any],
) -> Iterator[str]:
    """Write what a task made of 3D joints; `said` are further entries of the summary, noise_source among them."""
    source, up = data.source, data.source.up
    tag = f"axes: {_AXES[up]}; metres; about the origin of the input"
    seconds, path_states = float(posed["seconds"]), posed.get("path")
    summary = {
        **results.record(path, model, args, len(data.joints) * args.hypotheses, seconds),
        "num_poses": len(data.joints),
        "num_dropped": data.num_dropped,
        "num_hypotheses": args.hypotheses,
        "frame_tag": tag,
        "input_joints": source.skeleton.name,
        "input_unit": source.unit,
        "input_up": up,
        **said,
        "spread_mm": results.spread_mm(posed["covariance"], model.skeleton),
    }
    arrays = {
        "samples": from_camera(posed["samples"], up),
        "mean": from_camera(posed["mean"], up),
        "covariance": covariance_from_camera(posed["covariance"], up),
        "radius_90": posed["radius_90"],
        "weights": posed["weights"],
        "noise": posed["noise"],
        "observed": from_camera(data.joints, up),
        "frame": source.frame,
        "person": source.person,
        "joints": np.array(model.skeleton.joints),
        "up": np.array(up),
        "unit": np.array("m"),
        "frame_tag": np.array(tag),
        **({} if source.fps is None else {"fps": np.array(source.fps)}),
    }
    # pictures are about the mean root, one place for all samples of a pose: what was observed stays in place
    centre = posed["mean"][:, :1]
    layers = {"mean": posed["mean"] - centre, "given": data.joints - centre}
    labels = [label(source, row) for row in range(len(data.joints))]
    picture = results.Picture(
        posed["samples"] - centre,
        model.skeleton,
        labels,
        said["noise_source"],
        layers,
        source.fps,
        None if path_states is None else path_states - centre[: path_states.shape[2]],
    )
    yield from results.write(out, results.name_of(path), arrays, summary, picture, args)
