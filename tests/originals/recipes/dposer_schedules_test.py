"""The schedules of DPoser's published codes, and its denoising in several steps, against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dposer_original import denoised_in_steps, truncated_index, truncated_range
from laws import PROCESSES, SHAPE, correlated, flow, oracle

from jaxpose.diffusion import sub_vp
from jaxpose.diffusion.prediction import from_x0

pytestmark = pytest.mark.usefixtures("x64")

SDE, LAW = sub_vp(), correlated()


def values(schedule, total):
    return np.asarray(jax.jit(jax.vmap(lambda k: schedule(jax.random.key(0), k, total)))(jnp.arange(total)))


@pytest.mark.parametrize(
    ("num", "trunc", "last", "total", "ends"),
    [
        (1000, 5, 2, 200, (0.201, 0.002)),
        (500, 10, 2, 120, (0.101, 0.003)),
        (500, 4, 2, 180, (0.251, 0.003)),
        (500, 3, 2, 240, (0.333, 0.003)),
        (500, 20, 5, 500, (0.057, 0.009)),
    ],
)
def test_the_first_code_s_nodes(num, trunc, last, total, ends):
    """The table of spec/dposer.md, section 6, and every node between by the formula in whole numbers."""
    got = values(truncated_index(num, trunc, last), total)
    np.testing.assert_allclose(got[[0, -1]], ends, atol=6e-4)
    index = [num - (total - k - 1) * num // (trunc * total) - last for k in range(total)]
    np.testing.assert_allclose(got, np.linspace(1, 1e-3, num)[index], rtol=1e-6)


@pytest.mark.parametrize("process", ["vp", "sub_vp"])
def test_denoising_in_many_steps_is_the_end_of_the_flow(process):
    """DDIM converges to the probability flow: in 200 steps to t / 10, then the oracle's x0 there."""
    sde, predict = PROCESSES[process], oracle(LAW, PROCESSES[process])
    x = jnp.asarray(np.random.default_rng(3).normal(size=(5, *SHAPE)))
    t = jnp.asarray(0.6)
    wanted = predict(flow(LAW, sde, x, t, 0.1 * t), 0.1 * t).x0
    few, many = (jax.jit(denoised_in_steps(predict, sde, n), static_argnums=2)(x, t, None) for n in (10, 200))
    error = [np.abs(got.x0 - wanted).max() for got in (few, many)]
    assert error[1] < 0.02
    assert error[1] < error[0] / 10
    # one opinion in three views
    np.testing.assert_allclose(sde.alpha(t) * many.x0 + sde.sigma(t) * many.eps, x, rtol=1e-9)
    assert denoised_in_steps(predict, sde, 1) is predict


def test_one_certain_pose_is_reached_in_any_number_of_steps():
    """Data at one point: every step of DDIM is exact."""
    point = jnp.arange(4.0).reshape(SHAPE)
    predict = lambda x, t, cond: from_x0(SDE, x, t, jnp.broadcast_to(point, x.shape))  # noqa: E731
    got = denoised_in_steps(predict, SDE, 3)(jnp.ones((2, *SHAPE)), jnp.asarray(0.3), None)
    np.testing.assert_allclose(got.x0, np.broadcast_to(point, (2, *SHAPE)), rtol=1e-12)


@pytest.mark.parametrize(("high", "low"), [(0.3, 0.05), (0.15, 0.05)])
def test_the_later_codes_begin_one_step_lower(high, low):
    wanted = low + (49 - np.arange(50)) / 50 * (high - low)
    np.testing.assert_allclose(values(truncated_range(high, low), 50), wanted, rtol=1e-6)


def test_illegal_arguments_are_named():
    for ends in ((0.1, 0.2), (1.5, 0.1), (0.5, 0.0)):
        with pytest.raises(ValueError, match=f"t_max={ends[0]}, t_min={ends[1]}"):
            truncated_range(*ends)
    with pytest.raises(ValueError, match=r"got 100, 0\.5, 2"):
        truncated_index(100, 0.5, 2)
    with pytest.raises(ValueError, match="num_steps: needed at least 1, got 0"):
        denoised_in_steps(oracle(LAW, SDE), SDE, 0)
