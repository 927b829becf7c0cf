"""Reader of EHF: 100 images with keypoints and SMPL-X meshes, the evaluation set of SMPL-X.

    NN_img.jpg or .png   1600 x 1200 pixels          NN_2Djnt.json   OpenPose's keypoints
    NN_align.ply         the true SMPL-X mesh, metres, in the world's frame (y up)              NN = 01, 02, ..., 100

    x_cam = R x_world + t,  uv = f x_cam / z + c

Cameras. `PUBLISHED` is the calibration that comes with the data. `DPOSER_SCRIPT` is what DPoser's scripts assume
instead: f the image's diagonal, c its middle, and the truth turned by the published R with no translation
(spec/dposer.md 7.3, 10.14). These poses project elsewhere than the person in the image.

Meshes in PLY files are ascii or binary little endian: a header names elements with their number and properties, and
their values follow in that order. The first element must be `vertex`; the others are not read.

Sources: Pavlakos et al., Expressive Body Capture, CVPR 2019; the data's EHF_camera.txt; G. Turk, The PLY Polygon File
Format, 1994.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxpose.files import FilePath
from jaxpose.io.arrays import Source
from jaxpose.io.take import rotation_matrices
from jaxpose.reading import opened, reading

IMAGE_SIZE = (1600, 1200)
NUM_IMAGES = 100


_TYPES = {
    **{"char": "<i1", "uchar": "<u1", "short": "<i2", "ushort": "<u2", "int": "<i4", "uint": "<u4"},
    **{"int8": "<i1", "uint8": "<u1", "int16": "<i2", "uint16": "<u2", "int32": "<i4", "uint32": "<u4"},
    **{"float": "<f4", "double": "<f8", "float32": "<f4", "float64": "<f8"},
}
_FARTHEST = 1e9  # in any unit
_FORMATS = ("ascii", "binary_little_endian")


class EhfCamera(NamedTuple):
    """Intrinsics [4] fx, fy, cx, cy pixels, rotation [3] axis-angle of R_cam_world, radians, t_cam [3] metres."""

    intrinsics: np.ndarray
    rotation: np.ndarray
    t_cam: np.ndarray


_ROTATION = np.array([-2.98747896, 0.01172457, -0.05704687])
PUBLISHED = EhfCamera(
    np.array([1498.22426237, 1498.22426237, 790.263706, 578.90334]),
    _ROTATION,
    np.array([-0.03609917, 0.43416458, 2.37101226]),
)
DPOSER_SCRIPT = EhfCamera(np.array([2000.0, 2000.0, 800.0, 600.0]), _ROTATION, np.zeros(3))


class Ehf(NamedTuple):
    """N images: name [N] "01", ..., image their paths, keypoints [N, 25, 3] BODY_25 pixels and confidence.

    vertices: [N, V, 3] float64 metres in the world's frame.
    """

    name: np.ndarray
    image: tuple[Path, ...]
    keypoints: np.ndarray
    vertices: np.ndarray


def load_ehf(folder: FilePath, names: tuple[str, ...] | None = None) -> Ehf:
    """The images "01" to "100" of a folder, or those of `names`; ValueError names files that are missing or damaged.

    Of several people in a keypoint file, the one with the largest sum of confidences is read.
    """
    folder = Path(folder)
    names = tuple(f"{i:02d}" for i in range(1, NUM_IMAGES + 1)) if names is None else names
    paths = {name: [folder / f"{name}_img{suffix}" for suffix in (".jpg", ".png")] for name in names}
    images = [next((path for path in pair if path.is_file()), None) for pair in paths.values()]
    keypoints, meshes = ([folder / f"{name}_{end}" for name in names] for end in ("2Djnt.json", "align.ply"))
    missing = [f"{name}_img.jpg (or .png)" for name, image in zip(names, images, strict=True) if image is None]
    missing += [path.name for path in (*keypoints, *meshes) if not path.is_file()]
    if missing:
        listed = ", ".join(missing[:6]) + (f" and {len(missing) - 6} more" if len(missing) > 6 else "")
        raise ValueError(f"{folder}: lacks {listed}; needed the images, keypoints and meshes of EHF")
    vertices = [read_ply(path) for path in meshes]
    for path, mesh in zip(meshes, vertices, strict=True):
        if mesh.shape != vertices[0].shape:
            raise ValueError(f"{path}: {len(mesh)} vertices; the first mesh has {len(vertices[0])}, needed as many")
    present = tuple(image for image in images if image is not None)
    return Ehf(np.array(names), present, np.stack([_keypoints(path) for path in keypoints]), np.stack(vertices))


def to_camera(camera: EhfCamera, vertices: np.ndarray) -> np.ndarray:
    """Points [..., V, 3] of the world in the camera's frame: x right, y down, z forward; metres."""
    return np.asarray(vertices) @ rotation_matrices(camera.rotation).T + camera.t_cam


def _keypoints(path: Path) -> np.ndarray:
    """BODY_25 keypoints [25, 3] of the person with the largest sum of confidences."""
    with reading(path, "file of OpenPose keypoints"):
        people: list[Any] = Source(path).json["people"]
        values = [np.array(p["pose_keypoints_2d"], np.float64) for p in people]
        if not values or any(v.size != 75 for v in values):
            sizes = [v.size for v in values]
            raise ValueError(f"people with {sizes} numbers; needed at least one person, and 25 x 3 of each")
        if not all(np.isfinite(v).all() for v in values):
            raise ValueError("a keypoint that is not finite")
        return max((v.reshape(25, 3) for v in values), key=lambda person: person[:, 2].sum())


def read_ply(path: FilePath) -> np.ndarray:
    """Vertices [V, 3] float64 of a mesh, in the file's unit; ValueError names the file."""
    with opened(path, ".ply file") as file:
        data = file.read()
        end = data.find(b"end_header")
        start = data.find(b"\n", end) + 1
        if not data.startswith(b"ply") or end < 0 or start == 0:
            raise ValueError("no PLY header")
        form, num, fields = _header(data[:end].decode("latin1"))
        if form == "ascii":
            rows = [line.split() for line in data[start:].decode("latin1").splitlines() if line.strip()][:num]
            values = np.array(rows, float).reshape(num, len(fields))
            vertices = values[:, [[name for name, _ in fields].index(axis) for axis in "xyz"]]
        else:
            table = np.frombuffer(data, np.dtype(fields), num, start)
            vertices = np.stack([table[axis] for axis in "xyz"], axis=-1).astype(np.float64)
        if not (abs(vertices) < _FARTHEST).all():
            raise ValueError("a vertex that is not finite")
    return vertices


def _header(text: str) -> tuple[str, int, list[tuple[str, str]]]:
    """Format, number of vertices, and name and type of their properties."""
    form, elements, fields = "", list[tuple[str, int]](), list[tuple[str, str]]()
    for line in text.splitlines():
        match line.split():
            case ["format", form, *_]:
                pass
            case ["element", name, count]:
                elements.append((name, int(count)))
            case ["property", *kind, name] if len(elements) == 1:
                fields.append((name, _TYPES[" ".join(kind)]))
    if form not in _FORMATS:
        raise ValueError(f"format {form!r}; must be one of {', '.join(_FORMATS)}")
    if not elements or elements[0][0] != "vertex" or not set("xyz") <= {name for name, _ in fields}:
        raise ValueError("its first element is no vertex with x, y and z")
    return form, elements[0][1], fields
