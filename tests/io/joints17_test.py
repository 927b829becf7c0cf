"""The 17 joints of other skeletons: against shared/data/mocap, made from the same files; laws of the general rule."""

import numpy as np
import pytest

from jaxpose.datasets.mocap import data_root
from jaxpose.geometry.skeleton import H36M_17, bone_lengths
from jaxpose.io.asf_amc import read_amc, read_asf
from jaxpose.io.bvh import read_bvh
from jaxpose.io.retarget import retarget, write_motion_bvh
from jaxpose.io.smpl_motion import Motion

SAMPLES, MOCAP = data_root() / "bvh_samples", data_root() / "mocap"
needs_samples = pytest.mark.skipif(not SAMPLES.is_dir() or not MOCAP.is_dir(), reason=f"{data_root()} is absent")
J = {name: j for j, name in enumerate(H36M_17.joints)}
# Take -> how it is read; bounds in mm of the mean over joints and of any joint. CMU's MotionBuilder files lack the
# thorax bone, for which the one below it stands; a Daz figure has other bones than the person.
TAKES = {
    "03_02": (lambda: read_amc(SAMPLES / "03_02.amc", read_asf(SAMPLES / "03.asf")), 0.4, 0.6),
    "HDM_mm_squat1Reps_037": (
        lambda: read_amc(
            SAMPLES / "hdm05" / "HDM_mm_squat1Reps_037_120.amc", read_asf(SAMPLES / "hdm05" / "HDM_mm.asf")
        ),
        0.4,
        0.6,
    ),
    "35_01": (lambda: read_bvh(SAMPLES / "35_01.bvh"), 3, 5),
    "49_06": (lambda: read_bvh(SAMPLES / "49_06.bvh"), 3, 5),
    "05_11": (lambda: read_bvh(SAMPLES / "05_11.bvh"), 3, 5),
    "09_01": (lambda: read_bvh(SAMPLES / "09_01_daz.bvh"), 55, 110),
}


def shared_pieces(name):
    """Joints [F, 17, 3] of each clean piece of a take in the shared data, 30 fps."""
    with np.load(MOCAP / ("hdm05.npz" if name.startswith("HDM") else "cmu.npz")) as z:
        joints, scale, start, length = z["joints17"], float(z["pos_scale"]), z["seq_start"], z["seq_length"]
        for i in np.flatnonzero([str(found).split("#")[0] == name for found in z["seq_name"]]):
            yield joints[start[i] : start[i] + length[i]] * scale


def rooted(x):
    return x - x[:, :1]


@needs_samples
@pytest.mark.parametrize("name", TAKES)
def test_real_files_have_the_joints_of_the_shared_motion_capture(name):
    """Every 4th frame of the file is a frame of the shared data, at the same height over the floor."""
    make, mean, most = TAKES[name]
    joints = retarget(make()).joints
    for wanted in shared_pieces(name):
        span = 4 * (len(wanted) - 1) + 1
        starts = range(len(joints) - span + 1)
        start = min(starts, key=lambda s: np.abs(rooted(joints[s : s + span : 4]) - rooted(wanted)).mean())
        found = joints[start : start + span : 4]
        away = 1000 * np.linalg.norm(rooted(found) - rooted(wanted), axis=-1).mean(0)
        assert away.mean() < mean
        assert away.max() < most
        if name != "09_01":
            np.testing.assert_allclose(found[:, 0, 1], wanted[:, 0, 1], atol=0.001)


@needs_samples
def test_another_take_of_a_person_has_their_bones():
    """131_01 as BVH for 3ds Max, beside 131_04 of the shared data: all bones within 3 %."""
    joints = retarget(read_bvh(SAMPLES / "131_01_3dsmax.bvh")).joints
    with np.load(MOCAP / "cmu_more.npz") as z:
        i = z["seq_subject"].tolist().index("cmu131")
        wanted = z["joints17"][z["seq_start"][i] :][: z["seq_length"][i]] * float(z["pos_scale"])
    found, wanted = (np.median(np.asarray(bone_lengths(x, H36M_17)), 0) for x in (joints, wanted))
    np.testing.assert_allclose(found, wanted, rtol=0.03)


@pytest.mark.parametrize("turn", [0.0, 1.2])
def test_an_upright_body_of_any_skeleton_has_its_joints_in_order(tmp_path, turn):
    """SMPL's skeleton as BVH, which has one neck joint: the general rule, for a person who faces any side."""
    zero = np.zeros((2, 21, 3), np.float32)
    root = np.tile(np.float32([0, turn, 0]), (2, 1))
    write_motion_bvh(tmp_path / "a.bvh", Motion(zero, root, zero[:, 0] + np.float32([0, 1, 0]), 30.0))
    take = read_bvh(tmp_path / "a.bvh")
    found = retarget(take, skip_t_pose=False)
    x = found.joints[0]
    for name in ("hip", "spine", "thorax", "neck_nose", "head"):
        facing = np.array([np.sin(turn), 0, np.cos(turn)])
        side = np.array([np.cos(turn), 0, -np.sin(turn)])
        assert abs((x[J[name]] - x[0]) @ side) < 1e-4, "the trunk has no side"
        assert abs((x[J[name]] - x[0]) @ facing) < 0.1
    heights = [x[J[name], 1] for name in ("hip", "spine", "thorax", "neck_nose", "head")]
    assert heights == sorted(heights)
    assert 0.35 < (x[J["spine"], 1] - x[0, 1]) / (x[J["thorax"], 1] - x[0, 1]) < 0.55
    np.testing.assert_allclose(x[J["thorax"]], (x[J["left_shoulder"]] + x[J["right_shoulder"]]) / 2, atol=1e-6)
    assert (x[J["neck_nose"]] - x[J["thorax"]]) @ facing > 0.03, "the face is in front"
    assert (x[J["left_wrist"]] - x[J["right_wrist"]]) @ side > 1.2
