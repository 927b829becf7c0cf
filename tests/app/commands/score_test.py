"""`jaxpose score` as a user calls it, against the Python functions."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from command_line import refusal
from drawn import Read

from jaxpose.app import cli
from jaxpose.io.keypoints import rescaled
from jaxpose.model import ASSETS, load, save
from jaxpose.spaces.person import encode_keypoints
from jaxpose.tasks import score
from jaxpose.tasks.typicality import denoising_error


@pytest.fixture
def call(model_file):
    def run(*arguments):
        own = () if "--model" in arguments else ("--model", str(model_file))
        cli.main(["score", "--steps", "2", *own, *map(str, arguments)])

    return run


@pytest.fixture
def refused(model_file, capsys):
    def run(*arguments):
        own = () if "--model" in arguments else ("--model", model_file)
        return refusal(capsys, cli.main, "score", "--steps", 2, *own, *arguments)

    return run


@pytest.fixture
def file(tmp_path, poses):
    np.savez(tmp_path / "walk.npz", joints3d=poses, frame=[0, 30, 60], person=[0, 0, 0])
    return tmp_path / "walk.npz"


@pytest.mark.slow
def test_the_result_is_the_python_functions_with_and_without_keypoints(call, file, poses, model_file, tmp_path, capsys):
    """Typicality by quantiles between which the poses lie; the detections of the bundled clip are in other rows."""
    model = load(model_file)
    expected = np.asarray(score.log_density(model, jnp.asarray(poses), num_steps=2))
    error = np.asarray(denoising_error(model, jnp.asarray(poses)))
    quantiles = jnp.asarray([error.min() - 1, np.median(error), error.max()])
    typical = 100 - np.interp(error, quantiles, [0, 50, 100])
    save(tmp_path / "typical.safetensors", model.replace(typicality=quantiles), dtype=jnp.float32)
    out = tmp_path / "o"
    given = ("--keypoints", ASSETS / "demo_clip.npz", "--least", 20, "--model", tmp_path / "typical.safetensors")
    call(file, "--out", out, *given)
    said = capsys.readouterr().out
    with np.load(out / "walk.npz") as z:
        np.testing.assert_allclose(z["log_density"], expected, rtol=1e-4)
        np.testing.assert_allclose(z["typicality"], typical, atol=0.1)
        np.testing.assert_array_equal(z["out_of_distribution"], error == error.max())
        np.testing.assert_array_equal(z["frame"], [0, 30, 60])
        given = z["log_density_given_keypoints"]
    with np.load(ASSETS / "demo_clip.npz") as clip:
        sure = rescaled(np.where(clip["confidence"] < 0.1, 0, clip["confidence"]))  # as the command does
        given_2d = (clip["intrinsics"], clip["keypoints"][::30], sure[::30])
        cond, view = encode_keypoints(*(jnp.asarray(x, jnp.float32) for x in given_2d))
    given_here = score.log_density(model, jnp.asarray(poses), cond, view, num_steps=2)
    np.testing.assert_allclose(given, given_here, rtol=0.02)
    summary = json.loads((out / "walk.json").read_text())
    assert [row["out_of_distribution"] for row in summary["poses"]] == (error == error.max()).tolist()
    assert summary["density_of"] == "nats of metres"
    page = Read((out / "walk.html").read_text())
    np.testing.assert_array_equal(page.whole(page.content["marks"]["unusual"]), [error == error.max()])
    np.testing.assert_allclose(page.poses("pose")[0], poses, atol=3e-4)
    assert page.content["steps"]["labels"][1].startswith("frame 30 · ")
    assert float(page.content["steps"]["labels"][1].rpartition("typicality ")[2]) == pytest.approx(typical[1], abs=0.2)
    assert f"least likely: frame {30 * int(np.argmin(expected))}, person 0" in said
    first = f"first at frame {30 * int(np.argmax(error))}, person 0"
    assert f"typicality: 1 of 3 poses are unlike training poses (below percentile 20): {first}" in said


@pytest.mark.slow
def test_poses_of_a_world_are_seen_from_several_sides_and_rotations_go_to_a_prior(
    call, poses, model_file, prior_file, tmp_path, capsys
):
    world = poses * [1, -1, -1]
    np.savez(tmp_path / "world.npz", joints3d=world, up="y")
    call(tmp_path / "world.npz", "--out", tmp_path / "o", "--views", 2)
    with np.load(tmp_path / "o" / "world.npz") as z:
        expected = score.log_density_all_round(load(model_file), jnp.asarray(poses), num_views=2, num_steps=2)
        np.testing.assert_allclose(z["log_density"], expected, rtol=1e-4)
        assert "typicality" not in z  # this model has no quantiles
    assert "the mean density over 2 sides" in capsys.readouterr().out
    turns = np.random.default_rng(1).normal(0, 0.3, (2, 63)).astype(np.float32)
    np.save(tmp_path / "turns.npy", turns)
    call(tmp_path / "turns.npy", "--out", tmp_path / "o", "--model", prior_file)
    with np.load(tmp_path / "o" / "turns.npz") as z:
        expected = score.log_density(load(prior_file), jnp.asarray(turns), num_steps=2)
        np.testing.assert_allclose(z["log_density"], expected, rtol=1e-4)


def test_what_cannot_be_scored_is_refused(refused, file, poses, prior_file, tmp_path):
    out = ("--out", tmp_path / "o")
    assert f"{tmp_path / 'none.npz'}: no such file" in refused(tmp_path / "none.npz", *out)
    holed = poses.copy()
    holed[1, 10, 2] = np.nan
    np.savez(tmp_path / "gap.npz", joints3d=holed, frame=[7, 8, 9], person=[1, 1, 2])
    assert "frame 8, person 1 lacks head; score needs all joints" in refused(tmp_path / "gap.npz", *out)
    np.savez(tmp_path / "late.npz", joints3d=poses, frame=[0, 30, 5000])
    clip = ASSETS / "demo_clip.npz"
    assert "has no detection of frame 5000, person 0" in refused(tmp_path / "late.npz", *out, "--keypoints", clip)
    assert "--up=-y" in refused(file, *out, "--up", "y", "--keypoints", clip)
    assert "none2.json: no such file" in refused(file, *out, "--keypoints", tmp_path / "none2.json")
    assert "--fov: is for --keypoints" in refused(file, *out, "--fov", 50)
    assert "--least: needed a percentile from 0 to 100, got 101" in refused(file, *out, "--least", 101)
    assert "--views: is for models of joint positions" in refused(file, *out, "--views", 2, "--model", prior_file)
    assert "--fps: is for a prior over joint rotations" in refused(file, *out, "--fps", 30)
    degrees = np.full((2, 63), 40.0)
    np.save(tmp_path / "degrees.npy", degrees)
    assert "must be at most 6.283: are these degrees?" in refused(tmp_path / "degrees.npy", *out, "--model", prior_file)
    assert not (tmp_path / "o").exists()
