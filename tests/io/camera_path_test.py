"""Paths of one known camera, as SLAM tools and COLMAP write them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from shared import refuses

from jaxpose.io.camera_path import read_camera_path

# By hand: the camera stands at (2, 1, -5), then at (3, 1, -5), and looks along the world's x, y is down: the world's
# z is on its left, so the rows of R_cam_world are -z, y, x, a turn by -90 degrees about y.
R_CAM_WORLD = np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])
EYES = np.array([[2.0, 1, -5], [3, 1, -5]])
HALF = 0.7071068
COLMAP = f"""# Image list with two lines of data per image:
#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME
9 {HALF} 0 -{HALF} 0 -5 -1 -3 1 left/frame_0002.jpg
10.5 20.5 -1 3.25 7.5 44
4 {HALF} 0 -{HALF} 0 -5 -1 -2 1 left/frame_0001.jpg

"""
TUM = f"# timestamp tx ty tz qx qy qz qw\n0.5 2 1 -5 0 {HALF} 0 {HALF}\n1 3 1 -5 0 {HALF} 0 {HALF}\n"


def written(path, content):
    path.write_text(content) if isinstance(content, str) else np.savez(path, **content)
    return path


def test_a_pose_by_hand_is_read_in_each_convention(tmp_path):
    t = -EYES @ R_CAM_WORLD.T
    arrays = {"rotation": np.stack([R_CAM_WORLD] * 2), "translation": t}
    files = {"images.txt": COLMAP, "tum.txt": TUM, "p.npz": arrays | {"seconds": [0.5, 1.0]}, "frames.npz": arrays}
    for name, content in files.items():
        path = read_camera_path(written(tmp_path / name, content))
        np.testing.assert_allclose(path.R_cam_world, [R_CAM_WORLD] * 2, atol=1e-6)
        np.testing.assert_allclose(path.t_cam, t, atol=1e-6)
        np.testing.assert_array_equal(path.time, [0, 1] if name in ("images.txt", "frames.npz") else [0.5, 1])
    path = read_camera_path(tmp_path / "tum.txt")
    np.testing.assert_allclose(-path.at(np.array([15]), fps=20.0)[1] @ R_CAM_WORLD, [[2.5, 1, -5]], atol=1e-6)


def test_between_poses_the_camera_turns_evenly_and_goes_straight(tmp_path):
    turns = Rotation.from_euler("y", [[0], [80]], degrees=True).as_matrix()
    eyes = np.array([[0.0, 0, 0], [4, 0, 2]])
    t = -np.einsum("pij,pj->pi", turns, eyes)
    path = read_camera_path(written(tmp_path / "p.npz", {"rotation": turns, "translation": t, "seconds": [0.0, 2.0]}))
    R, t = path.at(np.arange(-1, 62, 15), fps=30.0)
    angles = Rotation.from_matrix(R).as_euler("yxz", degrees=True)[:, 0]
    np.testing.assert_allclose(angles, [0, *40 * np.arange(14, 60, 15) / 30], atol=1e-9)
    np.testing.assert_allclose(-np.einsum("nji,nj->ni", R, t)[-1], eyes[1] * 59 / 60, atol=1e-9)
    seconds, frame = np.array([0.25, 1.5]), np.array([100, 200])
    np.testing.assert_allclose(path.at(frame, 30.0, seconds)[0], path.at(seconds * 30, 30.0)[0])


def test_images_are_the_frames_of_their_names_else_of_their_numbers(tmp_path):
    path = read_camera_path(written(tmp_path / "images.txt", COLMAP.replace("frame_0002", "frame_0003")))
    by_number = path.at(np.array([1]))[1]
    by_name = path.at(np.array([0, 1]), image=("frame_0001.jpg", "frame_0003.jpg"))[1]
    np.testing.assert_allclose(by_number[0], by_name.mean(0))
    from_zero = read_camera_path(written(tmp_path / "z.txt", COLMAP.replace("frame_0001", "frame_0000")))
    np.testing.assert_array_equal(from_zero.time, [0, 2])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", TUM.replace(" 0 0.7", " 0.7", 1), r"a.txt, line 2: needed `time tx ty tz qx qy qz qw`, or `id"),
        ("b.txt", TUM + "2 3 1\n", r"b.txt, line 4: needed 8 numbers, got 3"),
        ("c.txt", TUM.replace("0.7071068", "0"), r"c.txt, line 2: a quaternion of length 0; needed 1"),
        ("d.txt", TUM + "1 3 1 -5 0 0 0 1\n", r"d.txt, line 4: time 1 is not after the one before"),
        ("e.txt", TUM + "2 3 nan -5 0 0 0 1\n", r"e.txt, line 4: needed finite numbers, got 'nan'"),
        ("f.txt", "0 1 2 3 0 0 0 1\n", r"f.txt: 1 poses; needed at least 2"),
        ("g.txt", COLMAP.replace("-1 -3 1", "-1 -3"), r"g.txt, line 3: needed .*camera name"),
        ("h.txt", COLMAP.replace("0002", "0001"), r"h.txt: two images of number 1; needed those of one camera"),
        ("i.txt", COLMAP.replace("-1 -2", "x -2"), r"i.txt, line 5: needed finite numbers, got 'x'"),
        ("o.txt", "# a\n", r"o.txt: needed `time tx ty tz qx qy qz qw`, .* got 'comments alone'"),
        ("j.bin", "0", r"j.bin: needed images.txt \(colmap model_converter"),
        ("k.npz", {"rotation": np.eye(3)[None]}, r"k.npz: lacks translation"),
        ("l.npz", {"rotation": 2 * np.ones((2, 3, 3)), "translation": EYES}, r"l.npz: rotation is no rotation matrix"),
        (
            "m.npz",
            {"rotation": [np.eye(3)] * 2, "translation": EYES, "seconds": [1, 1]},
            r"m.npz: seconds \[1.0, 1.0\]",
        ),
        ("n.npz", {"rotation": [np.eye(3)] * 2, "translation": [[0, 0, np.inf]] * 2}, r"n.npz: translation has inf"),
    ],
    ids=lambda x: x if isinstance(x, str) and "." in x[:2] else "",
)
def test_faults_name_the_file_and_the_line(name, content, message, tmp_path):
    refuses(message, read_camera_path, written(tmp_path / name, content))


def test_frames_that_the_path_does_not_reach_are_refused(tmp_path):
    path = read_camera_path(written(tmp_path / "t.txt", TUM))
    refuses(r"t.txt: poses of seconds 0.5 to 1, and people are seen in 0.4 to 1;", path.at, np.array([8, 20]), 20.0)
    refuses("have no rate; needed frames per second", path.at, np.array([0, 20]))
    assert len(path.at(np.array([9, 21]), 20.0)[0]) == 2
