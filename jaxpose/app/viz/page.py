"""A page: one HTML file that shows poses or bodies in 3D over time, in any browser with WebGL 2, without a network.

Inside are the description of what is shown (JSON), its arrays, and the viewer: the modules of web/, which the demo for
browsers bundles too. `page.html#3` opens step 3. Positions in the page are in display axes, x right, y up, z to the
viewer; the viewer shows them in the axes of the data. Beside the scene is the 2D input, on its film where there is one.

Arrays are one compressed block of text, and positions 16-bit integers: x is stored as the integer q nearest to
(x - middle) / step, and read back as middle + step q, off by at most step / 2 along each axis. The step is the given
one, or larger where the range asks for it. What lies farther from the median than `reach`, as a diverged sample, is a
gap like what is not finite (q = -2^15). Along an axis of time the integers are stored as differences modulo 2^16, and
of all numbers the low bytes come before the high ones: both make zlib's work smaller. `web/data.js` reads what is
written here.
"""

import base64
import html
import io
import json
import os
import re
import zlib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxpose.app.viz import scene as sc
from jaxpose.files import atomic
from jaxpose.geometry.axes import R_CAM_WORLD
from jaxpose.geometry.skeleton import Skeleton

REACH = 60.0  # metres about the median
_LIMIT = 2**15 - 1
_MISSING = -(2**15)


