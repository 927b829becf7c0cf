"""Calibration files: cameras with names, image sizes, lenses and places; the content determines the format.

    TOML                 a table for each camera: name, size, matrix [3, 3], distortions, rotation (a rotation vector),
                         translation, x_cam = R x_world + t. Pose2Sim (metres; has the key `fisheye`) and Anipose (the
                         unit of its board, most often mm)
    Qualisys XML         <calibration><cameras><camera serial=...> with fov_video, transform and intrinsic; mm
    OpenCV FileStorage   .yml or .xml of one camera (camera_matrix, distortion_coefficients, image_width; rvec or R,
                         tvec or T), of a stereo pair (M1, D1, M2, D2, R, T: x_2 = R x_1 + T) or of several (EasyMocap's
                         K_NAME, dist_NAME, Rot_NAME or R_NAME, T_NAME, H_NAME, W_NAME). A folder: all its files

Qualisys: lengths on the sensor are in 1/64 pixel, u = u_64 / 64 - left of fov_video. x, y, z is the camera's place. The
rows of (r_ij) are the camera's axes in the world, with y up and z backwards: R_cam_world = diag(1, -1, -1) (r_ij). Its
distortion is OpenCV's, of coordinates over the focal length. Pose2Sim's converter divides it by 64 too, which leaves
next to none of it.

Lenses that are not k1, k2, p1, p2, k3 are refused: fisheye, rational and thin prism models, skew.
Sources: OpenCV's documentation of FileStorage, calibrateCamera and Rodrigues; calibration exports of Qualisys' QTM; the
files and converters of Pose2Sim, aniposelib and EasyMocap.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from xml.etree import ElementTree

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Camera
from jaxpose.files import FilePath
from jaxpose.geometry.camera import check_intrinsics
from jaxpose.io.arrays import UNITS, Shape, Source, as_finite, as_rotation, as_size, positions_of, source_of
from jaxpose.io.take import rotation_matrices
from jaxpose.reading import reader

_FARTHEST = 100.0  # metres between cameras, or from one to the origin: beyond it numbers are taken as millimetres
_SUBPIXEL = 64.0  # Qualisys: parts of a pixel
_OTHER_LENSES = ("fisheye", "equidistant", "kannala_brandt", "omnidir")


class Calibration(NamedTuple):
    """Cameras by name: intrinsics [4], distortion [5], R_cam_world [3, 3], t_cam [3] metres, size in pixels.

    R_cam_world and t_cam are None for all cameras, where the file has lenses only; size is None where it is
    unknown. format: name of the file's format. unit: unit of its lengths, "m", "cm" or "mm".
    """

    names: tuple[str, ...]
    cameras: tuple[Camera, ...]
    format: str
    unit: str


_Named: TypeAlias = list[tuple[str, Camera]]  # cameras of numpy, t in the file's unit


@reader("calibration")
def read_calibration(path: FilePath, *, unit: str | None = None) -> Calibration:
    """The cameras of a calibration file, or of a folder of OpenCV's files, in the file's order.

    unit: of lengths, "m", "cm" or "mm"; None: the format's; where it has none, millimetres if cameras are 100 or more
    apart, else metres. ValueError names the file and camera, what was found and what is needed.
    """
    if unit is not None and unit not in UNITS:
        raise ValueError(f"unit of the calibration: got {unit!r}; must be one of {', '.join(UNITS)}")
    path = Path(path)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in (".yml", ".yaml", ".xml"))
        nodes = [_storage(source_of(p)) for p in files]
        if not any(nodes):
            raise ValueError(f"{path}: a folder without OpenCV's calibration files (.yml, .xml)")
        named, words, native = _of_storage(path, {k: v for n in nodes if n for k, v in n.items()}), "OpenCV", None
    else:
        named, words, native = _read(source_of(path))
    if not named:
        raise ValueError(f"{path}: no cameras in it")
    names, cameras = zip(*named, strict=True)
    if len(set(names)) != len(names):
        raise ValueError(f"{path}: two cameras have the same name; it has {', '.join(names)}")
    if len({camera.t_cam is None for camera in cameras}) > 1:
        raise ValueError(f"{path}: some cameras have a rotation and translation and some have not")
    unit = unit or native or _unit_of(cameras)
    if cameras[0].t_cam is not None:
        cameras = tuple(c._replace(t_cam=np.float32(UNITS[unit] * c.t_cam)) for c in cameras)
    return Calibration(names, cameras, words, unit)


def select(calibration: Calibration, asked: Iterable[str], what: str = "--cameras") -> Calibration:
    """The cameras of these names or numbers (from 0), in this order; ValueError, opening with `what`, otherwise."""
    chosen = positions_of(calibration.names, asked, what)
    names, cameras = calibration.names, calibration.cameras
    return calibration._replace(names=tuple(names[c] for c in chosen), cameras=tuple(cameras[c] for c in chosen))


def stacked(cameras: Iterable[Camera]) -> Camera:
    """One Camera with axes [C, ...] of cameras with places; their sizes are left out."""
    columns = zip(*(camera[:4] for camera in cameras), strict=True)
    intrinsics, distortion, R_cam_world, t_cam = (jnp.stack([jnp.asarray(x) for x in each]) for each in columns)
    return Camera(intrinsics, distortion, R_cam_world, t_cam)


def resized(camera: Camera, size: tuple[int, int] | None, what: str) -> Camera:
    """The camera of images that were scaled to `size` pixels; ValueError, opening with `what`, at another aspect.

    Where either size is not known, the camera is returned as it is.
    """
    if size is None or camera.size in (None, size):
        return camera
    ratio = np.array(size, float) / np.array(camera.size, float)
    if abs(ratio[0] / ratio[1] - 1) > 0.01:
        (w, h), (cw, ch) = size, camera.size
        raise ValueError(
            f"{what}: images are {w} x {h}, and the calibration is of {cw} x {ch}; needed one aspect ratio"
        )
    return camera._replace(intrinsics=(camera.intrinsics * np.tile(ratio, 2)).astype(np.float32), size=size)


def _read(source: Source) -> tuple[_Named, str, str | None]:
    """Cameras, the name of the format, and its unit where the format determines it."""
    start = source.text.lstrip()[:64]
    if start.startswith("<"):
        root = _xml(source)
        if root.find("cameras/camera") is not None:
            return [_qualisys(source, c) for c in root.iterfind("cameras/camera")], "Qualisys", "mm"
        if root.tag == "opencv_storage":
            return _of_storage(source.path, _xml_storage(root)), "OpenCV", None
        raise ValueError(f"{source}: XML of <{root.tag}>; needed Qualisys' <calibration> or OpenCV's <opencv_storage>")
    if start.startswith("%YAML") or source.suffix in (".yml", ".yaml"):
        return _of_storage(source.path, _storage(source) or {}), "OpenCV", None
    try:
        content = tomllib.loads(source.text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        kinds = "TOML (Pose2Sim, Anipose), Qualisys XML, and OpenCV YAML or XML"
        raise ValueError(f"{source}: no calibration file; must be one of {kinds} ({error})") from None
    tables = {key: value for key, value in content.items() if isinstance(value, dict) and "matrix" in value}
    if not tables:
        raise ValueError(f"{source}: TOML without a table of a camera (matrix, distortions, rotation, translation)")
    pose2sim = any("fisheye" in table for table in tables.values())
    cameras: _Named = []
    for name, table in ((str(table.get("name", key)), table) for key, table in tables.items()):
        if table.get("fisheye"):
            raise _lens(f"{source}: camera {name}", "a fisheye lens")
        parts = (table.get(key) for key in ("matrix", "distortions", "rotation", "translation", "size"))
        cameras.append((name, _camera(f"{source}: camera {name}", *parts)))
    return cameras, "Pose2Sim" if pose2sim else "Anipose", "m" if pose2sim else None


def _qualisys(source: Source, camera: ElementTree.Element) -> tuple[str, Camera]:
    name = camera.get("serial", "")
    place = f"{source}: camera {name}"

    def numbers(tag: str, *keys: str) -> np.ndarray:
        node = camera.find(tag)
        values = [None if node is None else node.get(key) for key in keys]
        if None in values:
            raise ValueError(f"{place} lacks {keys[values.index(None)]} of <{tag}>")
        return _numbers(place, tag, values)

    if (turned := camera.get("viewrotation", "0")) not in ("0", ""):
        raise ValueError(f"{place} has viewrotation {turned}; needed 0, images as the sensor has them")
    left, top, right, bottom = numbers("fov_video", "left", "top", "right", "bottom")
    lens = numbers("intrinsic", "focalLengthU", "focalLengthV", "centerPointU", "centerPointV", "skew") / _SUBPIXEL
    matrix = [[lens[0], lens[4], lens[2] - left], [0, lens[1], lens[3] - top], [0, 0, 1]]
    bent = numbers("intrinsic", *(f"radialDistortion{k}" for k in "123"), *(f"tangentalDistortion{k}" for k in "12"))
    axes = numbers("transform", *(f"r{i}{j}" for i in "123" for j in "123")).reshape(3, 3)
    R = np.diag([1.0, -1.0, -1.0]) @ axes
    t = -R @ numbers("transform", "x", "y", "z")
    size = round(right - left) + 1, round(bottom - top) + 1
    return name, _camera(place, matrix, bent[[0, 1, 3, 4, 2]], R, t, size)


def _of_storage(path: Path, nodes: Mapping[str, Any]) -> _Named:
    """The cameras of the matrices and scalars of OpenCV's storage, by their names there."""
    model, name = str(nodes.get("distortion_model", "")), str(nodes.get("camera_name", path.stem))
    if model.lower() in _OTHER_LENSES or str(nodes.get("fisheye_model", "0")) not in ("0", ""):
        raise _lens(f"{path}: camera {name}", "a fisheye lens")

    def of(name: str, *keys: str) -> tuple[str, Camera]:
        """The camera of the first of some keys each: matrix, distortion, rotation, translation, width, height."""
        parts = [next((nodes[k] for k in few.split() if k in nodes), None) for few in keys]
        size = None if None in (parts[4], parts[5]) else parts[4:]
        return name, _camera(f"{path}: camera {name}", *(*parts[:4], size))

    size = "image_width width", "image_height height"
    if "camera_matrix" in nodes or "K" in nodes or "cameraMatrix" in nodes:
        lens = "camera_matrix cameraMatrix K", "distortion_coefficients dist_coeffs distCoeffs dist D"
        return [of(name, *lens, "R rvec rotation Rot", "T t tvec translation", *size)]
    if {"M1", "M2"} <= set(nodes):
        first, second = of("1", "M1", "D1", "", "", *size), of("2", "M2", "D2", "R", "T", *size)
        if second[1].t_cam is not None:
            first = "1", first[1]._replace(R_cam_world=jnp.eye(3), t_cam=jnp.zeros(3))
        return [first, second]
    names = [key.removeprefix("K_") for key in nodes if key.startswith("K_")]
    if not names:
        raise ValueError(
            f"{path}: lacks camera_matrix, K, M1 and M2, or K_NAME; it has {', '.join(nodes) or 'nothing'}"
        )
    return [of(n, f"K_{n}", f"dist_{n}", f"Rot_{n} R_{n}", f"T_{n}", f"W_{n}", f"H_{n}") for n in names]


