"""Flexion of knees and elbows where a person's limbs are straight, which shows how far a fitted skeleton bends them.

    loaded leg     trunk within 18 degrees of upright, ankle slower than 0.25 m/s and within 4 cm of its lowest, hip
                   over ankle within 14 degrees
    hanging arm    upper arm within 20 degrees of down, forearm within 37, wrist slower than 0.3 m/s about the hips

A person's measure is the lowest tenth q of the flexion in such frames. Joint centres give 1 to 8 degrees at the knee
and 9 to 18 at the elbow (README of the shared data, "Straight limbs", which has the table and the reason); what is to
be taken off is sqrt(q^2 - usual^2), with 4 degrees at the knee and 10 at the elbow (`straight.py`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxpose.datasets.straight import degrees_between
from jaxpose.geometry.skeleton import H36M_17

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
