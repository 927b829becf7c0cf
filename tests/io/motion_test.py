"""Motion: files as their writers leave them, rotations against scipy, and every fault named."""

import numpy as np
import pytest
from amass_files import smplh_file, smplx_file
from scipy.spatial.transform import Rotation, Slerp
from shared import refuses

from jaxpose.datasets.mocap import data_root
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.io.motion import Motion, check_motion, read_motion, resample, save_motion
from jaxpose.io.smpl_motion import save_amass

Z_TO_Y = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # (x, y, z) -> (x, z, -y)


def vectors(seed, *shape, size=1.0):
    return np.random.default_rng(seed).normal(0, size, (*shape, 3))


def motion_of(num, fps=30.0):
    return Motion(
        vectors(0, num, 21, size=0.3).astype(np.float32),
        vectors(1, num, size=0.5).astype(np.float32),
        vectors(2, num).astype(np.float32),
        fps,
        np.arange(10, dtype=np.float32),
    )


@pytest.mark.parametrize(("write", "width", "rate"), [(smplh_file, 156, 120.0), (smplx_file, 165, 60.0)])
def test_both_releases_of_amass(tmp_path, write, width, rate):
    poses, trans = vectors(3, 5, width // 3, size=0.4), vectors(4, 5)
    path = write(tmp_path / "walk.npz", poses.reshape(5, width), trans, rate)
    motion = read_motion(path, pelvis=(0.1, -0.35, 0.02))
    np.testing.assert_array_equal(motion.body_pose, poses[:, 1:22].astype(np.float32))
    assert motion.fps == rate
    np.testing.assert_allclose(motion.betas, np.linspace(-1, 1, 16), atol=1e-7)
    turned = Rotation.from_matrix(Z_TO_Y) * Rotation.from_rotvec(poses[:, 0])
    np.testing.assert_allclose(motion.global_orient, turned.as_rotvec(), atol=1e-6)
    np.testing.assert_allclose(motion.transl, (trans + np.array([0.1, -0.35, 0.02])) @ Z_TO_Y.T, atol=1e-6)
    assert "origin" not in motion.source
    without = read_motion(path)
    np.testing.assert_allclose(without.transl, trans @ Z_TO_Y.T, atol=1e-6)
    assert "origin, not of the pelvis" in without.source
    np.testing.assert_allclose(read_motion(path, up="y").transl, trans, atol=1e-6)


def test_fragments_as_the_authors_publish_them(tmp_path):
    body, root = vectors(7, 4, 21, size=0.3), vectors(8, 4, size=0.3)
    np.savez(tmp_path / "Gestures_3_poses_batch005.npz", pose_body=body.reshape(4, 63), root_orient=root)
    motion = read_motion(tmp_path / "Gestures_3_poses_batch005.npz")
    np.testing.assert_array_equal(motion.body_pose, body.astype(np.float32))
    assert motion.fps == 30
    assert "assumed 30" in motion.source
    assert (motion.transl == 0).all()
    assert read_motion(tmp_path / "Gestures_3_poses_batch005.npz", fps=120).fps == 120


@pytest.mark.parametrize(
    ("width", "first_body", "said"),
    [
        (63, 0, "21 body joints; no root"),
        (66, 1, "root and 21"),
        (69, 0, "without the root"),
        (72, 1, "SMPL's root"),
        (156, 1, "SMPL-H"),
        (165, 1, "SMPL-X"),
    ],
)
def test_plain_arrays_are_told_by_their_width(tmp_path, width, first_body, said):
    values = vectors(9, 3, width // 3, size=0.3).astype(np.float32)
    np.save(tmp_path / "a.npy", values.reshape(3, width))
    np.savez(tmp_path / "a.npz", whatever=values)
    for name in ("a.npy", "a.npz"):
        motion = read_motion(tmp_path / name)
        np.testing.assert_array_equal(motion.body_pose, values[:, first_body : first_body + 21])
        np.testing.assert_array_equal(motion.global_orient, values[:, 0] if first_body else 0 * values[:, 0])
        assert said in motion.source


def test_saved_and_read_again(tmp_path):
    motion = motion_of(3, 59.94)._replace(source="a walk")
    save_motion(tmp_path / "m.npz", motion)
    again = read_motion(tmp_path / "m.npz")
    for old, new in zip(motion[:5], again[:5], strict=True):
        np.testing.assert_array_equal(old, new)
    with np.load(tmp_path / "m.npz", allow_pickle=False) as z:
        assert "trans" not in z
        assert z["pose_body"].shape == (3, 63)
        assert z["source"] == "a walk"


def test_files_for_programs_that_read_amass(tmp_path):
    """Keys, types and shapes of `smplh_file`, as AMASS's release writes them; z up; read again where it was."""
    motion, pelvis = motion_of(4, 60.0)._replace(betas=np.arange(10, dtype=np.float32)), np.array([0.1, -0.35, 0.02])
    save_amass(tmp_path / "a.npz", motion, pelvis)
    original = smplh_file(tmp_path / "b" / "b.npz", np.zeros((4, 156)), np.zeros((4, 3)), 60)
    with np.load(tmp_path / "a.npz") as ours, np.load(original) as theirs:
        assert set(ours) == set(theirs) | {"mocap_frame_rate"}
        for name in theirs:
            assert (ours[name].dtype.kind, ours[name].shape) == (theirs[name].dtype.kind, theirs[name].shape), name
        z_up = motion.transl[:, [0, 2, 1]] * [1, -1, 1]
        np.testing.assert_allclose(ours["trans"], z_up - pelvis, atol=1e-6)
        assert not ours["poses"][:, 66:].any()
    again = read_motion(tmp_path / "a.npz", pelvis=pelvis)
    turned = lambda v: Rotation.from_rotvec(v).as_matrix()  # noqa: E731
    np.testing.assert_allclose(turned(again.global_orient), turned(motion.global_orient), atol=1e-6)
    np.testing.assert_allclose(again.transl, motion.transl, atol=1e-6)
    np.testing.assert_allclose(again.betas, [*range(10), *[0] * 6])
    np.testing.assert_allclose(again.body_pose, motion.body_pose, atol=1e-7)


def test_nan_frames_are_named_or_kept(tmp_path):
    motion = motion_of(6)
    motion.body_pose[3, 2, 1] = np.nan
    motion.transl[5, 0] = np.inf
    save_motion(tmp_path / "m.npz", motion)
    refuses(r"m\.npz: 2 frames hold NaN or infinity, the first 3", read_motion, tmp_path / "m.npz")
    kept = read_motion(tmp_path / "m.npz", gaps=True)
    np.testing.assert_array_equal(kept.transl, motion.transl)


def test_degrees_are_told_from_the_vectors_of_real_files(tmp_path):
    """Real AMASS files reach 6.9 rad (spec/dposer.md 3), more than a turn; other arrays may not; 60 degrees are 60."""
    motion = motion_of(4)
    motion.body_pose[1, 2] = (6.9, 0, 0)
    np.savez(
        tmp_path / "amass.npz", poses=np.pad(motion.body_pose.reshape(4, 63), ((0, 0), (3, 0))), mocap_framerate=30.0
    )
    assert np.abs(read_motion(tmp_path / "amass.npz").body_pose[1, 2]).max() == pytest.approx(6.9)
    np.save(tmp_path / "plain.npy", motion.body_pose.reshape(4, 63))
    with pytest.raises(
        ValueError, match=r"plain\.npy: frame 1, joint 'spine1': a rotation by 6\.9 rad; must be at most 6\.283"
    ):
        read_motion(tmp_path / "plain.npy")
    motion.body_pose[2, SMPL_22.joints.index("left_knee") - 1] = (60, 0, 0)
    refuses(r"m: frame 2, joint 'left_knee': a rotation by 60\.0 rad.*degrees", check_motion, motion, "m")


@pytest.mark.parametrize(
    ("arrays", "fault"),
    [
        ({"poses": np.zeros((4, 64))}, r"\(4, 64\); must be .*63 .*66 .*69 .*72 .*156 .*165"),
        ({"a": np.zeros((0, 63))}, "holds no frames"),
        ({"a": np.zeros((4, 63)), "b": np.zeros(2)}, "holds a, b; needed 'poses'"),
        ({"pose_body": np.zeros((4, 63)), "root_orient": np.zeros((3, 3))}, "has 3 frames, 'pose_body' 4"),
        ({"poses": np.zeros((4, 72)), "trans": np.zeros((3, 3))}, "'trans' is "),
        ({"poses": np.zeros((4, 72)), "mocap_framerate": 0.0}, "frames per second"),
    ],
)
def test_faults_of_a_file_are_named(tmp_path, arrays, fault):
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(ValueError, match=fault) as raised:
        read_motion(tmp_path / "m.npz")
    assert str(tmp_path / "m.npz") in str(raised.value)


@pytest.mark.skipif(not (data_root() / "bvh_samples").is_dir(), reason="shared bvh_samples are not here")
def test_other_skeletons_go_to_the_retargeter():
    """CMU 03_02 at 120 fps: the shared motion capture holds a piece of it at every 4th frame."""
    folder = data_root() / "bvh_samples"
    motion = read_motion(folder / "03_02.amc")
    assert motion.fps == 120
    with np.load(data_root() / "mocap" / "cmu.npz") as z:
        index = next(i for i, name in enumerate(z["seq_name"]) if name.split("#")[0] == "03_02")
        start, num = z["seq_start"][index], z["seq_length"][index]
        pose = z["body_pose"][start : start + num].astype(np.float32) * z["rot_scale"]
    knee = SMPL_22.joints.index("left_knee") - 1
    wanted = np.linalg.norm(pose.reshape(-1, 21, 3)[:, knee], axis=-1)
    bend = np.linalg.norm(motion.body_pose[:, knee], axis=-1)
    gaps = [np.abs(bend[i : i + 4 * num : 4] - wanted).mean() for i in range(len(bend) - 4 * num + 1)]
    assert min(gaps) < np.radians(1)
    walk = read_motion(folder / "35_01.bvh")
    assert walk.fps == pytest.approx(120, rel=1e-3)


def test_a_whole_stride_takes_frames_as_they_are():
    motion = motion_of(10, 120.0)
    for fps, step in ((30, 4), (120, 1), (40, 3)):
        out = resample(motion, fps)
        np.testing.assert_array_equal(out.body_pose, motion.body_pose[::step])
        assert out.fps == fps


@pytest.mark.parametrize(("old", "new"), [(30.0, 50.0), (100.0, 30.0)])
def test_resampling_agrees_with_scipy(old, new):
    motion = motion_of(12, old)
    out = resample(motion, new)
    times, at = np.arange(12) / old, np.arange(len(out.transl)) / new
    assert at[-1] <= times[-1] + 1e-9 < at[-1] + 1 / new
    at = np.minimum(at, times[-1])
    for joint in range(22):
        rotations = motion.global_orient if joint == 21 else motion.body_pose[:, joint]
        got = out.global_orient if joint == 21 else out.body_pose[:, joint]
        wanted = Slerp(times, Rotation.from_rotvec(rotations))(at)
        assert (Rotation.from_rotvec(got).inv() * wanted).magnitude().max() < 1e-6
    for axis in range(3):
        np.testing.assert_allclose(out.transl[:, axis], np.interp(at, times, motion.transl[:, axis]), atol=1e-6)
