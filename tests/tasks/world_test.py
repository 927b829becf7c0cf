"""Poses of a tilted camera put into a world whose floor, vertical and paths are known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import norm
from shared import refuses

from jaxpose.geometry.root_path import CONTACTS
from jaxpose.geometry.skeleton import H36M_17, SMPL_22
from jaxpose.tasks.world import to_world

ANKLE_HEIGHT = 0.075
RATE = 30.0
JOINT = {name: H36M_17.joints.index(name) for name in H36M_17.joints}


def standing(num, x=0.0, size=1.0):
    """Poses [num, 17, 3] in a world with y up of a person who walks from 3 to 6 m along -z, and stands on y = 0."""
    z = -np.linspace(3, 6, num)
    hip = np.stack([x + 0 * z, 0.95 + 0 * z, z], -1)
    pose = np.repeat(hip[:, None], 17, 1)
    for name, offset in {"thorax": (0, 0.5, 0), "neck_nose": (0, 0.6, 0), "head": (0, 0.75, 0)}.items():
        pose[:, JOINT[name]] += offset
    for side, first in (("left", 0.0), ("right", 0.5)):
        phase = (np.arange(num) / RATE + first) % 1.0
        swing, speed = np.clip(2 * phase - 1, 0, 1), 3 * RATE / (num - 1)
        ahead = -speed * (np.where(phase < 0.5, 0.25 - phase, -0.25 + 0.5 * swing))
        lift = 0.2 * np.sin(np.pi * swing)
        pose[:, JOINT[f"{side}_ankle"]] += np.stack([0 * z, ANKLE_HEIGHT - 0.95 + lift, ahead], -1)
        pose[:, JOINT[f"{side}_wrist"]] += [0.2 if side == "left" else -0.2, 0, 0]
        pose[:, JOINT[f"{side}_knee"]] += np.stack([0 * z, -0.45 + 0 * z, 0.5 * ahead], -1)
    return size * (pose - [x, 0, 0]) + [x, 0, 0]


def filmed(pose, pitch=15.0, height=1.7, error=0.0, seed=0):
    """As `lift` would give it: joints about the root, root [H, N, 3], and R_cam_world; error: of depth, a share."""
    R = Rotation.from_euler("x", pitch, degrees=True).as_matrix() @ np.diag([1.0, -1.0, -1.0])
    x_cam = (pose - [0, height, 0]) @ R.T
    rng = np.random.default_rng(seed)
    root = x_cam[:, 0] * (1 + error * rng.normal(size=(len(pose), 1)))
    samples = root * (1 + 0.033 * rng.normal(size=(40, len(pose), 1)))
    return x_cam - x_cam[:, :1], samples - samples.mean(0) + root, R


def angle(a, b):
    return np.degrees(np.arccos(np.clip(a @ b, -1, 1)))


def test_the_world_is_found_from_the_people_alone():
    pose = standing(150)
    joints, root, R = filmed(pose, error=0.02)
    world = to_world(joints, root, fps=RATE)
    assert world.found
    again = to_world(joints, root, fps=2 * RATE, frame=2 * np.arange(150))
    np.testing.assert_allclose(again.root_world, world.root_world, atol=1e-9)
    assert angle(world.R_world_camera[1], R[:, 1]) < 2
    assert world.camera_height == pytest.approx(1.7, abs=0.15)
    assert world.root_world[0, [0, 2]] == pytest.approx([0, 0], abs=1e-9)
    true = pose[:, 0] - pose[0, 0] * [1, 0, 1]
    # about the middle of the path: the first root is the origin of both, and errs itself
    moved = lambda x: x - x.mean(0)  # noqa: E731
    assert np.linalg.norm(moved(world.root_world) - moved(true), axis=-1).mean() < 0.1
    feet = (joints @ world.R_world_camera.T + world.root_world[:, None])[:, [6, 3]]
    assert np.median(feet[..., 1].min(-1)) == pytest.approx(ANKLE_HEIGHT, abs=0.03)
    assert any("told by the people" in line for line in world.said)


def test_what_is_given_is_taken():
    pose = standing(60)
    joints, root, R = filmed(pose, pitch=-10, height=1.2)
    world = to_world(joints, root, gravity=-3 * R[:, 1], camera_height=1.2, fps=RATE)
    np.testing.assert_allclose(world.R_world_camera[1], R[:, 1], atol=1e-12)
    np.testing.assert_allclose(world.R_world_camera, R.T, atol=1e-12)  # the camera has no yaw in its own world
    assert world.camera_height == 1.2
    placed = to_world(joints, root, placed=(R.T, np.array([0, 1.2, 0])), fps=RATE)
    np.testing.assert_allclose(placed.root_world, pose[:, 0], atol=0.05)
    assert any("calibration" in line for line in placed.said)


def test_the_height_of_the_camera_corrects_the_distance_as_far_as_the_vertical_is_known():
    """A person taken to be a tenth too large is a tenth too far away, and their feet are under the floor."""
    joints, root, R = filmed(1.1 * (standing(90) - [0, 1.7, 0]) + [0, 1.7, 0])
    true = (standing(90)[:, 0] - [0, 1.7, 0]) @ R.T
    far = lambda w: np.linalg.norm(w.root_world - w.t_world_camera, axis=-1) / np.linalg.norm(true, axis=-1)  # noqa: E731
    gravity = -R[:, 1]
    free, told = (to_world(joints, root, gravity=gravity, camera_height=h, fps=RATE) for h in (None, 1.7))
    known = to_world(joints, root, placed=(R.T, np.array([0, 1.7, 0])), fps=RATE)
    assert np.median(far(free)) == pytest.approx(1.1, abs=0.01)
    assert 1.0 < np.median(far(known)) < 1.04 < np.median(far(told)) < 1.09
    assert known.root_radius_90.mean() < free.root_radius_90.mean()


def test_the_radius_holds_nine_in_ten_of_what_is_assumed_of_sizes():
    """A factor of distance at the middles of 20 equal shares of its law: 4 % of size, 0.52 of the samples' spread."""
    joints, root, R = filmed(standing(60))
    true = (standing(60)[:, 0] - [0, 1.7, 0]) @ R.T
    inside = []
    for z in norm.ppf((np.arange(20) + 0.5) / 20):
        world = to_world(joints, root * (1 + np.hypot(0.04, 0.52 * 0.033) * z), gravity=-R[:, 1], fps=RATE)
        x_cam = (world.root_world - world.t_world_camera) @ world.R_world_camera
        inside.append((np.linalg.norm(x_cam - true, axis=-1) < world.root_radius_90).mean())
    assert 0.85 < np.mean(inside) < 0.95


