"""A scene as a plotly figure: 3D layers, the 2D input beside them, a slider over the rows.

The figure's axes are those of plotly, z up: (x, z, -y) of the camera's (x right, y down, z forward), a rotation. All
ranges are fixed over all rows. A layer is at most three line traces (left, right, middle bones) and one of dots,
however many poses it holds: a row then costs a few buffers, not thousands of objects. Static traces are in no row. The
view is orthographic.
"""

import base64
import html
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxpose.geometry.skeleton import Skeleton
from jaxpose.viz import scene as sc
from jaxpose.viz.grid import Grid

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_LINE = 1.6  # of a layer's width
_EYES = {"one": (0.84, -1.74, 0.5), "many": (0.3, -1.65, 1.05)}  # where one person, or a crowd, is seen from
# In plotly's orthographic view 1.85 units are as high as the picture; widths are for one of 5 : 3, without and with 2D.
_HEIGHT, _WIDTHS = 1.75, (3.7, 2.6)
_SHARE_2D = 0.30
_NOISE_MARGIN = 0.35  # metres that the noise of earlier states may reach beyond the last one
_FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg"}


class Slider(NamedTuple):
    """labels: one per row; pause_ms: between rows while playing; start: the row shown first."""

    labels: tuple[str, ...]
    pause_ms: float
    start: int = 0


def frame_slider(
    rows: np.ndarray, num_rows: int, fps: float | None, labels: Sequence[str], seconds_per_row: float
) -> Slider:
    """A slider over `rows` of num_rows frames, at `fps` of them a second or else one after seconds_per_row.

    labels: printable, one for each of `rows`.
    """
    words = []
    for row, label in zip(rows, labels, strict=True):
        parts = [f"frame {row} of {num_rows}", f"{row / fps:.2f} s" if fps else "", html.escape(label)]
        words.append(" · ".join(part for part in parts if part))
    stride = int(rows[1] - rows[0]) if len(rows) > 1 else 1
    return Slider(tuple(words), 1000 * (stride / fps if fps else seconds_per_row))


def check_fps(fps: float | None) -> None:
    """ValueError where it is no frame rate."""
    if fps is not None and not 0 < fps < np.inf:
        raise ValueError(f"fps: got {fps}, legal is a finite number above 0, or None")


class Parts(NamedTuple):
    """What a figure is made of.

    traces: of a row, plotly trace dictionaries, the same in every row, each with whether it moves. fixed: traces that
    are in no row. around: the layout.
    """

    traces: Callable[[int], list[tuple[dict[str, Any], bool]]]
    fixed: list[dict[str, Any]]
    around: dict[str, Any]


def build(parts: Parts, slider: Slider, caption: str) -> Any:
    """The plotly Figure of parts, its caption in `layout.meta`; ImportError without plotly."""
    go = sc.need("plotly.graph_objects")
    first = parts.traces(slider.start)
    figure = go.Figure([*(trace for trace, _ in first), *parts.fixed], parts.around | {"meta": caption})
    if len(slider.labels) > 1:
        moving = [number for number, (_, moves) in enumerate(first) if moves]
        figure.frames = [
            go.Frame(data=[_moving_part(t) for t, moves in parts.traces(row) if moves], name=str(row), traces=moving)
            for row in range(len(slider.labels))
        ]
        figure.update_layout(controls(slider))
    return figure


def scene_parts(scene: sc.Scene, skeleton: Skeleton, slider: Slider, grid: Grid | None = None) -> Parts:
    """The parts of a scene, of one person at a time or of a grid's people."""
    low, high, top = _limits(scene, grid)
    floor = float(low[2]) if grid is None or grid.floor is None else -grid.floor

    def traces(row: int) -> list[tuple[dict[str, Any], bool]]:
        return [pair for layer in (*scene.layers, *scene.flat) for pair in layer_traces(layer, skeleton, row)]

    fixed = [*map(legend_key, scene.layers), ground(low, high, floor), *_names(grid, floor)]
    return Parts(traces, fixed, layout(low, high, top - floor, slider, scene, grid))


