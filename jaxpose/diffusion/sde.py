"""Diffusion processes: x_t = alpha(t) x_0 + sigma(t) z, and what follows from these two functions.

    dx  = f(t) x dt + g(t) dw,    f = d log(alpha)/dt,    g^2 = d sigma^2/dt - 2 f sigma^2

    VE      alpha = 1               sigma = sigma_min (sigma_max / sigma_min)^t
    VP      alpha = exp(L)          sigma = sqrt(1 - exp(2 L))       L(t) = -t^2 (b1 - b0) / 4 - t b0 / 2
    sub-VP  alpha = exp(L)          sigma = 1 - exp(2 L)

The log signal-to-noise ratio log(alpha^2 / sigma^2) falls strictly in t, and g^2 = -sigma^2 times its slope.

Source: Song et al., Score-based generative modeling through SDEs (2021), appendix B; Ho et al., DDPM (2020)
for `from_betas`; Karras et al., EDM (2022), eq. 5 for the low-noise grid.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Key

# EDM, section 3: the exponent that spreads truncation error evenly over the noise levels of images.
LOW_NOISE_RHO = 7.0


class SDE(NamedTuple):
    """A process: mean coefficient and standard deviation as functions of time, and its range.

    alpha, sigma: element-wise functions of t (a scalar or any shape). t_min > 0, because sigma(0) may be 0.
    To start from a lower noise level, `sde._replace(t_max=t)`. Close over it, do not pass it through jit.
    """

    alpha: Callable[[Array], Array]
    sigma: Callable[[Array], Array]
    t_min: float
    t_max: float | Array


def ve(sigma_min: float = 0.01, sigma_max: float = 50.0, *, t_min: float = 1e-5) -> SDE:
    """Variance exploding: no shrinking, noise rising geometrically from sigma_min at 0 to sigma_max at 1."""
    if not 0 < sigma_min < sigma_max:
        raise ValueError(f"ve needs 0 < sigma_min < sigma_max, got sigma_min={sigma_min}, sigma_max={sigma_max}")
    log_ratio = math.log(sigma_max / sigma_min)
    return SDE(jnp.ones_like, lambda t: sigma_min * jnp.exp(log_ratio * t), t_min, 1.0)


def vp(beta_min: float = 0.1, beta_max: float = 20.0, *, t_min: float = 1e-3) -> SDE:
    """Variance preserving: alpha^2 + sigma^2 = 1, with a noise rate linear in t."""
    return _preserving(_linear_log_alpha(beta_min, beta_max), t_min)


def sub_vp(beta_min: float = 0.1, beta_max: float = 20.0, *, t_min: float = 1e-3) -> SDE:
    """Sub-variance-preserving: VP's mean with the smaller deviation 1 - alpha^2 (GFPose's process)."""
    log_alpha = _linear_log_alpha(beta_min, beta_max)
    return SDE(lambda t: jnp.exp(log_alpha(t)), lambda t: -jnp.expm1(2 * log_alpha(t)), t_min, 1.0)


def from_betas(betas: Sequence[float] | np.ndarray) -> SDE:
    """A discrete DDPM schedule [N] made continuous: index i = 0 .. N-1 is t = (i + 1) / N; t_min = 1 / N.

    log alpha_bar is interpolated by a monotone cubic (slopes limited after Fritsch and Carlson, 1980), exact at every
    index.
    """
    betas = np.asarray(betas, np.float64)
    if betas.ndim != 1 or len(betas) < 2 or not ((betas > 0) & (betas < 1)).all():
        raise ValueError(f"from_betas needs two or more betas [N], each in (0, 1), got {betas!r}")
    num = len(betas)
    rise = 0.5 * np.log1p(-betas)  # of log alpha over one index
    node = np.concatenate([[0.0], np.cumsum(rise)])
    # the central slope, at most twice the flatter neighbour's: never rises
    inner = np.maximum((rise[1:] + rise[:-1]) / 2, 2 * np.maximum(rise[1:], rise[:-1]))
    slope = np.concatenate([rise[:1], inner, rise[-1:]])
    cubic = np.stack([node[:-1], slope[:-1], 3 * rise - 2 * slope[:-1] - slope[1:], slope[:-1] + slope[1:] - 2 * rise])

    def log_alpha(t: Array) -> Array:
        place = jnp.asarray(t) * num
        index = jnp.clip(jnp.floor(place), 0, num - 1)
        u = place - index
        c0, c1, c2, c3 = jnp.asarray(cubic, u.dtype)[:, index.astype(int)]
        return c0 + u * (c1 + u * (c2 + u * c3))

    return _preserving(log_alpha, 1 / num)


def _linear_log_alpha(beta_min: float, beta_max: float) -> Callable[[Array], Array]:
    if not 0 < beta_min <= beta_max:
        raise ValueError(f"a process needs 0 < beta_min <= beta_max, got {beta_min} and {beta_max}")
    return lambda t: -t * (t * (beta_max - beta_min) / 4 + beta_min / 2)


def _preserving(log_alpha: Callable[[Array], Array], t_min: float) -> SDE:
    # expm1: 1 - exp(2 L) loses 1 % to float32 rounding at t = 1e-5
    return SDE(
        lambda t: jnp.exp(log_alpha(t)), lambda t: jnp.sqrt(-jnp.expm1(2 * log_alpha(t))), t_min=t_min, t_max=1.0
    )


def log_snr(sde: SDE, t: Array) -> Array:
    """log(alpha^2 / sigma^2), element-wise in t; falls strictly."""
    t = floating(t)
    return 2 * (jnp.log(sde.alpha(t)) - jnp.log(sde.sigma(t)))


def drift_diffusion(sde: SDE, t: Array) -> tuple[Array, Array]:
    """(f, g^2) of dx = f x dt + g dw at t, element-wise, by differentiating alpha and sigma."""
    t = floating(t)
    ones = jnp.ones_like(t)
    _, f = jax.jvp(lambda t: jnp.log(sde.alpha(t)), (t,), (ones,))
    _, slope = jax.jvp(lambda t: log_snr(sde, t), (t,), (ones,))
    return f, -(sde.sigma(t) ** 2) * slope


def time_at(sde: SDE, target: Array) -> Array:
    """The time in [t_min, t_max] at which log_snr is `target` (any shape), by bisection; clipped."""
    target = floating(target)
    low, high = jnp.full_like(target, sde.t_min), jnp.full_like(target, sde.t_max)

    def halve(_: int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        cleaner = log_snr(sde, middle) > target
        return jnp.where(cleaner, middle, low), jnp.where(cleaner, high, middle)

    # enough halvings of [0, 1] to separate neighbouring numbers at t = 1e-5; an accelerator makes one kernel of them
    num_halvings = 20 + jnp.finfo(target.dtype).nmant
    return jax.lax.fori_loop(0, num_halvings, halve, (low, high), unroll=jax.default_backend() != "cpu")[1]


def perturb(key: Key, sde: SDE, x0: Array, t: Array) -> tuple[Array, Array]:
    """Draw x_t given x0 [..., J, D] at the scalar time t: (x_t, eps) with x_t = alpha x0 + sigma eps."""
    eps = jax.random.normal(key, x0.shape, x0.dtype)
    return sde.alpha(t) * x0 + sde.sigma(t) * eps, eps


def prior_sample(key: Key, sde: SDE, shape: tuple[int, ...]) -> Array:
    """Noise at the end of the process, N(0, sigma(t_max)^2), [*shape]: the start of sampling."""
    noise = jax.random.normal(key, shape)
    return sde.sigma(jnp.asarray(sde.t_max, noise.dtype)) * noise


def time_grid(sde: SDE, num_steps: int, spacing: str = "log_snr") -> Array:
    """Solver times [num_steps + 1] falling from t_max to t_min.

    spacing: "uniform" in t, "log_snr" uniform in the log signal-to-noise ratio, or "low_noise": uniform in
    (sigma / alpha)^(1/7), dense where there is little noise left (EDM, eq. 5).
    """
    if num_steps < 1:
        raise ValueError(f"time_grid needs num_steps >= 1, got {num_steps}")
    if spacing not in SPACINGS:
        raise ValueError(f"time_grid: unknown spacing {spacing!r}; must be one of {', '.join(SPACINGS)}")
    times = SPACINGS[spacing](sde, jnp.linspace(0, 1, num_steps + 1))
    return times.at[0].set(sde.t_max).at[-1].set(sde.t_min)


def _log_snr(sde: SDE, u: Array) -> Array:
    first, last = log_snr(sde, jnp.asarray([sde.t_max, sde.t_min]))
    return time_at(sde, first + u * (last - first))


def _low_noise(sde: SDE, u: Array) -> Array:
    # -2 rho log(level) is the log signal-to-noise ratio of a level (sigma / alpha)^(1 / rho)
    first, last = jnp.exp(log_snr(sde, jnp.asarray([sde.t_max, sde.t_min])) / (-2 * LOW_NOISE_RHO))
    return time_at(sde, -2 * LOW_NOISE_RHO * jnp.log(first + u * (last - first)))


# name -> (sde, u [T+1] rising from 0 to 1) -> times [T+1]
SPACINGS: dict[str, Callable[[SDE, Array], Array]] = {"log_snr": _log_snr, "low_noise": _low_noise}
SPACINGS["uniform"] = lambda sde, u: sde.t_max + u * (sde.t_min - sde.t_max)


def floating(t: Array) -> Array:
    """`t` as an array of floating-point numbers."""
    t = jnp.asarray(t)
    return t if jnp.issubdtype(t.dtype, jnp.floating) else t.astype(float)
