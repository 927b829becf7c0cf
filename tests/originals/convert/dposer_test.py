"""The original DPoser's checkpoints: both layouts of the recorded ones, and every misfit of made ones."""

from collections import OrderedDict

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch_files
from shared import GOLDEN, refuses
from torch_files import Call, Name, tensor

from jaxpose import model as released
from jaxpose.io.untrusted.torch_file import read_torch
from jaxpose.originals.convert.checkpoint import network_of, params_of, raw_weights
from jaxpose.originals.convert.dposer import DPOSER, convert_dposer, read_dposer, read_normaliser
from jaxpose.spaces import rotations as space
from jaxpose.spaces.person import Statistics


def dposer_state(hidden=32, width=8, numbers=63, dead=False):
    """Random weights by the names and shapes of spec/dposer.md, 9.3, in its order."""
    layers = {"pre_dense": (hidden, numbers), "pre_dense_t": (hidden, width)}
    layers |= {"pre_dense_cond": (hidden, hidden)} if dead else {}
    layers |= {"pre_gnorm": (hidden,), "shared_time_embed.0": (width, width)}
    for i in (1, 2):
        for k in (1, 2):
            layers |= {f"b{i}_dense{k}": (hidden, hidden), f"b{i}_dense{k}_t": (hidden, width)}
            layers |= {f"b{i}_gnorm{k}": (hidden,)}
    layers["post_dense"] = (numbers, hidden)
    rng = np.random.default_rng(0)
    state = {"sigmas": np.geomspace(50, 0.01, 1000).astype(np.float32)}
    for name, shape in layers.items():
        state[f"{name}.weight"] = rng.normal(size=shape).astype(np.float32) / 8
        state[f"{name}.bias"] = rng.normal(size=shape[0]).astype(np.float32) / 8
    return state


def save(path, state):
    """What DPoser writes, by the suffix of `path`: its own `.pth`, or Lightning's `.ckpt`. Averaged is half of raw."""
    shadow = [tensor(value / 2) for name, value in state.items() if name != "sigmas"]
    ema = {"decay": 0.9999, "num_updates": 7, "shadow_params": shadow}
    tensors = {name: tensor(value) for name, value in state.items()}
    if path.suffix == ".pth":
        return torch_files.save(path, {"epoch": 3, "step": 7, "model_state_dict": OrderedDict(tensors), "ema": ema})
    named = OrderedDict((f"model.{name}", value) for name, value in tensors.items())
    named["body_model_vis.bm.v_template"] = tensor(np.zeros((10, 3), np.float32))
    config = Name("ml_collections.config_dict.config_dict", "ConfigDict")
    more = {"hyper_parameters": {"config": Call(config, state={"training": 1})}, "global_step": 7}
    return torch_files.save(path, {"state_dict": named, "model_ema": ema} | more)


@pytest.mark.parametrize("suffix", ["pth", "ckpt"])
@pytest.mark.parametrize(("numbers", "dead", "codec"), [(63, False, "axis_angle"), (126, True, "rot6d")])
def test_both_layouts_and_both_representations(tmp_path, suffix, numbers, dead, codec):
    state = dposer_state(numbers=numbers, dead=dead)
    path = save(tmp_path / f"a.{suffix}", state)
    raw, averaged = (read_dposer(path, weights=w, identity=True) for w in ("raw", "ema"))
    assert raw.spec.codec == codec
    assert raw.spec.network.ve_output_scale
    assert (raw.spec.network.hidden, raw.spec.network.time_width) == (32, 8)
    chex.assert_trees_all_equal(averaged.params, jax.tree.map(lambda p: p / 2, raw.params))
    chex.assert_trees_all_equal(raw.params, params_of(DPOSER, state))
    needed = jax.eval_shape(lambda: released.init_params(jax.random.key(0), raw.spec))
    chex.assert_trees_all_equal_shapes(raw.params, needed)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("dposer/ckpt_v1.pth", dposer_state(64, 32)),
        ("dposer_v1/ckpt_pl.ckpt", dposer_state(64, 32, numbers=126, dead=True)),
    ],
)
def test_recorded_checkpoints_have_the_names_shapes_and_order_of_the_made_ones(name, made):
    """The averaged weights are a list without names, so the order decides."""
    named = raw_weights(read_torch(GOLDEN / name))
    found = [(key.removeprefix("model."), value.shape) for key, value in named.items()]
    assert found == [(key, value.shape) for key, value in made.items()]


