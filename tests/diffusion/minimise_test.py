"""The loop of every fit, on energies whose minima are known."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpose.diffusion.minimise import minimise

CENTRE = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
STIFF = jnp.array([1.0, 4.0, 0.3, 10.0])


class Pair(NamedTuple):
    x: jax.Array
    y: jax.Array


def bowl(key, x, k):
    """Minimum 7 at CENTRE, item by item as stiff as STIFF."""
    return 7 + STIFF / 2 * jnp.square(x - CENTRE).sum(-1)


def noisy(key, x, k):
    return jnp.square(x - jax.random.normal(key, ())).sum(-1)


def test_a_bowl_s_minimum_and_its_energy():
    tx = optax.adam(optax.cosine_decay_schedule(0.1, 400))
    found = minimise(jax.random.key(0), bowl, jnp.zeros((4, 3)), tx, 400)
    np.testing.assert_allclose(found.variables, CENTRE, atol=1e-3)
    np.testing.assert_allclose(found.energy, 7, atol=1e-4)
    np.testing.assert_array_equal(found.num_steps, 400)


def test_plain_descent_is_the_geometric_series():
    """x_S - c = (1 - rate * stiff)^S (x_0 - c); the energy is that before the last step."""
    found = minimise(jax.random.key(0), bowl, jnp.zeros((4, 3)), optax.sgd(0.05), 7)
    left = (1 - 0.05 * STIFF[:, None]) ** jnp.array([6, 7])
    np.testing.assert_allclose(found.variables, CENTRE * (1 - left[:, 1:]), rtol=1e-4)
    np.testing.assert_allclose(found.energy, 7 + STIFF / 2 * jnp.square(CENTRE * left[:, :1]).sum(-1), rtol=1e-5)


def test_a_batch_is_its_items_one_by_one():
    def energy(centre):
        return lambda key, x, k: jnp.square(jnp.sin(x - centre)).sum(-1)

    run = lambda centre: minimise(  # noqa: E731
        jax.random.key(0), energy(centre), jnp.zeros(centre.shape), optax.adam(0.1), 30, tolerance=0.1, patience=3
    )
    batch = run(CENTRE)
    assert len(set(batch.num_steps.tolist())) > 1
    for n in range(4):
        alone = run(CENTRE[n : n + 1])
        assert alone.num_steps[0] == batch.num_steps[n]
        np.testing.assert_allclose(alone.variables[0], batch.variables[n], rtol=1e-6)
        np.testing.assert_allclose(alone.energy[0], batch.energy[n], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("tolerance", [1e-3, 0.2])
def test_items_that_stand_still_are_frozen_and_others_go_on(tolerance):
    """Item 0 is at its minimum of 1 from the start: frozen after `patience` steps without improvement, and before it
    has drifted; item 1 falls for ever; item 2 falls for 20 steps."""

    def energy(key, x, k):
        flat = 1 + 0 * x[:, 0]
        falling = jnp.exp(-x[:, 0])
        stops = jnp.where(k < 20, jnp.exp(-x[:, 0]), jnp.exp(-x[:, 0]) * 0 + 1)
        return jnp.stack([flat[0], falling[1], stops[2]])

    found = minimise(
        jax.random.key(0), energy, jnp.zeros((3, 1)), optax.sgd(lambda k: 1.0 + k), 60, tolerance=tolerance, patience=5
    )
    assert found.num_steps[0] == 6
    assert found.num_steps[1] == 60 if tolerance < 0.1 else found.num_steps[1] > 6
    assert found.variables[0, 0] == 0
    assert 20 < found.num_steps[2] < 40


def test_what_is_not_trainable_stays():
    energy = lambda key, v, k: jnp.square(v.x - 2).sum(-1) + jnp.square(v.y + v.x).sum(-1)  # noqa: E731
    start = Pair(jnp.zeros((3, 2)), jnp.ones((3, 2)))
    held = minimise(jax.random.key(0), energy, start, optax.sgd(0.1), 200, trainable=Pair(x=False, y=True))
    np.testing.assert_array_equal(held.variables.x, start.x)
    np.testing.assert_allclose(held.variables.y, 0, atol=1e-5)
    both = minimise(jax.random.key(0), energy, start, optax.sgd(0.1), 200)
    np.testing.assert_allclose(both.variables.y, -2, atol=1e-4)


def test_step_k_draws_from_its_own_key():
    """One step of rate 1/2 down (x - z)^2 sets x to z, so the last z is what comes out."""
    key = jax.random.key(3)
    found = minimise(key, noisy, jnp.zeros((2, 1)), optax.sgd(0.5), 4)
    np.testing.assert_allclose(found.variables, jax.random.normal(jax.random.fold_in(key, 3), ()), rtol=1e-6)
