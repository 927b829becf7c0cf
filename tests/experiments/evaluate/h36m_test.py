"""`experiments.evaluate h36m` as a user runs it, on three frames of each action as the published files hold them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shared
from command_line import called

from experiments.evaluate.__main__ import main
from jaxpose import model as released
from jaxpose.base import Camera
from jaxpose.originals.datasets.h36m import load_frames
from jaxpose.originals.datasets.videopose3d import prepare_videopose3d
from jaxpose.spaces.person import Statistics
from jaxpose.tasks.lift import lift
from tests.diffpose_models import tiny

FIXTURE = shared.GOLDEN / "diffpose/fixture"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """frames/ of S9: 15 actions, 4 cameras, 3 frames each; zero.safetensors of windows of 2 frames."""
    folder = tmp_path_factory.mktemp("h36m")
    files = (FIXTURE / f"data_{name}.npz" for name in ("3d_h36m", "2d_h36m_cpn_ft_h36m_dbb"))
    list(prepare_videopose3d(*files, ["S9"], folder / "frames"))
    model = jax.eval_shape(lambda: tiny(2))  # shapes alone: nothing is compiled
    params = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), model.params)
    statistics = Statistics(np.zeros((17, 3)), np.full((17, 3), 0.25), np.ones((17, 3)))
    zero = released.Model(params, statistics, model.spec)
    released.save(folder / "zero.safetensors", zero, dtype=jnp.float32)
    return folder


@pytest.fixture
def evaluate(folder, capsys):
    def run(model, *flags):
        """Exit code, what was printed, and the result."""
        given = [f"--model={folder}/{model}.safetensors", f"--data={folder}/frames", f"--out={folder}/out"]
        code, text = called(capsys, main, "h36m", *given, *flags)
        return code, text, {} if code else json.loads((folder / "out" / "h36m_tiny.json").read_text())

    return run


def distances_mm(x):
    """Mean distance of joints [N, 17, 3] from their root: the error of a pose whose joints are all at the root."""
    return 1000 * np.linalg.norm(x - x[:, :1], axis=-1).mean(1)


def macro(values, action):
    return np.mean([values[action == a].mean() for a in np.unique(action)])


def test_windows_count_each_frame_once(evaluate, folder):
    """Windows of 2 on films of 3 frames, by an encoder that says 0: protocol #1 is the mean extent of the bodies."""
    code, text, result = evaluate("zero", "--encoder_only", "--flip")
    assert code == 0, text
    frames = load_frames(folder / "frames")
    expected = macro(distances_mm(np.asarray(frames.camera, np.float64)), frames.action)
    row = result["rows"][0]
    np.testing.assert_allclose(row["mpjpe_mm"]["average"], expected, rtol=1e-5)
    # a scale cannot help a pose of no extent, and its motion is the truth's
    np.testing.assert_allclose(row["n_mpjpe_mm"]["average"], expected, rtol=1e-5)
    speed = frames.camera - frames.camera[:, :1]
    inside = np.diff(frames.video) == 0
    change = 1000 * np.linalg.norm(np.diff(speed, axis=0), axis=-1).mean(1)[inside]
    moved = macro(change, frames.action[1:][inside])
    np.testing.assert_allclose(row["mpjve_mm_per_frame"]["average"], moved, rtol=1e-4)
    assert result["data"]["frames"] == 180
    assert "intrinsics" in row["privileges"]
    assert f"{expected:.1f}" in text, "the table shows it"


@pytest.mark.slow
def test_hypotheses_are_those_of_lift(evaluate, folder):
    """The median of 3, against `lift` called by hand with pixels and the camera's own intrinsics."""
    released.save(folder / "tiny.safetensors", tiny(), dtype=jnp.float32)
    code, text, result = evaluate("tiny", "--hypotheses=3", "--aggregate=median", "--stride=4")
    assert code == 0, text
    frames = load_frames(folder / "frames")
    keypoints, confidence, intrinsics, camera, action = (
        np.asarray(x[::4])
        for x in (frames.keypoints, frames.confidence, frames.intrinsics, frames.camera, frames.action)
    )
    lifted = lift(
        jax.random.fold_in(jax.random.key(0), 0),
        tiny(),
        jnp.asarray(keypoints),
        jnp.asarray(confidence),
        camera=Camera(jnp.asarray(intrinsics)),
        num_hypotheses=3,
    )
    error = np.median(np.asarray(lifted.samples), 0) - (camera - camera[:, :1])
    values = 1000 * np.linalg.norm(error, axis=-1).mean(1)
    np.testing.assert_allclose(result["rows"][0]["mpjpe_mm"]["average"], macro(values, action), rtol=1e-4)


def test_bad_input_leaves_with_code_2(evaluate):
    code, text, _ = evaluate("zero", "--batch_size=8")
    assert code == 2
    assert "evaluate h36m: --batch_size: needs --strict" in text
