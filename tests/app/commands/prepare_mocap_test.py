"""`jaxpose prepare mocap` as a user calls it: any kind of file in, training's files out; damaged files are left out."""

import json

import amass_files
import numpy as np
import pytest
from command_line import refusal
from scipy.spatial.transform import Rotation

from jaxpose.app import cli
from jaxpose.app.commands import ending
from jaxpose.datasets.mocap import data_root, load_mocap, load_rotations
from jaxpose.fitting import recorded
from jaxpose.geometry.axes import turn
from jaxpose.geometry.skeleton import COCO_17, H36M_17, SMPL_22
from jaxpose.io.c3d import write_c3d
from jaxpose.io.markers import write_trc
from jaxpose.io.retarget import GENERIC_OFFSETS, write_motion_bvh
from jaxpose.io.smpl_motion import Motion

FRAMES = 24
H, S = ({name: j for j, name in enumerate(skeleton.joints)} for skeleton in (H36M_17, SMPL_22))
LIMBS = [(f"{s}_{a}", f"{s}_{b}") for s in ("left", "right") for a, b in (("hip", "knee"), ("knee", "ankle"))]
LIMBS += [(f"{s}_{a}", f"{s}_{b}") for s in ("left", "right") for a, b in (("shoulder", "elbow"), ("elbow", "wrist"))]


def run(*arguments):
    cli.main(["prepare", "mocap", *map(str, arguments)])


def moving(num=FRAMES):
    """A person who bends one knee and both elbows while turning, 1 m over the floor: (Motion, joints [F, 22, 3])."""
    t = np.linspace(0, 1, num)
    body = np.zeros((num, 21, 3))
    body[:, S["left_knee"] - 1, 0] = 0.2 + t
    body[:, S["left_hip"] - 1, 0] = -0.1 - t / 2
    body[:, S["left_shoulder"] - 1, 2] = -1.1 + t / 2
    body[:, S["right_shoulder"] - 1, 2] = 1.1
    body[:, S["left_elbow"] - 1, 1] = -0.3 - t
    body[:, S["right_elbow"] - 1, 1] = 0.6
    root = np.stack([0 * t, 0.4 + t / 2, 0 * t], -1)
    place = np.stack([t / 2, 1 + 0 * t, 0 * t], -1)
    local = np.concatenate([root[:, None], body], 1)
    world = Rotation.from_rotvec(local.reshape(-1, 3)).as_matrix().reshape(num, 22, 3, 3)
    joints = np.zeros((num, 22, 3))
    joints[:, 0] = place
    for j, parent in enumerate(SMPL_22.parents[1:], 1):
        joints[:, j] = joints[:, parent] + np.einsum("fij,j->fi", world[:, parent], GENERIC_OFFSETS[j])
        world[:, j] = world[:, parent] @ world[:, j]
    return Motion(*(x.astype(np.float32) for x in (body, root, place)), 30.0), joints


def directions(joints, index):
    bones = np.stack([joints[:, index[b]] - joints[:, index[a]] for a, b in LIMBS], 1)
    return bones / np.linalg.norm(bones, axis=-1, keepdims=True)


def posed(body_pose, root):
    """Directions of the limbs of rotations [F, 21, 3] and [F, 3] on the generic skeleton, by scipy."""
    local = np.concatenate([root[:, None], body_pose], 1)
    world = Rotation.from_rotvec(local.reshape(-1, 3)).as_matrix().reshape(-1, 22, 3, 3)
    for j, parent in enumerate(SMPL_22.parents[1:], 1):
        world[:, j] = world[:, parent] @ world[:, j]
    bones = np.stack([np.einsum("fij,j->fi", world[:, S[a]], GENERIC_OFFSETS[S[b]]) for a, b in LIMBS], 1)
    return bones / np.linalg.norm(bones, axis=-1, keepdims=True)


