"""The originals' recipes in PyTorch against the originals' recorded runs, with their noise; skipped without torch."""

import numpy as np
import pytest
from shared import GOLDEN

torch = pytest.importorskip("torch", reason="torch, which only `experiments.benchmark --against` needs, is absent")

import jax  # noqa: E402

from experiments.against import recipes  # noqa: E402
from experiments.against.folder import Original, originals  # noqa: E402
from experiments.against.networks import ScoreNet, network_for  # noqa: E402
from experiments.against.pairs import pairs, rig_of, start  # noqa: E402
from jaxpose.geometry.body import full_rotations  # noqa: E402
from jaxpose.io.anny_body import anny_body  # noqa: E402
from jaxpose.io.untrusted.torch_file import read_torch  # noqa: E402
from jaxpose.originals.convert.checkpoint import raw_weights  # noqa: E402


def loaded(file):
    return network_for(raw_weights(read_torch(GOLDEN / file))).eval().double()


def arrays(file):
    with np.load(GOLDEN / file) as z:
        return {k: torch.from_numpy(z[k].astype(np.float64)) for k in z.files}


def drawn(noise):
    """A noise function that gives recorded arrays in order."""
    left = iter(noise)
    return lambda like: next(left).reshape(like.shape)


def near(found, wanted, share=1e-3):
    wanted = wanted.numpy()
    np.testing.assert_allclose(found.numpy().reshape(wanted.shape), wanted, atol=share * np.abs(wanted).max())


@pytest.mark.parametrize("run", ["est_sde", "gen"])
def test_gfpose_s_run(run):
    z, net = arrays("gfpose/gfpose_peer.npz"), loaded("gfpose/gfpose_peer.pth")
    value = z["cond2d"] if run == "est_sde" else torch.zeros_like(z["cond2d"])
    mask = torch.ones_like(value) * torch.tensor([1.0, 1.0, 0.0]) * (run == "est_sde")
    prior, *noise = z["pc_noise"][:9]
    found = recipes.euler_maruyama(lambda x, label: net(x, label, value, mask), prior, 8, noise=drawn(noise))
    near(found, z[f"pc_{run}_out"])


def test_dposer_s_generation():
    z, net = arrays("dposer/io.npz"), loaded("dposer/ckpt_v1.pth")
    begin = z["em/x_T"].reshape(-1, 21, 3)
    near(recipes.euler_maruyama(net, begin, 20, noise=drawn(z["pc/noise"])), z["em/x_0"])


def test_dposer_s_completion():
    z, net = arrays("dposer/io.npz"), loaded("dposer/ckpt_v1.pth")
    value, mask = (z[f"comp/{k}"].reshape(-1, 21, 3) for k in ("obs", "mask"))
    noise = drawn(z["comp/noise"][-20:])
    near(recipes.complete(net, value, value, mask, num_steps=20, noise=noise), z["comp/out"], 1e-4)


@pytest.mark.parametrize("run", ["cpn", "gt", "video", "five"])
def test_diffpose_s_run(run):
    z, net = arrays("diffpose/sampler.npz"), loaded("diffpose/gcndiff.pth")
    indices = tuple(sorted((int(i) for i in z[f"{run}_seq"]), reverse=True))
    near(recipes.ddim(net, z["x_init"], indices), z[f"{run}_xs"][-1], 5e-5)


def test_pairs_do_the_same_work():
    """Every pair's results are the same up to rounding, which the recorded networks' groups of two channels blow up."""
    files = {
        "denoiser": "diffpose/gcndiff.pth",
        "encoder": "diffpose/gcnpose.pth",
        "mixste": "diffpose/mixste_small.bin",
    }
    networks = {kind: loaded(file).float() for kind, file in files.items()}
    torch.manual_seed(0)
    networks["gfpose"] = ScoreNet(51, 256, 32, 1).eval()
    networks["dposer"] = ScoreNet(63, 256, 32, 1, condition=False, ve_scale=True).eval()
    found = {kind: Original(network, "") for kind, network in networks.items()}
    settings = {}
    for pair in pairs(found, persons=2, timed=3):
        if pair.poses == 2 or pair.setting.startswith("MixSTE"):
            assert pair.difference() < 1e-3, pair.setting
            settings[pair.setting] = (pair.calls, pair.timed)
            jax.block_until_ready(pair.ours()())
    assert settings == {
        "GFPose, a call, 2 x 200": (1, 1),
        "GFPose, recipe, 2 x 200": (1000, 3),
        "DiffPose, a call, 2 x 5": (1, 1),
        "DiffPose, 5 x 5, 2": (6, 6),
        "DPoser, a call, 100": (1, 1),
        "DPoser, generation, 100": (1000, 3),
        "DPoser, completion, 2 x 10": (200, 200),
        "MixSTE, 9 frames": (1, 1),
    }


def test_random_weights_are_the_same_each_time():
    one, other = (originals("random")["encoder"].network.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_bodies_in_pytorch_are_ours():
    body = anny_body("smpl")
    pose = 0.5 * jax.random.normal(jax.random.key(0), (2, 21, 3))
    posed = jax.jit(lambda body, pose: body.shape().pose(full_rotations(body, pose)))(body, pose)
    at = start()
    vertices, joints = rig_of(at, body).posed(at.put(pose))
    np.testing.assert_allclose(joints, posed.joints, atol=1e-5)
    np.testing.assert_allclose(vertices, posed.skin(), atol=1e-5)
    turned = recipes.rodrigues(torch.tensor([[0.0, 0.0, np.pi / 2], [0.0, 0.0, 0.0]], dtype=torch.float64))
    np.testing.assert_allclose(turned, [[[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.eye(3)], atol=1e-7)
