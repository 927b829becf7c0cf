"""Bodies as meshes, still or moving, as plotly figures or as one HTML file each (page.py).

One body or several (hypotheses, people, a fit of each method), each in a colour of its own; beside them a true mesh,
their skeletons, and the points that were observed. A slider runs over the frames; play keeps the motion's own speed.
Vertices are binary inside the page, about 20 bytes each and frame. Frames beyond 30 a second, beyond `max_frames` and
beyond `max_megabytes` are left out, a constant stride apart, and the caption says so. Meshes of thousands of faces are
shaded smoothly; `flat` shows the faces.

The frame is the world's with y up (bodies of geometry/body.py face +z, the viewer), or a camera's with y down.
title, note, names and labels are escaped. All raise ValueError for wrong shapes, values that are not finite, and a
folder that is not there; ImportError without plotly.
"""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike

from jaxpose.geometry.skeleton import Skeleton
from jaxpose.viz import figure as fg
from jaxpose.viz import scene as sc
from jaxpose.viz.mesh_stage import UPS, Choice, Stage, Surface, make_stage, mesh_arrays
from jaxpose.viz.page import write_page

_FRAME_NOTES = {"y": "world metres, y up", "-y": "metres in camera axes (x right, y down, z forward)"}
_BYTES = 20  # about, of a vertex in a frame: three float32 in base64, whose slashes a page writes out
# The epsilons: plotly takes triangles of a few square centimetres for points, and leaves them in the dark.
_LIGHT = {
    **{"ambient": 0.4, "diffuse": 0.6, "specular": 0.1, "roughness": 0.6, "fresnel": 0.05},
    **{"facenormalsepsilon": 1e-15, "vertexnormalsepsilon": 1e-15},
}
# From above the viewer's left shoulder, turning with the view: plotly takes it in the screen's axes, z into it.
_LAMP = {"x": -5e4, "y": 1e5, "z": -5e3}
_SECONDS_PER_FRAME, _MAX_FPS = 0.5, 30  # without a frame rate; what a browser draws


class MeshOptions(TypedDict, total=False):
    """What is shown beside bodies [H, F, V, 3], and how.

    names: one per body. joints: [H, F, J, 3] m with their skeleton. truth: [F, V', 3] m, of truth_faces [_, 3] or the
    bodies' own. observed: [F, K, 3] m, points that are not finite are gaps; with bones where observed_skeleton is
    given. Each of them may leave out the axes before its last two that vertices leave out, and F may be 1.
    fps: frames per second; labels: one per frame. up: "y" (world) or "-y" (camera).
    arrange: "over" leaves bodies where they are, "beside" moves them apart along x, the truth first.
    opacity: of the bodies; by default 1, or 0.5 where they would hide something.
    max_bodies (8), max_frames (300), max_megabytes (30): at most so many are shown.
    """

    names: Sequence[str] | None
    joints: ArrayLike | None
    skeleton: Skeleton | None
    truth: ArrayLike | None
    truth_faces: ArrayLike | None
    observed: ArrayLike | None
    observed_skeleton: Skeleton | None
    fps: float | None
    labels: Sequence[str] | None
    up: Literal["y", "-y"]
    arrange: Literal["over", "beside"]
    opacity: float | None
    flat: bool
    max_bodies: int
    max_frames: int
    max_megabytes: float


def mesh_html(
    path: str | os.PathLike[str],
    vertices: ArrayLike,
    faces: ArrayLike,
    *,
    title: str = "Bodies",
    note: str = "",
    library_beside: bool = False,
    **options: Unpack[MeshOptions],
) -> Path:
    """Write meshes [V, 3], [F, V, 3] or [H, F, V, 3] metres with common faces [_, 3] as one HTML file."""
    figure, caption = _meshes(vertices, faces, **options)
    sides = options.get("joints") is not None
    return write_page(path, figure, title, note, caption, library_beside, sides=sides)


def mesh_figure(vertices: ArrayLike, faces: ArrayLike, **options: Unpack[MeshOptions]) -> Any:
    """The plotly Figure of meshes [V, 3], [F, V, 3] or [H, F, V, 3] metres with common faces [_, 3]."""
    return _meshes(vertices, faces, **options)[0]


