"""MixSTE against the original's recorded output, and the laws of its attention."""

import functools

import jax
import numpy as np
import pytest
from shared import GOLDEN

from jaxpose.io.untrusted.torch_file import read_torch
from jaxpose.networks.mixste import MixSTE, params_from_original
from jaxpose.originals.convert.checkpoint import raw_weights

ORIGINAL = GOLDEN / "diffpose/mixste_small.bin"

FRAMES, JOINTS = 5, 4
SMALL = MixSTE(FRAMES, JOINTS, width=8, depth=2, num_heads=2)
APPLY = jax.jit(SMALL.apply)


@pytest.fixture(scope="module")
def weights():
    return raw_weights(read_torch(ORIGINAL))


@pytest.fixture(scope="module")
def golden():
    return np.load(ORIGINAL.with_suffix(".npz"))


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).normal(size=(2, 3, FRAMES, JOINTS, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def params(clips):
    """Parameters away from their start, where positions are 0 and norms do not scale."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(SMALL.init, jax.random.key(1), clips)
    return jax.tree.map(lambda a: rng.normal(0, 0.6, a.shape).astype(np.float32), shapes)


def test_output_of_the_original(weights, golden):
    params, fields = params_from_original(weights)
    assert fields == {
        "num_frames": 9,
        "num_joints": 17,
        "width": 32,
        "depth": 3,
        "num_heads": 8,
        "mlp_ratio": 2.0,
        "features_out": 3,
    }
    pose, features = jax.jit(MixSTE(**fields).apply)(params, golden["x"])
    np.testing.assert_allclose(pose, golden["y"], atol=2e-5, rtol=0)
    head = {name: weights[f"head.1.{name}"].astype(np.float64) for name in ("weight", "bias")}
    np.testing.assert_allclose(features @ head["weight"].T + head["bias"], golden["y"], atol=2e-5, rtol=0)


def test_only_a_causal_network_is_blind_to_later_frames(params, clips):
    frame = 3
    changed = clips.copy()
    changed[..., frame, :, 0] += 1
    for causal, apply in ((True, jax.jit(SMALL.clone(causal=True).apply)), (False, APPLY)):
        for before, after in zip(apply(params, clips), apply(params, changed), strict=True):
            moved = np.abs(np.subtract(after, before)).max((0, 1, 3, 4))
            assert (moved[frame:] > 1e-3).all()
            assert (moved[:frame] == 0).all() if causal else (moved[:frame] > 1e-3).all()


def test_leading_axes_are_free(params, clips):
    together = APPLY(params, clips)
    for index in np.ndindex(clips.shape[:2]):
        for all_of_them, alone in zip(together, APPLY(params, clips[index]), strict=True):
            np.testing.assert_allclose(all_of_them[index], alone, atol=1e-5)


def test_joints_are_told_apart_and_frames_too(params, clips):
    """Without its position a joint is as good as another: outputs move with the inputs. With it, they do not."""
    plain = {"params": dict(params["params"])}
    plain["params"] |= {f"{axis}_position": np.zeros((n, 8)) for axis, n in (("joint", 4), ("frame", 5))}
    for axis in (-2, -3):
        rolled = np.roll(clips, 1, axis)
        np.testing.assert_allclose(APPLY(plain, rolled)[0], np.roll(APPLY(plain, clips)[0], 1, axis), atol=1e-5)
        assert np.abs(APPLY(params, rolled)[0] - np.roll(APPLY(params, clips)[0], 1, axis)).max() > 1e-2


def test_dropped_paths_skip_whole_branches_of_later_blocks_in_training_only(params, clips):
    """At rate 1 the last block of each axis is skipped and the first never: what is left is two blocks and norms."""
    network = SMALL.clone(drop_path=1.0)
    rngs = {"dropout": jax.random.key(3)}
    dropped = jax.jit(functools.partial(network.apply, train=True))(params, clips, rngs=rngs)[0]
    skipped = {"params": dict(params["params"])}
    for name in ("joint1", "frame1"):
        block = dict(skipped["params"][name])
        block["attention"] = block["attention"] | {"out": jax.tree.map(np.zeros_like, block["attention"]["out"])}
        block["mlp_1"] = jax.tree.map(np.zeros_like, block["mlp_1"])
        skipped["params"][name] = block
    np.testing.assert_allclose(dropped, APPLY(skipped, clips)[0], atol=1e-5)
    np.testing.assert_array_equal(jax.jit(network.apply)(params, clips)[0], APPLY(params, clips)[0])
