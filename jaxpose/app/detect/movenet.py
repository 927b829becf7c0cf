"""MoveNet, a network for one person, as a top-down detector of several (networks/movenet.py).

The network finds people by itself: it reads the most prominent person of a square of the image. The next crop is about
the middle of the hips, as the network's authors cut it,

    side = 2 max(1.9 of the farthest shoulder or hip, 1.2 of the farthest joint)     in x or y, of joints with _SEEN

A person is there where a shoulder and a hip are seen, and the joints' mean score is at least _PRESENT.
"""

from collections.abc import Callable

import numpy as np

from jaxpose.app.detect.base import Detector, Frame
from jaxpose.app.detect.people import Person, Region, crop, follow, to_image
from jaxpose.geometry.skeleton import COCO_17

Read = Callable[[np.ndarray], np.ndarray]  # crops [B, 256, 256, 3] -> x, y in shares of the crop and score [B, 17, 3]

_SIDE = 256
_SEEN, _PRESENT = 0.2, 0.3
_SHOULDERS = [COCO_17.joints.index(f"{side}_shoulder") for side in ("left", "right")]
_HIPS = [COCO_17.joints.index(f"{side}_hip") for side in ("left", "right")]


def movenet(read: Read, *, people: int | None = None) -> Detector:
    """The detector with this network. people: the most that are followed; None all."""

    def seen(rgb: np.ndarray, regions: list[Region]) -> list[Person | None]:
        crops = np.stack([cut(rgb, region) for region in regions])
        return [person_of(region, joints) for region, joints in zip(regions, read(crops), strict=True)]

    def find(rgb: np.ndarray, squares: list[Region]) -> list[Region]:
        there = [person for person in seen(rgb, squares) if person is not None]
        return [person.region for person in sorted(there, key=lambda person: -person.confidence.mean())]

    def look(frame: Frame, region: Region, memory: None) -> Person | None:
        return seen(frame.rgb, [region])[0]

    return Detector(
        f"movenet-thunder, people {people or 'all'}", COCO_17, follow(find, look, len(COCO_17.joints), people)
    )


def person_of(region: Region, joints: np.ndarray) -> Person | None:
    """The person whose joints [17, 3] (x, y in shares of the region, score) were read; None where nobody is."""
    xy, score = to_image(region, joints[:, :2]), joints[:, 2]
    sure = score >= _SEEN
    if not (sure[_SHOULDERS].any() and sure[_HIPS].any() and score.mean() >= _PRESENT):
        return None
    centre = xy[_HIPS].mean(0)
    away = np.abs(xy - centre).max(-1) * sure
    half = max(1.9 * away[_SHOULDERS + _HIPS].max(), 1.2 * away.max(), 1.0)
    return Person(xy, score, None, Region(centre, 2 * float(half), 0.0))


def cut(rgb: np.ndarray, region: Region) -> np.ndarray:
    """The crop [256, 256, 3] that the network reads: its pixel k covers k to k + 1 of it, as TensorFlow cuts images."""
    shifted = region._replace(centre=region.centre + (region.side / _SIDE - 1) / 2)
    return crop(rgb, shifted, _SIDE, extend=False)
