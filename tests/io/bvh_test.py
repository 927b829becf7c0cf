"""BVH: angles by hand and by scipy, files as other tools write them, faults by line."""

import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from shared import refuses

from jaxpose.io.bvh import read_bvh, write_bvh
from jaxpose.io.take import euler_matrix, rotation_matrices, rotation_vectors, shortest_rotation, world

# Tabs, CR LF, joints with 6, 3, 1 and 0 channels, three orders of axes, two words in a name, scientific notation.
SMALL = """HIERARCHY
ROOT Hips
{
\tOFFSET 0 0 0
\tCHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation \t
\tJOINT Left Arm
\t{
\t\tOFFSET 1.0  0 0
\t\tCHANNELS 3 Xrotation Zrotation Yrotation
\t\tJOINT Hand {
\t\t\tOFFSET 2 0 1e-1
\t\t\tCHANNELS 1 Yrotation
\t\t\tEnd Site
\t\t\t{
\t\t\t\tOFFSET 5e-1 0 0
\t\t\t}
\t\t}
\t}
\tJOINT Fixed
\t{
\t\tOFFSET 0 -3 0
\t\tJOINT Free
\t\t{
\t\t\tOFFSET 0 -1 0
\t\t\tCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
\t\t\tEnd Site
\t\t\t{
\t\t\t\tOFFSET 0 -1 0
\t\t\t}
\t\t}
\t}
}
MOTION
Frames:\t2
Frame Time: .0083333
0 0 0  0 0 0  0 0 0  0  0 -1 0 0 0 0
1 2 3  90 30 -50  10 20 -70  9.0e1  0.5 -2 1E+0 30 40 50
"""


def write(tmp_path, text, newline="\n"):
    path = tmp_path / "small.bvh"
    path.write_bytes(text.replace("\n", newline).encode())
    return path


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_small_file_by_hand(tmp_path, newline):
    take = read_bvh(write(tmp_path, SMALL, newline))
    assert take.names == ("Hips", "Left Arm", "Hand", "Fixed", "Free")
    assert take.parents == (-1, 0, 1, 0, 3)
    np.testing.assert_array_equal(take.offsets[2], [2, 0, 0.1])
    assert take.fps == pytest.approx(120, rel=1e-4)
    positions, rotations = world(take)
    np.testing.assert_allclose(positions[0], [[0, 0, 0], [1, 0, 0], [3, 0, 0.1], [0, -3, 0], [0, -4, 0]], atol=1e-12)
    hips = Rotation.from_euler("ZYX", [90, 30, -50], degrees=True)
    arm = hips * Rotation.from_euler("XZY", [10, 20, -70], degrees=True)
    hand = arm * Rotation.from_euler("Y", 90, degrees=True)
    free = hips * Rotation.from_euler("ZXY", [30, 40, 50], degrees=True)
    for joint, wanted in ((0, hips), (1, arm), (2, hand), (3, hips), (4, free)):
        np.testing.assert_allclose(rotations[1, joint], wanted.as_matrix(), atol=1e-12)
    at_arm = np.array([1, 2, 3]) + hips.apply([1, 0, 0])
    np.testing.assert_allclose(positions[1, 2], at_arm + arm.apply([2, 0, 0.1]), atol=1e-12)
    # position channels replace the offset
    np.testing.assert_allclose(positions[1, 4], np.array([1, 2, 3]) + hips.apply([0.5, -5, 1]), atol=1e-12)


FAULTS = {
    "no channel": ("3 Xrotation Zrotation Yrotation", "3 Xrotation Zrotation Wrotation", "line 9", "Wrotation'"),
    "twice a channel": ("3 Xrotation Zrotation Yrotation", "3 Xrotation Zrotation Xrotation", "line 9", "each once"),
    "duplicate name": ("JOINT Free", "JOINT Hand", "line 22", "'Hand'"),
    "no name": ("JOINT Free", "JOINT", "line 22", "name"),
    "brace missing": ("Hand {", "Hand ", "line 11", "'OFFSET'"),
    "brace not closed": ("}\nMOTION", "MOTION", "line 31", "the end of the hierarchy"),
    "offset": ("OFFSET 0 -3 0", "OFFSET 0 -3", "line 21", "3 numbers, got 2"),
    "no motion": ("MOTION", "MOTIO", "line 37", "without MOTION"),
    "no frames": ("Frames:\t2", "Frame:\t2", "line 34", "'Frames:'"),
    "frame time": ("Frame Time: .0083333", "Frame Time: 0", "line 35", "above 0"),
    "value missing": ("40 50\n", "40\n", "line 37", "needed 16 numbers, got 15"),
    "nan": ("30 40 50\n", "30 nan 50\n", "line 37", "'nan'"),
    "two roots": ("}\nMOTION", "}\nROOT Other\n{\nOFFSET 0 0 0\n}\nMOTION", "line 33", "'ROOT'"),
}


