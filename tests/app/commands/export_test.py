"""`jaxpose export`: the file is the Python sampler, also where neither jaxpose nor flax can be imported."""

import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xla
from cyclopts import ValidationError
from shared import refuses
from small_models import write_motion_model

from jaxpose import model
from jaxpose.app import export
from jaxpose.app.commands.parser import make_parser
from jaxpose.app.commands.prepare import export as command
from jaxpose.base import Camera
from jaxpose.tasks.complete import complete
from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.generate import generate
from jaxpose.tasks.lift import lift
from jaxpose.tasks.rotations import generate_rotations
from jaxpose.tasks.samplers import stochastic

pytest.importorskip("flatbuffers", reason="jax.export writes and reads with the package flatbuffers")
SEED = 3
NEAR = {"rtol": 1e-5, "atol": 1e-5}  # metres, radians: float32 rounding in two compilations


def exported(out, model_file, *flags):
    given = map(str, ("export", "--model", model_file, "--hypotheses", 4, "--out", out, *flags))
    return list(command(make_parser()(list(given))[1]))


@pytest.fixture(scope="module")
def observed(poses):
    rng = np.random.default_rng(0)
    keypoints = (500 + 250 * poses[..., :2] + rng.normal(0, 3, (*poses.shape[:2], 2))).astype(np.float32)
    confidence = rng.uniform(0.2, 1, poses.shape[:2]).astype(np.float32)
    confidence[0, 4] = 0
    return keypoints, confidence, np.tile(np.array([1000, 1000, 500, 500], np.float32), (len(poses), 1))


@pytest.fixture(scope="module")
def lift_file(model_file, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "lift.jaxexport"
    said = exported(path, model_file, "--task", "lift", "--platforms", "cpu,cuda,tpu")
    assert "input: keypoints ['b', 17, 2], px" in said
    return path


def lifted(model_file, keypoints, confidence, intrinsics):
    args = jax.random.key(SEED), model.load(model_file), jnp.asarray(keypoints), jnp.asarray(confidence)
    return given(lift(*args, camera=Camera(jnp.asarray(intrinsics)), num_hypotheses=4))


def given(result):
    return {k: v for k, v in result._asdict().items() if v is not None}


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, **NEAR, err_msg=name)


@pytest.mark.slow
def test_the_documented_lines_run_it_without_this_library(lift_file, model_file, observed, tmp_path):
    """Word for word those of the module's docstring, in a process that cannot import jaxpose or flax."""
    indented = [line for line in export.__doc__.splitlines() if line.startswith("    ")]
    lines = textwrap.dedent("\n".join(indented[indented.index("    import jax.export") :]))
    assert "np.uint32(0)" in lines
    np.savez(tmp_path / "observed.npz", *observed)
    script = [
        "import sys, numpy as np",
        "sys.modules.update(jaxpose=None, flax=None)",
        "keypoints, confidence, intrinsics = np.load('observed.npz').values()",
        lines.replace("np.uint32(0)", f"np.uint32({SEED})"),
        "np.savez('found.npz', **lifted)",
        "assert not [m for m in sys.modules if m.startswith(('jaxpose.', 'flax.'))]",
    ]
    (tmp_path / "lift.jaxexport").symlink_to(lift_file)
    environment = os.environ | {"XLA_FLAGS": xla.FLAGS}
    subprocess.run([sys.executable, "-c", "\n".join(script)], cwd=tmp_path, env=environment, check=True)
    with np.load(tmp_path / "found.npz") as found:
        assert_same(dict(found), lifted(model_file, *observed))


def test_the_header_says_what_goes_in_and_comes_out(lift_file, model_file, observed):
    sampler = export.load(lift_file)
    assert [(i["name"], i["shape"], i["unit"]) for i in sampler.header["inputs"]] == [
        ("keypoints", ["b", 17, 2], "px"),
        ("confidence", ["b", 17], "1"),
        ("intrinsics", ["b", 4], "px"),
    ]
    outputs = {o["name"]: (o["shape"], o["unit"]) for o in sampler.header["outputs"]}
    assert outputs["samples"] == ([4, "b", 17, 3], "m")
    assert outputs["covariance"] == (["b", 17, 3, 3], "m^2")
    assert sampler.header["joints"] == list(model.load(model_file).skeleton.joints)
    assert (sampler.header["network_calls"], sampler.header["platforms"]) == (3, ["cpu", "cuda", "tpu"])
    refuses(r"inputs: needed .'keypoints', 'confidence', 'intrinsics'., got 2", sampler.call, SEED, *observed[:2])


def test_bad_flags_are_refused_and_nothing_is_written(model_file, prior_file, tmp_path):
    out = tmp_path / "a.jaxexport"
    for flags, said in (
        (("--task", "x"), "task: got 'x', must be one of"),
        (("--task", "lift", "--platforms", "cpu,x"), "platforms: got .'x'., must be one of"),
        (("--task", "denoise"), "batch: denoise by tiny needs a number"),
        (("--task", "generate_rotations"), "needs a prior over joint rotations"),
        (("--task", "generate", "--sampler", "x"), "sampler: got 'x'"),
    ):
        refuses(said, exported, out, model_file, *flags)
    refuses("lift needs a model of joint positions", exported, out, prior_file, "--task", "lift")
    with pytest.raises(ValidationError, match="needed a file in a folder that exists"):
        exported(tmp_path / "no" / "a", model_file, "--task", "lift")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"batch: lift by .* needs a number of observations"):
        exported(out, write_motion_model(tmp_path), "--task", "lift")  # its windows depend on the frames


@pytest.mark.slow
def test_every_task_is_the_python_function(lift_file, model_file, prior_file, poses, observed, tmp_path):
    key, tiny, path = jax.random.key(SEED), model.load(model_file), tmp_path / "a.jaxexport"
    one = [x[1:2] for x in observed]  # another number of observations, the same file
    assert_same(export.load(lift_file).call(SEED, *one), lifted(model_file, *one))

    joints, noise = poses.copy(), np.full(poses.shape[:2], 0.02, np.float32)
    joints[0, 3:5], noise[1] = np.nan, 0
    exported(path, model_file, "--task", "complete")
    completed = complete(key, tiny, jnp.asarray(joints), noise=jnp.asarray(noise), num_hypotheses=4)
    assert_same(export.load(path).call(SEED, joints, noise), given(completed))

    exported(path, model_file, "--task", "denoise", "--batch", len(poses))
    call = export.load(path).call
    for level in (0.05, None):
        told = np.full(len(poses), np.nan if level is None else level)
        expected = denoise(key, tiny, jnp.asarray(poses), noise=level, num_hypotheses=4)
        assert_same(call(SEED, poses, told), given(expected))

    exported(path, model_file, "--task", "generate", "--steps", 2)
    drawn = generate(key, tiny, 4, sampler=stochastic(2))
    assert_same(export.load(path).call(SEED), {"samples": drawn})

    exported(path, prior_file, "--task", "generate_rotations")
    sampler = export.load(path)
    assert_same(sampler.call(SEED), {"body_pose": generate_rotations(key, model.load(prior_file), 4)})
    assert len(sampler.header["joints"]) == 21
