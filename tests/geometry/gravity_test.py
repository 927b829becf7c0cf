"""The vertical of a tilted camera, from stick people whose true vertical is known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxpose.geometry.gravity import Seen, floor_level, vertical, world_axes

RATE = 30.0


def tilted(pitch, roll):
    """R_cam_world [3, 3] of a camera in a world with y up that is turned down by `pitch` and rolled, degrees."""
    level = np.diag([1.0, -1.0, -1.0])
    return Rotation.from_euler("zx", [roll, pitch], degrees=True).as_matrix() @ level


def walkers(R, num=150, height=1.6, lean=0.0, seed=0):
    """People who walk 3 to 7 m away from a camera at `height` metres, and lean by `lean` degrees, camera axes."""
    rng = np.random.default_rng(seed)
    away = np.linspace(3, 7, num)
    hip = np.stack([np.sin(away), np.full(num, 0.95), -away], -1)
    swing = 0.25 * np.sin(np.arange(num) / 5)
    ankles = hip[:, None] + np.stack([np.stack([s * swing, 0 * swing - 0.87, 0 * swing], -1) for s in (1, -1)], 1)
    trunk = np.stack([np.sin(np.radians(lean)) + 0 * away, np.cos(np.radians(lean)) + 0 * away, 0 * away], -1) * 0.5
    noise = lambda x: x + rng.normal(0, 0.02, x.shape)  # noqa: E731
    turn = lambda x: noise(x) @ R.T  # noqa: E731
    eye = np.array([0, height, 0])
    seen = turn(trunk), turn(hip - ankles.mean(1)), turn(ankles - eye), turn(hip - eye), 0.02 * away
    return Seen(*seen, np.full(2, 0.08), num / RATE, np.zeros((num, 3)))


def angle(a, b):
    return np.degrees(np.arccos(np.clip(a @ b, -1, 1)))


@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (20, 0), (-10, 4), (45, -5)])
def test_the_vertical_of_a_tilted_camera_is_found_and_the_cameras_height(pitch, roll):
    R = tilted(pitch, roll)
    seen = walkers(R)
    found = vertical([seen])
    assert found.found
    assert angle(found.up, R[:, 1]) < 1.5
    assert angle(found.up, R[:, 1]) < 3 * np.degrees(found.std)
    assert floor_level(seen, R[:, 1]) == pytest.approx(-1.6, abs=0.05)


def test_a_while_of_bending_does_not_turn_the_vertical_and_people_help_each_other():
    R = tilted(15, 0)
    up, bent = walkers(R, 100), walkers(R, 40, lean=70)
    joined = [np.concatenate([a, b]) for a, b in zip(up[:5], bent[:5], strict=True)]
    both = Seen(*joined, up.heights, 140 / RATE, np.zeros((140, 3)))
    assert angle(vertical([both]).up, R[:, 1]) < 3
    assert angle(vertical([up, bent]).up, R[:, 1]) < 3
    assert vertical([up]).std > vertical([up, walkers(R, 100, seed=1)]).std > np.radians(1.5)  # how posture misleads


def test_only_the_place_of_the_camera_counts_not_that_of_the_origin():
    seen, shift = walkers(tilted(15, 0)), np.array([3.0, 0.5, -8.0])
    moved = seen._replace(points=seen.points + shift, root=seen.root + shift, eye=seen.eye + shift)
    np.testing.assert_allclose(vertical([moved]).up, vertical([seen]).up, atol=1e-6)


@pytest.mark.parametrize("pitch", [-5, 20])
def test_people_who_lie_tell_the_vertical(pitch):
    """Across the image, as no camera is rolled; their points lie 0.08 m over the floor, the wrists 0.3 m."""
    R, rng, eye = tilted(pitch, 0), np.random.default_rng(0), np.array([0, 1.4, 0])
    flat = np.array([[-0.8, 0.08, z] for z in (-0.1, 0.1)] + [[0.4, 0.3, z] for z in (-0.3, 0.3)] + [[0.5, 0.08, 0]])
    x = rng.normal(flat, 0.02, (90, 5, 3)) - [0, 0, 4] - eye
    along = np.array([[0.5, 0, 0]]) + rng.normal(0, 0.02, (90, 3))
    seen = Seen(along @ R.T, along @ R.T, x @ R.T, x.mean(1) @ R.T, np.full(90, 0.1), np.full(5, 0.08), 3.0, 0 * along)
    found = vertical([seen])
    assert found.found
    assert angle(found.up, R[:, 1]) < 6


def test_who_is_seen_for_a_moment_or_from_above_tells_nothing():
    moment = walkers(tilted(0, 0), 5)._replace(seconds=0.1)
    for seen, why in ((moment, "0.1 s only"), (walkers(tilted(80, 0)), "above")):
        found = vertical([seen])
        assert not found.found
        np.testing.assert_array_equal(found.up, [0, -1, 0])
        assert found.std > np.radians(15)
        assert why in found.why


@pytest.mark.parametrize("up", [[0, -1, 0], [0.3, -0.9, 0.2], [0, 0, -1], [0, 0, 1], [1, 0, 0]])
def test_world_axes_are_a_rotation_that_puts_up_on_y(up):
    up = np.array(up) / np.linalg.norm(up)
    R = world_axes(up)
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1)
    np.testing.assert_allclose(R @ up, [0, 1, 0], atol=1e-12)
    if abs(up[2]) < 0.9:
        assert (R @ [0, 0, 1])[2] <= 1e-12  # the camera looks along -z
