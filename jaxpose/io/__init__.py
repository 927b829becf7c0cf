"""Reading and writing files: `read` detects the content of a file or folder and returns it, `write` writes a value.

Each format has a module, and an entry in `_KINDS` or `_WRITERS`.

    value           holds                                                     files
    Body            a body model                                              .pkl; .npz with v_template, kintree_table
    Heatmaps        2D joint heatmaps of one person                           .npz with heatmaps; .npy [N, J, h, w]
    MultiView       keypoints of one person in several calibrated cameras     .npz with keypoints, K, R, t
    PartialMotion   joint rotations of one person                             .bvh, .amc; .npz of AMASS; .npy [F, width]
    Poses3D         3D joints of people                                       .npz, .npy, .csv, .json, .trc, .c3d
    Keypoints       2D keypoints of people                                    .npz, .npy, .csv, .json, folders

A file is opened and parsed once. Written are bodies (.npz), motions (.npz, .bvh) and markers (.trc, .c3d).
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from jaxpose.files import FilePath
from jaxpose.geometry.body import Body
from jaxpose.io.arrays import UNITS, Source, source_of
from jaxpose.io.body_files import holds_body, load_body, save_body
from jaxpose.io.c3d import write_c3d
from jaxpose.io.heatmap_files import Heatmaps, holds_heatmaps, read_heatmaps
from jaxpose.io.keypoints import Keypoints, read_keypoints
from jaxpose.io.markers import Markers, placed, write_trc
from jaxpose.io.motion import Motion, PartialMotion, holds_rotations, read_rotations, save_motion
from jaxpose.io.multiview import MultiView, holds_multiview, read_multiview
from jaxpose.io.poses3d import Poses3D, holds_poses3d, read_poses3d
from jaxpose.io.retarget import write_motion_bvh
from jaxpose.reading import reading

Data: TypeAlias = Body | Heatmaps | MultiView | PartialMotion | Poses3D | Keypoints


__all__ = ["Data", "kind_of", "read", "write"]


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


def _write_c3d(path: FilePath, markers: Markers) -> None:
    radius = None if markers.radius is None else UNITS[markers.unit] * markers.radius
    write_c3d(path, markers.names, placed(markers, "z"), markers.fps, radius, markers.first)


_WRITERS: Mapping[tuple[type, str], Callable[..., None]] = {
    (Body, ".npz"): save_body,
    (Motion, ".npz"): save_motion,
    (Motion, ".bvh"): write_motion_bvh,
    (Markers, ".trc"): lambda path, m: write_trc(path, m.names, placed(m, "y"), m.fps, m.first),
    (Markers, ".c3d"): _write_c3d,
}


def write(value: Body | Motion | Markers, path: FilePath, **options: Any) -> None:
    """Write `value` as the file `path`, in the format that its suffix names.

    options: of the writer of that format, which describes them: `write_motion_bvh` (offsets, unit). ValueError where
    no format of that suffix holds such a value.
    """
    suffix = Path(path).suffix.lower()
    if (type(value), suffix) not in _WRITERS:
        suffixes = ", ".join(end for kind, end in _WRITERS if isinstance(value, kind)) or "nothing"
        raise ValueError(f"{path}: suffix {suffix!r}; a {type(value).__name__} is written as one of {suffixes}")
    _WRITERS[type(value), suffix](path, value, **options)


def kind_of(path: FilePath, among: Sequence[type[Data]] = tuple(_KINDS)) -> type[Data]:
    """The type of a file's or folder's content, of the types `among`: the first in the module's order that fits.

    If none fits, the last: its reader then names the fault.
    """
    source = source_of(path)
    asked = [kind for kind in _KINDS if kind in among]
    if not asked:
        raise ValueError(f"among: got {among}; must be one of {', '.join(kind.__name__ for kind in _KINDS)}")
    return next((kind for kind in asked[:-1] if _holds(kind, source)), asked[-1])


def _holds(kind: type[Data], source: Source) -> bool:
    try:
        with reading(source, "file"):
            return not source.path.is_dir() and _KINDS[kind].holds(source)
    except ValueError:
        return False  # damaged


def read(path: FilePath, *, among: Sequence[type[Data]] = tuple(_KINDS), **options: Any) -> Data:
    """The content of a file or folder, as one of the types `among`.

    options: of the reader of that type, which describes them: `read_keypoints` (skeleton, format, camera),
    `read_heatmaps` (skeleton, image_size, missing), `read_multiview` (points, up, cameras, min_confidence),
    `read_poses3d` (skeleton, up, unit), `read_rotations` (up, fps, asf, gaps). None: the reader's default. ValueError
    where an option does not apply to the content, and where the reader finds a fault.
    """
    source = source_of(path)
    words, _, reader = _KINDS[kind_of(source, among)]
    given = {name: value for name, value in options.items() if value is not None}
    known = list(inspect.signature(reader).parameters)[1:]
    for name in given:
        if name not in known:
            allowed = f"must be one of {', '.join(known)}" if known else "nothing does"
            raise ValueError(f"{source} holds {words}: {name} does not apply; {allowed}")
    return reader(source, **given)
