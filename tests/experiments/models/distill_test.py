"""Few-step priors: where training starts, and what of a pose it scores."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rotation_oracle
from scipy.spatial.transform import Rotation

from experiments.models.distill import rest_offsets, turned_and_placed, with_condition
from experiments.models.prior21_fast import config as prior21_fast
from jaxpose import model as released
from jaxpose.base import Condition
from jaxpose.geometry.skeleton import SMPL_22

CONFIG = prior21_fast.get_config()


def few(teacher):
    network = dataclasses.replace(teacher.spec.network, condition_width=8)
    return dataclasses.replace(teacher.spec, name="few", network=network, times=CONFIG.times)


@pytest.fixture(scope="module")
def start():
    """A teacher, and the few-step model that its training starts from."""
    teacher = rotation_oracle.tiny()
    spec = few(teacher)
    return teacher, released.Model(with_condition(teacher, spec, 0), teacher.statistics, spec)


def test_training_starts_at_the_teacher_whatever_is_known(start):
    teacher, model = start
    rng = np.random.default_rng(0)
    x, value = (jnp.asarray(rng.normal(size=(3, 21, 3)), jnp.float32) for _ in range(2))
    t = jnp.float32(0.3)
    told = model.predict_fn()(x, t, Condition(value, jnp.ones_like(value)))
    np.testing.assert_allclose(told.x0, teacher.predict_fn()(x, t, None).x0, atol=1e-5)


def test_the_branch_learns(start):
    """Its layers start at 0, which the gradient must leave."""
    model = start[1]
    ones = jnp.ones((21, 3))

    def square(params):
        return jnp.square(
            model.replace(params=params).predict_fn()(ones, jnp.float32(0.3), Condition(ones, ones)).x0
        ).sum()

    gradient = jax.jit(jax.grad(square))(model.params)["params"]
    assert float(jnp.abs(gradient["pre_cond"]["kernel"]).max()) > 0


def test_what_is_scored_is_the_state_and_the_joints_places():
    statistics, offsets = rotation_oracle.statistics(), np.asarray(rest_offsets(), np.float64)
    state = np.random.default_rng(0).normal(size=(2, 21, 3))
    found = turned_and_placed(rotation_oracle.spec(), statistics, rest_offsets(), jnp.asarray(state, jnp.float32))
    np.testing.assert_allclose(found[:, :21], state, atol=1e-6)
    for z, rows in zip(state, found, strict=True):
        local = Rotation.from_rotvec(rotation_oracle.MEAN + rotation_oracle.STD * z)
        place, turn = np.zeros((22, 3)), [Rotation.identity()]
        for j, parent in enumerate(SMPL_22.parents[1:], 1):
            place[j] = place[parent] + turn[parent].apply(offsets[j])
            turn.append(turn[parent] * local[j - 1])
        np.testing.assert_allclose(0.15 * rows[21:], place[1:], atol=1e-5)
