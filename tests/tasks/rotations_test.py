"""Rotations in and out of a prior whose law is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rotation_oracle
from rotation_oracle import MEAN, STD
from scipy import stats
from scipy.spatial.transform import Rotation
from shared import refuses

import jaxpose
from jaxpose import model as released
from jaxpose.spaces.person import Statistics
from jaxpose.tasks.rotations import check_body_pose, generate_rotations, interpolate_rotations, to_state
from jaxpose.tasks.samplers import probability_flow, stochastic


def six():
    """A model of the other codec, of which only the codec matters."""
    rng = np.random.default_rng(0)
    numbers = Statistics(*(jnp.asarray(rng.uniform(0.5, 1, (21, 6)), jnp.float32) for _ in range(3)))
    return released.Model({}, numbers, rotation_oracle.spec(codec="rot6d"))


def test_states_and_back():
    pose = rotation_oracle.draw(0, 7)
    model = rotation_oracle.independent()
    np.testing.assert_allclose(to_state(model, pose), (pose - MEAN) / STD, rtol=1e-4, atol=1e-5)
    matrices = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(7, 21, 3, 3)
    numbers = six().statistics
    wanted = (matrices[..., :2].reshape(7, 21, 6) - numbers.mean) / numbers.std
    np.testing.assert_allclose(to_state(six(), pose), wanted, atol=1e-5)
    for either in (model, six()):
        state = to_state(either, pose)
        np.testing.assert_array_equal(to_state(either, pose.reshape(7, 63)), state)
        np.testing.assert_allclose(either.decode(state), pose, atol=1e-4)


@pytest.mark.parametrize("sampler", [stochastic(), probability_flow()])
def test_generated_poses_have_the_prior_s_law(sampler):
    model = rotation_oracle.independent()
    pose = np.asarray(generate_rotations(jax.random.key(0), model, 60, sampler=sampler))
    z = ((pose - MEAN) / STD).reshape(60, -1)
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    # numbers are independent of each other: the largest of 1953 correlations of 60 samples stays below 5 deviations
    correlations = np.corrcoef(z.T)[np.triu_indices(63, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(60)


@pytest.mark.slow
def test_low_temperature_narrows_the_law():
    cold = generate_rotations(jax.random.key(2), rotation_oracle.independent(), 20, sampler=stochastic(temperature=0.5))
    assert np.std((cold - MEAN) / STD) < 0.8


@pytest.mark.slow
def test_a_path_has_its_ends_and_between_them_the_great_arc():
    """The flow of independent numbers of one deviation is one factor for all: the arc between latents is that between
    states."""
    model, pose = rotation_oracle.independent(), rotation_oracle.draw(1, 2)
    path = np.asarray(interpolate_rotations(model, pose[0], pose[1], 5))
    a, b = ((p - MEAN).ravel() / STD.ravel() for p in pose)
    angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    for u, got in zip(np.linspace(0, 1, 5), path, strict=True):
        wanted = (np.sin((1 - u) * angle) * a + np.sin(u * angle) * b) / np.sin(angle)
        np.testing.assert_allclose((got - MEAN).ravel() / STD.ravel(), wanted, atol=0.02)


def test_illegal_arguments_are_named():
    model, key = rotation_oracle.tiny(), jax.random.key(0)
    joints = jaxpose.load("pose17")
    for task, call in (
        ("generate", lambda: generate_rotations(key, joints, 3)),
        ("interpolate", lambda: interpolate_rotations(joints, MEAN, MEAN, 3)),
    ):
        refuses(f"{task} needs a prior over joint rotations.*'pose17'.*'person'", call)
    refuses("num: needed at least 1, got 0", generate_rotations, key, model, 0)
    refuses("num: needed at least 2, for both ends, got 1", interpolate_rotations, model, MEAN, MEAN, 1)
    refuses(r"needed \[..., 21, 3\] or \[..., 63\], got \[22, 3\]", to_state, model, np.zeros((22, 3)))


def test_degrees_and_missing_joints_are_noticed():
    pose = rotation_oracle.draw(3, 3)
    check_body_pose(pose)
    refuses("joint 0 of pose 0 turns by more than 2 pi radians", check_body_pose, np.degrees(pose))
    broken = pose.copy()
    broken[1, 4] = np.nan
    refuses("joint 4 of pose 1 is not finite", check_body_pose, broken)
    known = np.ones((3, 21))
    known[1, 4] = 0
    check_body_pose(broken, known)
