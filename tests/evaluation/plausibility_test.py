"""Joint angles of bodies whose angles are known, ranges against counting by hand, and the laws of turns and mirrors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mannequin import ARM_LIMITS_DEG, LEG_LIMITS_DEG, TRUNK_LIMITS_DEG, AnglesDeg, forward_kinematics
from scipy.spatial.transform import Rotation
from shared import refuses

from jaxpose.evaluation import plausibility as p
from jaxpose.geometry import measures
from jaxpose.geometry.skeleton import H36M_17, bones, mirror

NUM = 400
BODY = np.array([0, 0.1, 0.4, 0.42, 0.1, 0.4, 0.42, 0.22, 0.27, 0.11, 0.15, 0.19, 0.29, 0.27, 0.19, 0.29, 0.27])
J = {name: j for j, name in enumerate(H36M_17.joints)}
joint_angles = jax.jit(measures.joint_angles)
place = jax.jit(jax.vmap(forward_kinematics, in_axes=(0, None)))


def draw(seed, *, trunk=1.0):
    """Angles within human limits."""
    rng = np.random.default_rng(seed)
    limits = (np.array(list(TRUNK_LIMITS_DEG.values())), np.array([LEG_LIMITS_DEG] * 2), np.array([ARM_LIMITS_DEG] * 2))
    drawn = [rng.uniform(x[..., 0], x[..., 1], (NUM, *x.shape[:-1])) for x in limits]
    return AnglesDeg(trunk * drawn[0], *drawn[1:])


def posed(angles):
    return np.asarray(place(jax.tree.map(jnp.float32, angles), jnp.float32(BODY)))


@pytest.fixture(scope="module")
def people():
    return posed(draw(0))


def named(poses):
    return dict(zip(measures.ANGLES, np.degrees(np.asarray(joint_angles(poses))).T, strict=True))


def test_a_body_made_by_hand():
    """Standing upright, every number by sight: y up, facing +z, its left towards +x."""
    x = np.zeros((17, 3), np.float32)
    x[J["left_hip"]], x[J["right_hip"]] = (0.1, 0, 0), (-0.1, 0, 0)
    x[J["spine"]], x[J["thorax"]] = (0, 0.2, 0), (0, 0.4, 0.2)  # bent 45 degrees forward above the spine
    x[J["neck_nose"]], x[J["head"]] = ((0, 0.4, 0.3), (0, 0.5, 0.3))  # 45 down from there, then up at a right angle
    turn = np.radians(30)  # the shoulders turned to the left about the chest: the left one goes back
    line = 0.2 * np.array([np.cos(turn), 0, 0]) + 0.2 * np.sin(turn) * np.array([0, 1, -1]) / np.sqrt(2)
    x[J["left_shoulder"]], x[J["right_shoulder"]] = x[J["thorax"]] + line, x[J["thorax"]] - line
    x[J["left_elbow"]] = x[J["left_shoulder"]] + line  # straight out to its own side
    x[J["left_wrist"]] = x[J["left_elbow"]] - line * 0.9
    x[J["right_elbow"]] = x[J["right_shoulder"]] + [0, 0.3, 0.3]  # along the chest, over the head
    x[J["right_wrist"]] = x[J["right_elbow"]] + [0, 0.3, 0.3]
    x[J["left_knee"]], x[J["left_ankle"]] = (0.5, 0, 0), (0.5, -0.4, 0)  # out to the side, shin down
    x[J["right_knee"]], x[J["right_ankle"]] = (-0.1, -0.4, 0), (-0.1, -0.7, 0.3)  # bent the wrong way by 45
    ours = named(x)
    expected = {
        "left_hip_elevation": 90,
        "left_hip_forward": 0,
        "left_hip_outward": 90,
        "left_knee_bend": 90,
        "right_hip_elevation": 0,
        "right_hip_outward": 0,
        "right_knee_bend": 45,
        "right_knee_forward": 45,
        "left_shoulder_elevation": 90,
        "left_shoulder_forward": 0,
        "left_shoulder_outward": 90,
        "left_elbow_bend": 180,
        "right_shoulder_elevation": 180,
        "right_elbow_bend": 0,
        "spine_bend": 45,
        "spine_forward": 45,
        "neck_bend": 45,
        "head_bend": 90,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(ours[name], value, atol=0.1, err_msg=name)
    # The chest faces 30 degrees away from the plane of the bends, so forward is less of them.
    np.testing.assert_allclose(ours["neck_forward"], np.degrees(np.arcsin(np.sqrt(0.5) * np.cos(turn))), atol=0.1)
    # Seen along the lower trunk, the shoulder line is (cos 30, -sin 30 / sqrt 2), along the neck too but for sign.
    seen = np.degrees(np.arctan2(np.sin(turn) / np.sqrt(2), np.cos(turn)))
    np.testing.assert_allclose(ours["trunk_twist"], -seen, atol=0.1)
    np.testing.assert_allclose(ours["head_forward"], seen - 90, atol=0.1)


def test_angles_do_not_change_with_a_turn_a_place_or_a_size(people):
    turn = Rotation.random(NUM, random_state=3).as_matrix()
    moved = 1.3 * np.einsum("nij,nkj->nki", turn, people) + np.random.default_rng(3).normal(size=(NUM, 1, 3))
    np.testing.assert_allclose(joint_angles(moved.astype(np.float32)), joint_angles(people), atol=2e-3)


def test_a_mirror_image_swaps_the_sides_and_turns_the_twist(people):
    ours, swapped = named(people), named(np.asarray(mirror(people, H36M_17)))
    for name, value in swapped.items():
        other = name.replace("left_", "?").replace("right_", "left_").replace("?", "right_")
        sign = -1 if name == "trunk_twist" else 1
        np.testing.assert_allclose(value, sign * ours[other], atol=0.1, err_msg=name)


def test_knees_on_backwards_are_found(people):
    """The picture in a mirror with its labels as they were: lengths and bends stay, the directions of joints do not."""
    reflected = people * np.array([-1, 1, 1], np.float32)
    assert p.angle_plausibility(people, people).plausible > 0.9
    result = p.angle_plausibility(reflected, people)
    rate = dict(zip(measures.ANGLES, result.outside, strict=True))
    assert result.plausible < 0.1
    assert rate["left_knee_forward"] > 0.5
    assert rate["left_knee_bend"] < 0.02
    assert p.bone_plausibility(reflected, people).plausible == 1


def test_one_long_bone_is_found_where_it_is(people):
    """The reference's forearms are all 0.27 m: a longer one is out of range by what it has more than the margin."""
    long = people.copy()
    half = np.arange(NUM) % 2 == 0
    forearm = long[:, J["left_wrist"]] - long[:, J["left_elbow"]]
    long[half, J["left_wrist"]] += (0.05 / 0.27 * forearm)[half]
    result = p.bone_plausibility(long, people, margin=0.02)
    bone = [child for _, child in bones(H36M_17)].index(J["left_wrist"])
    expected = np.eye(len(result.outside))[bone]
    np.testing.assert_allclose(result.outside, 0.5 * expected)
    np.testing.assert_allclose(result.excess, 0.5 * 0.03 * expected, atol=1e-6)
    np.testing.assert_allclose(result.asymmetry, 0.5 * 0.05 / 6, atol=1e-6)  # six pairs of bones
    assert result.plausible == 0.5
    assert p.bone_plausibility(long, people, margin=0.06).plausible == 1


