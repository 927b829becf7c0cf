"""Input of mesh figures: meshes, skeletons and observed points, checked, subsampled and placed.

Everything is turned to camera axes (x right, y down, z forward), which figure.py takes.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxpose.geometry.skeleton import Skeleton
from jaxpose.viz import scene as sc

COLOURS = ("#7fb2e5", "#e8a33d", "#4fb89b", "#cf8ab4", "#d9cf4a", "#b3865b", "#9d8ce0", "#8f98a3")
TRUTH_COLOUR = "#5a606b"
UPS = {"y": (1, -1, -1), "-y": (1, 1, 1)}  # the signs that turn a frame to camera axes
_GAP = 0.25  # metres between bodies that stand beside one another
_FAINT, _FAINT_TRUTH = 0.5, 0.45  # opacity of what would hide something


class Surface(NamedTuple):
    """A mesh over frames: vertices [F or 1, V, 3] metres in camera axes, faces [_, 3]."""

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    colour: str
    opacity: float


class Stage(NamedTuple):
    """What a figure shows: surfaces, and layers of skeletons or points with the skeleton of each."""

    surfaces: tuple[Surface, ...]
    layers: tuple[tuple[sc.Layer, Skeleton], ...]


class Choice(NamedTuple):
    """Which bodies and frames are shown, of `counts` that were given, and the frame's up axis (`UPS`)."""

    bodies: np.ndarray
    rows: np.ndarray
    counts: tuple[int, int]
    up: str


def make_stage(
    meshes: np.ndarray,
    faces: np.ndarray,
    choice: Choice,
    *,
    names: Sequence[str] | None = None,
    joints: ArrayLike | None = None,
    skeleton: Skeleton | None = None,
    truth: ArrayLike | None = None,
    truth_faces: ArrayLike | None = None,
    observed: ArrayLike | None = None,
    observed_skeleton: Skeleton | None = None,
    arrange: str = "over",
    opacity: float | None = None,
) -> Stage:
    """The stage of meshes [H, F, V, 3] with faces [_, 3]; see `mesh.MeshOptions`."""
    if arrange not in ("over", "beside"):
        raise ValueError(f"arrange: got {arrange!r}, legal are 'over' and 'beside'")
    beside = arrange == "beside"
    inside = joints is not None or observed is not None
    hides = inside or (not beside and (truth is not None or len(choice.bodies) > 1))
    bodies = _taken("vertices", meshes[choice.bodies], 4, choice)
    true = None if truth is None else _taken("truth", truth, 3, choice, finite=True)
    first = 0 if true is None else 1
    places = np.zeros((first + len(bodies), 3), np.float32)
    if beside:
        places = _places([*bodies] if true is None else [true, *bodies])
    opacity = (_FAINT if hides else 1.0) if opacity is None else opacity
    surfaces = _bodies(bodies + places[first:, None, None], faces, names, choice, opacity)
    if true is not None:
        own = mesh_faces("truth_faces", faces if truth_faces is None else truth_faces, true.shape[1])
        true_opacity = _FAINT_TRUTH if hides else 1.0
        surfaces.append(Surface("truth", true + places[0], own, TRUTH_COLOUR, true_opacity))
    layers = []
    if joints is not None:
        layers.append(_skeletons(joints, skeleton, places[first:], choice))
    if observed is not None:
        layers.append(_observed(observed, observed_skeleton, places[0], choice))
    return Stage(tuple(surfaces), tuple(layers))


def mesh_arrays(vertices: ArrayLike, faces: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Meshes as float32 [H, F, V, 3] and faces as uint32 [_, 3]; ValueError where they are wrong."""
    meshes = _whole("vertices", vertices, 4, finite=True)
    return meshes, mesh_faces("faces", faces, meshes.shape[-2])


def mesh_faces(name: str, faces: ArrayLike, num_vertices: int) -> np.ndarray:
    """Faces as uint32 [_, 3], all of vertices that are there, or a ValueError naming the argument."""
    array = np.asarray(faces)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array) or array.dtype.kind not in "iu":
        raise ValueError(f"{name}: got {array.dtype} {list(array.shape)}, legal are integers [F, 3]")
    if array.min() < 0 or array.max() >= num_vertices:
        raise ValueError(f"{name}: got vertices {array.min()}..{array.max()}, legal are 0..{num_vertices - 1}")
    return array.astype(np.uint32)


def _bodies(
    meshes: np.ndarray, faces: np.ndarray, names: Sequence[str] | None, choice: Choice, opacity: float
) -> list[Surface]:
    num = choice.counts[0]
    if names is not None and len(names) != num:
        raise ValueError(f"names: got {len(names)}, legal are {num}, one per body")
    surfaces = []
    for place, (number, mesh) in enumerate(zip(choice.bodies, meshes, strict=True)):
        default = "body" if num == 1 else f"body {number}"
        name = html.escape(sc.printable(default if names is None else names[number]))
        surfaces.append(Surface(name, mesh, faces, COLOURS[place % len(COLOURS)], opacity))
    return surfaces


def _skeletons(
    joints: ArrayLike, skeleton: Skeleton | None, places: np.ndarray, choice: Choice
) -> tuple[sc.Layer, Skeleton]:
    if skeleton is None:
        raise ValueError("skeleton: got None beside joints; legal is the Skeleton of the joints")
    poses = _taken("joints", joints, 4, choice)
    if poses.shape[0] != choice.counts[0] or poses.shape[2] != len(skeleton.joints):
        legal = [*choice.counts, len(skeleton.joints), 3]
        raise ValueError(f"joints: got {list(np.shape(joints))}, legal is {legal}")
    poses = poses[choice.bodies] + places[:, None, None]
    return sc.Layer("joints", poses, sc.LIMBS, 3.0, 1.0, 3.0), skeleton


def _observed(
    observed: ArrayLike, skeleton: Skeleton | None, place: np.ndarray, choice: Choice
) -> tuple[sc.Layer, Skeleton]:
    points = _taken("observed", observed, 3, choice)
    num = points.shape[1]
    if skeleton is None:
        skeleton = Skeleton("points", tuple(f"point {i}" for i in range(num)), (-1,) * num, (), (), ())
    if len(skeleton.joints) != num:
        raise ValueError(f"observed: got {num} points, legal are the skeleton's {len(skeleton.joints)}")
    return sc.Layer("observed", (points + place)[None], (sc.GIVEN,) * 3, 2.0, 1.0, 4.0), skeleton


def _taken(name: str, value: ArrayLike, ndim: int, choice: Choice, finite: bool = False) -> np.ndarray:
    """The chosen frames of a value [..., F or 1, N, 3], in camera axes."""
    array = _whole(name, value, ndim, finite)
    if array.shape[-3] not in (1, choice.counts[1]):
        raise ValueError(f"{name}: got {array.shape[-3]} frames, legal are {choice.counts[1]} or 1")
    array = array * np.array(UPS[choice.up], np.float32)
    return array[..., choice.rows, :, :] if array.shape[-3] > 1 else array


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
