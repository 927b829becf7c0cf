"""Pages of bodies for the gallery: what a prior over joint rotations makes, fills in, makes clean and fits.

The body is ANNY's (io/anny_body.py). What a prior knows are joint
rotations, not where a body stands: unconditional bodies are set down on the floor, each at its lowest point.
Without JAXPOSE_DATA only the page that needs no data is made.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate.bench import bench_path, load_walker
from jaxpose.app.viz import Skin, mesh_page, skins_of
from jaxpose.base import Array, Bodies, Camera, Key
from jaxpose.datasets.mocap import data_root
from jaxpose.fitting.engine import BodyParameters, posed_body
from jaxpose.fitting.keypoints import fit_keypoints
from jaxpose.fitting.motion import denoise_motion
from jaxpose.fitting.priors import dposer_prior
from jaxpose.geometry.body import Body, full_rotations
from jaxpose.geometry.body_joints import body_points
from jaxpose.geometry.skeleton import COCO_17, SMPL_22
from jaxpose.io.anny_body import anny_body
from jaxpose.io.arrays import load_arrays
from jaxpose.model import Model
from jaxpose.tasks.complete_rotations import PARTS, complete_rotations
from jaxpose.tasks.rotations import generate_rotations

SIDE_BY_SIDE, SETS = 5, 4  # generated bodies at once, and how often
HIDDEN, HYPOTHESES, POSES = "left_leg", 10, 6
CLIP, NOISE_METRES = 0, 0.1
CLIP_STRIDE, WALK_STRIDE = 5, 8  # frames of a page: of 60 at 30 a second, of 100 at 60
_NOISE_PX, _WRONG_PX = (
    10.0,
    40.0,
)  # detections differ from their triangulation by 8-20 px; beyond, one of them is wrong
R_Y_UP_FROM_Z_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32)


class Page(NamedTuple):
    """A page: its viewer with its first arguments (states and skeleton, or skins and faces) and its options."""

    name: str
    title: str
    line: str
    viewer: Callable[..., Any]
    shown: tuple[Any, ...]
    options: dict[str, Any]

    def write(self, out: Path, about: str) -> Path:
        """The page as out/NAME.html; about: models and people."""
        page = self.viewer(*self.shown, title=self.title, note=f"{self.line} {about}", **self.options)
        return page.write(out / f"{self.name}.html")


def body_pages(key: Key, model: Model) -> Iterator[Page]:
    """The pages one after another, each with a key of its own; those whose data is there."""
    body, walker = anny_body(), data_root() / "keypoints2d" / "walker_4cam.npz"
    frames, motions = bench_path("val_frames.npz"), bench_path("val_motion.npz")
    keys = [jax.random.fold_in(key, index) for index in range(4)]
    yield generate_page(keys[0], model, body)
    if frames.is_file():
        yield complete_page(keys[1], model, body, frames)
    if motions.is_file():
        yield denoise_page(keys[2], model, body, motions)
    if walker.is_file():
        yield fit_page(keys[3], model, body)


def generate_page(key: Key, model: Model, body: Body) -> Page:
    """Unconditional bodies, side by side."""
    drawn = _generated(key, model, SIDE_BY_SIDE * SETS)
    posed = _posed(body, drawn.reshape(SIDE_BY_SIDE, SETS, -1, 3))
    skins = skins_of(posed, on_floor(np.asarray(posed.skin())))
    line = (
        f"{SIDE_BY_SIDE * SETS} bodies out of noise. Their joint rotations are drawn, not their turn in space: one "
        "that leans may be bowing, falling or running."
    )
    options = {"arrange": "beside", "labels": [f"{SIDE_BY_SIDE} others"] * SETS}
    return Page("generate_bodies", "Generation: bodies", line, mesh_page, (skins, np.asarray(body.faces)), options)


def complete_page(key: Key, model: Model, body: Body, path: Path) -> Page:
    """Poses with a hidden leg: the leg of each hypothesis, beside the whole true body."""
    pose, names = _poses(path, POSES)
    hidden = PARTS[HIDDEN]
    known = np.ones(21, np.float32)
    known[list(hidden)] = 0
    given = np.where(known[:, None] > 0, pose, np.nan)
    drawn = _completed(key, model, jnp.asarray(given), jnp.asarray(known), num_hypotheses=HYPOTHESES)
    true = _posed(body, jnp.asarray(pose))
    rows, faces = part_of(body, [joint + 1 for joint in hidden])
    move = on_floor(np.asarray(true.skin()))
    (truth,) = skins_of(true, move)
    line = (
        f"The {HIDDEN.replace('_', ' ')} is hidden, the rest of the pose is given: {HYPOTHESES} legs that the prior "
        "holds likely, in colour; the true body in grey."
    )
    options = {
        **{"truth": truth, "truth_faces": np.asarray(body.faces), "labels": names, "max_bodies": HYPOTHESES},
        **{"names": [f"leg {h}" for h in range(HYPOTHESES)], "opacity": 0.55},
    }
    whole = skins_of(_posed(body, drawn), np.broadcast_to(move, (HYPOTHESES, *move.shape)))
    legs = [skin._replace(rest=skin.rest[rows], weights=skin.weights[rows]) for skin in whole]
    return Page("complete_bodies", "Completion of a body pose", line, mesh_page, (legs, faces), options)


def denoise_page(key: Key, model: Model, body: Body, path: Path) -> Page:
    """A motion from joints under noise; the noise is estimated."""
    z = load_arrays(path)
    pose = jnp.asarray(z["body_pose"][CLIP].reshape(-1, 21, 3))
    unit_noise, fps, name = z["unit_noise"][CLIP], float(z["fps"]), str(z["name"][CLIP])
    true = body.shape().pose(full_rotations(body, pose))
    noisy = np.asarray(true.joints[:, :22]) + NOISE_METRES * unit_noise
    parameters, joints = _denoised(key, model, body, jnp.asarray(noisy)[None])
    before, after = (
        1000 * np.linalg.norm(np.asarray(x) - np.asarray(true.joints[:, :22]), axis=-1).mean()
        for x in (noisy, joints[0])
    )
    line = (
        f"{name}: {1000 * NOISE_METRES:.0f} mm of noise on each coordinate of 22 joints (green), about the "
        f"truth (grey), and the body that was fitted to them (blue). Error of a joint {before:.0f} mm before, "
        f"{after:.0f} mm after."
    )
    rows = slice(None, None, CLIP_STRIDE)
    skins, (truth,) = skins_of(posed_body(body, parameters)), skins_of(true)
    skins, truth = [_every(skin, rows) for skin in skins], _every(truth, rows)
    options = {
        **{"truth": truth, "observed": noisy[rows], "observed_skeleton": SMPL_22},
        **{"fps": fps / CLIP_STRIDE, "arrange": "beside", "opacity": 1.0},
    }
    return Page("denoise_bodies", "Denoising of a motion", line, mesh_page, (skins, np.asarray(body.faces)), options)


def fit_page(key: Key, model: Model, body: Body) -> Page:
    """A body fitted to keypoints in four cameras, with its shape; beside it what triangulation says of the joints."""
    film = load_walker(WALK_STRIDE)
    wrong = np.any(np.asarray(film.residual_px) > _WRONG_PX, axis=1)
    parameters, joints = _fitted(key, model, body, *film.detections())
    points = np.where(np.expand_dims(wrong, -1), np.nan, film.points3d)
    apart = 1000 * np.nanmedian(np.linalg.norm(np.asarray(joints)[0] - points, axis=-1))
    posed = posed_body(body, parameters)
    lowest = np.asarray(posed.skin())[0][..., 2].min(-1)
    floor = np.array([0, np.quantile(lowest, 0.5), 0], np.float32)
    skins = [skin.turned(R_Y_UP_FROM_Z_UP, np.arange(len(points))).moved(-floor) for skin in skins_of(posed)]
    points = points @ R_Y_UP_FROM_Z_UP.T
    line = (
        "Keypoints of OpenPose in four calibrated cameras (Pose2Sim's demo), one body fitted to all of them, with its "
        f"shape. Green: the joints by triangulation, which the fit did not see; half are within {apart:.0f} mm of the "
        "body's."
    )
    options = {"observed": points - floor, "observed_skeleton": COCO_17, "fps": film.fps / WALK_STRIDE}
    return Page("fit_bodies", "A body from four cameras", line, mesh_page, (skins, np.asarray(body.faces)), options)


def on_floor(meshes: np.ndarray) -> np.ndarray:
    """What moves [..., 3] meshes [..., V, 3], y up, so that the lowest vertex of each lies at 0."""
    return -meshes[..., 1].min(-1)[..., None] * np.array([0, 1, 0], np.float32)


def part_of(body: Body, joints: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [K] that move with these joints by more than a half, and the faces [_, 3] between them, counted anew."""
    rows = np.flatnonzero(np.asarray(body.weights)[:, joints].sum(-1) > 0.5)
    faces = np.asarray(body.faces)
    return rows, np.searchsorted(rows, faces[np.isin(faces, rows).all(-1)])


