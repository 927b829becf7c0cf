"""MoveNet Thunder: the 17 joints of COCO of one person in a crop (Votel and Li, Google, 2021; its model card).

A MobileNet v2 of width 1.75 (Sandler et al. 2018), a feature pyramid down to a quarter of the resolution (Lin et al.
2017), and four heads as CenterNet's (Zhou et al. 2019), on cells of 4 pixels:

    center [64, 64, 1]                  logits of a person's middle
    keypoint_heatmap [64, 64, 17]       logits of each joint, of any person
    keypoint_regression [64, 64, 34]    (y, x) of each joint from the cell of its person's middle, in cells
    keypoint_offset [64, 64, 34]        (y, x) of each joint from the corner of its cell, in cells

The person is the one whose middle is likely and near the crop's. A joint is where its heatmap, over its distance from
where the regression puts it, is largest. Distances are in cells, plus 1.8. Weights are those of the TensorFlow.js file,
whose names of layers are this module's.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.compiled import filled, size_for

SIDE, CELLS = 256, 64  # of a crop in pixels, of a heatmap in cells
HEADS = {"center": 1, "keypoint_heatmap": 17, "keypoint_regression": 34, "keypoint_offset": 34}
# Channels, blocks and the stride of the first block, of each stage; the stages that the pyramid takes, finest last.
_STAGES = ((32, 1, 1), (40, 2, 2), (56, 3, 2), (112, 4, 2), (168, 3, 1), (280, 3, 2), (560, 1, 1))
_PYRAMID = ((112, 64, 32), (56, 32, 24), (40, 24, 24))  # channels of the stage, as it is added, after it
_NEAR = 1.8  # cells, added to distances
# Layers in names of weights such as StatefulPartitionedCall/kpt_heatmap_0/separable_conv2d_4/BiasAdd/ReadVariableOp.
_LAYER = re.compile(r"/(Conv_?1|block_\w+|expanded_conv_\w+|(?:separable_)?conv2d\w*)/")


class Depthwise(nn.Module):
    """A convolution 3 x 3 of each channel by itself, with the parameters of `nn.Conv`.

    On a CPU it is a sum of nine products: with XLA's own the network takes 131 ms a crop in place of 22 (JAX 0.10.2).
    """

    stride: int = 1
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """x [B, h, w, C], h and w even -> [B, h / stride, w / stride, C]."""
        _, height, width, channels = x.shape
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (3, 3, 1, channels))
        bias = self.param("bias", nn.initializers.zeros, (channels,)) if self.use_bias else 0
        if jax.default_backend() != "cpu":
            how: dict[str, Any] = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "feature_group_count": channels}
            return jax.lax.conv_general_dilated(x, kernel, (self.stride,) * 2, "SAME", **how) + bias
        margin = (2 - self.stride, 1)  # of "SAME", for even sizes
        x = jnp.pad(x, ((0, 0), margin, margin, (0, 0)))
        shifted = lambda i, j: x[:, i : i + height : self.stride, j : j + width : self.stride]  # noqa: E731
        return sum((shifted(i, j) * kernel[i, j, 0] for i in range(3) for j in range(3)), start=jnp.asarray(bias))


class MoveNet(nn.Module):
    """The network, from crops to its heads."""

    @nn.compact
    def __call__(self, rgb: Array) -> dict[str, Array]:
        """rgb [B, 256, 256, 3] from 0 to 255 -> HEADS, each [B, 64, 64, channels]."""
        x, scales = self._conv(rgb / 127.5 - 1, 56, "Conv1", size=3, stride=2), {}
        x = _relu6(x)
        blocks = [(width, stride if n == 0 else 1) for width, num, stride in _STAGES for n in range(num)]
        for i, (width, stride) in enumerate(blocks):
            name = f"block_{i}" if i else "expanded_conv"
            y = _relu6(self._conv(x, 6 * x.shape[-1], f"{name}_expand")) if i else x
            y = _relu6(Depthwise(stride, name=f"{name}_depthwise")(y))
            y = self._conv(y, width, f"{name}_project")
            x = scales[width] = x + y if x.shape == y.shape else y
        x = self._conv(_relu6(self._conv(x, 1280, "Conv_1")), 64, "conv2d")
        for k, (channels, added, after) in enumerate(_PYRAMID):
            size = (*scales[channels].shape[:3], added)
            x = jax.image.resize(x, size, "bilinear") + self._conv(scales[channels], added, f"conv2d_{k + 1}")
            x = self._separable(x, after, f"separable_conv2d_{k}" if k else "separable_conv2d")
        deep = {name: self._separable(x, 96, f"separable_conv2d_{k + 3}") for k, name in enumerate(HEADS)}
        return {name: self._conv(deep[name], HEADS[name], f"conv2d_{k + 4}") for k, name in enumerate(HEADS)}

    def _conv(self, x: Array, features: int, name: str, *, size: int = 1, stride: int = 1) -> Array:
        return nn.Conv(features, (size, size), stride, name=name)(x)

    def _separable(self, x: Array, features: int, name: str) -> Array:
        return nn.relu(self._conv(Depthwise(use_bias=False, name=f"{name}_depthwise")(x), features, name))


def _relu6(x: Array) -> Array:
    return jnp.clip(x, 0, 6)


def joint_maps(heads: dict[str, Array]) -> Array:
    """The maps [B, 64, 64, 17], of values in (0, 1), whose peaks are the person's joints; of the heads."""
    centre, heatmap = nn.sigmoid(heads["center"]), nn.sigmoid(heads["keypoint_heatmap"])
    cells = np.stack(np.meshgrid(np.arange(CELLS), np.arange(CELLS), indexing="ij"), -1).astype(np.float32)
    middle = _peak(centre / (np.linalg.norm(cells - CELLS / 2, axis=-1, keepdims=True) + _NEAR))  # [B, 1, 2]
    expected = middle + _at(_pairs(heads["keypoint_regression"]), middle)[:, 0]
    return heatmap / (jnp.linalg.norm(cells[:, :, None] - expected[:, None, None], axis=-1) + _NEAR)


