"""Motion capture of any skeleton, as in BVH and ASF/AMC files, and its forward kinematics.

The position of joint j is its parent's plus a translation in the parent's axes; its rotation is relative to them:

    G_j = G_parent R_j            p_j = p_parent + G_parent t_j

All rotations are the identity in the rest pose, where t_j is the joint's offset. Lengths are in the file's
unit, which neither format gives. All computations are in float64.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from jaxpose.files import FilePath
from jaxpose.io.arrays import number_or_nan
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


def rest_positions(offsets: np.ndarray, parents: Sequence[int]) -> np.ndarray:
    """Joints [J, 3] of the rest pose, the root at the origin, of their offsets [J, 3] from their parents."""
    positions = np.zeros_like(offsets)
    for joint, parent in enumerate(parents):
        if parent >= 0:
            positions[joint] = positions[parent] + offsets[joint]
    return positions


def euler_matrix(axes: str, angles: np.ndarray) -> np.ndarray:
    """The product of turns about `axes` ("zyx": R_z R_y R_x), angles [..., len(axes)] rad: [..., 3, 3]."""
    from scipy.spatial.transform import Rotation  # 0.4 s, and many readers need no rotation

    if not axes:
        return np.broadcast_to(np.eye(3), (*angles.shape[:-1], 3, 3))
    turns = Rotation.from_euler(axes.upper(), angles.reshape(-1, len(axes)))
    return turns.as_matrix().reshape(*angles.shape[:-1], 3, 3)


def rotation_vectors(rotations: np.ndarray) -> np.ndarray:
    """Axis-angle vectors [..., 3] rad, no longer than pi, of rotations [..., 3, 3]; NaN where a rotation has NaN."""
    from scipy.spatial.transform import Rotation

    rotations = np.asarray(rotations, np.float64)
    known = np.isfinite(rotations).all((-1, -2))
    vectors = np.full((*known.shape, 3), np.nan)
    vectors[known] = Rotation.from_matrix(rotations[known]).as_rotvec()
    return vectors


def rotation_matrices(vectors: np.ndarray) -> np.ndarray:
    """Rotations [..., 3, 3] of axis-angle vectors [..., 3] rad."""
    from scipy.spatial.transform import Rotation

    vectors = np.asarray(vectors, np.float64)
    return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(*vectors.shape, 3)


def shortest_rotation(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The smallest rotations [..., 3, 3] that take directions `start` [..., 3] to `end` [..., 3], not opposite."""
    start, end = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (start, end))
    axis = np.cross(start, end)
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = np.arctan2(sine, (start * end).sum(-1, keepdims=True))
    return rotation_matrices(axis * np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 1.0))


class Line(NamedTuple):
    """The words of a line; place: file and line, which open its errors."""

    place: str
    words: list[str]

    def fault(self, needed: str) -> ValueError:
        """An error that says what was needed in place of these words."""
        return ValueError(f"{self.place}: needed {needed}, got {' '.join(self.words)[:40]!r}")

    def rest(self, count: int = 1) -> "Line":
        """The line without its first words."""
        return self._replace(words=self.words[count:])

    def numbers(self, count: int, what: str = "") -> np.ndarray:
        """The words as `count` finite numbers [count]; `what` follows the place in an error."""
        if len(self.words) != count:
            raise ValueError(f"{self.place}{what}: needed {count} numbers, got {len(self.words)}")
        try:
            values = np.array(self.words, np.float64)
        except ValueError:
            values = np.array([number_or_nan(word) for word in self.words])
        if not np.isfinite(values).all():
            wrong = self.words[int(np.argmin(np.isfinite(values)))]
            raise ValueError(f"{self.place}{what}: needed finite numbers, got {wrong[:40]!r}")
        return values


def read_words(path: FilePath, comment: str = "\n") -> list[Line]:
    """The lines of a text file that have words before the sign of a comment."""
    words = (Line(f"{path}, line {n}", line.split(comment)[0].split()) for n, line in enumerate(read_lines(path), 1))
    return [line for line in words if line.words]


@reader("file of text")
def read_lines(path: FilePath) -> list[str]:
    """The lines of a text file with any line ends; ValueError where it is absent or empty."""
    check_file(path, MOST_TEXT)
    # Joint names may be in any encoding; all other content is ASCII.
    lines = Path(path).read_bytes().decode("utf-8-sig", "replace").splitlines()
    if not any(line.strip() for line in lines):
        raise ValueError(f"{path}: the file is empty")
    return lines