def h36m_of(joints):
    """Human3.6M's joints by name where SMPL's skeleton has them, and middles: [F, 17, 3]."""
    x = np.stack([joints[:, S[name]] if name in S else np.zeros((len(joints), 3)) for name in H36M_17.joints], 1)
    x[:, H["hip"]] = joints[:, [S["left_hip"], S["right_hip"]]].mean(1)
    x[:, H["spine"]], x[:, H["thorax"]] = joints[:, S["spine2"]], joints[:, S["neck"]]
    up = joints[:, S["neck"]] - joints[:, S["spine3"]]
    x[:, H["neck_nose"]], x[:, H["head"]] = joints[:, S["head_base"]], joints[:, S["head_base"]] + up
    return x


def write_csv(folder, names, xyz):
    head = ",".join(["frame", "person", *(f"{n}_{axis}" for n in names for axis in "xyz")])
    rows = [",".join(map(str, [f, 0, *x.ravel().tolist()])) for f, x in enumerate(xyz)]
    (folder / "take.csv").write_text("\n".join([head, *rows]))


COCO_NAMES = [name for name in COCO_17.joints if name in S]  # the limbs, without the face
# kind of file -> what writes take.SUFFIX of 30 frames a second into a folder
WRITERS = {
    "bvh": lambda folder, motion, joints: write_motion_bvh(folder / "take.bvh", motion),
    "smpl": lambda folder, motion, joints: amass_files.smplh_file(
        folder / "take_poses.npz",
        np.pad(np.concatenate([z_up(motion.global_orient), motion.body_pose.reshape(-1, 63)], 1), ((0, 0), (0, 90))),
        motion.transl @ turn("y", "z").T,
        30,
    ),
    "csv": lambda folder, motion, joints: write_csv(folder, H36M_17.joints, h36m_of(joints)),
    "coco": lambda folder, motion, joints: write_csv(folder, COCO_NAMES, joints[:, [S[n] for n in COCO_NAMES]]),
    "trc": lambda folder, motion, joints: write_trc(folder / "take.trc", H36M_17.joints, h36m_of(joints), 30.0),
    "c3d": lambda folder, motion, joints: write_c3d(
        folder / "take.c3d", H36M_17.joints, h36m_of(joints) @ turn("y", "z").T, 30.0
    ),
}


def z_up(root):
    quarter = Rotation.from_euler("x", 90, degrees=True)
    return (quarter * Rotation.from_rotvec(root)).as_rotvec()


@pytest.mark.parametrize("kind", WRITERS)
def test_positions_and_rotations_of_every_kind_of_file_agree(tmp_path, kind):
    """Limbs of `joints17` and of `body_pose` point as those that were written, and joints lie where they were."""
    if kind == "c3d":
        pytest.importorskip("ezc3d")
    motion, joints = moving()
    (tmp_path / "in" / "anna").mkdir(parents=True)
    WRITERS[kind](tmp_path / "in" / "anna", motion, joints)
    run(tmp_path / "in", "--out", tmp_path / "o", "--floor", "file")
    found, rotations = load_mocap(tmp_path / "o", "train"), load_rotations(tmp_path / "o", "train")
    assert (found.subject.tolist(), found.category.tolist()) == (["anna"], ["motion"])
    assert len(found.joints) == FRAMES
    wanted = directions(joints, S)
    with np.load(tmp_path / "o" / "mocap" / "mocap.npz") as z:
        root = z["global_orient"] * float(z["rot_scale"])
        assert z["seq_skeleton"].tolist() == ["mean" if kind == "smpl" else "subject"]
        pelvis = z["transl"] * float(z["pos_scale"])
    degrees = lambda a: np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(a - wanted, axis=-1) / 2, 0, 1)))  # noqa: E731
    assert degrees(directions(found.joints, H)).max() < 1, "the joints"
    solved = kind in ("csv", "coco", "trc", "c3d")
    assert degrees(posed(rotations.body_pose, root)).max() < (6 if solved else 0.1), "the rotations"
    limbs = [name for pair in LIMBS for name in pair]
    start = h36m_of(joints)[0, 0] * (1, 0, 1)  # the first frame stands over x = z = 0
    away = np.linalg.norm(found.joints - (h36m_of(joints) - start), axis=-1)[:, [H[name] for name in limbs]]
    assert away.max() < 0.002
    head = found.joints[:, H["head"]] - found.joints[:, H["thorax"]]
    assert (head[:, 1] > 0.15).all(), "the head is on top, also where the file lacks it"
    assert np.linalg.norm(pelvis - (joints[:, 0] - start), axis=-1).max() < 0.1


