"""Recorded motion of 3D joints: the rotations of the skeleton that fits them, at the rate that training wants."""

import time
from collections.abc import Generator
from pathlib import Path

import numpy as np

from jaxpose.datasets.prepare_mocap import Recorded, at_rate
from jaxpose.fitting.joint_angles import BLOCK, PointSkeleton, fit_skeleton, joint_angles, points_of
from jaxpose.geometry.axes import from_camera
from jaxpose.geometry.joint_sets import joint_map
from jaxpose.geometry.skeleton import H36M_17, SMPL_22
from jaxpose.geometry.windows import timeline
from jaxpose.io.motion import ASSUMED_FPS, Motion
from jaxpose.io.poses3d import Poses3D
from jaxpose.io.retarget import GENERIC_OFFSETS
from jaxpose.io.take import rest_positions
from jaxpose.reading import check_growth

_LIMBS = [j for j, name in enumerate(H36M_17.joints) if name.startswith(("left_", "right_"))]


GENERIC_REST = rest_positions(GENERIC_OFFSETS, SMPL_22.parents)


def recorded_positions(
    path: Path,
    poses: Poses3D,
    person: int,
    fps: float,
    prior: tuple[np.ndarray, np.ndarray],
    *,
    source_fps: float | None = None,
    seconds: float = 5.0,
) -> Generator[str, None, Recorded]:
    """A person's joints with rotations, at `fps`; joints that the file lacks are those of the fitted skeleton.

    path: of the poses, for errors. prior: mean and deviation of rotations, as of `fit_skeleton`. source_fps: of a file
    that does not say. Yields lines of progress, one in so many seconds. ValueError where limbs are missing.
    """
    xyz, step = _on_grid(path, poses, person)
    given = np.isfinite(xyz).all(-1).any(0)  # a file may name a part of its joint set
    xyz, names = xyz[:, given], tuple(np.array(poses.skeleton.joints)[given].tolist())
    weights, known = joint_map(poses.skeleton._replace(joints=names), H36M_17)
    if lacking := [H36M_17.joints[j] for j in _LIMBS if not known[j]]:
        raise ValueError(f"{path}: has {', '.join(names)}; lacks {', '.join(lacking)}, which training needs")
    rate, notes = poses.fps or source_fps, [poses.axes, f"{len(names)} joints"]
    rate_of_file = ASSUMED_FPS if rate is None else rate / step
    if rate is None:
        notes.append(f"assumed {rate_of_file:g} frames per second, the file does not say")
    source = "; ".join(notes)
    # at the wanted rate before rotations are solved for, which takes most of the time
    xyz = at_rate(Recorded(_still(len(xyz), rate_of_file, source), xyz, "positions"), fps).joints
    limbs = weights[_LIMBS].sum(0) > 0
    whole = np.flatnonzero(np.isfinite(xyz[:, limbs]).all((1, 2)))
    if not len(whole):
        raise ValueError(f"{path}: no frame has all of {', '.join(np.array(names)[limbs])}")
    skeleton, last_line = fit_skeleton(xyz[whole], names, GENERIC_REST, *prior), time.monotonic()
    recorded = Recorded(_still(len(xyz), fps, source), np.full((len(xyz), 17, 3), np.nan, np.float32), "positions")
    for rows in np.array_split(whole, -(-len(whole) // BLOCK)):
        _solve(recorded, skeleton, xyz, rows, weights)
        if time.monotonic() - last_line > seconds:
            last_line = time.monotonic()
            yield f"{path}: joint angles {rows[-1] + 1}/{len(xyz)}"
    return recorded


def _still(num: int, fps: float, source: str) -> Motion:
    pose, root, place = (np.zeros((num, *shape), np.float32) for shape in ((21, 3), (3,), (3,)))
    return Motion(pose, root, place, fps, None, source)


def _solve(recorded: Recorded, skeleton: PointSkeleton, xyz: np.ndarray, rows: np.ndarray, weights: np.ndarray) -> None:
    motion, angles = recorded.motion, joint_angles(skeleton, xyz[rows])
    motion.body_pose[rows], motion.global_orient[rows], motion.transl[rows], _ = angles
    held = points_of(skeleton.rest, *angles[:3], H36M_17.joints)
    measured = np.where(weights[..., None] > 0, weights[..., None] * xyz[rows][:, None], 0).sum(2)
    recorded.joints[rows] = np.where((weights.sum(1) > 0)[:, None] & np.isfinite(measured), measured, held)


def _on_grid(path: Path, poses: Poses3D, person: int) -> tuple[np.ndarray, int]:
    """A person's joints [F, J, 3], y up, on the timeline of the frames, NaN where missing; and its step."""
    rows = np.flatnonzero(poses.person == person)
    frame = poses.frame[rows]
    grid = timeline(frame)
    num = grid.length
    check_growth(path, num * poses.joints[0].size, f"{num} frames from {frame.min()} to {frame.max()}")
    xyz = np.full((num, *poses.joints.shape[1:]), np.nan, np.float32)
    xyz[grid.number] = from_camera(poses.joints[rows], "y")
    return xyz, grid.step
