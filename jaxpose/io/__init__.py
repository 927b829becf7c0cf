"""Reading and writing files: `read` detects the content of a file or folder and returns it; each format has a module.

    value           holds                                                     files
    Body            a body model                                              .pkl; .npz with v_template, kintree_table
    Heatmaps        2D joint heatmaps of one person                           .npz with heatmaps; .npy [N, J, h, w]
    MultiView       keypoints of one person in several calibrated cameras     .npz with keypoints, K, R, t
    PartialMotion   joint rotations of one person                             .bvh, .amc; .npz of AMASS; .npy [F, width]
    Poses3D         3D joints of people                                       .npz, .npy, .csv, .json, .trc, .c3d
    Keypoints       2D keypoints of people                                    .npz, .npy, .csv, .json, folders

A file is opened and parsed once.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from jaxpose.files import FilePath
from jaxpose.geometry.body import Body
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io.arrays import Source, source_of
from jaxpose.io.body_files import holds_body, load_body
from jaxpose.io.heatmap_files import Heatmaps, holds_heatmaps, read_heatmaps
from jaxpose.io.keypoints import Keypoints, read_keypoints
from jaxpose.io.motion import PartialMotion, holds_rotations, read_rotations
from jaxpose.io.multiview import MultiView, holds_multiview, read_multiview
from jaxpose.io.poses3d import Poses3D, holds_poses3d, read_poses3d
from jaxpose.reading import reading

Data: TypeAlias = Body | Heatmaps | MultiView | PartialMotion | Poses3D | Keypoints


__all__ = ["Data", "kind_of", "read"]


class _Kind(NamedTuple):
    words: str
    holds: Callable[[Source], bool]
    read: Callable[..., Data]


# In the order of asking: the first that a file holds.
_KINDS: Mapping[type[Data], _Kind] = {
    Body: _Kind("a body model", holds_body, load_body),
    Heatmaps: _Kind("heatmaps", holds_heatmaps, read_heatmaps),
    MultiView: _Kind("keypoints of several calibrated cameras", holds_multiview, read_multiview),
    PartialMotion: _Kind("joint rotations", holds_rotations, read_rotations),
    Poses3D: _Kind("3D joints", holds_poses3d, read_poses3d),
    Keypoints: _Kind("2D keypoints", lambda _: True, read_keypoints),
}


def kind_of(path: FilePath, among: Sequence[type[Data]] = tuple(_KINDS)) -> type[Data]:
    """The type of a file's or folder's content, of the types `among`: the first in the module's order that fits.

    If none fits, the last: its reader then names the fault.
    """
    source = source_of(path)
    legal = [kind for kind in _KINDS if kind in among]
    if not legal:
        raise ValueError(f"among: got {among}; must be one of {', '.join(kind.__name__ for kind in _KINDS)}")
    return next((kind for kind in legal[:-1] if _holds(kind, source)), legal[-1])


def _holds(kind: type[Data], source: Source) -> bool:
    try:
        with reading(source, "file"):
            return not source.path.is_dir() and _KINDS[kind].holds(source)
    except ValueError:
        return False  # damaged


def read(
    path: FilePath,
    *,
    among: Sequence[type[Data]] = tuple(_KINDS),
    skeleton: Skeleton | None = None,
    points: str | None = None,
    format: str | None = None,
    camera: str | None = None,
    cameras: Sequence[str] | None = None,
    min_confidence: float | None = None,
    image_size: tuple[int, int] | None = None,
    missing: str | None = None,
    up: str | None = None,
    unit: str | None = None,
    fps: float | None = None,
    asf: FilePath | None = None,
    gaps: bool | None = None,
) -> Data:
    """The content of a file or folder, as one of the types `among`.

    Other arguments go to the reader of that type, which describes them: `read_keypoints` (skeleton, format, camera),
    `read_heatmaps` (skeleton, image_size, missing), `read_multiview` (points, up, cameras, min_confidence),
    `read_poses3d` (skeleton, up, unit), `read_rotations` (up, fps, asf, gaps). None: the reader's default. ValueError
    where an argument does not apply to the content, and where the reader finds a fault.
    """
    source = source_of(path)
    words, _, reader = _KINDS[kind_of(source, among)]
    given: dict[str, Any] = {
        **{"skeleton": skeleton, "points": points, "format": format, "camera": camera, "cameras": cameras},
        **{"min_confidence": min_confidence, "image_size": image_size, "missing": missing, "up": up, "unit": unit},
        **{"fps": fps, "asf": asf, "gaps": gaps},
    }
    given = {name: value for name, value in given.items() if value is not None}
    legal = list(inspect.signature(reader).parameters)[1:]
    for name in given:
        if name not in legal:
            found = f"must be one of {', '.join(legal)}" if legal else "nothing does"
            raise ValueError(f"{source} holds {words}: {name} does not apply; {found}")
    return reader(source, **given)