def _storage(source: Source) -> dict[str, Any] | None:
    """Matrices [rows, cols] and scalars at the top level of an OpenCV file, by name; None where XML is another's.

    In YAML what is neither matrix nor scalar is passed over.
    """
    if source.text.lstrip().startswith("<"):
        root = _xml(source)
        return _xml_storage(root) if root.tag == "opencv_storage" else None
    values: dict[str, Any] = {}
    for key, inline, body in re.findall(r"^([^\s#%\-][^:\n]*):[ \t]*(.*)((?:\n(?:[ \t-].*)?)*)", source.text, re.M):
        data = re.search(r"data:\s*\[([^\]]*)", body)  # not to the bracket: without one, each start would search anew
        rows, cols = (re.search(rf"{side}:\s*(\d+)", body) for side in ("rows", "cols"))
        if data and rows and cols:
            values[key] = _matrix(source, key, int(rows[1]), int(cols[1]), data[1].replace(",", " "))
        elif inline and not body.strip():
            values[key] = inline.strip().strip("\"'")
    return {key: value for key, value in values.items() if value is not None}


def _xml_storage(root: ElementTree.Element) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for node in root:
        if node.get("type_id") == "opencv-matrix":
            rows, cols, data = (node.findtext(key, "0") for key in ("rows", "cols", "data"))
            values[node.tag] = _matrix(source_of(node.tag), node.tag, int(rows), int(cols), data)
        elif not len(node):
            values[node.tag] = (node.text or "").strip().strip('"')
    return {key: value for key, value in values.items() if value is not None}


