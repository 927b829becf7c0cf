"""The terms of a fit's energy, one by one, against what they are said to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rotation_oracle
from body_tables import random_tables
from compilations import counted
from rotation_oracle import MEAN, STD

from jaxpose.diffusion.regulariser import averaged, fixed, unit
from jaxpose.fitting.engine import BodyParameters, Free, fit, posed_body
from jaxpose.fitting.priors import dposer_prior, energy_prior, l2_energy
from jaxpose.fitting.terms import Bends, Smoothness, bends, shrunk
from jaxpose.geometry.body import make_body

joints_of = jax.jit(lambda body, parameters: posed_body(body, parameters).joints[..., :22, :])


@pytest.fixture(scope="module")
def body():
    tables = random_tables("smpl", num_vertices=30, num_betas=2)
    tables.pop("f")
    return make_body("smpl", faces=np.zeros((0, 3), int), **tables)


def parameters(num=2, frames=3, seed=0):
    rng = np.random.default_rng(seed)
    shapes = ((num, frames, 21, 3), (num, frames, 3), (num, frames, 3), (num, 2))
    return BodyParameters(*(jnp.asarray(rng.normal(0, 0.3, shape), jnp.float32) for shape in shapes))


def drift(place, posed, parameters, k):
    """place (1 + k) times the pelvis' x, summed over the frames: [N]."""
    return place * (1 + k) * posed.joints[..., 0, 0].sum(-1)


def energy_of(body, start, place=0.0, num_steps=2, smooth=0.0, bend=0.0, prior=0.0, prior_start=0.0, shape=0.0):
    """The energy [N] at the last of some steps of size 0."""
    return fit(
        jax.random.key(0),
        body,
        energy_prior(l2_energy),
        *(jax.tree_util.Partial(drift, place), Smoothness(smooth), Bends(bend)),
        start=start,
        prior_weight=prior,
        prior_start=prior_start,
        shape_weight=shape,
        num_steps=num_steps,
        learning_rate=0.0,
    ).energy[0]


def test_the_robust_loss():
    away = jnp.array([[0.0, 0], [0, 0.1], [2, 0], [6e3, 8e3]])
    np.testing.assert_allclose(shrunk(away, None), away)
    energy = jnp.square(shrunk(away, 3.0)).sum(-1) / 2
    np.testing.assert_allclose(energy, [0, 0.005, 9 * 4 / (2 * 13), 4.5], rtol=2e-3)


def test_knees_and_elbows_bend_one_way():
    """A left knee (joint 3) bends about +x, a left elbow (17) about -y, a right one (18) about +y: spec 7.3."""
    right = jnp.zeros((21, 3)).at[[3, 4], 0].set(1.0).at[17, 1].set(-1.0).at[18, 1].set(1.0)
    angles = bends(jnp.stack([right, 0 * right, -right]))
    np.testing.assert_allclose(angles, np.tile([[-1.0], [0], [1]], 4), rtol=1e-5)


def bent(body_pose):
    return np.square(np.exp(bends(body_pose))).sum((1, 2))


def test_each_term_of_the_energy(body):
    start = parameters()
    joints = np.asarray(joints_of(body, start))
    second = joints[:, 2:] - 2 * joints[:, 1:-1] + joints[:, :-2]
    np.testing.assert_allclose(energy_of(body, start, smooth=6.0), 3 * np.square(second).sum((1, 2, 3)), rtol=1e-4)
    prior = 1 + (joints.shape[1] - 1) / 7  # a further frame counts a seventh
    expected = 3 * prior * np.square(start.betas).sum(-1)
    np.testing.assert_allclose(energy_of(body, start, shape=6.0), expected, rtol=1e-5)
    np.testing.assert_allclose(energy_of(body, start, bend=2.0), 2 * bent(start.body_pose), rtol=1e-5)
    np.testing.assert_allclose(energy_of(body, start, place=1.0), 2 * joints[:, :, 0, 0].sum(1), rtol=1e-5)


