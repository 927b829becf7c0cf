"""`jaxpose prepare amass` and `fragments`: what is written is what was asked for; bad input leaves with code 2."""

import json

import numpy as np
import pytest
from amass_files import smplh_file, smplx_file

from jaxpose.app import cli
from jaxpose.datasets.mocap import load_rotations
from jaxpose.io.motion import read_motion


@pytest.fixture
def root(tmp_path):
    poses = np.linspace(0, 1, 200 * 165).reshape(200, 165)
    smplx_file(tmp_path / "amass/SSM/s/a_stageii.npz", poses, np.zeros((200, 3)), 120)
    smplh_file(tmp_path / "amass/ACCAD/s/b_poses.npz", poses[:, :156], np.zeros((200, 3)), 60)
    return tmp_path / "amass"


def run(*arguments):
    cli.main(["prepare", *map(str, arguments)])


def test_a_split_at_two_rates(root, tmp_path, capsys):
    for fps, step in ((30, 4), (10, 12)):
        out = tmp_path / f"out{fps}"
        run("amass", "--root", root, "--split", "test", "--fps", fps, "--out", out)
        frames = np.arange(20, 180, step)
        poses = np.linspace(0, 1, 200 * 165).reshape(200, 165)[frames, 3:66].reshape(-1, 21, 3)
        np.testing.assert_allclose(load_rotations(out, "test").body_pose, poses, rtol=1e-6)
    assert "SSM: 1 sequences, 14 frames kept" in capsys.readouterr().out


def test_a_damaged_file_is_named_and_the_others_are_written(root, tmp_path, capsys):
    """A frame rate that is an array, and an archive that is cut off, leave with code 1."""
    poses = np.zeros((200, 156))
    smplh_file(root / "SSM/s/rates_poses.npz", poses, np.zeros((200, 3)), 60)
    with np.load(root / "SSM/s/rates_poses.npz") as file:
        np.savez(root / "SSM/s/rates_poses.npz", **dict(file) | {"mocap_framerate": np.ones(2)})
    whole = smplh_file(root / "SSM/s/cut_poses.npz", poses, np.zeros((200, 3)), 60).read_bytes()
    (root / "SSM/s/cut_poses.npz").write_bytes(whole[:-100])
    with pytest.raises(SystemExit) as left:
        run("amass", "--root", root, "--split", "test", "--out", tmp_path / "out")
    assert left.value.code == 1
    said = capsys.readouterr().out
    assert all(f"left out: {root}/SSM/s/{name}_poses.npz" in said for name in ("rates", "cut"))
    assert "2 files were left out" in said
    assert load_rotations(tmp_path / "out", "test").name.tolist() == ["a"]


def test_the_published_selection_of_named_subsets(root, tmp_path):
    flags = ("--published-selection", "--subsets", "accad, SSM", "--seed", 7)
    run("amass", "--root", root, "--split", "train", *flags, "--out", tmp_path / "out")
    data = load_rotations(tmp_path / "out", "train")
    assert data.category.tolist() == ["ACCAD", "SSM"]
    assert np.bincount(data.sequence).tolist() == [48, 48]
    record = json.loads((tmp_path / "out" / "train.json").read_text())
    assert record["selection"]["seed"] == 7


def test_fragments(root, tmp_path):
    run("fragments", root / "SSM/s/a_stageii.npz", "--length", 90, "--out", tmp_path / "cut")
    names = sorted(p.name for p in (tmp_path / "cut").iterdir())
    assert names == ["a_stageii_batch000.npz", "a_stageii_batch001.npz"]
    whole = read_motion(root / "SSM/s/a_stageii.npz")
    np.testing.assert_array_equal(read_motion(tmp_path / "cut" / names[1]).body_pose, whole.body_pose[90:180])
