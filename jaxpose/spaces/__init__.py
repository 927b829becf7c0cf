"""Spaces: the meaning of a model's states, by the name in its file.

    person        joints about their middle, in view axes, one unit for all coordinates      spaces/person.py
    image_depth   GFPose's own: pixels, and depth on the pixel scale of the root             spaces/image_depth.py
    screen        DiffPose's own: screen coordinates and root-relative metres                recipes/diffpose.py
    axis_angle    rotations of all joints but the root, as axis-angle vectors                spaces/rotations.py
    rot6d         the same, as two columns of the matrix                                     spaces/rotations.py

A new space is a module with its encoding and decoding, and an entry here.
"""

from typing import NamedTuple

from jaxpose.geometry.skeleton import Skeleton
from jaxpose.spaces.rotations import REPRESENTATIONS, Representation


class Space(NamedTuple):
    """The meaning of states [..., J, D].

    capability:     what a task may ask a model of this space for.
    width:          D, the numbers of each joint. keypoint_width: of a joint of the keypoints that encoders are shown.
    representation: of rotations, or None.
    """

    name: str
    capability: str
    width: int = 3
    keypoint_width: int = 3
    representation: Representation | None = None

    def shape(self, skeleton: Skeleton) -> tuple[int, int]:
        """(J, D) of a state; the root has no rotation of its own."""
        return len(skeleton.joints) - (self.representation is not None), self.width


_SPACES = (
    Space("person", "joints"),
    Space("image_depth", "image_depth"),
    Space("screen", "screen", keypoint_width=2),
    *(Space(name, "rotations", r.width, representation=r) for name, r in REPRESENTATIONS.items()),
)
SPACES: dict[str, Space] = {space.name: space for space in _SPACES}
