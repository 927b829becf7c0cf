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

Estimators: E|X - y| is the mean over the H hypotheses. E|X - X'| is the mean over the H (H - 1) pairs of
different hypotheses ("fair": unbiased, so that 10 and 200 hypotheses can be compared), or over all H^2 pairs
("plain": the score of the H samples taken as the whole distribution, larger by E|X - X'| / 2H).

Samples are [H, ..., J, D] and truth [..., J, D]. `weights` [..., J] as in metrics.py: a NaN of weight 0 never
enters, any other makes the result NaN. What returns a number per pose and joint or coordinate takes no
weights and keeps a NaN where it is.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.evaluation.metrics import joint_errors, pairwise_distance, weighted_mean

ECE_LEVELS = tuple(i / 20 for i in range(21))


class Calibration(NamedTuple):
    """ece: [] mean absolute gap, 0..0.5. levels: [L] quantiles. curve: [L, J] share of truths within each."""

    ece: Array
    levels: Array
    curve: Array


def ece(
    samples: Array,
    truth: Array,
    weights: Array | None = None,
    *,
    levels: tuple[float, ...] = ECE_LEVELS,
    root: int | None = 0,
) -> Calibration:
    """Expected calibration error of all poses together (shared/bench/README.md); the curves are per joint.

    A truth counts as within level q of its joint if it is no farther from the per-coordinate median of the
    hypotheses than the q-quantile of the hypotheses themselves. The joint `root` is left out of the mean:
    root-relative poses have it at the origin, hypotheses and truth alike, which is within every level. Give
    None to count every joint.
    """
    samples, truth = _pair(samples, truth)
    if root is not None and not 0 <= root < truth.shape[-2]:
        raise ValueError(f"root must be None or in 0..{truth.shape[-2] - 1}, got {root}")
    centre = jnp.median(samples, axis=0)
    quantile = jnp.quantile(joint_errors(samples, centre), jnp.asarray(levels, samples.dtype), axis=0)
    error = joint_errors(truth, centre)
    within = jnp.where(jnp.isnan(quantile - error), jnp.nan, (error <= quantile).astype(samples.dtype))
    num_joints = truth.shape[-2]
    per_joint = jnp.moveaxis(within, -1, 1).reshape(len(levels), num_joints, -1)
    if weights is not None:
        weights = jnp.moveaxis(jnp.broadcast_to(weights, error.shape), -1, 0).reshape(num_joints, -1)
    curve = weighted_mean(per_joint, weights)
    scored = np.delete(np.arange(num_joints), [] if root is None else root)
    levels_array = jnp.asarray(levels, samples.dtype)
    return Calibration(abs(curve - levels_array[:, None])[:, scored].mean(), levels_array, curve)


def crps(samples: Array, truth: Array, *, fair: bool = True) -> Array:
    """Continuous ranked probability score per coordinate [..., J, D], metres; exact, O(H log H) by sorting.

    With x_1 <= ... <= x_H, sum_ij |x_i - x_j| = 2 sum_i (2 i - H - 1) x_i.
    """
    samples, truth = _pair(samples, truth)
    num = samples.shape[0]
    # Measured from the truth: at 5 m from the camera the sum above would otherwise lose four digits.
    offset = jnp.sort(samples - truth, axis=0)
    rank = jnp.arange(1 - num, num, 2, dtype=offset.dtype).reshape(-1, *[1] * truth.ndim)
    pairs = num * _num_partners(num, fair)
    return abs(offset).mean(0) - (rank * offset).sum(0) / pairs


def energy_score(samples: Array, truth: Array, *, fair: bool = True) -> Array:
    """Energy score per joint [..., J], metres; the bench's number is its mean over joints and poses.

    Compares H^2 pairs, one hypothesis at a time: memory grows as H.
    """
    samples, truth = _pair(samples, truth)
    num = samples.shape[0]
    partners = _num_partners(num, fair)
    spread = pairwise_distance(samples) * ((num - 1) / partners) if num > 1 else 0.0
    return joint_errors(samples, truth).mean(0) - spread / 2


def pit(samples: Array, truth: Array) -> Array:
    """Probability integral transform per coordinate [..., J, D], 0..1: the truth's rank among samples."""
    samples, truth = _pair(samples, truth)
    rank = (samples < truth).mean(0) + (samples == truth).mean(0) / 2
    return jnp.where(jnp.isnan(samples.sum(0) + truth), jnp.nan, rank)


def reliability(
    samples: Array, truth: Array, weights: Array | None = None, *, levels: tuple[float, ...] = ECE_LEVELS
) -> Array:
    """Share [L, J, D] of truths with a PIT of at most each level, per joint and axis: the levels where calibrated.

    S-shaped about the diagonal: rising late and steeply where too wide, at the ends where too narrow; above it
    throughout where the hypotheses lie too far along the axis.
    """
    rank = pit(samples, truth)
    below = (rank <= jnp.asarray(levels, rank.dtype).reshape(-1, *[1] * rank.ndim)).astype(rank.dtype)
    return _shares(jnp.where(jnp.isnan(rank), jnp.nan, below), truth, weights)


def pit_histogram(samples: Array, truth: Array, weights: Array | None = None, *, num_bins: int = 10) -> Array:
    """Share [num_bins, J, D] of truths in each of equal bins of the PIT: 1 / num_bins where calibrated."""
    if num_bins < 1:
        raise ValueError(f"num_bins must be at least 1, got {num_bins}")
    rank = pit(samples, truth)
    index = jnp.minimum((rank * num_bins).astype(jnp.int32), num_bins - 1)
    inside = (index == jnp.arange(num_bins).reshape(-1, *[1] * rank.ndim)).astype(rank.dtype)
    return _shares(jnp.where(jnp.isnan(rank), jnp.nan, inside), truth, weights)


def pit_gap(shares: Array) -> Array:
    """How far from uniform a `pit_histogram` is, per joint and axis [J, D]: total variation, 0 where uniform, to 1."""
    return 0.5 * jnp.abs(shares - 1 / shares.shape[0]).sum(0)


def radius_coverage(radius: Array, centre: Array, truth: Array, weights: Array | None = None) -> Array:
    """Share [J] of truths [..., J, D] no farther than radius [..., J] from centre [..., J, D], all in one unit."""
    error = joint_errors(centre, truth)
    within = jnp.where(jnp.isnan(error + radius), jnp.nan, (error <= radius).astype(error.dtype))
    return _shares(within[None, ..., None], truth, weights)[0, :, 0]


def coverage(samples: Array, truth: Array, level: float = 0.9, weights: Array | None = None) -> Array:
    """Share [J, D] of truths between the (1 - level) / 2 and (1 + level) / 2 quantiles of the hypotheses."""
    samples, truth = _pair(samples, truth)
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")
    low, high = jnp.quantile(samples, jnp.array([(1 - level) / 2, (1 + level) / 2], samples.dtype), axis=0)
    inside = ((low <= truth) & (truth <= high)).astype(samples.dtype)
    return _shares(jnp.where(jnp.isnan(low + truth), jnp.nan, inside)[None], truth, weights)[0]


def _shares(values: Array, truth: Array, weights: Array | None) -> Array:
    """Mean [L, J, D] over poses of values [L, ..., J, D] (D may be 1), by the weights [..., J] of truth [..., J, D]."""
    num_joints = truth.shape[-2]
    if weights is not None:
        weights = jnp.broadcast_to(weights, truth.shape[:-1]).reshape(-1, num_joints).T[:, None, :]
    flat = values.reshape(len(values), -1, num_joints, values.shape[-1])
    return weighted_mean(jnp.moveaxis(flat, 1, -1), weights)


def _num_partners(num: int, fair: bool) -> int:
    """How many hypotheses each of `num` is compared with."""
    if fair and num < 2:
        raise ValueError("samples must hold H >= 2 hypotheses, got 1; only fair=False takes a single one")
    return num - 1 if fair else num


def _pair(samples: Array, truth: Array) -> tuple[Array, Array]:
    """Both as jax arrays, the samples shaped like the truth but for their leading axis of hypotheses."""
    samples, truth = jnp.asarray(samples), jnp.asarray(truth)
    if truth.ndim < 2 or samples.ndim != truth.ndim + 1 or samples.shape[1:] != truth.shape:
        needed = "samples must be [H, ..., J, D] and truth [..., J, D]"
        raise ValueError(f"{needed}, got {samples.shape} and {truth.shape}")
    return samples, truth
