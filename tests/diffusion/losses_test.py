"""The denoising loss: its known minimum at the oracle, a flat gradient there, and the laws of its times."""

import functools

import jax
import jax.numpy as jnp
import laws
import numpy as np
import pytest
from scipy import stats
from shared import refuses

from jaxpose.base import Condition, Example
from jaxpose.diffusion import denoising_loss, drift_diffusion, log_snr, log_snr_times, sub_vp, uniform_times
from jaxpose.diffusion.losses import next_state

pytestmark = pytest.mark.usefixtures("x64")

LAW = laws.correlated()
NUM = 4000
SDE = sub_vp()


def draw_examples(key):
    noise = jax.random.normal(key, (NUM, 4))
    x0 = LAW.means[0].ravel() + noise * np.sqrt(LAW.values[0]) @ LAW.vectors[0].T
    x0 = x0.reshape(NUM, *laws.SHAPE)
    return Example(x0, Condition(jnp.zeros_like(x0), jnp.zeros_like(x0)))


@functools.partial(jax.jit, static_argnames="weighting")
def oracle_losses(t, weighting):
    """The loss at time t of every one of NUM examples, of the network that knows their law."""
    oracle, keys = laws.oracle(LAW, SDE), jax.random.split(jax.random.key(1), NUM)

    def one(key, example):
        return denoising_loss(key, lambda x, t, cond: oracle(x, t).eps, SDE, example, weighting=weighting, t=t)[0]

    return jax.vmap(one)(keys, draw_examples(jax.random.key(0)))


def assert_mean(samples, expected):
    error = samples.std(0) / np.sqrt(len(samples))
    assert (np.abs(samples.mean(0) - expected) < 4 * error).all(), (samples.mean(0), expected, error)


@jax.jit
def described(t):
    return SDE.alpha(t), SDE.sigma(t), drift_diffusion(SDE, t)[1]


WEIGHTS = {
    "eps": lambda alpha, sigma, g2: 1,
    "x0": lambda alpha, sigma, g2: sigma**2 / alpha**2,
    "min_snr": lambda alpha, sigma, g2: min(1, 5 * sigma**2 / alpha**2),
    "v": lambda alpha, sigma, g2: (alpha**2 + sigma**2) ** 2 / alpha**2,
    "score_likelihood": lambda alpha, sigma, g2: g2 / sigma**2,
}


@pytest.mark.parametrize("weighting", WEIGHTS)
@pytest.mark.parametrize("time", [0.05, 0.3, 0.8])
def test_minimum_is_the_trace_formula(weighting, time):
    """E 1/2 |eps - E[eps | x_t]|^2 = 1/2 tr(alpha^2 S (alpha^2 S + sigma^2)^-1), times the weight."""
    t = jnp.asarray(time)
    alpha, sigma, g2 = (float(v) for v in described(t))
    signal = alpha**2 * LAW.covs[0]
    least = np.trace(np.linalg.solve(signal + sigma**2 * np.eye(4), signal)) / 2
    assert_mean(oracle_losses(t, weighting), least * WEIGHTS[weighting](alpha, sigma, g2))


def test_edm_weighs_the_error_of_what_the_network_puts_out():
    """1/2 |f - f_hat|^2 with f = (x0 - best linear guess) r / (sigma s), of coordinates with spreads s."""
    spread, t = np.array([[0.3, 1.0], [2.0, 0.6]]), jnp.asarray(0.35)
    example = jax.tree.map(lambda x: x[0], draw_examples(jax.random.key(4)))
    alpha, sigma = SDE.alpha(t), SDE.sigma(t)
    said, shown = jnp.full(laws.SHAPE, 0.7), []

    def apply(x, t, cond):
        shown.append(x)
        return said

    got, _ = denoising_loss(jax.random.key(5), apply, SDE, example, target="edm", weighting="edm", spread=spread, t=t)
    r = np.sqrt((alpha * spread) ** 2 + sigma**2)
    f = (example.x0 - alpha * spread**2 / r * shown[0]) * r / (sigma * spread)
    np.testing.assert_allclose(got, ((f - said) ** 2).sum() / 2, rtol=1e-8)


