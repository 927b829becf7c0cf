"""Motions as a camera sees them, for a network of windows: states and conditions of F frames, in JAX.

Body, camera and detector are those of `clips.py`, one for a clip; what is hidden is hidden at four levels: all frames
(`MaskRates.pose`), a run of frames (`gap`), parts and joints through the clip.
"""

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Example, Key
from jaxpose.conditioning import MaskRates, draw_joints
from jaxpose.examples.clips import PINHOLE, Clips, seen_clip
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import observe_points
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.spaces.person import View, encode_points, encode_pose, encode_track, tell_vertical


def motion_example(
    key: Key,
    clips: Clips,
    view: ViewRates,
    masks: MaskRates,
    *,
    num_frames: int,
    gap: float,
    drawn: tuple[Array, Array] | None = None,
) -> Example:
    """A random stretch of `num_frames` = F frames: state [F, J, 3] and condition.

    gap: share of clips with a run of hidden frames. drawn: as in `seen_clip`.
    """
    clip_key, mask_key, gap_key, points_key, kind_key, told_key = jax.random.split(key, 6)
    seen = seen_clip(clip_key, clips, view, num_frames, drawn)
    shown = draw_joints(mask_key, masks, H36M_17) * draw_frames(gap_key, num_frames, gap)[:, None]
    cond, turned = encode_track(jnp.asarray(PINHOLE), seen.keypoints, seen.confidence * shown)
    if masks.depth:
        noisy, level = observe_points_of_clip(points_key, seen.x_cam, view)
        is_3d = jax.random.bernoulli(kind_key, float(masks.depth))
        straight = View(
            jnp.broadcast_to(jnp.eye(3), turned.R_view_cam.shape), jnp.zeros_like(turned.centre), 0 * turned.extent + 1
        )
        of_3d = encode_points(noisy, shown, level)
        assert of_3d.context is not None, "joints have a trust each"
        of_3d = of_3d._replace(context=jnp.concatenate([of_3d.context, jnp.zeros((num_frames, 6))], -1))
        pair = (of_3d, straight), (cond, turned)
        cond, turned = jax.tree.map(lambda a, b: jnp.where(is_3d, a, b), *pair)
    told = jax.random.bernoulli(told_key, view.told)
    cond = tell_vertical(cond, turned, jnp.where(told, seen.up_cam, 0.0))
    return Example(encode_pose(clips.bodies.statistics, turned, seen.x_cam), cond)


def draw_frames(key: Key, num_frames: int, gap: float) -> Array:
    """Which frames [F] stay: 1, or 0 in a run whose length is uniform up to all but two frames."""
    any_key, length_key, start_key = jax.random.split(key, 3)
    length = jax.random.randint(length_key, (), 1, num_frames - 1)
    start = jax.random.randint(start_key, (), 0, num_frames - length + 1)
    at = jnp.arange(num_frames)
    hidden = (at >= start) & (at < start + length) & jax.random.bernoulli(any_key, gap)
    return 1.0 - hidden


def observe_points_of_clip(key: Key, x: Array, rates: ViewRates) -> tuple[Array, Array]:
    """Noisy joints [F, 17, 3] and the noise of each [F, 17], metres; a joint has one level through the clip."""
    noise_key, level_key = jax.random.split(key)
    _, level = observe_points(level_key, x[0], rates)
    noisy = x + level[:, None] * jax.random.normal(noise_key, x.shape)
    return noisy, jnp.broadcast_to(level, x.shape[:2])
