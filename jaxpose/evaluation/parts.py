"""Errors of completed body parts over the hypotheses of a pose (spec/dposer.md 7.2).

    e_h = mean over the hidden points of |p_h - g|            of hypothesis h = 1..H, in mm
    min, mean, std of e_h over h                              of a pose; then the mean over poses
    APD = mean over pairs h != k and points of |p_h - p_k|    the hypotheses' spread; then the mean over poses

Points are joints (MPJPE) or vertices (MPVPE): those that the hidden joints move. Nothing is aligned: hypotheses and
truth share root and body. std is the population's (over H). The minimum reads the truth: it is an oracle's choice.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.evaluation import metrics


def hidden_errors(samples: Array, truth: Array, hidden: Sequence[int] | np.ndarray) -> dict[str, Array]:
    """min, mean and std over hypotheses of each pose's error [N], and its "apd" where H >= 2; all in mm.

    samples: [H, N, P, 3] metres. truth: [N, P, 3]. hidden: indices of the points that count. ValueError where they do
    not go together.
    """
    samples, truth, chosen = jnp.asarray(samples), jnp.asarray(truth), np.unique(np.asarray(hidden, int))
    if truth.ndim != 3 or samples.ndim != 4 or samples.shape[1:] != truth.shape or not samples.size:
        needed = "samples must be [H, N, P, 3] of truth [N, P, 3], none of them 0"
        raise ValueError(f"{needed}, got {samples.shape} and {truth.shape}")
    if not chosen.size or chosen.min() < 0 or chosen.max() >= truth.shape[1]:
        raise ValueError(f"hidden must be some of the points 0..{truth.shape[1] - 1}, got {chosen.tolist()}")
    return _figures(samples[:, :, chosen], truth[:, chosen])


def completion_row(
    samples: Array, truth: Array, hidden: Sequence[int] | np.ndarray, *, figure: str = "mpjpe"
) -> dict[str, float]:
    """The mean over poses of `hidden_errors`, as `{figure}_min_mm` and so on, and `apd_mm`.

    figure: "mpjpe" where the points are joints, "mpvpe" where they are vertices; it only names.
    """
    errors = hidden_errors(samples, truth, hidden)
    means = {name: float(np.asarray(value, np.float64).mean()) for name, value in errors.items()}
    apd = {"apd_mm": means.pop("apd")} if "apd" in means else {}
    return {f"{figure}_{name}_mm": value for name, value in means.items()} | apd


@jax.jit
def _figures(samples: Array, truth: Array) -> dict[str, Array]:
    errors = metrics.mpjpe(samples, truth)
    figures = {"min": metrics.best_of(errors), "mean": errors.mean(0), "std": errors.std(0)}
    if len(samples) > 1:
        figures["apd"] = metrics.pairwise_distance(samples).mean(-1)
    return {name: 1000 * value for name, value in figures.items()}
