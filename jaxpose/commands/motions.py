"""Files of joint rotations as the commands take them: gaps are marked, turns beyond one unwound."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxpose.io.arrays import load_arrays
from jaxpose.io.motion import WIDTHS, Motion, read_motion

_TURN = 2 * np.pi


class Gappy(NamedTuple):
    """A motion whose unknown rotations are 0, and known [F, 21] bool: which are not."""

    motion: Motion
    known: np.ndarray


def read_rotations(path: Path, *, fps: float | None = None, up: str | None = None, gaps: bool = False) -> Gappy:
    """The rotations in a file; with `gaps`, NaN stands for a joint that is missing, else it is an error.

    AMASS's rotations by a little more than a turn are brought within one; others are a ValueError (degrees?). NaN
    of the root: its value in the nearest frame that has one.
    """
    motion = read_motion(path, fps=fps, up=up, missing="keep" if gaps else "error")  # type: ignore[arg-type]  # checked there
    known = np.isfinite(motion.body_pose).all(-1)
    motion = motion._replace(
        body_pose=np.where(known[..., None], motion.body_pose, 0),
        global_orient=_nearest(motion.global_orient),
        transl=_nearest(motion.transl),
    )
    return Gappy(_unwound(motion), known)


def holds_rotations(path: Path) -> bool:
    """Whether a file is one of joint rotations by its suffix, its keys, or the width of its only array [F, width]."""
    if path.suffix.lower() in (".bvh", ".amc"):
        return True
    if path.suffix.lower() not in (".npz", ".npy") or not path.is_file():
        return False
    try:
        arrays = load_arrays(path)
    except ValueError:
        return False  # whoever reads it says why
    if "poses" in arrays or "pose_body" in arrays:
        return True
    only = next(iter(arrays.values())) if len(arrays) == 1 else np.zeros(0)
    return only.ndim == 2 and only.shape[1] in WIDTHS


def _unwound(motion: Motion) -> Motion:
    def within(v: np.ndarray) -> np.ndarray:
        angle = np.linalg.norm(v, axis=-1, keepdims=True)
        return np.where(angle > _TURN, v * (angle - _TURN) / np.maximum(angle, 1), v).astype(np.float32)

    return motion._replace(body_pose=within(motion.body_pose), global_orient=within(motion.global_orient))


def _nearest(values: np.ndarray) -> np.ndarray:
    """Values [F, 3], those of frames that are not finite taken from the nearest that is; 0 where none is."""
    good = np.flatnonzero(np.isfinite(values).all(-1))
    if not good.size:
        return np.zeros_like(values)
    nearest = np.abs(np.arange(len(values))[:, None] - good).argmin(1)
    return values[good[nearest]]
