"""Predictions: every target under every process gives the same three views; noise that differs by joint."""

import jax
import jax.numpy as jnp
import laws
import numpy as np
import pytest

from jaxpose.diffusion import bind, sub_vp
from jaxpose.diffusion.prediction import from_x0, over_windows

pytestmark = pytest.mark.usefixtures("x64")

# what a network trained for each target would say of (x0, eps)
SAYS = {
    "eps": lambda x0, eps, alpha, sigma: eps,
    "x0": lambda x0, eps, alpha, sigma: x0,
    "v": lambda x0, eps, alpha, sigma: alpha * eps - sigma * x0,
    "score": lambda x0, eps, alpha, sigma: -eps / sigma,
}


@pytest.mark.parametrize("process", laws.PROCESSES)
@pytest.mark.parametrize("target", SAYS)
def test_every_target_gives_back_the_same_views(process, target):
    sde = laws.PROCESSES[process]
    x0, eps = np.random.default_rng(0).normal(size=(2, 3, *laws.SHAPE))
    for t in (sde.t_min, 0.1, 0.5, 1.0):
        t = jnp.asarray(t)
        alpha, sigma = sde.alpha(t), sde.sigma(t)
        raw = SAYS[target](x0, eps, alpha, sigma)
        got = bind(lambda x, t, cond, raw=raw: raw, sde, target)(alpha * x0 + sigma * eps, t, None)
        np.testing.assert_allclose(got.x0, x0, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(got.eps, eps, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(got.score, -eps / sigma, rtol=1e-8, atol=1e-8 / sigma)


@pytest.mark.parametrize("process", laws.PROCESSES)
def test_edm_of_zero_is_the_best_guess_of_independent_coordinates(process):
    """For data N(0, s^2) by coordinate the oracle is f = 0, and inputs have unit size."""
    sde = laws.PROCESSES[process]
    spread = np.array([[0.2, 1.0], [3.0, 0.5]])
    oracle = laws.oracle(laws.gaussian(np.zeros(laws.SHAPE), np.diag(spread.ravel() ** 2)), sde)
    shown = []

    def silent(x, t, cond):
        shown.append(x)
        return jnp.zeros_like(x)

    for t in (0.1, 0.7):
        t = jnp.asarray(t)
        noise = np.random.default_rng(1).normal(size=laws.SHAPE)
        x_t = noise * np.sqrt((sde.alpha(t) * spread) ** 2 + sde.sigma(t) ** 2)
        views = bind(silent, sde, "edm", spread)(x_t, t, None)
        np.testing.assert_allclose(shown[-1], noise, rtol=1e-10)
        for view, right in zip(views, oracle(x_t, t), strict=True):
            np.testing.assert_allclose(view, right, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("target", SAYS)
def test_a_bfloat16_network_does_not_lower_the_state(target):
    def network(x, t, cond):
        return jnp.ones_like(x, jnp.bfloat16)

    views = bind(network, sub_vp(), target)(jnp.zeros(laws.SHAPE, jnp.float32), jnp.float32(0.5), None)
    assert {view.dtype for view in views} == {jnp.dtype("float32")}


def test_oracle_score_is_the_gradient_of_its_log_density():
    """The oracle itself, by differentiating the mixture's log density, and Tweedie's formula for its x0."""
    law, sde = laws.two_modes(), sub_vp()
    x, t = jnp.asarray([[0.1, -0.3], [0.2, 0.05]]), jnp.asarray(0.3)
    alpha, sigma = sde.alpha(t), sde.sigma(t)

    def log_density(x):
        means, covs = alpha * law.means.reshape(2, 4), alpha**2 * law.covs + sigma**2 * np.eye(4)
        parts = jax.vmap(lambda m, c: jax.scipy.stats.multivariate_normal.logpdf(x.ravel(), m, c))(means, covs)
        return jax.scipy.special.logsumexp(parts, b=law.weights)

    got = jax.jit(laws.oracle(law, sde))(x, t)
    np.testing.assert_allclose(got.score, jax.jit(jax.grad(log_density))(x), rtol=1e-9)
    np.testing.assert_allclose(got.x0, (x + sigma**2 * got.score) / alpha, rtol=1e-9)
    np.testing.assert_allclose(got.eps, -sigma * got.score, rtol=1e-12)


def test_windows_share_one_prediction_which_is_bounded():
    """Two windows of three frames share one, the mean of what both predict; what is thrown far is held at 6 units."""
    sde, index = laws.PROCESSES["vp"], np.array([[0, 1, 2], [2, 3, 4]])
    of_window = np.array([1.0, 3.0])[:, None, None, None] * np.ones((2, 3, 2, 3))
    of_window[1, 2] = -1e5
    share = np.array([[1, 1, 0.5], [0.5, 1, 1]])
    t, x = jnp.float32(0.5), jnp.ones((5, 2, 3))
    predict = over_windows(lambda x, t, cond: from_x0(sde, x, t, jnp.asarray(of_window)), sde, index, share, 6.0)
    found = predict(x, t, None)
    np.testing.assert_allclose(found.x0[:, 0, 0], [1, 1, 2, 3, -6], rtol=1e-6)
    np.testing.assert_allclose(sde.alpha(t) * found.x0 + sde.sigma(t) * found.eps, x, atol=1e-5)
