"""DiffPose of video as its authors trained it on Human3.6M (spec/diffpose.md, 3.1 and 3.2), for `experiments.train`.

    encoder     mean w_j |p - g|  +  1/2 mean w_j (p_t - p_{t-1})^2  +  2 mean |(p_t - p_{t-1}) - (g_t - g_{t-1})|
    diffusion   sum |e - g(sqrt(a_i) h + sqrt(1 - a_i) e, i)|^2,  h = (u, v, x, y, z),  e = s n,  i uniform in 0..50,
                and 50 - i for a second frame

p the encoder's poses, g the truth, w_j the weights of joints, n normal. u and v are the mean of a component that is
drawn for each joint by its weight, s its deviation, and 1 of x, y and z; without mixtures in the folder they are the
keypoints, and s is `loss.sigma`. The denoiser sees single frames and no context. The result is a model of DiffPose's
own kind, which `experiments.evaluate h36m` scores.

Other than in the original: the gradient of the encoder is not multiplied by its loss; a clip begins at any frame, not
at every 243rd; frames are drawn with replacement, not by epochs; the averaged weights are exported, not the last ones.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.evaluate.h36m import H36M_HEIGHTS, H36M_WIDTH
from experiments.models.job import Job
from jaxpose import model as released
from jaxpose.base import Array, Key
from jaxpose.diffusion.mixture import Mixture, draw_component, take_component
from jaxpose.geometry.camera import normalise_screen
from jaxpose.geometry.skeleton import H36M_17, mirror
from jaxpose.geometry.windows import piece_ends
from jaxpose.networks.graph import GraphDenoiser
from jaxpose.networks.mixste import MixSTE
from jaxpose.originals.convert.diffpose import Part, assemble
from jaxpose.originals.datasets.h36m import has_truth, load_frames, load_mixtures
from jaxpose.originals.recipes.diffpose import NUM_INDICES

_JOINT_WEIGHT = np.array([1, 1, 2.5, 2.5, 1, 2.5, 2.5, 1, 1, 1, 1.5, 1.5, 4, 4, 1.5, 4, 4], np.float32)


class Videos(NamedTuple):
    """N frames sorted by video and time: seen, mixtures on the screen [N, 17, M]; xyz [N, 17, 3] metres about the root.

    first, last: [N], rows at which each row's piece begins and ends.
    """

    seen: Mixture
    xyz: Array
    first: Array
    last: Array


def diffpose_h36m_job(config: ConfigDict) -> Job:
    """The run of the stage that `config.stage` names."""
    if config.stage not in ("encoder", "diffusion"):
        raise ValueError(f"config.stage: got {config.stage!r}, must be one of 'encoder', 'diffusion'")
    is_encoder, data = config.stage == "encoder", load_videos(config.data.folder, config.loss.sigma)
    network: Any = (MixSTE if is_encoder else GraphDenoiser)(**config.network)
    parts = [] if is_encoder else _encoder_of(config.train.init)
    inputs = (jnp.zeros((network.num_frames, 17, 2)),) if is_encoder else (jnp.zeros((17, 5)), jnp.float32(0))
    params = jax.jit(network.init)(jax.random.key(config.seed), *inputs)["params"]

    def export(trained: Any) -> released.Model:
        model = assemble([*parts, Part("video" if is_encoder else "denoiser", network, trained["params"])], "video")
        return dataclasses.replace(model, spec=dataclasses.replace(model.spec, name=config.name))

    example: Any = functools.partial(clip_of, num_frames=network.num_frames) if is_encoder else pair_of
    loss = functools.partial(encoder_loss if is_encoder else denoiser_loss, network)
    whole = export({"params": params})
    return Job(whole.spec, {"params": params}, whole.statistics, data, example, loss, {}, export)


def load_videos(folder: str, sigma: float) -> Videos:
    """The frames of a prepared folder that have a true pose, on the default device."""
    frames, mixtures = load_frames(folder), load_mixtures(folder)
    rows = np.flatnonzero(has_truth(frames))
    if not len(rows):
        raise ValueError(f"{folder}: no frame has a true pose; needed at least one")
    rows = rows[np.lexsort((frames.frame[rows], frames.video[rows]))]
    height = H36M_HEIGHTS[frames.camera_id[rows] % 4][:, None]
    if mixtures is None:
        uv = normalise_screen(jnp.asarray(frames.keypoints[rows][:, :, None]), H36M_WIDTH, height)
        seen = Mixture(jnp.ones(uv.shape[:-1]), uv, jnp.full(uv.shape, sigma))
    else:
        peaks = jnp.asarray(mixtures[rows])
        uv = normalise_screen(peaks[..., 1:3], H36M_WIDTH, height)
        seen = Mixture(peaks[..., 0], uv, peaks[..., 3:] * (2 / H36M_WIDTH))
    camera = frames.camera[rows]
    first, last = (jnp.asarray(x) for x in piece_ends(frames.video[rows], frames.frame[rows]))
    print(f"{len(rows)} frames of {folder}, mixtures of {seen.weight.shape[-1]}")
    return Videos(seen, jnp.asarray(camera - camera[:, :1]), first, last)


def clip_of(key: Key, data: Videos, *, num_frames: int) -> tuple[Array, Array]:
    """uv [F, 17, 2] and xyz [F, 17, 3] of a stretch of a video, half of them mirrored; its last frame is repeated."""
    row_key, flip_key = jax.random.split(key)
    row = jax.random.randint(row_key, (), 0, len(data.xyz))
    begin = jnp.maximum(jnp.minimum(row, data.last[row] - num_frames + 1), data.first[row])
    rows = jnp.minimum(begin + jnp.arange(num_frames), data.last[row])
    clip = data.seen.mean[rows, :, 0], data.xyz[rows]
    flipped = jax.random.bernoulli(flip_key)
    return tuple(jnp.where(flipped, mirror(x, H36M_17), x) for x in clip)  # type: ignore[return-value]  # two


def pair_of(key: Key, data: Videos) -> tuple[Array, Array]:
    """h [2, 17, 5] of two frames, and the scale [2, 17, 5] of their noise."""
    row_key, component_key = jax.random.split(key)
    row = jax.random.randint(row_key, (2,), 0, len(data.xyz))
    seen, xyz = jax.tree.map(lambda x: x[row], data.seen), data.xyz[row]
    uv, sigma = take_component(seen, draw_component(component_key, seen))
    return jnp.concatenate([uv, xyz], -1), jnp.concatenate([sigma, jnp.ones_like(xyz)], -1)


def encoder_loss(
    network: MixSTE, params: Any, key: Key, example: tuple[Array, Array]
) -> tuple[Array, dict[str, Array]]:
    """Of one clip; metres."""
    uv, truth = example
    pose, _ = network.apply(params, uv, train=True, rngs={"dropout": key})
    error = _length(pose - truth)
    speed, true_speed = jnp.diff(pose, axis=0), jnp.diff(truth, axis=0)
    moved = (_JOINT_WEIGHT[:, None] * jnp.square(speed)).mean()
    value = (_JOINT_WEIGHT * error).mean() + 0.5 * moved + 2 * _length(speed - true_speed).mean()
    return value, {"mpjpe_mm": 1000 * jnp.linalg.norm(pose - pose[:, :1] - truth, axis=-1).mean()}


def _length(x: Array) -> Array:
    """Lengths [...] of x [..., 3], at least a micrometre: that of 0 has no gradient."""
    return jnp.sqrt(jnp.maximum(jnp.square(x).sum(-1), 1e-12))


def denoiser_loss(network: Any, params: Any, key: Key, example: tuple[Array, Array]) -> tuple[Array, dict[str, Array]]:
    """Of two frames, at an index and at the one as far from the other end."""
    h, scale = example
    index_key, noise_key, dropout_key = jax.random.split(key, 3)
    sde = assemble([Part("denoiser", network, {})]).spec.sde()
    index = jax.random.randint(index_key, (), 0, NUM_INDICES)
    t = (jnp.stack([index, NUM_INDICES - 1 - index]) + 1) / jnp.float32(NUM_INDICES)
    e = scale * jax.random.normal(noise_key, h.shape)

    def predicted(h: Array, e: Array, t: Array, key: Key) -> Array:
        x = sde.alpha(t) * h + sde.sigma(t) * e
        return network.apply(params, x, t, train=True, rngs={"dropout": key})

    frames = zip(h, e, t, jax.random.split(dropout_key), strict=True)
    squared = jnp.square(e - jnp.stack([predicted(*frame) for frame in frames]))
    return squared.sum() / 2, {"eps_mse": squared.mean()}


def _encoder_of(path: str) -> list[Part]:
    """The encoder of the file of stage "encoder"; none without a path."""
    if not path:
        return []
    model = released.load(path)
    video = getattr(model.spec.network, "video", None)
    if model.spec.codec != "screen" or video is None:
        raise ValueError(f"{path}: needed the export of diffpose_h36m.py:encoder, got {model.spec.name!r}")
    return [Part("video", video, model.params["params"]["video"], path=str(Path(path)))]