def test_whole_paths_are_as_far_from_the_root_as_its_radius_says_and_move_as_it_does():
    """So lengths, distances and speeds of the paths are bands of those of the root."""
    joints, root, _ = filmed(standing(60), error=0.014)
    world = to_world(joints, np.concatenate([root] * 10), fps=RATE)
    away = np.linalg.norm(world.root_paths - world.root_world, axis=-1)
    assert world.root_paths.shape == (400, 60, 3)
    assert 0.86 < (away < world.root_radius_90).mean() < 0.94
    lengths = np.linalg.norm(np.diff(world.root_paths, axis=1), axis=-1).sum(1)
    low, high = np.quantile(lengths, (0.05, 0.95))
    assert low < 3.0 < high  # metres, of the true path
    assert high - low < 1.0  # frame by frame the roots are 0.1 m off each, which would add metres


def test_several_people_stand_in_one_world_and_rows_keep_their_places():
    one, two = standing(60, x=-1.0), standing(60, x=1.0)
    both = np.stack([two, one], 1).reshape(-1, 17, 3)
    joints, root, _ = filmed(both)
    frame, person = np.repeat(np.arange(60), 2), np.tile([4, 2], 60)
    world = to_world(joints, root, frame=frame, person=person, fps=RATE)
    apart = world.root_world[person == 4] - world.root_world[person == 2]
    np.testing.assert_allclose(apart.mean(0), [2, 0, 0], atol=0.1)
    shuffled = np.random.default_rng(0).permutation(120)
    other = to_world(joints[shuffled], root[:, shuffled], frame=frame[shuffled], person=person[shuffled], fps=RATE)
    np.testing.assert_allclose(other.contacts, world.contacts[shuffled], atol=1e-6)
    np.testing.assert_allclose(other.root_world, world.root_world[shuffled], atol=1e-6)


