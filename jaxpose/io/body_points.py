"""3D points of a body from files: in a set that bodies have (`POINT_SETS`), metres, y up.

Joint sets that are no such set (h36m17, mpii16, ...) are brought to OpenPose's 25 as far as they have them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.geometry.axes import from_camera
from jaxpose.geometry.body import Body
from jaxpose.geometry.body_joints import POINT_SETS, known_points, point_set_of
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import BODY_25, Skeleton
from jaxpose.io.poses3d import Poses3D, read_poses3d

LEAST_POINTS = 3  # what places a body


class BodyPoints(NamedTuple):
    """xyz [N, K, 3] float32 metres, y up, NaN where not seen or not of the body; points: the set; source: the file's.

    used: how many of the file's joints are in `xyz` in some row.
    """

    xyz: np.ndarray
    points: str
    source: Poses3D
    used: int


def read_body_points(
    path: str | os.PathLike[str],
    body: Body,
    *,
    skeleton: Skeleton | None = None,
    up: str | None = None,
    unit: str | None = None,
    only: Sequence[str] | None = None,
) -> BodyPoints:
    """The points of `body` in a file of 3D joints; other arguments and errors as of `read_poses3d`.

    only: names of the points to keep. ValueError where no point is left, or for an unknown name.
    """
    source = read_poses3d(path, skeleton=skeleton, up=up, unit=unit)
    name = point_set_of(source.skeleton)
    xyz = from_camera(source.joints, "y")
    if len(POINT_SETS[name]) != len(source.skeleton.joints) or name == "openpose25":
        seen = jnp.asarray(np.isfinite(xyz).all(-1), jnp.float32)
        moved, sure = jax.device_get(convert_joints(jnp.asarray(xyz), seen, source.skeleton, BODY_25))
        xyz = np.where(sure[..., None] > 0, moved, np.nan)
    unknown = [part for part in only or () if part not in POINT_SETS[name]]
    if unknown:
        raise ValueError(f"--only: got {unknown[0]!r}; legal are {', '.join(POINT_SETS[name])}")
    keep = known_points(body, name) & (only is None or np.isin(np.array(POINT_SETS[name]), list(only)))
    xyz = np.where(keep[:, None], xyz, np.nan).astype(np.float32)
    seen = np.isfinite(xyz).all(-1)
    if not seen.any():
        raise ValueError(f"{path}: none of its points is one of the body's, or of those asked for")
    return BodyPoints(xyz, name, source, int(seen.any(0).sum()))


def check_enough(path: str | os.PathLike[str], data: BodyPoints) -> None:
    """ValueError naming the first pose with fewer than three points."""
    count = np.isfinite(data.xyz).all(-1).sum(-1)
    few = np.flatnonzero(count < LEAST_POINTS)
    if few.size:
        row, source = few[0], data.source
        raise ValueError(
            f"{path}: frame {source.frame[row]}, person {source.person[row]} has {count[row]} points that the body "
            f"has; needed {LEAST_POINTS} or more"
        )
