"""Generation from a known law, and the samplers' names."""

import jax
import numpy as np
import pose_oracle
import pytest
from shared import refuses

from jaxpose.model import null_condition
from jaxpose.tasks.generate import generate
from jaxpose.tasks.samplers import SAMPLERS, mean_flow, probability_flow, sampler_of, stochastic

COV = pose_oracle.covariance()
DEVIATION = np.sqrt(np.diag(COV))


@pytest.fixture(scope="module")
def model():
    return pose_oracle.make()


@pytest.mark.parametrize("sampler", [stochastic(), probability_flow()], ids=lambda s: s.name)
def test_poses_follow_the_law(model, sampler):
    num = 3000
    poses = np.asarray(generate(jax.random.key(0), model, num, sampler=sampler))
    np.testing.assert_array_equal(poses[:, 0], 0)
    away = (poses - poses.mean(1, keepdims=True) - pose_oracle.MEAN).reshape(num, 51)
    np.testing.assert_allclose(away.mean(0), np.zeros(51), atol=0.015)
    np.testing.assert_allclose(np.cov(away.T), COV, atol=0.08 * COV.max())
    # five standard errors of the mean square of all numbers together
    error = np.sqrt(2 * np.square(COV).sum() / num) / np.trace(COV)
    np.testing.assert_allclose(np.square(away).sum(1).mean() / np.trace(COV), 1, atol=5 * error)


def test_mean_flow_keeps_next_to_no_spread(model):
    """The flow without its noise ends near the mean: a few percent of the law's spread are left (spec 5.4)."""
    poses = np.asarray(generate(jax.random.key(0), model, 20, sampler=mean_flow()))
    centred = poses - poses.mean(1, keepdims=True)
    assert (np.abs(centred - pose_oracle.MEAN).mean(0) < 0.06 * DEVIATION.reshape(17, 3)).all()


def test_the_path_ends_in_the_result_and_more_begin_as_fewer():
    key, model = jax.random.key(1), pose_oracle.tiny()
    path = np.asarray(generate(key, model, 70, sampler=stochastic(3), return_path=True))
    assert path.shape == (4, 70, 17, 3)
    more = np.asarray(generate(key, model, 130, sampler=stochastic(3)))
    np.testing.assert_allclose(path[-1], more[:70], atol=1e-5)
    assert np.abs(more[64:128] - more[:64]).max((1, 2)).min() > 1e-2, "the next 64 poses are others"


def test_bad_input_is_told(model):
    refuses("num: needed at least 1, got 0", generate, jax.random.key(0), model, 0)
    refuses(r"sampler: got 'euler', must be one of \('posterior', 'probability_flow'", sampler_of, "euler")
    refuses("sampler 'mean_flow' takes no temperature", sampler_of, "mean_flow", 8, temperature=0.9)
    assert {name: make().calibrated for name, make in SAMPLERS.items()} == {
        name: name == "posterior" for name in SAMPLERS
    }
    assert [sampler_of(name, 7) for name in SAMPLERS] == [make(7) for make in SAMPLERS.values()]
    assert (np.asarray(null_condition(model, 2).mask) == 0).all()
