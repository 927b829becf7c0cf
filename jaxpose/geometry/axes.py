"""Axes of worlds, told by the axis that points up: turns between them and to the axes of a level camera.

    up       in camera axes (x right, y down, z forward)
    "-y"     (x, y, z)        camera axes themselves
    "y"      (x, -y, -z)
    "z"      (x, -z, y)

All turns are exact: entries are 0, 1 and -1.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from jaxpose.geometry.skeleton import Skeleton

# R [3, 3] with x_cam = R x_world, for a level camera.
R_CAM_WORLD: Mapping[str, np.ndarray] = MappingProxyType(
    {"-y": np.eye(3), "y": np.diag([1.0, -1.0, -1.0]), "z": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])}
)
# What a result says of its axes.
FRAME_TAGS: Mapping[str, str] = MappingProxyType(
    {"-y": "camera axes: x right, y down, z forward; metres", "y": "world metres, y up", "z": "world metres, z up"}
)
# The same of results that keep the axes of their input.
INPUT_TAGS: Mapping[str, str] = MappingProxyType(
    {"-y": "x right, y down, z forward", "y": "of the input, y up", "z": "of the input, z up"}
)
_LOWER = (("hip",), ("left_hip", "right_hip"), ("pelvis",))
_UPPER = (("neck",), ("thorax",), ("left_shoulder", "right_shoulder"), ("head_base",), ("nose",), ("head",))


def check_up(up: str, what: str = "up") -> str:
    """The axis itself where it is legal; ValueError, opening with `what`, otherwise."""
    if up not in R_CAM_WORLD:
        raise ValueError(f"{what}: got {up!r}; must be one of {', '.join(R_CAM_WORLD)}")
    return up


def uprightness(joints: np.ndarray, skeleton: Skeleton) -> dict[str, float]:
    """How far heads stand over hips along each axis of `R_CAM_WORLD`: -1 to 1, the mean over poses of unit trunks.

    joints: [N, J, 3] in the world's axes, NaN where missing. A trunk goes from the hips to the upper end that a pose
    has. Empty where no pose has both.
    """
    ends = [_middle(joints, skeleton, groups) for groups in (_LOWER, _UPPER)]
    trunk = ends[1] - ends[0]
    length = np.linalg.norm(trunk, axis=-1, keepdims=True)
    trunk = (trunk / np.where(length > 0, length, np.nan))[np.isfinite(trunk).all(-1) & (length[:, 0] > 0)]
    return {up: float(trunk.mean(0) @ vertical(up)) for up in R_CAM_WORLD} if len(trunk) else {}


def _middle(joints: np.ndarray, skeleton: Skeleton, groups: tuple[tuple[str, ...], ...]) -> np.ndarray:
    """The middle [N, 3] of the first of the groups of joints that each pose has whole, NaN where it has none."""
    middle = np.full((len(joints), 3), np.nan)
    for names in groups:
        if set(names) <= set(skeleton.joints):
            middle_of_group = joints[:, [skeleton.joints.index(name) for name in names]].mean(1)
            middle = np.where(np.isfinite(middle), middle, middle_of_group)
    return middle


def turn(start: str, end: str) -> np.ndarray:
    """R [3, 3] from the axes of a world in which `start` points up to those of one in which `end` does."""
    return R_CAM_WORLD[check_up(end)].T @ R_CAM_WORLD[check_up(start)] + 0.0  # no negative zeros


def vertical(up: str) -> np.ndarray:
    """The unit vector [3] that points up in the world's axes."""
    return -R_CAM_WORLD[check_up(up)][1] + 0.0


def to_camera(points: np.ndarray, up: str) -> np.ndarray:
    """Points [..., 3] of a world in which `up` points up, in the axes of a level camera; same type."""
    return points @ R_CAM_WORLD[up].T.astype(points.dtype)


def from_camera(points: np.ndarray, up: str) -> np.ndarray:
    """The inverse of `to_camera`."""
    return points @ R_CAM_WORLD[up].astype(points.dtype)


def covariance_to_camera(covariance: np.ndarray, up: str) -> np.ndarray:
    """Covariances [..., 3, 3] of a world in which `up` points up, in the axes of a level camera."""
    R = R_CAM_WORLD[up].astype(covariance.dtype)
    return R @ covariance @ R.T


def covariance_from_camera(covariance: np.ndarray, up: str) -> np.ndarray:
    """Covariances [..., 3, 3] in camera axes, in those of a world in which `up` points up."""
    R = R_CAM_WORLD[up].astype(covariance.dtype)
    return R.T @ covariance @ R
