"""The spread of hypotheses as a page shows it: for each joint an ellipsoid and a radius that hold 90 % of it.

With samples x_h, their mean m and covariance S, the Mahalanobis distances d_h = |S^(-1/2) (x_h - m)| have quantiles
d_50 and d_90. The ellipsoid is m + d_90 C^(1/2) u, |u| <= 1, where C is the covariance as it was given (recalibrated,
where the model has it) or else S: its size is C's, its tails are the samples'. Without samples d_50 and d_90 are those
of a Gaussian: the root of chi^2 with 3 degrees of freedom, 1.538 and 2.500.
"""

from typing import NamedTuple

import numpy as np

_GAUSSIAN = (1.538, 2.500)
_LEAST = 10  # samples, for quantiles of their own
_TINY = 1e-9  # square metres: thinner than a tenth of a millimetre is exact


class Spread(NamedTuple):
    """The spread of N poses: mean [N, J, 3] m; shape [N, J, 3, 3] m, symmetric; inner [N, J] and radius [N, J] m.

    The joint is within mean + shape u, |u| <= 1, with 90 %, within inner times that with 50 %, and within the radius
    about the mean with 90 %. NaN where a joint has no finite sample.
    """

    mean: np.ndarray
    shape: np.ndarray
    inner: np.ndarray
    radius: np.ndarray


def spread_of(
    samples: np.ndarray, covariance: np.ndarray | None = None, radius_90: np.ndarray | None = None
) -> Spread | None:
    """The spread of samples [H, N, J, 3] m with their covariance [N, J, 3, 3] and radius [N, J] where these are given.

    None where it is not known: fewer than 10 samples, and no covariance or one of 0.
    """
    x = np.asarray(samples, np.float64)
    few = len(x) < _LEAST
    if few and not np.any(covariance):
        return None
    mean = x.mean(0)
    away = x - mean
    of_samples = np.einsum("hnji,hnjk->njik", away, away) / len(x)
    given = of_samples if covariance is None else np.asarray(covariance, np.float64)
    if few:
        inner, outer = (np.full(mean.shape[:2], d) for d in _GAUSSIAN)
    else:
        distance = np.linalg.norm(np.einsum("njik,hnjk->hnji", _root(of_samples, -0.5), away), axis=-1)
        inner, outer = np.quantile(distance, (0.5, 0.9), axis=0)
    shape = outer[..., None, None] * _root(given, 0.5)
    if radius_90 is None:
        radius_90 = (
            np.quantile(np.linalg.norm(away, axis=-1), 0.9, axis=0)
            if not few
            else outer * np.sqrt(np.trace(given, axis1=-2, axis2=-1) / 3)
        )
    return Spread(mean, shape, inner / np.maximum(outer, 1e-6), np.asarray(radius_90, np.float64))


def _root(matrices: np.ndarray, power: float) -> np.ndarray:
    """Powers of symmetric matrices [..., 3, 3]; directions without spread stay 0. NaN stays NaN."""
    finite = np.isfinite(matrices).all((-1, -2), keepdims=True)
    values, vectors = np.linalg.eigh(np.where(finite, matrices, 0))
    powers = np.where(values > _TINY, np.maximum(values, _TINY) ** power, 0)
    return np.where(finite, (vectors * powers[..., None, :]) @ np.swapaxes(vectors, -1, -2), np.nan)
