"""GFPose's residual score network (CVPR 2023; spec/gfpose.md, section 1), with an explicit observation mask.

    tau = SiLU(W_te emb(time_units t))                          shared by all layers, depends on t alone
    kap = encoder(condition features)                           shared by all layers
    h   = drop SiLU GN(A0 x + T0 tau + C0 kap)
    h   = h + f(f(h)),  f(h) = drop SiLU GN(A h + T tau + C kap)      num_blocks times
    out = A_out h

The condition enters as (value, mask, context). With `difference` mask (x - value) enters too, GFPose's form of the
condition; the branch then depends on x. Without it, under a vmap over hypotheses, XLA evaluates it once per pose. The
original itself is `explicit=False, difference=True, time_units=999`: a hidden coordinate is then a difference of 0,
which an observed one that agrees with x has as well.

DPoser's network (spec/dposer.md, section 1) is the one without a condition, `time_units=999, ve_output_scale=True`:

    out = A_out h / s_k,    k = floor(time_units t),    s_k = 50 (0.01 / 50)^(k / 999),    k = 0..999

The s_k are the noise levels of a variance-exploding process from t = 1 to 0, although its own is sub-VP. DPoser's
weights need this.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Condition
from jaxpose.networks.frames import Correction
from jaxpose.networks.layers import CentredDense, GroupNorm, dense, silu, silu_for_reverse, sinusoidal_embedding

_VERTICAL, _PATH = 3, 3  # numbers of a window's context: upward direction; the person's direction and log extent
_VE_SIGMAS = np.geomspace(50, 0.01, 1000).astype(np.float32)  # spec/dposer.md, section 1


class ScoreMLP(nn.Module):
    """Residual MLP over flattened poses.

    hidden, time_width, condition_width: widths; None: the condition branch is as wide as `hidden`. num_blocks: residual
    blocks of two layers. encoder_blocks: residual blocks in the condition branch beyond its first layer. difference:
    mask * (x - value) is an input too. explicit: value, mask and context are inputs; without it the difference is the
    only input, and no condition equals a difference of 0.
    time_units: t = 1 in the units of the time embedding, whose frequencies are made for about a thousand steps.
    ve_output_scale: divide the output by DPoser's table of noise levels (see above), for its weights alone.
    num_frames: of a window of poses [..., F, J, D], whose single outputs are corrected by what the frames exchange
    (`frames.Correction`: `frame_layers` of `frame_width` numbers in `num_heads` heads); None: single poses.
    """

    hidden: int = 1024
    time_width: int = 512
    num_blocks: int = 2
    encoder_blocks: int = 0
    dropout: float = 0.25
    num_groups: int = 32
    difference: bool = False
    explicit: bool = True
    time_units: float = 1000.0
    ve_output_scale: bool = False
    condition_width: int | None = None
    num_frames: int | None = None
    frame_width: int = 256
    frame_layers: int = 6
    num_heads: int = 8

    @nn.compact
    def __call__(self, x: Array, t: Array, cond: Condition | None = None, *, train: bool = False) -> Array:
        """Raw output shaped like x [..., J, D] for a scalar t and a condition whose leading axes broadcast to x's."""
        tau = silu(dense(self.time_width, "time")(sinusoidal_embedding(self.time_units * t, self.time_width)))
        kap = None if cond is None and self.explicit else self._encode(x, cond, train)

        def layer(h: Array, name: str) -> Array:
            shared = self._linear(f"{name}_time")(tau)
            if kap is not None:
                shared = shared + self._linear(f"{name}_cond")(kap)
            return self._activate(self._linear(name)(h) + shared, name, train)

        h = layer(_flatten(x), "pre")
        for block in range(self.num_blocks):
            h = h + layer(layer(h, f"block{block}_0"), f"block{block}_1")
        out = dense(x.shape[-1] * x.shape[-2], "post")(h)
        if self.num_frames is not None:
            assert cond is not None, "a network of windows is told of tracks"
            assert cond.context is not None, "a track has a context"
            first, path, evidence = _parts(x, cond.context)
            parts = [self._features(x, cond._replace(context=first)), _about_window(path), evidence]
            features = jnp.concatenate(parts, -1)
            features = jnp.concatenate([h, jnp.broadcast_to(features, (*h.shape[:-1], features.shape[-1]))], -1)
            correction = Correction(self.num_frames, self.frame_width, self.frame_layers, self.num_heads, name="frames")
            out = out + correction(out, _flatten(x), features, tau)
        out = out.reshape(x.shape)
        return out / self._level(t).astype(out.dtype) if self.ve_output_scale else out

    raw = __call__  # what the training target is of

    @property
    def capabilities(self) -> frozenset[str]:
        """As in `networks`."""
        return frozenset({"condition", "motion" if self.num_frames else "score"})

    @property
    def window(self) -> int | None:
        """Frames that it sees together, None for single poses."""
        return self.num_frames

    def state_spread(self, spread: Any) -> Any:
        """Spread of states."""
        return spread

    def example_inputs(self, shape: tuple[int, int], keypoint_width: int, context: int | None) -> tuple[Any, ...]:
        """Arguments of `init`."""
        lead = () if self.num_frames is None else (self.num_frames,)
        pose, t = jnp.zeros((*lead, *shape)), jnp.float32(0.5)
        if context is None:
            return pose, t
        return pose, t, Condition(pose, pose, jnp.zeros((*lead, context)) if context else None)

    def _level(self, t: Array) -> Array:
        """DPoser's s_k; beyond the table, where the original fails or wraps around, its ends."""
        index = jnp.floor(self.time_units * t).astype(int)
        return jnp.asarray(_VE_SIGMAS)[jnp.clip(index, 0, len(_VE_SIGMAS) - 1)]

    def _encode(self, x: Array, cond: Condition | None, train: bool) -> Array:
        width = self.condition_width or self.hidden
        kap = silu(dense(width, "cond")(self._features(x, cond)))
        for block in range(self.encoder_blocks):
            r = self._activate(self._linear(f"encoder{block}_0", width)(kap), f"encoder{block}_0", train)
            r = self._activate(self._linear(f"encoder{block}_1", width)(r), f"encoder{block}_1", train)
            kap = kap + r
        return kap

    def _features(self, x: Array, cond: Condition | None) -> Array:
        if not self.explicit:
            if not self.difference:
                raise ValueError("ScoreMLP: explicit=False shows the condition by difference=True alone, got False")
            # without leading axes: the branch is then computed once for all poses
            null = jnp.zeros(x.shape[-2:], x.dtype)
            return _flatten(null if cond is None else cond.mask * (x - cond.value))
        assert cond is not None  # `__call__` has no branch then
        features = [_flatten(cond.value * cond.mask), _flatten(cond.mask)]
        if cond.context is not None:
            features += [cond.context] if self.num_frames is None else _parts(x, cond.context)[::2]
        if self.difference:
            shown = _flatten(cond.mask * (x - cond.value))
            features = [jnp.broadcast_to(f, (*shown.shape[:-1], f.shape[-1])) for f in features] + [shown]
        return jnp.concatenate(features, -1)

    def _linear(self, name: str, width: int | None = None) -> CentredDense:
        """A layer whose output, alone or in a sum with others, goes to `_activate`: GN's means are taken off before."""
        return CentredDense(width or self.hidden, self.num_groups, name=name)

    def _activate(self, h: Array, name: str, train: bool) -> Array:
        h = GroupNorm(self.num_groups, centred=True, name=f"{name}_norm")(h, train=train)
        h = (silu_for_reverse if train else silu)(h)
        return nn.Dropout(self.dropout, deterministic=not train)(h)


def _parts(x: Array, context: Array) -> list[Array]:
    """The context of a window of states x [..., F, J, D]: of joints and vertical; the path; evidence."""
    start = x.shape[-2] + _VERTICAL
    return [context[..., :start], context[..., start : start + _PATH], context[..., start + _PATH :]]


def _flatten(x: Array) -> Array:
    return x.reshape(*x.shape[:-2], -1)


def _about_window(path: Array) -> Array:
    """The person's direction and log extent [..., F, 3] relative to their means over the window.

    Direction in extents about the window's middle, logarithm about its mean, over frames that have them; else 0.
    """
    known = (path != 0).any(-1, keepdims=True)
    mean = path.sum(-2, keepdims=True) / jnp.maximum(known.sum(-2, keepdims=True), 1)
    away = (path - mean) * jnp.concatenate([jnp.exp(-mean[..., 2:])] * 2 + [jnp.ones_like(mean[..., 2:])], -1)
    return jnp.where(known, away, 0)
