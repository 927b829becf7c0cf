"""The original DPoser's samplers, its inverse solvers and its completion, for comparison with its numbers.

Samplers (spec/dposer.md, section 5), N steps from t = 1 to t_min with dt = 1 / N, whatever t_min is:

    x    += e score + sqrt(2 e) z                                          Langevin, where `snr` is given
    x     = (1 - M) x + M (alpha y + sigma z)                              where `project`
    mean  = x - (f x - g^2 score) dt - d/dx |M (y - x0_hat)|               the last term where `pull`
    x     = mean + g sqrt(dt) z
    x     = (1 - M) x + M (alpha y + sigma z)                              where `project`
    result: the last mean, neither noised nor projected

    e = 2 (1 - beta(t') / N) (snr E|z| / E|score|)^2,   t' = floor(t (N - 1)) / (N - 1),   E over the whole batch
    d/dx |M (y - x0_hat)| = -M (y - x0_hat) / (alpha |M (y - x0_hat)|),  the norm over the whole batch

    ScoreSDE  project           "DPS"  pull           "MCG"  both, which is ScoreSDE again

These are the baselines of DPoser's evaluation: the gradient treats the score as a constant, so it reaches observed
numbers alone, and a projection overwrites those. They are not the DPS and MCG of their authors, who differentiate
through the network. Poses of a batch are coupled by both norms: a batch is leading axes of x, not a vmap.

Completion (section 7.2): Adam on the whole normalised pose, from y with noise where hidden, in stages i = 0, 1 of 100
steps each, with the regulariser of `diffusion/regulariser.py`:

    loss = 100 / (1 + i) mean(M (x - y)^2) + (1 + i) / 10 mean(w (x - x0_hat)^2),    w = sqrt(1 + alpha / sigma) / 2

and then y where observed. The schedule is the caller's: v1 `truncated_index(1000, 5, 2)`, v2
`truncated_range(0.3, 0.05)`, DPoser-X `truncated_range(0.15, 0.05)`. At step k of S (section 6):

    truncated_range   t_min + (t_max - t_min) (S - k - 1) / S                    the second code's: never at t_max
    truncated_index   node N - floor((S - k - 1) N / (trunc S)) - c of N falling from 1 to 1e-3      the first code's

The likelihood is `diffusion.flow.log_likelihood`, and the ODE sampler `diffusion.flow.decode`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxpose.base import Array, Condition, Key, PredictFn
from jaxpose.diffusion import SDE, Solver, drift_diffusion, replace
from jaxpose.diffusion.regulariser import Schedule, checked_range, regulariser
from jaxpose.diffusion.solvers import StepPredictFn, one_step

SNR = 0.16  # of the Langevin steps in v1's evaluation
_LEARNING_RATE = 0.1


def recipe(
    sde: SDE,
    num_steps: int,
    known: Condition | None = None,
    *,
    snr: float | None = None,
    project: bool = False,
    pull: bool = False,
) -> Solver:
    """The original's step as a solver for `fixed_times`; normalised numbers.

    sde:   its t_min is the original's eps: 1e-3 in its demo, 5e-3 in its evaluation.
    known: what is observed, for `project` and `pull`; the network itself is asked without a condition.
    snr:   of a Langevin step before every step; None: none.
    """
    if (project or pull) and known is None:
        raise ValueError("project and pull need a condition whose observed numbers they follow, got None")
    if snr is not None and num_steps < 20:
        raise ValueError(f"the Langevin step needs num_steps >= 20, for 1 - beta / N > 0, got {num_steps}")
    dt = 1 / num_steps

    def step(key: Key, x: Array, t: Array, s: Array, predict: StepPredictFn) -> Array:
        keys = jax.random.split(key, 4)
        if snr is not None:
            x = _langevin(keys[0], sde, num_steps, snr, x, t, predict)
        if project and known is not None:
            x = replace(sde, known)(keys[1], x, t)
        f, g2 = drift_diffusion(sde, t)
        prediction = predict(x, t)
        mean = x - dt * (f * x - g2 * prediction.score)
        if pull and known is not None:
            mean = mean + _towards(known, prediction.x0) / sde.alpha(t)
        x = mean + jnp.sqrt(g2 * dt) * jax.random.normal(keys[2], x.shape, x.dtype)
        if project and known is not None:
            x = replace(sde, known)(keys[3], x, t)
        return jnp.where(s < t, x, mean)

    return one_step(step)


def _langevin(key: Key, sde: SDE, num_steps: int, snr: float, x: Array, t: Array, predict: StepPredictFn) -> Array:
    """Langevin step at t; its size depends on the mean norms of noise and score over the whole batch."""
    noise, score = jax.random.normal(key, x.shape, x.dtype), predict(x, t).score
    index = jnp.floor(t / sde.t_max * (num_steps - 1))
    beta = -2 * drift_diffusion(sde, index / (num_steps - 1))[0]
    size = 2 * (1 - beta / num_steps) * (snr * _mean_norm(noise) / _mean_norm(score)) ** 2
    return x + size * score + jnp.sqrt(2 * size) * noise


def _mean_norm(x: Array) -> Array:
    return jnp.sqrt(jnp.square(x).sum((-2, -1))).mean()


def _towards(known: Condition, x0: Array) -> Array:
    """The unit vector, over the whole batch, to what is observed; 0 where it is reached."""
    missing = known.mask * (known.value - x0)
    return missing / jnp.maximum(jnp.linalg.norm(missing), jnp.finfo(x0.dtype).tiny)


def optimise_completion(
    key: Key,
    start: Array,
    known: Condition,
    predict_fn: PredictFn,
    sde: SDE,
    schedule: Schedule,
    *,
    num_steps: int = 200,
    num_stages: int = 2,
    b2: float = 0.99,
) -> Array:
    """The completion [..., J, D] that the original's optimiser finds from `start`.

    num_steps: over all stages, a multiple of num_stages. b2: Adam's second decay, 0.99 as in DPoser-X, 0.999 before.
    """
    if num_stages < 1 or num_steps < 1 or num_steps % num_stages:
        raise ValueError(f"num_steps: needed a positive multiple of {num_stages} stages, got {num_steps}")
    tx = optax.adam(_LEARNING_RATE, 0.9, b2)

    def loss(x: Array, key: Key, stage: Array, t: Array) -> Array:
        data = (known.mask * jnp.square(x - known.value)).mean()
        prior = regulariser(key, predict_fn, sde, x, t).mean()
        return 100 / (1 + stage) * data + (1 + stage) / 10 * prior

    def step(carry: tuple[Array, optax.OptState], i: Array) -> tuple[tuple[Array, optax.OptState], None]:
        x, memory = carry
        time_key, noise_key = jax.random.split(jax.random.fold_in(key, i))
        t = schedule(time_key, i, num_steps)
        slope = jax.grad(loss)(x, noise_key, i // (num_steps // num_stages), t)
        updates, memory = tx.update(slope, memory)
        return (x + updates, memory), None

    (x, _), _ = jax.lax.scan(step, (start, tx.init(start)), jnp.arange(num_steps))
    return jnp.where(known.mask > 0, known.value, x)


def truncated_range(t_max: float, t_min: float) -> Schedule:
    """Falling linearly to t_min from one step below t_max (the second and third code's schedule)."""
    return Schedule(_range, checked_range(t_max, t_min))


def truncated_index(num: int, trunc: float, last: int) -> Schedule:
    """The first code's: falling from about 1 / trunc to about last / num through nodes of linspace(1, 1e-3, num)."""
    if not (num >= 2 and trunc >= 1 and 1 <= last < num):
        raise ValueError(f"truncated_index needs num >= 2, trunc >= 1, 1 <= last < num; got {num}, {trunc}, {last}")
    return Schedule(_index, (num, trunc, last))


def _range(key: Key, step: Array, total: int, t_max: float, t_min: float) -> Array:
    return t_min + (t_max - t_min) * (total - step - 1) / total


def _index(key: Key, step: Array, total: int, num: int, trunc: float, last: int) -> Array:
    index = num - jnp.floor((total - step - 1) * (num / (trunc * total))).astype(int) - last
    return jnp.asarray(np.linspace(1.0, 1e-3, num))[jnp.clip(index, 0, num - 1)]
