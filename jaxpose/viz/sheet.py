"""Contact sheet: one PNG with a few poses from three sides, hypotheses drawn over one another.

One row per pose, evenly spaced over those given. All views are orthographic and share one scale and one
range, so that rows compare. Side: seen from the camera's right, the camera to the left of the panel. Above:
the camera below.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from jaxpose.files import atomic
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.viz import scene as sc

# name -> coordinate along the panel's right and up, each as (camera axis, sign)
_VIEWS = {"front": ((0, 1), (1, -1)), "side": ((2, 1), (1, -1)), "above": ((0, 1), (2, 1))}
_AXIS_NAMES = {
    "2D input": "pixels, fitted to the person",
    "front": "x →   ↑ up",
    "side": "depth →   ↑ up",
    "above": "x →   ↑ depth",
}
_PANEL_INCHES = 2.3
_DPI = 120
_WIDTH = 0.6  # of a layer's width, which is meant for a full screen


def contact_sheet(
    path: str | os.PathLike[str],
    samples: ArrayLike,
    skeleton: Skeleton,
    *,
    titles: Sequence[str] | None = None,
    note: str = "",
    max_rows: int = 8,
    max_hypotheses: int = 30,
    **layers: Unpack[sc.Layers],
) -> Path:
    """Draw samples [H, N, J, 3] as a PNG: 2D input, then hypotheses, mean and truth from three sides.

    samples: metres, camera axes (x right, y down, z forward), root-relative; at most max_rows of the N poses and
    max_hypotheses of the H are drawn, evenly spaced. layers: what else is shown, see `Layers`. titles: one per pose.
    note: a line for the caption, such as where the scale comes from. Raises ValueError for wrong shapes, H = 0, poses
    without a finite joint, a folder that is not there; ImportError without matplotlib.
    """
    scene = sc.make_scene(samples, skeleton, max_hypotheses=max_hypotheses, **layers)
    scene = sc.with_labels(scene, "titles", titles)
    scene = sc.take_rows(scene, sc.evenly(len(scene.rows), sc.at_least_one("max_rows", max_rows)))
    figure = _draw(scene, skeleton, note)
    with atomic(path) as file:
        figure.savefig(file, format="png", dpi=_DPI, facecolor="white")
    return Path(path)


def _draw(scene: sc.Scene, skeleton: Skeleton, note: str) -> Any:
    columns = (["2D input"] if scene.flat else []) + list(_VIEWS)
    num_rows = len(scene.rows)
    width = _PANEL_INCHES * len(columns) + 0.5
    lines = textwrap.wrap(
        " · ".join([sc.caption(scene, "poses"), *([sc.printable(note, 300)] if note else [])]), int(17 * (width - 0.5))
    )
    num_entries = 2 + len(scene.layers)
    legend_lines = -(-num_entries // (2 + len(columns)))
    foot = 0.8 + 0.13 * len(lines) + 0.2 * (legend_lines - 1)
    height = _PANEL_INCHES * num_rows + foot + 0.45
    figure = sc.need("matplotlib.figure").Figure(figsize=(width, height))
    sc.need("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        num_rows,
        len(columns),
        left=0.4 / width,
        right=1 - 0.1 / width,
        wspace=0.06,
        hspace=0.06,
        bottom=foot / height,
        top=1 - 0.45 / height,
    )
    limits = sc.bounds([layer.poses for layer in scene.layers], margin=0.08)
    for row in range(num_rows):
        for column, name in enumerate(columns):
            axes = figure.add_subplot(grid[row, column])
            _frame(axes)
            if row == 0:
                axes.set_title(name, fontsize=11, color=sc.INK, pad=8)
            if column == 0:
                label = scene.labels[row] or f"pose {scene.rows[row]}"
                axes.set_ylabel(sc.printable(label, 30), fontsize=8, color=sc.INK, parse_math=False)
            if row == num_rows - 1:
                axes.set_xlabel(_AXIS_NAMES[name], fontsize=8, color=sc.MUTED)
            if name in _VIEWS:
                _draw_view(axes, scene, row, skeleton, name, limits)
            else:
                _draw_pixels(axes, scene, row, skeleton)
    _legend(figure, scene, (foot - 0.58 - 0.2 * (legend_lines - 1)) / height, columns=2 + len(columns))
    style = {"fontsize": 7, "color": sc.MUTED, "va": "bottom", "parse_math": False}
    figure.text(0.4 / width, 0.1 / height, "\n".join(lines), **style)
    return figure


def _frame(axes: Any) -> None:
    axes.set(xticks=[], yticks=[], facecolor="white")
    for spine in axes.spines.values():
        spine.set(color=sc.GRID, linewidth=0.8)


def _draw_view(
    axes: Any, scene: sc.Scene, row: int, skeleton: Skeleton, name: str, limits: tuple[np.ndarray, np.ndarray]
) -> None:
    (across, sign_across), (up, sign_up) = _VIEWS[name]
    signs = np.array([sign_across, sign_up], np.float32)
    low, high = limits
    reach, middle = np.max(high - low) / 2, (low + high)[[across, up]] / 2 * signs
    axes.set(xlim=middle[0] + reach * np.array([-1, 1]), ylim=middle[1] + reach * np.array([-1, 1]))
    for draw, centre in zip((axes.axvline, axes.axhline), middle, strict=True):
        for level in sc.grid_levels(centre - reach, centre + reach)[1:-1]:
            draw(level, color=sc.GRID, linewidth=0.6, zorder=0)
    for layer in scene.layers:
        seen = layer._replace(poses=layer.poses[..., [across, up]] * signs)
        _draw_layer(axes, seen, skeleton, row, dot=0 if layer.name == "mean" else layer.dot)


def _draw_pixels(axes: Any, scene: sc.Scene, row: int, skeleton: Skeleton) -> None:
    pixels = sc.at_row(scene.flat[-1].poses, row)
    if not np.isfinite(pixels).any():
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", fontsize=9, color=sc.MUTED)
        return
    for layer in scene.flat:
        _draw_layer(axes, layer, skeleton, row, layer.dot / 2)
    if scene.image is not None:
        axes.imshow(np.asarray(sc.need("PIL.Image").open(scene.image)), alpha=0.7, zorder=0)
    low, high = sc.bounds([pixels], margin=0.0)
    reach, middle = max(float(np.max(high - low)) * 0.58, 1.0), (low + high) / 2
    axes.set(xlim=middle[0] + reach * np.array([-1, 1]), ylim=middle[1] + reach * np.array([1, -1]))
    axes.set_aspect("equal")


def _draw_layer(axes: Any, layer: sc.Layer, skeleton: Skeleton, row: int, dot: float) -> None:
    """Bones and joints of a layer whose poses have two coordinates, those of the panel."""
    lines = sc.need("matplotlib.collections").LineCollection
    for colour, parts in zip(layer.colours, sc.polylines(layer, skeleton, row), strict=True):
        # A line per pose: alpha then adds up where poses agree.
        style = {"colors": colour, "linewidths": layer.width * _WIDTH, "alpha": layer.opacity}
        axes.add_collection(lines(parts, capstyle="round", **style), autolim=False)
    if dot:
        poses = sc.at_row(layer.poses, row)
        colours = [layer.colours[side] for side in sc.joint_sides(skeleton)] * len(poses)
        strength = 1.0 if layer.strength is None else 0.15 + 0.85 * sc.at_row(layer.strength, row).ravel()
        x, y = poses.reshape(-1, 2).T
        axes.scatter(x, y, s=dot**2, c=colours, alpha=strength, linewidths=0, zorder=3, plotnonfinite=False)


def _legend(figure: Any, scene: sc.Scene, bottom: float, columns: int) -> None:
    """All entries under the panels, as many in a line as there is room for."""
    line = sc.need("matplotlib.lines").Line2D
    styles = [("left", sc.LEFT, 4.0, 1.0), ("right", sc.RIGHT, 4.0, 1.0)]
    for layer in scene.layers:
        styles.append((layer.name, layer.colours[2], layer.width * _WIDTH, max(layer.opacity, 0.5)))
    entries = [line([], [], label=n, color=c, linewidth=w, alpha=a) for n, c, w, a in styles]
    figure.legend(
        handles=entries,
        loc="lower center",
        ncols=min(columns, len(entries)),
        frameon=False,
        fontsize=9,
        labelcolor=sc.INK,
        bbox_to_anchor=(0.5, bottom),
    )
