"""The released DiffPose's training: its losses written out, what is drawn, and both stages on the fixture's files."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shared
import xla

import jaxpose
from experiments.models.diffpose_h36m import job
from jaxpose.diffusion.mixture import Mixture
from jaxpose.originals.datasets.videopose3d import prepare_videopose3d

ROOT = Path(__file__).parents[3]
FIXTURE = shared.GOLDEN / "diffpose/fixture"
CONFIG = "experiments/models/diffpose_h36m/config.py"


class Stub:
    """A network whose output is known."""

    def __init__(self, output):
        self.output = output

    def apply(self, params, *args, **_):
        return self.output(*args)


@pytest.fixture(scope="module")
def videos():
    """Two videos of 6 and 4 frames; two components a joint, the second of weight 0.25, 2 to the right and wider."""
    rng = np.random.default_rng(0)
    uv = rng.uniform(-1, 1, (10, 17, 1, 2)) + np.array([[0.0, 0], [2, 0]])
    std = np.broadcast_to(np.array([[0.1, 0.1], [0.3, 0.3]]), uv.shape)
    weight = np.broadcast_to([0.75, 0.25], uv.shape[:-1])
    seen = Mixture(*(jnp.asarray(x, jnp.float32) for x in (weight, uv, std)))
    xyz = jnp.asarray(rng.normal(size=(10, 17, 3)), jnp.float32)
    first, last = np.repeat([0, 6], [6, 4]), np.repeat([5, 9], [6, 4])
    return job.Videos(seen, xyz, jnp.asarray(first), jnp.asarray(last))


def test_the_loss_of_the_encoder_written_out():
    rng = np.random.default_rng(0)
    pose, truth = rng.normal(size=(2, 5, 17, 3))
    w = np.array([1, 1, 2.5, 2.5, 1, 2.5, 2.5, 1, 1, 1, 1.5, 1.5, 4, 4, 1.5, 4, 4])
    apart = np.sqrt(((pose - truth) ** 2).sum(-1))
    speed, other = pose[1:] - pose[:-1], truth[1:] - truth[:-1]
    rough = np.mean([[w[j] * (speed[t, j] ** 2) for j in range(17)] for t in range(4)])
    expected = (w * apart).mean() + 0.5 * rough + 2 * np.sqrt(((speed - other) ** 2).sum(-1)).mean()
    found, _ = job.encoder_loss(Stub(lambda uv: (jnp.asarray(pose), None)), {}, jax.random.key(0), (None, truth))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    gradient = jax.grad(lambda p: job.encoder_loss(Stub(lambda uv: (p, None)), {}, None, (None, p * 0))[0])
    assert np.isfinite(gradient(jnp.zeros((5, 17, 3)))).all(), "frames that are repeated at the end of a video stand"


def test_the_denoiser_is_to_find_the_scaled_noise():
    """Of a network that says 0 the loss is that of the noise: the sum of s^2; at index 0 x is h but for a hundredth.

    The indices of a pair of frames add up to 50 (spec/diffpose.md, 3.1).
    """
    scale = jnp.concatenate([jnp.full((2, 17, 2), 0.2), jnp.ones((2, 17, 3))], -1)
    seen = []
    stub = Stub(lambda x, t: seen.append((x, t)) or jnp.zeros_like(x))
    h = jnp.full((2, 17, 5), 3.0)
    loss = jax.vmap(lambda k: job.denoiser_loss(stub, {}, k, (h, scale))[0])
    found = np.asarray(loss(jax.random.split(jax.random.key(0), 4000)))
    expected = float(jnp.square(scale[0]).sum())
    np.testing.assert_allclose(found.mean(), expected, atol=5 * found.std() / 4000**0.5)

    def at(key):
        found = []
        stub = Stub(lambda x, t: found.append((x, t)) or jnp.zeros_like(x))
        job.denoiser_loss(stub, {}, key, (h, scale))
        return [jnp.stack(x) for x in zip(*found, strict=True)]

    x, t = jax.vmap(at)(jax.random.split(jax.random.key(1), 2000))
    index = np.rint(np.asarray(t) * 51 - 1).astype(int)
    assert set(index[:, 0]) == set(range(51))
    np.testing.assert_array_equal(index.sum(1), 50)
    early, late = (np.asarray(x)[index == i] for i in (0, 50))
    np.testing.assert_allclose(early.mean(), 3, atol=0.01)
    np.testing.assert_allclose(early[..., 2:].std(), 0.01, rtol=0.1)
    np.testing.assert_allclose(late[..., 2:].std(), 0.1663, rtol=0.1)  # spec/diffpose.md, 2.1


def test_components_are_drawn_for_each_joint(videos):
    pairs = jax.vmap(lambda k: job.pair_of(k, videos))(jax.random.split(jax.random.key(0), 2000))
    h, scale = (x.reshape(-1, 17, 5) for x in pairs)
    wide = np.asarray(scale[..., 0]) > 0.2
    np.testing.assert_allclose(wide.mean(0), 0.25, atol=5 * 0.44 / 4000**0.5)
    assert abs(np.corrcoef(wide[:, :5].T) - np.eye(5)).max() < 0.1
    np.testing.assert_array_equal(scale[..., 2:], 1)
    rows = np.abs(np.asarray(h[:, None, :, 2:]) - np.asarray(videos.xyz)[None]).max((-1, -2)).argmin(1)
    assert np.bincount(rows, minlength=10).min() > 300
    mean = np.where(wide[..., None], videos.seen.mean[rows, :, 1], videos.seen.mean[rows, :, 0])
    np.testing.assert_allclose(h[..., :2], mean, rtol=1e-6)


def test_clips_stay_in_their_video_and_half_are_mirrored(videos):
    draw = jax.jit(jax.vmap(lambda k: job.clip_of(k, videos, num_frames=5)))
    uv, xyz = (np.asarray(x) for x in draw(jax.random.split(jax.random.key(0), 400)))
    swap = list(range(17))
    for a, b in zip([4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16], strict=True):
        swap[a], swap[b] = b, a
    table, first = np.asarray(videos.xyz), np.asarray(videos.first)
    mirrored = 0
    for u, x in zip(uv, xyz, strict=True):
        straight = np.abs(x[:, None] - table).max((-1, -2))
        if straight.min(1).max() > 1e-5:
            mirrored += 1
            x, u = x[:, swap] * [-1, 1, 1], u[:, swap] * [-1, 1]
            straight = np.abs(x[:, None] - table).max((-1, -2))
        rows = straight.argmin(1)
        np.testing.assert_allclose(u, videos.seen.mean[rows, :, 0], rtol=1e-5)
        assert len(set(first[rows])) == 1
        assert set(np.diff(rows)) <= ({1} if first[rows[0]] == 0 else {0, 1})
    assert abs(mirrored - 200) < 50


@pytest.mark.slow
@pytest.mark.skipif(not FIXTURE.is_dir(), reason="the golden numbers are not here")
def test_both_stages_end_in_a_model_of_diffposes_own_kind(tmp_path):
    files = FIXTURE / "data_3d_h36m.npz", FIXTURE / "data_2d_h36m_cpn_ft_h36m_dbb_gmm.npz"
    list(prepare_videopose3d(*files, ["S11"], tmp_path / "data"))

    def train(stage, *flags):
        command = [sys.executable, "-m", "experiments.train", f"--config={CONFIG}:{stage}"]
        command += [f"--workdir={tmp_path}/{stage}", f"--export={tmp_path}/{stage}.safetensors", *flags]
        command += [f"--config.data.folder={tmp_path}/data", "--config.network.width=16", "--config.network.depth=1"]
        command += [f"--config.train.{k}" for k in ("steps=2", "batch_size=4", "steps_per_dispatch=2", "log_every=2")]
        env = {**os.environ, "XLA_FLAGS": xla.FLAGS}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    code, text = train("encoder", "--config.network.num_frames=9", "--config.network.num_heads=2")
    assert code == 0, text
    code, text = train("diffusion", f"--config.train.init={tmp_path}/encoder.safetensors")
    assert code == 0, text
    model = jaxpose.load(tmp_path / "diffusion.safetensors")
    assert (model.spec.codec, model.spec.indices, model.spec.network.window) == ("screen", (0,), 9)
    code, text = train("diffusion", "--config.train.init=pose17", f"--workdir={tmp_path}/other")
    assert code == 2
    assert "pose17: needed the export of diffpose_h36m.py:encoder, got 'pose17'" in text
