"""Few-step models on laws that are known: the energy score, the law of the draws, and what either loss teaches."""

import jax
import jax.numpy as jnp
import numpy as np
from shared import refuses

from jaxpose.base import Example, Prediction
from jaxpose.diffusion import vp
from jaxpose.diffusion.distill import draws, energy_loss, energy_score

SDE = vp(0.1, 20.0)
MEAN, STD = 0.7, 0.4
TIMES = (1.0, 0.2)


def opinion(x0):
    return Prediction(x0, x0, x0)


def flow_map(x, t, cond=None, mean=MEAN, std=STD):
    """Where the probability flow of N(mean, std^2) carries x_t in the end; of pure noise it is a draw."""
    alpha, sigma = SDE.alpha(t), SDE.sigma(t)
    return opinion(mean + std * (x - alpha * mean) / jnp.sqrt((alpha * std) ** 2 + sigma**2))


def keys(num, seed=0):
    return jax.random.split(jax.random.key(seed), num)


def test_energy_score_is_the_mean_distance_less_half_that_of_pairs():
    x = np.random.default_rng(0).normal(size=(4, 5, 3))
    y = np.random.default_rng(1).normal(size=(5, 3))

    def distance(v):
        return np.sqrt((v**2).sum(-1).mean()) + np.linalg.norm(v, axis=-1).mean()

    pairs = [distance(x[i] - x[j]) for i in range(4) for j in range(4) if i != j]
    expected = np.mean([distance(v - y) for v in x]) - np.mean(pairs) / 2
    # the distance is smooth at 0, so a draw is 0.2 mm from itself
    np.testing.assert_allclose(energy_score(jnp.asarray(x), jnp.asarray(y)), expected, atol=1e-4)
    refuses("M >= 2", energy_score, jnp.asarray(x[:1]), jnp.asarray(y))


def test_equal_draws_have_a_finite_derivative():
    gradient = jax.jit(jax.grad(energy_score))(jnp.zeros((3, 2, 3)), jnp.ones((2, 3)))
    assert bool(jnp.isfinite(gradient).all())
    assert float(abs(gradient).max()) > 0


def test_each_call_of_a_right_generator_draws_from_the_law():
    said = jax.jit(jax.vmap(lambda k: jnp.stack(draws(k, flow_map, SDE, TIMES, (2, 3), None))))(keys(5_000))
    np.testing.assert_allclose(said.mean((0, 2, 3)), MEAN, atol=0.015)
    np.testing.assert_allclose(said.std((0, 2, 3)), STD, atol=0.015)
    # another draw, of which the state keeps what alpha and sigma of its time let it
    first, second = (said[:, i].ravel() - MEAN for i in (0, 1))
    kept, noise = (float(f(jnp.float32(TIMES[1]))) for f in (SDE.alpha, SDE.sigma))
    expected = kept * STD / np.hypot(kept * STD, noise)
    np.testing.assert_allclose((first * second).mean() / STD**2, expected, atol=0.03)


def test_energy_loss_teaches_mean_and_spread():
    """From the start at mean 0 and spread 1, by plain gradient steps, at both calls."""

    def loss(params, key):
        data_key, key = jax.random.split(key)
        x0 = MEAN + STD * jax.random.normal(data_key, (2, 3))

        def predict(x, t, cond):
            shift, log_std = params[jnp.int32(t < 0.5)]
            alpha, sigma = SDE.alpha(t), SDE.sigma(t)
            noise = (x - alpha * MEAN) / jnp.sqrt((alpha * STD) ** 2 + sigma**2)
            return opinion(shift + jnp.exp(log_std) * noise)

        return energy_loss(key, predict, SDE, Example(x0, None), TIMES, lambda x: x, num_draws=4)[0]

    def step(params, i):
        batch = jax.random.split(jax.random.fold_in(jax.random.key(0), i), 128)
        gradient = jax.grad(lambda p: jax.vmap(loss, (None, 0))(p, batch).mean())(params)
        return params - 0.5 / (1 + i / 30) * gradient, None

    params = jax.jit(lambda: jax.lax.scan(step, jnp.zeros((2, 2)), jnp.arange(200))[0])()
    np.testing.assert_allclose(params[:, 0], MEAN, atol=0.03)
    np.testing.assert_allclose(jnp.exp(params[:, 1]), STD, atol=0.03)
