"""Many people followed live, each by a stream of their own (`stream.py`).

A block of L frames is answered when the last of them is here, so a frame waits for L - 1 others: the latency.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Camera, Hypotheses, Key
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io.keypoints import Keypoints, rescaled
from jaxpose.io.tracking import Tracker
from jaxpose.model import Model
from jaxpose.tasks.lift import LEAST_JOINTS
from jaxpose.tasks.stream import Stream, start_stream, step_stream

LATENCY = 4  # frames that one waits for, of a model with a window
FORGET = 16  # frames after which a person who is not seen has left
_RECENT = 300  # frames that tell what this detector calls sure


class Drawer(NamedTuple):
    """A model's way to follow people.

    length: frames of a block. start: a stream for a key. step: a stream's poses of its next block.
    """

    length: int
    start: Callable[[Array], Stream]
    step: Callable[[Stream, Array, Array], tuple[Hypotheses, Stream]]


def make_drawer(
    model: Model,
    *,
    camera: Camera,
    num_hypotheses: int,
    latency: int | None = None,
    height: float | None = None,
    up: Array | None = None,
) -> Drawer:
    """The way of a model to follow people.

    camera: intrinsics [4]. latency: frames that one waits for, of a model with a window (4). height, up: as in `lift`.
    """
    longest = max(0, (model.spec.network.window or 0) - 2)
    latency = min(LATENCY, longest) if latency is None else latency
    if not 0 <= latency <= longest:
        legal = f"0 to {longest} frames" if longest else "0"
        raise ValueError(f"--latency: needed {legal} with {model.spec.name!r}, got {latency}")
    return Drawer(
        latency + 1,
        lambda key: start_stream(key, model, num_hypotheses=num_hypotheses),
        lambda stream, xy, sure: step_stream(model, stream, xy, sure, camera=camera, height=height, up=up),
    )


class Followed(NamedTuple):
    """A person in a frame: whether keypoints were seen, and mean [J, 3], radius_90 [J], root [3], samples [H, J, 3]."""

    person: int
    seen: bool
    pose: dict[str, np.ndarray]


Answer = tuple[int, list[Followed]]  # a frame's number, and the people in it


class _Person(NamedTuple):
    """Somebody's stream, keypoints [L, J, 2] and confidences [L, J] of the block, and places of frames that have them.

    first: the first frame, of which a result is given. last: the last one.
    """

    stream: Any
    xy: np.ndarray
    confidence: np.ndarray
    first: int
    last: int


class People:
    """The people of a stream of frames, block by block.

    target: the model's joints. min_confidence: of keypoints; others are hidden. most: people in a frame; None: all.
    """

    def __init__(
        self, key: Key, target: Skeleton, drawer: Drawer, *, min_confidence: float = 0.1, most: int | None = None
    ):
        self._key, self._target, self._drawer = key, target, drawer
        self._min_confidence, self._most, self._tracker = min_confidence, most, Tracker(FORGET)
        self._recent = deque[np.ndarray](maxlen=_RECENT)
        self._people: dict[int, _Person] = {}
        self._block: list[tuple[int, int]] = []  # place and number of each frame

    def take(self, place: int, number: int, kp: Keypoints | None) -> Iterator[Answer]:
        """The next frame; answers to the frames that it completes. place: in 1/30 s."""
        self._block.append((place, number))
        if kp is not None:
            xy, confidence = self._trusted(kp)
            for who, *seen in zip(self._tracker.step(place, xy, confidence).tolist(), xy, confidence, strict=True):
                person = self._people.get(who) or self._new(who, place)
                person.xy[len(self._block) - 1], person.confidence[len(self._block) - 1] = seen
                self._people[who] = person._replace(last=place)
        if len(self._block) == self._drawer.length:
            yield from self.answers()

    def answers(self) -> Iterator[Answer]:
        """An answer to each frame of the block, which may be shorter at the input's end; then the next block begins.

        Who has no finite pose, as of keypoints out of all proportion, is left out of the block.
        """
        frames: list[list[Followed]] = [[] for _ in self._block]
        for who, person in list(self._people.items()):
            if not self._block or self._block[0][0] - person.last > FORGET:
                del self._people[who]
                continue
            drawn = self._drawer.step(person.stream, jnp.asarray(person.xy), jnp.asarray(person.confidence))
            rows = list(self._rows(drawn[0]))
            if not all(np.isfinite(value).all() for row in rows for value in row.values()):
                del self._people[who]  # who is seen again begins anew
                continue
            for (place, _), people, sure, row in zip(self._block, frames, person.confidence, rows, strict=False):
                if place >= person.first:
                    people.append(Followed(who, bool(sure.any()), row))
            nothing = np.zeros_like(person.xy), np.zeros_like(person.confidence)
            self._people[who] = _Person(drawn[1], *nothing, person.first, person.last)
        for (_, number), people in zip(self._block, frames, strict=True):
            yield number, people
        self._block = []

    def _new(self, who: int, place: int) -> _Person:
        shape = self._drawer.length, len(self._target.joints)
        stream = self._drawer.start(jax.random.fold_in(self._key, who))
        return _Person(stream, np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32), place, place)

    def _trusted(self, kp: Keypoints) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints [P, J, 2] and confidences [P, J] in the model's joints, of people with enough of them."""
        confidence = np.where(kp.confidence >= self._min_confidence, kp.confidence, 0)
        self._recent.append(confidence.ravel())
        trust = rescaled(np.concatenate(self._recent))[-confidence.size :].reshape(confidence.shape)
        converted = convert_joints(jnp.asarray(kp.xy), jnp.asarray(trust), kp.skeleton, self._target)
        xy, trust = (np.asarray(x) for x in jax.device_get(converted))
        enough = np.flatnonzero((trust > 0).sum(-1) >= LEAST_JOINTS)
        surest = enough[np.argsort(-trust[enough].sum(-1), kind="stable")]
        chosen = np.sort(surest[: self._most])
        return xy[chosen], trust[chosen]

    def _rows(self, drawn: Hypotheses) -> Iterator[dict[str, np.ndarray]]:
        assert drawn.root is not None, "what is lifted has a place"
        fields = {"mean": drawn.mean, "radius_90": drawn.radius_90, "root": drawn.root.mean(0)}
        fields["samples"] = jnp.swapaxes(drawn.samples, 0, 1)
        values = jax.device_get(fields)
        for frame in range(len(values["mean"])):
            yield {name: value[frame] for name, value in values.items()}
