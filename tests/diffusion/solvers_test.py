"""Solvers on the Gaussian oracle: exact landing law, measured order, exact bridges, modes of a mixture."""

import jax
import jax.numpy as jnp
import laws
import numpy as np
import pytest

from jaxpose import diffusion
from jaxpose.base import Prediction
from jaxpose.diffusion.solvers import fixed_euler, fixed_times

pytestmark = pytest.mark.usefixtures("x64")

DETERMINISTIC = {
    "probability_flow": (lambda sde: diffusion.euler_maruyama(sde, churn=0.0), 1),
    "ddim": (diffusion.ddim, 1),
    "heun": (diffusion.heun, 2),
    "dpmpp_2m": (diffusion.dpmpp_2m, 2),
}
STOCHASTIC = {
    "euler_maruyama": (diffusion.euler_maruyama, 1),
    "churn_half": (lambda sde: diffusion.euler_maruyama(sde, churn=0.5), 1),
    "reverse_diffusion": (diffusion.reverse_diffusion, 1),
    "ancestral": (diffusion.ancestral, 1),
    "ddim_half": (lambda sde: diffusion.ddim(sde, eta=0.5), 1),
    "dpmpp_2m_sde": (lambda sde: diffusion.dpmpp_2m(sde, eta=1.0), 2),
}
NUM_STEPS = (200, 400)
# relative error of the covariance at 400 steps: VE's probability flow in t is the worst of the first order
LANDING = {1: 0.1, 2: 1e-3}
LAW = laws.correlated()


def relative(got, goal):
    return np.linalg.norm(np.ravel(got) - np.ravel(goal)) / np.linalg.norm(np.ravel(goal))


def errors(solver, process, start=None):
    """Relative errors [2 step counts, (path, covariance)] at t_min, from the exact law at t_max.

    The path without noise starts at `start` (units of sigma) and is held against the probability flow from
    there; from the mean of the law (None) both follow the mean of the law.
    """
    sde = laws.PROCESSES[process]
    run = laws.propagate(solver, laws.oracle(LAW, sde), max(NUM_STEPS))
    mean, cov = laws.marginal(LAW, sde, sde.t_max)
    _, goal = laws.marginal(LAW, sde, sde.t_min)
    start = mean.reshape(laws.SHAPE) if start is None else start * np.float64(sde.sigma(sde.t_max))
    flowed = laws.flow(LAW, sde, start, sde.t_max, sde.t_min)
    ends = [run(start, cov, laws.grid(process, num)) for num in NUM_STEPS]
    return np.array([[relative(x, flowed), relative(got, goal)] for x, got in ends])


@pytest.mark.parametrize("process", laws.PROCESSES)
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_deterministic_solver_follows_the_flow_with_its_order(name, process):
    maker, claimed = DETERMINISTIC[name]
    coarse, fine = errors(maker(laws.PROCESSES[process]), process, start=np.array([[1.0, -0.5], [0.3, 2.0]]))
    np.testing.assert_allclose(np.log2(coarse / fine), claimed, atol=0.1)
    assert (fine < LANDING[claimed]).all()


@pytest.mark.parametrize("process", laws.PROCESSES)
@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_solver_lands_on_the_law_with_its_weak_order(name, process):
    maker, claimed = STOCHASTIC[name]
    coarse, fine = errors(maker(laws.PROCESSES[process]), process)
    # at least: on VE the leading error of euler_maruyama cancels
    assert np.log2(coarse[1] / fine[1]) > claimed - 0.1
    assert (fine < LANDING[claimed]).all()


@pytest.mark.parametrize("process", laws.PROCESSES)
def test_corrector_moves_a_coarse_predictor_towards_the_law(process):
    sde = laws.PROCESSES[process]
    plain = errors(diffusion.ancestral(sde), process)[0, 1]
    corrected = errors(diffusion.predictor_corrector(diffusion.ancestral(sde), diffusion.langevin(sde)), process)[:, 1]
    assert corrected[0] < 0.9 * plain
    assert corrected[1] < 0.6 * corrected[0]


