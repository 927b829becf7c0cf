"""What every command adds about typicality, against the Python function; small models of any quality are the judges."""

import csv
import json

import jax.numpy as jnp
import numpy as np
import pytest
from drawn import Read

from jaxpose.app.commands import models
from jaxpose.model import ASSETS, load
from jaxpose.tasks.typicality import denoising_error, typicality

CLIP = ASSETS / "demo_clip.npz"


@pytest.fixture
def judges(model_file, prior_file, poses, monkeypatch):
    """Of joints and of rotations, with quantiles about the errors of some poses."""
    turns = np.random.default_rng(2).normal(0, 0.3, (3, 21, 3)).astype(np.float32)
    found = {}
    for name, path, given in (("pose17", model_file, poses), ("prior21", prior_file, turns)):
        model = load(path)
        error = np.asarray(denoising_error(model, jnp.asarray(given)))
        quantiles = jnp.linspace(0.5 * error.min(), 0.9 * error.max(), 101)  # a verdict tells what a tenth has
        found[name] = model.replace(typicality=quantiles)
    monkeypatch.setattr(models, "bundled", found.__getitem__)
    return found


def read(path):
    with np.load(path) as z:
        return {name: z[name] for name in z.files}


def check(judge, pose, found):
    """Percentiles are those of the poses [N, ...], and flags are those below 1."""
    expected = np.asarray(typicality(judge, jnp.asarray(pose, jnp.float32)))
    np.testing.assert_allclose(found["typicality"], expected, atol=0.05)
    np.testing.assert_array_equal(found["out_of_distribution"], found["typicality"] < 1)


@pytest.mark.slow
def test_a_lifted_clip_is_judged_by_its_aggregate_in_all_files(run, judges, tmp_path, capsys):
    """90 rows, in blocks of 64 of which the last is not full; the flagged frames are marked on the page."""
    run("lift", CLIP, "--out", tmp_path, "--aggregate", "median")
    error = np.asarray(denoising_error(judges["pose17"], jnp.asarray(read(tmp_path / "demo_clip.npz")["pose"])))
    quantiles = jnp.linspace(0.5 * error.min(), np.quantile(error, 0.8), 101)
    judges["pose17"] = judges["pose17"].replace(typicality=quantiles)
    run("lift", CLIP, "--out", tmp_path, "--aggregate", "median", "--csv", "--takes", 1, pictures=True)
    found, summary = read(tmp_path / "demo_clip.npz"), json.loads((tmp_path / "demo_clip.json").read_text())
    check(judges["pose17"], found["pose"], found)
    outside = np.flatnonzero(found["out_of_distribution"])
    assert 0 < len(outside) < 90, "the quantiles must lie among the poses"
    assert f"unlike training poses ({len(outside)} of 90 poses)" in summary["verdict"]["verdict"]
    assert f"verdict: {summary['verdict']['verdict']}\n" in capsys.readouterr().out
    assert summary["typicality"] == {
        **{"judged_by": "tiny", "least_percentile": 1.0, "out_of_distribution": len(outside)},
        "median": pytest.approx(np.median(found["typicality"]), abs=0.06),
    }
    with open(tmp_path / "demo_clip.csv", encoding="utf-8", newline="") as file:
        rows = {(r["frame"], r["take"]): r["typicality"] for r in csv.DictReader(file)}
    for frame, value in zip(found["frame"], found["typicality"], strict=True):
        assert float(rows[str(frame), "best"]) == pytest.approx(value, abs=0.006)
        assert rows[str(frame), "take_0"] == ""
    page = Read((tmp_path / "demo_clip.html").read_text())
    np.testing.assert_array_equal(page.whole(page.content["marks"]["unusual"]), [found["doubtful"]])
    assert found["doubtful"][found["out_of_distribution"]].all()


@pytest.mark.slow
def test_poses_of_a_world_are_seen_by_a_level_camera(run, judges, poses, tmp_path):
    """y up: a camera that looks along -z."""
    np.savez(tmp_path / "world.npz", joints3d=poses * [1, -1, -1], up="y")
    run("denoise", tmp_path / "world.npz", "--noise", 0.02, "--out", tmp_path / "o")
    found = read(tmp_path / "o" / "world.npz")
    check(judges["pose17"], found["mean"] * [1, -1, -1], found)


@pytest.mark.slow
def test_bodies_are_judged_by_the_prior_and_poses_from_nothing_too(run, run_prior, judges, tmp_path):
    run_prior("generate", "--num", 3, "--out", tmp_path, "--name", "bodies")
    found = read(tmp_path / "bodies.npz")
    check(judges["prior21"], found["body_pose"], found)
    run("generate", "--num", 2, "--out", tmp_path, "--name", "poses")
    found = read(tmp_path / "poses.npz")
    check(judges["pose17"], found["samples"], found)


def test_nothing_is_said_where_the_judge_cannot_tell(judges, poses):
    """Of another joint set, and without quantiles; what has no number is out of distribution."""
    judge = judges["pose17"]
    arrays = {"joints": judge.skeleton.joints, "frame": np.array([4, 5, 6])}
    assert models.judged(judge, poses, arrays | {"joints": ("hip",) * 17}) == ({}, {}, "")
    holed = poses.copy()
    holed[1, 3] = np.nan
    found, _, _ = models.judged(judge, holed, arrays)
    assert np.isnan(found["typicality"]).tolist() == [False, True, False]
    assert found["out_of_distribution"][1]
    for name, pose in (("pose17", poses), ("prior21", np.zeros((3, 21, 3)))):
        assert models.judged(judges[name].replace(typicality=jnp.zeros(0)), pose, arrays)[0] == {}
