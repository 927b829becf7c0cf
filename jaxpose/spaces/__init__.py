"""Spaces: the meaning of a model's states, by the name in its file.

    person        joints about their middle, in view axes, one unit for all coordinates      spaces/person.py
    image_depth   GFPose's own: pixels, and depth on the pixel scale of the root             spaces/image_depth.py
    screen        DiffPose's own: screen coordinates and root-relative metres                recipes/diffpose.py
    axis_angle    rotations of all joints but the root, as axis-angle vectors                spaces/rotations.py
    rot6d         the same, as two columns of the matrix                                     spaces/rotations.py

A space says what tasks need, so that these do not ask which model they have; see `Space`. A new space is a module with
its encoding and decoding, and an entry here.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxpose.base import Array
from jaxpose.compiled import size_for
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.geometry.windows import tile
from jaxpose.spaces import motions, person, rotations
from jaxpose.spaces.person import Statistics
from jaxpose.spaces.rotations import REPRESENTATIONS, Representation


def _as_it_is(x: Array) -> Array:
    return x


def _no_windows(num: int, length: int | None) -> None:
    return None


def _clip(num: int, length: int | None) -> tuple[np.ndarray, np.ndarray] | None:
    if length is None:
        return None
    index, counted = tile(np.zeros(num), np.arange(num), length, stride=max(1, length // 3))
    spare = size_for(len(index)) - len(index)
    return np.concatenate([index, index[-1:].repeat(spare, 0)]), np.pad(counted, ((0, spare), (0, 0)))


class Space(NamedTuple):
    """The meaning of states [..., J, D], as functions. Poses [..., J, 3] are metres in view axes, or axis-angle.

    capability:     what a task may ask a model of this space for.
    width:          D, the numbers of each joint. keypoint_width: numbers of a joint of the keypoints that encoders see.
    representation: of rotations, or None.
    encode, decode: (statistics, poses) -> states, joint by joint, and (statistics, states) -> poses.
    centre:         poses -> poses about the origin that states have.
    basis:          (statistics, shape of a state) -> orthonormal basis [J D, n] of the subspace that states fill, and
                    the log of the volume of its unit cube.
    see:            (intrinsics, keypoints, confidence, distortion) -> condition and view of the rows.
    fill:           (values [N, ...], known [N]) -> values of all rows: of a motion, between those that are known.
    rows:           (number of observations, frames of the network, most) -> number of rows, of few, that they are
                    filled up to; at most `most` where rows are independent of each other.
    clip:           (number of frames of one clip, frames of the network) -> windows of an encoder, as of
                    `geometry.windows.tile`, filled up with windows that do not count; None where it sees one frame.
    windows:        (number of rows, frames of the network) -> rows of each window [W, F] and their shares [W, F], of
                    which the prediction of a row is the sum; None where rows are independent.
    """

    name: str
    capability: str
    width: int = 3
    keypoint_width: int = 3
    representation: Representation | None = None
    encode: Callable[[Statistics, Array], Array] = rotations.encode
    decode: Callable[[Statistics, Array], Array] = rotations.decode
    centre: Callable[[Array], Array] = lambda x: x - x.mean(-2, keepdims=True)
    basis: Callable[[Statistics, tuple[int, int]], tuple[Array, float]] = person.centred_basis
    see: Callable[..., tuple[person.Condition, person.View]] = person.encode_keypoints
    fill: Callable[[Array, Array], Array] = lambda values, known: values
    rows: Callable[..., int] = lambda num, length, most=None: size_for(num if most is None else min(num, most))
    clip: Callable[[int, int | None], tuple[np.ndarray, np.ndarray] | None] = _clip
    windows: Callable[[int, int | None], tuple[np.ndarray, np.ndarray] | None] = _no_windows

    def shape(self, skeleton: Skeleton) -> tuple[int, int]:
        """(J, D) of a state; the root has no rotation of its own."""
        return len(skeleton.joints) - (self.representation is not None), self.width


def _of_rotations(name: str, representation: Representation) -> Space:
    def encode(statistics: Statistics, poses: Array) -> Array:
        return rotations.encode(statistics, representation.from_axis_angle(poses))

    def decode(statistics: Statistics, states: Array) -> Array:
        return representation.to_axis_angle(rotations.decode(statistics, states))

    space = Space(name, "rotations", representation.width, 3, representation, encode, decode)
    return space._replace(centre=_as_it_is, basis=rotations.moving_basis)


_SPACES = (
    Space("person", "joints"),
    Space("image_depth", "image_depth"),
    Space("screen", "screen", keypoint_width=2),
    *(_of_rotations(name, r) for name, r in REPRESENTATIONS.items()),
)
SPACES: dict[str, Space] = {space.name: space for space in _SPACES}
# of a model of motions, whose rows are the frames of one person
MOTIONS = SPACES["person"]._replace(
    see=person.encode_track, fill=person.between, rows=motions.num_frames, clip=_no_windows, windows=motions.overlapping
)
