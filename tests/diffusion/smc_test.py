"""What particles are made of: even resampling, effective numbers, a noised observation that is a path of the process.
Whole runs against exact posteriors are in tests/tasks/posterior_test.py."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.diffusion.smc import effective_number, systematic


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
