"""A model of few network calls in the tasks: what it draws is what its two calls say, and what it cannot do is said."""

import jax
import jax.numpy as jnp
import numpy as np
import pose_oracle
import pytest

import jaxpose
from jaxpose.diffusion import log_snr
from jaxpose.model import load
from jaxpose.tasks import generate as generation
from jaxpose.tasks.draw import draw_states
from jaxpose.tasks.samplers import mean_flow, original, stochastic

TIMES = (1.0, 0.25)


@pytest.fixture(scope="module")
def model():
    return pose_oracle.tiny(name="few", num_steps=1, times=TIMES)


def test_a_sample_is_what_the_second_call_says_of_the_first_ones_noisy_answer(model):
    """The bridge q(x_s | x_t, x0) has the mean alpha_s x0 + sigma_s sqrt(SNR_t / SNR_s) eps, and the rest is fresh."""
    sde, problem = model.spec.sde(), generation.problem(model, 1)

    @jax.jit
    def both(key):
        got = draw_states(key, model, problem, num=2, sampler=stochastic())[0][1]
        predict = model.predict_fn()
        start_key, key = jax.random.split(jax.random.fold_in(key, 1))
        t, s = (jnp.float32(v) for v in TIMES)
        x_t = sde.sigma(t) * jax.random.normal(start_key, (1, 17, 3))
        first = predict(x_t, t, problem.cond)
        step_key = jax.random.split(jax.random.fold_in(key, 0))[0]
        kept = jnp.exp(log_snr(sde, t) - log_snr(sde, s))
        fresh = jax.random.normal(step_key, x_t.shape)
        x_s = sde.alpha(s) * first.x0 + sde.sigma(s) * (jnp.sqrt(kept) * first.eps + jnp.sqrt(1 - kept) * fresh)
        return got, predict(x_s, s, problem.cond).x0, first.x0

    got, expected, first = both(jax.random.key(3))
    np.testing.assert_allclose(got, expected, atol=2e-5)
    assert float(jnp.abs(expected - first).max()) > 0.01
    assert stochastic().network_calls(model) == 2


def test_a_call_reads_no_file_and_judges_no_pose(monkeypatch):
    """The base was read with the model; typicality is computed when it is asked for."""
    fast, keypoints = load("pose17_fast"), jnp.asarray(np.random.default_rng(0).uniform(300, 700, (1, 17, 2)))
    camera = jaxpose.Camera(jnp.array([1000.0, 1000.0, 500.0, 500.0]))
    monkeypatch.setattr("jaxpose.model._load", None)
    judge = monkeypatch.setattr
    judge("jaxpose.tasks.typicality.denoising_error", None)
    result = jaxpose.lift(jax.random.key(0), fast, keypoints, camera=camera, num_hypotheses=2)
    judge("jaxpose.tasks.typicality.denoising_error", lambda model, pose: jnp.zeros(len(pose)))
    np.testing.assert_array_equal(result.typicality, result.judge(result.mean))
    assert jaxpose.log_density(fast, result.mean, num_steps=1).shape == (1,)


@pytest.mark.parametrize(
    "sampler",
    [mean_flow(), original(), stochastic(8), stochastic(temperature=0.9)],
    ids=["mean_flow", "original", "8 steps", "temperature"],
)
def test_another_sampler_is_refused(model, sampler):
    with pytest.raises(ValueError, match="few-step model: it draws by sampler 'posterior' in 1 steps"):
        generation.generate(jax.random.key(0), model, 2, sampler=sampler)
