"""Guidance: wrappers of a prediction (PredictFn -> PredictFn) and projections of the state (ProjectFn).

A measurement of the pose is a residual function: x0 [..., J, D] -> [..., M...], what is left of y - A(x0), 0 where they
agree. By Bayes' rule its log likelihood adds to the score, and is approximated at the denoised pose x0_hat(x_t):

    score + grad log p(y | x_t),    log p(y | x_t) ~ -1/2 |y - A x0_hat(x_t)|^2 / (noise^2 + r_t^2)

    r_t^2 = sigma^2 s^2 / (alpha^2 s^2 + sigma^2)    variance of x0 given x_t, for data of standard deviation s

is exact for independent Gaussian data of deviation s of which single coordinates are observed: then the samples are
those of the posterior, mean and covariance (pseudo-inverse guidance, `measurement`). Leaving r_t out is plain diffusion
posterior sampling, DPS. It ignores the uncertainty of x0_hat: for data N(0, 1) and c = noise^2 its samples of a
posterior N(y / (1 + c), c / (1 + c)) have mean y (1 - exp(-1 / c)) and variance c (1 - exp(-2 / c)) / 2.

So DPS is measurement(..., spread=0), and MCG adds `replace` for the observed coordinates. `twisting.py` has the same
methods for one pose, with what particle methods need in addition.

Source: Ho and Salimans, Classifier-free guidance (2022); Song et al. (2021), appendix I.2 for inpainting; Chung et al.,
Diffusion posterior sampling (ICLR 2023), algorithm 1; Chung et al., Manifold constrained gradients (NeurIPS 2022);
Song et al., Pseudoinverse-guided diffusion models (ICLR 2023), equation 7 and appendix A.3 for r_t.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Condition, Key, PredictFn, Prediction, ProjectFn
from jaxpose.diffusion.prediction import blend, from_score, from_x0
from jaxpose.diffusion.sde import SDE

# x0 [..., J, D] -> [..., M...]: each pose's own distance from what was measured, entry by entry
ResidualFn: TypeAlias = Callable[[Array], Array]


def classifier_free(predict_fn: PredictFn, weight: float | Array) -> PredictFn:
    """Classifier-free guidance, null + weight (conditional - null): weight 0 is unconditional, 1 the model.

    The null condition is the same with everything zero: value, mask and context. Both are evaluated in one call (a vmap
    of two), so what does not depend on the condition is computed once.
    """

    def predict(x_t: Array, t: Array, cond: Condition | None) -> Prediction:
        if cond is None:
            raise ValueError("classifier_free needs a condition to compare with the null condition, got cond=None")
        both = jax.tree.map(lambda known: jnp.stack([jnp.zeros_like(known), known]), cond)
        opinions = jax.vmap(predict_fn, in_axes=(None, None, 0))(x_t, t, both)
        null, informed = (jax.tree.map(lambda view, i=i: view[i], opinions) for i in range(2))
        return blend(weight, null, informed)

    return predict


def held(predict_fn: PredictFn, sde: SDE) -> PredictFn:
    """The prediction of a conditional network with x0 set to the condition's value where it has one."""

    def predict(x_t: Array, t: Array, cond: Condition | None) -> Prediction:
        prediction = predict_fn(x_t, t, cond)
        return prediction if cond is None else from_x0(sde, x_t, t, jnp.where(cond.mask > 0, cond.value, prediction.x0))

    return predict


def replace(sde: SDE, cond: Condition, noise: float | Array = 0.0) -> ProjectFn:
    """Inpainting: set the observed coordinates of x_s to their value at noise level s, leave the others.

    cond broadcasts to x_s [..., J, D]. An observed coordinate ends within the noise of the last time of its value.
    noise: deviation of the values themselves, broadcasting to them: they are set while sigma / alpha exceeds it, and
           what they have of it is not added again.
    """

    def project(key: Key, x_s: Array, s: Array) -> Array:
        z = jax.random.normal(key, x_s.shape, x_s.dtype)
        value_noise = sde.alpha(s) * noise
        fresh = jnp.sqrt(jnp.maximum(sde.sigma(s) ** 2 - value_noise**2, 0))
        held = (cond.mask > 0) & (sde.sigma(s) >= value_noise)
        return jnp.where(held, sde.alpha(s) * cond.value + fresh * z, x_s)

    return project


def observed(cond: Condition) -> ResidualFn:
    """The residual of observed coordinates: x0 [..., J, D] -> mask (x0 - value) of the same shape."""
    return lambda x0: cond.mask * (x0 - cond.value)


def measurement(
    predict_fn: PredictFn,
    sde: SDE,
    residual_fn: ResidualFn,
    *,
    noise: float | Array,
    spread: float = 1.0,
    weight: float = 1.0,
) -> PredictFn:
    """Guidance by a measurement with Gaussian noise, differentiated through the network; changes x0, eps and score.

    residual_fn: x0 [..., J, D] -> [..., M...] (`observed` for a mask, else any differentiable function).
    noise:       standard deviation of the measurement, >= 0, in units of the residual; broadcasts to it.
    spread:      standard deviation s of the data seen through the residual, in its units; 0 is plain DPS, which needs
                 noise > 0 and so many steps that one of them stays below noise^2.
    weight:      factor on the change of the score; 0 is the model, 1 is Bayes' rule.

    One backward pass per call in addition to the forward one; poses are independent of each other.
    """
    least = 1.0 if isinstance(noise, jax.core.Tracer) else np.min(noise)
    if least < 0 or spread < 0 or least == spread == 0:
        raise ValueError(
            "measurement needs noise >= 0 and spread >= 0, and noise > 0 where spread is 0, "
            f"got noise={noise}, spread={spread}"
        )

    def predict(x_t: Array, t: Array, cond: Condition | None) -> Prediction:
        alpha, sigma = sde.alpha(t), sde.sigma(t)
        open_variance = (sigma * spread) ** 2 / ((alpha * spread) ** 2 + sigma**2)

        def log_likelihood(x_t: Array) -> tuple[Array, Prediction]:
            prediction = predict_fn(x_t, t, cond)
            error = jnp.square(residual_fn(prediction.x0)) / (jnp.square(noise) + open_variance)
            return -error.sum() / 2, prediction

        change, prediction = jax.grad(log_likelihood, has_aux=True)(x_t)
        return from_score(sde, x_t, t, prediction.score + weight * change)

    return predict
