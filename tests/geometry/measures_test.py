"""Quantities of bodies that were bent by hand; the angles below them are held to trigonometry by plausibility_test."""

import jax
import numpy as np
import pytest
from bent_bodies import bent
from scipy.spatial.transform import Rotation

from jaxpose.geometry import measures
from jaxpose.geometry.axes import vertical
from jaxpose.geometry.skeleton import H36M_17, mirror

UP = vertical("y")
measured = jax.jit(measures.measured)


@pytest.fixture(scope="module")
def angles():
    """Hip, knee, shoulder, elbow [4, 50, 2] degrees; limbs ahead and behind."""
    rng = np.random.default_rng(0)
    low, high = np.array([-60, 5, -70, 5]), np.array([80, 120, 80, 130])
    return rng.uniform(low[:, None, None], high[:, None, None], (4, 50, 2))


@pytest.fixture(scope="module")
def values(angles):
    return {name: np.asarray(x) for name, x in measured(bent(*angles).astype(np.float32), UP).items()}


def test_limbs_have_the_angles_that_they_were_bent_by(angles, values):
    hip, knee, shoulder, elbow = angles
    for s, side in enumerate(("left", "right")):
        expected = {
            **{"hip_flexion": hip[:, s], "knee_flexion": knee[:, s], "elbow_flexion": elbow[:, s]},
            **{"shoulder_flexion": shoulder[:, s], "shoulder_elevation": abs(shoulder[:, s]), "hip_abduction": 0},
            **{"hip_elevation": abs(hip[:, s]), "thigh_elevation": abs(hip[:, s])},
            **{"shank_elevation": abs(hip[:, s] - knee[:, s]), "upper_arm_elevation": abs(shoulder[:, s])},
            **{"shoulder_plane": np.where(shoulder[:, s] > 0, 90, -90), "shoulder_abduction": 0},
        }
        for name, value in expected.items():
            np.testing.assert_allclose(values[f"{side}_{name}"], value + 0 * hip[:, s], atol=0.05, err_msg=name)


def test_lengths_and_distances_are_those_of_the_body(angles, values):
    """The body of `bent`: thighs 0.4 m, shanks 0.43, hips 0.2 apart; from hips to head 0.75."""
    for name, length in {"thigh": 0.4, "shank": 0.43, "upper_arm": 0.3, "forearm": 0.27}.items():
        np.testing.assert_allclose(values[f"left_{name}_length"], length, atol=1e-5)
    np.testing.assert_allclose(values["stature"], (0.83 + 0.75) / (1 - 0.039), atol=1e-4)
    np.testing.assert_allclose(values["trunk_length"], 0.5, atol=1e-5)
    hip, knee = (np.radians(x) for x in angles[:2])
    ahead = 0.4 * np.sin(hip) + 0.43 * np.sin(hip - knee)
    np.testing.assert_allclose(values["step_length"], ahead[:, 0] - ahead[:, 1], atol=1e-4)


def test_sideways_limbs_are_abducted_and_a_leaning_trunk_is_elevated():
    body = bent(*np.zeros((4, 2)))
    J = {name: j for j, name in enumerate(H36M_17.joints)}
    for joint in ("elbow", "wrist"):  # the left arm 70 degrees to its side
        away = body[J[f"left_{joint}"]] - body[J["left_shoulder"]]
        body[J[f"left_{joint}"]] = body[J["left_shoulder"]] + Rotation.from_euler("z", 70, degrees=True).apply(away)
    for joint in ("knee", "ankle"):  # the right leg 20 degrees to its side
        away = body[J[f"right_{joint}"]] - body[J["right_hip"]]
        body[J[f"right_{joint}"]] = body[J["right_hip"]] + Rotation.from_euler("z", -20, degrees=True).apply(away)
    x = Rotation.from_euler("x", 30, degrees=True).apply(body).astype(np.float32)
    named = {name: float(value) for name, value in measured(x, UP).items()}
    expected = {
        "left_shoulder_abduction": 70,
        "left_shoulder_plane": 0,
        "right_hip_abduction": 20,
        "trunk_elevation": 30,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(named[name], value, atol=0.1, err_msg=name)


def test_a_turn_about_the_vertical_changes_nothing_and_a_mirror_swaps_sides(angles, values):
    x = bent(*angles).astype(np.float32)
    turned = measured(x @ Rotation.from_euler("y", 50, degrees=True).as_matrix().T.astype(np.float32), UP)
    mirrored = measured(np.asarray(mirror(x, H36M_17)), UP)
    for name, value in values.items():
        np.testing.assert_allclose(turned[name], value, atol=0.02, err_msg=name)
        other = name.replace("left_", "?").replace("right_", "left_").replace("?", "right_")
        sign = -1 if name in ("trunk_twist", "step_length") else 1
        np.testing.assert_allclose(mirrored[name], sign * values[other], atol=0.02, err_msg=name)
    assert tuple(values) == measures.names()
    assert {measures.unit_of(name) for name in values} == {"deg", "m"}
