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
"""

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
