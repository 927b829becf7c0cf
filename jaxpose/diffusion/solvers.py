"""Solvers: how one step carries x_t at time t to x_s at an earlier time s < t.

Every solver calls `predict(x, t) -> Prediction` and is valid for every process: it uses alpha and sigma only. With lam
= log(alpha / sigma), h = lam_s - lam_t > 0, q = 1 - exp(-2 h), a = alpha_t / alpha_s and dt = t - s:

    euler_maruyama      x - [f x - (1 + c^2) / 2 g^2 score] dt + c g sqrt(dt) z,    c = churn
    reverse_diffusion   (2 - a) x + G^2 score + G z
    ddim                alpha_s x0 + sigma_s [sqrt(1 - eta^2 q) eps + eta sqrt(q) z]
    heun                d(x / alpha) = eps d(sigma / alpha) by the trapezoid rule, second evaluation at s
    dpmpp_2m            sigma_s / sigma_t exp(-eta h) x + alpha_s (1 - exp(-(1 + eta) h)) D
                        + noise sigma_s sqrt(1 - exp(-2 eta h)) z,    D = x0 + h / (2 h_before) (x0 - x0_before)
    langevin            x + e score + sqrt(2 e) z at level s,    e = 2 (snr sigma_s)^2

G^2 = sigma_t^2 - a^2 sigma_s^2 = sigma_t^2 q is the noise the process adds between s and t. The exact bridge
q(x_s | x_t, x0) is Gaussian with variance sigma_s^2 q and mean alpha_s x0 + sigma_s sqrt(1 - q) eps: this is
`ddim` with eta = 1, and `ancestral` when x0 is the prediction.

Source: Song et al. (2021); Song, Meng and Ermon, DDIM (2021); Karras et al., EDM (2022); Lu et al.,
DPM-Solver++ (2022).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Condition, Key, Prediction
from jaxpose.diffusion.guidance import replace
from jaxpose.diffusion.sde import SDE, drift_diffusion, log_snr

Memory: TypeAlias = Any  # a pytree of arrays; () for a one-step method
StepPredictFn: TypeAlias = Callable[[Array, Array], Prediction]


class Solver(NamedTuple):
    """A stepping rule. Close over it, do not pass it through jit.

    init: x [..., J, D] -> memory.
    step: (key, x_t, memory, t, s, predict) -> (x_s, memory), t > s scalars.
    """

    init: Callable[[Array], Memory]
    step: Callable[[Key, Array, Memory, Array, Array, StepPredictFn], tuple[Array, Memory]]


def one_step(step: Callable[[Key, Array, Array, Array, StepPredictFn], Array]) -> Solver:
    """A solver without memory from (key, x_t, t, s, predict) -> x_s."""
    return Solver(lambda x: (), lambda key, x_t, memory, t, s, predict: (step(key, x_t, t, s, predict), memory))


def euler_maruyama(sde: SDE, churn: float = 1.0) -> Solver:
    """Euler steps of the reverse SDE with `churn` times its noise; 0 is the probability flow."""
    if churn < 0:
        raise ValueError(f"euler_maruyama needs churn >= 0, got {churn}")

    def step(key: Key, x_t: Array, t: Array, s: Array, predict: StepPredictFn) -> Array:
        f, g2 = drift_diffusion(sde, t)
        drift = f * x_t - (1 + churn**2) / 2 * g2 * predict(x_t, t).score
        x_s = x_t - (t - s) * drift
        return x_s if churn == 0 else x_s + churn * jnp.sqrt(g2 * (t - s)) * _normal(key, x_t)

    return one_step(step)


def reverse_diffusion(sde: SDE) -> Solver:
    """The forward step from s to t, reversed the way the SDE is: Song et al. (2021), appendix E."""

    def step(key: Key, x_t: Array, t: Array, s: Array, predict: StepPredictFn) -> Array:
        variance = sde.sigma(t) ** 2 * fresh_share(sde, t, s)
        mean = (2 - sde.alpha(t) / sde.alpha(s)) * x_t + variance * predict(x_t, t).score
        return mean + jnp.sqrt(variance) * _normal(key, x_t)

    return one_step(step)


def ddim(sde: SDE, eta: float = 0.0) -> Solver:
    """Non-Markovian steps through the predicted x0; eta in [0, 1]: 0 deterministic, 1 the exact bridge."""
    if not 0 <= eta <= 1:
        raise ValueError(f"ddim needs eta in [0, 1], got {eta}")

    def step(key: Key, x_t: Array, t: Array, s: Array, predict: StepPredictFn) -> Array:
        x0, eps, _ = predict(x_t, t)
        if eta > 0:
            fresh = eta**2 * fresh_share(sde, t, s)
            eps = jnp.sqrt(1 - fresh) * eps + jnp.sqrt(fresh) * _normal(key, x_t)
        return sde.alpha(s) * x0 + sde.sigma(s) * eps

    return one_step(step)


def ancestral(sde: SDE) -> Solver:
    """A draw from the exact bridge q(x_s | x_t, x0) at the predicted x0: DDPM's sampler."""
    return ddim(sde, eta=1.0)


