"""VideoPose3D's files: the fixture in its exact formats, against the original loader's output and its own formulas."""

import numpy as np
import pytest
from shared import refuses

from jaxpose.originals.datasets.gmm import write_gmm
from jaxpose.originals.datasets.h36m import load_frames, load_mixtures
from jaxpose.originals.datasets.videopose3d import SUBJECTS, cameras_of, prepare_videopose3d

OF_32 = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]


def positions(seed=0, joints=32, length=4):
    """People near the middle of the room, upright in z."""
    rng = np.random.default_rng(seed)
    person = lambda n: rng.normal((0, 0, 1), 0.4, (n, joints, 3)).astype(np.float32)  # noqa: E731
    return {"S1": {"Directions": person(length), "Walking 1": person(length + 2)}, "S11": {"WalkTogether": person(3)}}


def pixels_like(positions_3d, extra=0):
    rng = np.random.default_rng(9)
    cut = lambda x: rng.uniform(0, 1000, (len(x) + extra, 17, 2)).astype(np.float32)  # noqa: E731
    return {s: {a: [cut(x) for _ in range(4)] for a, x in actions.items()} for s, actions in positions_3d.items()}


def write(path, **trees):
    np.savez_compressed(path, **{key: np.array(tree, dtype=object) for key, tree in trees.items()})
    return path


def prepare(path, *args):
    """(lines, frames) of a conversion beside `path`."""
    lines = list(prepare_videopose3d(*args, path / "out"))
    return lines, load_frames(path / "out")


def turned_back(q, v):
    """VideoPose3D's rotation of v by the inverse of a quaternion (w, x, y, z): v + 2 (w (u x v) + u x (u x v))."""
    u = -np.asarray(q[1:])
    uv = np.cross(u, v)
    return v + 2 * (q[0] * uv + np.cross(u, uv))


def test_positions_are_seen_by_the_subjects_cameras(tmp_path):
    """Written out for one camera of S1, with the numbers of the data set's calibration."""
    tree = positions()
    _, frames = prepare(tmp_path, write(tmp_path / "3d.npz", positions_3d=tree), None, ["S11", "S1"])
    q, c = ((0.5834008, -0.7853162, 0.14548823, -0.14749594), np.array((-1794.7897, -3722.699, 1574.8927)) / 1000)
    (fx, fy), (cx, cy) = (1145.5114, 1144.7739), (514.9682, 501.88202)
    mine = (frames.subject == 1) & (frames.camera_id == 3) & (frames.action == 14)
    x = turned_back(q, tree["S1"]["Walking 1"][:, OF_32].astype(float) - c)
    np.testing.assert_allclose(frames.camera[mine], x, atol=2e-6)
    ratio = fx / x[:, 0, 2] + 0.5
    u, v = fx * x[..., 0] / x[..., 2] + cx, fy * x[..., 1] / x[..., 2] + cy
    d = ratio[:, None] * (x[..., 2] - x[:, :1, 2])
    np.testing.assert_allclose(frames.image[mine], np.stack([u, v, d], -1), atol=2e-3)
    np.testing.assert_array_equal(frames.keypoints, frames.image[..., :2])
    np.testing.assert_allclose(frames.ratio[mine], ratio, rtol=1e-6)
    np.testing.assert_allclose(frames.root_depth[mine], x[:, 0, 2], rtol=1e-6)
    np.testing.assert_allclose(frames.intrinsics[mine], np.broadcast_to([fx, fy, cx, cy], (6, 4)), rtol=1e-6)
    np.testing.assert_array_equal(frames.frame[mine], range(6))
    # subjects as asked for, actions as in the file, cameras 0 to 3: one video each
    np.testing.assert_array_equal(frames.video, np.repeat(range(12), [3] * 4 + [4] * 4 + [6] * 4))
    np.testing.assert_array_equal(frames.subject, np.repeat([11, 1], [12, 40]))
    np.testing.assert_array_equal(frames.action, np.repeat([16, 2, 14], [12, 16, 24]))


