"""The world that one camera's lifted poses tell, against the true one.

    python -m experiments.evaluate world --model=pose17_fast                clips of validation subjects, filmed
    python -m experiments.evaluate world --model=pose17_fast --split=train  the clips on which constants were tuned
    python -m experiments.evaluate world --model=pose17_fast --split=lying  ACCAD's woman, who lies and crawls, filmed
    python -m experiments.evaluate world --model=pose17_fast --walker       a real person in four calibrated cameras
    python -m experiments.evaluate world --model=pose17_fast --moving=path  filmed by cameras that move on a known path

Filmed: motion capture (30 frames/s, true vertical, floor at 0) is seen by a random static camera 2.5 to 6 m from its
path, 0.4 to 2.6 m high, rolled by 3 degrees (standard deviation), through the training's simulated detector with errors
of which 60 % of the variance last 0.3 s. Moving: each of these cameras goes 2 m sideways at an even speed and turns
after the person; its path is told, or unknown; all figures are in the axes of its first frame. Walker: 100 frames at 60
frames/s; up is the calibration's z, the root and the feet are triangulated from all four cameras (1 to 2 cm). Feet
stand where the ankle is slower than 0.3 m/s and lower than 0.15 m (walker: 0.2 m, as its ankles stand at z = 0.13 m).
Path: mean distance of the root from the true one with the mean distance taken out, before (lifted) and after. Slides:
how far apart over the floor two places of an exported ankle are at most in a step of 0.2 s or more, in which its
contact is likelier than not; medians. Of true steps: the same for feet that truly stand, beside the true ankles. Lying:
height of hips and shoulders of the export against the true ones while a trunk is level and low; hovers: frames whose
lowest joint is more than 15 cm above the true one. Contacts of knees, hands, hips and back: precision and recall.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench, harness
from experiments.evaluate.harness import Item, Row, Table
from experiments.options import option
from jaxpose import model as released
from jaxpose.base import Camera
from jaxpose.datasets.mocap import data_root, load_mocap
from jaxpose.examples.detectors import DETECTOR, draw_confidence
from jaxpose.geometry.camera import look_at, project
from jaxpose.geometry.root_path import CONTACTS
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.tasks.lift import lift
from jaxpose.tasks.world import World, to_world

_INTRINSICS = np.array([1150, 1150, 960, 540], np.float32)
_LASTS, _SHARE = 0.9, 0.6  # of the detector's errors: correlation from frame to frame, share of the variance
_FOLLOWS = 0.8  # of the person's way, of where a moving camera looks
_CAMERA = {"no": "intrinsics; the camera is static", "path": "intrinsics; the camera's path", "unknown": "intrinsics"}
_SPEED, _LOW = 0.3, 0.15  # m/s, m: of an ankle that stands
_FRAMES, _LEAST = 240, 45
_FEET = [H36M_17.joints.index(name) for name in ("left_ankle", "right_ankle")]
_COLUMNS: dict[str, harness.Column] = {
    **{"up deg": "up_deg:.1f", "+-": "up_std_deg:.1f", "in 90 %": "up_in_90:.0%", "found": "found:.0%"},
    **{"height err m": "height_error_m:.2f", "root mm": "root_before_mm:.0f", "after": "root_mm:.0f"},
    **{"path mm": "path_before_mm:.0f", "path after": "path_mm:.0f", "in radius": "in_radius:.0%"},
    **{"precision": "precision:.2f", "recall": "recall:.2f", "Brier": "brier:.3f", "base": "brier_base:.3f"},
    **{"slides cm": "slides_cm:.1f", "of true steps": "slides_in_steps_cm:.1f", "true": "slides_true_cm:.1f"},
    **{"others' precision": "others_precision:.2f", "recall ": "others_recall:.2f"},
    **{"lying cm": "lying_cm:.1f", "in 5 cm": "lying_in_5_cm:.0%", "hovers": "hovers:.0%"},
}


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    split: str = option("val", "Subjects that are filmed.", legal=("val", "train", "lying"))
    walker: bool = option(False, "The real walker in place of filmed motion capture.")
    vertical: bool = option(False, "The true vertical is told.")
    moving: str = option(
        "no", "Filming cameras move, and their path is told or unknown.", legal=("no", "path", "unknown")
    )
    hypotheses: int = option(50, "3D poses per detection.", low=2)

    @property
    def variant(self) -> str:
        """The data."""
        return "walker" if self.walker else self.split + ("" if self.moving == "no" else f"_moving_{self.moving}")


class Clip(NamedTuple):
    """Keypoints [F, 17, 2] px and confidences of a clip; true root [F, 3] and up [3], camera axes; feet that stand.

    Of a camera that moves, axes of its first frame, and its path: R_cam_world [F, 3, 3] and t_cam [F, 3].
    stands: [F, 2], known: [F] frames with a truth. height: metres of the camera over the floor. joints: [F, 17, 3] in
    its true world, y up; NaN where they are not known.
    """

    name: str
    keypoints: np.ndarray
    confidence: np.ndarray
    intrinsics: np.ndarray
    fps: float
    root: np.ndarray
    up: np.ndarray
    height: float
    stands: np.ndarray
    known: np.ndarray
    joints: np.ndarray
    path: tuple[np.ndarray, np.ndarray] | None = None


def world(model: released.Model, options: Options) -> Iterator[Item]:
    """Rows: each category, or each camera, and all clips."""
    clips = list(_walker() if options.walker else _filmed(options.split, options.moving != "no"))[:: options.stride]
    what = "4 cameras of the walker" if options.walker else f"{len(clips)} clips of {options.split} subjects"
    tuned = "nothing on these" if options.walker or options.split == "val" else "all constants of the world"
    yield Table(f"{what}; medians over clips, means over frames", _CAMERA[options.moving], tuned, _COLUMNS)
    scored = [_scored(model, clip, options) for clip in clips]
    for name in [*dict.fromkeys(clip.name for clip in clips), "all"]:
        rows = [row for clip, row in zip(clips, scored, strict=True) if name in (clip.name, "all")]
        yield Row(name, _together(rows))
    better = np.mean([row["path_mm"] <= row["path_before_mm"] for row in scored])
    yield {"clips_whose_path_is_no_worse": float(better)}
    print(f"paths no worse than lifted: {better:.0%}")


def _scored(model: released.Model, clip: Clip, options: Options) -> dict[str, Any]:
    num = len(clip.keypoints)
    rows = np.minimum(np.arange(256 * -(-num // 256)), num - 1)  # few sizes: few programs
    seen = jnp.asarray(clip.keypoints[rows]), jnp.asarray(clip.confidence[rows])
    camera, key = Camera(jnp.asarray(clip.intrinsics)), jax.random.key(options.seed)
    lifted = lift(key, model, *seen, camera=camera, num_hypotheses=options.hypotheses)
    joints, root = np.asarray(lifted.mean)[:num], np.asarray(lifted.root)[:, :num]
    told: dict[str, Any] = {"gravity": -clip.up if options.vertical else None}
    if clip.path is not None and options.moving == "path":
        (R, t), told["camera_path"] = clip.path, clip.path
        world = to_world(joints, root, fps=clip.fps, **told)
        root = np.einsum("nji,hnj->hni", R, root - t) @ R[0].T + t[0]
    else:
        world = to_world(joints, root, fps=clip.fps, **told)
    return _measured(world, root, clip)


def _measured(world: World, root: np.ndarray, clip: Clip) -> dict[str, Any]:
    R = np.reshape(world.R_world_camera, (-1, 3, 3))[0]
    path = (world.root_world - np.reshape(world.t_world_camera, (-1, 3))[0]) @ R
    angle = float(np.degrees(np.arccos(np.clip(R[1] @ clip.up, -1, 1))))
    away = np.linalg.norm(path - clip.root, axis=-1)[clip.known]
    stands, chance = clip.stands[clip.known], world.contacts[clip.known, :2]
    return {
        **{"up_deg": angle, "up_std_deg": world.up_std, "up_in_90": angle < 2.146 * world.up_std, "found": world.found},
        **{
            "height_error_m": abs(world.camera_height - clip.height),
            "in_radius": (away < world.root_radius_90[clip.known]),
        },
        **{"root_before_mm": _error(root.mean(0), clip), "root_mm": _error(path, clip)},
        **{"path_before_mm": _error(root.mean(0), clip, shape=True), "path_mm": _error(path, clip, shape=True)},
        **{"stands": stands.ravel(), "chance": chance.ravel()},
        "slides": _slides(world.joints, world.contacts[:, :2] > 0.5, clip.fps),
        "slides_in_steps": _slides(world.joints, clip.stands, clip.fps),
        "slides_true": _slides(clip.joints, clip.stands, clip.fps),
        **_lying(world, clip.joints),
    }


def _slides(joints: np.ndarray, stands: np.ndarray, fps: float) -> np.ndarray:
    """Metres over the floor between places of an ankle while it stands [F, 2], of each step of 0.2 s or more."""
    steps = []
    for foot, on in zip(_FEET, stands.T, strict=True):
        edges = np.flatnonzero(np.diff(on, prepend=False, append=False)).reshape(-1, 2)
        for first, last in edges[np.diff(edges)[:, 0] >= 0.2 * fps]:
            x = joints[first:last, foot][:, [0, 2]]
            steps.append(np.linalg.norm(x[:, None] - x, axis=-1).max())
    return np.array(steps)


def _lying(world: World, joints: np.ndarray) -> dict[str, np.ndarray]:
    """Errors of height, metres, in frames of a level and low trunk, whether the lowest joint hovers over it, and joints
    beside the ankles that touch the floor, with their probability. Without a truth nothing is known.
    """
    others = [H36M_17.joints.index(name) for name in CONTACTS][2:]
    trunk, y = joints[:, 8] - joints[:, 0], world.joints[..., 1]
    level = abs(trunk[:, 1]) < 0.5 * np.linalg.norm(trunk, axis=-1)
    lying = level & (joints[:, 0, 1] < 0.15) & (joints[:, 8, 1] < 0.22)
    low = level & (joints[:, :, 1].min(1) < 0.1)
    near = joints[:, others, 1] < np.array([*CONTACTS.values()])[2:] + 0.06
    touches = near & (_speed(joints[:, others], 30.0) < _SPEED)
    return {
        "lying": abs(y - joints[..., 1])[lying][:, [1, 4, 11, 14]].ravel(),
        "hovers": (y.min(1) - joints[..., 1].min(1))[low] > 0.15,
        "touches": touches.ravel(),
        "chance_of_others": world.contacts[:, 2:].ravel(),
    }


def _together(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over clips of what a clip has one of, means over clips of shares; feet of all frames together."""
    medians = ("up_deg", "up_std_deg", "height_error_m", "root_before_mm", "root_mm", "path_before_mm", "path_mm")
    with_floor = [row for row in rows if row["found"]] or rows
    values: dict[str, Any] = {name: float(np.median([row[name] for row in with_floor])) for name in medians}
    values |= {"found": float(np.mean([row["found"] for row in rows])), "clips": len(rows)}
    values["up_in_90"] = float(np.mean([row["up_in_90"] for row in with_floor]))
    values["in_radius"] = float(np.mean([row["in_radius"].mean() for row in with_floor]))
    y, p = (np.concatenate([row[name] for row in with_floor]) for name in ("stands", "chance"))
    both = float((y & (p > 0.5)).sum())
    values |= {"precision": both / max(float((p > 0.5).sum()), 1), "recall": both / max(float(y.sum()), 1)}
    for name in ("slides", "slides_in_steps", "slides_true", "lying"):
        values[f"{name}_cm"] = 100 * _median(np.concatenate([row[name] for row in rows]))
    lying, hovers, touches, sure = (
        np.concatenate([row[name] for row in rows]) for name in ("lying", "hovers", "touches", "chance_of_others")
    )
    values |= {"lying_in_5_cm": float((lying < 0.05).sum() / max(len(lying), 1)), "lying_values": len(lying)}
    values |= {"hovers": float(hovers.sum() / max(len(hovers), 1))}
    found = float((touches & (sure > 0.5)).sum())
    values |= {"others_precision": found / max(float((sure > 0.5).sum()), 1)}
    values |= {"others_recall": found / max(float(touches.sum()), 1)}
    return values | {"brier": float(((p - y) ** 2).mean()), "brier_base": float(y.mean() * (1 - y.mean()))}