def _coordinates(points: np.ndarray) -> dict[str, np.ndarray]:
    """Plotly's x, y and z of points [*, 3] metres, to a millimetre, or its x and y of [*, 2] px, to a tenth."""
    if points.shape[-1] == 3:
        return dict(zip("xyz", upright(points).T, strict=True))
    return dict(zip("xy", np.round(points, 1).astype(np.float32).T, strict=True))


def upright(points: np.ndarray) -> np.ndarray:
    """Camera axes (x right, y down, z forward) to a scene with z up, rounded to a millimetre."""
    return np.round(points[..., [0, 2, 1]] * np.array([1, 1, -1]), 3).astype(np.float32)


def layer_traces(layer: sc.Layer, skeleton: Skeleton, row: int) -> list[tuple[dict[str, Any], bool]]:
    """A layer in a row as plotly trace dictionaries, the same traces in every row, and whether they move."""
    base = dict(
        type="scatter3d" if layer.poses.shape[-1] == 3 else "scatter",
        name=layer.name,
        legendgroup=layer.group or layer.name,
        showlegend=False,
    )
    traces, gap = [], np.full((1, layer.poses.shape[-1]), np.nan)
    for side, parts in enumerate(sc.polylines(layer, skeleton, row)):
        if not sc.bone_paths(skeleton)[side]:
            continue
        points = np.concatenate(parts)
        line = {"color": layer.colours[side], "width": layer.width * _LINE}
        style = {"mode": "lines", "line": line, "opacity": layer.opacity, "hoverinfo": "skip"}
        traces.append({**base, **_coordinates(points if len(points) else gap), **style})
    if layer.dot:
        traces.append({**base, **_dots(layer, skeleton, row)})
    return [(trace, layer.poses.shape[1] > 1) for trace in traces]


def _dots(layer: sc.Layer, skeleton: Skeleton, row: int) -> dict[str, Any]:
    poses = sc.at_row(layer.poses, row)
    colours = [layer.colours[side] for side in sc.joint_sides(skeleton)]
    marker = {"color": colours * len(poses), "size": layer.dot, "line": {"width": 0}}
    where = "<extra>" + layer.name + "</extra>"
    if poses.shape[-1] == 2:
        where = "<br>%{x}, %{y} px" + where
    if layer.strength is not None:
        marker["opacity"] = np.round(0.15 + 0.85 * sc.at_row(layer.strength, row).ravel(), 2)
    names = list(skeleton.joints) * len(poses)
    points = _coordinates(poses.reshape(-1, poses.shape[-1]))
    return {**points, "mode": "markers", "marker": marker, "text": names, "hovertemplate": "%{text}" + where}


def _moving_part(trace: dict[str, Any]) -> dict[str, Any]:
    """The part of a trace that a row changes."""
    part: dict[str, Any] = {key: trace[key] for key in ("type", "x", "y", "z") if key in trace}
    if "opacity" in trace.get("marker", {}):
        part["marker"] = {"opacity": trace["marker"]["opacity"]}
    return part


def _still(points: Any, name: str, **style: Any) -> dict[str, Any]:
    """A trace through points (x, y, z) that is alike in all rows."""
    points = dict(zip("xyz", points, strict=True))
    return {"type": "scatter3d", **points, "mode": "lines", "hoverinfo": "skip", "name": name, **style}


def legend_key(layer: sc.Layer) -> dict[str, Any]:
    """A trace without points: the layer's entry in the legend, strong enough to see; it switches the group."""
    line = {"color": layer.colours[2], "width": max(layer.width, 1.8) * _LINE}
    group = layer.group or layer.name
    return _still([[None]] * 3, layer.name, line=line, opacity=max(layer.opacity, 0.8), legendgroup=group)


def _limits(scene: sc.Scene, grid: Grid | None) -> tuple[np.ndarray, np.ndarray, float]:
    """Lowest and highest corner [3] of the axes, and the height that must fit into the picture.

    Of a grid they are those of its last row, and some room for the noise of the rows before it.
    """
    low, high = sc.bounds([upright(layer.poses) for layer in scene.layers], margin=0.1)
    if grid is None:
        return low, high, float(high[2])
    last = [upright(layer.poses[:, -1]) for layer in scene.layers]
    last_low, last_high = sc.bounds([*last, upright(grid.places)], margin=0.1)
    low, high = np.maximum(low, last_low - _NOISE_MARGIN), np.minimum(high, last_high + _NOISE_MARGIN)
    return low, high, float(last_high[2])


