"""The originals' networks in PyTorch against the originals' recorded outputs; skipped without torch."""

import chex
import numpy as np
import pytest
from shared import GOLDEN

torch = pytest.importorskip("torch", reason="torch, which only `experiments.benchmark --against` needs, is absent")

from experiments.against.folder import Original, converted, of_checkpoint, originals  # noqa: E402
from experiments.against.networks import OFFICIAL, ScoreNet, kind_of, network_for  # noqa: E402
from jaxpose.io.untrusted.torch_file import read_torch  # noqa: E402
from jaxpose.originals.convert.checkpoint import raw_weights  # noqa: E402
from jaxpose.originals.convert.dposer import read_dposer  # noqa: E402
from jaxpose.originals.convert.gfpose import read_gfpose  # noqa: E402

# kind -> file, recorded arrays, inputs -> output, allowed difference over the largest number of a row
CASES = {
    "gfpose": ("gfpose/gfpose_peer.pth", "gfpose/gfpose_peer", ("x", "t", "cond2d"), "net_2d", 2e-5),
    "gfpose, masked": ("gfpose/gfpose_peer.pth", "gfpose/gfpose_peer", ("x", "t", "gt", "mask"), "net_3d_mask", 2e-5),
    "denoiser": ("diffpose/gcndiff.pth", "diffpose/nets", ("x", "t"), "y", 2e-5),
    "encoder": ("diffpose/gcnpose.pth", "diffpose/nets", ("uv",), "xyz", 2e-5),
    "mixste": ("diffpose/mixste_small.bin", "diffpose/mixste_small", ("x",), "y", 2e-5),
    "dposer": ("dposer/ckpt_v1.pth", "dposer/io", ("net/x", "net/label"), "net/out", 2e-5),
    "dposer, 6D": ("dposer_v1/ckpt_pl.ckpt", "dposer_v1/io", ("net/x", "net/label"), "net/out", 2e-5),
}


@pytest.mark.parametrize("case", CASES)
def test_the_originals_outputs(case):
    file, recorded, inputs, output, allowed = CASES[case]
    named = {k.removeprefix("model."): v for k, v in raw_weights(read_torch(GOLDEN / file)).items()}
    net = network_for(named).eval().double()
    assert kind_of(named) == case.partition(",")[0]
    with np.load(GOLDEN / f"{recorded}.npz") as z:
        given = [z[name].astype(np.float64) for name in inputs]
        wanted = z[output]
    if case.startswith("gfpose"):
        given[1] = 999 * given[1]
    if case.startswith("dposer"):
        given[0] = given[0][:, None]
    with torch.no_grad():
        found = net(*map(torch.from_numpy, given)).numpy().reshape(wanted.shape)
    largest = np.abs(wanted).max(tuple(range(1, wanted.ndim)), keepdims=True)
    np.testing.assert_allclose(found / largest, wanted / largest, atol=allowed)


def test_the_official_sizes():
    """Parameters of spec/gfpose.md 1, spec/diffpose.md 1 and spec/dposer.md 1."""
    counts = {
        "gfpose": 12_504_627,
        "denoiser": 1_025_674,
        "encoder": 839_432,
        "mixste": 33_783_811,
        "dposer": 7_227_967,
    }
    with torch.device("meta"):
        assert {k: sum(p.numel() for p in OFFICIAL[k]().parameters()) for k in ("denoiser", "encoder")} == {
            k: counts[k] for k in ("denoiser", "encoder")
        }
    for kind in ("gfpose", "dposer", "mixste"):
        assert sum(p.numel() for p in OFFICIAL[kind]().parameters()) == counts[kind], kind


def test_averaged_weights_are_those_of_evaluation(tmp_path):
    """The list without names, mapped by the order of the network's parameters here, by our converter's table there."""
    torch.manual_seed(0)
    for net, read in (
        (ScoreNet(51, 32, 8, 1), read_gfpose),
        (
            ScoreNet(63, 32, 8, 1, condition=False, unused=True, ve_scale=True),
            lambda path: read_dposer(path, identity=True),
        ),
    ):
        shadow = [p.detach() / 2 for p in net.parameters()]
        torch.save({"model_state_dict": net.state_dict(), "ema": {"shadow_params": shadow}}, tmp_path / "net.pth")
        averaged = converted(Original(of_checkpoint(tmp_path / "net.pth"), ""))
        chex.assert_trees_all_equal(averaged.params, read(tmp_path / "net.pth").params)
        np.testing.assert_array_equal(averaged.params["params"]["post"]["bias"], shadow[-1].numpy())
    raw = raw_weights(read_torch(GOLDEN / "diffpose/gcndiff.pth"))
    weights = of_checkpoint(GOLDEN / "diffpose/gcndiff.pth").state_dict()
    np.testing.assert_array_equal(weights["gconv_input.weight"].numpy(), raw["gconv_input.weight"])


MODULE = """
import sys
sys.path.insert(0, {root!r})
from experiments.against.networks import GraphNet
def network():
    return GraphNet(16, 2)
"""


def test_a_folder_of_checkpoints_and_modules(tmp_path):
    for file in ("gfpose/gfpose_peer.pth", "diffpose/gcnpose.pth"):
        (tmp_path / file.rpartition("/")[2]).write_bytes((GOLDEN / file).read_bytes())
    (tmp_path / "mine.py").write_text(MODULE.format(root="."))
    (tmp_path / "notes.txt").write_text("no network")
    found = originals(str(tmp_path))
    assert {kind: original.source.rpartition("/")[2] for kind, original in found.items()} == {
        "encoder": "gcnpose.pth",
        "gfpose": "gfpose_peer.pth",
        "denoiser": "mine.py",
    }
    model = converted(found["denoiser"], found["encoder"])
    assert {"denoiser", "encoder"} <= model.capabilities
    theirs = found["denoiser"].network.state_dict()["gconv_output.bias"].numpy().ravel()
    np.testing.assert_array_equal(model.params["params"]["denoiser"]["output"]["bias"], theirs)