def _poses(path: Path, num: int) -> tuple[np.ndarray, list[str]]:
    """Body poses [N, 21, 3] of `num` CMU frames, evenly spaced, and their names."""
    z = load_arrays(path)
    rows = np.flatnonzero([not name.startswith("hdm") for name in z["name"]])
    rows = rows[np.linspace(0, len(rows) - 1, num).round().astype(int)]
    names = [f"{z['category'][row]}, {z['name'][row]}" for row in rows]
    return z["body_pose"][rows].reshape(-1, 21, 3), names


@jax.jit
def _denoised(key: Key, model: Model, body: Body, targets: Array) -> tuple[BodyParameters, Array]:
    """Parameters and joints of one clip's targets [1, F, 22, 3]."""
    start = model.decode(jnp.zeros(model.spec.state_shape))
    fitted = denoise_motion(key, body, targets, "smpl22", dposer_prior(model), start_pose=start)
    return _best(fitted), fitted.joints[0]


@jax.jit
def _fitted(
    key: Key, model: Model, body: Body, uv_px: Array, confidence: Array, cameras: Camera
) -> tuple[BodyParameters, Array]:
    """Parameters, and COCO's points [1, F, 17, 3], of one clip's keypoints [1, C, F, 17, 2]."""
    start = model.decode(jnp.zeros(model.spec.state_shape))
    how: dict[str, Any] = {"noise_px": _NOISE_PX, "start_pose": start, "up": "z"}
    fitted = fit_keypoints(key, body, uv_px, confidence, cameras, "coco17", dposer_prior(model), **how)
    parameters = _best(fitted)
    return parameters, body_points(posed_body(body, parameters), "coco17")


def _every(skin: Skin, rows: slice) -> Skin:
    return skin._replace(transforms=skin.transforms[rows])


def _best(fitted: Bodies) -> BodyParameters:
    return BodyParameters(*(x[0] for x in fitted[:4]))


_generated = jax.jit(generate_rotations, static_argnums=2)
_completed = jax.jit(complete_rotations, static_argnames="num_hypotheses")
_posed = jax.jit(lambda body, body_pose: body.shape().pose(full_rotations(body, body_pose)))
