"""Old name of a question that `io.kind_of` answers, until the commands ask that."""

import os

from jaxpose.io.contents import kind_of
from jaxpose.io.keypoints import Keypoints
from jaxpose.io.poses3d import Poses3D


def holds_poses3d(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one of 3D joints, rather than of 2D keypoints or of neither."""
    return kind_of(path, (Poses3D, Keypoints)) is Poses3D
