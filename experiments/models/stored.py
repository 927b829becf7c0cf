"""Streams of training frames in a folder of `experiments/models/shards.py`, for `experiments.train`."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from experiments.models.job import drawn_anew
from jaxpose.base import Example, Key
from jaxpose.conditioning import MaskRates
from jaxpose.datasets.shards import Shards, open_shards
from jaxpose.examples.bodies import Bodies, People
from jaxpose.examples.clips import Clips
from jaxpose.examples.motions import motion_example
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.stored import Takes, clip_rows, frame_rows, gathered
from jaxpose.examples.views import pose_example
from jaxpose.spaces.person import Statistics
from jaxpose.training.streaming import Gathered, Stream


class Resident(NamedTuple):
    """What every device holds: sequences, and skeletons, statistics and distances without frames."""

    takes: Takes
    bodies: Bodies


def open_bodies(folder: str, view: ViewRates) -> tuple[Shards, Resident]:
    """The shards of bodies in `folder`, and what is resident.

    ValueError where they are of rotations alone, or have none and `view` draws bodies anew.
    """
    shards = open_shards(folder)
    if "joints" not in shards.maps:
        raise ValueError(f"{folder}: shards of {', '.join(shards.maps)}; needed those of bodies, with joints")
    of = lambda group, kind: kind(*(jnp.asarray(shards.resident[f"{group}.{name}"]) for name in kind._fields))  # noqa: E731
    anew = drawn_anew(view)
    if anew and "people.offsets" not in shards.resident:
        raise ValueError(f"{folder}: shards without rotations, which config.view needs; write them with this config")
    bodies = Bodies(
        jnp.zeros((0, 17, 3)),
        jnp.zeros(0),
        of("statistics", Statistics),
        people=of("people", People) if anew else None,
        apart=jnp.asarray(shards.resident["apart"]) if anew else None,
    )
    return shards, Resident(takes_of(shards), bodies)


def takes_of(shards: Shards) -> Takes:
    """The sequences of a folder."""
    return Takes(*(jnp.asarray(shards.resident[name]) for name in Takes._fields))


def frames_on_disk(shards: Shards, resident: Resident, view: ViewRates, masks: MaskRates) -> tuple[Stream, Any]:
    """The stream of single frames, and its example function."""

    def example(key: Key, data: Gathered) -> Example:
        bodies = gathered(data.resident.bodies, data.rows)
        return pose_example(key, bodies, view, masks, rows=jnp.arange(2))

    return Stream(resident, lambda key, resident: frame_rows(key, resident.takes), shards.take), example


def motions_on_disk(
    shards: Shards, resident: Resident, view: ViewRates, masks: MaskRates, num_frames: int, gap: float
) -> tuple[Stream, Any]:
    """The stream of motions, and its example function; gap: as of `motion_example`."""

    def example(key: Key, data: Gathered) -> Example:
        ends = jnp.zeros(0, jnp.int32)
        clips = Clips(gathered(data.resident.bodies, data.rows), ends, ends)
        drawn = jnp.arange(num_frames), num_frames + jnp.arange(num_frames)
        return motion_example(key, clips, view, masks, num_frames=num_frames, gap=gap, drawn=drawn)

    rows = lambda key, resident: clip_rows(key, resident.takes, num_frames)  # noqa: E731
    return Stream(resident, rows, shards.take), example
