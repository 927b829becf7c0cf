"""Straight knees and elbows for people whose fitted skeleton bends them where they stand.

The knee of CMU's, HDM05's and holosoma's skeletons lies 5 to 10 cm in front of the line from hip to ankle in people who
stand, and CMU's elbows are bent where arms hang: bones are 1 to 2 % too long for the distance that they span, so the
joint between them gives way. What to take off is measured for each person, `bend` (README of the shared data, "Straight
limbs"):

    corrected(angle) = sqrt(s log(1 + exp((angle^2 - bend^2) / s))),   s = bend^2 / 8,   degrees of flexion

The limb's ends stay. The joint between them moves in the limb's plane, to the same side. Of the triangle of the bones a
and b and the distance d of the ends, d, the ratio r = a / b and the angle are known:

    b = d / sqrt(r^2 + 1 + 2 r cos(angle)),   a = r b
    joint = start + (d^2 + a^2 - b^2) / (2 d) along + a b sin(angle) / d off

with the unit vectors `along` from start to end and `off` across it, to the side of the joint as it was captured.
The limb's first two rotations follow their bones by the smallest rotation; the last keeps its own in the world.

Flexion of knees and elbows where a person's limbs are straight shows how far a fitted skeleton bends them:

    loaded leg     trunk within 18 degrees of upright, ankle slower than 0.25 m/s and within 4 cm of its lowest, hip
                   over ankle within 14 degrees
    hanging arm    upper arm within 20 degrees of down, forearm within 37, wrist slower than 0.3 m/s about the hips

A person's measure is the lowest tenth q of the flexion in such frames. Joint centres give 1 to 8 degrees at the knee
and 9 to 18 at the elbow (README of the shared data, which has the table and the reason); what is to be taken off is
sqrt(q^2 - usual^2), with 4 degrees at the knee and 10 at the elbow.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxpose.geometry.skeleton import H36M_17, SMPL_22
from jaxpose.io.smpl_motion import posed
from jaxpose.io.take import rotation_vectors, shortest_rotation


class Bends(NamedTuple):
    """Flexion to take off, degrees [N], of each frame's knees and elbows; 0: nothing to correct."""

    knee: np.ndarray
    elbow: np.ndarray


_LIMBS = tuple(
    (tuple(f"{side}_{joint}" for joint in limb), middle)
    for limb, middle in ((("hip", "knee", "ankle"), 0), (("shoulder", "elbow", "wrist"), 1))
    for side in ("left", "right")
)


