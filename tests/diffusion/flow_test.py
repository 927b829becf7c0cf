"""The probability flow against its closed form, there and back on two modes, and arcs between latents."""

import jax
import jax.numpy as jnp
import laws
import numpy as np
import pytest

from jaxpose.diffusion import decode, encode, interpolate
from jaxpose.diffusion.flow import transport

pytestmark = pytest.mark.usefixtures("x64")

LAW = laws.correlated()
START = np.random.default_rng(1).normal(size=(5, *laws.SHAPE))


@pytest.mark.parametrize(("process", "down"), [("ve", 1), ("vp", 0), ("sub_vp", 1), ("from_betas", 0)])
def test_follows_the_closed_form_with_order_four(process, down):
    sde = laws.PROCESSES[process]
    t, s = (sde.t_max, sde.t_min) if down else (sde.t_min, sde.t_max)
    x = START * (float(sde.sigma(sde.t_max)) if down else 1)
    goal = laws.flow(LAW, sde, x, np.float64(t), np.float64(s))
    run = jax.jit(lambda times: transport(sde, laws.oracle(LAW, sde), jnp.asarray(x), times))
    grids = [jnp.asarray(laws.grid(process, num)[:: 1 if down else -1]) for num in (100, 200)]
    coarse, fine = (np.abs(run(times) - goal).max() for times in grids)
    np.testing.assert_allclose(np.log2(coarse / fine), 4, atol=0.25)
    assert fine < 1e-5 * np.abs(goal).max()


@pytest.mark.parametrize("process", ["ve", "sub_vp"])
def test_two_modes_come_back_from_their_latents(process):
    """What is encoded is the prior's law, and decoding undoes it, with one falling grid for both."""
    sde, law, num = laws.PROCESSES[process], laws.two_modes(), 3000
    rng = np.random.default_rng(0)
    which = rng.choice(2, num, p=law.weights)
    x = law.means.reshape(2, 4)[which] + np.einsum(
        "nij,nj->ni", np.linalg.cholesky(law.covs)[which], rng.normal(size=(num, 4))
    )
    x = jnp.asarray(x.reshape(num, *laws.SHAPE))
    times, oracle = jnp.asarray(laws.grid(process, 120)), laws.oracle(law, sde)
    latent = jax.jit(lambda x: encode(sde, oracle, x, times))(x)
    back = jax.jit(lambda z: decode(sde, oracle, z, times))(latent)
    # a few in a thousand lie where the flow parts for one mode or the other: there every error grows
    error = np.abs(back - x).max((1, 2))
    assert np.quantile(error, 0.99) < 2e-3
    unit = np.asarray(latent).reshape(num, 4) / float(sde.sigma(sde.t_max))
    np.testing.assert_allclose(unit.mean(0), 0, atol=4 / num**0.5 + 0.03)  # alpha(1) m / sigma(1) is up to 0.02
    np.testing.assert_allclose(np.cov(unit.T), np.eye(4), atol=0.1)


def test_an_arc_has_the_angle_and_the_length_of_a_rotation():
    """From e1 to a vector at 2 radians in a plane of the 6 numbers: u turns by 2 u."""
    plane, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 2)))
    turn = lambda angle: 3.0 * (plane @ [np.cos(angle), np.sin(angle)]).reshape(2, 3)  # noqa: E731
    u = np.linspace(0, 1, 5)
    got = interpolate(jnp.asarray(turn(0.0)), jnp.asarray(turn(2.0)), u)
    np.testing.assert_allclose(got, [turn(2 * v) for v in u], atol=1e-12)
    # a batch of pairs, each with its own u, is the pairs one by one
    a, b = jnp.asarray(START[:3]), jnp.asarray(START[2:])
    each = [interpolate(a[i], b[i], u[i]) for i in range(3)]
    np.testing.assert_allclose(interpolate(a, b, u[:3]), each, atol=1e-12)


@pytest.mark.parametrize("factor", [1.0, 2.5, -1.0])
def test_equal_and_opposite_latents_take_the_straight_line(factor):
    a = jnp.asarray(START[0])
    np.testing.assert_allclose(interpolate(a, factor * a, 0.25), (0.75 + 0.25 * factor) * a, atol=1e-7)