@pytest.mark.parametrize("process", laws.PROCESSES)
def test_langevin_keeps_the_law_of_its_level(process):
    sde = laws.PROCESSES[process]
    times = np.full(201, 0.5)
    mean, cov = laws.marginal(LAW, sde, 0.5)
    x, got = laws.propagate(diffusion.langevin(sde, snr=0.2), laws.oracle(LAW, sde), 200)(
        mean.reshape(laws.SHAPE) + 3.0, cov * 4, times
    )
    # started with four times the covariance. The bias of a step e on an axis of variance c is e / (2 c - e)
    np.testing.assert_allclose(got, cov, atol=0.06 * np.linalg.norm(cov))
    assert np.abs(x - mean.reshape(laws.SHAPE)).max() < 0.05 * 3.0


@pytest.mark.parametrize("process", laws.PROCESSES)
def test_ancestral_step_is_the_exact_bridge(process):
    """Conditioning the joint Gaussian of (x_s, x_t) given x0 on x_t, by the textbook formula."""
    sde = laws.PROCESSES[process]
    t, s = 0.7, 0.4
    x0, x_t = np.array([[0.3]]), np.array([[-1.2]])
    alpha_t, sigma_t, alpha_s, sigma_s = (float(f(u)) for u in (t, s) for f in (sde.alpha, sde.sigma))
    covariance = alpha_t / alpha_s * sigma_s**2
    mean = alpha_s * x0 + covariance / sigma_t**2 * (x_t - alpha_t * x0)
    variance = sigma_s**2 - covariance**2 / sigma_t**2

    def knows_x0(x, u):
        return Prediction(x0, (x - sde.alpha(u) * x0) / sde.sigma(u), x0)

    got, spread = laws.propagate(diffusion.ancestral(sde), knows_x0, 1)(x_t, np.zeros((1, 1)), np.array([t, s]))
    np.testing.assert_allclose(got, mean, rtol=1e-9)
    np.testing.assert_allclose(spread, [[variance]], rtol=1e-9)


@pytest.mark.parametrize("deviation", [0.3, 1.0, 3.0])
def test_mean_flow_collapses_by_the_product_of_its_steps(deviation):
    """What the original's --pflow leaves of the spread of N(8, deviation^2): spec/gfpose.md, 5.4.

    A step x - dt (f x - g^2 score) shrinks the deviation by 1 - dt (f + g^2 / (alpha^2 deviation^2 + sigma^2)).
    """
    sde = diffusion.sub_vp()
    times = np.asarray(fixed_times(sde, 1000), np.float64)
    law = laws.gaussian([[8.0]], [[deviation**2]])
    run = laws.propagate(fixed_euler(sde, 1000, mean_flow=True), laws.oracle(law, sde), 1000)
    x, cov = run(np.zeros((1, 1)), np.eye(1), times)
    t, dt = times[:-1], 1e-3
    beta, log_alpha = 0.1 + 19.9 * t, -t * (19.9 * t / 4 + 0.05)
    variance = (np.exp(log_alpha) * deviation) ** 2 + (1 - np.exp(2 * log_alpha)) ** 2
    factors = 1 - dt * (-beta / 2 + beta * (1 - np.exp(4 * log_alpha)) / variance)
    np.testing.assert_allclose(np.sqrt(cov[0, 0]), np.prod(factors), rtol=1e-6)
    np.testing.assert_allclose(x, 8.0, atol=0.015)


@pytest.mark.parametrize("name", ["euler_maruyama", "dpmpp_2m_sde", "dpmpp_2m", "heun"])
@pytest.mark.parametrize("process", ["ve", "sub_vp"])
def test_recovers_the_weights_and_spread_of_a_mixture(name, process):
    sde, law, num = laws.PROCESSES[process], laws.two_modes(), 4000
    maker, order = (DETERMINISTIC | STOCHASTIC)[name]
    times = jnp.asarray(laws.grid(process, 40 if order == 2 else 160))
    x_init = diffusion.prior_sample(jax.random.key(1), sde, (num, *laws.SHAPE))
    x = np.asarray(diffusion.sample(jax.random.key(2), x_init, laws.oracle(law, sde), maker(sde), times)).reshape(
        num, 4
    )
    high = x.mean(-1) > 0
    # four binomial standard errors, and the prior's own mismatch at alpha(1) > 0
    assert abs(high.mean() - 0.7) < 4 * np.sqrt(0.21 / num) + 0.01
    for k, mode in enumerate((x[~high], x[high])):
        np.testing.assert_allclose(mode.mean(0), law.means[k].ravel(), atol=0.03)
        np.testing.assert_allclose(np.cov(mode.T), law.covs[k], atol=0.012)
