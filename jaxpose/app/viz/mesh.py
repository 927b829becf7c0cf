"""Pages of bodies as meshes, still or moving (page.py).

One body or several (hypotheses, people, a fit of each method), each in a colour of its own; beside them a true mesh
and the points that were observed. A body is given by its vertices in every frame, or by a skin: its vertices at rest,
which the viewer moves with the joints (skin.py). Vertices cost 6 bytes each and frame before compression, a skin 14
bytes a joint. Frames beyond 30 a second, beyond `max_frames` and, of vertices, beyond `max_megabytes` are left out, a
constant stride apart, and the caption says so.

The frame is the world's with y up (bodies of geometry/body.py face +z, the viewer). All raise ValueError for wrong
shapes and values that are not finite.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from jaxpose.app.viz import scene as sc
from jaxpose.app.viz.packing import Packer
from jaxpose.app.viz.page import Page, display, frame_of, layer_part, make_page, skeleton_part
from jaxpose.app.viz.scenes import check_fps, frame_steps
from jaxpose.app.viz.skin import Skin
from jaxpose.geometry.axes import R_CAM_WORLD
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io.meshes import COLOURS, checked_faces, mesh_arrays, points_of

TRUTH_COLOUR = "#8d939e"
_GAP = 0.25  # metres between bodies that stand beside one another
_FAINT, _FAINT_TRUTH = 0.55, 0.45  # opacity of what would hide something
_TURN = R_CAM_WORLD["y"].astype(np.float32)  # to camera axes
_BYTES = 6  # of a vertex in a frame
_STEP = 1e-4  # metres: of vertices, whose triangles are small
_SECONDS_PER_FRAME, _MAX_FPS = 0.5, 30  # without a frame rate; what a browser draws


Bodies: TypeAlias = np.ndarray | list[Skin]  # [H, F, V, 3], or H skins


class MeshOptions(NamedTuple):
    """Parts of a page beside bodies [H, F, V, 3], and their look.

    names: one per body. truth: [F, V', 3] m or a skin, of truth_faces [_, 3] or the bodies' own. observed: [F, K, 3] m,
    or [P, F, K, 3] of P people; points that are not finite are gaps; with bones where observed_skeleton is given. Each
    of them may leave out the axes before its last two that vertices leave out, and F may be 1.
    fps: frames per second; labels: one per frame.
    arrange: "over" leaves bodies where they are, "beside" moves them apart along x, the truth first.
    opacity: of the bodies; by default 1, or 0.5 where they would hide something. max_bodies, max_frames, max_megabytes:
    at most so many are shown, the last of vertices before compression.
    """

    names: Sequence[str] | None = None
    truth: ArrayLike | Skin | None = None
    truth_faces: ArrayLike | None = None
    observed: ArrayLike | None = None
    observed_skeleton: Skeleton | None = None
    fps: float | None = None
    labels: Sequence[str] | None = None
    arrange: Literal["over", "beside"] = "over"
    opacity: float | None = None
    max_bodies: int = 8
    max_frames: int = 300
    max_megabytes: float = 3.0


class _Choice(NamedTuple):
    """Which bodies and frames are shown, of `counts` that were given."""

    bodies: np.ndarray
    rows: np.ndarray
    counts: tuple[int, int]

    def of(self, name: str, value: ArrayLike, ndim: int, finite: bool = False) -> np.ndarray:
        """The chosen frames of a value [..., F or 1, N, 3], in camera axes."""
        array = points_of(name, value, ndim, finite)
        if array.shape[-3] not in (1, self.counts[1]):
            raise ValueError(f"{name}: got {array.shape[-3]} frames, must be {self.counts[1]} or 1")
        array = array @ _TURN.T
        return array[..., self.rows, :, :] if array.shape[-3] > 1 else array

    def bodies_of(self, meshes: Bodies) -> list[np.ndarray | Skin]:
        """The chosen bodies in the chosen frames, in camera axes."""
        if isinstance(meshes, list):
            return [meshes[body].turned(_TURN, self.rows) for body in self.bodies]
        return list(self.of("vertices", meshes[self.bodies], 4))

    def truth_of(self, truth: ArrayLike | Skin) -> np.ndarray | Skin:
        """The same of the truth, which is one body."""
        if not isinstance(truth, Skin):
            return self.of("truth", truth, 3, finite=True)
        if len(truth.transforms) != self.counts[1]:
            raise ValueError(f"truth: got {len(truth.transforms)} frames, must be {self.counts[1]}")
        return truth.turned(_TURN, self.rows)


class _Surface(NamedTuple):
    """A mesh over frames: vertices [F or 1, V, 3] metres or a skin, in camera axes; faces [_, 3]."""

    name: str
    shape: np.ndarray | Skin
    faces: np.ndarray
    colour: str
    opacity: float


def mesh_page(
    vertices: ArrayLike | Sequence[Skin], faces: ArrayLike, *, title: str = "Bodies", note: str = "", **options: Any
) -> Page:
    """The page of meshes [V, 3], [F, V, 3] or [H, F, V, 3] metres, or of H skins, with common faces [_, 3].

    options: as `MeshOptions` has them.
    """
    given = MeshOptions(**options)
    fps, labels = given.fps, given.labels
    check_fps(fps)
    meshes: Bodies
    if isinstance(vertices, Sequence) and vertices and isinstance(vertices[0], Skin):
        meshes, room = [skin for skin in vertices if isinstance(skin, Skin)], given.max_frames
        num_bodies, num_frames, num_vertices = len(meshes), len(meshes[0].transforms), len(meshes[0].rest)
        triangles, lacking = checked_faces("faces", faces, num_vertices), f", {meshes[0].lacking}"
    else:
        meshes, triangles = mesh_arrays(vertices, faces)  # type: ignore[arg-type]  # not of skins
        (num_bodies, num_frames, num_vertices), lacking = meshes.shape[:3], ""
        room = int(given.max_megabytes * 1e6 / (_BYTES * min(num_bodies, given.max_bodies) * num_vertices))
    shown = sc.evenly(num_bodies, sc.at_least_one("max_bodies", given.max_bodies))
    limit = max(1, min(sc.at_least_one("max_frames", given.max_frames), room))
    stride = max(-(-num_frames // limit), round(fps / _MAX_FPS) if fps else 1, 1)
    rows = np.arange(0, num_frames, stride)
    surfaces, layers = _placed(meshes, triangles, _Choice(shown, rows, (num_bodies, num_frames)), given)
    if labels is not None and len(labels) != num_frames:
        raise ValueError(f"labels: got {len(labels)}, must be {num_frames}, one per frame")
    words = ["" if labels is None else sc.printable(labels[row] or "") for row in rows.tolist()]
    caption = [
        "1 body" if num_bodies == 1 else f"{len(shown)} of {num_bodies} bodies",
        f"{num_vertices} vertices{lacking}",
        f"{len(rows)} of {num_frames} frames" + (f", {stride} apart" if stride > 1 else "") if num_frames > 1 else "",
        *("metres, y up", f"grid {sc.GRID_METRES} m, its height is of the lowest vertex"),
    ]
    packer = Packer()
    parts = _parts(packer, surfaces, layers)
    return make_page(packer, title, note, caption, frame_steps(rows, fps, words, _SECONDS_PER_FRAME), "y", **parts)


def _parts(packer: Packer, surfaces: list[_Surface], layers: list[tuple[sc.Layer, Skeleton]]) -> dict[str, Any]:
    shapes = [s.shape.joints() if isinstance(s.shape, Skin) else s.shape for s in surfaces]
    box = frame_of([display(points) for points in [*shapes, *(layer.poses for layer, _ in layers)]])
    feet = [display(s.shape.sampled() if isinstance(s.shape, Skin) else s.shape)[..., 1].min() for s in surfaces]
    box["low"][1] = floor = round(float(min(feet)), 4)
    return {
        "surfaces": [_surface_part(packer, surface) for surface in surfaces],
        "layers": [layer_part(packer, layer, number) for number, (layer, _) in enumerate(layers)],
        "skeletons": [skeleton_part(skeleton) for _, skeleton in layers],
        **{"people": [""], "box": box, "floor": floor},
    }


def _surface_part(packer: Packer, surface: _Surface) -> dict[str, Any]:
    part = {"name": surface.name, "colour": surface.colour, "opacity": surface.opacity}
    shape, faces = surface.shape, surface.faces
    if isinstance(shape, Skin):
        return part | shape.packed(packer) | {"faces": packer.add(faces.astype(np.uint32))}
    time = 0 if len(shape) > 1 else None
    vertices = packer.positions(display(shape), _STEP, time=time)
    return part | {"vertices": vertices, "faces": packer.add(faces.astype(np.uint32))}


def _placed(
    meshes: Bodies, faces: np.ndarray, choice: _Choice, given: MeshOptions
) -> tuple[list[_Surface], list[tuple[sc.Layer, Skeleton]]]:
    """Surfaces, and the layer of observed points with their skeleton, where they stand."""
    if given.arrange not in ("over", "beside"):
        raise ValueError(f"arrange: got {given.arrange!r}, must be one of 'over' and 'beside'")
    beside = given.arrange == "beside"
    hides = given.observed is not None or (not beside and (given.truth is not None or len(choice.bodies) > 1))
    true = [] if given.truth is None else [choice.truth_of(given.truth)]
    shapes = [*true, *choice.bodies_of(meshes)]
    places = _places(shapes) if beside else np.zeros((len(shapes), 3), np.float32)
    moved = [s.moved(place) if isinstance(s, Skin) else s + place for s, place in zip(shapes, places, strict=True)]
    opacity = (_FAINT if hides else 1.0) if given.opacity is None else given.opacity
    num = choice.counts[0]
    usual = ["body"] if num == 1 else [f"body {number}" for number in range(num)]
    names = usual if given.names is None else given.names
    if len(names) != num:
        raise ValueError(f"names: got {len(names)}, must be {num}, one per body")
    surfaces = [
        _Surface(sc.printable(names[number]), mesh, faces, COLOURS[place % len(COLOURS)], opacity)
        for place, (number, mesh) in enumerate(zip(choice.bodies, moved[len(true) :], strict=True))
    ]
    for mesh in moved[: len(true)]:
        count = len(mesh.rest) if isinstance(mesh, Skin) else mesh.shape[1]
        triangles = checked_faces("truth_faces", faces if given.truth_faces is None else given.truth_faces, count)
        surfaces.append(_Surface("truth", mesh, triangles, TRUTH_COLOUR, _FAINT_TRUTH if hides else 1.0))
    if given.observed is None:
        return surfaces, []
    return surfaces, [_observed(given.observed, given.observed_skeleton, places[0], choice)]


def _observed(
    observed: ArrayLike, skeleton: Skeleton | None, place: np.ndarray, choice: _Choice
) -> tuple[sc.Layer, Skeleton]:
    points = choice.of("observed", observed, 4)
    num = points.shape[2]
    if skeleton is None:
        skeleton = Skeleton("points", tuple(f"point {i}" for i in range(num)), (-1,) * num, (), (), ())
    if len(skeleton.joints) != num:
        raise ValueError(f"observed: got {num} points, must be the skeleton's {len(skeleton.joints)}")
    return sc.Layer("observed", points + place, (sc.GIVEN,) * 3, 2.0, 1.0, 4.0), skeleton


def _places(meshes: Sequence[np.ndarray | Skin]) -> np.ndarray:
    """Moves [L, 3] along x by which meshes [F, V, 3] stand apart, in their order from the left."""
    places, right = np.zeros((len(meshes), 3), np.float32), 0.0
    for place, mesh in zip(places, meshes, strict=True):
        x = (mesh.sampled() if isinstance(mesh, Skin) else mesh)[..., 0]
        low, high = x.min(), x.max()
        place[0] = right - low
        right += high - low + _GAP
    return places - places.mean(0)
