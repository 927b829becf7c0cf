"""The original DiffPose's checkpoints: our networks on their weights against its outputs, and every misfit."""

import json
from collections import OrderedDict

import chex
import jax
import numpy as np
import pytest
import shared
import torch_files
from shared import refuses
from torch_files import tensor

from jaxpose import model as released
from jaxpose.networks.graph import GraFormer, GraphDenoiser
from jaxpose.networks.mixste import MixSTE
from jaxpose.originals.convert import diffpose

GOLDEN = shared.GOLDEN / "diffpose"
DENOISER, FRAME, VIDEO = (GOLDEN / name for name in ("gcndiff.pth", "gcnpose.pth", "mixste_small.bin"))


def graph_shapes(width=8, depth=1, joints=17, coords=(5, 5), times=True):
    """Shapes by name as spec/diffpose.md, section 7, lists them; times: the denoiser's own."""
    shapes = {"gconv_input.weight": (3, 1, coords[0], width), "gconv_input.bias": (1, 1, width)}
    for n in range(depth):
        for k in (1, 2):
            shapes[f"gconv_layers.{n}.gconv{k}.gconv.weight"] = (3, 1, width, width)
            shapes[f"gconv_layers.{n}.gconv{k}.gconv.bias"] = (1, 1, width)
        if times:
            shapes |= {f"gconv_layers.{n}.temb_proj.weight": (width, 4 * width)}
            shapes |= {f"gconv_layers.{n}.temb_proj.bias": (width,)}
        for k in range(4):
            shapes[f"atten_layers.{n}.self_attn.linears.{k}.weight"] = (width, width)
            shapes[f"atten_layers.{n}.self_attn.linears.{k}.bias"] = (width,)
        shapes[f"atten_layers.{n}.feed_forward.A_hat"] = (joints, joints)
        for k, (wide, narrow) in ((1, (2 * width, width)), (2, (width, 2 * width))):
            shapes[f"atten_layers.{n}.feed_forward.gconv{k}.fc.weight"] = (wide, narrow)
            shapes[f"atten_layers.{n}.feed_forward.gconv{k}.fc.bias"] = (wide,)
        for k, name in ((k, name) for k in (0, 1) for name in ("a_2", "b_2")):
            shapes[f"atten_layers.{n}.sublayer.{k}.norm.{name}"] = (width,)
    shapes |= {"gconv_output.weight": (3, 1, width, coords[1]), "gconv_output.bias": (1, 1, coords[1])}
    shapes |= {"temb.dense.0.weight": (4 * width, width), "temb.dense.0.bias": (4 * width,)}
    return shapes | {"temb.dense.1.weight": (4 * width, 4 * width), "temb.dense.1.bias": (4 * width,)}


def drawn(shapes):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) / 4 for name, shape in shapes.items()}


DENOISER_STATE = drawn(graph_shapes())
FRAME_STATE = drawn(graph_shapes(coords=(2, 3), times=False))


def save(path, state, ema=None, layout="list"):
    """A file as the training script writes it, or as others of the family do."""
    named = OrderedDict((f"module.{name}", tensor(value)) for name, value in state.items())
    average = {} if ema is None else {name: tensor(value) for name, value in ema.items()}
    tree = [named, {"state": {}}, 7, 1234] + ([average] if ema is not None else [])
    graformer = {"epoch": 3, "lr": 1e-3, "state_dict": named, "error": 50.0}
    return torch_files.save(path, {"list": tree, "dict": graformer, "bare": named}[layout])


def test_the_listings_here_are_the_originals():
    keys = json.loads((GOLDEN / "keys.json").read_text())
    for name, options in (("GCNdiff", {}), ("GCNpose", {"coords": (2, 3), "times": False})):
        assert {k: tuple(v) for k, v in keys[name].items()} == graph_shapes(16, 2, **options)


def test_the_released_sizes():
    """1,025,674 parameters; 839,432 with the dead time branch, 654,344 without (spec/diffpose.md, 1.4 and 1.5)."""
    zeros = [
        {name: np.broadcast_to(np.float32(0), shape) for name, shape in graph_shapes(96, 5, **options).items()}
        for options in ({}, {"coords": (2, 3), "times": False})
    ]
    assert sum(value.size for value in zeros[1].values()) == 839_432
    denoiser, frame = diffpose.denoiser_part(zeros[0]), diffpose.frame_part(zeros[1])
    assert denoiser.network == GraphDenoiser(time_units=51.0, time_shift=-1.0)
    assert frame.network == GraFormer()
    assert sum(leaf.size for leaf in jax.tree.leaves(denoiser.params)) == 1_025_674
    assert sum(leaf.size for leaf in jax.tree.leaves(frame.params)) == 654_344


def test_the_released_encoder_of_video():
    """243 frames, 33,783,811 parameters (spec/diffpose.md, 1.6)."""
    shapes = json.loads((GOLDEN / "keys.json").read_text())["MixSTE2_243"]
    part = diffpose.video_part({name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()})
    assert part.network == MixSTE()
    assert sum(leaf.size for leaf in jax.tree.leaves(part.params)) == 33_783_811


