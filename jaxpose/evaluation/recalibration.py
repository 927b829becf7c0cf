"""Recalibration fitted on validation data: factors on hypotheses, on their covariance and on their 90 % radius.

    log factor = a_jd + b_d u,      by least squares on  log |y - mean| / deviation - E log |z|,   z standard normal

per joint j and axis d, with u known before the truth is (`tasks/recalibration.py`); E log |z| = -(gamma + log 2) / 2.
The logarithm keeps the few truths that are far off from deciding for all. Each a_jd is then moved half of its way to
the mean of all: left alone, they follow the body sizes of the few subjects there are.

    covariance_j = sum |y - mean|^2 / sum trace C          over poses
    radius_j     = 90 % quantile of |y - mean| / r   split conformal (Vovk et al. 2005), r of the samples

Samples are [H, N, J, D] and truths [N, J, D], metres, about joint `root`.
"""

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array

_MEAN_LOG_NORMAL = -(np.euler_gamma + np.log(2)) / 2
_POOLED = 0.5  # of the way of each joint and axis to the mean of all
_NOTHING = 1e-9  # square metres: of a joint that does not move, such as the root
_SMALLEST = 1e-3  # of a deviation: a truth that is met counts as this far off


def log_errors(samples: Array, truth: Array) -> Array:
    """log |y - mean| / deviation - E log |z| of coordinates [N, J, D]: mean 0 if calibrated, > 0 if too narrow."""
    deviation = jnp.maximum(samples.std(0), 1e-9)
    return jnp.log(jnp.abs(truth - samples.mean(0)) / deviation + _SMALLEST) - _MEAN_LOG_NORMAL


def fit_spread(errors: Array, level: Array, root: int = 0) -> tuple[Array, Array]:
    """Offset [J, D] and slope [D] of the logarithm of the factor on the samples; the offset of joint `root` is 0.

    errors: [N, J, D] `log_errors` of many poses. level: [N] u of each.
    """
    others = np.delete(np.arange(errors.shape[1]), root)
    away = level - level.mean()
    slope = jnp.einsum("n,njd->d", away, errors[:, others]) / (len(others) * jnp.maximum((away**2).sum(), 1e-9))
    own = errors[:, others].mean(0) - slope * level.mean()
    pooled = own + _POOLED * (own.mean() - own)
    return jnp.zeros(errors.shape[1:]).at[others].set(pooled), slope


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