def test_a_damaged_file_is_named_and_the_others_are_written(tmp_path, capsys):
    motion, _ = moving()
    for subject in ("anna", "ben"):
        (tmp_path / "in" / "day1" / subject).mkdir(parents=True)
        write_motion_bvh(tmp_path / "in" / "day1" / subject / "walk.bvh", motion)
    whole = (tmp_path / "in" / "day1" / "ben" / "walk.bvh").read_text()
    (tmp_path / "in" / "day1" / "ben" / "cut.bvh").write_text(whole[: len(whole) // 2])
    with pytest.raises(SystemExit) as left:
        run(tmp_path / "in", "--out", tmp_path / "o", "--val", "day1/ben")
    assert left.value.code == 1
    said = capsys.readouterr().out
    assert "left out: " in said
    assert "cut.bvh" in said
    assert "1 of 3 files were left out" in said
    train, val = load_mocap(tmp_path / "o", "train"), load_mocap(tmp_path / "o", "val")
    assert (train.name.tolist(), val.name.tolist()) == (["day1/anna/walk"], ["day1/ben/walk"])
    assert train.category.tolist() == ["day1"]


def test_subjects_and_categories_come_from_a_pattern(tmp_path):
    motion, _ = moving()
    for name in ("07_walk_1", "07_run_1", "12_walk_1"):
        write_motion_bvh(tmp_path / f"{name}.bvh", motion)
    files = sorted(tmp_path.glob("*.bvh"))
    pattern = r"(?P<subject>\d+)_(?P<category>[a-z]+)"
    run(*files, "--out", tmp_path / "o", "--pattern", pattern, "--val", "12,07_run_1")
    splits = json.loads((tmp_path / "o" / "mocap" / "splits.json").read_text())
    assert splits == {"train": ["07_walk_1"], "val": ["12", "07_run_1"], "files": ["mocap"]}
    assert load_mocap(tmp_path / "o", "val").category.tolist() == ["run", "walk"]


def test_people_of_one_file_are_subjects(tmp_path):
    _, joints = moving()
    x = h36m_of(joints)
    arrays = {
        "joints3d": np.concatenate([x, x + np.array([2, 0, 0])]),
        "person": np.repeat([0, 1], FRAMES),
        "fps": 120.0,
        "up": "y",
    }
    np.savez(tmp_path / "pair.npz", **arrays, frame=np.tile(4 * np.arange(FRAMES), 2))
    run(tmp_path / "pair.npz", "--out", tmp_path / "o", "--subject", "duo", "--val", "pair_person1")
    train, val = load_mocap(tmp_path / "o", "train"), load_mocap(tmp_path / "o", "val")
    assert (train.subject.tolist(), val.subject.tolist()) == (["duo_person0"], ["duo_person1"])
    assert len(train.joints) == FRAMES, "every fourth frame of 120 a second"
    np.testing.assert_allclose(train.joints, val.joints, atol=0.001)


@pytest.mark.slow
def test_an_interrupted_command_goes_on_where_it_was(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    names = ("a", "b")
    for name, shift in zip(names, (0.0, 0.1), strict=True):
        write_trc(tmp_path / "in" / f"{name}.trc", H36M_17.joints, h36m_of(moving()[1]) + shift, 30.0)
    solve, calls = recorded.joint_angles, []

    def counted(skeleton, points):
        calls.append(points)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return solve(skeleton, points)

    monkeypatch.setattr(recorded, "joint_angles", counted)
    with pytest.raises(SystemExit, match=str(ending.INTERRUPTED)):
        run(tmp_path / "in", "--out", tmp_path / "o")
    assert not (tmp_path / "o").exists()
    run(tmp_path / "in", "--out", tmp_path / "o")
    assert len(calls) == 3, "the first file was solved once"
    monkeypatch.undo()
    run(tmp_path / "in", "--out", tmp_path / "whole")
    for found, wanted in zip(*(load_rotations(tmp_path / o, "train") for o in ("o", "whole")), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "o", "whole"}, "nothing is left behind"


def markers_on_the_skin(folder):
    xyz = np.random.default_rng(0).normal(1, 0.3, (FRAMES, 4, 3))
    write_trc(folder / "a.trc", ["RASI", "LASI", "RTHI", "LTHI"], xyz, 30.0)


def few_joints(folder):
    xyz = np.random.default_rng(0).normal(1, 0.3, (FRAMES, 4, 3))
    write_trc(folder / "a.trc", ["RHip", "LHip", "RKnee", "LKnee"], xyz, 30.0)


@pytest.mark.parametrize(
    ("write", "flags", "said"),
    [
        (None, [], "in: no files of motion in it; needed one of .bvh, .amc"),
        (markers_on_the_skin, [], "a.trc: of its markers RASI, LASI, RTHI, LTHI 0 are joints by their names"),
        (few_joints, [], "lacks right_ankle, left_ankle, left_shoulder, left_elbow, "),
        (few_joints, ["--val", "ben"], "--val: got 'ben'; must be one of the subjects in"),
        (few_joints, ["--pattern", "(walk"], "no regular expression"),
        (few_joints, ["--pattern", "walk"], "has neither group"),
        (few_joints, ["--pattern", "(?P<subject>x)"], "is not found in 'a.trc'"),
        (few_joints, ["--body", "absent.npz"], "--body: means nothing to these files; it is for .npz, .npy"),
        (few_joints, ["--asf", "a.asf"], "--asf: means nothing to these files; it is for .amc"),
    ],
)
def test_what_cannot_be_read_leaves_with_code_2_and_nothing_written(tmp_path, capsys, write, flags, said):
    (tmp_path / "in").mkdir()
    if write is not None:
        write(tmp_path / "in")
    assert said in refusal(capsys, cli.main, "prepare", "mocap", tmp_path / "in", "--out", tmp_path / "o", *flags)
    assert not (tmp_path / "o").exists()


@pytest.mark.skipif(not (data_root() / "bvh_samples").is_dir(), reason=f"{data_root()} is absent")
def test_real_files_in_one_folder(tmp_path, capsys):
    run(data_root() / "bvh_samples", "--out", tmp_path / "o", "--val", "hdm05")
    train, val = load_mocap(tmp_path / "o", "train"), load_mocap(tmp_path / "o", "val")
    assert set(train.subject) == {"bvh_samples"}
    assert val.name.tolist() == ["hdm05/HDM_mm_squat1Reps_037_120"]
    thigh = np.linalg.norm(train.joints[:, H["left_knee"]] - train.joints[:, H["left_hip"]], axis=-1)
    assert 0.36 < thigh.min() < thigh.max() < 0.46
    assert "of 7 files" not in capsys.readouterr().out


@pytest.mark.parametrize("corrected", [False, True])
def test_bent_knees_of_standing_people_are_said_and_taken_off(tmp_path, capsys, corrected):
    """A still person with knees of 22 degrees, 20 and those of the skeleton at rest; corrected, 7 by the formula."""
    still = np.zeros((45, 21, 3), np.float32)
    for side in ("left", "right"):
        still[:, S[f"{side}_hip"] - 1, 0], still[:, S[f"{side}_knee"] - 1, 0] = np.radians((-10, 20))
    rest = np.zeros((45, 3), np.float32)
    write_motion_bvh(tmp_path / "anna.bvh", Motion(still, rest, rest + np.float32([0, 0.9, 0]), 30.0))
    run(tmp_path / "anna.bvh", "--out", tmp_path / "o", *(["--straight-limbs"] if corrected else []))
    out = capsys.readouterr().out
    assert "lowest tenth of the flexion of loaded knees 22 degrees" in out
    assert ("taken off" if corrected else "--straight-limbs takes it off") in out
    joints = load_mocap(tmp_path / "o", "train").joints[0]
    thigh, shank = joints[H["left_knee"]] - joints[H["left_hip"]], joints[H["left_ankle"]] - joints[H["left_knee"]]
    angle = np.degrees(np.arccos(thigh @ shank / np.linalg.norm(thigh) / np.linalg.norm(shank)))
    assert angle == pytest.approx(7 if corrected else 22, abs=1)