def test_uneven_sides_are_found_though_each_length_is_in_range(people):
    """Half of the reference is 15 % larger: a body with one large and one small arm has no bone out of range."""
    factor = np.where(np.arange(NUM) % 2 == 0, 1.15, 1.0)[:, None, None].astype(np.float32)
    uneven = people.copy()
    uneven[:, J["left_elbow"]] += 0.15 * (people[:, J["left_elbow"]] - people[:, J["left_shoulder"]])
    uneven[:, J["left_wrist"]] += 0.15 * (people[:, J["left_elbow"]] - people[:, J["left_shoulder"]])
    result = p.bone_plausibility(uneven, factor * people)
    np.testing.assert_array_equal(result.outside, 0)
    assert result.plausible == 0


def test_what_is_not_a_pose_is_implausible_and_what_is_not_a_reference_is_refused(people):
    broken = people.copy()
    broken[:100, J["left_knee"]] = broken[:100, J["left_hip"]]  # no thigh, so no angle
    broken[100:200, 5] = np.nan
    assert p.angle_plausibility(broken, people).outside.max() >= 0.25
    assert 0.4 < p.angle_plausibility(broken, people).plausible <= 0.5
    assert p.bone_plausibility(broken, people).plausible <= 0.5
    for function in (p.angle_plausibility, p.bone_plausibility):
        with pytest.raises(ValueError, match=r"reference: needed poses of finite .* got 100 of 400"):
            function(people, np.where(np.arange(NUM)[:, None, None] < 100, np.nan, people))
        refuses("17", function, people[:, :16], people)
