"""Pictures (PNG): contact sheets of pose hypotheses and of meshes, reliability diagrams, curves with intervals.

All views are orthographic and share one scale, so that rows compare. Of poses, side is seen from the camera's right,
the camera to the left of the panel; above: the camera below. Faces of meshes are painted from the farthest to the
nearest; their brightness is Lambert's n.l with a light above and left of the viewer. All raise ValueError for wrong
shapes and a folder that is not there; ImportError without matplotlib.
"""

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import numpy as np
from numpy.typing import ArrayLike

from jaxpose.app.viz import scene as sc
from jaxpose.files import atomic
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io.meshes import COLOURS, mesh_arrays

# name -> coordinate along the panel's right and up, each as (camera axis, sign)
_VIEWS = {"front": ((0, 1), (1, -1)), "side": ((2, 1), (1, -1)), "above": ((0, 1), (2, 1))}
_PIXELS = "2D input"
# what lies to the right, up and away from the viewer of the front view, by the axis of the poses that points up
_AXIS_NAMES = {"-y": ("x", "up", "depth"), "y": ("x", "y", "-z"), "z": ("x", "z", "y")}
# Of meshes, in axes x right, y up, z to the viewer: what a view has to the right and towards the viewer; up is up.
_MESH_VIEWS = {
    **{"front": ((1, 0, 0), (0, 0, 1)), "oblique": ((0.6, 0, -0.8), (0.8, 0, 0.6))},
    "side": ((0, 0, -1), (1, 0, 0)),
}
_LAMP = np.array([-0.4, 0.6, 0.7]) / np.linalg.norm([-0.4, 0.6, 0.7])
_PANEL_INCHES, _MESH_INCHES, _CURVE_INCHES = 2.3, 2.6, 3.2
_DPI, _MESH_DPI = 120, 110
_MOST_MESHES = 8  # of a sheet
_WIDTH = 0.6  # of a layer's width, which is meant for a full screen