def _median(x: np.ndarray) -> float:
    """0 of nothing."""
    return float(np.median(x)) if len(x) else 0.0


def _error(root: np.ndarray, clip: Clip, *, shape: bool = False) -> float:
    away = (root - clip.root)[clip.known]
    return float(1000 * np.linalg.norm(away - away.mean(0) if shape else away, axis=-1).mean())


def _filmed(split: str, moving: bool) -> Iterator[Clip]:
    """A clip of each category and subject (three of validation), but for climbing, which has no floor."""
    lying = split == "lying"
    mocap = load_mocap(data_root(), "train_accad", ("accad",)) if lying else load_mocap(data_root(), split)
    rng = np.random.default_rng(0 if split == "train" else 1)
    length = np.bincount(mocap.sequence, minlength=len(mocap.name))
    start = np.searchsorted(mocap.sequence, np.arange(len(mocap.name)))
    if lying:
        for take in np.repeat(np.flatnonzero(mocap.category == "floor"), 4):
            part = mocap.joints[start[take] : start[take] + min(length[take], _FRAMES)]
            yield _film(rng, mocap.name[take][:3], part, moving)
        return
    for category in np.unique(mocap.category[mocap.category != "climb"]):
        for subject in rng.permutation(np.unique(mocap.subject[mocap.category == category]))[:12]:
            fits = (mocap.category == category) & (mocap.subject == subject) & (length >= _LEAST)
            for take in rng.permutation(np.flatnonzero(fits))[: 1 if split == "train" else 3]:
                part = mocap.joints[start[take] : start[take] + min(length[take], _FRAMES)]
                yield _film(rng, str(category), part, moving)


