"""Bodies as meshes, still or moving, as plotly figures or as one HTML file each (page.py).

One body or several (hypotheses, people, a fit of each method), each in a colour of its own; beside them a true mesh,
their skeletons, and the points that were observed. A slider runs over the frames; play keeps the motion's own speed.
Vertices are binary inside the page, about 20 bytes each and frame. Frames beyond 30 a second, beyond `max_frames` and
beyond `max_megabytes` are left out, a constant stride apart, and the caption says so.

The frame is the world's with y up (bodies of geometry/body.py face +z, the viewer), or a camera's with y down; it is
turned to camera axes (x right, y down, z forward), which figure.py takes. title, note, names and labels are escaped.
All raise ValueError for wrong shapes, values that are not finite, and a folder that is not there; ImportError without
plotly.
"""

import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxpose.geometry.skeleton import Skeleton
from jaxpose.viz import figure as fg
from jaxpose.viz import scene as sc
from jaxpose.viz.page import write_page

COLOURS = ("#7fb2e5", "#e8a33d", "#4fb89b", "#cf8ab4", "#d9cf4a", "#b3865b", "#9d8ce0", "#8f98a3")
TRUTH_COLOUR = "#5a606b"
UPS = {"y": (1, -1, -1), "-y": (1, 1, 1)}  # the signs that turn a frame to camera axes
_GAP = 0.25  # metres between bodies that stand beside one another
_FAINT, _FAINT_TRUTH = 0.5, 0.45  # opacity of what would hide something
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


class MeshOptions(NamedTuple):
    """What is shown beside bodies [H, F, V, 3], and how.

    names: one per body. joints: [H, F, J, 3] m with their skeleton. truth: [F, V', 3] m, of truth_faces [_, 3] or the
    bodies' own. observed: [F, K, 3] m, points that are not finite are gaps; with bones where observed_skeleton is
    given. Each of them may leave out the axes before its last two that vertices leave out, and F may be 1.
    fps: frames per second; labels: one per frame. up: "y" (world) or "-y" (camera).
    arrange: "over" leaves bodies where they are, "beside" moves them apart along x, the truth first.
    opacity: of the bodies; by default 1, or 0.5 where they would hide something. flat: show the faces of meshes, which
    are shaded smoothly else. max_bodies, max_frames, max_megabytes: at most so many are shown.
    """

    names: Sequence[str] | None = None
    joints: ArrayLike | None = None
    skeleton: Skeleton | None = None
    truth: ArrayLike | None = None
    truth_faces: ArrayLike | None = None
    observed: ArrayLike | None = None
    observed_skeleton: Skeleton | None = None
    fps: float | None = None
    labels: Sequence[str] | None = None
    up: Literal["y", "-y"] = "y"
    arrange: Literal["over", "beside"] = "over"
    opacity: float | None = None
    flat: bool = False
    max_bodies: int = 8
    max_frames: int = 300
    max_megabytes: float = 30.0


class _Choice(NamedTuple):
    """Which bodies and frames are shown, of `counts` that were given, and the frame's up axis (`UPS`)."""

    bodies: np.ndarray
    rows: np.ndarray
    counts: tuple[int, int]
    up: str

    def of(self, name: str, value: ArrayLike, ndim: int, finite: bool = False) -> np.ndarray:
        """The chosen frames of a value [..., F or 1, N, 3], in camera axes."""
        array = _whole(name, value, ndim, finite)
        if array.shape[-3] not in (1, self.counts[1]):
            raise ValueError(f"{name}: got {array.shape[-3]} frames, legal are {self.counts[1]} or 1")
        array = array * np.array(UPS[self.up], np.float32)
        return array[..., self.rows, :, :] if array.shape[-3] > 1 else array


class _Surface(NamedTuple):
    """A mesh over frames: vertices [F or 1, V, 3] metres in camera axes, faces [_, 3]."""

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    colour: str
    opacity: float


def mesh_html(
    path: str | os.PathLike[str],
    vertices: ArrayLike,
    faces: ArrayLike,
    *,
    title: str = "Bodies",
    note: str = "",
    library_beside: bool = False,
    **options: Any,
) -> Path:
    """Write meshes as one HTML file; vertices, faces and options: of `mesh_figure`."""
    figure, sides = mesh_figure(vertices, faces, **options), options.get("joints") is not None
    return write_page(path, figure, title, note, library_beside, sides=sides)