class Panel(NamedTuple):
    """A curve: its name and unit; values [5, N], the median and the ends of the 50 % and of the 90 % interval.

    along: what the N values run over, in words.
    """

    name: str
    unit: str
    values: ArrayLike
    along: str


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
    note: a line for the caption, such as where the scale comes from. Also raises ValueError for H = 0 and for poses
    without a finite joint.
    """
    scene = sc.make_scene(samples, skeleton, max_hypotheses=max_hypotheses, **layers)
    scene = sc.with_labels(scene, "titles", titles)
    scene = sc.take_rows(scene, sc.evenly(len(scene.rows), sc.at_least_one("max_rows", max_rows)))
    return _saved(path, _draw(scene, skeleton, note), _DPI)


def bands_png(path: str | os.PathLike[str], along: ArrayLike, panels: Sequence[Panel], *, title: str = "") -> Path:
    """Draw curves with their intervals as a PNG, two panels in a row; along: [N] what they run over, rising."""
    rows = -(-len(panels) // 2)
    figure = _new_figure(2 * _CURVE_INCHES + 2.6, 1.5 * rows + 0.6)
    figure.suptitle(sc.printable(title, 100), fontsize=9)
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(rows, 2, number + 1)
        median, *ends = np.asarray(panel.values, float)
        for (low, high), strength in ((ends[2:], 0.2), (ends[:2], 0.35)):
            axes.fill_between(along, low, high, color="#0072b2", alpha=strength, linewidth=0)
        axes.plot(along, median, color="#0072b2", linewidth=1, marker="." if len(median) < 3 else "")
        axes.set_title(panel.name, fontsize=7, pad=2)
        axes.set_ylabel(panel.unit, fontsize=7)
        axes.tick_params(labelsize=6)
        if number >= len(panels) - 2:
            axes.set_xlabel(panel.along, fontsize=7)
    figure.tight_layout()
    return _saved(path, figure, _DPI)


def _new_figure(width: float, height: float) -> Any:
    figure = sc.need("matplotlib.figure").Figure(figsize=(width, height))
    sc.need("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    return figure


def _saved(path: str | os.PathLike[str], figure: Any, dpi: int) -> Path:
    with atomic(path) as file:
        figure.savefig(file, format="png", dpi=dpi, facecolor="white")
    return Path(path)


def _draw(scene: sc.Scene, skeleton: Skeleton, note: str) -> Any:
    columns = ([_PIXELS] if scene.flat else []) + list(_VIEWS)
    num_rows = len(scene.rows)
    width = _PANEL_INCHES * len(columns) + 0.5
    lines = textwrap.wrap(
        " · ".join([sc.caption(scene, "poses"), *([sc.printable(note, 300)] if note else [])]), int(17 * (width - 0.5))
    )
    num_entries = 2 + len(scene.layers)
    legend_lines = -(-num_entries // (2 + len(columns)))
    foot = 0.8 + 0.13 * len(lines) + 0.2 * (legend_lines - 1)
    height = _PANEL_INCHES * num_rows + foot + 0.45
    figure = _new_figure(width, height)
    edges = {"left": 0.4 / width, "right": 1 - 0.1 / width, "bottom": foot / height, "top": 1 - 0.45 / height}
    grid = figure.add_gridspec(num_rows, len(columns), wspace=0.06, hspace=0.06, **edges)
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
                axes.set_xlabel(_axis_names(name, scene.up), fontsize=8, color=sc.MUTED)
            if name in _VIEWS:
                _draw_view(axes, scene, row, skeleton, name, limits)
            else:
                _draw_pixels(axes, scene, row, skeleton)
    _legend(figure, scene, (foot - 0.58 - 0.2 * (legend_lines - 1)) / height, columns=2 + len(columns))
    style = {"fontsize": 7, "color": sc.MUTED, "va": "bottom", "parse_math": False}
    figure.text(0.4 / width, 0.1 / height, "\n".join(lines), **style)
    return figure


def _axis_names(view: str, up: str) -> str:
    if view == _PIXELS:
        return "pixels, fitted to the person"
    right, high, away = _AXIS_NAMES[up]
    across, along = {"front": (right, high), "side": (away, high), "above": (right, away)}[view]
    return f"{across} →   ↑ {along}"


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
        flat = layer._replace(poses=layer.poses[..., [across, up]] * signs)
        _draw_layer(axes, flat, skeleton, row, dot=0 if layer.group == sc.MEAN else layer.dot)


def _draw_pixels(axes: Any, scene: sc.Scene, row: int, skeleton: Skeleton) -> None:
    pixels = sc.at_row(scene.flat[-1].poses, row)
    if not np.isfinite(pixels).any():
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", fontsize=9, color=sc.MUTED)
        return
    for layer in scene.flat:
        _draw_layer(axes, layer, skeleton, row, layer.dot / 2)
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
    line = sc.need("matplotlib.lines").Line2D
    styles = [("left", sc.LEFT, 4.0, 1.0), ("right", sc.RIGHT, 4.0, 1.0)]
    for layer in scene.layers:
        styles.append((layer.name, layer.colours[2], layer.width * _WIDTH, max(layer.opacity, 0.5)))
    entries = [line([], [], label=n, color=c, linewidth=w, alpha=a) for n, c, w, a in styles]
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, bottom), "ncols": min(columns, len(entries))}
    figure.legend(handles=entries, frameon=False, fontsize=9, labelcolor=sc.INK, **place)


def mesh_sheet(
    path: str | os.PathLike[str], vertices: ArrayLike, faces: ArrayLike, *, titles: Sequence[str] | None = None
) -> Path:
    """Draw meshes [V, 3] or [N, V, 3] metres y up, with common faces [_, 3] as a PNG, at most 8, evenly spaced.

    titles: one per mesh.
    """
    meshes, triangles = mesh_arrays(vertices, faces)
    if titles is not None and len(titles) != len(meshes):
        raise ValueError(f"titles: got {len(titles)}, must be {len(meshes)}, one per mesh")
    rows = sc.evenly(len(meshes), _MOST_MESHES)
    meshes = meshes - (meshes.min(1, keepdims=True) + meshes.max(1, keepdims=True)) / 2
    figure = _new_figure(_MESH_INCHES * len(_MESH_VIEWS), _MESH_INCHES * len(rows))
    panels = figure.subplots(len(rows), len(_MESH_VIEWS), squeeze=False)
    figure.subplots_adjust(0.02, 0.01, 0.99, 1 - 0.1 / len(rows), 0.02, 0.08)
    reach = 1.05 * np.linalg.norm(meshes[rows], axis=-1).max()
    for line, row in zip(panels, rows, strict=True):
        for panel, view in zip(line, _MESH_VIEWS, strict=True):
            panel.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal")
            panel.add_collection(_painted(meshes[row], triangles, view))
            panel.set_title(view if line is panels[0] else "", fontsize=9, color=sc.MUTED)
            for spine in panel.spines.values():
                spine.set_visible(False)
        name = f"mesh {row}" if titles is None else titles[row]
        line[0].set_ylabel(sc.printable(name, 30), fontsize=8, color=sc.INK, parse_math=False)
    return _saved(path, figure, _MESH_DPI)


def _painted(vertices: np.ndarray, faces: np.ndarray, view: str) -> Any:
    """The faces that look at the viewer, as polygons in the order of painting."""
    right, near = np.array(_MESH_VIEWS[view])
    turned = vertices @ np.stack([right, [0, 1, 0], near]).T
    corners = turned[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    order = np.argsort(corners[..., 2].mean(1), kind="stable")
    order = order[normal[order, 2] > 0]
    rgb = np.array(sc.need("matplotlib.colors").to_rgb(COLOURS[0]))
    colours = np.clip((0.35 + 0.65 * np.maximum(normal[order] @ _LAMP, 0))[:, None] * rgb, 0, 1)
    return sc.need("matplotlib.collections").PolyCollection(
        corners[order, :, :2], facecolors=colours, edgecolors=colours, linewidths=0.3
    )


def reliability_png(
    path: str | os.PathLike[str],
    levels: ArrayLike,
    distance: ArrayLike,
    axes: ArrayLike,
    skeleton: Skeleton,
    *,
    title: str = "",
) -> Path:
    """Draw curves of `evaluation.calibration`: of `ece` (distance [L, J]) and of `reliability` (axes [L, J, 3]).

    A panel for the distance to the median and one for each axis, a line for each joint but the root, which is at the
    origin. On the diagonal the share of truths within each quantile of levels [L] equals the quantile: the hypotheses
    are calibrated. Below it they are overconfident, above it too wide. In the panel of an axis, an S shape means the
    same, a shift means a bias.
    """
    levels, num_joints = np.asarray(levels, float), len(skeleton.joints)
    distance = sc.shaped("distance", distance, (len(levels), num_joints), "f")
    axes = sc.shaped("axes", axes, (*distance.shape, 3), "f")
    figure = _new_figure(4 * _CURVE_INCHES + 1.6, _CURVE_INCHES + 0.7)
    panels = {"distance to the median": distance}
    panels |= {f"along {name}": axes[..., i] for i, name in enumerate(("x (right)", "y (down)", "z (depth)"))}
    shades = sc.need("matplotlib").colormaps["viridis"](np.linspace(0, 0.95, num_joints))
    for panel, (name, curves) in zip(figure.subplots(1, 4, sharey=True), panels.items(), strict=True):
        panel.plot([0, 1], [0, 1], color=sc.MUTED, linewidth=1, linestyle="--")
        for joint in range(1, num_joints):
            panel.plot(levels, curves[:, joint], color=shades[joint], label=skeleton.joints[joint], linewidth=1)
        panel.set(title=name, xlim=(0, 1), ylim=(0, 1), xlabel="quantile of the hypotheses", aspect="equal")
    figure.axes[0].set_ylabel("share of truths within")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="center right", fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=10)
    figure.subplots_adjust(left=0.05, right=0.88, wspace=0.12)
    return _saved(path, figure, _DPI)
