"""What `jaxpose lift` adds to the Python function (its files and errors are in cli_test): samplers, and blocks."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Camera
from jaxpose.model import ASSETS, load
from jaxpose.tasks.lift import lift
from jaxpose.tasks.samplers import mean_flow

CLIP = ASSETS / "demo_clip.npz"


def test_blocks_and_samplers_are_those_of_the_python_function(run, model_file, tmp_path):
    """90 detections: a block of 64, and one of 26 that is filled with its last row."""
    run("lift", CLIP, "--out", tmp_path, "--sampler", "mean_flow", "--seed", 5)
    with np.load(tmp_path / "demo_clip.npz") as z:
        found = {name: z[name] for name in z.files}
    assert json.loads((tmp_path / "demo_clip.json").read_text())["sampler"] == "mean_flow"
    assert "path" not in found
    for index, (first, last) in enumerate([(0, 64), (64, 90)]):
        rows = np.minimum(np.arange(first, first + 64), 89)
        inputs = (jnp.asarray(found[name][rows]) for name in ("keypoints", "confidence", "intrinsics"))
        xy, confidence, intrinsics = inputs
        key = jax.random.fold_in(jax.random.key(5), index)
        camera = Camera(intrinsics)
        expected = lift(key, load(model_file), xy, confidence, camera=camera, num_hypotheses=4, sampler=mean_flow())
        kept = slice(0, last - first)
        np.testing.assert_array_equal(found["samples"][:, first:last], expected.samples[:, kept])
        np.testing.assert_array_equal(found["root"][:, first:last], expected.root[:, kept])
        np.testing.assert_array_equal(found["mean"][first:last], expected.mean[kept])


def test_an_unknown_sampler_is_refused(refused, tmp_path):
    message = refused("lift", CLIP, "--out", tmp_path / "o", "--sampler", "best")
    assert "sampler: got 'best', legal are" in message
    assert not (tmp_path / "o").exists()
