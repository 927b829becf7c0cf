"""What `jaxpose lift` adds to the Python function (its files and errors are in cli_test): samplers, and blocks."""

import json
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose.base import Camera
from jaxpose.model import ASSETS, load
from jaxpose.tasks.lift import lift
from jaxpose.tasks.samplers import mean_flow

CLIP = ASSETS / "demo_clip.npz"


def test_blocks_and_samplers_are_those_of_the_python_function(run, model_file, tmp_path, capsys):
    """90 detections: a block of 64, and one of 26 that is filled with its last row."""
    run("lift", CLIP, "--out", tmp_path, "--sampler", "mean_flow", "--seed", 5, "--cutoff", 0)
    with np.load(tmp_path / "demo_clip.npz") as z:
        found = {name: z[name] for name in z.files}
    assert json.loads((tmp_path / "demo_clip.json").read_text())["sampler"] == "mean_flow"
    assert "path" not in found
    lines = [line.split(",")[0] for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if line.startswith("drew ")] == ["drew 64/90", "drew 90/90"]
    for first, last in ((0, 64), (64, 90)):
        rows = np.minimum(np.arange(first, first + 64), 89)
        inputs = (jnp.asarray(found[name][rows]) for name in ("keypoints", "confidence", "intrinsics"))
        xy, confidence, intrinsics = inputs
        how = {"camera": Camera(intrinsics), "num_hypotheses": 4, "sampler": mean_flow(), "numbers": np.zeros(64, int)}
        expected = lift(jax.random.key(5), load(model_file), xy, confidence, **how)
        kept = slice(0, last - first)
        np.testing.assert_array_equal(found["samples"][:, first:last], expected.samples[:, kept])
        np.testing.assert_array_equal(found["root"][:, first:last], expected.root[:, kept])
        np.testing.assert_array_equal(found["mean"][first:last], expected.mean[kept])


@pytest.mark.slow
def test_a_result_is_not_overwritten_by_that_of_another_input_or_command(run, refused, poses, tmp_path, capsys):
    """The same command on the same file again is legal; what the file does not say of its rate is told."""
    keypoints = {"keypoints": 300 * poses[..., :2] + 500, "confidence": np.ones(poses.shape[:2]), "skeleton": "h36m17"}
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "k.npz", **keypoints, image_size=[1000, 1000], intrinsics=[900, 900, 500, 500])
    first, out = tmp_path / "a" / "k.npz", tmp_path / "o"
    run("lift", first, "--out", out)
    run("lift", first, "--out", out, "--fps", 60)
    with np.load(out / "k.npz") as z:
        assert (z["fps"].item(), z["up"].item(), z["image_size"].tolist()) == (60, "-y", [1000, 1000])
        before = z["samples"]
    for other in (("lift", tmp_path / "b" / "k.npz"), ("complete", first)):
        message = f"k.json is the result of `lift {first}`; needed another --out or --name"
        with pytest.raises(SystemExit):
            run(*other, "--out", out)
        assert message in capsys.readouterr().err
    np.testing.assert_array_equal(np.load(out / "k.npz")["samples"], before)
    run("lift", tmp_path / "b" / "k.npz", "--out", out, "--name", "other")
    assert (out / "other.npz").exists()
    for name in ("a/b", ".."):
        assert "--name: got" in refused("lift", first, "--out", tmp_path / "p", "--name", name)


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are UTF-8 elsewhere")
def test_an_input_whose_name_is_no_text_needs_another_name(run, refused, tmp_path):
    latin = tmp_path / os.fsdecode(b"caf\xe9.npz")
    np.savez(latin, keypoints=np.full((1, 17, 2), 500.0) + 100 * np.arange(17)[:, None], skeleton="h36m17")
    assert "--name: needed here, since the input's name" in refused("lift", latin, "--out", tmp_path / "o")
    run("lift", latin, "--name", "cafe", "--out", tmp_path / "o")
    assert (tmp_path / "o" / "cafe.npz").exists()
