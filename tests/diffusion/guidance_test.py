"""Guidance on oracles: what a weight does to the opinion, where inpainted coordinates end, and what a measurement
makes of the law: the exact posterior with pseudo-inverse guidance, the known bias of plain DPS."""

import jax
import jax.numpy as jnp
import laws
import numpy as np
import pytest

from jaxpose.base import Condition
from jaxpose.diffusion import classifier_free, dpmpp_2m, measurement, observed, prior_sample, replace, sample, time_grid
from jaxpose.diffusion.guidance import held
from jaxpose.diffusion.prediction import from_x0
from jaxpose.diffusion.sde import sub_vp

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
            jax.random.key(1), x_init, oracle, dpmpp_2m(sde, eta=1.0), times, project=replace(sde, cond), finish=finish
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


def test_held_coordinates_are_their_value_in_every_view():
    process = sub_vp()
    x, t = jax.random.normal(jax.random.key(0), (3, 4, 2)), jnp.float32(0.4)
    cond = Condition(jnp.full((4, 2), 0.7), jnp.zeros((4, 2)).at[1].set(1))

    def said(x, t, cond):
        return from_x0(process, x, t, jnp.sin(x))

    found, free = held(said, process)(x, t, cond), said(x, t, cond)
    np.testing.assert_array_equal(found.x0[:, 1], np.float32(0.7))
    np.testing.assert_array_equal(found.x0[:, [0, 2, 3]], free.x0[:, [0, 2, 3]])
    alpha, sigma = process.alpha(t), process.sigma(t)
    np.testing.assert_allclose(alpha * found.x0 + sigma * found.eps, x, atol=1e-6)
    np.testing.assert_allclose(found.score, -found.eps / sigma, atol=1e-6)


def test_grid_used_here_is_the_library_s(x64):
    np.testing.assert_array_equal(laws.grid("vp", 60), time_grid(laws.PROCESSES["vp"], 60, "log_snr"))


OBSERVED = Condition(jnp.asarray([[1.5, 0.0], [-1.0, 0.0]]), jnp.asarray([[1.0, 0.0], [1.0, 0.0]]))


def guided_law(process, predict, num_steps=300):
    """(mean, covariance) that the second-order stochastic solver makes of N(0, sigma(1)^2): exact, no sampling."""
    sde = laws.PROCESSES[process]
    run = laws.propagate(dpmpp_2m(sde, eta=1.0), lambda x, t: predict(x, t, None), num_steps)
    start = np.zeros(laws.SHAPE), np.eye(4) * float(sde.sigma(sde.t_max)) ** 2
    mean, cov = run(*start, laws.grid(process, num_steps))
    return np.asarray(mean), np.asarray(cov)


@pytest.mark.parametrize("process", ["ve", "sub_vp"])
def test_pseudo_inverse_guidance_lands_on_the_posterior(x64, process):
    """Independent data N(m, s^2), two of four numbers measured with noises of their own: mean and covariance."""
    sde, s, noise = laws.PROCESSES[process], 0.8, np.array([[0.5, 1.0], [1.2, 1.0]])
    prior = np.array([[0.3, -0.2], [0.1, 0.4]])
    oracle = laws.oracle(laws.gaussian(prior, np.eye(4) * s**2), sde)
    guided = measurement(oracle, sde, observed(OBSERVED), noise=noise, spread=s)
    mean, cov = guided_law(process, guided)
    gain = np.asarray(OBSERVED.mask) * s**2 / (s**2 + noise**2)
    np.testing.assert_allclose(mean, prior + gain * (OBSERVED.value - prior), atol=0.01)
    np.testing.assert_allclose(cov, np.diag(((1 - gain) * s**2).ravel()), atol=0.01)