def corrected(angle: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """Flexion [...] in degrees, 0 to 180, of a limb that was captured at `angle` by a skeleton of `bend`."""
    angle, bend = np.broadcast_arrays(np.asarray(angle, np.float64), np.asarray(bend, np.float64))
    s = np.where(bend > 0, bend, 1.0) ** 2 / 8
    return np.where(bend > 0, np.sqrt(s * np.logaddexp(0, (angle**2 - bend**2) / s)), angle)


def straight_joints(joints: np.ndarray, bends: Bends) -> np.ndarray:
    """Poses [N, 17, 3] (H36M_17, any unit) whose knees and elbows lie where the limb's line has them.

    Frames whose bend is 0 are returned as they are.
    """
    found = joints.copy()
    for limb, which in _LIMBS:
        rows = np.flatnonzero(bends[which] > 0)
        ends = _of(H36M_17.joints, limb)
        start, middle, end = np.moveaxis(joints[rows][:, ends].astype(np.float64), 1, 0)
        found[rows, ends[1]] = _middle(start, middle, end, bends[which][rows])
    return found


def straight_rotations(rotations: np.ndarray, joints: np.ndarray, bends: Bends) -> np.ndarray:
    """Rotations [N, 22, 3] (axis-angle, SMPL_22 with the pelvis in the world first) of `straight_joints`.

    joints: [N, 17, 3] of the same frames, as captured.
    """
    found, straight = rotations.copy(), straight_joints(joints, bends)
    rows = np.flatnonzero((bends.knee > 0) | (bends.elbow > 0))
    if not len(rows):
        return found
    _, world = posed(np.zeros((22, 3)), rotations[rows], np.zeros((len(rows), 3)))
    for limb, which in _LIMBS:
        bent = np.flatnonzero(bends[which][rows] > 0)
        here, of_pose, of_body = rows[bent], _of(H36M_17.joints, limb), _of(SMPL_22.joints, limb)
        old, new = (np.diff(x[here][:, of_pose].astype(np.float64), axis=1) for x in (joints, straight))
        before = world[bent]
        above = before[:, [SMPL_22.parents[of_body[0]]]]
        turned = before[:, of_body]
        turned[:, :2] = shortest_rotation(old, new) @ turned[:, :2]
        local = np.swapaxes(np.concatenate([above, turned[:, :2]], 1), -1, -2) @ turned
        found[here[:, None], of_body] = rotation_vectors(local)
    return found


def degrees_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle [...] in degrees between vectors [..., 3]; exact near 0 and 180."""
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1)))


def _middle(start: np.ndarray, middle: np.ndarray, end: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """Where the joint between the ends of a limb belongs: [N, 3], of points [N, 3] and degrees [N]."""
    first, second, whole = middle - start, end - middle, end - start
    a, b, d = (np.linalg.norm(v, axis=-1, keepdims=True) for v in (first, second, whole))
    new = np.radians(corrected(degrees_between(first, second), bend))[:, None]
    d = np.maximum(d, 1e-12)
    along = whole / d
    off = first - (first * along).sum(-1, keepdims=True) * along
    off /= np.maximum(np.linalg.norm(off, axis=-1, keepdims=True), 1e-12)  # of a straight limb 0: it stays straight
    ratio = a / b
    b = d / np.sqrt(ratio**2 + 1 + 2 * ratio * np.cos(new))
    a = ratio * b
    return start + (d**2 + a**2 - b**2) / (2 * d) * along + a * b * np.sin(new) / d * off


def _of(names: tuple[str, ...], limb: tuple[str, ...]) -> list[int]:
    return [names.index(joint) for joint in limb]


_UPRIGHT, _OVER, _HANGING, _FOREARM = 18.0, 14.0, 20.0, 37.0  # degrees
_ANKLE_SPEED, _WRIST_SPEED = 0.25, 0.3  # metres per second
_LOWEST_M = 0.04
_FEWEST = 40  # frames of a limb, of which a lowest tenth is taken
_STRAIGHTENED = 25.0  # degrees: people above it never stood, or let their arms hang
_SIDES = ("left", "right")


class Limb(NamedTuple):
    """A limb, and degrees: `usual` of joint centres; `most`, the median of people above which the skeleton bends it."""

    name: str
    usual: float
    most: float


KNEE, ELBOW = Limb("knee", 4.0, 10.0), Limb("elbow", 10.0, 18.0)


def lowest_tenth(joints: Sequence[np.ndarray], fps: float) -> dict[str, float]:
    """Degrees of "knee" and "elbow" of one person's sequences [F, 17, 3] m (H36M_17, y up); NaN of too few frames."""
    legs, arms = (np.concatenate([of(x, fps) for x in joints]) for of in (_loaded_legs, _hanging_arms))
    return {
        limb.name: float(np.percentile(flexion, 10)) if len(flexion) >= _FEWEST else np.nan
        for limb, flexion in ((KNEE, legs), (ELBOW, arms))
    }


def median_of(measures: Mapping[str, float]) -> float:
    """Median of people's lowest tenths, degrees, of those who straightened the limb; NaN where nobody did."""
    known = [q for q in measures.values() if q <= _STRAIGHTENED]
    return float(np.median(known)) if known else np.nan


def bends(measures: Mapping[str, float], limb: Limb) -> dict[str, float]:
    """Degrees to take off each person's limb, of people's lowest tenths in one source; 0: as joint centres give.

    Of a person with too few frames, or who did not straighten the limb, the median of the others'.
    """
    if not median_of(measures) > limb.most:
        return dict.fromkeys(measures, 0.0)
    taken = {who: max(q**2 - limb.usual**2, 0.0) ** 0.5 for who, q in measures.items() if q <= _STRAIGHTENED}
    others = float(np.median(list(taken.values())))
    return {who: taken.get(who, others) for who in measures}


def flexion(x: np.ndarray, joint: str) -> np.ndarray:
    """Degrees [N, 2] of the left and right "knee" or "elbow" of poses [N, 17, 3] (H36M_17); 0: the limb is straight."""
    start, end = {"knee": ("hip", "ankle"), "elbow": ("shoulder", "wrist")}[joint]
    starts, middles, ends = (np.stack([_at(x, f"{s}_{name}") for s in _SIDES], 1) for name in (start, joint, end))
    return degrees_between(middles - starts, ends - middles)


def _loaded_legs(x: np.ndarray, fps: float) -> np.ndarray:
    upright = _down(_at(x, "hip") - _at(x, "thorax")) < _UPRIGHT
    found, bent = [], flexion(x, "knee")
    for s, side in enumerate(_SIDES):
        hip, ankle = _at(x, f"{side}_hip"), _at(x, f"{side}_ankle")
        low = ankle[:, 1] < ankle[:, 1].min(initial=np.inf) + _LOWEST_M
        standing = upright & low & (_speed(ankle, fps) < _ANKLE_SPEED) & (_down(ankle - hip) < _OVER)
        found.append(bent[standing, s])
    return np.concatenate(found)


def _hanging_arms(x: np.ndarray, fps: float) -> np.ndarray:
    found, bent = [], flexion(x, "elbow")
    for s, side in enumerate(_SIDES):
        shoulder, elbow, wrist = (_at(x, f"{side}_{name}") for name in ("shoulder", "elbow", "wrist"))
        hanging = (_down(elbow - shoulder) < _HANGING) & (_down(wrist - elbow) < _FOREARM)
        hanging &= _speed(wrist - _at(x, "hip"), fps) < _WRIST_SPEED
        found.append(bent[hanging, s])
    return np.concatenate(found)


def _at(x: np.ndarray, joint: str) -> np.ndarray:
    return x[:, H36M_17.joints.index(joint)]


def _down(v: np.ndarray) -> np.ndarray:
    return degrees_between(v, np.broadcast_to([0.0, -1.0, 0.0], v.shape))


def _speed(x: np.ndarray, fps: float) -> np.ndarray:
    """Metres per second [F] of points [F, 3], by central differences."""
    return np.linalg.norm(np.gradient(x, axis=0), axis=-1) * fps if len(x) > 1 else np.full(len(x), np.inf)
