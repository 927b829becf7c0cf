"""`jaxpose complete` as a user calls it, on 3D joints and on 2D keypoints, against the Python functions."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose.base import Camera
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.model import ASSETS, load
from jaxpose.tasks.complete import complete
from jaxpose.tasks.lift import lift

JOINTS = H36M_17.joints
LEFT_ARM = list(H36M_17.parts[2])


def arrays(path):
    with np.load(path) as z:
        return {key: z[key] for key in z.files}


@pytest.fixture
def file(tmp_path, poses):
    np.save(tmp_path / "poses.npy", poses)
    return tmp_path / "poses.npy"


@pytest.fixture
def keypoints(tmp_path):
    """Three detections of the clip, with the last one's thorax unseen."""
    with np.load(ASSETS / "demo_clip.npz") as z:
        confidence = np.ones((3, 17))
        confidence[2, JOINTS.index("thorax")] = 0
        content = {"keypoints": z["keypoints_true"][::30], "confidence": confidence}
        np.savez(tmp_path / "kp.npz", joints=z["joints"], intrinsics=z["intrinsics"], **content)
    return tmp_path / "kp.npz"


def test_the_result_is_the_python_functions(run, file, poses, model_file, tmp_path):
    run("complete", file, "--out", tmp_path / "o", "--hide", "left_arm,head", "--seed", 3, "--noise", 0.02)
    found = arrays(tmp_path / "o" / "poses.npz")
    joints = poses.copy()
    joints[:, [*LEFT_ARM, JOINTS.index("head")]] = np.nan
    np.testing.assert_array_equal(found["observed"], joints)
    key = jax.random.fold_in(jax.random.key(3), 0)
    block = jnp.asarray(joints[[0, 1, 2, 2]])  # one block of 4 rows
    expected = complete(key, load(model_file), block, noise=0.02, num_hypotheses=4)
    np.testing.assert_array_equal(found["samples"], expected.samples[:, :3])
    np.testing.assert_array_equal(found["covariance"], expected.covariance[:3])
    np.testing.assert_allclose(found["noise"], 0.02)
    summary = json.loads((tmp_path / "o" / "poses.json").read_text())
    assert summary["missing_joints"]["left_elbow"] == 3
    assert summary["hide"] == "left_arm,head"
    assert summary["noise_source"] == "noise of the observed joints taken as 20 mm"
    assert (summary["seed"], summary["network_calls"], summary["num_poses"]) == (3, 3, 3)


def test_exact_joints_come_back_and_all_hypotheses_miss_the_same(run, file, poses, tmp_path, capsys):
    run("complete", file, "--out", tmp_path / "o", "--hide", "random:3")
    found = arrays(tmp_path / "o" / "poses.npz")
    missing = np.isnan(found["observed"]).all(-1)
    assert missing.sum(-1).tolist() == [3, 3, 3]
    assert (missing[0] != missing[1]).any(), "drawn per pose"
    assert {JOINTS[j].split("_")[-1] for j in np.nonzero(missing)[1]} <= {"knee", "ankle", "elbow", "wrist"}
    same = found["samples"] == poses
    np.testing.assert_array_equal(same.all((0, -1)), ~missing)
    assert not same[:, missing].any()
    assert "missing or hidden: " in capsys.readouterr().out


def test_a_file_in_other_axes_and_units_is_the_same_person(run, file, poses, tmp_path):
    """The same poses z-up in millimetres: x right, y into the scene, z up."""
    run("complete", file, "--out", tmp_path / "camera", "--hide", "left_arm")
    world = poses[..., [0, 2, 1]] * [1, 1, -1]
    np.savez(tmp_path / "poses.npz", joints3d=1000 * world, up="z", unit="mm", frame=[4, 6, 8])
    run("complete", tmp_path / "poses.npz", "--out", tmp_path / "world", "--hide", "left_arm")
    camera, found = (arrays(tmp_path / name / "poses.npz") for name in ("camera", "world"))
    np.testing.assert_allclose(found["samples"], camera["samples"][..., [0, 2, 1]] * [1, 1, -1], atol=2e-4)
    variance = np.diagonal(camera["covariance"], axis1=-2, axis2=-1)
    np.testing.assert_allclose(
        np.diagonal(found["covariance"], axis1=-2, axis2=-1), variance[..., [0, 2, 1]], atol=1e-4
    )
    assert (str(found["up"]), str(found["unit"])) == ("z", "m")
    assert found["frame"].tolist() == [4, 6, 8]
    assert "z up" in str(found["frame_tag"])