def test_every_camera_looks_into_the_room():
    """Unit quaternions turn rigidly; each camera is some 5 m away, 1.5 m up, upright, and sees the room's middle."""
    assert SUBJECTS == ("S1", "S5", "S6", "S7", "S8", "S9", "S11")
    for subject in SUBJECTS:
        R, t, intrinsics = cameras_of(subject)
        eye = -np.einsum("cji,cj->ci", R, t)
        np.testing.assert_allclose(R @ R.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (4, 3, 3)), atol=1e-12)
        np.testing.assert_allclose(np.linalg.det(R), 1)
        np.testing.assert_allclose(eye[:, 2], 1.55, atol=0.1)
        np.testing.assert_allclose(np.linalg.norm(eye[:, :2], axis=1), 4.9, atol=0.8)
        assert (R[:, 1, 2] < -0.9).all(), "the image's y axis points down"
        x = np.einsum("cij,j->ci", R, [0, 0, 1]) + t
        uv = x[:, :2] / x[:, 2:] * intrinsics[:, :2] + intrinsics[:, 2:]
        assert (np.abs(uv - 500) < 200).all()
    refuses("subject: got 'S2', must be one of S1, S5", cameras_of, "S2")


def test_another_joint_set_is_refused(tmp_path):
    """COCO's keypoints are 17 as well."""
    tree = positions()
    three = write(tmp_path / "3d.npz", positions_3d=tree)
    sides = [[1, 3, 5, 7, 9, 11, 13, 15], [2, 4, 6, 8, 10, 12, 14, 16]]
    coco = {"layout_name": "coco", "num_joints": 17, "keypoints_symmetry": sides}
    two = write(tmp_path / "2d.npz", positions_2d=pixels_like(tree), metadata=coco)
    with pytest.raises(ValueError, match=r"2d\.npz: its left and right joints are \[\[1, 3"):
        list(prepare_videopose3d(three, two, ["S1"], tmp_path / "out"))


def test_mixtures_come_with_the_frames(tmp_path):
    """The first component is the detection; deviations become pixels of an image 1000 wide."""
    tree, rng = positions(), np.random.default_rng(3)
    seen = pixels_like(tree, extra=1)
    other = rng.uniform(0, 1000, 2)

    def mixed(uv):
        both = np.stack([uv, np.broadcast_to(other, uv.shape)], -2)
        weight = np.broadcast_to(np.array([0.75, 0.25])[:, None], (*both.shape[:-1], 1))
        return np.concatenate([weight, both, np.full(both.shape, 0.02)], -1)

    mixtures = {s: {a: [mixed(k) for k in cameras] for a, cameras in actions.items()} for s, actions in seen.items()}
    write_gmm(tmp_path / "2d_gmm.npz", mixtures)
    poses = write(tmp_path / "3d.npz", positions_3d=tree)
    lines, frames = prepare(tmp_path, poses, tmp_path / "2d_gmm.npz", ["S1", "S11"])
    assert "S1 Directions: 4 frames in 3D, [5, 5, 5, 5] in 2D; kept the first 4" in lines
    (tmp_path / "plain").mkdir()
    _, plain = prepare(tmp_path / "plain", poses, write(tmp_path / "2d.npz", positions_2d=seen), ["S1", "S11"])
    np.testing.assert_allclose(frames.keypoints, plain.keypoints, rtol=1e-6)
    found = load_mixtures(tmp_path / "out")
    np.testing.assert_allclose(found[..., 0, 1:3], plain.keypoints, rtol=1e-6)
    np.testing.assert_allclose(found[..., 1, 1:3], np.broadcast_to(other, plain.keypoints.shape), rtol=1e-6)
    np.testing.assert_allclose(found[..., 0], np.broadcast_to([0.75, 0.25], found.shape[:-1]))
    np.testing.assert_allclose(found[..., 3:], 10, rtol=1e-6)
    assert load_mixtures(tmp_path / "plain" / "out") is None
    fewer = np.array(found[1:])
    (tmp_path / "out" / "mixture.npy").unlink()  # it is memory-mapped
    np.save(tmp_path / "out" / "mixture.npy", fewer)
    refuses(r"mixture\.npy: float32 .*; needed float32", load_mixtures, tmp_path / "out")
