"""BlazePose: 33 landmarks of people in an image and in metres (Bazarevsky et al. 2020; Grishchenko et al. 2022).

The networks are MediaPipe's (`weights.py`). What happens around them follows its published graph
(`pose_landmark_cpu.binarypb` of mediapipe 0.10.14 and the subgraphs that it names):

1. The detector sees the image as a square of 224 pixels, and gives each person two points: the middle of the hips and
   a point on the circle about the body. The crop is the square about that circle, 1.25 times as large, turned so
   that the line between the points is upright.
2. The landmark network sees the crop as 256 x 256 pixels. It gives 39 points, the flag that a person is there, a
   heatmap of each point and the points in metres. A point moves to the centroid of its heatmap in a window of 9 x 9
   cells (its published graph says 7; its output agrees with 9 alone), where that has a value of at least 1/2.
3. Of the points, 33 and 34 are the two of step 1 for the next frame, smoothed by a One-Euro filter (Casiez et al.
   2012). The detector is used again where the flag is below 1/2.

MediaPipe's further smoothing of the landmarks is left out: errors that are correlated over time by a filter are harder
to model than those of the network. Several people are followed as `people.py` says; with `people=1` the rule is
MediaPipe's own.

Boxes are those of a single-shot detector (Liu et al., SSD, 2016) with one anchor size for all: the boxes are squares
about a person's hips. Its suppression is that of Bazarevsky et al., BlazeFace, 2019: boxes that overlap are averaged by
their scores, not dropped.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxpose.app.detect.base import Detector, Frame
from jaxpose.app.detect.people import Find, Look, Person, Region, crop, follow, to_image, turn
from jaxpose.app.detect.weights import Weights, interpreter
from jaxpose.geometry.skeleton import MEDIAPIPE_33


def anchors(size: int, strides: Sequence[int], each: int) -> np.ndarray:
    """Centres [A, 2] in shares of the image, row by row, `each` of them in a cell; equal strides share their cells."""
    centres = []
    for stride in dict.fromkeys(strides):
        cells = (np.arange(size // stride) + 0.5) * stride / size
        grid = np.stack(np.meshgrid(cells, cells), -1).reshape(-1, 2)
        centres.append(np.repeat(grid, each * list(strides).count(stride), axis=0))
    return np.concatenate(centres)


def boxes(raw: np.ndarray, logits: np.ndarray, centres: np.ndarray, size: int, least: float) -> np.ndarray:
    """A network's output [A, 4 + 2 K] as rows [B, 5 + 2 K] of a score above `least`, a box and its K points.

    A row is score, then x, y, width, height of the box, x and y of each point; in shares of the image. raw is the
    offset from the anchor's centre in pixels of the network's input of `size`; logits [A] are of the score.
    """
    score = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))  # within float32
    kept = score >= least
    place = raw[kept] / size
    place[:, 0:2] += centres[kept]
    place[:, 4:] += np.tile(centres[kept], (raw.shape[1] - 4) // 2)
    return np.concatenate([score[kept, None], place], 1)


def suppress(rows: np.ndarray, overlap: float) -> np.ndarray:
    """One row for each group of `boxes` that overlap its best by more than this share of their union; best first.

    Box and points are the mean of the group, weighted by score; the score is the best one's.
    """
    rows = rows[np.argsort(-rows[:, 0], kind="stable")]
    merged = []
    while len(rows):
        group = _shared(rows[0], rows) > overlap
        group[0] = True  # of a box without area too
        merged.append([rows[0, 0], *np.average(rows[group, 1:], axis=0, weights=rows[group, 0])])
        rows = rows[~group]
    return np.array(merged).reshape(-1, rows.shape[1])


def _shared(one: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Intersection over union [B] of the box of a row with those of `rows`."""
    low = np.maximum(one[1:3] - one[3:5] / 2, rows[:, 1:3] - rows[:, 3:5] / 2)
    high = np.minimum(one[1:3] + one[3:5] / 2, rows[:, 1:3] + rows[:, 3:5] / 2)
    common = np.prod(np.maximum(high - low, 0), axis=1)
    union = np.prod(one[3:5]) + np.prod(rows[:, 3:5], axis=1) - common
    return common / np.maximum(union, 1e-12)


_BOX, _CROP, _GRID = 224, 256, 64  # pixels of the networks' inputs; cells of a heatmap
_ANCHORS = anchors(_BOX, (8, 16, 32, 32, 32), 2)
_PRESENT = 0.5  # least score of a person, of the detector and of the landmarks' flag
_POINTS = len(MEDIAPIPE_33.joints)


class Smooth(NamedTuple):
    """State of a One-Euro filter of points: time in seconds; points as given, as filtered, and their filtered speed."""

    seconds: float
    given: np.ndarray
    points: np.ndarray
    speed: np.ndarray


