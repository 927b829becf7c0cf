"""What frames tell each other: the formula in a loop, nothing before training, and what of a model is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from random_params import random_params
from shared import refuses

from experiments.models.initial import load_initial, part_of
from jaxpose import model as released
from jaxpose.base import Condition
from jaxpose.networks.frames import Correction
from jaxpose.networks.score_mlp import ScoreMLP

FRAMES, WIDTH, HEADS, SIZE = 5, 8, 2, 6


@pytest.fixture
def correction():
    """The network, its weights away from where they start, and what it is given."""
    network, keys = Correction(FRAMES, WIDTH, 1, HEADS), jax.random.split(jax.random.key(0), 4)
    shapes = (3, FRAMES, SIZE), (3, FRAMES, SIZE), (3, FRAMES, 4), (7,)
    given = [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]
    return network, network.init(jax.random.key(1), *given), given


def moved(params):
    return jax.tree.map(lambda p: p + 0.5 * np.random.default_rng(p.size).normal(size=p.shape), params)


def test_a_fresh_correction_is_nothing(correction):
    network, params, given = correction
    np.testing.assert_array_equal(network.apply(params, *given), 0)


def test_the_formula_in_a_loop(correction):
    network, params, given = correction
    params = moved(params)
    p = {"/".join(k): np.asarray(v, float) for k, v in flatten_dict(params["params"]).items()}
    v, x, features, tau = (np.asarray(g, float) for g in given)

    def linear(name, h):
        return h @ p[f"{name}/kernel"] + p[f"{name}/bias"]

    def told(name, z, u):
        """Of values u [B, F, heads, C]."""
        k, mixed = linear(f"{name}/key", z), np.zeros_like(u)
        for head in range(u.shape[2]):
            for f in range(FRAMES):
                bias = [p[f"{name}/bias"][head, f - g + FRAMES - 1] for g in range(FRAMES)]
                a = np.exp(np.array(bias) + k[..., head])
                mixed[:, f, head] = np.einsum("bg,bgc->bc", a / a.sum(-1, keepdims=True), u[:, :, head])
        return mixed

    both = np.concatenate([v, x], -1)
    z = linear("in", np.concatenate([both, features], -1)) + linear("time", tau)
    groups = z.reshape(3, FRAMES, HEADS, -1)
    groups = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + 1e-5)
    n = groups.reshape(z.shape) * p["layer0/norm/scale"] + p["layer0/norm/bias"]
    own, u = np.split(linear("layer0/own_value", n), 2, -1)
    mixed = told("layer0/telling", n, u.reshape(3, FRAMES, HEADS, -1)).reshape(z.shape)
    inner = own + linear("layer0/told", mixed)
    z = z + linear("layer0/out", inner / (1 + np.exp(-inner)))
    filtered = told("filter", z, np.stack([both] * 4, -2))
    gain = linear("gain", z).reshape(filtered.shape)
    change = (gain * (filtered - both[..., None, :])).sum(-2)
    expected = linear("last", z) + change[..., :SIZE] + change[..., SIZE:]
    np.testing.assert_allclose(network.apply(params, *given), expected, atol=2e-4)


def of_windows(name):
    sizes = {"hidden": 512, "time_width": 128, "encoder_blocks": 1, "dropout": 0.0}
    network = ScoreMLP(**sizes, num_frames=FRAMES, frame_width=8, frame_layers=1, num_heads=2)
    return released.Spec(name=name, network=network, target="edm", context=released.load("pose17").spec.context + 3)


@pytest.mark.slow
def test_a_model_of_single_poses_becomes_one_of_windows_with_the_same_answers():
    single = released.load("pose17")
    model = load_initial("pose17", of_windows("motion"))
    shape, rng = (FRAMES, 17, 3), np.random.default_rng(0)
    told = (FRAMES, model.spec.context)
    x, value, context = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in (shape, shape, told))
    cond = Condition(value, jnp.ones(shape), context)
    t = jnp.float32(0.4)
    alone = jnp.delete(context, jnp.arange(20, 23), axis=1)  # without the person's direction and size in the image
    found, expected = model.predict_fn()(x, t, cond), single.predict_fn()(x, t, cond._replace(context=alone))
    np.testing.assert_allclose(found.x0, expected.x0, atol=1e-5)


def test_what_is_trained_has_the_ending_and_the_others_stay():
    params = random_params(of_windows("motion"))
    part, whole = part_of(params, "frames")
    assert {path[1] for path in flatten_dict(part)} == {"frames"}
    back = flatten_dict(whole(jax.tree.map(jnp.zeros_like, part)))
    for path, value in flatten_dict(params).items():
        np.testing.assert_array_equal(back[path], 0 * value if path[1] == "frames" else value)
    assert jax.tree.structure(part_of(params, "")[0]) == jax.tree.structure(params)
    refuses(r"config\.train\.only: no module's name ends with '_heads'", part_of, params, "_heads")