def _meshes(
    vertices: ArrayLike,
    faces: ArrayLike,
    *,
    fps: float | None = None,
    labels: Sequence[str] | None = None,
    up: Literal["y", "-y"] = "y",
    flat: bool = False,
    max_bodies: int = 8,
    max_frames: int = 300,
    max_megabytes: float = 30.0,
    **options: Any,
) -> tuple[Any, str]:
    """The figure and its caption."""
    if fps is not None and not 0 < fps < np.inf:
        raise ValueError(f"fps: got {fps}, legal is a finite number above 0, or None")
    if up not in UPS:
        raise ValueError(f"up: got {up!r}, legal are {sorted(UPS)}")
    meshes, triangles = mesh_arrays(vertices, faces)
    num_bodies, num_frames = meshes.shape[:2]
    shown = sc.evenly(num_bodies, sc.at_least_one("max_bodies", max_bodies))
    room = int(max_megabytes * 1e6 / (_BYTES * len(shown) * meshes.shape[2]))
    limit = max(1, min(sc.at_least_one("max_frames", max_frames), room))
    stride = max(-(-num_frames // limit), round(fps / _MAX_FPS) if fps else 1, 1)
    rows = np.arange(0, num_frames, stride)
    choice = Choice(shown, rows, (num_bodies, num_frames), up)
    stage = make_stage(meshes, triangles, choice, **options)
    words = _words(rows, num_frames, fps, labels)
    pause_ms = 1000 * (stride / fps if fps else _SECONDS_PER_FRAME)
    figure = _build(stage, choice, fg.Slider(words, pause_ms), flat)
    return figure, _caption(choice, meshes.shape[2], stride)


def _caption(choice: Choice, num_vertices: int, stride: int) -> str:
    (num_bodies, num_frames), shown = choice.counts, len(choice.bodies)
    bodies = "1 body" if num_bodies == 1 else f"{shown} of {num_bodies} bodies"
    frames = f"{len(choice.rows)} of {num_frames} frames" + (f", {stride} apart" if stride > 1 else "")
    axes = _FRAME_NOTES[choice.up]
    return " · ".join([bodies, f"{num_vertices} vertices", frames, axes, f"grid {sc.GRID_METRES} m"])


def _words(rows: np.ndarray, num_frames: int, fps: float | None, labels: Sequence[str] | None) -> tuple[str, ...]:
    """What the slider says at each row."""
    if labels is not None and len(labels) != num_frames:
        raise ValueError(f"labels: got {len(labels)}, legal are {num_frames}, one per frame")
    said = [[f"frame {row} of {num_frames}"] for row in rows]
    for row, parts in zip(rows, said, strict=True):
        parts += [f"{row / fps:.2f} s"] if fps else []
        parts += [html.escape(sc.printable(labels[row]))] if labels is not None and labels[row] else []
    return tuple(" · ".join(parts) for parts in said)


def _build(stage: Stage, choice: Choice, slider: fg.Slider, flat: bool) -> Any:
    """The plotly Figure."""
    go = sc.need("plotly.graph_objects")
    clouds = [fg.upright(s.vertices) for s in stage.surfaces]
    clouds += [fg.upright(layer.poses) for layer, _ in stage.layers]
    low, high = sc.bounds(clouds, margin=0.05)
    floor = float(low[2]) + 0.05
    traces = [_surface_trace(surface, 0, flat) for surface in stage.surfaces]
    moves = [len(surface.vertices) > 1 for surface in stage.surfaces]
    for layer, skeleton in stage.layers:
        new = fg.layer_traces(layer, skeleton, 0)
        traces += new
        moves += [layer.poses.shape[1] > 1] * len(new)
    fixed = [*(fg.legend_key(layer) for layer, _ in stage.layers), fg.ground(low, high, floor)]
    scene = sc.Scene((), (), choice.rows, slider.labels, choice.counts, choice.bodies)
    figure = go.Figure([*traces, *fixed], fg.layout(scene, low, high, float(high[2]) - floor, None))
    if len(choice.rows) > 1:
        numbers = np.flatnonzero(moves).tolist()
        figure.frames = [
            go.Frame(data=[parts[i] for i in numbers], name=str(row), traces=numbers)
            for row, parts in ((row, _row(stage, row)) for row in range(len(choice.rows)))
        ]
        figure.update_layout(fg.controls(slider))
    return figure


def _row(stage: Stage, row: int) -> list[dict[str, Any]]:
    """What changes of every trace in a row."""
    parts = [{"type": "mesh3d", **_xyz(surface, row)} for surface in stage.surfaces]
    for layer, skeleton in stage.layers:
        parts += [fg.moving_part(trace) for trace in fg.layer_traces(layer, skeleton, row)]
    return parts


def _surface_trace(surface: Surface, row: int, flat: bool) -> dict[str, Any]:
    index = np.uint16 if surface.vertices.shape[1] <= 2**16 else np.int32
    return {
        "type": "mesh3d",
        **_xyz(surface, row),
        **dict(zip("ijk", surface.faces.T.astype(index), strict=True)),
        "color": surface.colour,
        "opacity": surface.opacity,
        "flatshading": flat,
        "lighting": _LIGHT,
        "lightposition": _LAMP,
        "name": surface.name,
        "showlegend": True,
        "hoverinfo": "skip",
    }


def _xyz(surface: Surface, row: int) -> dict[str, np.ndarray]:
    vertices = surface.vertices[row if len(surface.vertices) > 1 else 0]
    # not rounded to a millimetre: triangles of a few millimetres would be shaded like gravel
    x, y, z = vertices.astype(np.float32).T
    return {"x": np.copy(x), "y": np.copy(z), "z": -y}
