"""Energies of body poses that DPoser is compared with: a Gaussian and a mixture of Gaussians, fitted by scikit-learn.

    Gaussian           |z|^2 / 2,                         z = W' (x - mean),    W W' the precision
    its nearest mode   min_m |z_m|^2 / 2 - log p_m,       p_m = w_m sqrt(|P_m| / max_k |P_k|)  (SMPLify)

Covariances get a ridge, a share of the mean variance of the coordinates: one that never moves in the data has that
variance, not an infinite precision. Source: Bogo et al., Keep it SMPL (ECCV 2016), section 3.2, equation 7.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array

RIDGE = 1e-3  # share of the mean variance: of axis-angle body poses some (0.5 degrees)^2


def fit_mixture(x: np.ndarray, num_components: int = 1, *, ridge: float = RIDGE) -> Callable[[Array], Array]:
    """Energy x [..., D] -> [...] >= 0 of the nearest mode of the Gaussians of samples [N, D]; a Gaussian's for one."""
    from sklearn.mixture import GaussianMixture

    x = np.asarray(x, np.float64)
    fitted = GaussianMixture(num_components, reg_covar=ridge * x.var(0).mean(), random_state=0).fit(x)
    whiten = np.asarray(fitted.precisions_cholesky_)
    log_det = np.log(np.diagonal(whiten, axis1=-2, axis2=-1)).sum(-1)
    log_peak = np.log(fitted.weights_) + log_det - log_det.max()
    return jax.tree_util.Partial(_nearest, *(jnp.asarray(a, jnp.float32) for a in (log_peak, fitted.means_, whiten)))


def _nearest(log_peak: Array, mean: Array, whiten: Array, x: Array) -> Array:
    z = jnp.einsum("...md,mde->...me", x[..., None, :] - mean, whiten, precision="highest")
    return (jnp.square(z).sum(-1) / 2 - log_peak).min(-1)
