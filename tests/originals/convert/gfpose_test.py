"""The original GFPose's checkpoints: our network on their weights against the original's output, and every misfit."""

import functools
from collections import OrderedDict

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch_files
from shared import GOLDEN, refuses
from torch_files import tensor

from jaxpose import model as released
from jaxpose.base import Condition
from jaxpose.io.untrusted.torch_file import read_torch
from jaxpose.originals.convert.checkpoint import network_of, params_of, raw_weights
from jaxpose.originals.convert.gfpose import GFPOSE, convert_gfpose, read_gfpose

PEER = GOLDEN / "gfpose/gfpose_peer.pth"


def gfpose_state(hidden=32, width=8, blocks=2):
    """Random weights by the names and shapes of spec/gfpose.md, 8.2, in its order."""
    layers = {"pre_dense": (hidden, 51), "pre_dense_t": (hidden, width), "pre_dense_cond": (hidden, hidden)}
    layers |= {"pre_gnorm": (hidden,), "shared_time_embed.0": (width, width), "cond_embed.0": (hidden, 51)}
    for i in range(1, blocks + 1):
        for k in (1, 2):
            layers |= {f"b{i}_dense{k}": (hidden, hidden), f"b{i}_dense{k}_t": (hidden, width)}
            layers |= {f"b{i}_dense{k}_cond": (hidden, hidden), f"b{i}_gnorm{k}": (hidden,)}
    layers["post_dense"] = (51, hidden)
    rng = np.random.default_rng(hidden)
    state = {"sigmas": np.geomspace(50, 0.01, 1000)}
    for name, shape in layers.items():
        state[f"{name}.weight"] = rng.normal(size=shape).astype(np.float32) / 8
        state[f"{name}.bias"] = rng.normal(size=shape[0]).astype(np.float32) / 8
    return state


def halved(state):
    return [value / 2 for name, value in state.items() if name != "sigmas"]


def save(path, state, shadow=None, **more):
    """The file that GFPose's training script writes; `shadow` None: without the averaged weights."""
    tree = {"model_state_dict": OrderedDict((k, tensor(v)) for k, v in state.items()), "epoch": 3, "step": 7}
    if shadow is not None:
        average = [tensor(v) for v in shadow]
        tree["ema"] = {"decay": 0.9999, "num_updates": 7, "shadow_params": average}
    return torch_files.save(path, tree | more)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    state = gfpose_state()
    return save(tmp_path_factory.mktemp("gfpose") / "best_model.pth", state, halved(state))


@functools.partial(jax.jit, static_argnums=0)
def _apply(network, params, x, t, cond):
    return jax.vmap(lambda x, t, cond: network.apply(params, x, t, cond))(x, t, cond)


def ask(model, x, t, cond):
    """The raw output of the network [B, 17, 3] at times t [B]."""
    return _apply(model.spec.network, model.params, x, t, cond)


@pytest.mark.usefixtures("x64")
def test_the_original_s_outputs():
    """Up to the original's own rounding. Float32 reaches 1e-4 here: groups of two channels blow rounding up."""
    golden = np.load(GOLDEN / "gfpose/gfpose_peer.npz")
    raw = read_gfpose(PEER, "raw")
    assert (raw.spec.network.hidden, raw.spec.network.time_width) == (64, 32)
    x, t, gt, cond2d, kept = (golden[k].astype(np.float64) for k in ("x", "t", "gt", "cond2d", "mask"))
    ones = np.ones_like(gt)
    flat = ones * [1, 1, 0]  # a 2D condition shows no difference in depth
    shown = {
        "2d": (cond2d, flat),
        "3d": (gt, ones),
        "2d_mask": (cond2d, flat * kept),
        "3d_mask": (gt, ones * kept),
        "null": (gt, 0 * ones),
    }
    for name, (value, mask) in shown.items():
        out = ask(raw, x, t, Condition(value, mask))
        np.testing.assert_allclose(out, golden[f"net_{name}"], atol=2e-5, rtol=0, err_msg=name)


def test_the_recorded_checkpoint_has_the_names_shapes_and_order_of_the_made_ones():
    """The averaged weights are a list without names, so the order decides."""
    found = [(key, value.shape) for key, value in raw_weights(read_torch(PEER)).items()]
    assert found == [(key, value.shape) for key, value in gfpose_state(64, 32).items()]


def test_the_tests_write_what_torch_writes():
    """The builder of the other tests' files, on the tensors of a real file of torch 2.13: the same bytes."""
    path = GOLDEN / "diffpose/gcnpose.pth"
    named, optimizer, epoch, step, averaged = read_torch(path)
    tree = [{k: tensor(v) for k, v in named.items()}, optimizer, epoch, step]
    with torch_files.zipfile.ZipFile(path) as archive:
        for name, raw in torch_files.entries([*tree, {k: tensor(v) for k, v in averaged.items()}]).items():
            assert archive.read(f"gcnpose/{name}") == raw, name


def test_what_it_is_follows_from_the_file(checkpoint):
    spec = read_gfpose(checkpoint).spec
    assert (spec.process, spec.process_args, spec.target) == ("sub_vp", (0.1, 20.0), "eps")
    assert spec.codec == "image_depth"
    # spec/gfpose.md, 3.1: 1 unit is 500/30 px, the image's middle is 0, depth is relative
    statistics = read_gfpose(checkpoint).statistics
    np.testing.assert_allclose(statistics.mean, np.tile([500, 500, 0], (17, 1)))
    np.testing.assert_allclose(statistics.std, 500 / 30, rtol=1e-6)