def _film(rng: np.random.Generator, name: str, joints: np.ndarray, moving: bool) -> Clip:
    middle = joints[:, 0].mean(0)
    around = np.linalg.norm(joints[:, 0] - middle, axis=-1).max()
    yaw, distance, height = rng.uniform(0, 2 * np.pi), around + rng.uniform(2.5, 6), rng.uniform(0.4, 2.6)
    eye = np.array([middle[0] + distance * np.sin(yaw), height, middle[2] + distance * np.cos(yaw)])
    target = np.array([middle[0], rng.uniform(0.6, 1.2), middle[2]])
    target = target + distance * np.tan(np.radians(4)) * rng.normal(size=3)
    roll = np.radians(3) * rng.normal()
    up = np.array([0, 1, 0]) * np.cos(roll) + np.array([np.cos(yaw), 0, -np.sin(yaw)]) * np.sin(roll)
    share = moving * np.linspace(-1, 1, len(joints))[:, None]
    eyes, aims = eye + share * [np.cos(yaw), 0, -np.sin(yaw)], target + moving * _FOLLOWS * (joints[:, 0] - middle)
    R, t = (np.asarray(x) for x in look_at(jnp.asarray(eyes), jnp.asarray(aims), jnp.asarray(up)))
    x_cam = np.einsum("nij,nkj->nki", R, joints) + t[:, None]
    xy = np.asarray(project(jnp.asarray(_INTRINSICS), jnp.asarray(x_cam)))
    white, lasting = rng.normal(size=(2, *xy.shape))
    for f in range(1, len(xy)):
        lasting[f] = _LASTS * lasting[f - 1] + np.sqrt(1 - _LASTS**2) * lasting[f]
    noise = np.sqrt(_SHARE) * lasting + np.sqrt(1 - _SHARE) * white
    error = bench.detector_errors(rng, DETECTOR, noise, rng.uniform(0.7, 1.3)).astype(np.float32)
    confidence = draw_confidence(jax.random.key(int(rng.integers(2**31))), jnp.asarray(error))
    seen = (xy + error * bench.crop_pixel(xy)).astype(np.float32), np.asarray(confidence), _INTRINSICS
    feet = joints[:, _FEET]
    stands = (_speed(feet, 30.0) < _SPEED) & (feet[..., 1] < _LOW)
    root = joints[:, 0] @ R[0].T + t[0]
    return Clip(name, *seen, 30.0, root, R[0, :, 1], height, stands, np.ones(len(xy), bool), joints, (R, t))