class Packer:
    """Collects arrays; each `add` returns the description by which a page finds the array again."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}  # what is there already, such as a second body of one shape, is found again
        self._size = 0

    def add(self, array: np.ndarray, *, time: int | None = None) -> dict[str, Any]:
        """An array of integers of 1, 2 or 4 bytes; time: the axis along which differences are stored."""
        array = np.ascontiguousarray(array)
        size = array.dtype.itemsize
        shape: dict[str, Any] = {"shape": list(array.shape), "bytes": size, "signed": array.dtype.kind == "i"}
        if time is not None:
            first = np.take(array, [0], axis=time)
            array = np.concatenate([first, np.diff(array, axis=time)], axis=time)
            shape["time"] = time
        planes = array.reshape(-1, 1).view(np.uint8).reshape(-1, size).T
        return {"at": self._place(planes.tobytes()), **shape}

    def positions(
        self, points: np.ndarray, step: float, *, reach: float = REACH, time: int | None = None
    ) -> dict[str, Any]:
        """Points [..., D] of any unit, each axis with a middle of its own."""
        middle, step, whole = quantised(points, step, reach)
        return self.add(whole, time=time) | {"step": step, "middle": middle.tolist()}

    def content(self, content: bytes) -> dict[str, Any]:
        """The bytes of a file."""
        return {"at": self._place(content), "shape": [len(content)], "bytes": 1, "signed": False}

    def text(self) -> str:
        """All arrays, compressed (zlib), as base64."""
        return base64.b64encode(zlib.compress(b"".join(self._places), 9)).decode()

    def _place(self, content: bytes) -> int:
        if content not in self._places:
            self._places[content] = self._size
            self._size += len(content)
        return self._places[content]


def quantised(points: np.ndarray, step: float, reach: float = REACH) -> tuple[np.ndarray, float, np.ndarray]:
    """Middle [D], step and int16 of points [..., D]: x = middle + step q within step / 2; -2^15 where there is a gap.

    reach: how far from the median a point may lie along each axis.
    """
    points = np.asarray(points, np.float64)
    width = points.shape[-1]
    finite = np.isfinite(points).all(-1)
    if not finite.any():
        return np.zeros(width), step, np.full(points.shape, _MISSING, np.int16)
    centre = np.median(points[finite], axis=0)
    near = finite & (np.abs(np.where(finite[..., None], points, np.inf) - centre) <= reach).all(-1)
    if not near.any():  # the median lies between two groups
        near = finite
    low, high = points[near].min(0), points[near].max(0)
    middle = (low + high) / 2
    step = max(step, float((high - low).max()) / 2 / _LIMIT)
    whole = np.rint((np.where(near[..., None], points, middle) - middle) / step)
    return middle, step, np.where(near[..., None], whole, _MISSING).astype(np.int16)


STEP, PIXEL_STEP = 5e-4, 0.25  # metres, pixels: of quantised positions
_PIXEL_REACH = 1e5
_CAMERA_TO_DISPLAY = np.array([1.0, -1.0, -1.0])
_AXES = {
    "-y": ("camera axes: x right, y down, z forward", ("x", "y", "z")),
    "y": ("world axes: y up", ("x", "y", "z")),
    "z": ("world axes: z up", ("x", "y", "z")),
}
_SCRIPTS = "data vectors shaders renderer drawing panel timeline drag legend keys viewer start"  # in order
_MODULE_WORDS = re.compile("^(import .*\n|export )", re.MULTILINE)  # which one script of all modules does not need
_COLOURS = {sc.LIMBS: "sides", sc.PALE_LIMBS: "pale", (sc.TRUTH,) * 3: "truth", (sc.GIVEN,) * 3: "given"}
_BONE, _DOT = 0.0032, 0.0045  # metres of radius for a layer's width and dot


class Steps(NamedTuple):
    """labels: one per step; seconds: between steps while playing; start: the step shown first."""

    labels: tuple[str, ...]
    seconds: float
    start: int = 0


class Page(NamedTuple):
    """A page's title, what it shows (JSON values) and the arrays of that (base64)."""

    title: str
    content: dict[str, Any]
    arrays: str

    def html(self) -> str:
        """The whole file."""
        content = json.dumps(self.content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        parts = {"TITLE": html.escape(self.title), "CONTENT": content, "ARRAYS": self.arrays}
        return re.sub("@([A-Z]+)@", lambda match: parts[match[1]], _template())

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write it as one HTML file; ValueError for a folder that is not there."""
        with atomic(path) as file:
            file.write(self.html().encode("utf-8"))
        return Path(path)

    def __repr__(self) -> str:
        """Short: a notebook keeps it beside the page."""
        return f"Page({self.title!r}, {len(self.arrays) / 1e6:.1f} MB)"

    def _repr_html_(self) -> str:
        title, page = html.escape(self.title), html.escape(self.html())
        return f'<iframe title="{title}" style="width:100%;height:640px;border:0" srcdoc="{page}"></iframe>'


@cache
def _template() -> str:
    """The page with its style and scripts; title, content and arrays are still to be put in."""
    folder = files("jaxpose.app.viz") / "web"
    page, style = ((folder / name).read_text(encoding="utf-8") for name in ("page.html", "style.css"))
    script = "\n".join((folder / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS.split())
    return page.replace("@STYLE@", style).replace("@SCRIPT@", _MODULE_WORDS.sub("", script))


def make_page(packer: Packer, title: str, note: str, caption: list[str], steps: Steps, up: str, **parts: Any) -> Page:
    """A page of parts whose arrays are in the packer; title, note and labels may hold any character."""
    words, names = _AXES[up]
    turn = R_CAM_WORLD[up].T @ np.diag(_CAMERA_TO_DISPLAY) + 0.0  # the data's axes from those of the display
    title = sc.printable(title, 200)
    content = {
        **{"title": title, "note": sc.printable(note, 400), "caption": [part for part in caption if part]},
        "axes": {"turn": turn.tolist(), "names": names, "said": words},
        "steps": {"labels": steps.labels, "seconds": steps.seconds, "start": steps.start},
        **{key: value for key, value in parts.items() if value is not None},
    }
    return Page(title, content, packer.text())


def display(points: np.ndarray) -> np.ndarray:
    """Camera axes (x right, y down, z forward) to those of the display; its own inverse."""
    return points * _CAMERA_TO_DISPLAY


def skeleton_part(skeleton: Skeleton) -> dict[str, Any]:
    """A skeleton for the viewer; sides: 0 left, 1 right, 2 middle."""
    return {"joints": skeleton.joints, "parents": skeleton.parents, "sides": sc.joint_sides(skeleton)}


def layer_part(packer: Packer, layer: sc.Layer, skeleton: int = 0) -> dict[str, Any]:
    """A layer for the viewer; skeleton: the number of its skeleton."""
    solid, moves = layer.poses.shape[-1] == 3, layer.poses.shape[1] > 1
    time = 1 if moves else None
    if solid:
        poses = packer.positions(display(layer.poses), STEP, time=time)
    else:
        poses = packer.positions(layer.poses, PIXEL_STEP, reach=_PIXEL_REACH, time=time)
    strength = None if layer.strength is None else np.rint(255 * layer.strength).astype(np.uint8)
    thick = layer.dot > 0 or layer.width > 3
    part = {
        **{"name": layer.name, "group": layer.group or layer.name, "skeleton": skeleton, "poses": poses},
        **{"colour": _COLOURS.get(layer.colours, layer.colours[2]), "width": layer.width, "opacity": layer.opacity},
        **{"bone": layer.width * _BONE if thick else 0, "dot": layer.dot * (_DOT if solid else 1)},
        "bones": None if layer.bones is None else packer.add(layer.bones.astype(np.uint8)),
        "strength": None if strength is None else packer.add(strength, time=1 if strength.shape[1] > 1 else None),
    }
    return {key: value for key, value in part.items() if value is not None}


def frame_of(points: list[np.ndarray]) -> dict[str, Any]:
    """The box of points [..., 3] in display axes that should be in sight, without the farthest hundredth."""
    flat = np.concatenate([p.reshape(-1, 3) for p in points])
    flat = flat[np.isfinite(flat).all(-1)]
    low, high = np.quantile(flat, 0.005, axis=0), np.quantile(flat, 0.995, axis=0)
    return {"low": np.round(low, 4).tolist(), "high": np.round(high, 4).tolist()}


_MARGIN = 0.08  # of the larger extent of what is seen
_BYTES = 1_100_000  # of all pictures of a film: with base64, half of a page of 3 MB
_HEIGHTS, _QUALITY = (360, 270, 216, 180, 144, 108, 72), 45  # px; of JPEG


def flat_part(
    packer: Packer, scene: sc.Scene, image_size: tuple[int, int] | None, film: Sequence[bytes | None] | None
) -> dict[str, Any] | None:
    """The 2D layers of a scene and what lies behind them; None without any.

    image_size: width and height of the picture in pixels, where the layers lie in one. film: a JPEG for each row.
    """
    if not scene.flat:
        return None
    low, high = sc.pixel_bounds(scene.flat)
    margin = max(_MARGIN * float(np.max(high - low)), 1.0)
    box = np.array([low - margin, high + margin])
    if image_size is not None:
        box = np.array([[0, 0], image_size], float)
    part: dict[str, Any] = {"layers": [layer_part(packer, layer) for layer in scene.flat]}
    if film is not None and any(film) and image_size is not None:
        part["film"] = [None if picture is None else packer.content(picture) for picture in film]
    return part | {"low": box[0].round(2).tolist(), "high": box[1].round(2).tolist()}


def film_of(pictures: Iterable[tuple[int, np.ndarray]], frame: np.ndarray, most: int = 300) -> list[bytes | None]:
    """A JPEG for each row of frames [N], None where no picture has its number.

    pictures: number and RGB [h, w, 3] uint8 of frames in rising order, read once and not kept. At most `most` frames
    have one, those that a page shows; they are as high as all fit into 1.1 MB if they compress like the first.
    """
    numbers = np.unique(frame)
    wanted = {int(number) for number in numbers[sc.strided(len(numbers), most)]}
    jpegs: dict[int, bytes] = {}
    height = 0
    for number, picture in pictures:
        if number in wanted:
            fits = (h for h in _HEIGHTS if len(wanted) * len(_jpeg(picture, h)) < _BYTES)
            height = height or next(fits, _HEIGHTS[-1])
            jpegs[number] = _jpeg(picture, height)
        if number >= max(wanted):
            break
    return [jpegs.get(int(number)) for number in frame]


def _jpeg(picture: np.ndarray, height: int) -> bytes:
    image, file = sc.need("PIL.Image"), io.BytesIO()
    height = min(height, picture.shape[0])
    size = (max(1, round(picture.shape[1] * height / picture.shape[0])), height)
    image.fromarray(picture).resize(size, image.Resampling.BOX).save(file, "JPEG", quality=_QUALITY, optimize=True)
    return file.getvalue()