@pytest.mark.parametrize(
    ("files", "schedule", "indices"),
    [
        ((DENOISER, FRAME), None, (12, 0)),
        ((FRAME, DENOISER), "gt", (6, 0)),
        ((VIDEO, DENOISER), None, (0,)),
        ((DENOISER,), "cpn", (12, 0)),
    ],
)
def test_converted_saved_and_loaded_it_says_what_the_original_says(files, schedule, indices, tmp_path):
    out = tmp_path / "diffpose.safetensors"
    lines = list(diffpose.convert_diffpose(files, out, schedule=schedule))
    assert [line.split(":")[0] for line in lines[:-1]] == [str(path) for path in files]
    assert all(" raw weights, " in line for line in lines[:-1])
    assert lines[-1].startswith(f"wrote {out}: ")
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    loaded, read = released.load(out), diffpose.assemble([diffpose.read_part(path) for path in files], schedule)
    assert loaded.spec == read.spec
    assert (loaded.spec.codec, loaded.spec.indices, loaded.spec.target) == ("screen", indices, "eps")
    chex.assert_trees_all_equal((loaded.params, loaded.statistics), (read.params, read.statistics))

    golden = np.load(GOLDEN / "nets.npz")
    predict = jax.jit(jax.vmap(loaded.predict_fn(), (0, 0, None)))
    found = predict(golden["x"], (golden["t"] + 1) / 51, None)
    np.testing.assert_allclose(found.eps, golden["y"], atol=2e-5)
    if FRAME in files or VIDEO in files:
        pairs = {FRAME: (golden["uv"], golden["xyz"]), VIDEO: np.load(VIDEO.with_suffix(".npz")).values()}
        shown, expected = next(pairs[path] for path in files if path != DENOISER)
        encode = jax.jit(lambda uv: loaded.spec.network.apply(loaded.params, uv, method="encode")[0])
        np.testing.assert_allclose(encode(shown), expected, atol=2e-5)


def test_averaged_weights_are_the_fifth_entry():
    """Half of the raw ones in the golden files; a MixSTE has none of its own."""
    raw, averaged = (diffpose.read_part(FRAME, weights) for weights in ("raw", "ema"))
    assert (raw.weights, averaged.weights) == ("raw", "ema")
    for a, b in zip(jax.tree.leaves(raw.params), jax.tree.leaves(averaged.params), strict=True):
        assert np.abs(a - b).max() > 0
        assert np.linalg.norm(a - 2 * b) < 0.5 * np.linalg.norm(a)
    assert diffpose.read_part(VIDEO, "ema").weights == "raw"
    chex.assert_trees_all_equal(diffpose.read_part(VIDEO, "ema").params, diffpose.read_part(VIDEO).params)


def test_averaged_weights_are_named_without_the_prefix(tmp_path):
    ema = {name: value / 2 for name, value in DENOISER_STATE.items()}
    path = save(tmp_path / "a.pth", DENOISER_STATE, ema)
    raw, averaged = (diffpose.read_part(path, weights).params for weights in ("raw", "ema"))
    chex.assert_trees_all_equal(raw, diffpose.denoiser_part(DENOISER_STATE).params)
    chex.assert_trees_all_equal(averaged, jax.tree.map(lambda a: a / 2, raw))
    with pytest.raises(ValueError, match=r"b.pth: .*no EMA weights .*weights='raw'"):
        diffpose.read_part(save(tmp_path / "b.pth", DENOISER_STATE), "ema")
    refuses(r"weights: got 'best'; must be one of ema, raw", diffpose.read_part, path, "best")


@pytest.mark.parametrize("layout", ["list", "dict", "bare"])
def test_layouts_of_the_family_and_a_time_branch_that_is_dead(layout, tmp_path):
    expected = diffpose.frame_part(FRAME_STATE).params
    alive = {name: value for name, value in FRAME_STATE.items() if not name.startswith("temb.")}
    for name, state in (("a.pth", FRAME_STATE), ("b.pth", alive)):
        chex.assert_trees_all_equal(diffpose.read_part(save(tmp_path / name, state, layout=layout)).params, expected)


BLOCK = "atten_layers.0."


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({"gconv_layers.0.temb_proj.bias": None}, [r"temb_proj.bias: missing, needed \(8,\)"]),
        ({"gconv_input.weight": (3, 5, 8)}, [r"gconv_input.weight: \(3, 5, 8\), needed \(3, 1, 5, 96\)"]),
        ({"extra": (1,), f"{BLOCK}feed_forward.A_hat": None}, ["2 tensors", "A_hat: missing", "extra: .*, unexpected"]),
        ({"gconv_input.weight": (3, 1, 5, 6)}, ["width 6; must be an even multiple of 4 heads"]),
    ],
)
def test_what_does_not_fit_is_listed(change, lines, tmp_path):
    with pytest.raises(ValueError, match="a.pth: " + "".join(f"(?s:.)*{line}" for line in lines)):
        diffpose.read_part(save(tmp_path / "a.pth", changed(DENOISER_STATE, change)))


def changed(state, change):
    """The state with tensors left out (None), of another shape, or others."""
    filled = {name: np.zeros(value) if isinstance(value, tuple) else value for name, value in change.items()}
    return {name: value for name, value in (state | filled).items() if value is not None}