def mesh_figure(vertices: ArrayLike, faces: ArrayLike, **options: Any) -> Any:
    """The plotly Figure of meshes [V, 3], [F, V, 3] or [H, F, V, 3] metres with common faces [_, 3].

    options: as `MeshOptions` has them.
    """
    given = MeshOptions(**options)
    fps, labels, up = given.fps, given.labels, given.up
    fg.check_fps(fps)
    if up not in UPS:
        raise ValueError(f"up: got {up!r}, legal are {sorted(UPS)}")
    meshes, triangles = mesh_arrays(vertices, faces)
    num_bodies, num_frames, num_vertices = meshes.shape[:3]
    shown = sc.evenly(num_bodies, sc.at_least_one("max_bodies", given.max_bodies))
    room = int(given.max_megabytes * 1e6 / (_BYTES * len(shown) * num_vertices))
    limit = max(1, min(sc.at_least_one("max_frames", given.max_frames), room))
    stride = max(-(-num_frames // limit), round(fps / _MAX_FPS) if fps else 1, 1)
    rows = np.arange(0, num_frames, stride)
    surfaces, layers = _placed(meshes, triangles, _Choice(shown, rows, (num_bodies, num_frames), up), given)
    if labels is not None and len(labels) != num_frames:
        raise ValueError(f"labels: got {len(labels)}, legal are {num_frames}, one per frame")
    words = ["" if labels is None else sc.printable(labels[row] or "") for row in rows]
    caption = [
        "1 body" if num_bodies == 1 else f"{len(shown)} of {num_bodies} bodies",
        f"{num_vertices} vertices",
        f"{len(rows)} of {num_frames} frames" + (f", {stride} apart" if stride > 1 else ""),
        *(_FRAME_NOTES[up], f"grid {sc.GRID_METRES} m"),
    ]
    slider = fg.frame_slider(rows, num_frames, fps, words, _SECONDS_PER_FRAME)
    return fg.build(_parts(surfaces, layers, slider, given.flat), slider, " · ".join(caption))


def mesh_arrays(vertices: ArrayLike, faces: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Meshes as float32 [H, F, V, 3] and faces as uint32 [_, 3]; ValueError where they are wrong."""
    meshes = _whole("vertices", vertices, 4, finite=True)
    return meshes, _checked_faces("faces", faces, meshes.shape[-2])


def _parts(
    surfaces: list[_Surface], layers: list[tuple[sc.Layer, Skeleton]], slider: fg.Slider, flat: bool
) -> fg.Parts:
    clouds = [surface.vertices for surface in surfaces] + [layer.poses for layer, _ in layers]
    low, high = sc.bounds([fg.upright(cloud) for cloud in clouds], margin=0.05)
    floor = float(low[2]) + 0.05

    def traces(row: int) -> list[tuple[dict[str, Any], bool]]:
        meshes = [(_surface_trace(surface, row, flat), len(surface.vertices) > 1) for surface in surfaces]
        return meshes + [pair for layer, skeleton in layers for pair in fg.layer_traces(layer, skeleton, row)]

    fixed = [*(fg.legend_key(layer) for layer, _ in layers), fg.ground(low, high, floor)]
    return fg.Parts(traces, fixed, fg.layout(low, high, float(high[2]) - floor, slider))


def _surface_trace(surface: _Surface, row: int, flat: bool) -> dict[str, Any]:
    index = np.uint16 if surface.vertices.shape[1] <= 2**16 else np.int32
    vertices = surface.vertices[row if len(surface.vertices) > 1 else 0]
    # not rounded to a millimetre: triangles of a few millimetres would be shaded like gravel
    x, y, z = vertices.astype(np.float32).T
    return {
        **{"type": "mesh3d", "x": np.copy(x), "y": np.copy(z), "z": -y},
        **dict(zip("ijk", surface.faces.T.astype(index), strict=True)),
        **{"color": surface.colour, "opacity": surface.opacity, "name": surface.name, "flatshading": flat},
        **{"lighting": _LIGHT, "lightposition": _LAMP, "showlegend": True, "hoverinfo": "skip"},
    }


def _placed(
    meshes: np.ndarray, faces: np.ndarray, choice: _Choice, given: MeshOptions
) -> tuple[list[_Surface], list[tuple[sc.Layer, Skeleton]]]:
    """Surfaces, and layers of skeletons or points with the skeleton of each, where they stand."""
    if given.arrange not in ("over", "beside"):
        raise ValueError(f"arrange: got {given.arrange!r}, legal are 'over' and 'beside'")
    beside = given.arrange == "beside"
    inside = given.joints is not None or given.observed is not None
    hides = inside or (not beside and (given.truth is not None or len(choice.bodies) > 1))
    bodies = choice.of("vertices", meshes[choice.bodies], 4)
    true = [] if given.truth is None else [choice.of("truth", given.truth, 3, finite=True)]
    places = _places([*true, *bodies]) if beside else np.zeros((len(true) + len(bodies), 3), np.float32)
    of_bodies = places[len(true) :]
    opacity = (_FAINT if hides else 1.0) if given.opacity is None else given.opacity
    surfaces = _bodies(bodies + of_bodies[:, None, None], faces, given.names, choice, opacity)
    for mesh in true:
        own = _checked_faces("truth_faces", faces if given.truth_faces is None else given.truth_faces, mesh.shape[1])
        surfaces.append(_Surface("truth", mesh + places[0], own, TRUTH_COLOUR, _FAINT_TRUTH if hides else 1.0))
    layers = []
    if given.joints is not None:
        layers.append(_skeletons(given.joints, given.skeleton, of_bodies, choice))
    if given.observed is not None:
        layers.append(_observed(given.observed, given.observed_skeleton, places[0], choice))
    return surfaces, layers


def _bodies(
    meshes: np.ndarray, faces: np.ndarray, names: Sequence[str] | None, choice: _Choice, opacity: float
) -> list[_Surface]:
    num = choice.counts[0]
    if names is not None and len(names) != num:
        raise ValueError(f"names: got {len(names)}, legal are {num}, one per body")
    surfaces = []
    for place, (number, mesh) in enumerate(zip(choice.bodies, meshes, strict=True)):
        default = "body" if num == 1 else f"body {number}"
        name = html.escape(sc.printable(default if names is None else names[number]))
        surfaces.append(_Surface(name, mesh, faces, COLOURS[place % len(COLOURS)], opacity))
    return surfaces


def _skeletons(
    joints: ArrayLike, skeleton: Skeleton | None, places: np.ndarray, choice: _Choice
) -> tuple[sc.Layer, Skeleton]:
    if skeleton is None:
        raise ValueError("skeleton: got None beside joints; legal is the Skeleton of the joints")
    poses = choice.of("joints", joints, 4)
    if poses.shape[0] != choice.counts[0] or poses.shape[2] != len(skeleton.joints):
        legal = [*choice.counts, len(skeleton.joints), 3]
        raise ValueError(f"joints: got {list(np.shape(joints))}, legal is {legal}")
    poses = poses[choice.bodies] + places[:, None, None]
    return sc.Layer("joints", poses, sc.LIMBS, 3.0, 1.0, 3.0), skeleton


def _observed(
    observed: ArrayLike, skeleton: Skeleton | None, place: np.ndarray, choice: _Choice
) -> tuple[sc.Layer, Skeleton]:
    points = choice.of("observed", observed, 3)
    num = points.shape[1]
    if skeleton is None:
        skeleton = Skeleton("points", tuple(f"point {i}" for i in range(num)), (-1,) * num, (), (), ())
    if len(skeleton.joints) != num:
        raise ValueError(f"observed: got {num} points, legal are the skeleton's {len(skeleton.joints)}")
    return sc.Layer("observed", (points + place)[None], (sc.GIVEN,) * 3, 2.0, 1.0, 4.0), skeleton


def _checked_faces(name: str, faces: ArrayLike, num_vertices: int) -> np.ndarray:
    """Faces as uint32 [_, 3], all of vertices that are there, or a ValueError naming the argument."""
    array = np.asarray(faces)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array) or array.dtype.kind not in "iu":
        raise ValueError(f"{name}: got {array.dtype} {list(array.shape)}, legal are integers [F, 3]")
    if array.min() < 0 or array.max() >= num_vertices:
        raise ValueError(f"{name}: got vertices {array.min()}..{array.max()}, legal are 0..{num_vertices - 1}")
    return array.astype(np.uint32)


def _whole(name: str, value: ArrayLike, ndim: int, finite: bool) -> np.ndarray:
    """`value` as float32 [..., N, 3] with `ndim` axes, the leading ones of length 1 where it has fewer."""
    array = np.asarray(value, np.float32)
    if not 2 <= array.ndim <= ndim or array.shape[-1] != 3 or not array.size:
        raise ValueError(f"{name}: got shape {list(array.shape)}, legal are 2 to {ndim} axes, the last of 3")
    if finite and not np.isfinite(array).all():
        raise ValueError(f"{name}: found NaN or infinity; legal are finite vertices")
    return array.reshape(*(1,) * (ndim - array.ndim), *array.shape)


def _places(meshes: list[np.ndarray]) -> np.ndarray:
    """Moves [L, 3] along x by which meshes [F, V, 3] stand apart, in their order from the left."""
    places, right = np.zeros((len(meshes), 3), np.float32), 0.0
    for place, mesh in zip(places, meshes, strict=True):
        low, high = mesh[..., 0].min(), mesh[..., 0].max()
        place[0] = right - low
        right += high - low + _GAP
    return places - places.mean(0)