def ground(low: np.ndarray, high: np.ndarray, level: float) -> dict[str, Any]:
    """A grid of squares on the floor, by default under the lowest point of all rows."""
    levels = [sc.grid_levels(low[axis], high[axis]) for axis in range(2)]
    lines = [np.full((1, 3), np.nan)]
    for axis, other in ((0, 1), (1, 0)) if all(map(len, levels)) else ():
        for place in levels[axis]:
            line = np.full((3, 3), [0, 0, level])
            line[:, axis], line[:, other] = place, (levels[other][0], levels[other][-1], np.nan)
            lines.append(line)
    points = np.concatenate(lines).T.astype(np.float32)
    return _still(points, "ground", line={"color": "#c9ced6", "width": 1.5}, showlegend=False)


def _names(grid: Grid | None, level: float) -> list[dict[str, Any]]:
    """The names of a grid's people, on the floor before their feet."""
    if grid is None or not any(grid.names):
        return []
    x, y, _ = upright(grid.places).T
    style = dict(mode="text", textfont={"size": 12, "color": sc.MUTED}, textposition="bottom center", showlegend=False)
    text = [html.escape(name) for name in grid.names]
    return [_still((x, y - 0.2, np.full_like(x, level)), "names", text=text, **style)]


def layout(
    low: np.ndarray,
    high: np.ndarray,
    height: float,
    slider: Slider,
    scene: sc.Scene | None = None,
    grid: Grid | None = None,
) -> dict[str, Any]:
    """The layout of what lies within low and high [3], of which `height` metres must fit into the picture.

    scene: whose 2D input stands beside it, where there is one.
    """
    flat = scene is not None and bool(scene.flat)
    split = _SHARE_2D if flat else 0.0
    eye = _EYES["one" if grid is None else "many"]
    # The squares of the grid are whole: the scene is as wide as they are.
    grids = [sc.grid_levels(low[axis], high[axis]) for axis in range(2)]
    spans = [(g[0], g[-1]) if len(g) else (low[i], high[i]) for i, g in enumerate(grids)]
    ranges = np.array([*spans, (low[2], high[2])])
    ranges += [-0.02, 0.02]
    size = np.ptp(ranges, axis=1)
    ratio = size * _scale(np.array([*size[:2], height]), np.array(eye), (_WIDTHS[flat], _HEIGHT))
    bare = {"visible": False, "showspikes": False, "autorange": False}
    axes = {f"{a}axis": {**bare, "range": [float(v) for v in r]} for a, r in zip("xyz", ranges, strict=True)}
    whole = dict(
        scene=dict(
            axes,
            aspectmode="manual",
            aspectratio=dict(zip("xyz", map(float, ratio), strict=True)),
            domain={"x": [split, 1], "y": [0, 1]},
            uirevision="camera",
            camera=dict(
                projection={"type": "orthographic"},
                eye=dict(zip("xyz", eye, strict=True)),
                center={"x": 0, "y": 0, "z": -0.06},
            ),
        ),
        template="none",
        paper_bgcolor="white",
        plot_bgcolor="white",
        font={"family": FONT, "size": 13, "color": sc.INK},
        margin={"l": 48, "r": 24, "t": 24, "b": 84 if len(slider.labels) > 1 else 24, "autoexpand": False},
        legend={"x": 1, "xanchor": "right", "y": 1, "bgcolor": "rgba(255,255,255,0.8)"},
        hovermode="closest",
        uirevision="page",
    )
    return {**whole, **_input_panel(scene, split, grid is not None and grid.tiled)} if flat and scene else whole


def _scale(size: np.ndarray, eye: np.ndarray, picture: tuple[float, float]) -> float:
    """Plotly's units per metre, by which a box of `size` [3] metres, seen from `eye`, fills a picture of that width."""
    right = np.array([-eye[1], eye[0], 0]) / np.hypot(*eye[:2])
    up = np.cross(right, -eye / np.linalg.norm(eye))
    return float(np.min(np.array(picture) / (np.abs(np.stack([right, up])) @ size)))


