"""Pose errors: how far a pose is from the truth.

    joint error    e_j = |p_j - g_j|
    MPJPE          mean_j e_j
    N-MPJPE        MPJPE of s p, s = sum p.g / sum p.p                   (Rhodin et al. 2018: scale alone)
    P-MPJPE        MPJPE of the similarity of p that is closest to g     (Procrustes; Umeyama 1991)
    PCK, AUC       share of joints with e_j < 150 mm; its mean over 0, 5, ..., 150 mm   (Mehta et al. 2017)
    velocity       mean |dp - dg|, d = difference of neighbouring frames (VideoPose3D's MPJVE)
    acceleration   mean |ddp - ddg|, dd = second difference

Poses are [..., J, D] in metres and errors come back in metres, one per pose. MPJPE and N-MPJPE take poses as they
stand: align roots first (`align_root`) where the protocol says so. Hypotheses lead: samples [H, ..., J, D] against
truth [..., J, D] broadcast, and give errors [H, ...] for `best_of`.

`weights` [..., J] says which joints count (1) and which do not (0); it broadcasts. What has weight 0 may be NaN and
never enters. A NaN that does count makes the pose's result NaN.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.geometry.products import turned
from jaxpose.geometry.rotations import nearest_turn

PCK_THRESHOLD = 0.15
AUC_THRESHOLDS = tuple(i / 1000 for i in range(0, 151, 5))


def align_root(pose: Array, root: int = 0) -> Array:
    """The pose [..., J, D] moved so that its joint `root` lies at the origin."""
    return pose - pose[..., root : root + 1, :]


def joint_errors(pred: Array, truth: Array) -> Array:
    """Distance of every joint from its truth [..., J], metres; pred and truth [..., J, D]."""
    pred, truth = _pair(pred, truth)
    return jnp.linalg.norm(pred - truth, axis=-1)


def mpjpe(pred: Array, truth: Array, weights: Array | None = None) -> Array:
    """Mean joint error [...], metres; pred and truth [..., J, D], weights [..., J]."""
    return weighted_mean(joint_errors(pred, truth), weights)


def n_mpjpe(pred: Array, truth: Array, weights: Array | None = None) -> Array:
    """Mean joint error [...] after the best scale about the origin, metres; no rotation, no translation."""
    pred, truth = _pair(pred, truth)
    p, g, w = _seen(pred, weights), _seen(truth, weights), _column(weights, pred)
    scale = (w * p * g).sum((-2, -1)) / jnp.maximum((w * p * p).sum((-2, -1)), jnp.finfo(p.dtype).tiny)
    return mpjpe(scale[..., None, None] * pred, truth, weights)


def p_mpjpe(pred: Array, truth: Array, weights: Array | None = None, *, allow_reflection: bool = False) -> Array:
    """Mean joint error [...] after the best similarity, metres; pred and truth [..., J, D], weights [..., J].

    GFPose reports it with `allow_reflection=True`, under which a mirrored pose has no error.
    """
    return mpjpe(procrustes_align(pred, truth, weights, allow_reflection=allow_reflection), truth, weights)


def procrustes_align(
    pred: Array, truth: Array, weights: Array | None = None, *, allow_reflection: bool = False
) -> Array:
    """The image [..., J, D] of pred under the rotation, translation and scale that bring it closest to truth.

    Closest in the weighted sum of squares: Umeyama 1991, eq. 40-42, with weights. A pred whose joints all coincide has
    no direction: it becomes the centre of truth.
    """
    pred, truth = _pair(pred, truth)
    p_mean, g_mean = _centre(pred, weights), _centre(truth, weights)
    p, g, w = _seen(pred - p_mean, weights), _seen(truth - g_mean, weights), _column(weights, pred)
    weight = jnp.broadcast_to(w[..., 0], jnp.broadcast_shapes(p.shape, g.shape)[:-1])
    rotation, _, _ = nearest_turn(p, g, weight, allow_reflection=allow_reflection)
    p, q = (turned(rotation, x) for x in (p, pred - p_mean))
    size = (w * p * g).sum((-2, -1)) / jnp.maximum((w * p * p).sum((-2, -1)), jnp.finfo(p.dtype).tiny)
    return size[..., None, None] * q + g_mean


def pck(pred: Array, truth: Array, weights: Array | None = None, *, threshold: float = PCK_THRESHOLD) -> Array:
    """Share [...] in 0..1 of joints nearer to the truth than `threshold` metres (strictly)."""
    return auc(pred, truth, weights, thresholds=(threshold,))


def auc(
    pred: Array, truth: Array, weights: Array | None = None, *, thresholds: tuple[float, ...] = AUC_THRESHOLDS
) -> Array:
    """Mean PCK [...] in 0..1 over `thresholds`, metres; by default the 31 of MPI-INF-3DHP, 0 among them."""
    errors = joint_errors(pred, truth)
    ordered = jnp.sort(jnp.asarray(thresholds, errors.dtype))
    # A joint is right at the thresholds above its error: counting them takes one pass, not one per threshold.
    share = 1 - jnp.searchsorted(ordered, errors, side="right") / len(thresholds)
    return weighted_mean(jnp.where(jnp.isnan(errors), errors, share.astype(errors.dtype)), weights)


def best_of(errors: Array, num: int | None = None) -> Array:
    """Smallest [...] of the first `num` of the errors [H, ...] of H hypotheses; of all of them by default.

    An oracle: it reads the truth. Over errors per joint it would put together a pose of several hypotheses.
    """
    errors = jnp.asarray(errors)
    num_all = errors.shape[0]
    if num is not None and not 1 <= num <= num_all:
        raise ValueError(f"num must be in 1..{num_all}, the number of hypotheses, got {num}")
    return errors[:num].min(0)


def diversity(samples: Array, root: int = 0) -> Array:
    """Standard deviation over hypotheses per axis [..., D], metres; samples [H, ..., J, D].

    Of root-relative joints, averaged over all joints but the root: what GFPose prints (spec/gfpose.md 6.1).
    """
    spread = align_root(jnp.asarray(samples), root).std(0)
    others = np.delete(np.arange(spread.shape[-2]), root)
    return spread[..., others, :].mean(-2)


def pairwise_distance(samples: Array) -> Array:
    """Mean distance of two different hypotheses per joint [..., J], metres; samples [H, ..., J, D], H >= 2.

    Its mean over joints is the average pairwise distance (APD). Memory grows as H, not as H^2.
    """
    samples = jnp.asarray(samples)
    num = samples.shape[0]
    if num < 2:
        raise ValueError(f"samples must be [H, ..., J, D] with H >= 2 hypotheses, got {samples.shape}")

    def add(h, total):
        return total + jnp.linalg.norm(samples - samples[h], axis=-1).mean(0)

    start = jnp.zeros(samples.shape[1:-1], samples.dtype)
    return jax.lax.fori_loop(0, num, add, start) / (num - 1)


def velocity_error(pred: Array, truth: Array, fps: float = 1.0) -> Array:
    """Mean error of joint velocity [...], m/s; pred and truth [..., F, J, D], F >= 2; of fps 1 VideoPose3D's MPJVE."""
    return _motion_error(pred, truth, 1) * fps


