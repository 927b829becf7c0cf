"""Files of 3D joints: every format as a user writes it, axes and units by known answers, and what is refused."""

import json

import numpy as np
import pytest
from shared import refuses

from jaxpose.geometry.skeleton import COCO_17, H36M_17, MPII_16, SMPL_22
from jaxpose.io import kind_of
from jaxpose.io.keypoints import Keypoints
from jaxpose.io.poses3d import Poses3D, read_poses3d


def holds_poses3d(path):
    return kind_of(path, (Poses3D, Keypoints)) is Poses3D


RNG = np.random.default_rng(0)
POSES = RNG.uniform(-0.8, 0.8, (3, 17, 3)).round(3)  # exact in text
MISSING = [(0, 3), (2, 16)]
EXPECTED = POSES.astype(np.float32)
for n, j in MISSING:
    EXPECTED[n, j] = np.nan


def npz(path):
    visible = np.ones((3, 17), bool)
    visible[tuple(np.transpose(MISSING))] = False
    np.savez(path.with_suffix(".npz"), joints3d=POSES, visible=visible, frame=[4, 4, 9], person=[0, 1, 0], fps=25)
    return path.with_suffix(".npz")


def npy(path):
    confidence = np.ones((3, 17, 1))
    confidence[tuple(np.transpose(MISSING))] = 0
    np.save(path.with_suffix(".npy"), np.concatenate([POSES, confidence], -1))
    return path.with_suffix(".npy")


def csv(path):
    header = ["frame", "person", *(f"{joint}_{axis}" for joint in H36M_17.joints for axis in "xyz")]
    lines = [",".join(header)]
    for n, pose in enumerate(POSES):
        cells = [["", "", ""] if (n, j) in MISSING else map(str, xyz) for j, xyz in enumerate(pose)]
        lines.append(",".join([str([4, 4, 9][n]), str([0, 1, 0][n]), *(c for xyz in cells for c in xyz)]))
    path.with_suffix(".csv").write_text("\n".join(lines) + "\n")
    return path.with_suffix(".csv")


def as_json(path):
    content = [
        {
            "frame": [4, 4, 9][n],
            "person": [0, 1, 0][n],
            "joints": {name: None if (n, j) in MISSING else pose[j].tolist() for j, name in enumerate(H36M_17.joints)},
        }
        for n, pose in enumerate(POSES)
    ]
    path.with_suffix(".json").write_text(json.dumps(content))
    return path.with_suffix(".json")


@pytest.mark.parametrize("write", [npz, npy, csv, as_json])
def test_all_formats_say_the_same(write, tmp_path):
    path = write(tmp_path / "poses")
    poses = read_poses3d(path)
    np.testing.assert_array_equal(poses.joints, EXPECTED)
    assert poses.skeleton == H36M_17
    assert poses.frame.tolist() == ([0, 1, 2] if write is npy else [4, 4, 9])
    assert poses.person.tolist() == ([0, 0, 0] if write is npy else [0, 1, 0])
    assert poses.fps == (25 if write is npz else None)
    assert holds_poses3d(path)


def test_the_file_says_axes_and_unit_and_the_caller_knows_better(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, joints3d=1000 * POSES, up="z", unit="mm")
    np.testing.assert_allclose(read_poses3d(path).joints, POSES[..., [0, 2, 1]] * [1, -1, 1], atol=1e-6)
    np.savez(path, joints3d=POSES, up="z", unit="mm")
    poses = read_poses3d(path, up="y", unit="m")
    np.testing.assert_allclose(poses.joints, POSES * [1, -1, -1], atol=1e-6)
    assert (poses.up, poses.unit) == ("y", "m")


