"""The vertical and the floor before a camera, from the people that it sees, in the axes of its first frame.

Candidates n are unit vectors in camera axes, n = (sin b, -cos b cos a, cos b sin a) for a camera's pitch a and roll b,
0 of a level camera. Their posterior, over a grid:

    log p(n) = -a^2 / 2 A^2 - b^2 / 2 B^2                                    how cameras are held
             - 20 where the camera would be below the floor
             - S / T_s  mean_t  min(upright_t, lying_t)                       with a cost in nats for each change
             - S / T_f  mean_t  (1.5 log(1 + (h_t - h)^2 / 2 g_t^2) + log g_t)   h_t: the lowest point along n

    upright_t = sum_k w_k log(1 + (angle(n, s_kt) / S_k)^2)                  s: hip to thorax, mid-ankle to hip
    lying_t   = mean_k log(1 + ((h_kt - h_t) / L)^2)                         h_k: point k over its height when it lies

S: seconds that were seen, over all people. The heavy tails let people bend, sit and jump. h: each person's median. g_t:
6 cm and the share along n of the error of depth, so that a walk towards the camera tells its pitch the better, the
farther it goes. Constants were tuned on 37 clips of training subjects (experiments/evaluate/world.py).
"""

from typing import NamedTuple

import numpy as np

_PITCH, _ROLL = np.radians(30.0), np.radians(6.0)  # A, B
_TRUNK, _LEG = np.radians(10.0), np.radians(8.0)  # S_k, each of weight 0.5
_POSTURE_SECONDS, _FLOOR_SECONDS = 0.3, 0.7  # T_s, T_f: what is seen for so long counts once
_FOOT_SPREAD = 0.06  # metres, of g
_DEPTH_SHARE = 0.5  # of the samples' spread of depth that differs from frame to frame
_BELOW = 20.0  # nats against a camera below the feet
_FLAT, _LIES = 0.1, 4.0  # L, and nats for a change between upright and lying
_STEEP = np.radians(60.0)  # pitch beyond which a person who lies cannot be told from one seen from above
_HABIT = np.radians(1.5)  # how people's posture misleads, however long they are seen
_MOST_FRAMES = 200
_UPRIGHT = np.radians(35.0)  # a trunk so near to the vertical is upright
_LEAST_SECONDS, _MOST_STD = 0.3, np.radians(12.0)
_UNKNOWN = np.radians(20.0)  # uncertainty of a level camera that is assumed


class Seen(NamedTuple):
    """F frames of one person, camera axes, metres: what tells the vertical and the floor.

    trunk, leg: [F, 3] from hip to thorax and from mid-ankle to hip. points: [F, K, 3] that may touch the floor, and
    heights [K] of these joints when they do. root: [F, 3]. depth_std: [F] of the root along its ray. seconds: that they
    last. eye: [F, 3] the camera, in these axes.
    """

    trunk: np.ndarray
    leg: np.ndarray
    points: np.ndarray
    root: np.ndarray
    depth_std: np.ndarray
    heights: np.ndarray
    seconds: float
    eye: np.ndarray


def frames_of(person: Seen, keep: np.ndarray | slice) -> Seen:
    """Some of the frames, and as much of the seconds."""
    arrays = {name: getattr(person, name)[keep] for name in ("trunk", "leg", "points", "root", "depth_std", "eye")}
    return person._replace(**arrays, seconds=person.seconds * len(arrays["root"]) / len(person.root))


class Vertical(NamedTuple):
    """Up [3] in camera axes, its standard deviation in radians, and whether it was found; level if not, with `why`."""

    up: np.ndarray
    std: float
    found: bool
    why: str


