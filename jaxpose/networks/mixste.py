"""MixSTE: 3D joints of every frame from 2D joints of a window of frames (Zhang et al., CVPR 2022, arXiv 2203.00859).

DiffPose's context encoder for video (spec/diffpose.md, section 1.6). Attention over the joints of a frame alternates
with attention over the frames of a joint:

    h = W x + P_joint
    h = LN_s(S_n(h));  h = h + P_frame where n = 0;  h = LN_t(T_n(h))           n = 0 .. depth - 1
    pose = W LN_head(h)

    S_n, T_n    x = x + W softmax(q k' / sqrt(d)) v of LN(x);  x = x + W gelu(W LN(x))

over the joints and over the frames. LN_s, LN_t and the positions P are shared by all n.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.networks.layers import dense

_HIDDEN = -1e30  # a score whose softmax is 0; not -inf, whose gradient is NaN


class Attention(nn.Module):
    """Multi-head self-attention over the second to last axis, [..., N, C]; causal: over no later entries."""

    num_heads: int
    causal: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        width, num = x.shape[-1], x.shape[-2]
        if width % self.num_heads:
            raise ValueError(f"attention needs a width divisible by {self.num_heads} heads, got {width}")
        qkv = dense(3 * width, "qkv")(x).reshape(*x.shape[:-1], 3, self.num_heads, -1)
        # heads before entries, [..., heads, N, d]: on CPU quicker than an einsum over [..., N, heads, d]
        q, k, v = jnp.moveaxis(qkv, (-3, -2), (0, -3))
        scores = q * (width // self.num_heads) ** -0.5 @ jnp.swapaxes(k, -1, -2)
        if self.causal:
            scores = jnp.where(np.tri(num, dtype=bool), scores, _HIDDEN)
        mixed = jnp.swapaxes(jax.nn.softmax(scores) @ v, -2, -3)
        return dense(width, "out")(mixed.reshape(x.shape))


class Block(nn.Module):
    """Transformer block over the second to last axis, [..., N, C]; drop: rate of dropping a whole branch."""

    num_heads: int
    hidden: int
    drop: float = 0.0
    causal: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        def drop(branch: Array) -> Array:
            return nn.Dropout(self.drop, broadcast_dims=(-2, -1), deterministic=not train)(branch)

        attention = Attention(self.num_heads, self.causal, name="attention")
        x = x + drop(attention(_norm("attention_norm")(x)))
        hidden = nn.gelu(dense(self.hidden, "mlp_0")(_norm("mlp_norm")(x)), approximate=False)
        return x + drop(dense(x.shape[-1], "mlp_1")(hidden))


class MixSTE(nn.Module):
    """3D joints of a window of frames from their 2D joints.

    width, depth, num_heads: of the blocks, `depth` over joints and as many over frames. mlp_ratio: hidden units of a
    block's MLP, in widths. drop_path: share of a training batch that skips a branch, rising from 0 in the first
    block to this in the last. causal: frames see themselves and earlier ones, for streams, which the original lacks.
    """

    num_frames: int = 243
    num_joints: int = 17
    width: int = 512
    depth: int = 8
    num_heads: int = 8
    mlp_ratio: float = 2.0
    features_out: int = 3
    drop_path: float = 0.0
    causal: bool = False

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> tuple[Array, Array]:
        """Pose [..., F, J, features_out] and features [..., F, J, width], the last layer's input, of x [..., F, J, C].

        Raises ValueError where F or J is not the network's: a shorter clip is to be padded by the caller.
        """
        if x.ndim < 3 or x.shape[-3:-1] != (self.num_frames, self.num_joints):
            raise ValueError(
                f"MixSTE: got x of shape {x.shape}; must be [..., {self.num_frames} frames, "
                f"{self.num_joints} joints, channels], so pad or cut the clip"
            )
        joint = self.param("joint_position", nn.initializers.zeros, (self.num_joints, self.width))
        frame = self.param("frame_position", nn.initializers.zeros, (self.num_frames, self.width))
        joint_norm, frame_norm = _norm("joint_norm"), _norm("frame_norm")
        h = dense(self.width, "embed")(x) + joint
        for n in range(self.depth):
            h = joint_norm(self._block("joint", n)(h, train=train))
            h = jnp.swapaxes(h, -2, -3)
            if n == 0:
                h = h + frame
            h = frame_norm(self._block("frame", n)(h, train=train))
            h = jnp.swapaxes(h, -2, -3)
        features = _norm("head_norm", 1e-5)(h)
        return dense(self.features_out, "head")(features), features

    def _block(self, axis: str, n: int) -> Block:
        hidden = round(self.mlp_ratio * self.width)
        drop = self.drop_path * n / max(self.depth - 1, 1)
        return Block(self.num_heads, hidden, drop, self.causal and axis == "frame", name=f"{axis}{n}")


def params_from_original(
    weights: Mapping[str, np.ndarray], num_heads: int = 8
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Our parameters and the fields of `MixSTE` for the weights of the original, by their names there.

    weights: without the prefix `module.`. num_heads: cannot be seen in weights; 8 in the original. ValueError names
    what is missing, unexpected or of another shape.
    """
    depth = 0
    while f"STEblocks.{depth}.norm1.weight" in weights:
        depth += 1
    names = dict(_names(max(depth, 1)))
    missing, unexpected = sorted(names.keys() - weights.keys()), sorted(weights.keys() - names.keys())
    if missing or unexpected:
        raise ValueError(f"not the weights of MixSTE: missing {missing}, unexpected {unexpected}")
    flat = {ours: _stored(theirs, ours, weights[theirs]) for theirs, ours in names.items()}
    fields = _fields(flat, depth, num_heads)
    x = np.zeros((fields["num_frames"], fields["num_joints"], len(flat["embed", "kernel"])), np.float32)
    needed = jax.eval_shape(MixSTE(**fields).init, jax.random.key(0), x)["params"]
    needed = flax.traverse_util.flatten_dict(needed)
    for theirs, ours in names.items():
        if flat[ours].shape != needed[ours].shape:
            raise ValueError(f"{theirs}: shape {np.shape(weights[theirs])} does not fit a MixSTE of {fields}")
    return {"params": flax.traverse_util.unflatten_dict(flat)}, fields