def test_names_say_which_joint_is_which_in_any_order_and_number(tmp_path):
    order = RNG.permutation(17)
    np.savez(tmp_path / "a.npz", joints3d=POSES[:, order], joints=np.array(H36M_17.joints)[order])
    np.testing.assert_array_equal(read_poses3d(tmp_path / "a.npz").joints, POSES.astype(np.float32))
    np.savez(tmp_path / "b.npz", joints3d=POSES, joints=np.array(COCO_17.joints))
    assert read_poses3d(tmp_path / "b.npz").skeleton == COCO_17
    few = ["head", "left_hip", "left_knee"]
    content = [{"joints": dict(zip(few, POSES[0, :3].tolist(), strict=True))}]
    (tmp_path / "c.json").write_text(json.dumps(content))
    poses = read_poses3d(tmp_path / "c.json", skeleton=H36M_17)
    at = [H36M_17.joints.index(name) for name in few]
    np.testing.assert_array_equal(poses.joints[0, at], POSES[0, :3].astype(np.float32))
    assert np.isnan(poses.joints).all(-1).sum() == 14


@pytest.mark.parametrize(
    ("num", "given", "expected"),
    [(17, None, H36M_17), (17, COCO_17, COCO_17), (16, None, MPII_16), (22, None, SMPL_22)],
)
def test_a_number_of_joints_tells_the_set(num, given, expected, tmp_path):
    np.save(tmp_path / "a.npy", np.resize(POSES, (2, num, 3)) - [0, 0, 1])
    assert read_poses3d(tmp_path / "a.npy", skeleton=given).skeleton == expected


def test_of_our_own_results_the_mean_is_read_whatever_their_input_missed(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        samples=np.zeros((5, 3, 17, 3)),
        mean=POSES,
        joints=np.array(H36M_17.joints),
        confidence=np.zeros((3, 17)),
        keypoints=np.zeros((3, 17, 2)),
    )
    np.testing.assert_array_equal(read_poses3d(tmp_path / "a.npz").joints, POSES.astype(np.float32))


def test_people_of_impossible_size_are_taken_for_another_unit(tmp_path):
    np.savez(tmp_path / "a.npz", joints3d=1000 * POSES, frame=[5, 6, 7])
    refuses(r"a.npz: frame 5, person 0 is .* metres large.*try --unit mm", read_poses3d, tmp_path / "a.npz")
    refuses(r"try --unit m$", read_poses3d, npy(tmp_path / "b"), unit="mm")
    few = np.full((1, 17, 3), np.nan)
    few[0, :2] = [[0, 0, 0], [0, 0.1, 0]]  # two joints of a person may be close
    np.save(tmp_path / "c.npy", few)
    assert np.isfinite(read_poses3d(tmp_path / "c.npy").joints).sum() == 6


def _npz(**arrays):
    return lambda path: np.savez(path, **arrays)


def _npy(array):
    return lambda path: np.save(path, array)


def _text(text):
    return lambda path: path.write_text(text)


BAD = {
    "absent": ("a.npz", lambda path: None, "no such file"),
    "suffix": ("a.txt", _text("1"), "suffix '.txt'; must be one of"),
    "keys": ("a.npz", _npz(points=POSES), r"keys \['points'\]; needed joints3d"),
    "shape": ("a.npy", _npy(np.zeros((2, 17, 5))), r"\[2, 17, 5\]; needed"),
    "confidence": ("a.npz", _npz(joints3d=POSES, confidence=np.ones((3, 5))), r"confidence is \[3, 5\]"),
    "up": ("a.npz", _npz(joints3d=POSES, up="x"), r"up \(--up\): got 'x'; must be one of -y, y, z"),
    "open set": ("a.npy", _npy(np.ones((1, 25, 3))), "25 joints without names are body25 or body25b"),
    "nothing": ("a.npy", _npy(np.full((2, 17, 3), np.nan)), "all joints are missing"),
    "header": ("a.csv", _text("frame,hip_x,hip_y\n1,2,3\n"), r"wrong or missing \['hip_z'\]"),
    "json": ("a.json", _text('[{"joints": {"hip": [1,'), "not JSON, or cut off"),
    "list": ("a.json", _text('{"joints": {}}'), "needed a list of"),
    "triple": ("a.json", _text('[{"joints": {"hip": [1, 2]}}]'), r"pose 0, hip: \[1, 2\]; needed"),
    "unknown joint": ("a.json", _text('[{"joints": {"tail": [1, 2, 3]}}]'), r"joints \('tail',\) are none of"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_named(case, tmp_path):
    name, write, message = BAD[case]
    write(tmp_path / name)
    refuses(f"{name}: .*{message}", read_poses3d, tmp_path / name)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.npz", _npz(keypoints=POSES[..., :2], joints_cam=POSES)),
        ("a.npy", _npy(np.ones((2, 17, 2)))),
        ("a.npy", _npy(np.tile([300.0, 200.0, 0.9], (2, 17, 1)))),
        ("a.csv", _text("frame,nose_x,nose_y,nose_confidence\n1,2,3,1\n")),
        ("a.json", _text('[{"image_id": 0, "keypoints": [1, 2, 1]}]')),
        ("a.json", _text("[")),
        ("a.txt", _text("")),
    ],
)
def test_keypoints_and_other_files_hold_no_poses(name, write, tmp_path):
    write(tmp_path / name)
    assert not holds_poses3d(tmp_path / name)


