"""The procedural body: bones, directions of its joints, limits; and a walk whose feet meet the floor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.make_assets.mannequin import ANKLE_RATIO, AnglesDeg, forward_kinematics, sample_body
from experiments.make_assets.walking import draw_style, film
from jaxpose.geometry.skeleton import H36M_17, mirror

FPS, FRAMES = 30.0, 90
PARENTS = np.array(H36M_17.parents[1:])
LEFT, RIGHT = list(H36M_17.left), list(H36M_17.right)


@pytest.fixture(scope="module")
def body():
    return sample_body(jax.random.key(0))


@pytest.fixture(scope="module")
def walks(body):
    return np.stack([film(draw_style(jax.random.key(i)), body, FRAMES, FPS) for i in range(3)])


def pose_angles(trunk=((0,) * 3,) * 4, left_leg=(0,) * 4, right_leg=(0,) * 4, left_arm=(0,) * 4, right_arm=(0,) * 4):
    legs, arms = (jnp.array(sides, jnp.float32) for sides in ((left_leg, right_leg), (left_arm, right_arm)))
    return AnglesDeg(jnp.array(trunk, jnp.float32), legs, arms)


def test_each_joint_turns_the_way_its_name_says(body):
    thigh, shin, upper, fore = (float(body[j]) for j in (5, 6, 12, 13))

    def bones(**rows):
        joints = np.asarray(forward_kinematics(pose_angles(**rows), body))
        return joints[1:] - joints[PARENTS]  # entry j - 1 is the bone of joint j

    flexed = bones(left_leg=(90, 0, 0, 90), right_leg=(0, 30, 0, 0))
    np.testing.assert_allclose(flexed[4], [0, 0, thigh], atol=1e-6)
    np.testing.assert_allclose(flexed[5], [0, -shin, 0], atol=1e-6)
    np.testing.assert_allclose(flexed[1], [-thigh / 2, -thigh * np.sqrt(0.75), 0], atol=1e-6)
    arms = bones(left_arm=(0, 90, -90, 90), right_arm=(0, 0, 90, 90))
    np.testing.assert_allclose(arms[11], [upper, 0, 0], atol=1e-6)
    np.testing.assert_allclose(arms[12], [0, fore, 0], atol=1e-6)  # outward rotation: a raised hand
    np.testing.assert_allclose(arms[15], [fore, 0, 0], atol=1e-6)  # inward rotation: a hand before the belly
    turned = bones(trunk=((0, 0, 0), (0, 0, 0), (0, 20, 30), (0, 0, 0)))
    assert turned[10][2] < -0.4 * body[11], "turning left takes the left shoulder back"
    assert turned[10][1] < turned[13][1], "bending left lowers the left shoulder"


def test_equal_angles_left_and_right_mirror(body):
    trunk = np.array([(10, 5, -7), (3, -4, 6), (8, 2, 9), (-5, 6, 20)])
    left, right, arm, other = (20, 10, -5, 30), (-10, 4, 8, 60), (40, 30, -20, 70), (-20, 8, 30, 15)
    a = forward_kinematics(pose_angles(trunk, left, right, arm, other), body)
    b = forward_kinematics(pose_angles(trunk * [1, -1, -1], right, left, other, arm), body)
    np.testing.assert_allclose(b, mirror(a, H36M_17), atol=1e-6)


def test_walkers_keep_their_bones_and_their_feet_on_the_floor(walks, body):
    lengths = np.linalg.norm(walks[..., 1:, :] - walks[..., PARENTS, :], axis=-1)
    np.testing.assert_allclose(lengths, np.broadcast_to(body[1:], lengths.shape), atol=2e-6)
    lower = walks[..., [3, 6], 1].min(-1) - ANKLE_RATIO * float(body[5] + body[6])
    assert lower.min() > -0.011
    assert lower.max() < 0.001
