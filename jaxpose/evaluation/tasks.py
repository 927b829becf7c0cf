"""Rows of the benchmark for completion and denoising, beside `protocols.lifting_row` for lifting.

Errors in millimetres, root-relative, camera frame (shared/bench/README.md).
"""

from __future__ import annotations

import numpy as np

from jaxpose.base import Array
from jaxpose.evaluation import calibration, metrics
from jaxpose.geometry.skeleton import H36M_17

_RIGHT_LEG, _LEFT_LEG, _LEFT_ARM, _RIGHT_ARM, _TRUNK = H36M_17.parts
HIDDEN_PARTS = {
    "left leg": _LEFT_LEG,
    "right leg": _RIGHT_LEG,
    "legs": _LEFT_LEG + _RIGHT_LEG,
    "left arm": _LEFT_ARM,
    "arms": _LEFT_ARM + _RIGHT_ARM,
    "trunk": _TRUNK,
}


def hidden_joints(part: str, num_poses: int) -> np.ndarray:
    """Which joints [N, 17] (bool) the name of HIDDEN_PARTS hides."""
    hidden = np.zeros((num_poses, len(H36M_17.joints)), bool)
    hidden[:, HIDDEN_PARTS[part]] = True
    return hidden


def hidden_row(samples: Array, truth: Array, hidden: Array) -> dict[str, float]:
    """Figures over the hidden joints [N, J] (bool) of samples [H, N, J, 3] of truths [N, J, 3], one frame, metres.

    `mean`: of the samples' mean; `best_of_10`, `best_of_H`: oracles over whole poses; `single`: one sample, on average.
    """
    weights = hidden.astype(samples.dtype)
    errors = metrics.mpjpe(samples, truth, weights)
    num = len(samples)
    row = {
        "mean": metrics.mpjpe(samples.mean(0), truth, weights),
        "single": errors.mean(0),
        "best_of_10": metrics.best_of(errors, min(10, num)),
        f"best_of_{num}": metrics.best_of(errors),
    }
    return {f"{k}_mm": 1000 * float(v.mean()) for k, v in row.items()}


def denoising_row(noisy: Array, samples: Array, truth: Array) -> dict[str, float]:
    """Error before and after denoising of noisy joints [N, J, 3] by the mean of samples [H, N, J, 3]; root-relative.

    `ratio` is after / before, of root-aligned poses; `ratio_as_given` of poses as they stand, noisy root and all.
    """
    after = samples.mean(0)
    aligned = [1000 * float(metrics.mpjpe(*map(metrics.align_root, (x, truth))).mean()) for x in (noisy, after)]
    given = [1000 * float(metrics.mpjpe(x, truth).mean()) for x in (noisy, after)]
    return {
        "before_mm": aligned[0],
        "after_mm": aligned[1],
        "ratio": aligned[1] / aligned[0],
        "before_as_given_mm": given[0],
        "after_as_given_mm": given[1],
        "ratio_as_given": given[1] / given[0],
        "ece": float(calibration.ece(samples, truth).ece) if len(samples) > 1 else float("nan"),
    }
