"""Guidance on oracles: what a weight does to the opinion, and where inpainted coordinates end."""

import jax
import jax.numpy as jnp
import laws
import numpy as np
import pytest

from jaxpose.base import Condition
from jaxpose.diffusion import (
    classifier_free,
    dpmpp_2m,
    prior_sample,
    replace,
    sample,
    time_grid,
)

LAW = laws.correlated()


def conditional_oracle(sde):
    """Given a condition, the data's mean moves by value * mask (and by the sum of the context, if any)."""

    def predict(x, t, cond):
        shift = cond.value * cond.mask + (0 if cond.context is None else cond.context.sum())
        away = laws.oracle(LAW, sde)(x - sde.alpha(t) * shift, t)
        return away._replace(x0=away.x0 + shift)

    return predict


@pytest.mark.parametrize("context", [None, np.array([0.5, 0.25])])
@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("process", laws.PROCESSES)
def test_classifier_free_moves_the_mean_by_its_weight(x64, process, weight, context):
    """The views of a Gaussian are affine in its mean: weight w is the oracle of mean + w * shift."""
    sde = laws.PROCESSES[process]
    value = jnp.asarray([[1.0, -2.0], [0.5, 4.0]])
    mask = jnp.asarray([[1.0, 1.0], [0.0, 1.0]])
    cond = Condition(value, mask, None if context is None else jnp.asarray(context))
    shift = weight * (value * mask + (0 if context is None else context.sum()))
    expected = laws.oracle(laws.gaussian(LAW.means[0] + np.asarray(shift), LAW.covs[0]), sde)
    x, t = jnp.asarray(np.random.default_rng(0).normal(size=(3, *laws.SHAPE))), jnp.asarray(0.4)
    got = jax.jit(classifier_free(conditional_oracle(sde), weight))(x, t, cond)
    for a, b in zip(got, jax.jit(expected)(x, t), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_classifier_free_needs_a_condition():
    sde = laws.PROCESSES["vp"]
    with pytest.raises(ValueError, match="cond=None"):
        classifier_free(laws.oracle(LAW, sde), 2.0)(jnp.zeros(laws.SHAPE), jnp.float32(0.5), None)


@pytest.mark.parametrize("process", laws.PROCESSES)
def test_inpainted_coordinates_end_at_their_value_and_move_the_others(x64, process):
    """Two coordinates of correlation 0.9 and two independent ones; one of each pair is observed."""
    sde, num = laws.PROCESSES[process], 1500
    cov = np.eye(4)
    cov[0, 1] = cov[1, 0] = 0.9
    oracle = laws.oracle(laws.gaussian(np.zeros(laws.SHAPE), cov), sde)
    value, mask = np.array([[1.5, 0.0], [-1.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    cond = Condition(jnp.asarray(value), jnp.asarray(mask))
    x_init = prior_sample(jax.random.key(0), sde, (num, *laws.SHAPE))
    times = jnp.asarray(laws.grid(process, 60))
    run = jax.jit(
        lambda finish: sample(
            jax.random.key(1),
            x_init,
            oracle,
            dpmpp_2m(sde, eta=1.0),
            times,
            project=replace(sde, cond),
            finish=finish,
        ),
        static_argnums=0,
    )
    noise = float(sde.sigma(sde.t_min) / sde.alpha(sde.t_min))
    for finish in (True, False):
        x = np.asarray(run(finish))
        error = x[:, :, 0] - value[:, 0] * (1 if finish else float(sde.alpha(sde.t_min)))
        assert np.sqrt((error**2).mean()) < 1.1 * noise
        assert np.abs(error).max() < 5 * noise
    # the hidden partner follows (exactly: to 1.35; replacement falls short), the independent one does not
    assert 0.75 < x[:, 0, 1].mean() < 1.4
    assert abs(x[:, 1, 1].mean()) < 4 / np.sqrt(num) + 0.01
    np.testing.assert_allclose(x[:, 1, 1].std(), 1, rtol=0.08)


def test_replace_noises_the_observed_and_leaves_the_hidden():
    sde = laws.PROCESSES["sub_vp"]
    value, mask = jnp.asarray([[2.0, 0.0], [0.0, -1.0]]), jnp.asarray([[1.0, 0.0], [0.0, 1.0]])
    x = jnp.full((20_000, *laws.SHAPE), 7.0)
    s = jnp.float32(0.3)
    got = np.asarray(replace(sde, Condition(value, mask))(jax.random.key(0), x, s))
    assert (got[:, mask == 0] == 7.0).all()
    observed = got[:, mask == 1]
    np.testing.assert_allclose(
        observed.mean(0), sde.alpha(s) * value[mask == 1], atol=4 * sde.sigma(s) / 20_000**0.5
    )
    np.testing.assert_allclose(observed.std(0), sde.sigma(s), rtol=0.03)


def test_grid_used_here_is_the_library_s(x64):
    np.testing.assert_array_equal(laws.grid("vp", 60), time_grid(laws.PROCESSES["vp"], 60, "log_snr"))