def _walker() -> Iterator[Clip]:
    film = bench.load_walker()
    hip, feet = 0.5 * (film.points3d[:, 11] + film.points3d[:, 12]), film.points3d[:, [15, 16]]
    known = np.isfinite(hip).all(-1) & np.isfinite(feet).all((-1, -2))
    stands = (_speed(np.nan_to_num(feet), film.fps) < _SPEED) & (np.nan_to_num(feet)[..., 2] < _LOW + 0.05)
    for c, name in enumerate(film.name):
        view, R, t = bench.walker_view(film, name), film.R_cam_world[c], film.t_cam[c]
        seen = np.asarray(view.keypoints), np.asarray(view.confidence), view.intrinsics[0]
        rows = view.frame
        root = (hip @ R.T + t)[rows]
        height, unknown = float((-R.T @ t)[2]), np.full((len(rows), 17, 3), np.nan)
        yield Clip(name, *seen, film.fps, root, R[:, 2], height, stands[rows], known[rows], unknown)


def _speed(x: np.ndarray, fps: float) -> np.ndarray:
    """[F, K] m/s over 0.07 s about each frame."""
    half = max(1, round(0.033 * fps))
    rows = np.arange(len(x))
    last, first = np.minimum(rows + half, len(x) - 1), np.maximum(rows - half, 0)
    return np.linalg.norm(x[last] - x[first], axis=-1) * fps / np.maximum(last - first, 1)[:, None]
