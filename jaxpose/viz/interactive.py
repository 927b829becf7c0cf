"""An interactive scene of pose hypotheses: one HTML file that opens offline (plotly.js is inside).

The scene's axes are those of plotly, z up: (x, z, -y) of the camera's (x right, y down, z forward), a
rotation. All ranges are fixed over all frames. A layer is at most three line traces (left, right, middle
bones), however many poses it holds: a frame then costs a few buffers, not thousands of objects. The view is
orthographic.
"""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxpose.geometry.skeleton import Skeleton
from jaxpose.viz import scene as sc

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
# Without a frame rate rows need not be one motion: slow enough to look at each.
_SECONDS_PER_POSE = 0.7
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
html, body {{ height: 100%; margin: 0; background: #fff; color: {ink}; font-family: {font}; }}
body {{ display: flex; flex-direction: column; }}
header {{ padding: 14px 24px 0; }}
h1 {{ font-size: 19px; font-weight: 600; margin: 0 0 4px; }}
p {{ font-size: 13px; line-height: 1.45; margin: 0; color: {muted}; }}
b {{ font-weight: 600; }}
main {{ flex: 1; min-height: 480px; }}
</style></head>
<body><header><h1>{title}</h1><p>{caption}</p>
<p><b style="color:{left}">left</b> · <b style="color:{right}">right</b> 
· drag to orbit, scroll to zoom, click a legend entry to hide it</p></header>
<main>{figure}</main></body></html>
"""


def interactive_html(
    path: str | os.PathLike[str],
    samples: ArrayLike,
    skeleton: Skeleton,
    *,
    keypoints: ArrayLike | None = None,
    confidence: ArrayLike | None = None,
    truth: ArrayLike | None = None,
    mean: ArrayLike | None = None,
    fps: float | None = None,
    labels: Sequence[str] | None = None,
    note: str = "",
    max_hypotheses: int = 30,
    max_frames: int = 300,
    title: str = "3D pose hypotheses",
) -> Path:
    """Write samples [H, N, J, 3] as one HTML file: a 3D scene, the 2D input, a slider over the N rows.

    Arrays, labels and errors as in `interactive_figure`; at most max_frames rows are kept, a constant stride
    apart, and the caption says so. note: a line for the caption, such as where the scale comes from. title,
    note and labels are escaped. Raises ValueError also for a folder that is not there.
    """
    scene = _scene(
        samples, skeleton, labels, max_frames, keypoints=keypoints, confidence=confidence, truth=truth,
        mean=mean, max_hypotheses=max_hypotheses,
    )  # fmt: skip
    figure = _figure(scene, skeleton, fps)
    config = {
        "displaylogo": False,
        "responsive": True,
        "modeBarButtons": [["toImage", "resetCameraDefault3d"]],
    }
    body = figure.to_html(
        full_html=False, include_plotlyjs=True, auto_play=False, config=config, validate=False
    )
    page = _PAGE.format(
        title=html.escape(sc.printable(title, 200)), caption=html.escape(sc.caption(scene, "frames", note)),
        figure=body, ink=sc.INK, muted=sc.MUTED, left=sc.LEFT, right=sc.RIGHT, font=_FONT,
    )  # fmt: skip
    return sc.write(path, page.encode("utf-8"))


def interactive_figure(
    samples: ArrayLike,
    skeleton: Skeleton,
    *,
    keypoints: ArrayLike | None = None,
    confidence: ArrayLike | None = None,
    truth: ArrayLike | None = None,
    mean: ArrayLike | None = None,
    fps: float | None = None,
    labels: Sequence[str] | None = None,
    max_hypotheses: int = 30,
    max_frames: int = 300,
) -> Any:
    """The plotly Figure of samples [H, N, J, 3]: hypotheses, mean, truth and 2D input, a frame per row.

    samples: metres, camera axes (x right, y down, z forward), root-relative. A row is one person in one
    frame. keypoints: [N, J, 2] px; confidence [N, J] in [0, 1] is their opacity. truth, mean: [N, J, 3] like
    samples; mean defaults to that of all H. fps: rows per second, for playing in real time. labels: one per
    row. max_hypotheses of the H are shown, evenly spaced. Coordinates are rounded to a millimetre, pixels to
    a tenth; joints that are not finite are gaps. Raises ValueError for wrong shapes, H = 0, rows without a
    finite joint; ImportError without plotly.
    """
    scene = _scene(
        samples, skeleton, labels, max_frames, keypoints=keypoints, confidence=confidence, truth=truth,
        mean=mean, max_hypotheses=max_hypotheses,
    )  # fmt: skip
    return _figure(scene, skeleton, fps)


def _scene(
    samples: ArrayLike, skeleton: Skeleton, labels: Sequence[str] | None, max_frames: int, **layers: Any
) -> sc.Scene:
    scene = sc.with_labels(sc.make_scene(samples, skeleton, **layers), "labels", labels)
    return sc.take_rows(scene, sc.strided(len(scene.rows), sc.at_least_one("max_frames", max_frames)))


def _figure(scene: sc.Scene, skeleton: Skeleton, fps: float | None) -> Any:
    if fps is not None and not 0 < fps < np.inf:
        raise ValueError(f"fps: got {fps}, legal is a finite number above 0, or None")
    go = sc.need("plotly.graph_objects")
    low, high = sc.bounds([_upright(layer.poses) for layer in scene.layers], margin=0.1)
    moving = _traces(scene, skeleton, 0)
    keys = [_legend_key(layer) for layer in scene.layers]
    figure = go.Figure([*moving, *keys, _ground(low, high)], _layout(scene, low, high))
    if len(scene.rows) > 1:
        times = list(range(len(moving)))
        figure.frames = [
            go.Frame(
                data=[_moving_part(t) for t in _traces(scene, skeleton, row)], name=str(row), traces=times
            )
            for row in range(len(scene.rows))
        ]
        figure.update_layout(_controls(scene, fps))
    return figure


def _upright(points: np.ndarray) -> np.ndarray:
    """Camera axes (x right, y down, z forward) to a scene with z up, rounded to a millimetre."""
    return np.round(points[..., [0, 2, 1]] * np.array([1, 1, -1], np.float32), 3)


def _traces(scene: sc.Scene, skeleton: Skeleton, row: int) -> list[dict[str, Any]]:
    """What changes from row to row, as plotly trace dictionaries; the same list of traces for every row."""
    paths = sc.bone_paths(skeleton)
    traces = [t for layer in scene.layers for t in _layer_traces(layer, skeleton, paths, row)]
    if scene.keypoints is not None and scene.confidence is not None:
        traces += _keypoint_traces(scene.keypoints[row], scene.confidence[row], skeleton, paths)
    return traces


def _layer_traces(layer: sc.Layer, skeleton: Skeleton, paths: Any, row: int) -> list[dict[str, Any]]:
    poses, traces = _upright(layer.poses[:, row]), []
    is_single = len(poses) == 1
    for group, path in enumerate(paths):
        if not path:
            continue
        x, y, z = sc.trace(poses, path).T
        style = {
            "line": {"color": layer.colours[group], "width": layer.width * 1.6},
            "opacity": layer.opacity,
        }
        hover: dict[str, Any] = {"hoverinfo": "skip"}
        if is_single:
            names = [skeleton.joints[j] if j >= 0 else "" for j in path]
            hover = {"text": names, "hovertemplate": "%{text}<extra>" + layer.name + "</extra>"}
            style["marker"] = {"color": layer.colours[group], "size": layer.width * 0.7}
        traces.append(
            {"type": "scatter3d", "x": x, "y": y, "z": z, "mode": "lines+markers" if is_single else "lines",
             "name": layer.name, "legendgroup": layer.name, "showlegend": False, **style, **hover}
        )  # fmt: skip
    return traces


def _legend_key(layer: sc.Layer) -> dict[str, Any]:
    """A trace without points: the layer's entry in the legend, strong enough to see; it switches them all."""
    line = {"color": layer.colours[2], "width": layer.width * 1.6}
    return {
        "type": "scatter3d", "x": [None], "y": [None], "z": [None], "mode": "lines", "line": line,
        "opacity": max(layer.opacity, 0.6), "name": layer.name, "legendgroup": layer.name,
        "hoverinfo": "skip",
    }  # fmt: skip


def _keypoint_traces(
    pixels: np.ndarray, confidence: np.ndarray, skeleton: Skeleton, paths: Any
) -> list[dict[str, Any]]:
    base = {"type": "scatter", "showlegend": False, "legendgroup": "2D input"}
    traces = []
    for path, colour in zip(paths, sc.LIMBS, strict=True):
        if path:
            x, y = np.round(sc.trace(pixels[None], path), 1).T
            line = {"color": colour, "width": 2}
            traces.append(
                {**base, "x": x, "y": y, "mode": "lines", "line": line, "opacity": 0.45, "hoverinfo": "skip"}
            )
    x, y = np.round(pixels, 1).T
    marker = {
        "color": [sc.LIMBS[side] for side in sc.joint_sides(skeleton)], "size": 8,
        "opacity": np.round(0.15 + 0.85 * confidence, 2), "line": {"width": 0},
    }  # fmt: skip
    hover = "%{text}<br>%{x}, %{y} px<extra></extra>"
    text = list(skeleton.joints)
    traces.append(
        {**base, "x": x, "y": y, "mode": "markers", "marker": marker, "text": text, "hovertemplate": hover}
    )
    return traces


def _moving_part(trace: dict[str, Any]) -> dict[str, Any]:
    part: dict[str, Any] = {key: trace[key] for key in ("type", "x", "y", "z") if key in trace}
    if trace["type"] == "scatter" and "marker" in trace:
        part["marker"] = {"opacity": trace["marker"]["opacity"]}
    return part


def _ground(low: np.ndarray, high: np.ndarray) -> dict[str, Any]:
    """A grid of squares under the lowest point of all frames."""
    levels = [sc.grid_levels(low[axis], high[axis]) for axis in range(2)]
    lines = [np.full((1, 3), np.nan)]
    for axis, other in ((0, 1), (1, 0)) if all(map(len, levels)) else ():
        for level in levels[axis]:
            line = np.full((3, 3), [0, 0, low[2]])
            line[:, axis], line[:, other] = level, (levels[other][0], levels[other][-1], np.nan)
            lines.append(line)
    x, y, z = np.concatenate(lines).T.astype(np.float32)
    return {
        "type": "scatter3d", "x": x, "y": y, "z": z, "mode": "lines",
        "line": {"color": "#c9ced6", "width": 1.5},
        "hoverinfo": "skip", "showlegend": False, "name": "ground",
    }  # fmt: skip


def _layout(scene: sc.Scene, low: np.ndarray, high: np.ndarray) -> dict[str, Any]:
    split = 0.0 if scene.keypoints is None else 0.30
    bare = {"visible": False, "showspikes": False, "autorange": False}
    # The squares of the grid are whole: the scene is as wide as they are.
    grids = [sc.grid_levels(low[axis], high[axis]) for axis in range(2)]
    spans = [(g[0], g[-1]) if len(g) else (low[i], high[i]) for i, g in enumerate(grids)]
    ranges = np.array([*spans, (low[2], high[2])])
    ranges += [-0.02, 0.02]
    size = np.ptp(ranges, axis=1)
    # In plotly's orthographic view about 2 units are as high as the picture: a person fills most of it.
    ratio = size * min(1.6 / size[2], 3.0 / (size[0] + size[1]))
    scene_layout = {
        **{f"{a}axis": {**bare, "range": [float(v) for v in r]} for a, r in zip("xyz", ranges, strict=True)},
        "aspectmode": "manual", "aspectratio": dict(zip("xyz", map(float, ratio), strict=True)),
        "domain": {"x": [split, 1], "y": [0, 1]}, "uirevision": "camera",
        "camera": {"projection": {"type": "orthographic"}, "eye": {"x": 0.84, "y": -1.74, "z": 0.5},
                   "center": {"x": 0, "y": 0, "z": -0.06}},
    }  # fmt: skip
    layout = {
        "scene": scene_layout, "template": "none", "paper_bgcolor": "white", "plot_bgcolor": "white",
        "font": {"family": _FONT, "size": 13, "color": sc.INK},
        "margin": {"l": 48, "r": 24, "t": 24, "b": 24},
        "legend": {"x": 1, "xanchor": "right", "y": 1, "bgcolor": "rgba(255,255,255,0.8)"},
        "hovermode": "closest", "uirevision": "page",
    }  # fmt: skip
    return layout if scene.keypoints is None else {**layout, **_input_panel(scene.keypoints, split)}


def _input_panel(keypoints: np.ndarray, split: float) -> dict[str, Any]:
    low, high = sc.bounds([keypoints], margin=0.0)
    low, high = sc.bounds([keypoints], margin=max(0.08 * float(np.max(high - low)), 1.0))
    axis = {"showgrid": True, "gridcolor": sc.GRID, "zeroline": False, "linecolor": sc.GRID, "mirror": True,
            "showline": True, "tickfont": {"size": 11, "color": sc.MUTED}, "nticks": 5}  # fmt: skip
    heading = {"text": "2D input (pixels)", "xref": "paper", "yref": "paper", "x": 0, "y": 1,
               "yanchor": "bottom", "xanchor": "left", "showarrow": False, "font": {"size": 13}}  # fmt: skip
    return {
        "xaxis": {**axis, "domain": [0, split - 0.03], "range": [float(low[0]), float(high[0])],
                  "constrain": "range"},
        "yaxis": {**axis, "domain": [0, 1], "range": [float(high[1]), float(low[1])], "scaleanchor": "x",
                  "constrain": "domain", "constraintoward": "top"},
        "annotations": [heading],
    }  # fmt: skip


def _controls(scene: sc.Scene, fps: float | None) -> dict[str, Any]:
    """A slider over the rows with play and pause; played in real time where there is a frame rate."""
    stride = int(scene.rows[1] - scene.rows[0])
    pause = 1000 * (stride / fps if fps else _SECONDS_PER_POSE)
    now = {"mode": "immediate", "transition": {"duration": 0}, "frame": {"duration": 0, "redraw": True}}
    play = {**now, "fromcurrent": True, "frame": {"duration": pause, "redraw": True}}
    steps = [
        {"method": "animate", "label": _step_label(scene, i, fps), "args": [[str(i)], now]}
        for i in range(len(scene.rows))
    ]
    buttons = [
        {"method": "animate", "label": "▶ Play", "args": [None, play]},
        {"method": "animate", "label": "❚❚ Pause", "args": [[None], now]},
    ]
    place = {"yanchor": "top", "y": -0.02, "bgcolor": "white", "bordercolor": "#c9ced6"}
    menu = {**place, "type": "buttons", "direction": "left", "showactive": False, "buttons": buttons, "x": 0,
            "xanchor": "left", "pad": {"t": 22, "r": 10}}  # fmt: skip
    slider = {**place, "steps": steps, "x": 0.2, "len": 0.8, "ticklen": 0, "minorticklen": 0,
              "pad": {"t": 2, "b": 6}, "activebgcolor": sc.LEFT,
              "font": {"color": "rgba(0,0,0,0)", "size": 1},  # a label per step would be a smear
              "currentvalue": {"font": {"size": 13, "color": sc.INK}}}  # fmt: skip
    return {"updatemenus": [menu], "sliders": [slider]}


def _step_label(scene: sc.Scene, index: int, fps: float | None) -> str:
    row, num_rows = int(scene.rows[index]), scene.counts[1]
    parts = [f"frame {row} of {num_rows}"]
    if fps:
        parts.append(f"{row / fps:.2f} s")
    if scene.labels[index]:
        parts.append(html.escape(scene.labels[index]))
    return " · ".join(parts)
