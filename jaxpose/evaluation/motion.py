"""The figures of motion denoising: where joints are, and how they move (spec/dposer.md 7.4).

    MPJPE          mean |p - g| over frames and joints; of the visible, the hidden and all joints where some were hidden
    MPVPE          the same of vertices
    acceleration   mean |ddp - ddg| times fps^2      dd: second difference (metrics.py)
    jitter         mean |dddp| times fps^3           ddd: third difference; a property of the motion alone, so the truth
                                                     has one too, and less than it is too smooth (Yi et al. 2021)

Nothing is aligned.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.evaluation import metrics


def jitter(points: Array, fps: float) -> Array:
    """Mean size of the third derivative [...], m/s^3; points [..., F, J, 3] metres, F >= 4."""
    points = jnp.asarray(points)
    if points.ndim < 3 or points.shape[-3] < 4:
        raise ValueError(f"points must be [..., F, J, 3] with F >= 4 frames, got {points.shape}")
    return jnp.linalg.norm(jnp.diff(points, n=3, axis=-3), axis=-1).mean((-2, -1)) * fps**3


def motion_row(
    joints: Array,
    truth: Array,
    fps: float,
    *,
    hidden: Sequence[int] | np.ndarray = (),
    vertices: Array | None = None,
    true_vertices: Array | None = None,
) -> dict[str, float]:
    """Means over motions of the module's figures, millimetres and SI units in their names.

    joints, truth: [..., F, J, 3] metres, F >= 4. hidden: joints that were not observed. vertices, true_vertices:
    [..., F, V, 3], both or neither. ValueError where shapes do not fit.
    """
    joints, truth = jnp.asarray(joints), jnp.asarray(truth)
    if joints.shape != truth.shape or joints.ndim < 3 or not joints.size:
        raise ValueError(f"joints must be [..., F, J, 3] as truth, got {joints.shape} and {truth.shape}")
    if not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be > 0 frames per second, got {fps}")
    if (vertices is None) != (true_vertices is None):
        raise ValueError("vertices and true_vertices: got one of them, needed both or neither")
    num, chosen = joints.shape[-2], np.unique(np.asarray(hidden, int))
    if chosen.size and not 0 <= chosen.min() <= chosen.max() < num:
        raise ValueError(f"hidden must be some of the joints 0..{num - 1}, got {chosen.tolist()}")
    errors, motion = _figures(joints, truth)
    figures = {"mpjpe_mm": np.asarray(errors)}
    if 0 < len(chosen) < num:
        parts = {"mpjpe_visible_mm": np.setdiff1d(np.arange(num), chosen), "mpjpe_hidden_mm": chosen}
        figures |= {name: figures["mpjpe_mm"][..., some] for name, some in parts.items()}
    if vertices is not None and true_vertices is not None:
        figures["mpvpe_mm"] = 1000 * np.asarray(metrics.joint_errors(vertices, true_vertices))
    means = {name: float(np.asarray(value, np.float64).mean()) for name, value in figures.items()}
    acceleration, ours, true = (float(value.mean()) for value in motion)
    return means | {
        "acceleration_m_per_s2": acceleration * fps**2,
        "jitter_m_per_s3": ours * fps**3,
        "jitter_of_truth_m_per_s3": true * fps**3,
    }


@jax.jit
def _figures(joints: Array, truth: Array) -> tuple[Array, tuple[Array, ...]]:
    """Joint errors in mm; acceleration error and both jitters, metres per frame^2 and ^3."""
    motion = metrics.acceleration_error(joints, truth), jitter(joints, 1.0), jitter(truth, 1.0)
    return 1000 * metrics.joint_errors(joints, truth), motion