def vertical(people: list[Seen]) -> Vertical:
    """The vertical in the axes of the points; a level camera's where the people do not tell it."""
    level = np.array([0.0, -1.0, 0.0])
    seconds = sum(person.seconds for person in people)
    if seconds < _LEAST_SECONDS:
        return Vertical(level, _UNKNOWN, False, f"people are seen for {seconds:.1f} s only")
    step = max(1, -(-sum(len(person.root) for person in people) // _MOST_FRAMES))
    thinned = [frames_of(person, slice(None, None, step))._replace(seconds=person.seconds) for person in people]
    pitch, roll = (np.radians(np.arange(-limit, limit + 1, 3.0)) for limit in (87, 45))
    up, _ = _posterior(thinned, seconds, pitch, roll)
    fine = np.radians(np.arange(-8, 8.1, 0.8))
    up, std = _posterior(thinned, seconds, np.arctan2(up[2], -up[1]) + fine, np.arcsin(up[0]) + fine)
    if abs(np.arcsin(up[2])) > _STEEP:
        return Vertical(level, _UNKNOWN, False, "people lie, or are seen from straight above or below")
    share = np.mean(np.concatenate([_angle(up, _unit(person.trunk)) for person in thinned]) < _UPRIGHT)
    if std > _MOST_STD:
        return Vertical(level, _UNKNOWN, False, f"people are upright in {share:.0%} of the frames")
    return Vertical(up, float(np.hypot(std, _HABIT)), True, f"upright in {share:.0%} of the frames")


def _posterior(people: list[Seen], seconds: float, pitch: np.ndarray, roll: np.ndarray) -> tuple[np.ndarray, float]:
    """Mean direction [3] and standard deviation, radians, over candidates of these pitches and rolls."""
    a, b = np.meshgrid(pitch, roll, indexing="ij")
    n = np.stack([np.sin(b), -np.cos(b) * np.cos(a), np.cos(b) * np.sin(a)], -1)
    log_p = -0.5 * (a / _PITCH) ** 2 - 0.5 * (b / _ROLL) ** 2
    total = sum(len(person.root) for person in people)
    for person in people:
        upright = 0.5 * sum(
            np.log1p((_angle(n, _unit(s)) / scale) ** 2) for s, scale in ((person.trunk, _TRUNK), (person.leg, _LEG))
        )
        heights = np.stack([n @ x.T - h for x, h in zip(np.moveaxis(person.points, 1, 0), person.heights, strict=True)])
        height = heights.min(0)
        lying = np.log1p(((heights - height) / _FLAT) ** 2).mean(0)
        middle = np.median(height, -1, keepdims=True)
        away = height - middle
        along = n @ _unit(person.root - person.eye).T
        spread = np.hypot(_FOOT_SPREAD, _DEPTH_SHARE * along * person.depth_std)
        floor = 1.5 * np.log1p(0.5 * (away / spread) ** 2) + np.log(spread)
        a, b = np.zeros(n.shape[:-1]), np.full(n.shape[:-1], _LIES)
        for f in range(len(person.root)):
            each = seconds / total / _POSTURE_SECONDS
            a, b = (np.minimum(a, b + _LIES) + each * upright[..., f], np.minimum(b, a + _LIES) + each * lying[..., f])
        log_p -= np.minimum(a, b) + seconds / total / _FLOOR_SECONDS * floor.sum(-1)
        log_p = np.where(np.median(height - n @ person.eye.T, -1) > 0, log_p - _BELOW, log_p)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = _unit((p[..., None] * n).sum((0, 1)))
    return mean, float(np.sqrt((p * _angle(n, mean[None])[..., 0] ** 2).sum()))


def floor_level(person: Seen, up: np.ndarray) -> float:
    """Height of the floor along `up`, about the camera, of the lowest points: the median over frames; metres."""
    return float(np.median((person.points @ up - person.heights).min(-1)))


def world_axes(up: np.ndarray) -> np.ndarray:
    """R_world_camera [3, 3] of a world that is y up, with x to the camera's right and -z away from it.

    Away from a camera that looks straight down or up is where the top, or the bottom, of its image points.
    """
    forward = np.array([0.0, 0.0, 1.0]) - up[2] * up
    if np.linalg.norm(forward) < 1e-3:
        forward = np.array([0.0, np.sign(up[2]), 0.0]) - np.sign(up[2]) * up[1] * up
    back = -_unit(forward)
    return np.stack([np.cross(up, back), up, back])


def _angle(n: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Angles [..., F] between n [..., 3] and unit vectors s [F, 3], radians."""
    return np.arccos(np.clip(n @ s.T, -1, 1))


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9)
