"""`experiments.train` on DiffPose's stages: each ends in a model that the next reads, resumed or not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import diffpose_models
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xla
from ml_collections import ConfigDict

import jaxpose
from experiments.models.diffpose17 import job
from jaxpose.base import Camera
from jaxpose.diffusion.mixture import Mixture
from jaxpose.originals.datasets.h36m import Frames, writing_frames
from jaxpose.tasks import diffpose

ROOT = Path(__file__).parents[3]
FRAME, VIDEO = (f"experiments/configs/diffpose17{name}.py" for name in ("", "_video"))
TINY = [
    f"--config.{k}"
    for k in (
        *("network.frame.width=8", "network.frame.depth=1", "network.frame.num_heads=2", "data.kind=frames"),
        *("train.batch_size=8", "train.accumulate=2", "train.warmup_steps=1", "train.steps=4"),
        *("train.steps_per_dispatch=2", "train.log_every=2", "train.checkpoint_every=2"),
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
    with writing_frames(root / "frames", {}) as append:
        append(frames)
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


def test_a_stage_without_what_it_stands_on_says_what_is_missing(data, tmp_path):
    code, text = train(data, tmp_path / "a", f"{FRAME}:diffusion", *TINY_DIFFUSION)
    assert code == 2
    assert "config.train.init: got none; needed the export of stage 'encoder'" in text


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
    kept = [f"--config.train.denoiser={tmp_path}/whole.safetensors", "--config.train.learning_rate=0.0"]
    code, text = train(data, tmp_path / "kept", f"{FRAME}:diffusion", *flags, *kept)
    assert code == 0, text
    parts = (m.params["params"]["denoiser"] for m in (whole, jaxpose.load(tmp_path / "kept.safetensors")))
    jax.tree.map(np.testing.assert_array_equal, *parts)


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


@pytest.fixture(scope="module")
def fixed():
    """A tiny model's encoder and start, what it says of 4 inputs, and two sharp peaks of weight 0.2 and 0.8."""
    model = diffpose_models.tiny()
    encoded = diffpose.encode(model.spec.network, model.params, diffpose_models.condition(4))
    mean = jnp.stack([encoded.keypoints[..., :2] - 2, encoded.keypoints[..., :2] + 2], -2)
    peaks = Mixture(jnp.broadcast_to(jnp.array([0.2, 0.8]), mean.shape[:-1]), mean, jnp.full_like(mean, 0.05))
    return model, encoded, peaks


def drawn(fixed, peaks, **start):
    """Components [400, 4, J, 5] that training draws."""
    model, encoded, _ = fixed
    start = ConfigDict({"components": 0, "depth": "encoder", "samples": 200, **start})
    one = job._components(model.spec.network, model, start)(jax.random.key(0), encoded, peaks)
    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), 400))


def test_one_gaussian_without_heatmaps_is_that_of_the_confidences(fixed):
    model, encoded, _ = fixed
    plain = diffpose.one_gaussian(encoded, model.params["start"]["residual"])
    found = drawn(fixed, None, components=1)
    np.testing.assert_allclose(found.mean, np.broadcast_to(plain.mean, found.mean.shape))
    np.testing.assert_allclose(found.std, np.broadcast_to(plain.std, found.std.shape))
    jittered = drawn(fixed, None)
    assert np.ptp(jittered.mean, axis=0).max() > 0.1
    assert (jittered.std.min(0) < 0.999 * plain.std).any()


def test_components_are_drawn_by_their_weights_from_the_heatmaps(fixed):
    """Each joint by itself: four of five draws are near the heavier peak, and the peak's width is theirs."""
    _, encoded, peaks = fixed
    found = drawn(fixed, peaks, components=2)
    away = found.mean[..., 0] - encoded.keypoints[..., 0]
    np.testing.assert_allclose(np.abs(away), 2, atol=0.1)
    share = (np.asarray(away) > 0).mean(0)
    np.testing.assert_allclose(share, 0.8, atol=5 * 0.4 / 200**0.5)  # both the fit and the draws are of few
    np.testing.assert_allclose(found.std[..., 0], 0.05, rtol=0.5)
    assert np.abs(np.corrcoef((np.asarray(away)[:, 0] > 0).T)[0, 1:]).max() < 5 / 400**0.5


@pytest.mark.slow
def test_the_diffusion_is_trained_on_the_mixtures_of_its_folder(data, encoder, tmp_path):
    folder = tmp_path / "shared" / "frames"
    shutil.copytree(data / "frames", folder)
    uv = np.load(folder / "keypoints.npy")
    mixture = np.concatenate([np.ones((*uv.shape[:-1], 1)), uv, np.full(uv.shape, 4.0)], -1)[:, :, None]
    np.save(folder / "mixture.npy", mixture.astype(np.float32))
    flags = [*TINY_DIFFUSION, f"--config.train.init={encoder}.safetensors", f"--config.data.folder={folder}"]
    flags += ["--config.loss.start.components=2", "--config.loss.start.samples=20", "--config.loss.next_of=5"]
    code, text = train(data, tmp_path / "run", f"{FRAME}:diffusion", *flags)
    assert code == 0, text
    assert jaxpose.load(f"{tmp_path}/run.safetensors").spec.network.denoiser is not None
    code, text = train(data, tmp_path / "no", f"{FRAME}:diffusion", *flags, "--config.loss.times=first")
    assert code == 2
    assert "config.loss.times: got 'first', must be one of 'all', 'end'" in text
