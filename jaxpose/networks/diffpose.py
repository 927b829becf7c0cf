"""DiffPose's two networks as one (CVPR 2023): an encoder of the 2D input, and a denoiser conditioned on its features.

    (pose, features) = encode(keypoints)                      once for an input
    raw              = denoise(x_t, t, context)               at each step, for each sample

The encoder of single frames is GraFormer; that of video is MixSTE, alone as in the original, or on top of GraFormer's
poses, which it then corrects: so it starts from the single-frame estimate and needs little training.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxpose.base import Array, Condition
from jaxpose.geometry.skeleton import H36M_17, get_skeleton, mirror, other_side
from jaxpose.networks.graph import GraFormer, GraphDenoiser
from jaxpose.networks.mixste import MixSTE

DEPTH_BINS = 64


class DiffPose(nn.Module):
    """Encoder and denoiser. frame, video: the encoder's parts. denoiser: conditioned on `context_width` numbers a
    joint.

    A part may be None: the original's checkpoints hold one each. symmetric: an encoder's pose is the mean of those of
    its input (u, v, confidence of each joint) and of the mirror image, as the paper evaluates; not in training.
    context_width: 0 for no context. With a context, the
    collection "start" holds the encoder's residual [J, 3] and histograms of depth [J, DEPTH_BINS] (tasks/diffpose.py).
    """

    frame: GraFormer | None = None
    video: MixSTE | None = None
    denoiser: GraphDenoiser | None = None
    context_width: int = 0
    symmetric: bool = False

    @nn.compact
    def __call__(self, keypoints: Array, x_t: Array, t: Array) -> None:
        """All parts once, for fresh weights."""
        if self.frame is not None or self.video is not None:
            self.encode(keypoints)
        if self.denoiser is not None:
            width = self.context_width
            self.denoise(x_t, t, jnp.zeros((*x_t.shape[:-1], width)) if width else None)
        if self.context_width:
            # what the denoiser's start is made of; measured after the encoder's training, not learned
            num = x_t.shape[-2]
            self.variable("start", "residual", jnp.ones, (num, 3))
            self.variable("start", "depth", jnp.ones, (num, DEPTH_BINS))

    @property
    def capabilities(self) -> frozenset[str]:
        """The parts it has; a "context" for the denoiser."""
        has = {
            "encoder": self.frame is not None or self.video is not None,
            "video": self.video is not None,
            "denoiser": self.denoiser is not None,
            "context": self.context_width > 0,
        }
        return frozenset(name for name, there in has.items() if there)

    @property
    def window(self) -> int | None:
        """Frames that the encoder of video sees together; None for single frames."""
        return None if self.video is None else self.video.num_frames

    def state_spread(self, spread: Any) -> Any:
        """Spread of residuals: 1."""
        return 1.0

    def example_inputs(self, shape: tuple[int, int], keypoint_width: int, context: int | None) -> tuple[Any, ...]:
        """Arguments of `init`."""
        frames = () if self.window is None else (self.window,)
        keypoints = jnp.zeros((*frames, shape[0], keypoint_width))
        return keypoints, jnp.zeros((*frames, shape[0], 5)), jnp.float32(0.5)

    def raw(self, x: Array, t: Array, cond: Condition | None) -> Array:
        """The denoiser's output at residuals x [..., J, 5], scalar t, under the condition's context [..., J, C]."""
        return self.denoise(x, t, None if cond is None else cond.context)

    def encode(self, keypoints: Array, *, train: bool = False) -> tuple[Array, Array]:
        """Pose [..., F, J, 3] and features [..., F, J, C] of keypoints [..., F, J, 2 or more]; no F without `video`."""
        if self.frame is None and self.video is None:
            raise ValueError("this DiffPose model has no encoder (frame and video are None)")
        if self.frame is None or self.video is None:
            return self.encode_part("video" if self.frame is None else "frame", keypoints, train=train)
        pose, _ = self.encode_part("frame", keypoints)
        correction, features = self.encode_part("video", jnp.concatenate([keypoints, pose], -1), train=train)
        return pose + correction, features

    def encode_part(self, part: str, x: Array, *, train: bool = False) -> tuple[Array, Array]:
        """Pose and features of the encoder "frame" or "video" alone, at inputs x [..., J, C] of its own."""
        encoder = getattr(self, part)
        pose, features = encoder(x, train=train)
        if self.symmetric and not train:
            skeleton = get_skeleton(self.frame.skeleton if self.frame else H36M_17.name)
            signs = jnp.tile(jnp.array([-1.0, 1.0, 1.0]), x.shape[-1] // 3)
            other, _ = encoder(x[..., other_side(skeleton), :] * signs)
            pose = (pose + mirror(other, skeleton)) / 2
        return pose, features

    def denoise(self, x_t: Array, t: Array, context: Array | None, *, train: bool = False) -> Array:
        """Raw output like x_t [..., J, D] at scalar t under a context [..., J, C]."""
        if self.denoiser is None:
            raise ValueError("this DiffPose model has no denoiser, an encoder alone")
        cond = None if context is None else Condition(x_t, x_t, context)
        return self.denoiser(x_t, t, cond, train=train)
