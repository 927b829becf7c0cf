"""Log densities through the flow against closed forms of one Gaussian and of two modes; the trace and its estimate."""

import jax
import jax.numpy as jnp
import laws
import numpy as np
import pytest
from scipy import special, stats

from jaxpose.base import Condition
from jaxpose.diffusion import log_likelihood

LAW = laws.correlated()
X = np.random.default_rng(2).normal(size=(6, *laws.SHAPE)) * 0.7


def draw(law, num=6):
    rng = np.random.default_rng(2)
    which = rng.choice(len(law.weights), num, p=law.weights)
    return np.stack([rng.multivariate_normal(law.means[k].ravel(), law.covs[k]) for k in which])


def density_at_end(law, sde, x):
    """Exact log density of the state at t_min: scipy's Gaussians, added up."""
    alpha, sigma = np.float64(sde.alpha(sde.t_min)), np.float64(sde.sigma(sde.t_min))
    terms = [
        np.log(weight)
        + stats.multivariate_normal(alpha * mean.ravel(), alpha**2 * cov + sigma**2 * np.eye(4)).logpdf(x)
        for weight, mean, cov in zip(law.weights, law.means, law.covs, strict=True)
    ]
    return special.logsumexp(terms, 0)


@pytest.mark.parametrize(
    ("process", "law"),
    [(process, LAW) for process in laws.PROCESSES] + [(process, laws.two_modes()) for process in ("ve", "sub_vp")],
    ids=[*laws.PROCESSES, "ve_two_modes", "sub_vp_two_modes"],
)
def test_equals_the_closed_form(process, law):
    """Of draws of the law, in single precision, within the 0.05 nats of design.md, section 5."""
    sde, x = laws.PROCESSES[process], draw(law)
    times = jnp.asarray(laws.grid(process, 40), jnp.float32)
    run = jax.jit(lambda x: log_likelihood(sde, laws.oracle(law, sde), x, times))
    got = run(jnp.asarray(x.reshape(6, *laws.SHAPE), jnp.float32))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, density_at_end(law, sde, x), atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("process", ["ve", "sub_vp"])
def test_order_is_four(x64, process):
    """Against the exact change of density along the exact flow, so that the end density's own error is not in it."""
    sde = laws.PROCESSES[process]
    end = laws.flow(LAW, sde, X, np.float64(sde.t_min), np.float64(sde.t_max)).reshape(6, 4)
    spreads = [sde.alpha(u) ** 2 * LAW.values[0] + sde.sigma(u) ** 2 for u in (sde.t_min, sde.t_max)]
    prior = stats.norm(0, float(sde.sigma(sde.t_max))).logpdf(end).sum(-1)
    exact = prior + np.log(spreads[1] / spreads[0]).sum() / 2
    run = jax.jit(lambda times: log_likelihood(sde, laws.oracle(LAW, sde), jnp.asarray(X), times))
    coarse, fine = (np.abs(run(jnp.asarray(laws.grid(process, num))) - exact).max() for num in (100, 200))
    np.testing.assert_allclose(np.log2(coarse / fine), 4, atol=0.25)
    assert fine < 1e-4


@pytest.mark.slow
def test_a_batch_is_its_poses_and_the_grid_may_rise_or_fall(x64):
    """A network that is not the gradient of anything, and a batch so large that derivatives are taken in parts."""
    sde, law = laws.PROCESSES["vp"], laws.two_modes()

    def predict(x, t, cond):
        opinion = laws.oracle(law, sde)(x, t)
        skew = jnp.sin(x[..., ::-1, :]) * 0.1 * sde.sigma(t)
        return opinion._replace(eps=opinion.eps + skew)

    times = jnp.asarray(laws.grid("vp", 6))
    many = jnp.asarray(np.random.default_rng(0).normal(size=(2, 150, *laws.SHAPE)))
    run = jax.jit(lambda x, times: log_likelihood(sde, predict, x, times))
    got = run(many, times)
    np.testing.assert_allclose(run(many, times[::-1]), got, rtol=1e-12)
    one = jax.jit(lambda x: log_likelihood(sde, predict, x, times))
    for place in ((0, 0), (1, 149)):
        np.testing.assert_allclose(one(many[place]), got[place], rtol=1e-10)


def test_a_condition_moves_the_density(x64):
    sde = laws.PROCESSES["vp"]
    times = jnp.asarray(laws.grid("vp", 40))

    def predict(x, t, cond):
        away = laws.oracle(LAW, sde)(x - sde.alpha(t) * cond.value, t)
        return away._replace(x0=away.x0 + cond.value)

    shift = jnp.asarray([[0.4, -0.3], [0.1, 0.2]])
    cond = Condition(shift, jnp.ones(laws.SHAPE))
    moved = laws.gaussian(LAW.means[0] + np.asarray(shift), LAW.covs[0])
    x = draw(moved)
    run = jax.jit(lambda x: log_likelihood(sde, predict, x, times, cond))
    got = run(jnp.asarray(x.reshape(6, *laws.SHAPE)))
    np.testing.assert_allclose(got, density_at_end(moved, sde, x), atol=0.05)


@pytest.mark.slow
def test_hutchinson_is_unbiased_with_the_variance_of_its_probes(x64):
    """Signs see the diagonal of the Jacobian exactly, so all their error is in what couples the numbers."""
    sde = laws.PROCESSES["vp"]
    times = jnp.asarray(laws.grid("vp", 20))
    x, key = jnp.broadcast_to(jnp.asarray(X[0]), (500, *laws.SHAPE)), jax.random.key(0)

    def run(law, num_probes):
        return np.asarray(
            jax.jit(lambda x: log_likelihood(sde, laws.oracle(law, sde), x, times, key=key, num_probes=num_probes))(x)
        )

    exact = log_likelihood(sde, laws.oracle(LAW, sde), jnp.asarray(X[0]), times)
    one, eight = run(LAW, 1), run(LAW, 8)
    assert one.std() > 0.1
    for estimate in (one, eight):
        assert abs(estimate.mean() - exact) < 4 * estimate.std() / 500**0.5
    np.testing.assert_allclose(one.std() / eight.std(), 8**0.5, rtol=0.15)
    apart = laws.gaussian(LAW.means[0], np.diag([0.04, 0.2, 0.5, 1.0]))
    alone = log_likelihood(sde, laws.oracle(apart, sde), jnp.asarray(X[0]), times)
    np.testing.assert_allclose(run(apart, 1), alone, rtol=1e-9)
