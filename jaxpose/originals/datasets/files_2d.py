"""What the 2D files of VideoPose3D and DiffPose say of themselves: the dict `metadata` beside `positions_2d`."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxpose.files import FilePath
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.io.untrusted.unpickle import load_dict
from jaxpose.reading import opened, reader, shown


def read_metadata(path: FilePath) -> Mapping[str, Any]:
    """The dict `metadata` of a file, {} where it has none."""
    with opened(path, ".npz file") as file, zipfile.ZipFile(file) as archive:
        if "metadata.npy" not in archive.namelist():
            return {}
    return load_dict(path, "metadata")


@reader("file of 2D keypoints")
def check_layout(path: Path) -> None:
    """ValueError for a 2D file whose metadata names another joint set (COCO has 17 joints, too)."""
    pairs = read_metadata(path).get("keypoints_symmetry")
    legal = [list(H36M_17.left), list(H36M_17.right)]
    if pairs is not None and shown(pairs) != shown(legal):
        raise ValueError(f"{path}: its left and right joints are {shown(pairs)}; needed {legal}, Human3.6M's")
