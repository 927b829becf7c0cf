"""Generation by a few-step model and its base: what the last of the few calls draws is denoised once by the base.

A draw of a few-step model has the law's shape, and a roughness of its own that no pose has. At a level of noise above
that roughness, `Spec.refine`, the base sees a noisy pose and says the mean of those that it may be:

    x0 by the few calls  ->  x_t ~ q(x_t | x_s, x0), sigma / alpha at t = refine  ->  x0 by the base

Where the level is low against the spread of poses, nothing else changes (docs/results.md has the figures).
"""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp

from jaxpose.base import Array, Condition, PredictFn, Prediction
from jaxpose.diffusion import time_at
from jaxpose.model import Model, scored


@flax.struct.dataclass
class Refined(Model):
    """A few-step model whose last call is its base's."""

    def predict_fn(self) -> PredictFn:
        """The few-step network's answer but at the last of the times, the base's there."""
        judge = scored(self)
        few, base, last = super().predict_fn(), judge.predict_fn(), self.spec.times[-2]

        def predict(x: Array, t: Array, cond: Condition | None) -> Prediction:
            given = cond if judge.spec.conditioned else None
            return jax.lax.cond(t < last, lambda: base(x, t, given), lambda: few(x, t, cond))

        return predict


def refined(model: Model) -> Model:
    """The model with its base's call at the end; itself where it has no base, or no level (`Spec.refine`)."""
    spec = model.spec
    if scored(model) is model or not spec.refine or isinstance(model, Refined):
        return model
    with jax.ensure_compile_time_eval():
        last = float(time_at(spec.sde(), -2 * jnp.log(jnp.float32(spec.refine))))
    times = (*spec.times, last)
    if last >= times[-2]:
        raise ValueError(
            f"{spec.name!r}: refine {spec.refine} is at t = {last:.3g}, not after its calls at {times[:-1]}"
        )
    longer = dataclasses.replace(spec, times=times, num_steps=spec.num_steps + 1)
    return Refined(model.params, model.statistics, longer, model.recalibration, model.typicality, model.base)
