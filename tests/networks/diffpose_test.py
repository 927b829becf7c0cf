"""DiffPose's networks as one: what each part is given, and what a model without a part says."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diffpose_models import tiny

from jaxpose.base import Condition
from jaxpose.geometry.skeleton import H36M_17, mirror, other_side

RNG = np.random.default_rng(0)


def apply(model, method, *inputs, **how):
    return jax.jit(functools.partial(model.spec.network.apply, method=method, **how))(model.params, *inputs)


def part(model, name):
    return {"params": model.params["params"][name]}


def test_a_frames_encoder_is_the_graph_network_alone():
    model, keypoints = tiny(), RNG.normal(size=(2, 17, 3))
    expected = jax.jit(model.spec.network.frame.apply)(part(model, "frame"), keypoints)
    jax.tree.map(np.testing.assert_array_equal, apply(model, "encode", keypoints), expected)


def test_video_corrects_the_poses_of_single_frames():
    """pose = frame(x) + video([x, frame(x)]), by its parts; and the features are video's."""
    model, keypoints = tiny(3), jnp.asarray(RNG.normal(size=(2, 3, 17, 3)), jnp.float32)
    single, _ = jax.jit(model.spec.network.frame.apply)(part(model, "frame"), keypoints)
    shown = jnp.concatenate([keypoints, single], -1)
    correction, features = jax.jit(model.spec.network.video.apply)(part(model, "video"), shown)
    pose, told = apply(model, "encode", keypoints)
    np.testing.assert_allclose(pose, single + correction, atol=1e-5)
    np.testing.assert_allclose(told, features, atol=1e-5)


@pytest.mark.parametrize("frames", [None, 3])
def test_a_symmetric_encoder_gives_the_mirror_image_its_mirrored_pose(frames):
    """Of which half is the plain encoder's; in training it is that alone."""
    model, x = tiny(frames, symmetric=True), RNG.normal(size=(2, 3, 17, 3)).astype(np.float32)
    turned = mirror(x[..., :2], H36M_17)
    turned = np.concatenate([turned, x[..., 2:][..., other_side(H36M_17), :]], -1)
    (pose, told), (other, _) = apply(model, "encode", x), apply(model, "encode", turned)
    np.testing.assert_allclose(mirror(other, H36M_17), pose, atol=1e-5)
    if frames is None:
        (plain, features), (plain_turned, _) = (apply(tiny(), "encode", v) for v in (x, turned))
        np.testing.assert_allclose(pose, (plain + mirror(plain_turned, H36M_17)) / 2, atol=1e-5)
        np.testing.assert_array_equal(told, features)
        np.testing.assert_array_equal(apply(model, "encode", x, train=True)[0], plain)


def test_the_denoiser_sees_its_context_and_no_mask():
    model, (x, context) = tiny(), (RNG.normal(size=(2, 17, c)).astype(np.float32) for c in (5, 21))
    t = jnp.float32(0.4)
    expected = jax.jit(model.spec.network.denoiser.apply)(
        part(model, "denoiser"), x, t, Condition(0 * x, 0 * x, context)
    )
    np.testing.assert_array_equal(apply(model, "denoise", x, t, context), expected)