def test_people_of_other_sizes_and_a_vertical_that_is_a_little_off_stand_on_one_floor():
    """One person is taken to be 6 % too large, and the vertical is told 2 degrees wrong: both have their feet on it."""
    joints, root, _ = filmed(
        np.concatenate([standing(90, x=-1.5), 1.06 * (standing(90, x=1.5) - [0, 1.7, 0]) + [0, 1.7, 0]])
    )
    person, frame = np.repeat([0, 1], 90), np.tile(np.arange(90), 2)
    world = to_world(joints, root, frame=frame, person=person, fps=RATE)
    assert not any("do not stand" in line for line in world.said)
    feet = (joints @ world.R_world_camera.T + world.root_world[:, None])[:, [6, 3], 1].min(1)
    level = [np.median(feet[person == who]) for who in (0, 1)]
    np.testing.assert_allclose(level, ANKLE_HEIGHT, atol=0.04)


def test_doubts_are_said():
    pose = standing(150)
    still, root, _ = filmed(pose)
    moved, root_moved, _ = filmed(pose, pitch=40)
    half = np.arange(150) < 75
    turning = to_world(np.where(half[:, None, None], still, moved), np.where(half[:, None], root, root_moved), fps=RATE)
    assert any("the camera may have moved" in line for line in turning.said)
    assert not any("moved" in line for line in to_world(still, root, fps=RATE).said)
    short = to_world(still[:3], root[:, :3], fps=RATE)
    assert not short.found
    assert any("not known, a level camera is assumed" in line for line in short.said)
    np.testing.assert_array_equal(short.R_world_camera[1], [0, -1, 0])
    child = np.concatenate([pose, standing(150, x=1.0) + np.array([0, 1.5, 0])])
    joints, root, R = filmed(child)
    person = np.repeat([0, 1], 150)
    uneven = to_world(joints, root, frame=np.tile(np.arange(150), 2), person=person, gravity=-R[:, 1], fps=RATE)
    assert any("do not stand on this floor: person 1, +1." in line for line in uneven.said)
    ground = (joints @ uneven.R_world_camera.T + uneven.root_world[:, None])[:, [6, 3], 1].min(1)
    assert np.median(ground[person == 0]) == pytest.approx(ANKLE_HEIGHT, abs=0.05)  # the lower of two, as long seen


def lying(num=60):
    """Poses [num, 17, 3], y up, of a person who lies still on their back 4 m away, the joints at their heights."""
    along = {"hip": 0, "spine": 0.2, "thorax": 0.45, "neck_nose": 0.55, "head": 0.7, "hips": 0, "knee": -0.42}
    along |= {"ankle": -0.85, "shoulder": 0.42, "elbow": 0.2, "wrist": -0.05}
    pose = np.tile([0, 0.1, -4.0], (num, 17, 1))
    for name, j in JOINT.items():
        side, _, part = name.rpartition("_")
        x, wide = along.get(part, along.get(name, 0)), 0.1 if part in ("hip", "knee", "ankle") else 0.25
        pose[:, j] += [x, 0, {"left": wide, "right": -wide}.get(side, 0)]
        pose[:, j, 1] = CONTACTS.get(name, 0.1)
    return pose


def test_a_lying_person_lies_and_the_floor_holds_hips_and_back():
    pose, noise = lying(), np.random.default_rng(0)
    joints, root, R = filmed(pose, pitch=20, error=0.01)
    errors = noise.normal(0, 0.02, (1, 17, 3)) + noise.normal(0, 0.01, joints.shape)
    world = to_world(joints + errors - errors[:, :1], root, fps=RATE)
    assert angle(world.R_world_camera[1], R[:, 1]) < 10
    assert (world.contacts[:, [0, 1, 6, 7, 8]] > 0.5).mean() > 0.9
    on = [JOINT[name] for name in ("left_hip", "right_hip", "left_shoulder", "right_shoulder")]
    assert np.quantile(abs(world.joints[:, on, 1] - pose[:, on, 1]), 0.95) < 0.05


