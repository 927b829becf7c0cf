"""Aggregates: one pose from many hypotheses, without the truth.

    mean                the best guess under squared error
    median              per coordinate: the best guess under the sum of absolute coordinate errors
    geometric_median    per joint, argmin_m E|X_j - m|: the best guess under MPJPE, that is, under the very score
    medoid              the hypothesis nearest to all the others, so a pose that the model did propose
    mode                per joint, where the hypotheses are densest: one of several places, not the empty middle
    pose_mode           where whole poses are densest: as `mode`, but the joints of one pose stay together

Samples are [H, ..., J, D], any unit; results [..., J, D]. All take weights [H, ...] >= 0 that need not sum to 1; where
all are 0 the result is NaN. A NaN hypothesis makes what it touches NaN, whatever its weight: a joint, or the whole pose
in `medoid` and `pose_mode`.

Weights come from what is known besides the hypotheses: how well they agree with the keypoints, or how likely they are.

    reprojection_weights    log w_h = -sum_j c_j |project(X_hj + t_h) - u_j|^2 / (2 s^2)      t_h of `place`
    likelihood_weights      log w_h = log p(X_h | keypoints)

The hypotheses are draws from a posterior already, so the mean of the few that agree best is as noisy as they are few.
The variance of a weighted mean is that of the hypotheses times sum w^2, so both are tempered, pose by pose: w_h^b with
the largest b <= 1 at which sum w^2 <= 1 / H + ADDED. Then weighting adds at most 1 % of the hypotheses' variance to the
mean's: the effective number is at least 67 of 200, 9 of 10.
"""

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Numbers
from jaxpose.geometry.camera import project
from jaxpose.spaces.person import place

# Of 0.005, 0.01, 0.02, 0.04 on every 8th validation pose: more gains more from 200 hypotheses of exact keypoints, but
# 0.04 is worse than 0.01 with 10 in every row (python -m experiments.evaluate aggregates --stride=8 --added=0.04).
ADDED = 0.01
NOISE = 0.05  # of the keypoints' extent: about the error of a detector, 5 px where a person is 320 px tall
_KERNEL_DIRECTIONS = 6  # in which hypotheses of a pose vary: tr(C)^2 / tr(C^2), median of the same validation poses
_NUM_STEPS, _SMALLEST = 32, 1e-6  # of iterations; metres
_NEAREST = 1e-3  # metres before the camera: what is nearer is not seen
_LEAST_LOG_EXPONENT = -30.0  # not 0 itself: hypotheses of log weight -inf keep weight 0


def mean(samples: Array, weights: Array | None = None) -> Array:
    """Mean of the hypotheses: [H, ..., J, D] -> [..., J, D]."""
    return jnp.mean(samples, axis=0) if weights is None else _average(samples, _shares(samples, weights))


def median(samples: Array, weights: Array | None = None) -> Array:
    """Median of the hypotheses in every coordinate: [H, ..., J, D] -> [..., J, D]."""
    if weights is None:
        return jnp.median(samples, axis=0)
    samples = jnp.asarray(samples)
    order = samples.argsort(0)
    ordered = jnp.take_along_axis(samples, order, 0)
    shares = jnp.broadcast_to(_shares(samples, weights), samples.shape)
    below = jnp.take_along_axis(shares, order, 0).cumsum(0)
    # Where the lower half ends on a hypothesis, to rounding, the middle between it and the next, as without weights.
    ends = [jnp.take_along_axis(ordered, (below > 0.5 + gap).argmax(0)[None], 0)[0] for gap in (-1e-6, 1e-6)]
    return jnp.where(jnp.isnan(samples.sum(0) + shares.sum(0)), jnp.nan, sum(ends) / 2)


def geometric_median(samples: Array, weights: Array | None = None) -> Array:
    """Point per joint with the least mean distance to the hypotheses: [H, ..., J, D] -> [..., J, D].

    Weiszfeld's iterations from the mean. Distances below a micrometre count as that: a step may land on a hypothesis.
    """
    samples = jnp.asarray(samples)
    shares = _shares(samples, weights)

    def step(_, centre):
        distance = jnp.linalg.norm(samples - centre, axis=-1, keepdims=True)
        return _average(samples, shares / jnp.maximum(distance, _SMALLEST))

    return jax.lax.fori_loop(0, _NUM_STEPS, step, _average(samples, shares))


