"""`experiments.train` on DiffPose's stages: each ends in a model that the next reads, resumed or not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import xla

import jaxpose
from jaxpose.base import Camera
from jaxpose.datasets.h36m import Frames, write_frames

ROOT = Path(__file__).parents[3]
FRAME, VIDEO = (f"experiments/configs/diffpose17{name}.py" for name in ("", "_video"))
TINY = [
    f"--config.{k}"
    for k in (
        "network.frame.width=8",
        "network.frame.depth=1",
        "network.frame.num_heads=2",
        "data.kind=frames",
        "train.batch_size=8",
        "train.accumulate=2",
        "train.warmup_steps=1",
        "train.steps=4",
        "train.steps_per_dispatch=2",
        "train.log_every=2",
        "train.checkpoint_every=2",
    )
]
TINY_VIDEO = [f"--config.network.video.{k}" for k in ("num_frames=3", "width=8", "depth=1", "num_heads=2")]
TINY_DIFFUSION = [
    *(f"--config.network.denoiser.{k}" for k in ("width=8", "depth=1", "num_heads=2")),
    "--config.loss.start_poses=400",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A frames folder of 40 random poses in two videos, and beside data/ a benchmark of a few of them."""
    root = tmp_path_factory.mktemp("shared")
    camera = (np.random.default_rng(0).normal(0, 0.3, (40, 17, 3)) + np.array([0.0, 0, 4])).astype(np.float32)
    intrinsics = np.tile(np.float32([1000, 1000, 500, 500]), (40, 1))
    keypoints = (camera[..., :2] / camera[..., 2:] * 1000 + 500).astype(np.float32)
    none, depth = np.zeros(40, np.int32), camera[:, 0, 2]
    frames = Frames(
        image=camera,
        camera=camera,
        keypoints=keypoints,
        confidence=np.ones((40, 17), np.float32),
        ratio=depth,
        root_depth=depth,
        intrinsics=intrinsics,
        action=none + 2,
        subject=none + 1,
        video=np.repeat(np.int32([0, 1]), 20),
        frame=np.tile(np.arange(20, dtype=np.int32), 2),
        camera_id=none,
    )
    write_frames(root / "frames", [frames], 40, {})
    (root / "bench").mkdir()
    rest = {"keypoints": keypoints, "confidence": frames.confidence, "joints_cam": camera}
    names = {"name": np.full(8, "a"), "category": np.full(8, "walk")}
    first = {k: v[:8] for k, v in rest.items()}
    first["keypoints_true"] = first["keypoints"]
    np.savez(root / "bench" / "val_frames.npz", **first, **names, intrinsics=intrinsics[:8])
    clips = {k: v[:32].reshape(8, 4, *v.shape[1:]) for k, v in rest.items()}
    np.savez(root / "bench" / "val_video.npz", **clips, **names, intrinsics=intrinsics[:8], fps=30.0)
    return root


