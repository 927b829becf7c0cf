"""Pages of bodies as meshes, still or moving (page.py).

One body or several (hypotheses, people, a fit of each method), each in a colour of its own; beside them a true mesh
and the points that were observed. A body is a skin: vertices at rest that follow joints, 14 bytes a joint and frame
before compression, which a page moves instead of keeping every vertex:

    v(t) = sum_j w_j (R_j(t) v + t_j(t)),    t_j = p_j - R_j J_j

with the four strongest weights w of a vertex, made to sum to 1, the joints' places J at rest and p posed. That is
`PosedBody.skin` without pose correctives and without weights beyond the fourth. Where every frame has a shape of its
own, the surface is that of the mean shape, and the joints are where each frame has them.

Frames beyond 30 a second and beyond `max_frames` are left out, a constant stride apart, and the caption says so. The
frame is the world's with y up (bodies of geometry/body.py face +z, the viewer). All raise ValueError for wrong shapes
and values that are not finite.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxpose.app.viz import scene as sc
from jaxpose.app.viz.page import Packer, Page, display, frame_of, layer_part, make_page, skeleton_part
from jaxpose.app.viz.scenes import check_fps, frame_steps
from jaxpose.compiled import check_shape
from jaxpose.geometry.axes import R_CAM_WORLD
from jaxpose.geometry.body import PosedBody
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io.meshes import COLOURS, checked_faces, strongest_weights

_STEP, _TURN_STEP = 1e-4, 1 / 32767  # metres; of quaternions
_FLIP = np.diag([1.0, -1.0, -1.0])  # camera axes to those of the display


class Skin(NamedTuple):
    """One body over F frames: rest [V, 3] m; weights [V, J]; transforms [F, J, 3, 4], (R_j | t_j), NaN where absent.

    joints_at_rest: [J, 3] m. lacking: what is left out of the surface.
    """

    rest: np.ndarray
    weights: np.ndarray
    transforms: np.ndarray
    joints_at_rest: np.ndarray
    lacking: str = ""

    def turned(self, R: np.ndarray, rows: np.ndarray) -> "Skin":
        """The frames `rows`, turned by R [3, 3]."""
        return self._replace(transforms=R @ self.transforms[rows])

    def moved(self, place: np.ndarray) -> "Skin":
        """The same, moved by place [3] metres."""
        move = np.concatenate([np.zeros((3, 3)), np.asarray(place)[:, None]], 1)
        return self._replace(transforms=self.transforms + move)

    def joints(self) -> np.ndarray:
        """The places of the joints, [F, J, 3]."""
        return np.einsum("fjrc,jc->fjr", self.transforms[..., :3], self.joints_at_rest) + self.transforms[..., 3]

    def sampled(self, most: int = 10) -> np.ndarray:
        """Vertices [f, V, 3] of at most so many frames in which the body is, evenly spaced."""
        there = np.flatnonzero(np.isfinite(self.transforms).all((1, 2, 3)))
        rows = there[np.linspace(0, len(there) - 1, min(most, len(there))).round().astype(int)]
        T = np.tensordot(self.weights, self.transforms[rows], axes=(1, 1))  # [V, f, 3, 4]
        return np.moveaxis(np.einsum("vfrc,vc->vfr", T[..., :3], self.rest) + T[..., 3], 0, 1)

    def packed(self, packer: Packer) -> dict[str, Any]:
        """The parts of a page for a skin in the axes of a camera."""
        from scipy.spatial.transform import Rotation

        strongest, shares = strongest_weights(self.weights)
        used = np.unique(strongest)
        transforms, joints = _FLIP @ self.transforms[:, used], self.joints_at_rest[used]
        known = np.isfinite(transforms).all((-1, -2), keepdims=True)
        matrices = np.where(known, transforms[..., :3], np.eye(3)).astype(np.float32)
        turns = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_quat().reshape(*matrices.shape[:-2], 4)  # xyzw
        turns *= np.where(turns[..., 3:] < 0, -1, 1)
        posed = self.joints()[:, used] @ _FLIP
        time = 0 if len(transforms) > 1 else None
        weights = np.rint(255 * shares).astype(np.int16)
        weights[:, 0] += 255 - weights.sum(1)  # they sum to 1 again
        return {
            "rest": packer.positions(self.rest, _STEP),
            "joints": packer.positions(joints, _STEP),
            "turns": packer.positions(turns, _TURN_STEP, time=time),
            "posed": packer.positions(posed, _STEP, time=time),
            "strongest": packer.add(np.searchsorted(used, strongest).astype(np.uint8)),
            "shares": packer.add(weights.astype(np.uint8)),
        }


def skins_of(posed: PosedBody, move: ArrayLike | None = None) -> list[Skin]:
    """A skin for each body of a posed body with leading axes [], [F] or [H, F]; move: [..., 3] m that it is moved."""
    R = np.asarray(posed.global_rotations, np.float64)
    rest, joints = (np.asarray(x, np.float64) for x in (posed.shaped.joints, posed.joints))
    joints = joints if move is None else joints + np.asarray(move)[..., None, :]
    lead = joints.shape[:-2]
    t = joints - np.einsum("...jrc,...jc->...jr", R, np.broadcast_to(rest, (*lead, *rest.shape[-2:])))
    transforms = np.concatenate([np.broadcast_to(R, (*lead, *R.shape[-3:])), t[..., None]], -1)
    lacking = ["four strongest skinning weights"]
    lacking += ["without pose correctives"] if np.any(np.asarray(posed.body.posedirs)) else []
    shaped = posed.shaped
    if shaped.joints.ndim > 2:
        betas, expression = (np.asarray(x) for x in (shaped.betas, shaped.expression))
        varied = np.ptp(betas.reshape(-1, betas.shape[-1]), axis=0).any() if betas.size else False
        lacking += ["surface of the mean shape"] if varied else []
        shaped = posed.body.shape(*(jnp.asarray(x.mean(tuple(range(x.ndim - 1)))) for x in (betas, expression)))
    weights, vertices = np.asarray(posed.body.weights), np.asarray(shaped.vertices)
    bodies = transforms.reshape(-1, *(lead[-1:] or (1,)), *transforms.shape[-3:])
    return [Skin(vertices, weights, body, np.asarray(shaped.joints), ", ".join(lacking)) for body in bodies]


TRUTH_COLOUR = "#8d939e"
_GAP = 0.25  # metres between bodies that stand beside one another
_FAINT, _FAINT_TRUTH = 0.55, 0.45  # opacity of what would hide something
_TURN = R_CAM_WORLD["y"].astype(np.float32)  # to camera axes
_SECONDS_PER_FRAME, _MAX_FPS = 0.5, 30  # without a frame rate; what a browser draws


class MeshOptions(NamedTuple):
    """Parts of a page beside its bodies, and their look.

    names: one per body. truth: a skin, of truth_faces [_, 3] or the bodies' own. observed: [K, 3], [F, K, 3] m, or
    [P, F, K, 3] of P people, F may be 1; points that are not finite are gaps; with bones where observed_skeleton is
    given.
    fps: frames per second; labels: one per frame.
    arrange: "over" leaves bodies where they are, "beside" moves them apart along x, the truth first.
    opacity: of the bodies; by default 1, or 0.5 where they would hide something. max_bodies, max_frames: at most so
    many are shown.
    """

    names: Sequence[str] | None = None
    truth: Skin | None = None
    truth_faces: ArrayLike | None = None
    observed: ArrayLike | None = None
    observed_skeleton: Skeleton | None = None
    fps: float | None = None
    labels: Sequence[str] | None = None
    arrange: Literal["over", "beside"] = "over"
    opacity: float | None = None
    max_bodies: int = 8
    max_frames: int = 300


class _Surface(NamedTuple):
    """A skin in camera axes, its faces [_, 3] and its look."""

    name: str
    skin: Skin
    faces: np.ndarray
    colour: str
    opacity: float


def mesh_page(
    skins: Sequence[Skin], faces: ArrayLike, *, title: str = "Bodies", note: str = "", **options: Any
) -> Page:
    """The page of H skins with common faces [_, 3]; options: as `MeshOptions` has them."""
    given = MeshOptions(**options)
    fps, labels = given.fps, given.labels
    check_fps(fps)
    if not skins or not all(isinstance(skin, Skin) for skin in skins):
        raise ValueError(f"skins: got {type(skins).__name__}, must be one `Skin` or more (skins_of)")
    num_bodies, num_frames, num_vertices = len(skins), len(skins[0].transforms), len(skins[0].rest)
    triangles = checked_faces("faces", faces, num_vertices)
    shown = sc.evenly(num_bodies, sc.at_least_one("max_bodies", given.max_bodies))
    stride = -(-num_frames // sc.at_least_one("max_frames", given.max_frames))
    stride = max(stride, round(fps / _MAX_FPS) if fps else 1)
    rows = np.arange(0, num_frames, stride)
    surfaces, layers = _placed(skins, triangles, shown, rows, given)
    if labels is not None and len(labels) != num_frames:
        raise ValueError(f"labels: got {len(labels)}, must be {num_frames}, one per frame")
    words = ["" if labels is None else sc.printable(labels[row] or "") for row in rows.tolist()]
    caption = [
        "1 body" if num_bodies == 1 else f"{len(shown)} of {num_bodies} bodies",
        f"{num_vertices} vertices, {skins[0].lacking}",
        f"{len(rows)} of {num_frames} frames" + (f", {stride} apart" if stride > 1 else "") if num_frames > 1 else "",
        *("metres, y up", f"grid {sc.GRID_METRES} m, its height is of the lowest vertex"),
    ]
    packer = Packer()
    parts = _parts(packer, surfaces, layers)
    return make_page(packer, title, note, caption, frame_steps(rows, fps, words, _SECONDS_PER_FRAME), "y", **parts)


def _parts(packer: Packer, surfaces: list[_Surface], layers: list[tuple[sc.Layer, Skeleton]]) -> dict[str, Any]:
    points = [*(surface.skin.joints() for surface in surfaces), *(layer.poses for layer, _ in layers)]
    box = frame_of([display(x) for x in points])
    feet = [display(surface.skin.sampled())[..., 1].min() for surface in surfaces]
    box["low"][1] = floor = round(float(min(feet)), 4)
    return {
        "surfaces": [
            {"name": name, "colour": colour, "opacity": opacity}
            | skin.packed(packer)
            | {"faces": packer.add(faces.astype(np.uint32))}
            for name, skin, faces, colour, opacity in surfaces
        ],
        "layers": [layer_part(packer, layer, number) for number, (layer, _) in enumerate(layers)],
        "skeletons": [skeleton_part(skeleton) for _, skeleton in layers],
        **{"people": [""], "box": box, "floor": floor},
    }


def _placed(
    skins: Sequence[Skin], faces: np.ndarray, shown: np.ndarray, rows: np.ndarray, given: MeshOptions
) -> tuple[list[_Surface], list[tuple[sc.Layer, Skeleton]]]:
    """Surfaces of the bodies `shown` in the frames `rows`, the layer of observed points with their skeleton."""
    if given.arrange not in ("over", "beside"):
        raise ValueError(f"arrange: got {given.arrange!r}, must be one of 'over' and 'beside'")
    beside, num = given.arrange == "beside", len(skins)
    hides = given.observed is not None or (not beside and (given.truth is not None or len(shown) > 1))
    true = [] if given.truth is None else [given.truth]
    if true and len(true[0].transforms) != len(skins[0].transforms):
        raise ValueError(f"truth: got {len(true[0].transforms)} frames, must be {len(skins[0].transforms)}")
    bodies = [skin.turned(_TURN, rows) for skin in (*true, *(skins[body] for body in shown))]
    places = _places(bodies) if beside else np.zeros((len(bodies), 3), np.float32)
    moved = [skin.moved(place) for skin, place in zip(bodies, places, strict=True)]
    opacity = (_FAINT if hides else 1.0) if given.opacity is None else given.opacity
    usual = ["body"] if num == 1 else [f"body {number}" for number in range(num)]
    names = usual if given.names is None else given.names
    if len(names) != num:
        raise ValueError(f"names: got {len(names)}, must be {num}, one per body")
    surfaces = [
        _Surface(sc.printable(names[number]), skin, faces, COLOURS[place % len(COLOURS)], opacity)
        for place, (number, skin) in enumerate(zip(shown, moved[len(true) :], strict=True))
    ]
    for skin in moved[: len(true)]:
        own_faces = faces if given.truth_faces is None else given.truth_faces
        triangles = checked_faces("truth_faces", own_faces, len(skin.rest))
        surfaces.append(_Surface("truth", skin, triangles, TRUTH_COLOUR, _FAINT_TRUTH if hides else 1.0))
    if given.observed is None:
        return surfaces, []
    return surfaces, [_observed(given, places[0], rows, len(skins[0].transforms))]


def _observed(given: MeshOptions, place: np.ndarray, rows: np.ndarray, num_frames: int) -> tuple[sc.Layer, Skeleton]:
    """The layer of the points observed in the frames `rows` of `num_frames`, in camera axes, and its skeleton."""
    points, skeleton = np.asarray(given.observed, np.float32), given.observed_skeleton
    check_shape("observed", points, ("K", 3), ("F", "K", 3), ("P", "F", "K", 3))
    points = points.reshape(*(1,) * (4 - points.ndim), *points.shape) @ _TURN.T
    if points.shape[1] not in (1, num_frames):
        raise ValueError(f"observed: got {points.shape[1]} frames, must be {num_frames} or 1")
    points = points[:, rows] if points.shape[1] > 1 else points
    num = points.shape[2]
    if skeleton is None:
        skeleton = Skeleton("points", tuple(f"point {i}" for i in range(num)), (-1,) * num, (), (), ())
    if len(skeleton.joints) != num:
        raise ValueError(f"observed: got {num} points, must be the skeleton's {len(skeleton.joints)}")
    return sc.Layer("observed", points + place, (sc.GIVEN,) * 3, 2.0, 1.0, 4.0), skeleton


def _places(skins: Sequence[Skin]) -> np.ndarray:
    """Moves [L, 3] along x by which bodies stand apart, in their order from the left."""
    places, right = np.zeros((len(skins), 3), np.float32), 0.0
    for place, skin in zip(places, skins, strict=True):
        x = skin.sampled()[..., 0]
        low, high = x.min(), x.max()
        place[0] = right - low
        right += high - low + _GAP
    return places - places.mean(0)
