"""Joint angles: a posed skeleton is found again from its points, and what they cannot show is named."""

from typing import NamedTuple

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from shared import refuses

from jaxpose.fitting.joint_angles import _left_jacobian, fit_skeleton, joint_angles
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.io.retarget import GENERIC_OFFSETS
from tests.walker import NAMES, bones, forward, walker

AT = SMPL_22.joints.index
MEAN, DEVIATION = np.zeros((21, 3)), np.full((21, 3), 0.3)
MEAN[AT("left_shoulder") - 1], MEAN[AT("right_shoulder") - 1] = (0, 0, -1.1), (0, 0, 1.1)
MEAN[AT("left_elbow") - 1], MEAN[AT("right_elbow") - 1] = (0, -1, 0), (0, 1, 0)
MEAN[[AT("left_hip") - 1, AT("right_hip") - 1]], MEAN[[AT("left_knee") - 1, AT("right_knee") - 1]] = (
    (-0.4, 0, 0),
    (0.8, 0, 0),
)
DEVIATION[[AT("left_knee") - 1, AT("right_knee") - 1]] = (0.5, 0.1, 0.1)  # hinges
DEVIATION[[AT("left_elbow") - 1, AT("right_elbow") - 1]] = (0.1, 0.6, 0.1)


def rest_of(offsets):
    return forward(offsets, np.zeros((1, 22, 3)), np.zeros((1, 3)))[0][0]


class Found(NamedTuple):
    body_pose: np.ndarray
    global_orient: np.ndarray
    pelvis: np.ndarray
    error: np.ndarray
    rest: np.ndarray
    unobserved: dict


def found_for(points, names=NAMES):
    skeleton = fit_skeleton(points, names, rest_of(np.array(GENERIC_OFFSETS)), MEAN, DEVIATION)
    return Found(*joint_angles(skeleton, points), skeleton.rest, skeleton.unobserved)


@pytest.fixture(scope="module")
def found():
    return found_for(walker(size=0.9)[0])


def test_points_and_bones_are_met(found):
    points, _, _ = walker(size=0.9)
    assert np.median(found.error) < 0.003
    assert found.error.max() < 0.012
    offsets = found.rest - found.rest[np.maximum(SMPL_22.parents, 0)]
    vectors = np.concatenate([found.global_orient[:, None], found.body_pose], 1)
    again, _ = forward(offsets, vectors, found.pelvis)  # by scipy, from the result alone
    for name in ("left_wrist", "right_ankle", "left_knee", "right_elbow", "left_hip"):
        away = np.linalg.norm(again[:, AT(name)] - points[:, NAMES.index(name)], axis=-1)
        np.testing.assert_allclose(away, found.error[:, NAMES.index(name)], atol=1e-4)
    length, true = (np.linalg.norm(x, axis=-1) for x in (offsets, bones(0.9)))
    for name in ("left_knee", "left_ankle", "right_elbow", "right_wrist"):
        assert abs(length[AT(name)] / true[AT(name)] - 1) < 0.02


def test_rotations_that_the_points_show_are_those_that_made_them(found):
    made = walker(size=0.9)[2]
    for name, degrees in {
        "left_knee": 4,
        "right_knee": 4,
        "left_hip": 8,
        "left_elbow": 8,
        "right_shoulder": 10,
    }.items():
        R = Rotation.from_rotvec(found.body_pose[:, AT(name) - 1]).inv() * Rotation.from_rotvec(made[:, AT(name)])
        assert np.degrees(R.magnitude()).mean() < degrees, name
    root = Rotation.from_rotvec(found.global_orient).inv() * Rotation.from_rotvec(made[:, 0])
    assert np.degrees(root.magnitude()).mean() < 8


def test_what_no_point_shows_is_named_and_left_to_the_prior(found):
    assert {"left_wrist", "right_wrist", "left_ankle", "right_foot"} <= set(found.unobserved)
    assert not {"left_hip", "right_knee"} & set(found.unobserved)  # the knees are bent
    assert found.unobserved["left_wrist"] == pytest.approx(np.degrees(0.3), abs=0.2)  # the prior's own spread
    np.testing.assert_allclose(found.body_pose[:, AT("left_wrist") - 1], 0, atol=1e-3)
    points = walker(size=0.9)[0].copy()
    shoulder, elbow, wrist = (NAMES.index(f"left_{n}") for n in ("shoulder", "elbow", "wrist"))
    bone = points[:, elbow] - points[:, shoulder]
    points[:, wrist] = points[:, elbow] + bone * 0.95  # a straight arm: its twist could be any
    straight = found_for(points).unobserved
    assert straight["left_shoulder"] > 1.3 * found.unobserved.get("left_shoulder", 10)
    assert straight.get("right_shoulder", 10) == pytest.approx(found.unobserved.get("right_shoulder", 10), rel=0.1)


def test_a_turned_and_moved_person_has_the_same_pose(found):
    points = walker(size=0.9)[0]
    turn = Rotation.from_euler("y", 2.0)
    moved = turn.apply(points.reshape(-1, 3)).reshape(points.shape) + np.array([3, 0.5, -4])
    other = found_for(moved)
    np.testing.assert_allclose(other.body_pose, found.body_pose, atol=5e-3)
    expected = turn * Rotation.from_rotvec(found.global_orient)
    assert np.degrees((expected.inv() * Rotation.from_rotvec(other.global_orient)).magnitude()).max() < 0.5


def test_missing_points_are_left_out(found):
    points = walker(size=0.9)[0].copy()
    points[::3, NAMES.index("left_wrist")] = np.nan
    points[5, NAMES.index("hip")] = np.nan
    other = found_for(points)
    assert np.isnan(other.error[::3, NAMES.index("left_wrist")]).all()
    assert np.nanmax(other.error) < 0.015
    assert np.isfinite(other.body_pose).all()


def test_unknown_points_are_ignored_and_too_few_are_refused():
    points = walker(num=4)[0]
    other = found_for(np.concatenate([points, 1e3 * np.ones((4, 1, 3))], 1), (*NAMES, "a_hat"))
    assert np.isnan(other.error[:, -1]).all()
    assert np.nanmax(other.error) < 0.015
    points = points.copy()
    points[2, 5:] = np.nan
    refuses("frame 2 has 5", found_for, points)


def test_derivative_of_the_exponential():
    v, step = np.array([0.7, -1.1, 0.4]), np.array([2e-6, -1e-6, 3e-6])
    change = Rotation.from_rotvec(v + step) * Rotation.from_rotvec(v).inv()
    np.testing.assert_allclose(change.as_rotvec(), _left_jacobian(v) @ step, rtol=1e-4)
    np.testing.assert_allclose(_left_jacobian(np.zeros(3)), np.eye(3))
