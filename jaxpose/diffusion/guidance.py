"""Guidance: what changes the model's opinion (PredictFn -> PredictFn) and what changes the state (ProjectFn).

Source: Ho and Salimans, Classifier-free guidance (2022); Song et al. (2021), appendix I.2 for inpainting.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Condition, Key, PredictFn, Prediction, ProjectFn
from jaxpose.diffusion.prediction import blend
from jaxpose.diffusion.sde import SDE


def classifier_free(predict_fn: PredictFn, weight: float | Array) -> PredictFn:
    """null + weight (conditional - null) in every view: weight 0 forgets the condition, 1 is the model.

    The null condition is the same with everything zero: value, mask and context. Both are asked in one call
    (a vmap of two), so what does not depend on the condition is computed once.
    """

    def predict(x_t: Array, t: Array, cond: Condition | None) -> Prediction:
        if cond is None:
            raise ValueError(
                "classifier_free needs a condition to compare with the null condition, got cond=None"
            )
        both = jax.tree.map(lambda known: jnp.stack([jnp.zeros_like(known), known]), cond)
        opinions = jax.vmap(predict_fn, in_axes=(None, None, 0))(x_t, t, both)
        null, informed = (jax.tree.map(lambda view, i=i: view[i], opinions) for i in range(2))
        return blend(weight, null, informed)

    return predict


def replace(sde: SDE, cond: Condition) -> ProjectFn:
    """Inpainting: set the observed coordinates of x_s to their value at noise level s, leave the others.

    The state keeps its shape [..., J, D], cond's broadcasts to it. An observed coordinate ends within
    the noise of the last time of its value.
    """

    def project(key: Key, x_s: Array, s: Array) -> Array:
        noise = jax.random.normal(key, x_s.shape, x_s.dtype)
        observed = sde.alpha(s) * cond.value + sde.sigma(s) * noise
        return jnp.where(cond.mask > 0, observed, x_s)

    return project
