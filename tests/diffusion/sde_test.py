"""Processes: closed forms, float32 accuracy, discrete schedules, moments of the noise, and time grids."""

import jax
import jax.numpy as jnp
import laws
import numpy as np
import pytest

from jaxpose.diffusion import drift_diffusion, from_betas, log_snr, perturb, prior_sample, time_at, time_grid

B0, B1 = 0.1, 20.0
SPACINGS = ("uniform", "log_snr", "low_noise")


def beta(t):
    return B0 + t * (B1 - B0)


def big_l(t):
    return -(t**2) * (B1 - B0) / 4 - t * B0 / 2


# spec/gfpose.md, section 2: drift coefficient, g^2, mean coefficient, standard deviation
CLOSED_FORMS = {
    "ve": (
        lambda t: 0 * t,
        lambda t: (0.01 * 5000**t) ** 2 * 2 * np.log(5000),
        lambda t: 1 + 0 * t,
        lambda t: 0.01 * 5000**t,
    ),
    "vp": (lambda t: -beta(t) / 2, beta, lambda t: np.exp(big_l(t)), lambda t: np.sqrt(-np.expm1(2 * big_l(t)))),
    "sub_vp": (
        lambda t: -beta(t) / 2,
        lambda t: beta(t) * -np.expm1(4 * big_l(t)),
        lambda t: np.exp(big_l(t)),
        lambda t: -np.expm1(2 * big_l(t)),
    ),
}


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-10), (np.float32, 3e-5)])
@pytest.mark.parametrize("process", CLOSED_FORMS)
def test_process_equals_its_closed_form(x64, process, dtype, rtol):
    """In single precision too, down to the smallest training time, 1e-5."""
    sde = laws.PROCESSES[process]
    exact = np.geomspace(1e-5, 1, 200).astype(dtype).astype(np.float64)
    t = jnp.asarray(exact, dtype)
    got = (*drift_diffusion(sde, t), sde.alpha(t), sde.sigma(t))
    for value, form in zip(got, CLOSED_FORMS[process], strict=True):
        assert value.dtype == dtype
        np.testing.assert_allclose(value, form(exact), rtol=rtol, atol=1e-12)
    ratio = 2 * np.log(CLOSED_FORMS[process][2](exact) / CLOSED_FORMS[process][3](exact))
    np.testing.assert_allclose(log_snr(sde, t), ratio, rtol=rtol, atol=rtol)


def test_from_betas_is_exact_at_every_index_and_smooth_between(x64):
    betas = laws.BETAS
    sde, num = from_betas(betas), len(betas)
    t = jnp.arange(1, num + 1) / num
    np.testing.assert_allclose(sde.alpha(t) ** 2, np.cumprod(1 - betas), rtol=1e-12)
    np.testing.assert_allclose(sde.sigma(t) ** 2, 1 - np.cumprod(1 - betas), rtol=1e-12)
    assert (sde.t_min, sde.t_max) == (1 / num, 1.0)
    dense = jnp.linspace(sde.t_min, 1, 5001)
    f, g2 = jax.jit(lambda t: drift_diffusion(sde, t))(dense)
    assert (np.diff(log_snr(sde, dense)) < 0).all()
    assert (g2 > 0).all()
    # the continuous rate passes through the discrete one, -2 f = -N log(1 - beta), and has no jumps
    middle = slice(100, -100, 100)  # the first and last index have a neighbour on one side only
    np.testing.assert_allclose(
        -2 * f[middle], np.interp(dense[middle], t - 0.5 / num, -num * np.log1p(-betas)), rtol=0.01
    )
    assert np.abs(np.diff(f)).max() < 3 * (f.max() - f.min()) / len(dense)


@pytest.mark.parametrize("process", laws.PROCESSES)
def test_perturb_has_the_moments_of_the_process(x64, process):
    sde, num = laws.PROCESSES[process], 20_000
    x0 = jnp.asarray([[0.5, -2.0], [0.0, 3.0]])
    draw = jax.jit(jax.vmap(lambda key, t: perturb(key, sde, x0, t), (0, None)))
    for t in (sde.t_min, 0.4, sde.t_max):
        x_t, eps = draw(jax.random.split(jax.random.key(0), num), jnp.asarray(t))
        alpha, sigma = sde.alpha(jnp.asarray(t)), sde.sigma(jnp.asarray(t))
        np.testing.assert_allclose(x_t, alpha * x0 + sigma * eps, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(x_t.mean(0), alpha * x0, atol=4 * sigma / np.sqrt(num))
        np.testing.assert_allclose(np.cov(x_t.reshape(num, 4).T), sigma**2 * np.eye(4), atol=0.04 * sigma**2)


@pytest.mark.parametrize(("process", "std"), [("ve", 50.0), ("vp", 0.99998), ("sub_vp", 0.999957)])
def test_prior_has_the_end_deviation(process, std):
    noise = prior_sample(jax.random.key(0), laws.PROCESSES[process], (200_000,))
    np.testing.assert_allclose(noise.std(), std, rtol=4 / np.sqrt(2 * len(noise)))
    assert abs(noise.mean()) < 4 * std / np.sqrt(len(noise))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("process", laws.PROCESSES)
def test_time_grid_falls_and_is_uniform_in_what_it_claims(x64, process, spacing):
    sde = laws.PROCESSES[process]
    times = jax.jit(lambda: time_grid(sde, 30, spacing))()
    assert times.shape == (31,)
    assert (times[0], times[-1]) == (sde.t_max, sde.t_min)
    assert (np.diff(times) < 0).all()
    coordinate = {
        "uniform": times,
        "log_snr": log_snr(sde, times),
        "low_noise": (sde.sigma(times) / sde.alpha(times)) ** (1 / 7),
    }[spacing]
    steps = np.diff(coordinate)
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-8)


@pytest.mark.parametrize("process", laws.PROCESSES)
def test_time_grid_in_single_precision(process):
    sde = laws.PROCESSES[process]
    for spacing in SPACINGS:
        times = time_grid(sde, 200, spacing)
        assert times.dtype == jnp.float32
        assert (np.diff(times) < 0).all()
        assert times[-1] == np.float32(sde.t_min)
    np.testing.assert_allclose(times, _in_double(sde, 200, "low_noise"), rtol=1e-3)


def _in_double(sde, num_steps, spacing):
    with jax.enable_x64(True):
        return np.asarray(time_grid(sde, num_steps, spacing))


@pytest.mark.parametrize("process", laws.PROCESSES)
def test_time_at_inverts_log_snr(x64, process):
    sde = laws.PROCESSES[process]
    t = jnp.geomspace(sde.t_min, sde.t_max, 50).reshape(5, 10)
    np.testing.assert_allclose(time_at(sde, log_snr(sde, t)), t, rtol=1e-10)
    np.testing.assert_allclose(time_at(sde, jnp.asarray([1e3, -1e3])), [sde.t_min, sde.t_max], rtol=1e-10)