def test_plain_dps_has_its_known_bias(x64):
    """For data N(0, 1), noise^2 = c (0.3 and 1): the closed form in guidance.py, which is not the posterior."""
    sde = laws.PROCESSES["vp"]
    oracle = laws.oracle(laws.gaussian(np.zeros(laws.SHAPE), np.eye(4)), sde)
    c = np.array([[0.3, 1.0], [1.0, 1.0]])
    mean, cov = guided_law("vp", measurement(oracle, sde, observed(OBSERVED), noise=np.sqrt(c), spread=0))
    np.testing.assert_allclose(mean, OBSERVED.value * (1 - np.exp(-1 / c)), atol=0.01)
    biased = c * (1 - np.exp(-2 / c)) / 2
    np.testing.assert_allclose(cov, np.diag(np.where(OBSERVED.mask, biased, 1).ravel()), atol=0.01)
    assert (c / (1 + c) - biased).min() > 0.06


@pytest.mark.parametrize("process", ["vp", "sub_vp"])
def test_measurement_moves_every_view_alike_and_through_the_network(x64, process):
    """The change of the score is alpha S C^-1 M' (y - x0) / variance: hidden numbers feel it, by their covariance."""
    sde, t, noise = laws.PROCESSES[process], jnp.asarray(0.3), 0.4
    oracle = laws.oracle(LAW, sde)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, *laws.SHAPE)))
    plain = oracle(x, t)
    got = measurement(oracle, sde, observed(OBSERVED), noise=noise, spread=0.7, weight=1.5)(x, t, None)
    alpha, sigma = np.float64(sde.alpha(t)), np.float64(sde.sigma(t))
    error = np.asarray(OBSERVED.mask * (OBSERVED.value - plain.x0)).reshape(3, 4)
    variance = noise**2 + 0.49 * sigma**2 / (0.49 * alpha**2 + sigma**2)
    change = error / variance @ _denoiser_slope(sde, t)
    score = plain.score + 1.5 * change.reshape(x.shape)
    np.testing.assert_allclose(got.score, score, rtol=1e-9)
    np.testing.assert_allclose(got.eps, -sigma * score, rtol=1e-9)
    np.testing.assert_allclose(got.x0, (x + sigma**2 * score) / alpha, rtol=1e-9)
    assert np.abs(change.reshape(x.shape)[..., 1]).min() > 1e-3


def _denoiser_slope(sde, t):
    """d x0_hat / d x_t of LAW, symmetric: alpha S C^-1 with C the covariance of x_t."""
    return np.float64(sde.alpha(t)) * LAW.covs[0] @ np.linalg.inv(laws.marginal(LAW, sde, t)[1])


def test_manifold_constrained_gradients_mend_what_replacement_leaves(x64):
    """Correlation 0.9, one of each pair known exactly: the posterior of the other is N(0.9 y, 0.19)."""
    process, num = "vp", 1500
    sde = laws.PROCESSES[process]
    cov = np.kron(np.eye(2), [[1, 0.9], [0.9, 1]])
    oracle = laws.oracle(laws.gaussian(np.zeros(laws.SHAPE), cov), sde)
    x_init = prior_sample(jax.random.key(0), sde, (num, *laws.SHAPE))
    times = jnp.asarray(laws.grid(process, 60))

    def hidden(predict_fn):
        run = jax.jit(
            lambda: sample(
                jax.random.key(1), x_init, predict_fn, dpmpp_2m(sde, eta=1.0), times, project=replace(sde, OBSERVED)
            )
        )
        x = np.asarray(run())
        np.testing.assert_allclose(x[..., 0], np.broadcast_to(OBSERVED.value[:, 0], (num, 2)), atol=0.06)
        return x[..., 1]

    goal = 0.9 * np.asarray(OBSERVED.value[:, 0])
    alone = hidden(oracle)
    both = hidden(measurement(oracle, sde, observed(OBSERVED), noise=0.0))
    # measured: means 0.95, -0.62 alone, 1.30, -0.85 with guidance, of 1.35, -0.9; deviations 0.57, 0.46 of 0.44
    assert (np.abs(both.mean(0) - goal) < 0.3 * np.abs(alone.mean(0) - goal)).all()
    assert (np.abs(both.std(0) - 0.19**0.5) < 0.4 * np.abs(alone.std(0) - 0.19**0.5)).all()
