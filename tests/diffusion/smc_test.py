"""What particles are made of: even resampling, effective numbers, a noised observation that is a path of the process.
Whole runs against exact posteriors are in tests/tasks/posterior_test.py."""

import jax
import jax.numpy as jnp
import laws
import numpy as np

from jaxpose.diffusion import time_grid
from jaxpose.diffusion.smc import effective_number, noised_path, systematic


def test_resampling_takes_every_particle_its_share_of_times():
    weights = np.array([0.5, 0.0, 0.26, 0.24])
    keys = jax.random.split(jax.random.key(0), 4000)
    taken = jax.jit(jax.vmap(lambda k: systematic(k, jnp.log(weights))))(keys)
    counts = (np.asarray(taken)[..., None] == np.arange(4)).sum(1)
    assert (counts >= np.floor(4 * weights)).all()
    assert (counts <= np.ceil(4 * weights)).all()
    np.testing.assert_allclose(counts.mean(0), 4 * weights, atol=0.04)


def test_effective_number_of_known_weights():
    for weights, expected in (([1, 1, 1, 1], 4), ([1, 0, 0, 0], 1), ([2, 1, 1, 0], 16 / 6)):
        got = effective_number(jnp.log(jnp.asarray(weights, jnp.float32)) - 1000)
        np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_a_noised_path_is_the_process_started_from_the_observation(x64):
    """x / alpha is a walk of independent increments: covariance of two levels = the lower one's variance."""
    sde, num = laws.PROCESSES["vp"], 20_000
    times = time_grid(sde, 5)
    value, noise = jnp.asarray([[0.5, -2.0]]), jnp.asarray([[0.0, 0.4]])
    path, held = jax.jit(jax.vmap(lambda k: noised_path(k, sde, value, noise, times)))(
        jax.random.split(jax.random.key(0), num)
    )
    level = np.asarray(sde.sigma(times) / sde.alpha(times))
    walk = np.asarray(path)[:, :, 0] / np.asarray(sde.alpha(times))[:, None] - np.asarray(value[0])
    lowest = level[np.abs(np.log(level / 0.4)).argmin()]
    np.testing.assert_array_equal(held[0, :, 0], np.stack([level >= 0, level >= lowest], -1))
    for d, own, last in ((0, 0.0, level[-1]), (1, 0.4, lowest)):
        np.testing.assert_allclose(walk[:, level == last, d], 0, atol=1e-9)  # there it is the value itself
        on = level > last
        variance = level[on] ** 2 - own**2
        found = np.cov(walk[:, on, d].T)
        scale = np.sqrt(np.outer(variance, variance))
        expected = np.minimum.outer(variance, variance)
        np.testing.assert_allclose(found / scale, expected / scale, atol=5 / num**0.5)
