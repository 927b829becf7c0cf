"""People followed from frame to frame by top-down networks, which look at one crop for each person.

Where a person was found is where the next frame is looked at. A finder, which is slower or sees less, says where people
are at first: where nobody is followed, and for others twice a second, then also in squares of 0.6 of the image's longer
side, since a finder sees the most prominent person of a square and few others. Of two people in one place the newer is
dropped. Landmarks are compared for it: people that stand side by side have crops that overlap by more than half.

Crops are turned squares of an image:

    image = centre + side R(angle) (crop - 1/2)        crop in [0, 1]^2, x right, y down

A crop's pixel (i, j) is the image's value at crop = (j, i) / size, pixel k of the image being at k, bilinear in steps
of 1/32 pixel and rounded: OpenCV's `warpPerspective` of 8 bits, which MediaPipe's networks see. Half a pixel more or
less moves what they find by several pixels.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxpose.app.detect.base import Found, Frame

# Pixels of the longer side of small pictures, and of blocks of these; grey levels of a block that has texture.
_SMALL, _BLOCK, _TEXTURE = 288, 48, 4.0


class Region(NamedTuple):
    """A square: centre [2] pixels, side pixels, angle in radians from the image's x axis towards its y axis."""

    centre: np.ndarray
    side: float
    angle: float


def whole(rgb: np.ndarray) -> Region:
    """The square about an image [H, W, 3], as wide as its longer side."""
    height, width = rgb.shape[:2]
    return Region(np.array([width, height]) / 2, float(max(width, height)), 0.0)


def tiles(rgb: np.ndarray) -> list[Region]:
    """Squares of 0.6 of the longer side, three along each side that is longer than that: they overlap by a half."""
    height, width = rgb.shape[:2]
    side = 0.6 * max(width, height)
    x, y = (np.linspace(side / 2, size - side / 2, 3) if size > side else [size / 2] for size in (width, height))
    return [Region(np.array([u, v]), side, 0.0) for v in y for u in x]


def to_image(region: Region, points: np.ndarray) -> np.ndarray:
    """Pixels of points [..., 2] given in shares of the region's side."""
    return region.centre + region.side * (points - 0.5) @ turn(region.angle).T


def turn(angle: float) -> np.ndarray:
    """The rotation matrix [2, 2] from x towards y."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def background_shift(before: np.ndarray, after: np.ndarray, people: np.ndarray) -> float:
    """How far the background moved between two images [H, W, 3], as a share of the longer side; NaN: it cannot be told.

    people: [P, 4] px, left, top, right, bottom of boxes that are left out. Blocks of small pictures are compared by
    phase correlation (Kuglin and Hines 1975), and the median is taken where most blocks agree within a cell.
    """
    step = -(-max(before.shape[:2]) // _SMALL)
    first, second = (x[::step, ::step].mean(-1) for x in (before, after))
    shifts, window = [], np.outer(np.hanning(_BLOCK), np.hanning(_BLOCK))
    for top in range(0, first.shape[0] - _BLOCK + 1, _BLOCK // 2):
        for left in range(0, first.shape[1] - _BLOCK + 1, _BLOCK // 2):
            low, high = step * np.array([left, top]), step * (np.array([left, top]) + _BLOCK)
            a, b = (x[top : top + _BLOCK, left : left + _BLOCK] for x in (first, second))
            covered = ((people[:, :2] < high) & (people[:, 2:] > low)).all(-1).any()
            if covered or min(a.std(), b.std()) < _TEXTURE:
                continue
            spectrum = np.fft.rfft2(window * (b - b.mean())) * np.conj(np.fft.rfft2(window * (a - a.mean())))
            peak = np.fft.irfft2(spectrum / np.maximum(abs(spectrum), 1e-9), s=a.shape).argmax()
            shifts.append((np.array(np.unravel_index(peak, a.shape)) + _BLOCK // 2) % _BLOCK - _BLOCK // 2)
    if len(shifts) < 3:
        return float("nan")
    middle = np.median(shifts, 0)
    agree = abs(shifts - middle).max(-1) <= 1
    return float(np.linalg.norm(middle)) * step / max(before.shape[:2]) if agree.mean() > 0.5 else float("nan")


def crop(rgb: np.ndarray, region: Region, size: int, *, extend: bool) -> np.ndarray:
    """The region as an image [size, size, 3] float32 of whole numbers from 0 to 255.

    Outside the image are its border pixels (extend) or zeros.
    """
    height, width = rgb.shape[:2]
    steps, (along, across) = np.arange(size) / size - 0.5, 32 * region.side * turn(region.angle)[:, 0]
    x = np.rint(32 * region.centre[0] + along * steps - across * steps[:, None]).astype(np.int64)
    y = np.rint(32 * region.centre[1] + across * steps + along * steps[:, None]).astype(np.int64)
    pixels = rgb.reshape(-1, 3)

    def at(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        place = np.clip(y, 0, height - 1) * width + np.clip(x, 0, width - 1)
        values = np.take(pixels, place, axis=0).astype(np.float32)
        return values if extend else values * ((x >= 0) & (x < width) & (y >= 0) & (y < height))[..., None]

    share_x, share_y = ((value[..., None] & 31).astype(np.float32) / 32 for value in (x, y))
    x, y = x >> 5, y >> 5
    above, below = at(x, y), at(x, y + 1)
    above += share_x * (at(x + 1, y) - above)
    below += share_x * (at(x + 1, y + 1) - below)
    return np.floor(above + share_y * (below - above) + 0.5)


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
    def stacked(name: str, *shape: int) -> np.ndarray | None:
        values = [getattr(person, name) for person in people]
        whole = all(value is not None for value in values)
        return np.array(values, np.float32).reshape(len(people), num, *shape) if whole else None

    xy, confidence = stacked("xy_px", 2), stacked("confidence")
    assert xy is not None
    assert confidence is not None
    return Found(xy, confidence, stacked("world", 3), stacked("evidence", 1))
