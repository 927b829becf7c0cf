"""The benchmark's lifting row: every figure of `shared/bench/README.md` at once, with the privileges it used.

All errors in millimetres over all joints, root-relative, camera frame; plain means over poses, and macro: the mean
over categories of their means.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.evaluation import aggregate, calibration, metrics

_KEYS = ("keypoints", "keypoints_true", "confidence", "intrinsics", "joints_cam", "category")
_BLOCK = 256  # poses scored at once: 200 hypotheses of them, and their pairs, stay under 1 GB


class LiftingBench(NamedTuple):
    """Poses with 2D input and truth: see `shared/bench/README.md` for the fields, arrays of N poses."""

    keypoints: np.ndarray
    keypoints_true: np.ndarray
    confidence: np.ndarray
    intrinsics: np.ndarray
    joints_cam: np.ndarray
    category: np.ndarray


def load_lifting_bench(path: str | os.PathLike[str]) -> LiftingBench:
    """Read `val_frames.npz` or a file like it; ValueError names a missing file or key."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    with np.load(path, allow_pickle=False) as z:
        if missing := [k for k in _KEYS if k not in z]:
            raise ValueError(f"{path}: lacks {missing}; needed {list(_KEYS)}")
        return LiftingBench(*(z[k] for k in _KEYS))


def lifting_row(
    samples: Array | np.ndarray,
    truth: Array | np.ndarray,
    category: np.ndarray,
    *,
    radius_90: Array | np.ndarray | None = None,
) -> dict[str, Any]:
    """All figures for hypotheses [H, N, J, 3] of truths [N, J, 3], both metres in camera axes; category [N].

    Values are in mm unless the name says otherwise; `ece`, `coverage_50`, `coverage_90`, `radius_coverage_90` and
    `pit_gap` are shares. radius_90: [N, J] metres about the mean, as a result tells it; None: the samples' own.
    """
    samples, truth = metrics.align_root(jnp.asarray(samples)), metrics.align_root(jnp.asarray(truth))
    num = truth.shape[0]
    blocks = [_pose_figures(samples[:, i : i + _BLOCK], truth[i : i + _BLOCK]) for i in range(0, num, _BLOCK)]
    per_pose = {k: np.concatenate([np.asarray(b[k]) for b in blocks]) for k in blocks[0]}
    macro = [per_pose["mean_mm"][category == c].mean() for c in np.unique(category)]
    row: dict[str, Any] = {k: float(v.mean()) for k, v in per_pose.items()}
    return row | {
        "macro_mean_mm": float(np.mean(macro)),
        **_calibration_figures(samples, truth, radius_90),
        "category_mean_mm": {str(c): float(per_pose["mean_mm"][category == c].mean()) for c in np.unique(category)},
    }


def _calibration_figures(samples: Array, truth: Array, radius_90: Array | np.ndarray | None) -> dict[str, float]:
    """Shares over all joints but the root."""
    mean = samples.mean(0)
    if radius_90 is None:
        radius_90 = jnp.quantile(metrics.joint_errors(samples, mean), 0.9, axis=0)
    histogram = calibration.pit_histogram(samples, truth)
    return {
        "ece": float(calibration.ece(samples, truth).ece),
        "coverage_50": float(jnp.nanmean(calibration.coverage(samples, truth, 0.5)[1:])),
        "coverage_90": float(jnp.nanmean(calibration.coverage(samples, truth, 0.9)[1:])),
        "radius_coverage_90": float(jnp.nanmean(calibration.radius_coverage(jnp.asarray(radius_90), mean, truth)[1:])),
        "pit_gap": float(jnp.nanmean(calibration.pit_gap(histogram)[1:])),
    }


@jax.jit
def _pose_figures(samples: Array, truth: Array) -> dict[str, Array]:
    """Figures of each pose [N]."""
    aligned = jax.lax.map(lambda s: metrics.p_mpjpe(s, truth), samples)
    errors = metrics.mpjpe(samples, truth)
    mean, central = aggregate.mean(samples), aggregate.geometric_median(samples)
    figures = {
        "mean": metrics.mpjpe(mean, truth),
        "geometric_median": metrics.mpjpe(central, truth),
        "single": errors.mean(0),
        "best_of_10": metrics.best_of(errors, min(10, errors.shape[0])),
        f"best_of_{errors.shape[0]}": metrics.best_of(errors),
        "p_mean": metrics.p_mpjpe(mean, truth),
        "p_geometric_median": metrics.p_mpjpe(central, truth),
        "p_best_of_10": metrics.best_of(aligned, min(10, errors.shape[0])),
        f"p_best_of_{errors.shape[0]}": metrics.best_of(aligned),
        "n_mean": metrics.n_mpjpe(mean, truth),
        "crps": calibration.crps(samples, truth)[..., 1:, :].mean((-1, -2)),
        "energy_score": calibration.energy_score(samples, truth).mean(-1),
    }
    return {f"{k}_mm": 1000 * v for k, v in figures.items()}
