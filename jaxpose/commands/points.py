"""3D points as the commands of bodies take them: in a set that bodies have (`POINT_SETS`), metres, y up.

The sets of joints that are no such set (h36m17, mpii16, ...) are brought to OpenPose's 25 as far as they have them.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.commands.option_groups import Axes
from jaxpose.geometry.axes import from_camera
from jaxpose.geometry.body import Body
from jaxpose.geometry.body_joints import POINT_SETS, known_points
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import BODY_25, SKELETONS, Skeleton
from jaxpose.io.poses3d import Poses3D, read_poses3d

_SET_OF = {"body25": "openpose25", "coco17": "coco17", "smpl22": "smpl22", "smpl24": "smpl24"}
_LEAST = 3


class Targets(NamedTuple):
    """xyz [N, K, 3] metres, y up, NaN where not seen or not of the body; points: the set; source: the file's rows."""

    xyz: np.ndarray
    points: str
    source: Poses3D
    said: str


def skeleton_of(name: str | None) -> Skeleton | None:
    """The joint set of --points or --skeleton: a name of ours, or of a set of body points."""
    if name is None or name in SKELETONS:
        return None if name is None else SKELETONS[name]
    if name == "openpose25":
        return BODY_25
    if name in POINT_SETS:  # a set that is no tree: names alone
        joints = POINT_SETS[name]
        return Skeleton(name, joints, (-1, *[0] * (len(joints) - 1)), (), (), ())
    legal = ", ".join((*SKELETONS, *(name for name in POINT_SETS if name not in SKELETONS)))
    raise ValueError(f"--points: got {name!r}; legal are {legal}")


def set_of(skeleton: Skeleton) -> str:
    """The set of body points that takes a file's joints."""
    return skeleton.name if skeleton.name in POINT_SETS else _SET_OF.get(skeleton.name, "openpose25")


def read_targets(
    path: Path, body: Body, axes: Axes, skeleton: str | None = None, only: tuple[str, ...] | None = None
) -> Targets:
    """The 3D points in a file, all or `only` those named; ValueError where none is left, or names an unknown point."""
    source = read_poses3d(path, skeleton=skeleton_of(skeleton), up=axes.up, unit=axes.unit)
    name = set_of(source.skeleton)
    xyz = from_camera(source.joints, "y")
    if len(POINT_SETS[name]) != len(source.skeleton.joints) or name == "openpose25":
        seen = jnp.asarray(np.isfinite(xyz).all(-1), jnp.float32)
        moved, sure = jax.device_get(convert_joints(jnp.asarray(xyz), seen, source.skeleton, BODY_25))
        xyz = np.where(sure[..., None] > 0, moved, np.nan)
    keep = known_points(body, name) & _chosen(only, name)
    xyz = np.where(keep[:, None], xyz, np.nan).astype(np.float32)
    seen = np.isfinite(xyz).all(-1)
    if not seen.any():
        raise ValueError(f"{path}: none of its points is one of the body's, or of those asked for")
    used = int(seen.any(0).sum())
    said = f"{source.skeleton.name}, {used} of {len(source.skeleton.joints)} points used, as {name}"
    return Targets(xyz, name, source, said)


def check_enough(path: Path, targets: Targets) -> None:
    """ValueError naming the first pose with fewer than three points."""
    count = np.isfinite(targets.xyz).all(-1).sum(-1)
    few = np.flatnonzero(count < _LEAST)
    if few.size:
        row, source = few[0], targets.source
        raise ValueError(
            f"{path}: frame {source.frame[row]}, person {source.person[row]} has {count[row]} points that the body "
            f"has; needed {_LEAST} or more"
        )


def _chosen(only: tuple[str, ...] | None, name: str) -> np.ndarray:
    names = POINT_SETS[name]
    if only is None:
        return np.ones(len(names), bool)
    unknown = [part for part in only if part not in names]
    if unknown:
        raise ValueError(f"--only: got {unknown[0]!r}; legal are {', '.join(names)}")
    return np.isin(np.array(names), only)
