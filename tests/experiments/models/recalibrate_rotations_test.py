"""Recalibration of completed rotations: the factor found is the one by which people differ more than hypotheses do."""

import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from experiments.models.recalibrate_rotations import errors, fit

ABOUT = Rotation.from_rotvec([0.4, -0.8, 0.3])
STD, TIMES = 0.1, 3.0


def turned(rng, std, *shape):
    """Rotations about ABOUT, by vectors of this deviation, as axis-angle [*shape, 3]."""
    steps = Rotation.from_rotvec(rng.normal(0, std, (int(np.prod(shape)), 3)))
    return (ABOUT * steps).as_rotvec().reshape(*shape, 3)


def test_the_factor_holds_the_truth_of_other_cases():
    rng = np.random.default_rng(0)
    joints, num = 2, 1000
    samples = turned(rng, STD, 50, num, joints)
    truth = np.stack([turned(rng, STD, num), turned(rng, TIMES * STD, num)], 1)
    error, radius = errors(jnp.asarray(samples, jnp.float32), jnp.asarray(truth, jnp.float32))
    first = np.arange(num) < num // 2
    factor = fit(error, radius, np.repeat(first[:, None], joints, 1))
    np.testing.assert_allclose(factor, [1, TIMES], rtol=0.1)
    held = np.asarray(error <= factor * radius)[~first].mean(0)
    np.testing.assert_allclose(held, 0.9, atol=0.04)


def test_a_joint_that_was_never_hidden_keeps_its_radius():
    rng = np.random.default_rng(1)
    error, radius = errors(*(jnp.asarray(turned(rng, STD, *s), jnp.float32) for s in ((10, 20, 2), (20, 2))))
    hidden = np.zeros((20, 2), bool)
    hidden[:, 0] = True
    assert float(fit(error, radius, hidden)[1]) == 1
