"""Training examples of frames on disk (datasets/shards.py): which rows an example has, and the example of these rows.

    sequence s  with probability w_s      frame  uniform over the sequence's

A row is drawn in two steps, since one uniform number in single precision has 2^24 values, and a folder may have more
rows. The examples are those of the frames in memory (views.py, clips.py, motions.py), of other draws.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Key
from jaxpose.examples.bodies import Bodies

_ROWS = 1 << 30  # folds the key of the rows apart from the keys that the examples split


class Takes(NamedTuple):
    """Sequences on disk: first row `start` and `length` [S], running sum [S] of their weights."""

    start: Array
    length: Array
    cumulative: Array


def draw_place(key: Key, takes: Takes) -> tuple[Array, Array]:
    """(sequence, frame in it)."""
    take_key, frame_key = jax.random.split(key)
    u = jax.random.uniform(take_key) * takes.cumulative[-1]
    s = jnp.minimum(jnp.searchsorted(takes.cumulative, u, side="right"), len(takes.length) - 1)
    return s, jax.random.randint(frame_key, (), 0, takes.length[s])


def frame_rows(key: Key, takes: Takes) -> Array:
    """Rows [2] of a frame and of another."""
    places = jax.vmap(draw_place, (0, None))(jax.random.split(jax.random.fold_in(key, _ROWS)), takes)
    return takes.start[places[0]] + places[1]


def clip_rows(key: Key, takes: Takes, num_frames: int) -> Array:
    """Rows [2 F] of a clip around a frame, forwards or backwards, and of another; ends are repeated."""

    def one(key: Key) -> Array:
        place_key, turn_key = jax.random.split(key)
        s, middle = draw_place(place_key, takes)
        wanted = middle + jax.random.rademacher(turn_key, ()) * (jnp.arange(num_frames) - num_frames // 2)
        return takes.start[s] + jnp.clip(wanted, 0, takes.length[s] - 1)

    return jax.vmap(one)(jax.random.split(jax.random.fold_in(key, _ROWS))).reshape(-1)


def gathered(bodies: Bodies, rows: Mapping[str, Array]) -> Bodies:
    """Bodies whose frames are the rows that one example has, numbered from 0."""
    return bodies._replace(joints=rows["joints"], carriers=rows.get("carriers"), person=rows.get("person"))
