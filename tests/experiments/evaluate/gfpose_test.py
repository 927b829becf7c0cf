"""`experiments.evaluate gfpose` as a user runs it, on six made-up frames and a network that says 0."""

import json
from functools import partial

import jax
import numpy as np
import pytest
from command_line import called

from experiments.evaluate.__main__ import main
from jaxpose import model as released
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.originals.datasets.h36m import Frames, writing_frames
from jaxpose.spaces import image_depth

NUM = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """frames/ and model.safetensors."""
    folder = tmp_path_factory.mktemp("gfpose")
    rng = np.random.default_rng(0)
    camera = (rng.normal(0, 0.3, (NUM, 17, 3)) + np.array([0, 0, 5])).astype(np.float32)
    intrinsics = np.tile(np.float32([1145, 1143.8, 512.5, 515.4]), (NUM, 1))
    image = np.asarray(image_depth.to_image_depth(intrinsics, camera))
    depth, ids = camera[:, 0, 2], np.arange(NUM, dtype=np.int32)
    frames = Frames(
        image=image,
        camera=camera,
        keypoints=image[..., :2],
        confidence=np.ones((NUM, 17), np.float32),
        ratio=np.asarray(image_depth.ratio_of(intrinsics, depth)),
        root_depth=depth,
        intrinsics=intrinsics,
        action=np.int32([2, 2, 3, 3, 3, 16]),
        subject=0 * ids + 9,
        video=0 * ids,
        frame=ids,
        camera_id=0 * ids,
    )
    with writing_frames(folder / "frames", {}) as append:
        append(frames)
    network = ScoreMLP(hidden=32, time_width=8, num_groups=4, difference=True, explicit=False, time_units=999.0)
    spec = released.Spec("zero", network, context=0, codec="image_depth", process="sub_vp", target="eps", num_steps=3)
    shapes = jax.eval_shape(lambda: released.init_params(jax.random.key(0), spec))
    params = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), shapes)
    released.save(folder / "model.safetensors", released.Model(params, image_depth.STATISTICS, spec))
    return folder


@pytest.fixture
def evaluate(folder, capsys):
    return partial(called, capsys, main, "gfpose", f"--data={folder}/frames", "--stride=1")


@pytest.mark.slow
def test_completion_keeps_what_it_was_shown(evaluate, folder):
    """Four frames at a time, so the last batch is a part. All but the right leg: imputed, so alpha(1e-3) times it."""
    code, text = evaluate(
        f"--model={folder}/model.safetensors",
        "--task=comp3d",
        "--jlist=1,2,3",
        "--steps=4",
        "--rows=8",
        "--hypotheses=2",
        f"--out={folder}",
        f"--save={folder}/poses.npz",
    )
    assert code == 0, text
    assert "6/6 frames" in text
    with np.load(folder / "poses.npz") as z:
        samples, truth = z["samples"], z["truth"]
    shown = np.delete(np.arange(17), [1, 2, 3])
    # alpha is 1 - 6e-5: less than 1 mm at 30 units of 17 px, 5 m away
    np.testing.assert_allclose(samples[:, :, shown], np.tile(truth[:, shown], (2, 1, 1, 1)), atol=2e-3)
    error = np.linalg.norm(samples - truth, axis=-1)
    assert error[:, :, 1:4].min() > 0.005
    result = json.loads((folder / "gfpose_comp3d_zero.json").read_text())
    row = result["rows"][0]
    assert "true root depth" in row["privileges"]
    per_pose = 1000 * error.mean(-1).min(0)
    by_action = np.mean([per_pose[:2].mean(), per_pose[2:5].mean(), per_pose[5]])
    assert row["mpjpe_gfpose_mm"] == pytest.approx(by_action, rel=1e-3)
    assert result["settings"]["mean_flow"] is True
    assert len(row["empty_actions"]) == 12


def test_another_codec_is_refused(evaluate):
    code, text = evaluate("--model=pose17")
    assert code == 2
    assert "evaluate gfpose needs a model of GFPose's own checkpoints" in text
