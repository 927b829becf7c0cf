"""What the 2D files of VideoPose3D and DiffPose say of themselves: the dict `metadata` beside `positions_2d`."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxpose.files import FilePath
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.io.arrays import reading
from jaxpose.io.untrusted.unpickle import load_dict


def read_metadata(path: FilePath) -> Mapping[str, Any]:
    """The dict `metadata` of a file, {} where it has none."""
    with reading(path, ".npz file"), zipfile.ZipFile(path) as archive:
        if "metadata.npy" not in archive.namelist():
            return {}
    return load_dict(path, "metadata")


def check_layout(path: Path) -> None:
    """ValueError for a 2D file whose metadata names another joint set (COCO has 17 joints, too)."""
    pairs = read_metadata(path).get("keypoints_symmetry")
    legal = [list(H36M_17.left), list(H36M_17.right)]
    if pairs is not None and str(pairs) != str(legal):
        raise ValueError(f"{path}: its left and right joints are {pairs}; needed {legal}, Human3.6M's")
