"""The benchmark's video row: every figure of lifting, and how wrong the clips' motion is (shared/bench/README.md).

    velocity       mean |dp - dg|      d: difference of neighbouring frames; mm per frame, and m/s at the clips' rate
    acceleration   mean |ddp - ddg|    dd: second difference; mm per frame^2, and m/s^2

Of the mean of the hypotheses, and of a single hypothesis, on average: a mean is smooth though its hypotheses jump.
Roots are aligned in every frame. The figures of lifting take every frame for itself, so `best_of_*` may change
hypothesis from frame to frame.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.evaluation import aggregate, metrics
from jaxpose.evaluation.protocols import lifting_row


class VideoBench(NamedTuple):
    """Clips with 2D input and truth, `shared/bench/README.md`.

    keypoints [C, F, 17, 2] pixels, confidence [C, F, 17], intrinsics [C, 4] fx, fy, cx, cy pixels, joints_cam
    [C, F, 17, 3] metres in the camera's frame, category [C], name [C], fps: frames per second.
    """

    keypoints: np.ndarray
    confidence: np.ndarray
    intrinsics: np.ndarray
    joints_cam: np.ndarray
    category: np.ndarray
    name: np.ndarray
    fps: float


# Axes of each array; letters that return are of one length, -1 marks fps.
_AXES: dict[str, tuple[str | int, ...]] = {
    "keypoints": ("C", "F", 17, 2),
    "confidence": ("C", "F", 17),
    "intrinsics": ("C", 4),
    "joints_cam": ("C", "F", 17, 3),
    "category": ("C",),
    "name": ("C",),
    "fps": (),
}


def load_video_bench(path: str | os.PathLike[str]) -> VideoBench:
    """Read `val_video.npz` or a file like it; ValueError names the file and what is missing or has another shape."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as z:
            if missing := [key for key in _AXES if key not in z]:
                raise ValueError(f"lacks {missing}; needed {list(_AXES)}")
            arrays = {key: z[key] for key in _AXES}
        _check_arrays(arrays)
    except (ValueError, OSError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a video benchmark: {error}") from error
    return VideoBench(**arrays | {"fps": float(arrays["fps"])})


def video_row(
    samples: Array | np.ndarray, truth: Array | np.ndarray, category: np.ndarray, *, fps: float
) -> dict[str, Any]:
    """All figures of hypotheses [H, C, F, J, 3] of clips [C, F, J, 3], metres in camera axes; category [C], F >= 3.

    `protocols.lifting_row` of all frames together, then velocity and acceleration, their unit in the name. ValueError
    names the argument that does not fit.
    """
    samples, truth, category = jnp.asarray(samples), jnp.asarray(truth), np.asarray(category)
    if truth.ndim != 4 or samples.ndim != 5 or samples.shape[1:] != truth.shape or not samples.size:
        needed = "samples must be [H, C, F, J, 3] of truth [C, F, J, 3], none of them 0"
        raise ValueError(f"{needed}, got {samples.shape} and {truth.shape}")
    clips, frames = truth.shape[:2]
    if frames < 3 or category.shape != (clips,):
        needed = f"truth must have F >= 3 frames and category be [{clips}]"
        raise ValueError(f"{needed}, got {frames} frames and {category.shape}")
    if not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be > 0 frames per second, got {fps}")
    flat = samples.reshape(len(samples), clips * frames, *truth.shape[2:])
    row = lifting_row(flat, truth.reshape(flat.shape[1:]), np.repeat(category, frames))
    motion = {name: float(value) for name, value in _motion_figures(samples, truth).items()}
    for name, value in motion.items():
        power, unit = (1, "") if name.startswith("velocity") else (2, "2")
        row[f"{name}_mm_per_frame{unit}"] = 1000 * value
        row[f"{name}_m_per_s{unit}"] = value * fps**power
    return row


@jax.jit
def _motion_figures(samples: Array, truth: Array) -> dict[str, Array]:
    """Errors of the motion, metres per frame and per frame^2."""
    samples, truth = metrics.align_root(samples), metrics.align_root(truth)
    mean = aggregate.mean(samples)
    return {
        "velocity_mean": metrics.velocity_error(mean, truth).mean(),
        "velocity_single": metrics.velocity_error(samples, truth).mean(),
        "acceleration_mean": metrics.acceleration_error(mean, truth).mean(),
        "acceleration_single": metrics.acceleration_error(samples, truth).mean(),
    }


def _check_arrays(arrays: dict[str, np.ndarray]) -> None:
    size: dict[str, int] = {}
    for key, axes in _AXES.items():
        shape = arrays[key].shape
        if len(shape) == len(axes):
            for axis, length in zip(axes, shape, strict=True):
                size.setdefault(str(axis), length)
        needed = tuple(size.get(str(axis), axis) if isinstance(axis, str) else axis for axis in axes)
        if shape != needed or 0 in shape:
            raise ValueError(f"{key!r} must be {axes}, here {needed}, got {shape}")
    if not arrays["fps"] > 0:
        raise ValueError(f"'fps' must be > 0, got {arrays['fps']}")
