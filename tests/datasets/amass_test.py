"""AMASS prepared: which files, which frames, read once; on files written as the releases have them."""

import json

import numpy as np
import pytest
from amass_files import smplh_file, smplx_file
from scipy.spatial.transform import Rotation
from shared import refuses

from jaxpose.datasets.amass import SPLITS, find_sequences, prepare_amass, published_selection, regular_selection
from jaxpose.datasets.mocap import balanced_weights, load_rotations
from jaxpose.io.motion import Motion, read_motion
from jaxpose.originals.datasets.fragments import fragments, prepare_fragments


def poses_of(num, width, start):
    """Poses that name their sequence and frame: the left hip's x is start + frame / 1000."""
    poses = np.zeros((num, width))
    poses[:, 3] = start + np.arange(num) / 1000
    poses[:, 0] = 0.25
    return poses


@pytest.fixture
def root(tmp_path):
    """Two subsets of the valid split in the SMPL-X release, one under an older name, and things beside them."""
    root = tmp_path / "amass"
    sizes = {"MPI_mosh/00008/misc": (200, 1.0, 120), "HumanEva/S1/Box_1": (100, 2.0, 60)}
    for name, (num, start, rate) in sizes.items():
        smplx_file(root / f"{name}_stageii.npz", poses_of(num, 165, start), np.zeros((num, 3)), rate)
    smplh_file(root / "HumanEva/S2/Box_1_poses.npz", poses_of(50, 156, 3.0), np.zeros((50, 3)), 120)
    np.savez(root / "HumanEva/S1/shape.npz", betas=np.zeros(16))
    np.savez(root / "HumanEva/S1/neutral_stagei.npz", betas=np.zeros(16))
    smplh_file(root / "ACCAD/s1/walk_poses.npz", poses_of(40, 156, 4.0), np.zeros((40, 3)), 120)
    return root


def run(*args, **kwargs):
    return list(prepare_amass(*args, **kwargs))


def test_splits_share_no_subset_and_are_the_published_ones():
    assert {name: len(subsets) for name, subsets in SPLITS.items()} == {"train": 10, "valid": 4, "test": 2}
    assert len({subset for subsets in SPLITS.values() for subset in subsets}) == 16


def test_sequences_are_found_by_any_of_their_names_once(root):
    smplh_file(root / "HumanEva/S1/Box_1_poses.npz", poses_of(9, 156, 0), np.zeros((9, 3)), 120)
    found = find_sequences(root, ("Mosh", "humaneva", "Other"))
    assert [s.name for s in found["MoSh"]] == ["misc"]
    assert [(s.subject, s.path.name) for s in found["HumanEva"]] == [
        ("S1", "Box_1_stageii.npz"),
        ("S2", "Box_1_poses.npz"),
    ]
    assert found["Other"] == []


@pytest.mark.parametrize("num", [1, 7, 100, 1234])
def test_the_published_selection(num):
    """Its size and range as spec/dposer.md 3 has them; frames differ and depend on the seed."""
    frames = published_selection(num, np.random.default_rng(0))
    assert len(frames) == int(0.3 * 0.8 * num)
    assert len(set(frames.tolist())) == len(frames)
    assert all(int(0.1 * num) <= frame < int(0.9 * num) for frame in frames)
    if num > 100:
        assert (frames != published_selection(num, np.random.default_rng(1))).any()


def test_frames_of_the_middle_are_drawn_alike():
    count = np.zeros(50)
    for seed in range(400):
        count[published_selection(50, np.random.default_rng(seed))] += 1
    assert count[:5].sum() == count[45:].sum() == 0
    share = 12 / 40
    assert np.abs(count[5:45] / 400 - share).max() < 4.5 * np.sqrt(share * (1 - share) / 400)


@pytest.mark.parametrize(("rate", "step"), [(120, 4), (100, 3), (60, 2), (30, 1), (25, 1), (250, 8)])
def test_the_regular_selection_follows_the_rate(rate, step):
    np.testing.assert_array_equal(regular_selection(100, rate, 30.0), np.arange(10, 90, step))


def test_prepared_and_loaded(root, tmp_path):
    lines = run(root, "valid", tmp_path / "out")
    assert "nothing of HDM05, SFU" in lines[0]
    data = load_rotations(tmp_path / "out", "val")
    frames = [np.arange(10, 90, 2), np.arange(5, 45, 4), np.arange(20, 180, 4)]
    assert data.name.tolist() == ["Box_1", "Box_1", "misc"]
    assert data.subject.tolist() == ["HumanEva/S1", "HumanEva/S2", "MoSh/00008"]
    assert data.category.tolist() == ["HumanEva", "HumanEva", "MoSh"]
    wanted = np.concatenate([s + f / 1000 for s, f in zip((2, 3, 1), frames, strict=True)])
    np.testing.assert_allclose(data.body_pose[:, 0, 0], wanted, rtol=1e-6)
    np.testing.assert_array_equal(data.sequence, np.repeat([0, 1, 2], [len(f) for f in frames]))
    np.testing.assert_allclose(balanced_weights(data, 0.0)[data.sequence == 2].sum(), 0.5)
    with np.load(tmp_path / "out" / "valid.npz") as z:
        np.testing.assert_array_equal(z["frame"], np.concatenate(frames))
        np.testing.assert_allclose(z["betas"], np.tile(np.linspace(-1, 1, 16)[:10], (3, 1)), atol=1e-7)
        assert z["fps"].tolist() == [60, 120, 120]
        upright = Rotation.from_euler("x", 0.25 - np.pi / 2).as_rotvec()
        np.testing.assert_allclose(z["global_orient"], np.tile(upright, (len(wanted), 1)), atol=1e-6)
    record = json.loads((tmp_path / "out" / "valid.json").read_text())
    assert record["subsets"]["HumanEva"] == {"sequences": 2, "frames": 50}
    assert record["absent"] == ["HDM05", "SFU"]
    assert record["selection"] == {"rule": "every k-th", "fps": 30.0}


