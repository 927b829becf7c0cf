"""The benchmark (shared/bench/README.md): its files, and rows of every figure, with the privileges they used.

Errors in millimetres, root-relative, camera frame, over all joints unless a row says otherwise; plain means over
poses, and macro: the mean over categories of their means.

Completed body parts (spec/dposer.md 7.2), of points that the hidden joints move:

    e_h = mean over the hidden points of |p_h - g|            of hypothesis h = 1..H
    min, mean, std of e_h over h                              of a pose; then the mean over poses
    APD = mean over pairs h != k and points of |p_h - p_k|    the hypotheses' spread; then the mean over poses

Nothing is aligned: hypotheses and truth share root and body. std is the population's (over H). The minimum reads the
truth: it is an oracle's choice.
"""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.compiled import check_shape
from jaxpose.evaluation import aggregate, calibration, metrics
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.io.arrays import as_rate, load_arrays
from jaxpose.reading import reader

_BLOCK = 256  # poses scored at once: 200 hypotheses of them, and their pairs, stay under 1 GB
_RIGHT_LEG, _LEFT_LEG, _LEFT_ARM, _RIGHT_ARM, _TRUNK = H36M_17.parts
HIDDEN_PARTS = {
    "left leg": _LEFT_LEG,
    "right leg": _RIGHT_LEG,
    "legs": _LEFT_LEG + _RIGHT_LEG,
    "left arm": _LEFT_ARM,
    "arms": _LEFT_ARM + _RIGHT_ARM,
    "trunk": _TRUNK,
}


class LiftingBench(NamedTuple):
    """Poses with 2D input and truth, arrays of N poses."""

    keypoints: np.ndarray
    keypoints_true: np.ndarray
    confidence: np.ndarray
    intrinsics: np.ndarray
    joints_cam: np.ndarray
    category: np.ndarray


class VideoBench(NamedTuple):
    """Clips with 2D input and truth.

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


@reader("lifting benchmark")
def load_lifting_bench(path: str | os.PathLike[str]) -> LiftingBench:
    """Read `val_frames.npz` or a file like it; ValueError names a missing file or key."""
    z = load_arrays(path, *LiftingBench._fields)
    return LiftingBench(*(z[k] for k in LiftingBench._fields))


@reader("video benchmark")
def load_video_bench(path: str | os.PathLike[str]) -> VideoBench:
    """Read `val_video.npz` or a file like it; ValueError names the file and what is missing or has another shape."""
    z = load_arrays(path, *VideoBench._fields)
    num, frames = (*z["joints_cam"].shape, 0, 0)[:2]
    shapes = {"keypoints": (num, frames, 17, 2), "confidence": (num, frames, 17), "intrinsics": (num, 4)}
    shapes |= {"joints_cam": (num, frames, 17, 3), "category": (num,), "name": (num,)}
    for key, shape in shapes.items():
        if z[key].shape != shape or 0 in shape:
            raise ValueError(f"{path}: {key!r} must be [clips, frames, ...], here {shape}, got {z[key].shape}")
    return VideoBench(**{key: z[key] for key in shapes}, fps=as_rate(path, "fps", z["fps"]))


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
    per_pose = metrics.in_blocks(_pose_figures, samples, truth, _BLOCK)
    macro = {c: per_pose["mean_mm"][category == c].mean() for c in np.unique(category)}
    row: dict[str, Any] = {k: float(v.mean()) for k, v in per_pose.items()}
    mean = samples.mean(0)
    if radius_90 is None:
        radius_90 = jnp.quantile(metrics.joint_errors(samples, mean), 0.9, axis=0)
    shares = {
        "coverage_50": calibration.coverage(samples, truth, 0.5),
        "coverage_90": calibration.coverage(samples, truth, 0.9),
        "radius_coverage_90": calibration.radius_coverage(jnp.asarray(radius_90), mean, truth),
        "pit_gap": calibration.pit_gap(calibration.pit_histogram(samples, truth)),
    }
    return row | {
        "macro_mean_mm": float(np.mean(list(macro.values()))),
        "ece": float(calibration.ece(samples, truth).ece),
        **{name: float(jnp.nanmean(share[1:])) for name, share in shares.items()},  # of all joints but the root
        "category_mean_mm": {str(c): float(mean_mm) for c, mean_mm in macro.items()},
    }


@jax.jit
def _pose_figures(samples: Array, truth: Array) -> dict[str, Array]:
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


def hidden_errors(samples: Array, truth: Array, hidden: Sequence[int] | np.ndarray) -> dict[str, Array]:
    """min, mean and std over hypotheses of each pose's error [N], and its "apd" where H >= 2; all in mm.

    samples: [H, N, P, 3] metres. truth: [N, P, 3]. hidden: indices of the points that count. ValueError where they do
    not go together.
    """
    samples, truth, chosen = jnp.asarray(samples), jnp.asarray(truth), np.unique(np.asarray(hidden, int))
    check_shape("truth", truth, ("N", "P", 3))
    check_shape("samples", samples, ("H", *truth.shape))
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
