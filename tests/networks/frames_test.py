"""Mixing over frames: the formula in a loop, nothing before training, and what of a model is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from random_params import random_params

from experiments.jobs.initial import load_initial, part_of
from jaxpose import model as released
from jaxpose.base import Condition
from jaxpose.networks.frames import FrameMixing
from jaxpose.networks.score_mlp import ScoreMLP

FRAMES, WIDTH, HEADS, CHANNELS = 5, 6, 2, 8


@pytest.fixture
def mixing():
    network = FrameMixing(FRAMES, WIDTH, HEADS, num_groups=4)
    h = jax.random.normal(jax.random.key(0), (3, FRAMES, CHANNELS))
    return network, network.init(jax.random.key(1), h), h


def test_a_fresh_mixing_adds_nothing(mixing):
    network, params, h = mixing
    np.testing.assert_array_equal(network.apply(params, h), h)


def test_the_formula_in_a_loop(mixing):
    network, params, h = mixing
    params = jax.tree.map(lambda p: p + 0.5 * np.random.default_rng(p.size).normal(size=p.shape), params)
    p = {"/".join(k): np.asarray(v, float) for k, v in flatten_dict(params["params"]).items()}
    groups = np.asarray(h, float).reshape(3, FRAMES, 4, -1)
    groups = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + 1e-5)
    n = groups.reshape(h.shape) * p["norm/scale"] + p["norm/bias"]
    own, v = np.split(n @ p["own_value/kernel"] + p["own_value/bias"], 2, -1)
    k = n @ p["key/kernel"] + p["key/bias"]
    mixed = np.zeros_like(v)
    for head in range(HEADS):
        mine = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
        for f in range(FRAMES):
            a = np.stack([np.exp(p["bias"][head, f - g + FRAMES - 1] + k[:, g, head]) for g in range(FRAMES)], -1)
            mixed[:, f, mine] = np.einsum("bg,bgc->bc", a / a.sum(-1, keepdims=True), v[..., mine])
    inner = own + mixed @ p["told/kernel"] + p["told/bias"]
    expected = h + (inner / (1 + np.exp(-inner))) @ p["out/kernel"] + p["out/bias"]
    np.testing.assert_allclose(network.apply(params, h), expected, atol=1e-4)


def test_another_number_of_frames_is_refused(mixing):
    network, params, h = mixing
    with pytest.raises(ValueError, match="a network of 5 frames got 4"):
        network.apply(params, h[:, :4])


def of_windows(name):
    sizes = {"hidden": 512, "time_width": 128, "encoder_blocks": 1, "dropout": 0.0}
    network = ScoreMLP(**sizes, num_frames=FRAMES, frame_width=8, track_width=8, track_layers=1)
    return released.Spec(name=name, network=network, target="edm", context=23)


def test_a_model_of_single_poses_becomes_one_of_windows_with_the_same_answers():
    single = released.load("pose17")
    model = load_initial("pose17", of_windows("motion"))
    shape, rng = (FRAMES, 17, 3), np.random.default_rng(0)
    x, value, context = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in (shape, shape, (FRAMES, 23)))
    cond = Condition(value, jnp.ones(shape), context)
    t = jnp.float32(0.4)
    found, expected = model.predict_fn()(x, t, cond), single.predict_fn()(x, t, cond._replace(context=context[:, :20]))
    np.testing.assert_allclose(found.x0, expected.x0, atol=1e-5)


def test_what_is_trained_has_the_ending_and_the_others_stay():
    params = random_params(of_windows("motion"))
    part, whole = part_of(params, "_frames")
    assert {path[1].rpartition("_")[2] for path in flatten_dict(part)} == {"frames"}
    back = flatten_dict(whole(jax.tree.map(jnp.zeros_like, part)))
    for path, value in flatten_dict(params).items():
        np.testing.assert_array_equal(back[path], 0 * value if path[1].endswith("_frames") else value)
    assert jax.tree.structure(part_of(params, "")[0]) == jax.tree.structure(params)
    with pytest.raises(ValueError, match=r"config\.train\.only: no module's name ends with '_heads'"):
        part_of(params, "_heads")