def acceleration_error(pred: Array, truth: Array, fps: float = 1.0) -> Array:
    """Mean error of joint acceleration [...], m/s^2; pred and truth [..., F, J, D], F >= 3."""
    return _motion_error(pred, truth, 2) * fps**2


def weighted_mean(values: Array, weights: Array | None = None) -> Array:
    """Mean over the last axis; values of weight 0 never enter, and where all weights are 0 it is NaN."""
    if weights is None:
        return values.mean(-1)
    weights = jnp.broadcast_to(jnp.asarray(weights, values.dtype), values.shape)
    return (weights * jnp.where(weights > 0, values, 0)).sum(-1) / weights.sum(-1)


def in_blocks(
    figures: Callable[..., dict[str, Array]], pred: Array | np.ndarray, truth: Array | np.ndarray, size: int
) -> dict[str, np.ndarray]:
    """figures(pred, truth) of each row [N], `size` rows at once; pred [N, ...] as truth [N, ...], or [H, N, ...]."""
    lead = (slice(None),) * (pred.ndim - truth.ndim)
    rows = [slice(i, i + size) for i in range(0, len(truth), size)]
    blocks = [figures(pred[(*lead, row)], truth[row]) for row in rows]
    return {name: np.concatenate([np.asarray(block[name]) for block in blocks]) for name in blocks[0]}


def _motion_error(pred: Array, truth: Array, order: int) -> Array:
    pred, truth = _pair(pred, truth)
    if pred.ndim < 3 or pred.shape[-3] <= order:
        raise ValueError(f"pred must be [..., F, J, D] with F >= {order + 1} frames, got {pred.shape}")
    return jnp.linalg.norm(jnp.diff(pred - truth, n=order, axis=-3), axis=-1).mean((-2, -1))


def _centre(pose: Array, weights: Array | None) -> Array:
    columns = jnp.swapaxes(pose, -1, -2)
    rows = None if weights is None else jnp.asarray(weights)[..., None, :]
    return weighted_mean(columns, rows)[..., None, :]


def _column(weights: Array | None, pose: Array) -> Array:
    """The weights as [..., J, 1] in the pose's precision."""
    return jnp.ones((1, 1), pose.dtype) if weights is None else jnp.asarray(weights, pose.dtype)[..., None]


def _seen(pose: Array, weights: Array | None) -> Array:
    """The pose with 0 in the joints of weight 0."""
    return pose if weights is None else jnp.where(jnp.asarray(weights)[..., None] > 0, pose, 0)


def _pair(pred: Array, truth: Array) -> tuple[Array, Array]:
    """Both as jax arrays. Leading axes may broadcast; joints and coordinates may not."""
    pred, truth = jnp.asarray(pred), jnp.asarray(truth)
    if pred.ndim < 2 or truth.ndim < 2 or pred.shape[-2:] != truth.shape[-2:]:
        raise ValueError(f"pred and truth must both end in [J, D], got {pred.shape} and {truth.shape}")
    return pred, truth
