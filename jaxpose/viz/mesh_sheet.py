"""Contact sheet of bodies: one PNG with a few meshes from three sides.

One row per mesh. Views are orthographic and share one scale. Faces are painted from the farthest to the nearest; their
brightness is Lambert's n.l with a light above and left of the viewer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from jaxpose.files import atomic
from jaxpose.viz import scene as sc
from jaxpose.viz.mesh_stage import COLOURS, mesh_arrays

# In axes x right, y up, z to the viewer: what a view has to the right and towards the viewer; up is up.
_VIEWS = {"front": ((1, 0, 0), (0, 0, 1)), "oblique": ((0.6, 0, -0.8), (0.8, 0, 0.6)), "side": ((0, 0, -1), (1, 0, 0))}
_LAMP = np.array([-0.4, 0.6, 0.7]) / np.linalg.norm([-0.4, 0.6, 0.7])
_INCHES, _DPI = 2.6, 110


def mesh_sheet(
    path: str | os.PathLike[str],
    vertices: ArrayLike,
    faces: ArrayLike,
    *,
    titles: Sequence[str] | None = None,
    up: Literal["y", "-y"] = "y",
    max_rows: int = 8,
) -> Path:
    """Draw meshes [V, 3] or [N, V, 3] metres with common faces [_, 3] as a PNG, at most max_rows, evenly spaced.

    titles: one per mesh. up: "y" (world) or "-y" (camera axes). Raises ValueError for wrong shapes, values that are
    not finite and a folder that is not there; ImportError without matplotlib.
    """
    meshes, triangles = mesh_arrays(vertices, faces)
    if len(meshes) != 1 or up not in ("y", "-y"):
        raise ValueError(f"vertices, up: got {list(np.shape(vertices))} and {up!r}, legal are [N, V, 3]; 'y' or '-y'")
    meshes = meshes[0] * np.array({"y": [1, 1, 1], "-y": [1, -1, -1]}[up], np.float32)
    if titles is not None and len(titles) != len(meshes):
        raise ValueError(f"titles: got {len(titles)}, legal are {len(meshes)}, one per mesh")
    rows = sc.evenly(len(meshes), sc.at_least_one("max_rows", max_rows))
    meshes = meshes - (meshes.min(1, keepdims=True) + meshes.max(1, keepdims=True)) / 2
    figure = sc.need("matplotlib.figure").Figure(figsize=(_INCHES * len(_VIEWS), _INCHES * len(rows)))
    sc.need("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    panels = figure.subplots(len(rows), len(_VIEWS), squeeze=False)
    figure.subplots_adjust(0.02, 0.01, 0.99, 1 - 0.1 / len(rows), 0.02, 0.08)
    reach = 1.05 * np.linalg.norm(meshes[rows], axis=-1).max()
    for line, row in zip(panels, rows, strict=True):
        for panel, view in zip(line, _VIEWS, strict=True):
            panel.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal")
            panel.add_collection(_painted(meshes[row], triangles, view))
            panel.set_title(view if line is panels[0] else "", fontsize=9, color=sc.MUTED)
            for spine in panel.spines.values():
                spine.set_visible(False)
        name = f"mesh {row}" if titles is None else titles[row]
        line[0].set_ylabel(sc.printable(name, 30), fontsize=8, color=sc.INK, parse_math=False)
    with atomic(path) as file:
        figure.savefig(file, format="png", dpi=_DPI, facecolor="white")
    return Path(path)


def _painted(vertices: np.ndarray, faces: np.ndarray, view: str) -> Any:
    """The faces that look at the viewer, as polygons in the order of painting."""
    right, near = np.array(_VIEWS[view])
    seen = vertices @ np.stack([right, [0, 1, 0], near]).T
    corners = seen[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    order = np.argsort(corners[..., 2].mean(1), kind="stable")
    order = order[normal[order, 2] > 0]
    rgb = np.array(sc.need("matplotlib.colors").to_rgb(COLOURS[0]))
    colours = np.clip((0.35 + 0.65 * np.maximum(normal[order] @ _LAMP, 0))[:, None] * rgb, 0, 1)
    return sc.need("matplotlib.collections").PolyCollection(
        corners[order, :, :2], facecolors=colours, edgecolors=colours, linewidths=0.3
    )