def medoid(samples: Array, weights: Array | None = None) -> Array:
    """The hypothesis with the least mean joint distance to the others: [H, ..., J, D] -> [..., J, D].

    One of weight 0 is never chosen. Memory grows as H, not as H^2.
    """
    samples = jnp.asarray(samples)
    shares = _shares(samples, weights)[..., 0, 0]
    total = jax.lax.map(lambda one: (shares * jnp.linalg.norm(samples - one, axis=-1).mean(-1)).sum(0), samples)
    chosen = _take(samples, jnp.where(shares > 0, total, jnp.inf).argmin(0))
    # One NaN hypothesis makes every sum of distances NaN, so there is no nearest one.
    return jnp.where(jnp.isnan(total.sum(0))[..., None, None], jnp.nan, chosen)


def mode(samples: Array, weights: Array | None = None) -> Array:
    """Where a smoothed density of the hypotheses peaks, joint by joint: [H, ..., J, D] -> [..., J, D].

    Mean shift (Comaniciu and Meer, 2002) from the densest hypothesis, under a Gaussian kernel of Scott's width
    s H^(-1 / (D + 4)), s the root mean square deviation of a coordinate, but not below a micrometre; of weighted
    hypotheses H is the effective number.
    """
    joints = jnp.asarray(samples)[..., None, :]  # each a pose of one joint
    return _peak(joints, _shares(samples, weights)[..., None], samples.shape[-1])[..., 0, :]


def pose_mode(samples: Array, weights: Array | None = None) -> Array:
    """Where a smoothed density of whole poses peaks: [H, ..., J, D] -> [..., J, D].

    As `mode`, with one kernel over all numbers of a pose. They are far from independent: Scott's width is that of a
    density in 6 dimensions with the poses' total variance.
    """
    samples = jnp.asarray(samples)
    return _peak(samples, _shares(samples, weights), _KERNEL_DIRECTIONS)


def reprojection_weights(
    samples: Array,
    keypoints: Array,
    confidence: Array,
    intrinsics: Numbers,
    distortion: Numbers | None = None,
    *,
    noise_px: float | Array | None = None,
    added: float = ADDED,
) -> Array:
    """Weights [H, ...] by how near each hypothesis' joints, seen by the camera, lie to the keypoints.

    samples:    [H, ..., J, 3] metres, camera axes; where they stand is found by `spaces.person.place`, each for itself.
    keypoints:  [..., J, 2] pixels; confidence [..., J], 0 where not seen, and there they may be NaN.
    intrinsics: [..., 4] pixels; distortion [..., 5] or None.
    A hypothesis with a joint behind the camera has weight 0; where all have one, they count alike.
    noise_px:   standard deviation of a coordinate, scalar or [...]; None: 0.05 of the keypoints' extent.
    added:      what the weights may add to the mean's variance, as a share of the hypotheses'; inf: all they say.
    """
    seen = confidence > 0
    keypoints = jnp.where(seen[..., None], keypoints, 0)
    root = place(intrinsics, keypoints, confidence, samples, distortion)
    placed = jnp.asarray(samples) + root[..., None, :]
    behind = (seen & (placed[..., 2] < _NEAREST)).any(-1)  # the camera would not see it: weight 0
    squared = jnp.square(project(intrinsics, placed, distortion, nearest=_NEAREST) - keypoints).sum(-1)
    noise = NOISE * _extent_px(keypoints, confidence) if noise_px is None else jnp.asarray(noise_px)
    log_weight = -(confidence * jnp.where(seen, squared, 0)).sum(-1) / (2 * jnp.square(noise))
    return _tempered(jnp.where(behind, -jnp.inf, log_weight), added)