def test_feet_of_exports_do_not_slide_and_bones_keep_their_lengths():
    pose = standing(120)
    joints, root, R = filmed(pose, error=0.02)
    wander = np.cumsum(np.random.default_rng(1).normal(0, 0.005, (120, 4, 3)), 0)
    joints[:, [2, 3, 5, 6]] += wander @ R.T
    world = to_world(joints, root, gravity=-R[:, 1], fps=RATE)
    for foot in (0, 1):
        edges = np.flatnonzero(np.diff(world.contacts[:, foot] > 0.5, prepend=False, append=False)).reshape(-1, 2)
        steps = [world.joints[a:b, (6, 3)[foot]] for a, b in edges if b - a > 5]
        assert len(steps) > 2
        assert np.median([np.ptp(step, 0).max() for step in steps]) < 0.01
    for a, b in ((1, 2), (2, 3), (4, 5), (5, 6)):
        length, before = (np.linalg.norm(x[:, a] - x[:, b], axis=-1) for x in (world.joints, joints))
        np.testing.assert_allclose(length, before, atol=1e-6)


def on_a_path(num=90, pitch=15.0, pan=50.0, went=(2.0, 0.3, -1.5)):
    """R_cam_world [num, 3, 3] and t_cam [num, 3] of a camera 1.7 m high that pans, nods and goes on."""
    share = np.linspace(0, 1, num)
    turn = Rotation.from_euler("yx", np.stack([pan * share, pitch + 5 * np.sin(6 * share)], -1), degrees=True)
    R = turn.inv().as_matrix() @ np.diag([1.0, -1.0, -1.0])
    return R, -np.einsum("nij,nj->ni", R, [0, 1.7, 0] + share[:, None] * went)


def filmed_on(pose, R, t, error=0.01, seed=0):
    """As `filmed`, by a camera on a path."""
    x_cam = np.einsum("nij,nkj->nki", R, pose) + t[:, None]
    rng = np.random.default_rng(seed)
    root = x_cam[:, 0] * (1 + error * rng.normal(size=(len(pose), 1)))
    samples = root * (1 + 0.033 * rng.normal(size=(40, len(pose), 1)))
    return x_cam - x_cam[:, :1], samples - samples.mean(0) + root


def test_a_moving_camera_on_its_path_sees_the_world_of_a_still_one():
    pose, path = standing(90), on_a_path()
    still = tuple(np.repeat(x[:1], 90, 0) for x in path)
    with_path = to_world(*filmed_on(pose, *path), fps=RATE, camera_path=path)
    of_still = to_world(*filmed_on(pose, *still), fps=RATE)
    without = to_world(*filmed_on(pose, *path), fps=RATE)
    true = (pose[:, 0] - pose[0, 0]) * [1, 0, 1] + [0, 0.95, 0]
    off = [np.linalg.norm(w.root_world - true, axis=-1).mean() for w in (with_path, of_still, without)]
    assert max(off[:2]) < 0.03
    assert off[2] > 1
    assert angle(with_path.R_world_camera[0, 1], path[0][0] @ [0, 1, 0]) < 2
    assert with_path.camera_height == pytest.approx(1.7, abs=0.1)
    assert (with_path.contacts[:, :2] > 0.5).mean() == pytest.approx((of_still.contacts[:, :2] > 0.5).mean(), abs=0.1)
    x_cam = np.einsum("nji,nj->ni", with_path.R_world_camera, with_path.root_world - with_path.t_world_camera)
    lifted = filmed_on(pose, *path)[1].mean(0)
    assert np.linalg.norm(x_cam - lifted, axis=-1).mean() < 0.1


def test_the_axes_of_a_path_do_not_matter_and_a_path_of_one_place_is_a_still_camera():
    pose, (R, t) = standing(60), on_a_path(60)
    Q, shift = Rotation.from_rotvec([0.4, -1.1, 2.0]).as_matrix(), np.array([3.0, -7.0, 20.0])
    given = {"fps": RATE, "gravity": -R[0] @ [0, 1, 0], "camera_height": 1.7}
    one = to_world(*filmed_on(pose, R, t), camera_path=(R, t), **given)
    other = to_world(*filmed_on(pose, R, t), camera_path=(R @ Q.T, t - R @ Q.T @ shift), **given)
    for name in ("R_world_camera", "t_world_camera", "root_world", "joints", "root_radius_90"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), atol=1e-5)
    joints, root, _ = filmed(pose)
    fixed = np.repeat(R[:1], 60, 0), np.repeat(t[:1], 60, 0)
    moving, still = to_world(joints, root, fps=RATE, camera_path=fixed), to_world(joints, root, fps=RATE)
    np.testing.assert_allclose(moving.root_world, still.root_world, atol=1e-9)
    np.testing.assert_allclose(moving.R_world_camera, np.repeat(still.R_world_camera[None], 60, 0), atol=1e-9)


