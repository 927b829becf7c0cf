"""How typical a pose is of a model's training poses, by how badly the model denoises it: cheap enough for every result.

    e(x0) = sum over levels k of (D_k / 2) |x0 - x0_hat(x0 + l_k z)|^2 / l_k^2,   the mean over fixed draws z

x0_hat is the network's answer under the null condition, l = sigma / alpha a level of noise in units of state, and
D = 2 log(l_{k+1} / l_k) the step of the log signal-to-noise ratio r = -2 log l. This is the midpoint rule of

    -log p(x0) = 1/2 integral of E |x0 - x0_hat|^2 / l^2  dr + const

so e is a negative log density in nats, after noise of half the first level and up to a constant, for 16 network calls;
the exact one, `tasks.score.log_density`, takes some 1,700. The draws are fixed, so that a pose has one e. Its
typicality is the share of training poses with a larger e, in percent (`python -m experiments.models.quantiles`).

A pose of joints is judged in the axes of a camera that is about level, as in training. A few-step
model is judged by its base. DiffPose has no score, and so no e: its poses are judged by a model that has one, such as
`load("pose17")`.

Source: Guo, Shamai and Verdu (2005) and Kong, Brekelmans and Ver Steeg, Information-theoretic diffusion (ICLR 2023) for
the integral; Graham et al., Denoising diffusion models for out-of-distribution detection (2023) for errors at many
levels.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import LEAST_PERCENTILE, Array, Hypotheses, Judge, Numbers
from jaxpose.compiled import check_shape, filled, part, size_for, traced
from jaxpose.diffusion import time_at
from jaxpose.diffusion.sampling import in_slices
from jaxpose.model import Model, able, needs, null_condition

# 12 mm to 0.8 m of joints, 5 % to 3 deviations of rotations. On poses lifted by pose17 (500 each of validation poses,
# these turned by 20 to 180 degrees, breakdance, idle and running people that it was not trained on), 0.05, 0.2 and 0.8
# together separate errors above 100 mm from others with an AUROC of 0.86, each single level with 0.79 to 0.85. Of new
# people's rotations fewer are flagged with a level above 1.
LEVELS = (0.05, 0.2, 0.8, 3.2)
_STEP = 2 * float(np.log(LEVELS[1] / LEVELS[0]))  # of the log signal-to-noise ratio; the levels are evenly apart
_DRAWS = 4  # 1 and 2 rank poses worse, 8 no better
_ROWS = 1024  # poses worked on at once


@needs("typicality", "score", "poses")
def denoising_error(model: Model, pose: Numbers) -> Array:
    """Denoising error [N] in nats of joints [N, J, 3] metres, or of body poses [N, 21, 3] axis-angle radians.

    Compiled once for a shape, and usable inside jit. pose: joints in the axes of a camera that looks roughly level at
    the person, about any origin; NaN where a pose has NaN. ValueError for other shapes, and for models that do not
    know the score.
    """
    num = model.spec.state_shape[0]
    note = "" if model.spec.space.representation else f" in the order of {model.skeleton.name}"
    check_shape("pose", pose, ("N", num, 3), note=note)
    count = len(pose)
    size = count if traced(model, pose) else size_for(count)
    return part(_error(model, filled(pose, count, size)), slice(count))


@jax.jit
def _error(model: Model, pose: Array) -> Array:
    sde, predict, cond = model.spec.sde(), model.predict_fn(), null_condition(model)
    states = model.encode(model.spec.space.centre(pose))
    moves = jnp.asarray(model.statistics.spread) > 0  # what never moved in training is left out, as of the density
    levels = jnp.asarray(LEVELS, states.dtype)
    times = time_at(sde, -2 * jnp.log(levels))
    # In float32, so that they are the same under JAX_ENABLE_X64, whose numbers are others.
    shape = (len(LEVELS), _DRAWS, 1, *model.spec.state_shape)
    draws = jax.random.normal(jax.random.key(0), shape, jnp.float32).astype(states.dtype)

    def of_rows(x0: Array) -> Array:
        def of_level(given: tuple[Array, Array, Array]) -> Array:
            level, t, z = given
            guess = predict(sde.alpha(t) * (x0 + level * z), t, cond).x0
            return jnp.where(moves, jnp.square((guess - x0) / level), 0).sum((-2, -1)).mean(0)

        return _STEP / 2 * jax.lax.map(of_level, (levels, times, draws)).sum(0)

    return in_slices(of_rows, states, _ROWS)


def can_judge(model: Model) -> bool:
    """Whether `typicality` takes the model: it knows the score, and its file has the quantiles of training poses."""
    judge = able(model, "score", "poses")
    return judge is not None and judge.typicality.size >= 2


@needs("typicality", "score", "poses")
def typicality(model: Model, pose: Numbers) -> Array:
    """Percentiles [N] in 0..100 of poses among training poses, by `denoising_error`; 0 is the least typical.

    pose: as of `denoising_error`, such as `found.mean` of `Hypotheses` of any model; NaN where a pose has NaN.
    ValueError where the model has no quantiles.
    """
    if model.typicality.size < 2:
        raise ValueError(
            f"typicality: {model.spec.name!r} has no quantiles of training poses; "
            "`python -m experiments.models.quantiles --out=FILE` measures them"
        )
    share = jnp.interp(denoising_error(model, pose), model.typicality, jnp.linspace(0, 100, model.typicality.size))
    return 100 - share


def judged(model: Model, result: Hypotheses) -> Hypotheses:
    """A result in camera axes with the model as its judge, where the model can be one and the result is no trace."""
    return result if traced(result) or not can_judge(model) else result._replace(judge=Judge(model, typicality))


def out_of_distribution(percentile: Array | np.ndarray, least: float = LEAST_PERCENTILE) -> Array | np.ndarray:
    """Which poses [N] are less typical than all but `least` % of training poses; those without a number are."""
    known = percentile if isinstance(percentile, np.ndarray) else jnp.asarray(percentile)
    return ~(known >= least)