def test_poses_without_a_joint_are_left_out_and_said(run, poses, tmp_path, capsys):
    poses = poses.copy()
    poses[1] = np.nan
    poses[2, 5:] = np.nan
    np.save(tmp_path / "gap.npy", poses)
    run("complete", tmp_path / "gap.npy", "--out", tmp_path / "o", "--hide", "head")
    assert "left out 1 poses without an observed joint" in capsys.readouterr().out
    assert arrays(tmp_path / "o" / "gap.npz")["frame"].tolist() == [0, 2]


@pytest.mark.slow
def test_keypoints_are_lifted_without_the_hidden_ones_and_completed(run, keypoints, model_file, tmp_path):
    run("complete", keypoints, "--out", tmp_path / "o", "--hide", "right_knee,random:1")
    found, given = arrays(tmp_path / "o" / "kp.npz"), arrays(keypoints)
    hidden = found["confidence"] == 0
    assert hidden[:, JOINTS.index("right_knee")].all()
    assert hidden[2, JOINTS.index("thorax")]
    assert 1 <= hidden[0].sum() <= 2
    rows = [0, 1, 2, 2]
    xy, confidence, intrinsics = (jnp.asarray(found[k][rows]) for k in ("keypoints", "confidence", "intrinsics"))
    how = {"camera": Camera(intrinsics), "num_hypotheses": 4, "numbers": np.zeros(4, int)}
    expected = lift(jax.random.key(0), load(model_file), xy, confidence, **how)
    np.testing.assert_array_equal(found["samples"], expected.samples[:, :3])
    placed = found["samples"] + found["root"][:, :, None]
    fx, fy, cx, cy = given["intrinsics"]
    seen = np.stack([fx * placed[..., 0] / placed[..., 2] + cx, fy * placed[..., 1] / placed[..., 2] + cy], -1)
    completed = found["keypoints_completed"]
    assert completed.shape == (4, 3, 17, 2)
    np.testing.assert_allclose(completed[:, hidden], seen[:, hidden], rtol=1e-3)
    np.testing.assert_allclose(completed[:, ~hidden], np.tile(given["keypoints"][~hidden], (4, 1, 1)), rtol=1e-6)


@pytest.mark.slow
def test_whole_keypoints_are_lifted_as_lift_does_and_it_says_so(run, keypoints, tmp_path, capsys):
    whole = arrays(keypoints)
    whole["confidence"][:] = 1
    np.savez(keypoints, **whole)
    run("complete", keypoints, "--out", tmp_path / "a")
    assert "nothing, so this is what `jaxpose lift` does" in capsys.readouterr().out
    run("lift", keypoints, "--out", tmp_path / "b")
    a, b = (arrays(tmp_path / name / "kp.npz") for name in "ab")
    assert set(a) - set(b) == {"keypoints_completed"}
    np.testing.assert_array_equal(a["samples"], b["samples"])


BAD = {
    "unknown name": (lambda p: p, ["--hide", "left_tail"], "--hide: must be one of random:K, the parts"),
    "random of none": (lambda p: p, ["--hide", "random:9"], "--hide: needed random:K once, with K from 1 to 8, got"),
    "hides everything": (
        lambda p: p,
        ["--hide", "left_leg,right_leg,left_arm,right_arm,trunk"],
        "--hide hides all that is there",
    ),
    "nothing to do": (lambda p: p, [], "nothing to complete, every joint is there"),
    "camera": (lambda p: p, ["--camera", "9,9,1,1"], "--camera: is for 2D keypoints"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_line(case, refused, poses, tmp_path):
    make, flags, message = BAD[case]
    np.save(tmp_path / "bad.npy", make(poses))
    assert message in refused("complete", tmp_path / "bad.npy", "--out", tmp_path / "o", *flags)
    assert not (tmp_path / "o").exists()


def test_flags_of_3d_joints_and_too_few_keypoints_are_refused(refused, keypoints, tmp_path):
    call = ("complete", keypoints, "--out", tmp_path / "o")
    assert "--noise: is for 3D joints" in refused(*call, "--noise", "0.1")
    assert "--up: is for 3D joints" in refused(*call, "--up", "y")
    hide = "left_leg,right_leg,left_arm,right_arm,head"
    message = refused(*call, "--hide", f"{hide},neck_nose")
    assert "no detection has 4 visible joints" in message
    assert "not hidden; the best has 3" in message


@pytest.mark.slow
def test_pictures_and_the_path_are_written(run, file, keypoints, tmp_path, capsys):
    for source in (file, keypoints):
        run("complete", source, "--out", tmp_path / "o", "--hide", "left_arm", "--path", pictures=True)
        endings = (".npz", ".json", ".png", ".html", "_path.html")
        files = [str(tmp_path / "o" / f"{source.stem}{ending}") for ending in endings]
        assert [line[6:] for line in capsys.readouterr().out.splitlines() if line.startswith("wrote ")] == files
        assert "path" not in arrays(files[0])
