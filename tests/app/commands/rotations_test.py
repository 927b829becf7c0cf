"""generate, complete and interpolate with a prior over joint rotations: the Python functions' poses, in files that our
own readers take."""

import json

import jax
import numpy as np
import pytest

from jaxpose.geometry.axes import from_camera
from jaxpose.geometry.body import full_rotations
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.io.anny_body import anny_body
from jaxpose.io.motion import read_motion
from jaxpose.io.poses3d import read_poses3d
from jaxpose.io.take import rotation_matrices
from jaxpose.model import load
from jaxpose.tasks.complete_rotations import PARTS
from jaxpose.tasks.rotations import generate_rotations


@pytest.fixture
def turns():
    return np.random.default_rng(1).normal(0, 0.3, (3, 21, 3)).astype(np.float32)


@pytest.fixture
def amass(tmp_path, turns):
    """As AMASS writes SMPL-H: 52 joints, z up."""
    root = np.random.default_rng(2).normal(0, 0.3, (3, 3))
    full = np.concatenate([root, turns.reshape(3, 63), np.zeros((3, 90))], 1)
    np.savez(tmp_path / "a_poses.npz", poses=full, trans=np.ones((3, 3)), mocap_framerate=60.0, betas=np.zeros(16))
    return tmp_path / "a_poses.npz"


@pytest.mark.slow
def test_generated_poses_are_the_python_functions_and_our_readers_take_them(run_prior, prior_file, tmp_path):
    run_prior("generate", "--num", 4, "--seed", 3, "--out", tmp_path)
    expected = np.asarray(generate_rotations(jax.random.key(3), load(prior_file), 4))
    motion = read_motion(tmp_path / "generated_motion.npz")
    np.testing.assert_allclose(motion.body_pose, expected, atol=1e-5)
    posed = anny_body().shape().pose(full_rotations(anny_body(), expected))
    read = from_camera(read_poses3d(tmp_path / "generated.npz").joints, "y")
    np.testing.assert_allclose(read, posed.joints[:, :22], atol=1e-5)
    assert json.loads((tmp_path / "generated.json").read_text())["model"]["name"] == "tinyrot"


@pytest.mark.slow
def test_completed_poses_keep_what_is_known_and_survive_bvh(run_prior, amass, turns, tmp_path):
    out = tmp_path / "o"
    run_prior("complete", amass, "--hide", "left_leg,right_knee", "--hypotheses", 3, "--out", out, "--bvh")
    hidden = [*PARTS["left_leg"], SMPL_22.joints[1:].index("right_knee")]
    known = np.setdiff1d(np.arange(21), hidden)
    with np.load(out / "a_poses.npz") as z:
        samples = z["samples"]
        assert samples.shape == (3, 3, 21, 3)
        np.testing.assert_array_equal(samples[:, :, known], np.broadcast_to(turns, samples.shape)[:, :, known])
        assert (np.ptp(samples, 0)[:, hidden] > 0.01).all()  # hypotheses differ
        read = from_camera(read_poses3d(out / "a_poses.npz").joints, "y")
        np.testing.assert_allclose(read, z["joints3d"], atol=1e-6)
    for name in ("a_poses_motion.npz", "a_poses.bvh"):
        motion = read_motion(out / name)
        source = read_motion(amass)
        assert abs(motion.fps - 60) < 0.01
        np.testing.assert_allclose(rotation_matrices(motion.body_pose), rotation_matrices(samples[0]), atol=1e-3)
        np.testing.assert_allclose(
            rotation_matrices(motion.global_orient), rotation_matrices(source.global_orient), atol=1e-3
        )


@pytest.mark.slow
def test_nan_stands_for_a_missing_rotation(run_prior, turns, tmp_path):
    holed = turns.copy()
    holed[1, 4] = np.nan
    np.save(tmp_path / "p.npy", holed.reshape(3, 63))
    run_prior("complete", tmp_path / "p.npy", "--hypotheses", 2, "--method", "replace", "--out", tmp_path / "o")
    with np.load(tmp_path / "o" / "p.npz") as z:
        kept = np.isfinite(holed).all(-1)
        np.testing.assert_array_equal(z["samples"][:, kept], np.broadcast_to(turns, (2, 3, 21, 3))[:, kept])
        assert np.isfinite(z["samples"]).all()
        apart = rotation_matrices(z["samples"][0, 1, 4]).T @ rotation_matrices(z["samples"][1, 1, 4])
        half = np.degrees(np.arccos((np.trace(apart) - 1) / 2)) / 2  # of two rotations, the mean lies in the middle
        np.testing.assert_allclose(z["spread_deg"][1, 4], half, rtol=1e-3)
        assert (z["radius_90_deg"][kept] < 0.1).all()  # what was given has no spread
        assert z["radius_90_deg"][1, 4] > 0


def test_bad_input_is_refused(refused_prior, amass, turns, tmp_path):
    assert "no.npz: no such file" in refused_prior("complete", tmp_path / "no.npz", "--hide", "arms")
    np.save(tmp_path / "wide.npy", np.zeros((3, 64)))
    assert "(an array of float64 (3, 64); must be" in refused_prior("complete", tmp_path / "wide.npy")
    np.save(tmp_path / "deg.npy", np.degrees(turns).reshape(3, 63))
    assert "are these degrees?" in refused_prior("complete", tmp_path / "deg.npy", "--hide", "arms")
    assert "--hide: must be one of the parts left_leg" in refused_prior("complete", amass, "--hide", "tail")
    assert "nothing to complete" in refused_prior("complete", amass)
    assert "--noise: is for models of joint pos" in refused_prior("complete", amass, "--hide", "arms", "--noise", 0.1)
    assert "--method: must be one of dposer" in refused_prior("complete", amass, "--hide", "arms", "--method", "x")
    assert "--frame-a: got 3;" in refused_prior("interpolate", amass, amass, "--frame-a", 3)
    (tmp_path / "body.npz").write_bytes(b"PK broken")
    assert "body.npz" in refused_prior("complete", amass, "--hide", "arms", "--body", tmp_path / "body.npz")
    assert "--model (priors are for `jaxpose fit`) needs a model of joint positions" in refused_prior("lift", amass)


def test_a_prior_is_needed_where_rotations_are_asked_for(refused, amass, tmp_path):
    out = ("--out", tmp_path / "o")
    assert "--obj: there is a mesh of bodies only" in refused("generate", "--num", 2, "--obj", *out)
    assert "--method: is for a prior" in refused("complete", amass, "--method", "dps", *out)
    assert not (tmp_path / "o").exists()