def test_metric_triples_are_poses(tmp_path):
    """In a .npy, [N, J, 3] is 3D unless it looks like pixels with a confidence."""
    np.save(tmp_path / "a.npy", POSES + np.array([0, 0, 4]))
    assert holds_poses3d(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", 1000 * POSES)
    assert holds_poses3d(tmp_path / "a.npy")


STANDING = np.zeros((17, 3))  # y up: head and shoulders over hips over feet
for name, height in {"head": 0.7, "neck_nose": 0.6, "thorax": 0.5, "knee": -0.45, "ankle": -0.9, "hip": 0.0}.items():
    for j, joint in enumerate(H36M_17.joints):
        if joint.endswith(name):
            STANDING[j, 1] = height


@pytest.mark.parametrize(("up", "turned"), [("y", (0, 1, 2)), ("z", (0, 2, 1)), ("-y", (0, 1, 2))])
def test_axes_that_nobody_told_are_those_over_which_heads_stand(up, turned, tmp_path):
    """A camera that tilts its people by 30 degrees changes nothing; the joints end up in camera axes."""
    tilt = np.array([[1, 0, 0], [0, np.cos(0.5), -np.sin(0.5)], [0, np.sin(0.5), np.cos(0.5)]])
    poses = (STANDING @ tilt.T)[:, list(turned)] * (-1 if up == "-y" else 1)
    np.savez(tmp_path / "a.npz", joints3d=np.stack([poses, poses + 0.1]))
    found = read_poses3d(tmp_path / "a.npz")
    assert (found.up, found.axes) == (up, "as heads stand over hips")
    assert (found.joints[:, 10, 1] < found.joints[:, 0, 1] - 0.5).all()  # camera axes: y points down


def test_an_axis_that_the_poses_contradict_is_taken_and_said(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, joints3d=STANDING[None])
    assert "BUT heads stand over hips along y" in read_poses3d(path, up="-y").axes
    np.savez(path, joints3d=STANDING[None], up="z")
    assert "as the file says, BUT" in read_poses3d(path).axes
    np.savez(path, joints3d=STANDING[None][..., [1, 0, 2]])  # lying along x: nothing tells
    assert read_poses3d(path).up == "-y"
    assert read_poses3d(path).axes == "assumed: the poses do not tell"


def test_a_lift_is_read_where_its_people_stand(tmp_path):
    root = np.array([[1.0, 0.2, 4], [1.1, 0.2, 5]])
    pose = STANDING[None] * [1, -1, 1] * np.array([1, 0.9])[:, None, None]
    np.savez(tmp_path / "a.npz", mean=pose * 0.5, pose=pose, pose_root=root, up="-y", confidence=np.zeros((2, 17)))
    np.testing.assert_allclose(read_poses3d(tmp_path / "a.npz").joints, pose + root[:, None], atol=1e-6)
