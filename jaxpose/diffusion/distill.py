"""Few-step models: a network that draws a sample of x0 at every call, trained so that two calls replace twenty.

    x_T ~ N(0, sigma_T^2),   x0^(1) = G(x_T, T),   x_s ~ q(x_s | x_t, x0^(i)),   x0^(i+1) = G(x_s, s)

A diffusion network predicts E[x0 | x_t]; G draws a sample of x0. `solvers.ancestral` carries it through a few times, as
`sample` does. `energy_loss` matches the distribution of the draws to that of the data at every call, by the energy
score of M draws,

    1/M sum_m |x0_m - x0| - 1/(2 M (M - 1)) sum_mn |x0_m - x0_n|,

whose expectation is minimal only for the true conditional distribution (Gneiting and Raftery, 2007). The noise of the
process is the generator's noise, and the gradient runs through all calls, so a later call is trained on the outputs of
the earlier ones. No teacher network is needed.

Source: De Bortoli et al., Distributional diffusion models with scoring rules (2025); Shen and Meinshausen, Engression
(2024).
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Condition, Example, Key, PredictFn
from jaxpose.diffusion.sde import SDE, prior_sample
from jaxpose.diffusion.solvers import ancestral

_SMALL = 1e-4  # state units: below it a distance is no longer a corner, so that equal draws have a derivative


def draws(
    key: Key, predict_fn: PredictFn, sde: SDE, times: Sequence[float], shape: tuple[int, ...], cond: Condition | None
) -> list[Array]:
    """Output x0 of each network call of one sample: `shape` [..., J, D], at each of `times`, which fall."""
    solver = ancestral(sde)
    x, outputs = prior_sample(jax.random.fold_in(key, len(times)), sde, shape), []
    for i, t in enumerate(times):
        opinion = predict_fn(x, jnp.float32(t), cond)
        outputs.append(opinion.x0)
        if i + 1 < len(times):
            step_key, t_now, t_next = jax.random.fold_in(key, i), jnp.float32(t), jnp.float32(times[i + 1])
            # the step uses the prediction of this call
            x, _ = solver.step(step_key, x, (), t_now, t_next, lambda *_: opinion)  # noqa: B023
    return outputs


def energy_score(samples: Array, truth: Array) -> Array:
    """Energy score [] of draws [M, ..., J, D] of one truth [..., J, D]: of the whole, plus the mean over its rows J.

    The whole's distance is the root of the mean square over rows, so both parts have the size of one row's. The first
    depends on the dependence between rows, the second on each row alone. ValueError below two draws.
    """
    num = len(samples)
    if num < 2:
        raise ValueError(f"energy_score needs M >= 2 draws, got {num}")
    apart = _distance(samples[:, None] - samples[None]).sum() / (num * (num - 1))
    return _distance(samples - truth).mean() - apart / 2


def energy_loss(
    key: Key,
    predict_fn: PredictFn,
    sde: SDE,
    example: Example,
    times: Sequence[float],
    views: Callable[[Array], Array],
    *,
    num_draws: int,
    early: float = 1.0,
) -> tuple[Array, dict[str, Array]]:
    """Loss of one example: the energy score after the last of the calls at `times`, plus `early` times the others.

    example: x0 [J, D] and its condition. views: what of x0 [..., J, D] is scored, [..., K, 3], such as bones.
    Metrics: "energy_1" and so on, the score after each call.
    """
    outputs = jax.vmap(lambda key: draws(key, predict_fn, sde, times, example.x0.shape, example.cond))(
        jax.random.split(key, num_draws)
    )
    scores = [energy_score(views(x0), views(example.x0)) for x0 in outputs]
    return scores[-1] + early * sum(scores[:-1], jnp.float32(0)), {
        f"energy_{i + 1}": score for i, score in enumerate(scores)
    }


def _distance(x: Array) -> Array:
    """Length [...] of x [..., K, D] as a whole, plus the mean length of its rows; smooth at 0."""
    square = jnp.square(x).sum(-1)
    return jnp.sqrt(square.mean(-1) + _SMALL**2) + jnp.sqrt(square + _SMALL**2).mean(-1)
