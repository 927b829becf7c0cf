"""Ambiguous 2D joints: what a detector's heatmaps say where one peak does not say it all, as Gaussians, in JAX.

A heatmap is simulated as M = 2 Gaussians of each joint. Each kind befalls its share of the clips, or of the joints:

    swap      the sides of the legs, of the arms or of both are in doubt: a second peak on the other side's joint
    occlude   a joint is hidden: a blurred peak near it, and a second one anywhere about the person
    truncate  joints beyond a border of the image: one wide peak at the border, though the joint is not there

In doubt the heavier peak has a weight w drawn from [0.5, 0.95], and is the right one with probability w: weights are
calibrated, so the best answer needs them. Keypoints are the heavier peaks, and their confidences fall by the factor w.
The rates are ours; they are not fitted to a detector.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Key
from jaxpose.diffusion.mixture import Mixture
from jaxpose.examples.detectors import runs
from jaxpose.geometry.skeleton import H36M_17, other_side
from jaxpose.spaces.keypoints import keypoint_std

_WEIGHT = (0.5, 0.95)  # of the heavier peak
_BLUR = (0.03, 0.12)  # of a hidden joint's peaks, in extents of the person
_AWAY = 0.25  # of the wrong peak of a hidden joint, in extents
_BORDER = (0.55, 0.95)  # where a border cuts, as a share of the person's extent
_WIDE = 0.15  # of a peak at the border, in extents
_UNSURE = 0.3  # the confidence there
_LEGS, _ARMS = (np.isin(np.arange(17), H36M_17.parts[i] + H36M_17.parts[i + 1]) for i in (0, 2))


class HeatmapRates(NamedTuple):
    """Shares in [0, 1]: of clips whose sides are in doubt, of joints that are hidden, of clips that a border cuts."""

    swap: float = 0.0
    occlude: float = 0.0
    truncate: float = 0.0


class Heatmaps(NamedTuple):
    """keypoints [F, J, 2] the heavier peaks, confidence [F, J], peaks [F, J, 2, 2]; doubtful [F, J]: one is not all."""

    keypoints: Array
    confidence: Array
    peaks: Mixture
    doubtful: Array


def draw_heatmaps(key: Key, keypoints: Array, confidence: Array, xy: Array, rates: HeatmapRates) -> Heatmaps:
    """Heatmaps of the F frames of a clip in the unit of detections [F, 17, 2], confidence [F, 17] and true xy.

    A joint of confidence 0 stays missing; its peaks mean nothing.
    """
    swap_key, hide_key, cut_key = jax.random.split(key, 3)
    extent = jnp.max(xy.max(-2) - xy.min(-2), -1)[:, None, None]
    std = jnp.broadcast_to(keypoint_std(jnp.concatenate([keypoints, confidence[..., None]], -1))[..., None], xy.shape)
    one = Mixture(
        jnp.broadcast_to(jnp.array([1.0, 0.0]), (*confidence.shape, 2)),
        jnp.stack([keypoints, keypoints], -2),
        jnp.stack([std, std], -2),
    )
    peaks, sure, doubtful = one, confidence, jnp.zeros(confidence.shape, bool)
    for found, where, w in (
        _swapped(swap_key, one, rates.swap),
        _hidden(hide_key, one, xy, extent, rates.occlude),
        _cut(cut_key, one, xy, extent, rates.truncate),
    ):
        peaks = jax.tree.map(
            lambda a, b, on=where: jnp.where(jnp.expand_dims(on, range(2, a.ndim)), a, b), found, peaks
        )
        sure, doubtful = jnp.where(where, w * confidence, sure), doubtful | where
    return Heatmaps(peaks.mean[..., 0, :], sure, peaks, doubtful & (confidence > 0))


def _swapped(key: Key, one: Mixture, rate: float) -> tuple[Mixture, Array, Array]:
    """Peaks of a clip whose sides are in doubt, and the wrong ones are heavier in runs of frames."""
    if_key, part_key, weight_key, wrong_key = jax.random.split(key, 4)
    part = jnp.asarray(np.stack([_LEGS, _ARMS, _LEGS | _ARMS]))[jax.random.randint(part_key, (), 0, 3)]
    w = jax.random.uniform(weight_key, minval=_WEIGHT[0], maxval=_WEIGHT[1])
    wrong = runs(wrong_key, 1 - w, one.weight.shape[:1])[:, None, None, None]
    both = (jnp.stack([x[..., 0, :], x[:, other_side(H36M_17), 0]], -2) for x in one[1:])
    mean, std = (jnp.where(wrong, x[..., ::-1, :], x) for x in both)
    weight = jnp.broadcast_to(jnp.stack([w, 1 - w]), one.weight.shape)
    where = jax.random.bernoulli(if_key, rate) & jnp.broadcast_to(part, one.weight.shape[:-1])
    return Mixture(weight, mean, std), where, w


def _hidden(key: Key, one: Mixture, xy: Array, extent: Array, rate: float) -> tuple[Mixture, Array, Array]:
    """Peaks of joints that are hidden all the time: one near the truth and one that is wrong, in either order."""
    if_key, weight_key, wrong_key, blur_key, near_key, far_key = jax.random.split(key, 6)
    joints = xy.shape[1]
    w = jax.random.uniform(weight_key, (joints,), minval=_WEIGHT[0], maxval=_WEIGHT[1])
    std = extent * jax.random.uniform(blur_key, (joints, 1), minval=_BLUR[0], maxval=_BLUR[1])
    near = xy + std * jax.random.normal(near_key, (joints, 2))
    far = near + _AWAY * extent * jax.random.normal(far_key, (joints, 2))
    wrong = jax.random.bernoulli(wrong_key, 1 - w)[:, None]
    mean = jnp.stack([jnp.where(wrong, far, near), jnp.where(wrong, near, far)], -2)
    weight = jnp.broadcast_to(jnp.stack([w, 1 - w], -1), one.weight.shape)
    where = jnp.broadcast_to(jax.random.bernoulli(if_key, rate, (joints,)), one.weight.shape[:-1])
    peaks = Mixture(weight, mean, jnp.broadcast_to(std[..., None, :], mean.shape))
    return peaks, where, jnp.broadcast_to(w, where.shape)


def _cut(key: Key, one: Mixture, xy: Array, extent: Array, rate: float) -> tuple[Mixture, Array, Array]:
    """Peaks at the border that stands still and cuts off one side of the person."""
    if_key, side_key, at_key, along_key = jax.random.split(key, 4)
    axis, sign = jnp.arange(2) == jax.random.randint(side_key, (), 0, 2), jax.random.rademacher(along_key, ())
    placed_by = sign * jnp.where(axis, xy[len(xy) // 2], 0).sum(-1)
    share = jax.random.uniform(at_key, minval=_BORDER[0], maxval=_BORDER[1])
    border = placed_by.min() + share * (placed_by.max() - placed_by.min())
    along = sign * jnp.where(axis, xy, 0).sum(-1)
    mean = jnp.where(axis, sign * border, xy)
    where = jax.random.bernoulli(if_key, rate) & (along > border)
    std = jnp.broadcast_to(_WIDE * extent, mean.shape)
    peaks = one._replace(mean=jnp.stack([mean, mean], -2), std=jnp.stack([std, std], -2))
    return peaks, where, jnp.full(where.shape, _UNSURE)