def test_line_ends_within_the_hierarchy_mean_nothing(tmp_path):
    hierarchy, motion = SMALL.split("MOTION")
    for name, text in (("lines", hierarchy), ("line", " ".join(hierarchy.split()) + "\n")):
        (tmp_path / f"{name}.bvh").write_text(text + "MOTION" + motion)
    lines, line = (read_bvh(tmp_path / f"{name}.bvh") for name in ("lines", "line"))
    assert (line.names, line.parents) == (lines.names, lines.parents)
    np.testing.assert_array_equal(line.translations, lines.translations)
    np.testing.assert_array_equal(line.rotations, lines.rotations)


@pytest.mark.parametrize(("old", "new", "line", "said"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_with_its_line(tmp_path, old, new, line, said):
    assert SMALL.count(old) == 1
    path = write(tmp_path, SMALL.replace(old, new))
    refuses(rf"small\.bvh, {line}\b.*{re.escape(said)}", read_bvh, path)


def drawn(num_frames=40):
    """Rotations of a small tree, some with the middle angle within 1e-9 of a right angle, float32 as networks give."""
    rng = np.random.default_rng(0)
    rotations = Rotation.random(num_frames * 4, random_state=rng).as_matrix().reshape(num_frames, 4, 3, 3)
    locked = Rotation.from_euler("ZXY", [[20, 90 - 1e-7, 50], [20, -90, 50], [170, 90, -170]], degrees=True)
    rotations[:3, 1] = locked.as_matrix()
    offsets = rng.normal(size=(4, 3))
    return offsets, rotations.astype(np.float32), rng.normal(size=(num_frames, 3))


@pytest.mark.parametrize(("unit", "scale"), [("cm", 100), ("m", 1)])
def test_what_is_written_is_read_again(tmp_path, unit, scale):
    """Right at gimbal lock too; children in another order than the file's."""
    offsets, rotations, root = drawn()
    names, parents = ("root", "a", "b", "c"), (-1, 0, 0, 1)
    write_bvh(tmp_path / "a.bvh", names, parents, offsets, rotations, root, 60.0, unit)
    take, order = read_bvh(tmp_path / "a.bvh"), [0, 1, 3, 2]
    assert dict(zip(take.names, take.parents, strict=True)) == {"root": -1, "a": 0, "c": 1, "b": 0}
    assert take.names == ("root", "a", "c", "b")
    channels = [line.split()[1:] for line in (tmp_path / "a.bvh").read_text().splitlines() if "CHANNELS" in line]
    assert channels[0][:4] == ["6", "Xposition", "Yposition", "Zposition"]
    assert all(own[-3:] == ["Zrotation", "Xrotation", "Yrotation"] for own in channels)
    assert take.fps == pytest.approx(60, rel=1e-6)
    between = np.swapaxes(take.rotations, -1, -2) @ rotations[:, order]
    assert np.rad2deg(np.linalg.norm(rotation_vectors(between), axis=-1)).max() < 1e-4
    np.testing.assert_allclose(take.offsets[1:], scale * offsets[order][1:], atol=1e-6)
    np.testing.assert_allclose(take.translations[:, 0], scale * root, atol=1e-6)


def test_angles_go_on_over_a_full_turn(tmp_path):
    """A spin of two turns about y is written as 0 to 720 degrees: tools that interpolate do not turn back."""
    angles = np.linspace(0, 4 * np.pi, 50)
    rotations = Rotation.from_euler("Y", angles[:, None]).as_matrix()[:, None]
    write_bvh(tmp_path / "spin.bvh", ["top"], [-1], np.zeros((1, 3)), rotations, np.zeros((50, 3)), 30)
    lines = (tmp_path / "spin.bvh").read_text().splitlines()
    values = np.loadtxt(lines[lines.index("MOTION") + 3 :])
    np.testing.assert_allclose(values[:, 5], np.rad2deg(angles), atol=1e-5)


def test_rotations_agree_with_scipy():
    """At 0, near half a turn, at half a turn, and drawn; Euler angles of every order."""
    rng = np.random.default_rng(1)
    axes = rng.normal(size=(30, 3))
    axes[:6] = np.concatenate([np.eye(3), -np.eye(3)])
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    for angle in (0, 1e-9, 1e-4, 1.0, np.pi - 1e-7, np.pi):
        R = rotation_matrices(angle * axes)
        np.testing.assert_allclose(R, Rotation.from_rotvec(angle * axes).as_matrix(), atol=1e-12)
        found = rotation_vectors(R)
        np.testing.assert_allclose(np.linalg.norm(found, axis=-1), angle, atol=1e-12)
        np.testing.assert_allclose(rotation_matrices(found), R, atol=1e-12)
    for order in ("x", "zy", "zxy", "xyz", "yzx"):
        angles = rng.uniform(-4, 4, (5, len(order)))
        wanted = Rotation.from_euler(order.upper(), angles).as_matrix()
        np.testing.assert_allclose(euler_matrix(order, angles), wanted, atol=1e-12)
    a, b = axes[6], axes[7]
    R = shortest_rotation(2 * a, 3 * b)
    np.testing.assert_allclose(R @ a, b, atol=1e-12)
    np.testing.assert_allclose(R @ np.cross(a, b), np.cross(a, b), atol=1e-12)