def _stored(theirs: str, ours: tuple[str, ...], value: np.ndarray) -> np.ndarray:
    """A tensor as we store it: kernels [in, out] where a Linear has [out, in], positions without the batch axis."""
    value = np.atleast_1d(np.asarray(value, np.float32))
    if ours[-1].endswith("position"):
        if value.ndim != 3 or len(value) != 1 or not value.size:
            raise ValueError(f"{theirs}: shape {value.shape}; must be (1, joints or frames, width)")
        return value[0]
    return np.ascontiguousarray(value.T) if ours[-1] == "kernel" else value


def _fields(flat: Mapping[tuple[str, ...], np.ndarray], depth: int, num_heads: int) -> dict[str, Any]:
    num_joints, width = flat["joint_position",].shape
    return {
        "num_frames": len(flat["frame_position",]),
        "num_joints": num_joints,
        "width": width,
        "depth": depth,
        "num_heads": num_heads,
        "mlp_ratio": len(flat["joint0", "mlp_0", "bias"]) / width,
        "features_out": len(flat["head", "bias"]),
    }


def _names(depth: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The original's name of every tensor and its path in our parameters."""
    yield "Spatial_pos_embed", ("joint_position",)
    yield "Temporal_pos_embed", ("frame_position",)
    layers: list[tuple[str, tuple[str, ...]]]
    layers = [("Spatial_patch_to_embedding", ("embed",)), ("head.1", ("head",))]
    norms: list[tuple[str, tuple[str, ...]]]
    norms = [("Spatial_norm", ("joint_norm",)), ("Temporal_norm", ("frame_norm",)), ("head.0", ("head_norm",))]
    for axis, block in ((axis, n) for axis in (("STE", "joint"), ("TTE", "frame")) for n in range(depth)):
        theirs, ours = f"{axis[0]}blocks.{block}", f"{axis[1]}{block}"
        layers += [(f"{theirs}.attn.qkv", (ours, "attention", "qkv"))]
        layers += [(f"{theirs}.attn.proj", (ours, "attention", "out"))]
        layers += [(f"{theirs}.mlp.fc{n + 1}", (ours, f"mlp_{n}")) for n in range(2)]
        norms += [(f"{theirs}.norm1", (ours, "attention_norm")), (f"{theirs}.norm2", (ours, "mlp_norm"))]
    for kind, named in (("kernel", layers), ("scale", norms)):
        for original, path in named:
            yield f"{original}.weight", (*path, kind)
            yield f"{original}.bias", (*path, "bias")


def _norm(name: str, epsilon: float = 1e-6) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=epsilon, name=name)