def likelihood_weights(log_density: Array, *, added: float = ADDED) -> Array:
    """Weights [H, ...] from the log densities [H, ...] of whole hypotheses in nats, up to a constant of each pose.

    -inf is weight 0. added: as in `reprojection_weights`.
    """
    return _tempered(jnp.asarray(log_density), added)


def effective_number(weights: Array) -> Array:
    """How many equally weighted hypotheses [...] are as good as weights [H, ...], 1 to H: (sum w)^2 / sum w^2."""
    return jnp.square(weights.sum(0)) / jnp.square(weights).sum(0)


def _tempered(log_weight: Array, added: float) -> Array:
    """softmax(b log_weight) over H for the largest b in 0..1 with sum w^2 <= 1 / H + added, by bisection of log b.

    -inf is weight 0, but where all of them are: then they count alike.
    """
    if not added > 0:
        raise ValueError(f"added: needed a share of variance > 0, got {added}")
    most = 1 / log_weight.shape[0] + added
    best = log_weight.max(0)
    log_weight = jnp.where(best == -jnp.inf, 0, log_weight - best)

    def weights(log_b: Array) -> Array:
        return jax.nn.softmax(jnp.exp(log_b) * log_weight, axis=0)

    def fits(log_b: Array) -> Array:
        return jnp.square(weights(log_b)).sum(0) <= most

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        return jnp.where(fits(middle), middle, low), jnp.where(fits(middle), high, middle)

    whole = jnp.zeros_like(log_weight[0])
    low, _ = jax.lax.fori_loop(0, 30, halve, (whole + _LEAST_LOG_EXPONENT, whole))
    return weights(jnp.where(fits(whole), whole, low))


def _extent_px(keypoints: Array, confidence: Array) -> Array:
    """Root mean square distance [...] of the visible keypoints from their middle, weighted by confidence."""
    share = (confidence / jnp.maximum(confidence.sum(-1, keepdims=True), 1e-6))[..., None]
    centre = (share * keypoints).sum(-2, keepdims=True)
    return jnp.maximum(jnp.sqrt((share * jnp.square(keypoints - centre)).sum((-2, -1))), 1e-3)


def _shares(samples: Array, weights: Array | None) -> Array:
    """Weights that sum to 1 over H, [H, ..., 1, 1]; without weights 1 / H, which broadcasts."""
    num, *shape = jnp.shape(samples)
    if weights is None:
        return jnp.full((num, *[1] * len(shape)), 1 / num)
    if jnp.shape(weights) != (num, *shape[:-2]):
        raise ValueError(f"weights: needed {(num, *shape[:-2])} for samples {(num, *shape)}, got {jnp.shape(weights)}")
    return (jnp.asarray(weights) / jnp.asarray(weights).sum(0))[..., None, None]


def _average(samples: Array, weight: Array) -> Array:
    return (weight * samples).sum(0) / weight.sum(0)


def _take(samples: Array, chosen: Array) -> Array:
    """Of samples [H, ..., J, D] the poses [..., J, D] of the numbers chosen [...]."""
    return jnp.take_along_axis(samples, chosen[None, ..., None, None], axis=0)[0]


def _peak(samples: Array, shares: Array, directions: int) -> Array:
    """Mean shift of poses [H, ..., J, D] from the densest; shares [H, ..., 1, 1] sum to 1 over H."""
    num = 1 / jnp.square(shares).sum(0)[..., 0, 0]
    total = (shares * jnp.square(samples - _average(samples, shares))).sum((0, -2, -1))
    variance = jnp.maximum(total / directions * num ** (-2 / (directions + 4)), _SMALLEST**2)

    def nearness(at: Array) -> Array:
        return shares[..., 0, 0] * jnp.exp(-0.5 * jnp.square(samples - at).sum((-2, -1)) / variance)

    def shift(_: int, at: Array) -> Array:
        return _average(samples, nearness(at)[..., None, None])

    densest = jax.lax.map(lambda sample: nearness(sample).sum(0), samples).argmax(0)
    return jax.lax.fori_loop(0, _NUM_STEPS, shift, _take(samples, densest))
