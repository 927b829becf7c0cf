"""The DPoser regulariser against its formulas: the gradient, the weights, the schedules."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import SHAPE, correlated, oracle

from jaxpose.base import Prediction
from jaxpose.diffusion import regulariser as prior
from jaxpose.diffusion import sub_vp
from jaxpose.diffusion.prediction import from_x0
from jaxpose.diffusion.regulariser import regulariser

pytestmark = pytest.mark.usefixtures("x64")

SDE = sub_vp()
LAW = correlated()
T = 0.2


def alpha_sigma(t):
    """Sub-VP's, written out."""
    log_alpha = -(t**2) * (20 - 0.1) / 4 - t * 0.1 / 2
    return math.exp(log_alpha), 1 - math.exp(2 * log_alpha)


@pytest.mark.parametrize("reduction", [prior.averaged, prior.summed])
@pytest.mark.parametrize(
    ("weight", "of"),
    [
        (prior.unit, lambda r: 0.5),
        (prior.snr, lambda r: 0.5 * math.sqrt(1 + r)),
        (prior.snr_squared, lambda r: 0.5 * math.sqrt(1 + r**2)),
    ],
)
def test_value_and_gradient_are_the_paper_s(weight, of, reduction):
    """dL/dx0 = 2 w (x0 - x0_hat) = 2 w sigma / alpha (eps - z), with the noise z that was drawn."""
    rng = np.random.default_rng(0)
    x0, key = jnp.asarray(rng.normal(size=(3, *SHAPE))), jax.random.key(4)
    predict = oracle(LAW, SDE)
    options = {"weight": weight, "reduction": reduction}
    each = regulariser(key, predict, SDE, x0, T, **options)
    slope = jax.grad(lambda x: regulariser(key, predict, SDE, x, T, **options).sum())(x0)
    alpha, sigma = alpha_sigma(T)
    z = jax.random.normal(key, x0.shape, x0.dtype)
    opinion = predict(alpha * x0 + sigma * z, jnp.asarray(T))
    share = 1 / 4 if reduction is prior.averaged else 1
    w = of(alpha / sigma) * share
    np.testing.assert_allclose(each, w * np.square(x0 - opinion.x0).sum((1, 2)), rtol=1e-6)
    np.testing.assert_allclose(slope, 2 * w * sigma / alpha * (opinion.eps - z), rtol=1e-6)


def test_nothing_flows_through_the_network():
    """A network that steepens its input by 1e6, whose answer is the same: the gradient does not notice."""

    def steep(x_t, t, cond):
        return from_x0(SDE, x_t, t, jnp.sin(1e6 * (x_t - jax.lax.stop_gradient(x_t))))

    def says_zero(x_t, t, cond):
        return Prediction(jnp.zeros_like(x_t), x_t, x_t)

    x0 = jnp.ones((2, *SHAPE))
    one, other = (
        jax.grad(lambda x, f=f: regulariser(jax.random.key(0), f, SDE, x, T).sum())(x0) for f in (steep, says_zero)
    )
    np.testing.assert_array_equal(one, other)
    slope = jax.grad(lambda a: regulariser(jax.random.key(0), lambda x, t, c: steep(a * x, t, c), SDE, x0, T).sum())
    assert float(slope(1.0)) == 0


def test_poses_have_noise_of_their_own_and_do_not_see_each_other():
    x0 = jnp.zeros((2, *SHAPE))
    value = regulariser(jax.random.key(0), oracle(LAW, SDE), SDE, x0, T)
    assert value[0] != value[1]
    moved = regulariser(jax.random.key(0), oracle(LAW, SDE), SDE, x0.at[1].add(1), T)
    assert moved[0] == value[0]


def values(schedule, total):
    return np.asarray(jax.jit(jax.vmap(lambda k: schedule(jax.random.key(0), k, total)))(jnp.arange(total)))


@pytest.mark.parametrize(("high", "low"), [(0.3, 0.05), (0.15, 0.05), (0.2, 0.01), (0.12, 0.08)])
def test_the_falling_schedules(high, low):
    """The paper's, from t_max to t_min."""
    np.testing.assert_allclose(values(prior.truncated(high, low), 50), np.linspace(high, low, 50), rtol=1e-6)
    assert values(prior.truncated(high, low), 1)[0] == pytest.approx(high)
    np.testing.assert_allclose(values(prior.fixed(high), 3), high)


def test_schedules_of_the_same_numbers_are_one_static_value():
    """Those of different kinds are not, though their numbers are alike."""
    assert prior.truncated(0.3, 0.1) == prior.truncated(0.3, 0.1)
    assert hash(prior.truncated(0.3, 0.1)) == hash(prior.truncated(0.3, 0.1))
    assert len({prior.truncated(0.3, 0.1), prior.truncated(0.3, 0.2), prior.fixed(0.3)}) == 3