@pytest.mark.parametrize(("numbers", "count"), [(63, 7_227_967), (126, 7_357_054)])
def test_the_released_network_has_its_number_of_parameters(numbers, count):
    """spec/dposer.md, section 1."""
    spec = released.Spec("d", network_of(DPOSER, {}), "smpl22", 0, "rot6d" if numbers == 126 else "axis_angle")
    params = jax.eval_shape(lambda: released.init_params(jax.random.key(0), spec))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


def statistics_file(path, **arrays):
    """`.pt` as the original's, with the keys for shapes that it leaves empty, or `.npz`."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
        return path
    return torch_files.save(path, {k: tensor(v) for k, v in arrays.items()} | {"mean_shapes": None})


@pytest.mark.parametrize("suffix", ["pt", "npz"])
def test_the_statistics_normalise_as_the_original_does(tmp_path, suffix):
    rng = np.random.default_rng(1)
    low, width = rng.normal(size=63).astype(np.float32), rng.uniform(0.1, 2, 63).astype(np.float32)
    x = rng.normal(size=(4, 21, 3)).astype(np.float32)
    flat = x.reshape(4, 63)
    z_score = statistics_file(tmp_path / f"2.{suffix}", mean_poses=low, std_poses=width)
    z = space.encode(read_normaliser(z_score, "axis_angle"), jnp.asarray(x))
    np.testing.assert_allclose(z.reshape(4, 63), (flat - low) / width, rtol=1e-5, atol=1e-5)
    min_max = statistics_file(tmp_path / f"1.{suffix}", min_poses=low, max_poses=low + width)
    z = space.encode(read_normaliser(min_max, "axis_angle"), jnp.asarray(x))
    np.testing.assert_allclose(z.reshape(4, 63), 2 * (flat - low) / width - 1, rtol=1e-4, atol=1e-4)


def test_our_own_statistics_are_taken_as_they_are(tmp_path):
    own = space.z_score(np.random.default_rng(2).normal(size=(9, 21, 6)))
    path = tmp_path / "own.npz"
    np.savez(path, **own._asdict())
    chex.assert_trees_all_close(read_normaliser(path, "rot6d"), jax.tree.map(np.float32, own))


def test_without_statistics_the_error_says_where_they_are(tmp_path):
    path = save(tmp_path / "a.pth", dposer_state())
    refuses(r"useless without.*_normalize2.pt.*--normalizer.*--identity", read_dposer, path)
    refuses("got both", read_dposer, path, path, identity=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s | {"post_dense.bias": np.zeros(64, np.float32)}, r"post_dense.bias: \(64,\), needed \(63,\)"),
        (lambda s: s | {"cond_embed.0.weight": np.zeros((32, 63), np.float32)}, "jaxpose convert gfpose"),
        (
            lambda s: s | {"pre_dense.weight": np.zeros((32, 45), np.float32)},
            "poses of 45 numbers, as DPoser-X's hand network has; must be 63 or 126",
        ),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, change, message):
    path = save(tmp_path / "a.pth", change(dposer_state()))
    refuses(f"a.pth: (?s:.)*{message}", read_dposer, path, weights="raw", identity=True)


def test_converted_saved_and_loaded_it_says_the_same(tmp_path):
    rng = np.random.default_rng(3)
    path = save(tmp_path / "a.ckpt", dposer_state())
    statistics = statistics_file(
        tmp_path / "axis_normalize2.pt",
        mean_poses=rng.normal(size=63).astype(np.float32),
        std_poses=np.ones(63, np.float32),
    )
    out = tmp_path / "dposer.safetensors"
    lines = list(convert_dposer(path, out, normaliser=statistics))
    assert "axis_angle, ema weights" in lines[0]
    assert lines[-1].startswith(f"wrote {out}")
    read, loaded = read_dposer(path, statistics), released.load(out)
    assert loaded.spec == read.spec
    chex.assert_trees_all_equal((loaded.params, loaded.statistics), (read.params, read.statistics))
    assert isinstance(loaded.statistics, Statistics)
