"""The procedural human keeps its bones, its joint limits, its feet on the floor, and looks like real ones."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shared

from experiments.make_assets import synthetic
from experiments.make_assets.mannequin import (
    ANKLE_RATIO,
    ARM_LIMITS_DEG,
    LEG_LIMITS_DEG,
    TRUNK_LIMITS_DEG,
    AnglesDeg,
    clip_angles,
    forward_kinematics,
    sample_body,
)
from experiments.make_assets.synthetic import ACTIVITIES, sample_motion, sample_pose
from jaxpose.geometry.skeleton import H36M_17

FPS, FRAMES, NUM = 30.0, 90, 6
PARENTS = np.array(H36M_17.parents[1:])
LEFT, RIGHT = list(H36M_17.left), list(H36M_17.right)
SWAP = np.arange(17)
SWAP[LEFT], SWAP[RIGHT] = RIGHT, LEFT
MOCAP = shared.DATA / "mocap"


def bone_lengths(joints):
    return np.linalg.norm(joints[..., 1:, :] - joints[..., PARENTS, :], axis=-1)


def facing(joints):
    """Joints relative to the hip and turned so that the hip line points along +x (facing +z)."""
    joints = np.asarray(joints) - np.asarray(joints)[..., :1, :]
    line = joints[..., 4, :] - joints[..., 1, :]
    norm = np.hypot(line[..., 0], line[..., 2])[..., None]
    c, s = line[..., 0:1] / norm, line[..., 2:3] / norm
    x, y, z = np.moveaxis(joints, -1, 0)
    return np.stack([c * x + s * z, y, c * z - s * x], -1)


@pytest.fixture(scope="module")
def bodies():
    return jax.vmap(sample_body)(jax.random.split(jax.random.key(0), 500))


@pytest.fixture(scope="module")
def motions(bodies):
    """{activity: joints [NUM, F, 17, 3]}, motion i with body i."""
    return {
        name: np.stack(
            [sample_motion(jax.random.key(100 * a + i), bodies[i], FRAMES, FPS, activity=name) for i in range(NUM)]
        )
        for a, name in enumerate(ACTIVITIES)
    }


def pose_angles(trunk=(), left_leg=(), right_leg=(), left_arm=(), right_arm=()):
    """Angles that are 0 but for the rows given; trunk is [4, 3]."""
    trunk = jnp.array(trunk, jnp.float32) if len(trunk) else jnp.zeros((4, 3))
    rows = [
        jnp.array(row, jnp.float32) if len(row) else jnp.zeros(4) for row in (left_leg, right_leg, left_arm, right_arm)
    ]
    return AnglesDeg(trunk, jnp.stack(rows[:2]), jnp.stack(rows[2:]))


def test_bodies_have_adult_heights_and_equal_sides(bodies):
    bodies = np.asarray(bodies)
    np.testing.assert_array_equal(bodies[:, LEFT], bodies[:, RIGHT])
    leg, trunk = bodies[:, 5] + bodies[:, 6], bodies[:, 7] + bodies[:, 8]
    # The published ratios at a mean height of 1.70 m: thigh and shin 0.491, hip to shoulder 0.288.
    assert leg.mean() == pytest.approx(0.491 * 1.70, rel=0.01)
    assert trunk.mean() == pytest.approx(0.288 * 1.70, rel=0.01)
    # Height spreads by 0.10 / 1.70 (less 5 % for the cut), two segments of equal size by 0.03 / sqrt(2) more.
    assert 0.053 < leg.std() / leg.mean() < 0.070
    ratio = bodies[:, 5] / bodies[:, 6]
    assert 0.03 < ratio.std() / ratio.mean() < 0.05
    assert (bodies[:, 1:] > 0).all()
    assert (bodies[:, 0] == 0).all()


def test_zero_angles_stand_and_face_forward(bodies):
    joints = np.asarray(forward_kinematics(pose_angles(), bodies[0]))
    body = np.asarray(bodies[0])
    assert (joints[LEFT, 0] > 0.05).all()
    np.testing.assert_allclose(joints[SWAP] * [-1, 1, 1], joints, atol=1e-6)
    np.testing.assert_allclose(joints[6], joints[4] - [0, body[5] + body[6], 0], atol=1e-6)
    np.testing.assert_allclose(joints[13], joints[11] - [0, body[12] + body[13], 0], atol=1e-6)
    assert joints[9, 2] > joints[8, 2] + 0.02, "the nose lies before the thorax"


def test_each_joint_turns_the_way_its_name_says(bodies):
    body = bodies[0]
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
    bow = bones(trunk=((0, 0, 0), (30, 0, 0), (0, 0, 0), (0, 0, 0)))
    assert bow[7][2] > 0.4 * body[8], "flexion of the trunk bends it forward"
    turned = bones(trunk=((0, 0, 0), (0, 0, 0), (0, 20, 30), (0, 0, 0)))
    assert turned[10][2] < -0.4 * body[11], "turning left takes the left shoulder back"
    assert turned[10][1] < turned[13][1], "bending left lowers the left shoulder"


def test_equal_angles_left_and_right_mirror(bodies):
    trunk = np.array([(10, 5, -7), (3, -4, 6), (8, 2, 9), (-5, 6, 20)])
    left, right, arm, other = (20, 10, -5, 30), (-10, 4, 8, 60), (40, 30, -20, 70), (-20, 8, 30, 15)
    a = forward_kinematics(pose_angles(trunk, left, right, arm, other), bodies[1])
    b = forward_kinematics(pose_angles(trunk * [1, -1, -1], right, left, other, arm), bodies[1])
    np.testing.assert_allclose(np.asarray(b), np.asarray(a)[SWAP] * [-1, 1, 1], atol=1e-6)


def test_clipped_angles_never_bend_knees_or_elbows_backwards(bodies):
    """For angles far outside the limits: the hinge bends towards where a bend of 90 degrees would take it."""
    limits = [jnp.array(x) for x in (list(TRUNK_LIMITS_DEG.values()), LEG_LIMITS_DEG, ARM_LIMITS_DEG)]

    def place(key):
        keys = jax.random.split(key, 3)
        wild = AnglesDeg(
            *(
                jax.random.uniform(k, lim.shape[:-1] if i == 0 else (2, 4), minval=-250, maxval=250)
                for i, (k, lim) in enumerate(zip(keys, limits, strict=True))
            )
        )
        angles = clip_angles(wild)
        right_angle = angles._replace(legs=angles.legs.at[:, 3].set(90), arms=angles.arms.at[:, 3].set(90))
        return (forward_kinematics(x, bodies[2]) for x in (angles, right_angle))

    joints, reference = jax.jit(jax.vmap(lambda k: tuple(place(k))))(jax.random.split(jax.random.key(1), 200))
    joints, reference = np.asarray(joints), np.asarray(reference)
    for end, most in ((3, 140), (6, 140), (13, 145), (16, 145)):
        bone = (joints[:, end] - joints[:, end - 1]) / np.linalg.norm(bodies[2][end])
        along = joints[:, end - 1] - joints[:, end - 2]
        along /= np.linalg.norm(along, axis=-1, keepdims=True)
        outward = (reference[:, end] - reference[:, end - 1]) / np.linalg.norm(bodies[2][end])
        angle = np.degrees(np.arctan2((bone * outward).sum(-1), (bone * along).sum(-1)))
        assert angle.min() > -0.1
        assert angle.max() < most + 0.1
        assert np.ptp(angle) > 100, "the draw reaches both ends of the range"


@pytest.mark.parametrize("activity", ACTIVITIES)
def test_bones_keep_the_length_of_the_body(motions, bodies, activity):
    lengths = bone_lengths(motions[activity])
    np.testing.assert_allclose(lengths, np.broadcast_to(np.asarray(bodies)[:NUM, None, 1:], lengths.shape), atol=2e-6)


@pytest.mark.parametrize("activity", ACTIVITIES)
def test_knees_and_elbows_bend_the_human_way(motions, activity):
    """From positions alone: a shin swings behind its thigh, the forearm of a hanging arm to its front."""
    joints = facing(motions[activity]).reshape(-1, 17, 3)
    for hip, knee, ankle in ((1, 2, 3), (4, 5, 6)):
        thigh, shin = joints[:, knee] - joints[:, hip], joints[:, ankle] - joints[:, knee]
        thigh, shin = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (thigh, shin))
        signed = np.sign(np.cross(thigh, shin)[:, 0]) * np.degrees(np.arccos((thigh * shin).sum(-1).clip(-1, 1)))
        assert signed.min() > -0.5
        assert signed.max() < 140.5
    checked = 0
    for shoulder, elbow, wrist in ((11, 12, 13), (14, 15, 16)):
        upper, fore = joints[:, elbow] - joints[:, shoulder], joints[:, wrist] - joints[:, elbow]
        upper, fore = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (upper, fore))
        hanging = upper[:, 1] < -0.9
        bend = fore - (fore * upper).sum(-1, keepdims=True) * upper
        assert (bend[hanging, 2] > 0).all()
        angle = np.degrees(np.arccos((upper * fore).sum(-1).clip(-1, 1)))
        assert angle.min() > 1.5
        assert angle.max() < 145.5
        checked += hanging.sum()
    assert checked > 0.4 * len(joints)


def test_feet_meet_the_floor(motions, bodies):
    ankle_height = ANKLE_RATIO * np.asarray(bodies[:NUM, 5] + bodies[:NUM, 6])[:, None]
    for activity in ("stand", "walk", "turn", "squat", "sit"):
        lower = motions[activity][..., [3, 6], 1].min(-1) - ankle_height
        assert lower.min() > -0.011, activity
        assert lower.max() < 0.001, activity
        assert (motions[activity][..., [0, 8, 10], 1] > 0.2).all(), activity
    rise = motions["jump"][..., [3, 6], 1].min(-1) - ankle_height
    assert (rise.max(1) > 0.05).all()
    assert (rise.max(1) < 0.31).all()
    assert (np.abs(rise.min(1)) < 0.011).all(), "every jump also stands"


def test_standing_feet_stay_where_they_are(motions):
    for activity in ("stand", "squat", "sit"):
        middle = motions[activity][..., [3, 6], :].mean(-2)[..., [0, 2]]
        np.testing.assert_allclose(middle, np.broadcast_to(middle[:, :1], middle.shape), atol=1e-5)


def test_walkers_travel_on_a_standing_foot_and_swing_arms_against_legs(motions):
    joints = motions["walk"]
    hip_speed = np.linalg.norm(np.diff(joints[:, :, 0], axis=1)[..., [0, 2]], axis=-1).mean(1) * FPS
    assert (hip_speed > 0.5).all()
    assert (hip_speed < 1.6).all()
    slower_foot = np.linalg.norm(np.diff(joints[:, :, [3, 6]], axis=1)[..., [0, 2]], axis=-1).min(-1) * FPS
    assert (slower_foot.mean(1) < 0.35 * hip_speed).all()
    local = facing(joints)
    ahead = local[:, :, 6, 2] - local[:, :, 3, 2]  # left ankle before the right one
    assert (np.ptp(ahead, axis=1) > 0.6).all()
    arms = local[:, :, 12, 2] - local[:, :, 15, 2]
    assert np.median([np.corrcoef(x, y)[0, 1] for x, y in zip(ahead, arms, strict=True)]) < -0.5
    heading = joints[:, :-1, 4] - joints[:, :-1, 1]  # the hip line; walking is forwards, across it
    step = np.diff(joints[:, :, 0], axis=1)
    forward = np.cross(heading, [0.0, 1.0, 0.0])
    assert ((forward * step).sum(-1) > 0).all()


@pytest.mark.parametrize("activity", ACTIVITIES)
def test_motions_are_as_smooth_and_fast_as_people(motions, activity):
    """Real walks of cmu35 at 30 fps have joint accelerations up to 47 m/s^2."""
    joints = motions[activity]
    speed = np.linalg.norm(np.diff(joints, axis=1), axis=-1) * FPS
    acceleration = np.linalg.norm(np.diff(joints, 2, axis=1), axis=-1) * FPS**2
    assert speed.max() < 6.0
    assert acceleration.max() < 60.0
    assert (speed.max((1, 2)) > 0.02).all(), "something moves in every motion"


def test_the_frame_rate_only_samples_the_motion(bodies):
    for i in range(3):
        key = jax.random.key(40 + i)
        once = sample_motion(key, bodies[i], FRAMES, FPS)
        twice = sample_motion(key, bodies[i], FRAMES, 2 * FPS)
        np.testing.assert_allclose(np.asarray(twice)[::2], np.asarray(once)[: FRAMES // 2], atol=2e-5)


def test_a_heading_turns_the_motion_and_changes_nothing_else(bodies):
    style = synthetic.draw_style(jax.random.key(3), "walk")
    angle = 1.1
    a = np.asarray(synthetic.film(style, bodies[0], FRAMES, FPS))
    b = np.asarray(synthetic.film(style._replace(heading=style.heading + angle), bodies[0], FRAMES, FPS))
    c, s = np.cos(angle), np.sin(angle)
    np.testing.assert_allclose(b, a @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]), atol=1e-5)


def test_keys_decide(bodies):
    a, b = (np.asarray(sample_pose(jax.random.key(5), bodies[0])) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    poses = facing(np.stack([sample_pose(jax.random.key(i), bodies[0]) for i in range(40)]))
    apart = np.linalg.norm(poses[:, None] - poses[None], axis=-1).mean(-1)
    assert apart[~np.eye(40, dtype=bool)].min() > 0.005
    assert apart.mean() > 0.05
    np.testing.assert_allclose(bone_lengths(poses), np.tile(np.asarray(bodies[0, 1:]), (40, 1)), atol=2e-6)


def test_jit_and_vmap_change_nothing(bodies):
    keys = jax.random.split(jax.random.key(8), 3)
    together = jax.jit(jax.vmap(lambda k, b: sample_motion(k, b, FRAMES, FPS)))(keys, bodies[:3])
    assert together.dtype == jnp.float32
    for i, key in enumerate(keys):
        alone = sample_motion(key, bodies[i], FRAMES, FPS)
        np.testing.assert_allclose(np.asarray(together[i]), np.asarray(alone), atol=2e-5)


def test_bad_arguments_are_named(bodies):
    with pytest.raises(ValueError, match=r"activity.*walk.*'fly'"):
        sample_motion(jax.random.key(0), bodies[0], 3, activity="fly")
    with pytest.raises(ValueError, match="num_frames must be at least 1"):
        sample_motion(jax.random.key(0), bodies[0], 0)


def real_frames():
    """Aligned frames of CMU's training subjects, every 24th, and the median bone lengths of CMU."""
    if not (MOCAP / "cmu.npz").exists():
        pytest.skip(f"no motion capture at {MOCAP}; set JAXPOSE_DATA")
    with np.load(MOCAP / "cmu.npz") as z:
        joints = z["joints17"][::24].astype(np.float32) * z["pos_scale"]
        subject = np.repeat(z["seq_subject"], z["seq_length"])[::24]
    validation = [s for s in json.loads((MOCAP / "splits.json").read_text())["val"]]
    return facing(joints[~np.isin(subject, validation)]), np.median(bone_lengths(joints), axis=0)


def test_synthetic_people_are_close_to_real_ones(motions, bodies):
    """Under 90 mm to the nearest real pose; validation subjects are at 68 mm (every 4th frame, HDM05 too)."""
    real, bones = real_frames()
    np.testing.assert_allclose(np.median(np.asarray(bodies)[:, 1:], axis=0), bones, rtol=0.15)
    for activity, aim in (("stand", 0.09), ("walk", 0.09), ("turn", 0.09), ("sit", 0.11), ("squat", 0.11)):
        poses = facing(motions[activity][:, ::15].reshape(-1, 17, 3))
        nearest = [np.linalg.norm(real - pose, axis=-1).mean(-1).min() for pose in poses]
        assert np.mean(nearest) < aim, activity