def _input_panel(scene: sc.Scene, split: float, tiled: bool) -> dict[str, Any]:
    low, high = sc.pixel_bounds(scene.flat)
    share = 0.08 if scene.image is None else 0.2
    margin = max(share * float(np.max(high - low)), 1.0)
    low, high = low - margin, high + margin
    lines = {"gridcolor": sc.GRID, "zeroline": False, "linecolor": sc.GRID, "mirror": True, "showline": True}
    ticks = {"tickfont": {"size": 11, "color": sc.MUTED}, "nticks": 5, "showticklabels": not tiled, "ticks": ""}
    axis = {**lines, **ticks, "showgrid": not tiled and scene.image is None}
    names = {"2D input": "2D input (dots)", "reprojected": "reprojected hypotheses (lines)"}
    text = ", ".join(names[layer.name] for layer in scene.flat[::-1]) if len(scene.flat) > 1 else "2D input (pixels)"
    place = {"xref": "paper", "yref": "paper", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"}
    fitted = {"scaleanchor": "x", "constrain": "domain", "constraintoward": "top"}
    return {
        "xaxis": {**axis, "domain": [0, split - 0.03], "range": [float(low[0]), float(high[0])], "constrain": "range"},
        "yaxis": {**axis, "domain": [0, 1], "range": [float(high[1]), float(low[1])], **fitted},
        "annotations": [{**place, "text": text, "showarrow": False, "font": {"size": 13}}],
        "images": [] if scene.image is None else [_image(scene.image)],
    }


def _image(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A PNG or JPEG behind the pixels, inside the page."""
    kind, size, content = read_image(path)
    source = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    place = {"xref": "x", "yref": "y", "x": 0, "y": 0, "sizex": size[0], "sizey": size[1]}
    return {**place, "source": source, "layer": "below", "sizing": "stretch", "opacity": 0.7}


def read_image(path: str | os.PathLike[str]) -> tuple[str, tuple[int, int], bytes]:
    """Media type, (width, height) px and bytes of a PNG or JPEG; ValueError, naming the file, for any other."""
    pillow = sc.need("PIL.Image")
    try:
        content = Path(path).read_bytes()
        with pillow.open(io.BytesIO(content)) as picture:
            kind, size = str(picture.format), picture.size
    except OSError as error:
        raise ValueError(f"{os.fspath(path)}: not an image that can be read ({error})") from error
    if kind not in _FORMATS:
        raise ValueError(f"{os.fspath(path)}: got an image of format {kind}, legal are {sorted(_FORMATS)}")
    return _FORMATS[kind], size, content


def controls(slider: Slider) -> dict[str, Any]:
    """A slider over the rows with play and pause."""
    now = {"mode": "immediate", "transition": {"duration": 0}, "frame": {"duration": 0, "redraw": True}}
    play = {**now, "fromcurrent": True, "frame": {"duration": slider.pause_ms, "redraw": True}}
    steps = [{"method": "animate", "label": label, "args": [[str(i)], now]} for i, label in enumerate(slider.labels)]
    buttons = [
        {"method": "animate", "label": "▶ Play", "args": [None, play]},
        {"method": "animate", "label": "❚❚ Pause", "args": [[None], now]},
    ]
    place = {"yanchor": "top", "y": -0.02, "bgcolor": "white", "bordercolor": "#c9ced6"}
    left = {"x": 0, "xanchor": "left", "direction": "left", "pad": {"t": 22, "r": 10}}
    menu = {**place, **left, "type": "buttons", "showactive": False, "buttons": buttons}
    right = {"x": 0.2, "len": 0.8, "pad": {"t": 2, "b": 6}, "ticklen": 0, "minorticklen": 0, "activebgcolor": sc.LEFT}
    unseen = {"color": "rgba(0,0,0,0)", "size": 1}  # a label per step would be a smear
    now_shown = {"font": {"size": 13, "color": sc.INK}}
    bar = {**place, **right, "steps": steps, "active": slider.start, "font": unseen, "currentvalue": now_shown}
    return {"updatemenus": [menu], "sliders": [bar]}