def decode(heads: dict[str, Array]) -> Array:
    """The person's joints [B, 17, 3] of the heads: x and y in shares of the crop, score in [0, 1]."""
    place, joints = _peak(joint_maps(heads)), np.arange(HEADS["keypoint_heatmap"])
    yx = (place + _at(_pairs(heads["keypoint_offset"]), place)[:, joints, joints]) / CELLS
    score = nn.sigmoid(_at(heads["keypoint_heatmap"], place)[:, joints, joints, None])
    return jnp.concatenate([yx[..., ::-1], score], -1)


def keypoints(params: Any, image: Array, box: Array) -> tuple[Array, Array]:
    """Joints [17, 2] px and confidences [17] of the person in a box, of COCO's joints; for `jit`, `vmap` and `grad`.

    params: of `params_of`. image: [H, W, 3] from 0 to 255. box: [4] px, its left and upper edge, width and height. The
    network sees the square about it, 1.25 times as wide as the longer side, black outside of the image. Derivatives by
    pixels are those with the cells of the joints kept.
    """
    box = jnp.asarray(box, jnp.float32)
    side, corner = 1.25 * box[2:].max(), box[:2] + box[2:] / 2 - 0.625 * box[2:].max()
    # pixel k of the image and of the crop reaches from k to k + 1
    x, y = corner[:, None] + side * (jnp.arange(SIDE) + 0.5) / SIDE - 0.5
    places = jnp.meshgrid(y, x, indexing="ij")
    channels = jnp.moveaxis(jnp.asarray(image, jnp.float32), -1, 0)
    crop = jnp.stack([jax.scipy.ndimage.map_coordinates(c, places, 1) for c in channels], -1)
    joints = decode(MoveNet().apply(params, crop[None]))[0]  # type: ignore[arg-type]  # a dictionary of arrays
    return corner + side * joints[:, :2], joints[:, 2]


def _peak(maps: Array) -> Array:
    """The cell (row, column) of the largest of maps [B, h, w, K] -> [B, K, 2]."""
    flat = maps.reshape(len(maps), -1, maps.shape[-1]).argmax(1)
    return jnp.stack(jnp.unravel_index(flat, maps.shape[1:3]), -1)


def _at(maps: Array, place: Array) -> Array:
    """Values [B, K, ...] of maps [B, h, w, ...] in the cells place [B, K, 2]."""
    return maps[np.arange(len(maps))[:, None], place[..., 0], place[..., 1]]


def _pairs(maps: Array) -> Array:
    return maps.reshape(*maps.shape[:-1], -1, 2)


def params_of(graph: bytes, content: bytes) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """The parameters of `MoveNet`, of the two TensorFlow.js files: graph (.json) and weights (.bin, half precision)."""
    params: dict[str, dict[str, np.ndarray]] = {}
    start = 0
    for entry in json.loads(graph)["weightsManifest"][0]["weights"]:
        kind = np.dtype("<f2" if "quantization" in entry else "<i4")
        weight = np.frombuffer(content, kind, int(np.prod(entry["shape"])), start).reshape(entry["shape"])
        start += weight.nbytes
        layer = _LAYER.search(entry["name"])
        if layer is None or kind != "<f2":
            continue  # a constant of the decoding
        name, depthwise = layer[1], weight.ndim == 4 and weight.shape[::3] == (3, 1)
        if depthwise:
            name, weight = name.removesuffix("_depthwise") + "_depthwise", weight.swapaxes(2, 3)
        params.setdefault(name, {})["bias" if weight.ndim == 1 else "kernel"] = weight.astype(np.float32)
    return {"params": params}


def reader(params: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The network and its decoding as one function of numpy arrays: crops [B, 256, 256, 3] -> joints [B, 17, 3].

    On a CPU crops go one by one, which is quicker than together.
    """
    program = jax.jit(lambda params, rgb: decode(MoveNet().apply(params, rgb)))  # type: ignore[arg-type]  # a tree of arrays
    params = jax.device_put(params)

    def read(crops: np.ndarray) -> np.ndarray:
        if jax.default_backend() == "cpu":
            return np.concatenate([program(params, crop[None]) for crop in crops])
        return np.asarray(program(params, filled(crops, len(crops), size_for(len(crops)))))[: len(crops)]

    return read