def evidence(precision, seen, posed, parameters, k):
    """Betas [N, S] that each frame shows with a precision [N, 1]: [N] nats."""
    return posed.joints.shape[1] / 2 * (precision * jnp.square(parameters.betas - seen)).sum(-1)


def test_betas_stay_human_unless_the_data_insist(body):
    """Three people whose 4 frames say betas of (2, -2), (6, -6) and (6, -6), the first two weakly: the least energy is
    known in closed form. Within 2.5 it is the mean of two Gaussians, of which the prior grows by a seventh of itself
    with each further frame; beyond, all frames' tails pull back."""
    precision, seen = jnp.array([0.5, 0.5, 50.0]), jnp.array([[2.0, -2.0], [6.0, -6.0], [6.0, -6.0]])
    start = parameters(num=3, frames=4)
    term, only = jax.tree_util.Partial(evidence, precision[:, None], seen), Free(False, False, False, True)
    found = fit(jax.random.key(0), body, None, term, start=start, num_steps=600, learning_rate=0.1, free=only)
    h, prior, sizes = 4 * np.asarray(precision), 1 + 3 / 7, np.array([2.0, 6.0, 6.0])
    gaussian = h * sizes / (h + prior)
    tailed = (h * sizes + 4 * 2.5) / (h + prior + 4)
    wanted = np.where(gaussian < 2.5, gaussian, tailed)
    np.testing.assert_allclose(found.betas[0], wanted[:, None] * [1, -1], atol=0.01)
    assert wanted[1] < 3.2
    assert wanted[2] > 5.7


def test_the_prior_s_weight_falls_to_itself(body):
    """It is `prior_start` times the weight at the first step, and the weight itself at the last."""
    start = parameters()
    wanted = np.square(start.body_pose).sum((1, 2, 3))
    np.testing.assert_allclose(energy_of(body, start, prior=2.0, prior_start=10.0), 2 * wanted, rtol=1e-5)
    first = energy_of(body, start, prior=2.0, prior_start=10.0, num_steps=1)
    np.testing.assert_allclose(first, 20 * wanted, rtol=1e-5)


def test_dposer_s_prior_at_a_mean_pose_is_its_noise_alone():
    """Of independent numbers: x0_hat = alpha x_t / (alpha^2 + sigma^2), so x - x0_hat is chi-squared in the noise."""
    model = rotation_oracle.independent()
    sde, t = model.spec.sde(), 0.3
    prior = dposer_prior(model, fixed(t), weight=unit, reduction=averaged)
    alpha, sigma = float(sde.alpha(t)), float(sde.sigma(t))
    variance = alpha**2 + sigma**2
    for z in (0.0, 2.0):
        pose = jnp.broadcast_to(jnp.asarray(MEAN + z * STD, jnp.float32), (300, 21, 3))
        got = float(prior(jax.random.key(0), pose, jnp.asarray(0), 10).mean())
        wanted = (z * sigma**2 / variance) ** 2 + (alpha * sigma / variance) ** 2
        np.testing.assert_allclose(got, wanted / 2, rtol=0.03)


def away(posed, parameters, k):
    return jnp.square(posed.joints - 1).sum((1, 2, 3))


def test_what_is_held_stays(body):
    start = parameters()
    held = Free(body_pose=False, betas=False)
    found = fit(jax.random.key(0), body, None, away, start=start, num_steps=3, learning_rate=0.1, free=held)
    for name in BodyParameters._fields:
        same = np.array_equal(getattr(found, name)[0], getattr(start, name))
        assert same == (name in ("body_pose", "betas")), name
    np.testing.assert_allclose(found.joints[0], joints_of(body, found)[0], atol=1e-6)
    assert found.num_steps.tolist() == [[3, 3]]


def test_other_numbers_and_priors_alike_compile_nothing(body):
    energy_of(body, parameters(), smooth=1.0)
    with counted() as compiled:
        energy_of(body, parameters(seed=1), smooth=2.0, bend=3.0, prior=0.5)
    assert compiled.count == 0
