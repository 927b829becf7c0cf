"""A page: one HTML file that shows poses or bodies in 3D over time, in any browser with WebGL 2, without a network.

Inside are the description of what is shown (JSON), its arrays (packing.py), and the viewer (web/): a renderer and
controls in plain JavaScript. `page.html#3` opens step 3. Positions in the page are in display axes, x right, y up, z to
the viewer; the viewer shows them in the axes of the data.
"""

import html
import json
import os
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxpose.app.viz import scene as sc
from jaxpose.app.viz.packing import Packer
from jaxpose.files import atomic
from jaxpose.geometry.axes import R_CAM_WORLD
from jaxpose.geometry.skeleton import Skeleton

STEP, PIXEL_STEP = 5e-4, 0.25  # metres, pixels: of quantised positions
_PIXEL_REACH = 1e5
_CAMERA_TO_DISPLAY = np.array([1.0, -1.0, -1.0])
_AXES = {
    "-y": ("camera axes: x right, y down, z forward", ("x", "y", "z")),
    "y": ("world axes: y up", ("x", "y", "z")),
    "z": ("world axes: z up", ("x", "y", "z")),
}
_SCRIPTS = ("data.js", "vectors.js", "shaders.js", "renderer.js", "drawing.js", "panel.js", "timeline.js", "viewer.js")
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
    text = {name: (folder / name).read_text(encoding="utf-8") for name in ("page.html", "style.css", *_SCRIPTS)}
    scripts = "\n".join(text[name] for name in _SCRIPTS)
    return text["page.html"].replace("@STYLE@", text["style.css"]).replace("@SCRIPT@", scripts)


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
