"""People followed from frame to frame by top-down networks, which look at one crop for each person.

Where a person was found is where the next frame is looked at. A finder, which is slower or sees less, says where people
are at first: where nobody is followed, and for others twice a second, then also in squares of 0.6 of the image's longer
side, since a finder sees the most prominent person of a square and few others. Of two people in one place the newer is
dropped. Landmarks are compared for it: people that stand side by side have crops that overlap by more than half.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxpose.app.detect.base import Found, Frame
from jaxpose.app.detect.regions import Region, tiles, whole

_AGAIN = 0.5  # seconds after which others are looked for
_SAME = 0.1  # of a crop's side: landmarks of two people that are nearer on average are of one
_NEAR = 0.15  # of a crop's side: crops whose centres are nearer are of one person


class Person(NamedTuple):
    """xy_px [K, 2], confidence [K], world [K, 3] or None; the crop for the next frame, and what else `look` keeps.

    evidence: [K, E] pixels, as in `Found`.
    """

    xy_px: np.ndarray
    confidence: np.ndarray
    world: np.ndarray | None
    region: Region
    memory: Any = None
    evidence: np.ndarray | None = None


Find = Callable[[np.ndarray, list[Region]], list[Region]]  # an image and squares of it -> crops, the surest first
Look = Callable[[Frame, Region, Any], Person | None]  # a frame, a crop, memory -> who is there


def follow(find: Find, look: Look, num_joints: int, most: int | None) -> Callable[[Iterable[Frame]], Iterator[Found]]:
    """The function of a detector. most: people at once; with 1, others are not looked for while somebody is there."""

    def detect(frames: Iterable[Frame]) -> Iterator[Found]:
        people: list[Person] = []
        looked = -np.inf
        for frame in frames:
            places: list[tuple[Region, Any]] = [(person.region, person.memory) for person in people]
            wanted = most is None or (most > 1 and len(people) < most)
            again = wanted and frame.seconds - looked >= _AGAIN
            if again or not people:
                looked = frame.seconds if again else looked
                squares = [whole(frame.rgb), *(tiles(frame.rgb) if again else ())]
                for region in find(frame.rgb, squares):
                    if not any(_near(region, other) for other, _ in places):
                        places.append((region, None))
            people = []
            for region, memory in places:
                person = look(frame, region, memory) if most is None or len(people) < most else None
                if person is not None and not any(_same(person, other) for other in people):
                    people.append(person)
            yield _found(people, num_joints)

    return detect


def _near(region: Region, other: Region) -> bool:
    return bool(np.linalg.norm(region.centre - other.centre) < _NEAR * max(region.side, other.side))


def _same(person: Person, other: Person) -> bool:
    away = np.linalg.norm(person.xy_px - other.xy_px, axis=-1).mean()
    return bool(away < _SAME * other.region.side)


def _found(people: list[Person], num: int) -> Found:
    def stacked(values: list[Any], *shape: int) -> np.ndarray:
        return np.array(values, np.float32).reshape(len(people), *shape)

    world = None if any(p.world is None for p in people) else stacked([p.world for p in people], num, 3)
    xy = stacked([p.xy_px for p in people], num, 2)
    evidence = None if any(p.evidence is None for p in people) else stacked([p.evidence for p in people], num, 1)
    return Found(xy, stacked([p.confidence for p in people], num), world, evidence)
