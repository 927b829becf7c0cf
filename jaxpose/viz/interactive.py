"""Interactive scenes of pose hypotheses, as plotly figures or as HTML files (page.py).

interactive: one person at a time, a slider over the frames.
path:        all people on a floor, a slider over the states of their denoising (the diffusion time).
grid:        all people on a floor, without a slider.

What may be shown beside the poses is told in `Layers`. Poses are metres in camera axes (x right, y down, z forward); in
a picture they are rounded to a millimetre, pixels to a tenth, and joints that are not finite are gaps. title, note and
labels are escaped; note is a line for the caption, such as where the scale comes from. With library_beside plotly.js
goes into a file beside the page, for several to share. All raise ValueError for wrong shapes, H = 0, poses without a
finite joint, and a folder that is not there; ImportError without plotly.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from jaxpose.geometry.skeleton import Skeleton
from jaxpose.viz import grid as gr
from jaxpose.viz import scene as sc
from jaxpose.viz.figure import Slider, build, check_fps, frame_slider, scene_parts
from jaxpose.viz.page import write_page

_SECONDS_PER_POSE = 0.7  # without a frame rate rows need not be one motion: slow enough to look at each
_SECONDS_PER_PATH, _PAUSES_MS = 4.0, (60.0, 500.0)  # of a denoising, and between its states


def interactive_html(
    path: str | os.PathLike[str],
    samples: ArrayLike,
    skeleton: Skeleton,
    *,
    title: str = "3D pose hypotheses",
    note: str = "",
    library_beside: bool = False,
    **options: Any,
) -> Path:
    """Write samples [H, N, J, 3] as one HTML file; options: of `interactive_figure`."""
    return write_page(path, interactive_figure(samples, skeleton, **options), title, note, library_beside)


def path_html(
    path: str | os.PathLike[str],
    states: ArrayLike,
    skeleton: Skeleton,
    *,
    title: str = "From noise to 3D poses",
    note: str = "",
    library_beside: bool = False,
    **options: Any,
) -> Path:
    """Write denoising states [T+1, H, N, J, 3] as one HTML file, opening with the last; options: of `path_figure`."""
    return write_page(path, path_figure(states, skeleton, **options), title, note, library_beside)


def grid_html(
    path: str | os.PathLike[str],
    samples: ArrayLike,
    skeleton: Skeleton,
    *,
    title: str = "3D poses",
    note: str = "",
    library_beside: bool = False,
    **options: Any,
) -> Path:
    """Write samples [H, N, J, 3] as one HTML file: N people on a floor; options: of `grid.make_grid`."""
    poses = sc.joints("samples", samples, ("H", "N", len(skeleton.joints), 3))
    grid = gr.make_grid(poses[None], skeleton, argument="samples", **options)
    slider = Slider(("",), 0.0)
    figure = build(scene_parts(grid.scene, skeleton, slider, grid), slider, gr.caption(grid))
    return write_page(path, figure, title, note, library_beside)


def interactive_figure(
    samples: ArrayLike,
    skeleton: Skeleton,
    *,
    fps: float | None = None,
    labels: Sequence[str] | None = None,
    max_hypotheses: int = 30,
    max_frames: int = 300,
    **layers: Unpack[sc.Layers],
) -> Any:
    """The plotly Figure of samples [H, N, J, 3]; a row of the N is one person in one frame, root-relative.

    fps: rows per second, for playing in real time. labels: one per row. max_hypotheses of the H are shown, evenly
    spaced; at most max_frames rows, a constant stride apart, and the caption says so.
    """
    check_fps(fps)
    scene = sc.make_scene(samples, skeleton, max_hypotheses=max_hypotheses, **layers)
    scene = sc.with_labels(scene, "labels", labels)
    scene = sc.take_rows(scene, sc.strided(len(scene.rows), sc.at_least_one("max_frames", max_frames)))
    slider = frame_slider(scene.rows, scene.counts[1], fps, scene.labels, _SECONDS_PER_POSE)
    return build(scene_parts(scene, skeleton, slider), slider, sc.caption(scene, "frames"))


def path_figure(states: ArrayLike, skeleton: Skeleton, *, times: ArrayLike | None = None, **options: Any) -> Any:
    """The plotly Figure of denoising states [T+1, H, N, J, 3], T >= 1: people on a floor, a slider over the states.

    times: [T+1] the diffusion time of each state, for the slider. options: of `grid.make_grid`.
    """
    num = np.shape(states)[0] if np.ndim(states) else 0
    if num == 1:
        raise ValueError("states: got T = 0, one state only; legal are two or more, from the start to the result")
    grid = gr.make_grid(states, skeleton, argument="states", **options)
    words = [f"state {row} of {num - 1}" for row in grid.scene.rows]
    if times is not None:
        instants = np.asarray(times, np.float64)
        if instants.shape != (num,) or not np.isfinite(instants).all():
            raise ValueError(f"times: got shape {list(instants.shape)}, legal is [{num}], all finite")
        words = [f"{word} · t = {instants[row]:.3f}" for word, row in zip(words, grid.scene.rows, strict=True)]
    pause_ms = float(np.clip(1000 * _SECONDS_PER_PATH / len(words), *_PAUSES_MS))
    slider = Slider(tuple(words), pause_ms, start=len(words) - 1)
    return build(scene_parts(grid.scene, skeleton, slider, grid), slider, gr.caption(grid))