def test_gradient_vanishes_at_the_oracle_and_only_there():
    oracle = laws.oracle(LAW, SDE)

    def loss(theta, key, example):
        def apply(x, t, cond):
            return oracle(x, t).eps + theta[0] * x + theta[1] + theta[2] * t * x[::-1]

        return denoising_loss(key, apply, SDE, example)[0]

    @jax.jit
    def gradients(theta):
        keys = jax.random.split(jax.random.key(3), NUM)
        return jax.vmap(jax.grad(loss), (None, 0, 0))(theta, keys, draw_examples(jax.random.key(2)))

    assert_mean(gradients(jnp.zeros(3)), np.zeros(3))
    away = gradients(jnp.full(3, 0.1))
    assert (away.mean(0) > 8 * away.std(0) / np.sqrt(NUM)).all()


def test_one_opinion_has_one_loss_whatever_the_target():
    """And the condition reaches the network; the time may come from the caller or from `times`."""
    x0 = jnp.asarray([[0.2, -0.4], [1.0, 0.3]])
    example, oracle, t = Example(x0, Condition(x0, 0 * x0)), laws.oracle(LAW, SDE), jnp.asarray(0.4)
    alpha, sigma = SDE.alpha(t), SDE.sigma(t)

    def say(target):
        def apply(x, t, cond):
            x0, eps, score = oracle(x, t)
            x0, eps, score = (x0 + cond.value, eps - alpha / sigma * cond.value, score + alpha / sigma**2 * cond.value)
            return {"eps": eps, "x0": x0, "score": score, "v": alpha * eps - sigma * x0}[target]

        return apply

    key = jax.random.key(5)
    got = [
        denoising_loss(key, say(target), SDE, example, target=target, t=t)[0] for target in ("eps", "x0", "v", "score")
    ]
    got.append(denoising_loss(key, say("eps"), SDE, example, times=lambda key: t)[0])
    blind = denoising_loss(key, lambda x, t, cond: oracle(x, t).eps, SDE, example, t=t)[0]
    np.testing.assert_allclose(got, got[0], rtol=1e-9)
    assert abs(got[0] - blind) > 1e-3


@pytest.mark.parametrize(
    ("times", "uniform"),
    [
        (uniform_times(SDE), lambda t: (t - 1e-3) / (1 - 1e-3)),
        (uniform_times(SDE, 1e-5), lambda t: (t - 1e-5) / (1 - 1e-5)),
        (
            log_snr_times(SDE),
            lambda t: (log_snr(SDE, t) - log_snr(SDE, 1.0)) / (log_snr(SDE, 1e-3) - log_snr(SDE, 1.0)),
        ),
    ],
)
def test_times_have_their_law(times, uniform):
    t = jax.jit(jax.vmap(times))(jax.random.split(jax.random.key(0), 4000))
    assert stats.kstest(np.asarray(uniform(t)), "uniform").pvalue > 0.01
    assert (t >= 1e-5).all()
    assert (t <= 1).all()


@pytest.mark.parametrize("num_steps", [1, 4, 50])
def test_the_error_of_the_next_state_is_that_of_the_flow_one_step_on(num_steps):
    """h_{k-1} of the truth and of the prediction, written out: the same noise, carried to the level before."""
    example, t = Example(jnp.ones((2, 3)), None), 0.6
    alpha, sigma = float(SDE.alpha(t)), float(SDE.sigma(t))
    s = max(t - 1 / num_steps, 0.0)
    seen = {}

    def apply(x, t, cond):
        seen["x"] = x
        return jnp.full_like(x, 0.3)  # a guess of the noise

    value, _ = denoising_loss(jax.random.key(0), apply, SDE, example, weighting=next_state(num_steps), t=t)
    x = np.asarray(seen["x"])
    truth, guess = 1.0, (x - sigma * 0.3) / alpha
    next_of = lambda x0: float(SDE.alpha(s)) * x0 + float(SDE.sigma(s)) * (x - alpha * x0) / sigma  # noqa: E731
    np.testing.assert_allclose(value, 0.5 * ((next_of(truth) - next_of(guess)) ** 2).sum(), rtol=1e-6)
    refuses("next_state needs num_steps >= 1, got 0", next_state, 0)
