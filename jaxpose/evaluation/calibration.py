"""Calibration of hypotheses, and proper scores: how their spread agrees with their errors.

    ECE       mean over joints and levels q of |share of truths within the q-quantile of |X - median|  -  q|
    CRPS      E|X - y| - 1/2 E|X - X'| of every coordinate            (Gneiting & Raftery 2007, eq. 21)
    energy    the same of every joint, with the Euclidean norm of its D coordinates      (eq. 22, beta = 1)
    PIT       P(X < y) + 1/2 P(X = y) of every coordinate: uniform where the hypotheses are calibrated
    coverage  share of truths inside the central interval of every coordinate, to compare with its level
    reliability  share of truths whose PIT is at most q, per joint and axis: q where calibrated

CRPS and energy score are proper: in expectation nothing scores lower than the true distribution. They come in
the samples' unit, metres. ECE, PIT and coverage have none, and say nothing about sharpness: a wide guess can
be calibrated.

E|X - y| is estimated by the mean over the H hypotheses, E|X - X'| by that over the H (H - 1) pairs of different
hypotheses: unbiased, so that 10 and 200 hypotheses can be compared.

Recalibration (`fit_covariance`, `fit_radius`), fitted on validation data: factors on covariance and 90 % radius,

    covariance_j = sum |y - mean|^2 / sum trace C          over poses
    radius_j     = 90 % quantile of |y - mean| / r   split conformal (Vovk et al. 2005), r of the samples

Samples are [H, ..., J, D] and truth [..., J, D]. A NaN makes a mean NaN; what returns a number per pose and joint or
coordinate keeps it where it is.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.evaluation.metrics import joint_errors, pairwise_distance

ECE_LEVELS = tuple(i / 20 for i in range(21))
_NOTHING = 1e-9  # square metres: of a joint that does not move, such as the root


class Calibration(NamedTuple):
    """ece: [] mean absolute gap, 0..0.5. levels: [L] quantiles. curve: [L, J] share of truths within each."""

    ece: Array
    levels: Array
    curve: Array


def ece(samples: Array, truth: Array, *, levels: tuple[float, ...] = ECE_LEVELS, root: int | None = 0) -> Calibration:
    """Expected calibration error of all poses together (shared/bench/README.md); the curves are per joint.

    A truth counts as within level q of its joint if it is no farther from the per-coordinate median of the
    hypotheses than the q-quantile of the hypotheses themselves. The joint `root` of root-relative poses is within every
    level, and left out of the mean; None counts every joint.
    """
    samples, truth = _pair(samples, truth)
    if root is not None and not 0 <= root < truth.shape[-2]:
        raise ValueError(f"root must be None or in 0..{truth.shape[-2] - 1}, got {root}")
    centre = jnp.median(samples, axis=0)
    quantile = jnp.quantile(joint_errors(samples, centre), jnp.asarray(levels, samples.dtype), axis=0)
    error = joint_errors(truth, centre)
    curve = _shares((error <= quantile)[..., None], (quantile - error)[..., None])[..., 0]
    scored = np.delete(np.arange(truth.shape[-2]), [] if root is None else root)
    levels_array = jnp.asarray(levels, samples.dtype)
    return Calibration(abs(curve - levels_array[:, None])[:, scored].mean(), levels_array, curve)


def crps(samples: Array, truth: Array) -> Array:
    """Continuous ranked probability score per coordinate [..., J, D], metres; exact, O(H log H) by sorting.

    With x_1 <= ... <= x_H, sum_ij |x_i - x_j| = 2 sum_i (2 i - H - 1) x_i.
    """
    samples, truth = _pairs(samples, truth)
    num = samples.shape[0]
    # Measured from the truth: at 5 m from the camera the sum above would otherwise lose four digits.
    offset = jnp.sort(samples - truth, axis=0)
    rank = jnp.arange(1 - num, num, 2, dtype=offset.dtype).reshape(-1, *[1] * truth.ndim)
    return abs(offset).mean(0) - (rank * offset).sum(0) / (num * (num - 1))


def energy_score(samples: Array, truth: Array) -> Array:
    """Energy score per joint [..., J], metres; the bench's number is its mean over joints and poses.

    Compares H^2 pairs, one hypothesis at a time: memory grows as H.
    """
    samples, truth = _pairs(samples, truth)
    return joint_errors(samples, truth).mean(0) - pairwise_distance(samples) / 2


def pit(samples: Array, truth: Array) -> Array:
    """Probability integral transform per coordinate [..., J, D], 0..1: the truth's rank among samples."""
    samples, truth = _pair(samples, truth)
    rank = (samples < truth).mean(0) + (samples == truth).mean(0) / 2
    return jnp.where(jnp.isnan(samples.sum(0) + truth), jnp.nan, rank)