def test_feet_that_stand_tell_a_wrong_scale_of_the_path():
    pose, (R, t) = standing(90), on_a_path()
    joints, root = filmed_on(pose, R, t)
    told = {}
    for scale in (0.4, 1.0, 3.0):
        said = to_world(joints, root, fps=RATE, camera_path=(R, scale * t)).said
        told[scale] = [float(line.split()[8]) for line in said if "times as far as its path" in line]
    assert told[1.0] == []
    assert told[0.4] == [pytest.approx(2.5, rel=0.15)]
    assert told[3.0] == [pytest.approx(1 / 3, rel=0.15)]
    eye = -np.einsum("nji,nj->ni", R, t)[:1]  # a camera that only turns has no scale
    turning = R, -np.einsum("nij,j->ni", R, eye[0])
    said = to_world(*filmed_on(pose, *turning), fps=RATE, camera_path=turning).said
    assert not any("times as far" in line for line in said)


def test_size_is_of_the_distance_to_the_place_where_the_camera_is():
    """A person taken to be a tenth too large, seen from a crane, whose height tells it."""
    R, t = on_a_path(90, went=(-8.0, 1.5, -1.0))
    eye = -np.einsum("nji,nj->ni", R, t)
    pose = standing(90)
    joints, root = filmed_on(eye[:, None] + 1.1 * (pose - eye[:, None]), R, t, error=0.0)
    true, gravity = np.linalg.norm(pose[:, 0] - eye, axis=-1), -R[0] @ [0, 1, 0]
    worlds = (
        to_world(joints, root, fps=RATE, placed=(R[0].T, eye[0]), camera_path=(R, t)),
        to_world(joints, root, fps=RATE, gravity=gravity, camera_path=(R, t)),
    )
    known, free = (np.linalg.norm(w.root_world - w.t_world_camera, axis=-1) / true for w in worlds)
    assert np.median(free) == pytest.approx(1.1, abs=0.02)
    assert np.median(known) == pytest.approx(1.02, abs=0.02)
    assert np.ptp(known) < 0.05
    away = worlds[1].root_paths[:, 60:] - worlds[1].root_world[60:]
    ray = (worlds[1].root_world - worlds[1].t_world_camera)[60:]
    along = abs((away * ray).sum(-1)) / np.linalg.norm(ray, axis=-1)
    assert along.mean() > 0.9 * np.linalg.norm(away, axis=-1).mean()
    least = 1.645 * np.hypot(0.04, 0.52 * 0.033)  # of size and of the samples' spread
    assert (worlds[1].root_radius_90[60:] > least * np.linalg.norm(ray, axis=-1)).all()


def test_bad_arguments_are_named():
    joints, root, _ = filmed(standing(4))
    for message, change in {
        "gravity: needed a direction": {"gravity": np.zeros(3)},
        "gravity: needed finite numbers": {"gravity": np.array([0, np.nan, 1])},
        "gravity: needed float32": {"gravity": "y"},
        r"gravity: needed \[3\]": {"gravity": np.ones((2, 3))},
        "joints: needed finite numbers": {"joints": np.full_like(joints, np.nan)},
        "joints: needed at least one row": {"joints": 1.0},
        "root: needed places before the camera": {"root": 0 * root},
        "frame: needed numbers": {"frame": np.arange(4) > 2},
        "fps: needed a number": {"fps": []},
        "seed: needed a whole number": {"seed": "x"},
        "camera_height: needed finite numbers from 0.001 to": {"camera_height": -1.0},
        "needed none where the camera's place is given": {"placed": (np.eye(3), np.ones(3)), "camera_height": 1.0},
        "person 0 is twice in one frame": {"frame": np.array([0, 1, 1, 2])},
        r"joints: needed \[N, 22, 3\]": {"skeleton": SMPL_22},
        r"camera_path: R_cam_world: .*\[4, 3, 3\]": {"camera_path": (np.eye(3), np.zeros(3))},
    }.items():
        refuses(message, to_world, **{"joints": joints, "root": root} | change)
