"""Of our side, without PyTorch: DPoser's completion and denoising in JAX, and the numbers that our recipe draws."""

import jax
import jax.numpy as jnp
import optax

from jaxpose.base import Array, Condition, Key
from jaxpose.diffusion.minimise import minimise
from jaxpose.diffusion.regulariser import Schedule, regulariser, summed, unit
from jaxpose.geometry.body import Body, full_rotations
from jaxpose.model import Model


def completed(model: Model, key: Key, start: Array, known: Condition, num_steps: int) -> Array:
    """DPoser's completion of states [N, J, D], by our optimisation loop; step k draws with fold_in(key, k)."""
    sde, predict = model.spec.sde(), model.predict_fn()

    def energy(key: Key, x: Array, k: Array) -> Array:
        stage, t = 2 * k // num_steps, _TIMES(key, k, num_steps)
        data = (known.mask * jnp.square(x - known.value)).mean((-2, -1))
        each = 100 / (1 + stage) * data + (1 + stage) / 10 * regulariser(key, predict, sde, x, t)
        return each / len(x)  # the original's loss is a mean over the batch, which Adam's epsilon sees

    fitted = minimise(key, energy, start, optax.adam(0.1, 0.9, 0.99), num_steps).variables
    return jnp.where(known.mask > 0, known.value, fitted)


def _falling(key: Key, step: Array, total: int, t_max: float, t_min: float) -> Array:
    return t_min + (t_max - t_min) * (total - step - 1) / total


_TIMES = Schedule(_falling, (0.15, 0.05))  # the later code's, which begins a step below t_max


def draws_of(key: Key, num: int, steps: int, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """What `sample_hypotheses` of `diffusion.solvers.fixed_euler` draws: starts [H, ...] and noise [steps, H, ...]."""

    def one(h: Array) -> tuple[Array, Array]:
        start_key, key_h = jax.random.split(jax.random.fold_in(key, h))

        def step(i: Array) -> Array:
            step_key, _ = jax.random.split(jax.random.fold_in(key_h, i))
            return jax.random.normal(jax.random.split(step_key, 3)[1], shape)

        return jax.random.normal(start_key, shape), jax.vmap(step, out_axes=0)(jnp.arange(steps))

    begin, noise = jax.vmap(one)(jnp.arange(num))
    return begin, jnp.swapaxes(noise, 0, 1)


DENOISING = 180  # steps


def denoised(
    model: Model, body: Body, key: Key, start: Array, seen: Array, mean: Array, scale: Array, steps: int = DENOISING
) -> Array:
    """Body poses [N, F, 21, 3] by DPoser's denoising; step k draws with fold_in(key, k). Arguments: recipes.denoise."""
    sde, predict = model.spec.sde(), model.predict_fn()

    def energy(key: Key, x: Array, k: Array) -> Array:
        stage, t = 3 * k // DENOISING, 0.05 + 0.2 * (DENOISING - k - 1) / DENOISING
        posed = body.shape().pose(full_rotations(body, x))
        vertices = posed.skin()
        data = _distance(posed.joints[..., :22, :] - seen).mean((1, 2))
        smooth = _distance(vertices[:, 1:] - vertices[:, :-1]).mean((1, 2))
        states = ((x - mean) / scale).reshape(-1, *x.shape[2:])
        prior = regulariser(key, predict, sde, states, t, weight=unit, reduction=summed).reshape(x.shape[:2]).mean(1)
        return 100 / (1 + stage**2) * data + 10 * (1 + stage) * smooth + (1 + stage) / 10 * prior

    return minimise(key, energy, start, optax.adam(0.03), steps).variables


def _distance(x: Array) -> Array:
    """The length [...] of vectors [..., 3], whose slope at 0 is 0, as PyTorch's."""
    square = jnp.square(x).sum(-1)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
