"""Generation from a known law, and the solvers' names."""

import jax
import jax.numpy as jnp
import numpy as np
import pose_oracle
import pytest

from jaxpose.tasks.draw import draw_states, null_condition
from jaxpose.tasks.generate import generate, jitted_generate


@pytest.fixture(scope="module")
def model():
    return pose_oracle.make()


@pytest.mark.parametrize("sampler", ["posterior", "probability_flow"])
def test_poses_follow_the_law(model, sampler):
    poses = np.asarray(jitted_generate(jax.random.key(0), model, 3000, sampler=sampler))
    np.testing.assert_array_equal(poses[:, 0], 0)
    centred = poses - poses.mean(1, keepdims=True)
    np.testing.assert_allclose(centred.mean(0), pose_oracle.MEAN, atol=0.015)
    np.testing.assert_allclose(
        np.cov(centred.reshape(3000, 51).T), pose_oracle.covariance(), atol=0.08 * pose_oracle.covariance().max()
    )


def test_mean_flow_keeps_next_to_no_spread(model):
    """The flow without its noise ends near the mean: a few percent of the law's spread are left (spec 5.4)."""
    poses = np.asarray(jitted_generate(jax.random.key(0), model, 20, sampler="mean_flow"))
    centred = poses - poses.mean(1, keepdims=True)
    spread = np.sqrt(np.diag(pose_oracle.covariance())).reshape(17, 3)
    assert (np.abs(centred - pose_oracle.MEAN).mean(0) < 0.06 * spread).all()


@pytest.mark.slow
def test_the_path_ends_in_the_result_and_more_begin_as_fewer(model):
    key = jax.random.key(1)
    path = generate(key, model, 70, num_steps=3, return_path=True)
    assert path.shape == (4, 70, 17, 3)
    np.testing.assert_array_equal(path[-1], generate(key, model, 70, num_steps=3))
    np.testing.assert_array_equal(path[-1], generate(key, model, 130, num_steps=3)[:70])


def test_bad_input_is_told(model):
    with pytest.raises(ValueError, match="num: needed at least 1, got 0"):
        generate(jax.random.key(0), model, 0)
    with pytest.raises(ValueError, match="sampler: got 'euler', legal are"):
        draw_states(jax.random.key(0), model, null_condition(model, 1), num_hypotheses=1, sampler="euler")
    assert jnp.all(null_condition(model, 2).mask == 0)
