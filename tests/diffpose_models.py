"""A tiny DiffPose model with random weights: right in all shapes, knows nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose import model as released
from jaxpose.base import Condition
from jaxpose.networks.diffpose import DEPTH_BINS, DiffPose
from jaxpose.networks.graph import GraFormer, GraphDenoiser
from jaxpose.networks.mixste import MixSTE
from jaxpose.spaces.person import Statistics


@functools.cache
def tiny(video_frames: int | None = None, symmetric: bool = False) -> released.Model:
    """Of single frames, or of windows of `video_frames`."""
    width = 8
    part = {"width": width, "depth": 1, "num_heads": 2, "dropout": 0.0}
    video = video_frames and MixSTE(num_frames=video_frames, width=width, depth=1, num_heads=2)
    network = DiffPose(GraFormer(**part), video or None, GraphDenoiser(**part), width + 13, symmetric)
    spec = released.Spec(
        "tiny", network, target="edm", num_steps=3, eta=0.0 if video else 1.0, scale="nothing: random weights"
    )
    start = {"residual": jnp.full((17, 3), 0.2), "depth": jnp.full((17, DEPTH_BINS), 1 / DEPTH_BINS)}
    params = {**released.init_params(jax.random.key(0), spec), "start": start}
    statistics = Statistics(jnp.zeros((17, 3)), jnp.full((17, 3), 0.25), jnp.ones((17, 3)))
    return released.Model(params, statistics, spec)


def condition(num: int, seed: int = 0, hidden: tuple[int, ...] = ()) -> Condition:
    """Random 2D conditions of `num` poses; hidden: joints that are not seen."""
    rng = np.random.default_rng(seed)
    value = rng.normal(size=(num, 17, 3)).astype(np.float32) * [1, 1, 0]
    mask = np.ones((num, 17, 3), np.float32) * [1, 1, 0]
    mask[:, list(hidden)] = 0
    trust = rng.uniform(0.3, 0.9, (num, 17)).astype(np.float32) * mask[..., 0]
    return Condition(*(jnp.asarray(x, jnp.float32) for x in (value * mask, mask, trust)))