def heun(sde: SDE) -> Solver:
    """The probability flow by Heun's rule: second order, two evaluations a step (EDM, algorithm 1)."""

    def step(key: Key, x_t: Array, t: Array, s: Array, predict: StepPredictFn) -> Array:
        ratio = sde.alpha(s) / sde.alpha(t)

        def along(eps: Array) -> Array:
            return ratio * (x_t - sde.sigma(t) * eps) + sde.sigma(s) * eps

        eps_t = predict(x_t, t).eps
        return along((eps_t + predict(along(eps_t), s).eps) / 2)

    return one_step(step)


def dpmpp_2m(sde: SDE, eta: float = 0.0, noise: float = 1.0) -> Solver:
    """DPM-Solver++(2M): second order, one evaluation a step; eta = 1 is its SDE form, 0 the probability flow.

    noise: factor on the fresh noise; eta = 1 without noise approaches the mean of the law. Remembers the last
    x0-prediction and how far back in lam it lies: infinitely far at first, so the first step is of first order.
    """
    if eta < 0:
        raise ValueError(f"dpmpp_2m needs eta >= 0, got {eta}")
    if noise < 0:
        raise ValueError(f"dpmpp_2m needs noise >= 0, got {noise}")

    def init(x: Array) -> Memory:
        return jnp.zeros_like(x), jnp.full((), jnp.inf, x.dtype)

    def step(key: Key, x_t: Array, memory: Memory, t: Array, s: Array, predict: StepPredictFn):
        x0_before, h_before = memory
        x0 = predict(x_t, t).x0
        h = (log_snr(sde, s) - log_snr(sde, t)) / 2
        ahead = x0 + h / (2 * h_before) * (x0 - x0_before)
        x_s = sde.sigma(s) / sde.sigma(t) * jnp.exp(-eta * h) * x_t
        x_s = x_s - sde.alpha(s) * jnp.expm1(-(1 + eta) * h) * ahead
        if eta > 0 and noise > 0:
            x_s = x_s + noise * sde.sigma(s) * jnp.sqrt(-jnp.expm1(-2 * eta * h)) * _normal(key, x_t)
        return x_s, (x0, h)

    return Solver(init, step)


def langevin(sde: SDE, snr: float = 0.16) -> Solver:
    """A Langevin step at the level s: the corrector of Song et al. (2021), algorithms 4 and 5.

    Their step size has 1 / |score|^2 in it. A step that depends on x changes the stationary law, here from p
    to p |score|^2: 1 + 2 / (J D) times the variance. So |z| / |score| is taken as sigma_s, as noise has it.
    """
    if snr <= 0:
        raise ValueError(f"langevin needs snr > 0, got {snr}")

    def step(key: Key, x_t: Array, t: Array, s: Array, predict: StepPredictFn) -> Array:
        size = 2 * (snr * sde.sigma(s)) ** 2
        return x_t + size * predict(x_t, s).score + jnp.sqrt(2 * size) * _normal(key, x_t)

    return one_step(step)


def predictor_corrector(predictor: Solver, corrector: Solver) -> Solver:
    """A predictor's step from t to s, then a corrector's step at s."""

    def init(x: Array) -> Memory:
        return predictor.init(x), corrector.init(x)

    def step(key: Key, x_t: Array, memory: Memory, t: Array, s: Array, predict: StepPredictFn):
        first_key, second_key = jax.random.split(key)
        x_s, first = predictor.step(first_key, x_t, memory[0], t, s, predict)
        x_s, second = corrector.step(second_key, x_s, memory[1], s, s, predict)
        return x_s, (first, second)

    return Solver(init, step)


def fixed_times(sde: SDE, num_steps: int) -> Array:
    """Times [num_steps + 1] of `fixed_euler`, evenly spaced, the last one twice: a step of no length ends it."""
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    times = jnp.linspace(sde.t_max, sde.t_min, num_steps)
    return jnp.concatenate([times, times[-1:]])


def fixed_euler(sde: SDE, num_steps: int, *, mean_flow: bool = False, known: Condition | None = None) -> Solver:
    """GFPose's step along `fixed_times`: Euler-Maruyama with dt = 1 / num_steps, and imputation (spec/gfpose.md, 5.1).

    known: condition whose observed coordinates are held before and after every step, or None.
    """
    dt = 1 / num_steps
    hold = (lambda key, x, t: x) if known is None else replace(sde, known)

    def step(key: Key, x_t: Array, t: Array, s: Array, predict: StepPredictFn) -> Array:
        before, between, after = jax.random.split(key, 3)
        f, g2 = drift_diffusion(sde, t)
        x_t = hold(before, x_t, t)
        x_mean = x_t - dt * (f * x_t - g2 * predict(x_t, t).score)
        x = x_mean if mean_flow else x_mean + jnp.sqrt(g2 * dt) * _normal(between, x_t)
        x = hold(after, x, t)
        if known is not None:
            x_mean = jnp.where(known.mask > 0, sde.alpha(t) * known.value, x_mean)
        return jnp.where(s < t, x, x_mean)

    return one_step(step)


def _normal(key: Key, x: Array) -> Array:
    return jax.random.normal(key, x.shape, x.dtype)


def fresh_share(sde: SDE, t: Array, s: Array) -> Array:
    """q = 1 - SNR_t / SNR_s: which part of the noise at t came after s."""
    return -jnp.expm1(log_snr(sde, t) - log_snr(sde, s))