def _matrix(source: Source, key: str, rows: int, cols: int, text: str) -> np.ndarray | None:
    """A matrix of numbers; None for matrices of several channels (image points), which no camera has."""
    try:
        values = np.array(text.split(), float)
    except ValueError:
        raise ValueError(f"{source}: {key} holds what is no number") from None
    return values.reshape(rows, cols) if len(values) == rows * cols else None


def _xml(source: Source) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(source.text)
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"{source}: not XML, or cut off: {error}") from None


def _camera(place: str, matrix: Any, distortion: Any, rotation: Any, translation: Any, size: Any) -> Camera:
    """A camera of numpy arrays, its position in the file's unit; None: what is not in the file."""
    K = _numbers(place, "matrix", matrix, (3, 3))
    if K[1, 0] or (K[2] != (0, 0, 1)).any():
        raise ValueError(f"{place}: matrix {K.round(3).tolist()}; needed 0 fy cy and 0 0 1 below")
    if abs(K[0, 1]) > 1e-3 * abs(K[0, 0]):
        raise ValueError(f"{place} has skew {K[0, 1]:g}; needed square or upright pixels")
    intrinsics = check_intrinsics(np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2]]), f"{place}: matrix")
    bent = _numbers(place, "distortion", () if distortion is None else distortion).ravel()
    if len(bent) > 5 and abs(bent[5:]).max() > 0:
        raise _lens(place, f"{len(bent)} coefficients of distortion")
    bent = np.pad(bent[:5], (0, max(5 - len(bent), 0))).astype(np.float32)
    pixels = None if size is None else as_size(place, "size", _numbers(place, "size", size))
    return Camera(intrinsics, bent, *_placed(place, rotation, translation), pixels)


