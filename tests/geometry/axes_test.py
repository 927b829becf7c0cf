"""Up-axes: turns against points placed by hand."""

import numpy as np
import pytest

from jaxpose.geometry import axes

# A person's front, left and up in worlds that differ by what points up; all right-handed, x shared with the camera.
HEAD = {"-y": [0, -1, 0], "y": [0, 1, 0], "z": [0, 0, 1]}
TOWARDS_CAMERA = {"-y": [0, 0, -1], "y": [0, 0, 1], "z": [0, -1, 0]}


@pytest.mark.parametrize(("up", "expected"), [("-y", [1, 2, 3]), ("y", [1, -2, -3]), ("z", [1, -3, 2])])
def test_axes_are_turned_never_mirrored_and_turned_back(up, expected):
    """x stays to the right; of the y-up and z-up worlds the camera looks along -z and y."""
    point = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(axes.to_camera(point, up), expected)
    np.testing.assert_array_equal(axes.from_camera(axes.to_camera(point, up), up), point)
    assert np.linalg.det(axes.to_camera(np.eye(3), up)) == pytest.approx(1)
    samples = np.random.default_rng(0).normal(size=(50, 3))
    np.testing.assert_allclose(
        axes.covariance_from_camera(np.cov(samples.T), up), np.cov(axes.from_camera(samples, up).T), atol=1e-12
    )


@pytest.mark.parametrize("start", HEAD)
@pytest.mark.parametrize("end", HEAD)
def test_a_turn_takes_head_and_front_of_one_world_to_those_of_the_other(start, end):
    R = axes.turn(start, end)
    np.testing.assert_array_equal(R @ HEAD[start], HEAD[end])
    np.testing.assert_array_equal(R @ TOWARDS_CAMERA[start], TOWARDS_CAMERA[end])
    np.testing.assert_array_equal(R @ [1, 0, 0], [1, 0, 0])
    assert not np.signbit(R[R == 0]).any()  # -0.0 would show in files


@pytest.mark.parametrize("up", HEAD)
def test_the_vertical_points_up(up):
    np.testing.assert_array_equal(axes.vertical(up), HEAD[up])
    assert up.removeprefix("-") in axes.FRAME_TAGS[up]
    assert up.removeprefix("-") in axes.INPUT_TAGS[up]
