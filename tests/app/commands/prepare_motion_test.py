"""`jaxpose prepare motion`: it writes the motion that went in; bad input leaves with code 2 and nothing written."""

import json

import numpy as np
import pytest

from jaxpose.app import cli
from jaxpose.datasets.mocap import data_root
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.io.motion import Motion, read_motion, save_motion
from jaxpose.io.retarget import write_motion_bvh

SAMPLES = data_root() / "bvh_samples"
needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"{SAMPLES} is absent")


def run(*arguments):
    cli.main(["prepare", "motion", *map(str, arguments)])


def drawn():
    rng = np.random.default_rng(0)
    body, root = (rng.uniform(-1, 1, shape).astype(np.float32) for shape in ((5, 21, 3), (5, 3)))
    return Motion(body, root, rng.normal(size=(5, 3)).astype(np.float32), 50.0)


def test_bvh_and_npz_become_npz(tmp_path, capsys):
    motion, out = drawn(), tmp_path / "made" / "here"
    write_motion_bvh(tmp_path / "a.bvh", motion)
    save_motion(tmp_path / "b.npz", motion)
    run(tmp_path / "a.bvh", tmp_path / "b.npz", "--out", out)
    said = capsys.readouterr().out
    assert "5 frames at 50 per second; SMPL joints, 22 joints; 1 unit = 0.01 m assumed" in said
    for name in ("a", "b"):
        with np.load(out / f"{name}.npz") as z:
            np.testing.assert_allclose(z["pose_body"].reshape(5, 21, 3), motion.body_pose, atol=1e-5)
            np.testing.assert_allclose(z["root_orient"], motion.global_orient, atol=1e-5)
            np.testing.assert_allclose(z["transl"], motion.transl, atol=1e-5)
            assert float(z["mocap_frame_rate"]) == pytest.approx(50)


def test_a_joint_map_and_a_unit_are_used(tmp_path, capsys):
    motion = drawn()
    write_motion_bvh(tmp_path / "a.bvh", motion, unit="m")
    text = (tmp_path / "a.bvh").read_text()
    (tmp_path / "b.bvh").write_text(text.replace("ROOT pelvis", "ROOT base"))
    names = {"base" if name == "pelvis" else name: name for name in SMPL_22.joints}
    (tmp_path / "map.json").write_text(json.dumps(names))
    run(tmp_path / "b.bvh", "--out", tmp_path / "o", "--unit-m", 2, "--joint-map", tmp_path / "map.json")
    assert "1 unit = 2 m as given, legs 1.6" in capsys.readouterr().out
    found = read_motion(tmp_path / "o" / "b.npz")
    np.testing.assert_allclose(found.body_pose[:, :12], motion.body_pose[:, :12], atol=1e-5)


@needs_samples
def test_the_skeleton_of_an_amc_is_found_beside_it(tmp_path, capsys):
    run(SAMPLES / "03_02.amc", "--out", tmp_path, "--fps", 60)
    assert "365 frames at 60 per second; CMU or HDM05 ASF/AMC" in capsys.readouterr().out
    beside = read_motion(tmp_path / "03_02.npz")
    run(SAMPLES / "03_02.amc", "--out", tmp_path / "b", "--asf", SAMPLES / "03.asf")
    given = read_motion(tmp_path / "b" / "03_02.npz")
    np.testing.assert_array_equal(beside.body_pose, given.body_pose)
    assert given.fps == 120


def test_files_of_one_stem_are_told_apart_by_their_format(tmp_path):
    write_motion_bvh(tmp_path / "a.bvh", drawn())
    save_motion(tmp_path / "a.npz", drawn())
    run(tmp_path / "a.bvh", tmp_path / "a.npz", "--out", tmp_path / "o")
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["a_bvh.npz", "a_npz.npz"]
