"""A model of few network calls in the tasks: what it draws is what its two calls say, and what it cannot do is said."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose.diffusion import log_snr
from jaxpose.model import Model, Spec, init_params, load, save
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.spaces.person import Statistics
from jaxpose.tasks.complete import jitted_complete
from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.draw import draw_states, network_calls, null_condition
from jaxpose.tasks.generate import jitted_generate
from jaxpose.tasks.posterior import prior_of

TIMES = (1.0, 0.25)


@pytest.fixture(scope="module")
def model():
    network = ScoreMLP(hidden=16, time_width=8, num_blocks=1, num_groups=4, dropout=0.0)
    spec = Spec("few", network, target="edm", num_steps=1, times=TIMES)
    params = init_params(jax.random.key(0), spec)
    statistics = Statistics(jnp.zeros((17, 3)), jnp.full((17, 3), 0.25), jnp.ones((17, 3)))
    return Model(params, statistics, spec)


def test_a_sample_is_what_the_second_call_says_of_the_first_ones_noisy_answer(model):
    """The bridge q(x_s | x_t, x0) has the mean alpha_s x0 + sigma_s sqrt(SNR_t / SNR_s) eps, and the rest is fresh."""
    sde, predict = model.spec.sde(), model.predict_fn()
    cond = null_condition(model, 1)
    got = jax.jit(lambda m: draw_states(jax.random.key(3), m, cond, num_hypotheses=2)[1])(model)

    start_key, key = jax.random.split(jax.random.fold_in(jax.random.key(3), 1))
    t, s = (jnp.float32(v) for v in TIMES)
    x_t = sde.sigma(t) * jax.random.normal(start_key, (1, 17, 3))
    first = predict(x_t, t, cond)
    step_key = jax.random.split(jax.random.fold_in(key, 0))[0]
    kept = jnp.exp(log_snr(sde, t) - log_snr(sde, s))
    fresh = jax.random.normal(step_key, x_t.shape)
    x_s = sde.alpha(s) * first.x0 + sde.sigma(s) * (jnp.sqrt(kept) * first.eps + jnp.sqrt(1 - kept) * fresh)
    np.testing.assert_allclose(got, predict(x_s, s, cond).x0, atol=2e-5)
    assert network_calls(model, "posterior", None) == 2


def test_the_file_keeps_the_times(model, tmp_path):
    save(tmp_path / "few.safetensors", model, dtype=jnp.float32)
    assert load(tmp_path / "few.safetensors").spec == model.spec


def test_it_generates_and_completes(model):
    poses = jitted_generate(jax.random.key(0), model, 3)
    assert poses.shape == (3, 17, 3)
    assert bool(jnp.isfinite(poses).all())
    known = poses[:1].at[:, 4:].set(jnp.nan)
    filled = jitted_complete(jax.random.key(0), model, known, num_hypotheses=4).samples
    np.testing.assert_allclose(filled[:, :, :4], jnp.broadcast_to(known[:, :4], (4, 1, 4, 3)), atol=1e-5)
    assert float(filled[:, :, 4:].std(0).min()) > 0


def test_what_it_cannot_do_is_said(model):
    cond = null_condition(model, 1)
    for how in ({"sampler": "mean_flow"}, {"sampler": "original"}, {"num_steps": 8}, {"temperature": 0.9}):
        with pytest.raises(ValueError, match="few-step model: it draws by sampler 'posterior' in 1 steps"):
            draw_states(jax.random.key(0), model, cond, num_hypotheses=2, **how)
    with pytest.raises(ValueError, match=r"posterior needs a model that knows the score .* 'few' is a few-step model"):
        prior_of(model)
    with pytest.raises(ValueError, match="few-step model 'few' never saw"):
        denoise(jax.random.key(0), model, jnp.zeros((1, 17, 3)))