def test_published_frames_do_not_depend_on_what_else_is_there(root, tmp_path):
    """The authors' frames change with every run, and early subsets are read many times over."""
    run(root, "valid", tmp_path / "all", published=True, seed=3)
    run(root, "valid", tmp_path / "one", published=True, seed=3, subsets=("Mosh",))
    run(root, "valid", tmp_path / "other", published=True, seed=4, subsets=("Mosh",))
    everything, one, other = (load_rotations(tmp_path / n, "valid") for n in ("all", "one", "other"))
    assert np.bincount(everything.sequence).tolist() == [24, 12, 48]
    rows = one.body_pose[:, 0, 0]
    # "MoSh" and "Mosh" name one subset
    np.testing.assert_array_equal(everything.body_pose[everything.sequence == 2, 0, 0], rows)
    assert (other.body_pose[:, 0, 0] != rows).any()
    assert len(np.unique(everything.body_pose[:, 0, 0])) == 84


def test_a_broken_file_is_left_out_and_named(root, tmp_path):
    (root / "HumanEva/S2/Box_1_poses.npz").write_bytes(b"PK\x03\x04 cut short")
    lines = run(root, "valid", tmp_path / "out")
    assert any("left out" in line and "Box_1_poses" in line for line in lines)
    assert len(load_rotations(tmp_path / "out", "valid").name) == 2
    record = json.loads((tmp_path / "out" / "valid.json").read_text())
    assert list(record["left_out"]) == [str(root / "HumanEva/S2/Box_1_poses.npz")]
    for path in root.glob("*/*/*_stageii.npz"):
        path.write_bytes(b"")
    refuses("none of 3 files gave a frame", run, root, "valid", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_faults_are_named(root, tmp_path):
    refuses("split: got 'val', must be one of train, valid, test", run, root, "val", tmp_path / "out")
    with pytest.raises(ValueError, match=r"no sequences of KIT; .*'ACCAD', 'HumanEva', 'MPI_mosh'"):
        run(root, "train", tmp_path / "out", subsets=("ACCAD", "KIT"))
    refuses("no sequences of Transitions, SSM", run, root, "test", tmp_path / "out")
    refuses("not a folder", run, tmp_path / "nowhere", "test", tmp_path / "out")
    refuses("fps must be more than 0", run, root, "valid", tmp_path / "out", fps=0)
    assert not (tmp_path / "out").exists()
    run(root, "train", tmp_path / "out")
    refuses(r"train\.npz: exists already", run, root, "train", tmp_path / "out")
    refuses(r"no split 'test'; found \['train'\]", load_rotations, tmp_path / "out", "test")
    with np.load(tmp_path / "out" / "train.npz") as file:
        arrays = dict(file)
    arrays["body_pose"][0, 3, 1] = np.nan
    np.savez(tmp_path / "out" / "train.npz", **arrays)
    refuses(r"train\.npz: body_pose holds NaN", load_rotations, tmp_path / "out", "train")


def test_fragments_are_consecutive_and_the_rest_is_dropped():
    body = np.arange(130 * 63, dtype=np.float32).reshape(130, 21, 3)
    pieces = fragments(Motion(body, body[:, 0], body[:, 0], 60.0))
    assert len(pieces) == 2
    np.testing.assert_array_equal(np.concatenate([p.body_pose for p in pieces]), body[:120])
    assert fragments(Motion(body[:59], body[:59, 0], body[:59, 0], 60.0)) == []


def test_fragments_of_a_folder(root, tmp_path):
    lines = list(prepare_fragments([root / "HumanEva"], tmp_path / "cut", length=40))
    assert lines[-1].endswith("3 fragments of 2 files")
    names = sorted(str(p.relative_to(tmp_path / "cut")) for p in (tmp_path / "cut").rglob("*.npz"))
    assert names == ["S1/Box_1_stageii_batch000.npz", "S1/Box_1_stageii_batch001.npz", "S2/Box_1_poses_batch000.npz"]
    with np.load(tmp_path / "cut" / names[1], allow_pickle=False) as z:
        np.testing.assert_allclose(z["pose_body"][:, 0], 2 + np.arange(40, 80) / 1000, rtol=1e-6)
        assert z["root_orient"].shape == (40, 3)
    assert read_motion(tmp_path / "cut" / names[1]).fps == 60
