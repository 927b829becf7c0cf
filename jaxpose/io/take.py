"""Motion capture of any skeleton, as in BVH and ASF/AMC files, and its forward kinematics.

The position of joint j is its parent's plus a translation in the parent's axes; its rotation is relative to them:

    G_j = G_parent R_j            p_j = p_parent + G_parent t_j

All rotations are the identity in the rest pose, where t_j is the joint's offset. Lengths are in the file's
unit, which neither format gives. All computations are in float64.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from jaxpose.files import FilePath
from jaxpose.reading import MOST_TEXT, check_file, reader

MOST_JOINTS = 1000  # of a skeleton


class Take(NamedTuple):
    """A skeleton and its motion.

    names, parents: J joints, parents before children, -1 for the root, which is first.
    offsets: [J, 3] joint relative to its parent in the rest pose, file unit. rotations: [F, J, 3, 3] in the parent's
    axes. translations: [F, J, 3] file unit, equal to the offsets where a joint has no position channels. ends: [3] in a
    joint's axes, file unit, of the tip of its bone, where the file has one that is no joint (BVH: the first End Site).
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    fps: float
    ends: Mapping[str, np.ndarray] = MappingProxyType({})


def world(take: Take) -> tuple[np.ndarray, np.ndarray]:
    """Positions [F, J, 3] (file unit) and rotations [F, J, 3, 3] of all joints in the world."""
    positions, rotations = np.empty_like(take.translations), np.empty_like(take.rotations)
    for joint, parent in enumerate(take.parents):
        if parent < 0:
            positions[:, joint], rotations[:, joint] = take.translations[:, joint], take.rotations[:, joint]
            continue
        above = rotations[:, parent]
        rotations[:, joint] = above @ take.rotations[:, joint]
        positions[:, joint] = positions[:, parent] + np.einsum("fij,fj->fi", above, take.translations[:, joint])
    return positions, rotations


def rest_positions(take: Take) -> np.ndarray:
    """Joints [J, 3] of the rest pose, the root at the origin, file unit."""
    positions = np.zeros_like(take.offsets)
    for joint, parent in enumerate(take.parents):
        if parent >= 0:
            positions[joint] = positions[parent] + take.offsets[joint]
    return positions


def euler_matrix(axes: str, angles: np.ndarray) -> np.ndarray:
    """The product of turns about `axes` ("zyx": R_z R_y R_x), angles [..., len(axes)] rad: [..., 3, 3]."""
    product = np.broadcast_to(np.eye(3), (*angles.shape[:-1], 3, 3))
    for index, axis in enumerate(axes):
        i, j = (("x", 1, 2), ("y", 2, 0), ("z", 0, 1))["xyz".index(axis)][1:]
        turn = np.zeros((*angles.shape[:-1], 3, 3))
        turn[..., 3 - i - j, 3 - i - j] = 1
        turn[..., i, i] = turn[..., j, j] = np.cos(angles[..., index])
        turn[..., j, i] = np.sin(angles[..., index])
        turn[..., i, j] = -turn[..., j, i]
        product = product @ turn
    return product


def rotation_vectors(rotations: np.ndarray) -> np.ndarray:
    """Axis-angle vectors [..., 3] rad, no longer than pi, of rotations [..., 3, 3].

    The 4 x 4 products of a unit quaternion's entries (times 4) are linear in R; its longest column is most accurate.
    """
    R = np.moveaxis(rotations, (-2, -1), (0, 1))
    w, x, y, z = 1 + R[0, 0] + R[1, 1] + R[2, 2], R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]
    xx, yy, zz = (1 + 2 * R[i, i] - (R[0, 0] + R[1, 1] + R[2, 2]) for i in range(3))
    xy, xz, yz = R[0, 1] + R[1, 0], R[0, 2] + R[2, 0], R[1, 2] + R[2, 1]
    columns = np.stack([np.stack(c, -1) for c in ((w, x, y, z), (x, xx, xy, xz), (y, xy, yy, yz), (z, xz, yz, zz))])
    best = np.argmax(np.stack([w, xx, yy, zz]), 0)
    q = np.take_along_axis(columns, best[None, ..., None], 0)[0]
    return vector_of_quaternion(q / np.linalg.norm(q, axis=-1, keepdims=True))


def vector_of_quaternion(q: np.ndarray) -> np.ndarray:
    """The rotation vector [..., 3] of at most half a turn of a unit quaternion [..., 4] wxyz."""
    q = np.where(q[..., :1] < 0, -q, q)
    sine = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    return q[..., 1:] * np.where(sine > 1e-12, 2 * np.arctan2(sine, q[..., :1]) / np.maximum(sine, 1e-12), 2.0)


def rotation_matrices(vectors: np.ndarray) -> np.ndarray:
    """Rotations [..., 3, 3] of axis-angle vectors [..., 3] rad, by Rodrigues' formula."""
    vectors = np.asarray(vectors, np.float64)
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vectors, -1, 0)
    cross = np.zeros((*vectors.shape[:-1], 3, 3))
    cross[..., 2, 1], cross[..., 0, 2], cross[..., 1, 0] = x, y, z
    cross -= np.swapaxes(cross, -1, -2)
    # sin(a) / a and (1 - cos(a)) / a^2, also right at 0
    sine, cosine = np.sinc(angle / np.pi), np.sinc(angle / (2 * np.pi)) ** 2 / 2
    return np.eye(3) + sine * cross + cosine * (cross @ cross)


def shortest_rotation(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The smallest rotation [3, 3] that takes the direction `start` [3] to `end` [3], which are not opposite."""
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    axis = np.cross(start, end)
    sine = np.linalg.norm(axis)
    angle = np.arctan2(sine, start @ end)
    return rotation_matrices(axis * (angle / sine if sine > 1e-12 else 1.0))


@reader("file of text")
def read_lines(path: FilePath) -> list[str]:
    """The lines of a text file with any line ends; ValueError where it is absent or empty."""
    check_file(path, MOST_TEXT)
    # Joint names may be in any encoding; all other content is ASCII.
    lines = Path(path).read_bytes().decode("utf-8-sig", "replace").splitlines()
    if not any(line.strip() for line in lines):
        raise ValueError(f"{path}: the file is empty")
    return lines


def numbers(words: list[str], count: int, place: str) -> np.ndarray:
    """`count` finite numbers [count] from words; ValueError naming `place` and what was found."""
    if len(words) != count:
        raise ValueError(f"{place}: needed {count} numbers, got {len(words)}")
    try:
        values = np.array(words, np.float64)
    except ValueError:
        values = np.array([_number_or_nan(word) for word in words])
    if not np.isfinite(values).all():
        wrong = words[int(np.argmin(np.isfinite(values)))]
        raise ValueError(f"{place}: needed finite numbers, got {wrong[:40]!r}")
    return values


def _number_or_nan(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return np.nan
