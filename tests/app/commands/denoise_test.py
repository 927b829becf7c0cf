"""`jaxpose denoise` as a user calls it, against the Python function."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose.model import load
from jaxpose.tasks.denoise import denoise


@pytest.fixture
def file(tmp_path, poses):
    noisy = poses + np.random.default_rng(0).normal(0, 0.03, poses.shape).astype(np.float32)
    np.save(tmp_path / "noisy.npy", noisy)
    return tmp_path / "noisy.npy"


@pytest.mark.parametrize("noise", [pytest.param(None, marks=pytest.mark.slow), 0.03])
def test_the_result_is_the_python_functions(noise, run, file, model_file, tmp_path, capsys):
    run("denoise", file, "--out", tmp_path / "o", *(() if noise is None else ("--noise", noise)))
    key = jax.random.fold_in(jax.random.key(0), 0)
    block = jnp.asarray(np.load(file)[[0, 1, 2, 2]])
    expected = denoise(key, load(model_file), block, noise=noise, num_hypotheses=4)
    with np.load(tmp_path / "o" / "noisy.npz") as z:
        np.testing.assert_array_equal(z["samples"], expected.samples[:, :3])
        np.testing.assert_array_equal(z["noise"], expected.noise[:3])
        np.testing.assert_array_equal(z["observed"], np.load(file))
    summary = json.loads((tmp_path / "o" / "noisy.json").read_text())
    found_mm = 1000 * np.asarray(expected.noise[:3, 0])
    np.testing.assert_allclose(summary["noise_mm"], found_mm, atol=0.06)
    said = f"noise {'estimated' if noise is None else 'given'}: {np.median(found_mm):.0f} mm per coordinate"
    assert summary["noise_source"].startswith(said)
    assert said in capsys.readouterr().out


def test_missing_joints_are_refused_by_the_first_pose_that_lacks_one(refused, file, poses, tmp_path):
    poses = poses.copy()
    poses[1, 10, 2] = np.nan
    np.savez(tmp_path / "gap.npz", joints3d=poses, frame=[7, 8, 9], person=[1, 1, 2])
    error = refused("denoise", tmp_path / "gap.npz", "--out", tmp_path / "o")
    assert "gap.npz: frame 8, person 1 lacks head; denoise needs all joints" in error
    assert "`jaxpose complete --noise METRES`" in error