def _placed(place: str, rotation: Any, translation: Any) -> tuple[Any, Any]:
    """R [3, 3] and t [3] of a rotation matrix or vector and a translation; None where both are missing."""
    if rotation is None and translation is None:
        return None, None
    if rotation is None or translation is None:
        lacks = "rotation" if rotation is None else "translation"
        raise ValueError(f"{place} lacks the {lacks}, and has the other")
    R, t = _numbers(place, "rotation", rotation), _numbers(place, "translation", translation).ravel()
    if R.size not in (3, 9) or t.size != 3:
        shapes = f"{list(R.shape)} and {list(t.shape)}"
        raise ValueError(f"{place}: rotation and translation are {shapes}; needed [3] or [3, 3], and [3]")
    R = as_rotation(place, "rotation", rotation_matrices(R.ravel()) if R.size == 3 else R.reshape(3, 3))
    return R.astype(np.float32), t


def _unit_of(cameras: Iterable[Camera]) -> str:
    """Millimetres where cameras are farther apart (one: from the origin) than people can be filmed from, in metres."""
    eyes = np.array([-c.R_cam_world.T @ c.t_cam for c in cameras if c.R_cam_world is not None and c.t_cam is not None])
    if not len(eyes):
        return "m"
    away = eyes - eyes[0] if len(eyes) > 1 else eyes
    return "mm" if np.linalg.norm(away, axis=-1).max() >= _FARTHEST else "m"


def _numbers(place: str, what: str, value: Any, *shapes: Shape) -> np.ndarray:
    try:
        array = np.asarray(value, float)
    except (TypeError, ValueError):
        raise ValueError(f"{place}: {what} is {str(value)[:60]!r}; needed numbers") from None
    return as_finite(place, what, array, *shapes)


def _lens(place: str, lens: str) -> ValueError:
    allowed = "must be OpenCV's k1, k2, p1, p2, k3"
    return ValueError(f"{place} has {lens}, and {allowed}; undistort the images with the tool that made the file")