def blazepose(weights: Weights, second: Weights | None = None, *, people: int | None = None) -> Detector:
    """The detector with these networks. people: the most that are followed; 1 is MediaPipe's own rule, None all.

    second: networks of another size, which look at the same crops: points are the means of both, and their distance is
    the evidence.
    """
    find, look = finder(weights.detector), looker(weights.landmarks)
    name = f"{weights.name}, people {people or 'all'}"
    if second is not None:
        name, look = f"{second.name} and {name}", of_both(look, looker(second.landmarks))
    return Detector(name, MEDIAPIPE_33, follow(find, look, _POINTS, people))


def of_both(first: Look, second: Look) -> Look:
    """Two networks in one: places in the image are of both, all else is of the first.

    Where the second sees nobody, the first's points stay, and the evidence is not known.
    """

    def look(frame: Frame, region: Region, memory: Any) -> Person | None:
        person = first(frame, region, memory)
        other = None if person is None else second(frame, region, None)
        if person is None or other is None:
            return person and person._replace(evidence=np.full((len(person.xy_px), 1), np.nan))
        apart = np.linalg.norm(person.xy_px - other.xy_px, axis=-1, keepdims=True)
        xy, confidence = ((a + b) / 2 for a, b in zip(person[:2], other[:2], strict=True))
        return person._replace(xy_px=xy, confidence=confidence, evidence=apart)

    return look


def region_of(centre: np.ndarray, rim: np.ndarray) -> Region:
    """The crop of a person from the middle of the hips and a point of the circle about the body, above if upright."""
    x, y = rim - centre
    return Region(centre, 2 * 1.25 * float(np.hypot(x, y)), float(np.pi / 2 - np.arctan2(-y, x)))


def refine(points: np.ndarray, heatmaps: np.ndarray) -> np.ndarray:
    """Points [K, 2], in shares of the crop, at the centroids of their heatmaps [h, w, K] (logits) around them."""
    height, width, num = heatmaps.shape
    cell = (points * (width, height)).astype(np.int64)  # towards 0, as there
    window = np.arange(-4, 5)
    x, y = cell[:, 0, None, None] + window, cell[:, 1, None, None] + window[:, None]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    values = heatmaps[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1), np.arange(num)[:, None, None]]
    weight = _sigmoid(values) * inside
    total = np.maximum(weight.sum((1, 2)), 1e-12)
    centroid = np.stack([(weight * x).sum((1, 2)) / total / width, (weight * y).sum((1, 2)) / total / height], -1)
    return np.where((weight.max((1, 2)) >= 0.5)[:, None] & inside[:, 4, 4, None], centroid, points)


def smooth(state: Smooth | None, points: np.ndarray, seconds: float, size: float) -> Smooth:
    """The One-Euro filter's next state; size: of the person in pixels, the unit of speed.

    Cut-off frequencies of MediaPipe: 0.01 Hz at rest and 10 Hz more for each size a second; of the speed 1 Hz.
    """
    if state is None or seconds <= state.seconds:
        return Smooth(seconds, points, points, np.zeros_like(points))
    step = seconds - state.seconds
    speed = (points - state.given) / size / step
    speed = state.speed + _gain(1.0, step) * (speed - state.speed)
    gain = _gain(0.01 + 10 * abs(speed), step)
    return Smooth(seconds, points, state.points + gain * (points - state.points), speed)


def _gain(cutoff: np.ndarray | float, step: float) -> np.ndarray | float:
    """The gain of a low pass of first order: the share by which a value moves to the newest in `step` seconds."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * step))


def finder(path: Path) -> Find:
    """BlazePose's detector of people (.tflite)."""
    run = interpreter(path)

    def find(rgb: np.ndarray, squares: list[Region]) -> list[Region]:
        regions = []
        for square in squares:
            raw, logits = run(crop(rgb, square, _BOX, extend=False) / 127.5 - 1)
            rows = suppress(boxes(raw, logits[:, 0], _ANCHORS, _BOX, _PRESENT), 0.3)
            regions += [(row[0], region_of(*to_image(square, row[5:9].reshape(2, 2)))) for row in rows]
        return [region for _, region in sorted(regions, key=lambda entry: -entry[0])]

    return find


def looker(path: Path) -> Look:
    """One of BlazePose's landmark networks (.tflite); its memory is the filter's state."""
    run = interpreter(path)

    def look(frame: Frame, region: Region, circle: Smooth | None) -> Person | None:
        landmarks, flag, _, heatmaps, world = run(crop(frame.rgb, region, _CROP, extend=True) / 255)
        if not flag.item() >= _PRESENT:
            return None
        landmarks = landmarks.reshape(-1, 5)
        xy = to_image(region, refine(landmarks[:, :2] / _CROP, heatmaps))
        size = 2 * float(np.hypot(*(xy[_POINTS + 1] - xy[_POINTS])))
        if not size > 0:
            return None
        turned = world.reshape(-1, 3)[:_POINTS].astype(np.float64)
        turned[:, :2] = turned[:, :2] @ turn(region.angle).T
        circle = smooth(circle, xy[_POINTS : _POINTS + 2], frame.seconds, size)
        confidence = _sigmoid(landmarks[:_POINTS, 3])
        return Person(xy[:_POINTS], confidence, turned, region_of(*circle.points), circle)

    return look


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -80, 80)))  # within float32
