"""The regression lifter: what is hidden does not reach it, and its examples do not mix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.jobs.regressor import Regressor
from jaxpose.base import Condition


@pytest.fixture(scope="module")
def lifter():
    """(condition of 5 poses whose joint 4 and depth are hidden, function of a condition)."""
    value = jnp.asarray(np.random.default_rng(2).normal(size=(5, 17, 3)), jnp.float32)
    mask = jnp.ones((5, 17, 3)).at[..., 2].set(0).at[:, 4].set(0)
    cond = Condition(value, mask, jnp.ones((5, 17)))
    network = Regressor(32)
    params = network.init(jax.random.key(0), cond)
    return cond, jax.jit(lambda c: network.apply(params, c))


def test_the_regressor_does_not_see_what_is_hidden(lifter):
    cond, answer = lifter
    changed = cond._replace(value=cond.value + 9 * (1 - cond.mask))
    np.testing.assert_array_equal(answer(cond), answer(changed))
    # But that it is hidden, what is seen and how sure the detector is, it does see.
    for told in (
        cond._replace(mask=cond.mask.at[:, 4, 0].set(1)),
        cond._replace(value=cond.value.at[:, 5, 0].add(1)),
        cond._replace(context=cond.context.at[:, 5].set(0.2)),
    ):
        assert (jnp.abs(answer(told) - answer(cond)).max((1, 2)) > 1e-3).all()


def test_poses_of_a_batch_do_not_mix(lifter):
    cond, answer = lifter
    whole = answer(cond)
    assert jnp.abs(whole[0] - whole[1]).max() > 1e-2
    other = cond._replace(value=cond.value.at[1:].multiply(-3))
    np.testing.assert_allclose(answer(other)[0], whole[0], atol=1e-6)
