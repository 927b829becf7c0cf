"""Values that detectors take and return.

A detector is a function from the frames of a clip, in order, to what is found in each. It keeps what it needs of
earlier frames, such as where people were, in its own generator: each call starts from nothing.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from jaxpose.geometry.skeleton import Skeleton


class Frame(NamedTuple):
    """An image of a clip: its number from 0, its time in seconds, rgb [H, W, 3] uint8, upright."""

    number: int
    seconds: float
    rgb: np.ndarray


class Found(NamedTuple):
    """The people in a frame, none where P is 0.

    xy_px: [P, K, 2] float32 pixels, x right, y down; the image covers 0 to W and 0 to H.
    confidence: [P, K] float32 in [0, 1].
    world: [P, K, 3] float32 metres in camera axes (x right, y down, z forward), origin mid hips; or None.
    evidence: [P, K, E] float32 pixels, as of `jaxpose.lift`, NaN where not known; or None.
    """

    xy_px: np.ndarray
    confidence: np.ndarray
    world: np.ndarray | None = None
    evidence: np.ndarray | None = None


class Detector(NamedTuple):
    """A detector: its name and settings in words (results of other ones are not mixed), its joint set, its function."""

    name: str
    skeleton: Skeleton
    detect: Callable[[Iterable[Frame]], Iterator[Found]]


def detected(detector: Detector, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Found]]:
    """Each frame with the people in it; frames are read as the detector asks for them."""
    asked: deque[Frame] = deque()

    def noted() -> Iterator[Frame]:
        for frame in frames:
            asked.append(frame)
            yield frame

    for people in detector.detect(noted()):
        yield asked.popleft(), people