def train(data, workdir, config, *flags):
    command = [sys.executable, "-m", "experiments.train", f"--config={config}", f"--workdir={workdir}"]
    env = {**os.environ, "JAXPOSE_DATA": f"{data}/data", "XLA_FLAGS": xla.FLAGS}
    flags = [*TINY, f"--config.data.folder={data}/frames", f"--export={workdir}.safetensors", *flags]
    done = subprocess.run([*command, *flags], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def encoder(data, tmp_path_factory):
    """The export of the frame encoder's stage."""
    workdir = tmp_path_factory.mktemp("encoder") / "run"
    code, text = train(data, workdir, f"{FRAME}:encoder")
    assert code == 0, text
    return workdir


@pytest.mark.slow
def test_the_encoder_stage_learns_and_exports_no_denoiser(encoder):
    model = jaxpose.load(f"{encoder}.safetensors")
    assert model.spec.network.denoiser is None
    assert set(model.params["params"]) == {"frame"}
    rows = lines(encoder)
    assert rows[-1]["val/encoder_mm"] > 0
    assert rows[-1]["step"] == 4


def test_a_stage_without_what_it_stands_on_says_what_is_missing(data, encoder, tmp_path):
    code, text = train(data, tmp_path / "a", f"{FRAME}:diffusion", *TINY_DIFFUSION)
    assert code == 2
    assert "config.train.init: got none; needed the export of stage 'encoder'" in text


@pytest.mark.slow
def test_what_does_not_fit_is_named(data, encoder, tmp_path):
    init = f"--config.train.init={encoder}.safetensors"
    code, text = train(data, tmp_path / "a", f"{VIDEO}:diffusion", *TINY_VIDEO, *TINY_DIFFUSION, init)
    assert code == 2
    assert "has no video encoder; needed MixSTE" in text
    code, text = train(
        data, tmp_path / "a", f"{FRAME}:diffusion", *TINY_DIFFUSION, init, "--config.network.frame.depth=2"
    )
    assert code == 2
    assert "its frame is GraFormer" in text
    code, text = train(data, tmp_path / "a", f"{FRAME}:sampling")
    assert code == 2
    assert "got stage 'sampling'" in text
    code, text = train(data, tmp_path / "a", f"{FRAME}:encoder", "--config.data.kind=film")
    assert code == 2
    assert "legal are 'mocap' and 'frames'" in text


@pytest.mark.slow
def test_the_diffusion_keeps_its_encoder_and_resumes_to_the_same_weights(data, encoder, tmp_path):
    flags = [*TINY_DIFFUSION, f"--config.train.init={encoder}.safetensors"]
    code, text = train(data, tmp_path / "whole", f"{FRAME}:diffusion", *flags)
    assert code == 0, text
    # the same run stopped after 2 of its 4 steps: the newest checkpoint is taken away, as a kill would leave it
    whole = jaxpose.load(tmp_path / "whole.safetensors")
    (tmp_path / "whole" / "checkpoints" / "4").rename(tmp_path / "taken")
    code, text = train(data, tmp_path / "whole", f"{FRAME}:diffusion", *flags)
    assert code == 0, text
    again = jaxpose.load(tmp_path / "whole.safetensors")
    jax.tree.map(np.testing.assert_array_equal, whole.params, again.params)
    before = jaxpose.load(f"{encoder}.safetensors")
    jax.tree.map(np.testing.assert_array_equal, before.params["params"]["frame"], whole.params["params"]["frame"])
    jax.tree.map(np.testing.assert_array_equal, before.statistics, whole.statistics)
    assert {"val/encoder_mm", "val/mean_of_20_mm", "val/ratio"} <= set(lines(tmp_path / "whole")[-1])


@pytest.mark.slow
def test_video_stands_on_the_frame_encoder(data, encoder, tmp_path):
    """Its first stage moves the video part alone; the second one ends in a model that lifts a clip."""
    init = f"--config.train.init={encoder}.safetensors"
    code, text = train(data, tmp_path / "video1", f"{VIDEO}:encoder", *TINY_VIDEO, init)
    assert code == 0, text
    first, before = jaxpose.load(tmp_path / "video1.safetensors"), jaxpose.load(f"{encoder}.safetensors")
    jax.tree.map(np.testing.assert_array_equal, before.params["params"]["frame"], first.params["params"]["frame"])
    init = f"--config.train.init={tmp_path}/video1.safetensors"
    code, text = train(data, tmp_path / "video2", f"{VIDEO}:diffusion", *TINY_VIDEO, *TINY_DIFFUSION, init)
    assert code == 0, text
    model = jaxpose.load(tmp_path / "video2.safetensors")
    assert model.spec.eta == 0
    with np.load(data / "bench" / "val_frames.npz") as z:
        lifted = jaxpose.lift(
            jax.random.key(0), model, z["keypoints"][:4], camera=Camera(z["intrinsics"][0]), num_hypotheses=2
        )
    assert np.isfinite(lifted.samples).all()
    assert lines(tmp_path / "video2")[-1]["val/ratio"] > 0
