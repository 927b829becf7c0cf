"""A released model's file: a round trip, and every way in which a file can be wrong."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pose_oracle
import pytest
import rotation_oracle
from diffpose_models import tiny
from flax import traverse_util
from random_params import random_params
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from shared import refuses

from jaxpose import model as released
from jaxpose.base import Condition
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.spaces.person import Statistics
from jaxpose.weights import flatten


@pytest.fixture(scope="module")
def model():
    spec = released.Spec(name="tiny", network=ScoreMLP(hidden=32, time_width=16, num_groups=4, encoder_blocks=1))
    statistics = Statistics(jnp.linspace(-1, 1, 51).reshape(17, 3), jnp.linspace(0.1, 1, 51).reshape(17, 3))
    return released.Model(random_params(spec), statistics, spec)


@pytest.fixture
def path(model, tmp_path):
    released.save(tmp_path / "tiny.safetensors", model, dtype=jnp.float32)
    return tmp_path / "tiny.safetensors"


def test_round_trip_is_exact_in_float32(model, path):
    loaded = released.load(path)
    assert loaded.spec == model.spec
    jax.tree.map(np.testing.assert_array_equal, (loaded.params, loaded.statistics), (model.params, model.statistics))


@jax.jit
def predict(model, x, t):
    return model.predict_fn()(x, t, Condition(jnp.ones((17, 3)), jnp.ones((17, 3)), jnp.ones(17)))


def test_bfloat16_halves_the_file_and_keeps_the_prediction(model, path):
    small = path.with_name("small.safetensors")
    released.save(small, model)
    assert small.stat().st_size < 0.65 * path.stat().st_size
    x = jax.random.normal(jax.random.key(1), (17, 3))
    full, half = (predict(m, x, 0.3).x0 for m in (model, released.load(small)))
    assert 0 < float(jnp.abs(full - half).max()) < 0.05


@pytest.mark.parametrize("stored", [jnp.float32, jnp.bfloat16, jnp.int8])
def test_weights_can_be_saved_again_as_they_were_stored(model, tmp_path, stored):
    first, again = tmp_path / "first.safetensors", tmp_path / "again.safetensors"
    released.save(first, model, dtype=stored)
    released.save(again, released.load(first), dtype=None)
    assert again.stat().st_size == first.stat().st_size
    jax.tree.map(np.testing.assert_array_equal, released.load(again).params, released.load(first).params)


def recalibration(**changes):
    rng = np.random.default_rng(0)
    shapes = {"covariance": (17,), "radius": (17,)} | changes
    return released.Recalibration(**{k: jnp.asarray(rng.normal(size=v), jnp.float32) for k, v in shapes.items()})


def test_recalibration_and_typicality_come_back_as_they_were(model, path):
    """In float32, though the weights are bfloat16."""
    given = {"lift": recalibration(), "denoise": recalibration()}
    released.save(path, model.replace(recalibration=given, typicality=jnp.linspace(-3.0, 9, 5)))
    loaded = released.load(path)
    assert loaded.recalibration.keys() == given.keys()
    jax.tree.map(np.testing.assert_array_equal, loaded.recalibration, given)
    np.testing.assert_array_equal(loaded.typicality, np.linspace(-3, 9, 5))


def test_a_recalibration_of_another_skeleton_is_refused(model, path):
    released.save(path, model.replace(recalibration={"lift": recalibration(radius=(16,))}))
    refuses(r"tiny.safetensors: recalibration/lift/radius of shape \(16,\); must be \(17,\)", released.load, path)


def test_files_of_0_8_draw_as_the_network_does(model, path):
    """Of a task whose samples 0.8 moved no factor is left; of others those on covariance and radius are."""
    released.save(path, model.replace(recalibration={"lift": recalibration(), "complete": recalibration()}))
    tensors = load_file(path)
    for task, offset in (("lift", 0.1), ("complete", 0.0)):
        tensors[f"recalibration/{task}/offset"] = np.full((17, 3), offset, np.float32)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    save_file(tensors, path, metadata=metadata)
    assert released.load(path).recalibration.keys() == {"complete"}


def rewrite(path, **metadata):
    tensors = load_file(path)
    spec = {"name": "t", "network": {"hidden": 32}, "process_args": [0.1, 20.0]}
    save_file(tensors, path, metadata={"format": released.FORMAT, "spec": json.dumps(spec)} | metadata)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.unlink(), "no such file"),
        (lambda p: p.write_bytes(b""), "not a safetensors file"),
        (lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]), "not a safetensors file"),
        (lambda p: rewrite(p, format="jaxpose-0"), "format 'jaxpose-0', this version of jaxpose reads 'jaxpose-1'"),
        (lambda p: rewrite(p, spec="{"), "specification cannot be read"),
        (lambda p: rewrite(p, spec='{"network": {"os": 1}, "process_args": []}'), "specification cannot be read"),
        (lambda p: save_file({"a": np.zeros(1)}, p), "format None"),
    ],
)
def test_a_bad_file_is_named(path, spoil, message):
    spoil(path)
    refuses(f"tiny.safetensors: {message}|tiny.safetensors: .*{message}", released.load, path)


def test_weights_of_another_network_are_refused(path):
    spec = {"name": "t", "network": {"hidden": 64, "time_width": 16, "num_groups": 4}, "process_args": [0.1, 20.0]}
    rewrite(path, spec=json.dumps(spec))
    refuses("does not fit the network", released.load, path)


def test_an_unknown_name_lists_the_bundled_ones():
    with pytest.raises(
        ValueError, match=r"got 'pose99'; must be a path .* \['diffpose17', 'diffpose17_video', 'motion17', 'pose17'"
    ):
        released.load("pose99")


def test_what_a_task_needs_is_asked_in_one_place(model):
    """Each kind of model against each kind of need; the message names task, need and what was found."""
    few = released.Spec("few", model.spec.network, times=(1.0, 0.3))
    kinds = {
        "score": (model, {"score", "joints", "condition", "any_level"}),
        "motion": (
            model.replace(spec=released.Spec("motion", model.spec.network.clone(num_frames=4))),
            {"motion", "joints", "condition", "any_level"},
        ),
        "few": (released.Model({}, model.statistics, few), {"few_steps", "joints", "condition"}),
        "diffpose": (tiny(), {"joints", "encoder", "denoiser", "context", "any_level"}),
        "rotations": (rotation_oracle.correlated(), {"score", "rotations", "any_level"}),
        "gfpose": (pose_oracle.make(codec="image_depth"), {"score", "image_depth", "condition", "any_level"}),
        "screen": (pose_oracle.make(codec="screen"), {"score", "screen", "condition", "any_level"}),
    }
    for name, (one, able) in kinds.items():
        able |= {"poses"} if able & {"joints", "rotations"} else set()
        assert one.capabilities == able, name
        released.require(one, "task", *able - {"few_steps"})
        for need in released._NEEDED.keys() - able:
            with pytest.raises(
                ValueError, match=f"task needs a.*; got '{one.spec.name}', a .* states are '{one.spec.codec}'"
            ):
                released.require(one, "task", need)


@pytest.mark.parametrize("frames", [None, 3])
def test_a_diffpose_model_comes_back_with_all_its_parts(tmp_path, frames):
    """Networks in a network, the start of its diffusion beside its weights; without the start it is refused."""
    model, path = tiny(frames), tmp_path / "tiny.safetensors"
    released.save(path, model, dtype=jnp.float32)
    loaded = released.load(path)
    assert loaded.spec == model.spec
    jax.tree.map(np.testing.assert_array_equal, (loaded.params, loaded.statistics), (model.params, model.statistics))
    released.save(path, model.replace(params={"params": model.params["params"]}))
    refuses(r"tiny.safetensors: .*start/depth is absent", released.load, path)


@pytest.fixture
def on_base(tmp_path, monkeypatch, model):
    """A model whose weights but one are those of a bundled one, and its file."""
    monkeypatch.setattr(released, "ASSETS", tmp_path)
    released.save(tmp_path / "tiny.safetensors", model, dtype=jnp.float32)
    flat = flatten(model.params)
    changed = min(flat)
    params = traverse_util.unflatten_dict({**flat, changed: flat[changed] + 1}, sep="/")
    built = model.replace(params=params, spec=dataclasses.replace(model.spec, name="more", base="tiny"))
    path = tmp_path / "more.safetensors"
    released.save(path, built, dtype=jnp.float32)
    return built, path, changed


def test_weights_of_the_base_are_not_repeated(on_base):
    built, path, changed = on_base
    with safe_open(path, framework="numpy") as f:
        assert [k for k in f.keys() if k.startswith("params/")] == [f"params/{changed}"]  # noqa: SIM118
    for loaded in (released.load(path), released.load("more")):
        jax.tree.map(np.testing.assert_array_equal, loaded.params, built.params)
        assert loaded.spec == built.spec


def test_another_base_than_the_one_saved_with_is_refused(on_base, model):
    built, path, _ = on_base
    moved = jax.tree.map(lambda v: v + 1, model.params)
    released.save(path.parent / "tiny.safetensors", model.replace(params=moved), dtype=jnp.float32)
    refuses(r"more\.safetensors: it builds on another version of 'tiny'", released.load, path)
    (path.parent / "tiny.safetensors").unlink()
    refuses("it builds on 'tiny', which is no bundled model", released.load, path)
    refuses("model: got 'tiny'", released.save, path, built)