def reliability(samples: Array, truth: Array, *, levels: tuple[float, ...] = ECE_LEVELS) -> Array:
    """Share [L, J, D] of truths with a PIT of at most each level, per joint and axis: the levels where calibrated.

    S-shaped about the diagonal: rising late and steeply where too wide, at the ends where too narrow; above it
    throughout where the hypotheses lie too far along the axis.
    """
    rank = pit(samples, truth)
    return _shares(rank <= jnp.asarray(levels, rank.dtype).reshape(-1, *[1] * rank.ndim), rank)


def pit_histogram(samples: Array, truth: Array, *, num_bins: int = 10) -> Array:
    """Share [num_bins, J, D] of truths in each of equal bins of the PIT: 1 / num_bins where calibrated."""
    if num_bins < 1:
        raise ValueError(f"num_bins must be at least 1, got {num_bins}")
    rank = pit(samples, truth)
    index = jnp.minimum((rank * num_bins).astype(jnp.int32), num_bins - 1)
    return _shares(index == jnp.arange(num_bins).reshape(-1, *[1] * rank.ndim), rank)


def pit_gap(shares: Array) -> Array:
    """How far from uniform a `pit_histogram` is, per joint and axis [J, D]: total variation, 0 where uniform, to 1."""
    return 0.5 * jnp.abs(shares - 1 / shares.shape[0]).sum(0)


def radius_coverage(radius: Array, centre: Array, truth: Array) -> Array:
    """Share [J] of truths [..., J, D] no farther than radius [..., J] from centre [..., J, D], all in one unit."""
    error = joint_errors(centre, truth)
    return _shares((error <= radius)[None, ..., None], (error + radius)[None, ..., None])[0, :, 0]


def coverage(samples: Array, truth: Array, level: float = 0.9) -> Array:
    """Share [J, D] of truths between the (1 - level) / 2 and (1 + level) / 2 quantiles of the hypotheses."""
    samples, truth = _pair(samples, truth)
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")
    low, high = jnp.quantile(samples, jnp.array([(1 - level) / 2, (1 + level) / 2], samples.dtype), axis=0)
    return _shares(((low <= truth) & (truth <= high))[None], low + truth)[0]


def _shares(inside: Array, known: Array) -> Array:
    """Shares [L, J, D] of poses inside, of masks [L, ..., J, D]; NaN where one of `known`, of their shape, is NaN."""
    values = jnp.where(jnp.isnan(known), jnp.nan, inside.astype(known.dtype))
    flat = values.reshape(len(values), -1, *values.shape[-2:])
    return jnp.moveaxis(flat, 1, -1).mean(-1)


def _pairs(samples: Array, truth: Array) -> tuple[Array, Array]:
    """`_pair` of hypotheses that are compared with each other."""
    samples, truth = _pair(samples, truth)
    if len(samples) < 2:
        raise ValueError("samples must hold H >= 2 hypotheses, got 1")
    return samples, truth


def _pair(samples: Array, truth: Array) -> tuple[Array, Array]:
    """Both as jax arrays, the samples shaped like the truth but for their leading axis of hypotheses."""
    samples, truth = jnp.asarray(samples), jnp.asarray(truth)
    if truth.ndim < 2 or samples.ndim != truth.ndim + 1 or samples.shape[1:] != truth.shape:
        needed = "samples must be [H, ..., J, D] and truth [..., J, D]"
        raise ValueError(f"{needed}, got {samples.shape} and {truth.shape}")
    return samples, truth


def fit_covariance(samples: Array, truth: Array, weights: Array | None = None) -> Array:
    """Factor [J] on the samples' covariance that gives it the trace of the mean squared error; 1 where both are 0.

    weights: [N, J], 0 for joints that do not count, such as those that were observed.
    """
    weights = jnp.ones(truth.shape[:-1]) if weights is None else weights
    share = weights / jnp.maximum(weights.sum(0), 1)
    square = (share * ((truth - samples.mean(0)) ** 2).sum(-1)).sum(0)
    trace = (share * samples.var(0, ddof=1).sum(-1)).sum(0)
    return jnp.where(trace > _NOTHING, square / jnp.maximum(trace, _NOTHING), 1.0)


def fit_radius(radius: Array, errors: Array, weights: Array | None = None, level: float = 0.9) -> Array:
    """Factor [J] on radii [N, J], then they hold `level` of the errors [N, J] of weight > 0; 1 where none counts."""
    counted = radius > 1e-6 if weights is None else (weights > 0) & (radius > 1e-6)
    ratio = jnp.where(counted, errors / jnp.maximum(radius, 1e-6), jnp.nan)
    # the quantile of n + 1, of which the next case is one: what makes the promise hold for it
    num = counted.sum(0)
    rank = jnp.clip(jnp.ceil((num + 1) * level) - 1, 0, jnp.maximum(num - 1, 0)).astype(jnp.int32)
    found = jnp.take_along_axis(jnp.sort(ratio, axis=0), rank[None], axis=0)[0]
    return jnp.where(num > 0, found, 1.0)