@pytest.mark.parametrize(("hidden", "width", "blocks"), [(32, 8, 1), (64, 4, 3)])
def test_sizes_are_read_from_the_shapes(hidden, width, blocks):
    state = gfpose_state(hidden, width, blocks)
    spec = released.Spec("gfpose", network_of(GFPOSE, state), context=0)
    needed = jax.eval_shape(lambda: released.init_params(jax.random.key(0), spec))
    chex.assert_trees_all_equal_shapes(params_of(GFPOSE, state), needed)


def test_the_released_network_has_its_number_of_parameters():
    """12,504,627 (spec/gfpose.md, 1)."""
    state = gfpose_state()
    wide = {32: 1024, 8: 512, 51: 51}
    grown = {
        name: np.broadcast_to(np.float32(0), [wide[n] for n in value.shape])
        for name, value in state.items()
        if name != "sigmas"
    }
    assert sum(leaf.size for leaf in jax.tree.leaves(params_of(GFPOSE, grown))) == 12_504_627


@pytest.mark.parametrize("wrapped", ["module.", "list", "bare", "state_dict", "half"])
def test_other_wrappings_of_the_same_weights(tmp_path, wrapped):
    state = gfpose_state()
    path, plain = tmp_path / "a.pth", params_of(GFPOSE, state)
    if wrapped == "half":
        state = {name: value.astype(np.float16) for name, value in state.items()}
        plain = jax.tree.map(lambda p: p.astype(np.float16).astype(np.float32), plain)
    prefix = wrapped if wrapped == "module." else ""
    named = OrderedDict((f"{prefix}{name}", tensor(value)) for name, value in state.items())
    tree = {"list": [named, {}, 3], "bare": named, "state_dict": {"state_dict": named}}
    torch_files.save(path, tree.get(wrapped, {"model_state_dict": named}))
    chex.assert_trees_all_equal(read_gfpose(path, "raw").params, plain)
    refuses(r"a.pth: .*no EMA weights .*weights='raw'", read_gfpose, path)


def without(*names):
    return lambda state: {name: value for name, value in state.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (without("b2_gnorm1.bias"), ["1 tensors", r"b2_gnorm1.bias: missing, needed \(32,\)"]),
        (lambda s: s | {"post_dense.weight": np.zeros((63, 32))}, [r"post_dense.weight: \(63, 32\), needed"]),
        (lambda s: s | {"post_dense.bias": np.arange(51)}, [r"post_dense.bias: \(51,\) of int64, needed \(51,\)"]),
        (lambda s: s | {"post_dense.bias": np.full(51, np.nan)}, ["bias: holds numbers that are not finite"]),
        (lambda s: s | {"gauss_proj.W": np.zeros(4)}, [r"gauss_proj.W: .* Fourier time features is not supported"]),
        (
            lambda s: without("cond_embed.0.bias")(s) | {"pre_gnorm.bias": np.zeros(3), "n": np.zeros(1)},
            ["3 tensors", r"pre_gnorm.bias: \(3,\), needed \(32,\)", r"cond_embed.0.bias: missing", r"n: \(1,\), unex"],
        ),
        (lambda s: s | {"pre_dense.weight": np.zeros((48, 51))}, ["hidden 48 and time width 8; must be multiples"]),
    ],
)
def test_what_does_not_fit_is_listed_in_one_error(tmp_path, change, lines):
    state = gfpose_state()
    path = save(tmp_path / "a.pth", change(state), halved(state))
    for weights in ("raw", "ema"):
        refuses("a.pth: " + "".join(f"(?s:.)*{line}" for line in lines), read_gfpose, path, weights)


@pytest.mark.parametrize("name", ["dposer/ckpt_v1.pth", "diffpose/gcndiff.pth", "diffpose/mixste_small.bin"])
def test_a_checkpoint_of_another_system_is_told_apart(name):
    with pytest.raises(ValueError, match=r"(ckpt_v1.pth|gcndiff.pth|mixste_small.bin): .*not the weights of") as info:
        read_gfpose(GOLDEN / name)
    lines = str(info.value).splitlines()
    assert len(lines) <= 14
    assert " missing, needed " in str(info.value)


def test_converted_saved_and_loaded_it_says_the_same(checkpoint, tmp_path):
    out = tmp_path / "gfpose.safetensors"
    lines = list(convert_gfpose(checkpoint, out))
    assert str(checkpoint) in lines[0]
    assert "ema weights" in lines[0]
    assert lines[-1] == f"wrote {out}"
    assert [p.name for p in tmp_path.iterdir()] == [out.name]
    read, loaded = read_gfpose(checkpoint), released.load(out)
    assert loaded.spec == read.spec
    chex.assert_trees_all_equal((loaded.params, loaded.statistics), (read.params, read.statistics))
    x, cond = jax.random.normal(jax.random.key(0), (2, 2, 17, 3))
    t = jnp.float32([0.01, 0.7])
    cond = Condition(cond, jnp.ones_like(cond))
    np.testing.assert_array_equal(ask(loaded, x, t, cond), ask(read, x, t, cond))
    list(convert_gfpose(checkpoint, out, weights="raw"))
    assert np.abs(ask(released.load(out), x, t, cond) - ask(read, x, t, cond)).max() > 1e-2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out": "gfpose.npz"}, "out: got .*gfpose.npz.*; must be a .safetensors file"),
        ({"out": "nowhere/a.safetensors"}, "out: got .*nowhere.*in a folder that exists"),
        ({"weights": "best"}, "weights: got 'best'; must be one of ema, raw"),
        ({"path": "none.pth"}, "none.pth: no such file"),
    ],
)
def test_a_conversion_that_fails_leaves_nothing(checkpoint, tmp_path, change, message):
    call = {"path": checkpoint, "out": "a.safetensors", "weights": "ema"} | change
    refuses(message, list, convert_gfpose(call["path"], tmp_path / call["out"], weights=call["weights"]))
    assert list(tmp_path.iterdir()) == []
