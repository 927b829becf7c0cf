"""What BlazePose reads in videos and rendered frames, lifted, beside the truth: `evaluate intervals --task=detected`.

walker      four cameras; the truth is the triangulation of the other three, of another detector (blazepose.py)
two people  two cameras; the truth is the triangulation of the same readings: their errors across the line of sight are
            hidden, those along it are not
rendered    the split val of --rendered: other people and bodies than training has; the truth is exact

Rows: exact 2D of the joints that full sees, each detector, and "told": with how far apart full and lite read a joint
as evidence. The limbs count, about the middle of the hips. A model of video lifts the videos'
tracks alone.
"""

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import blazepose
from experiments.evaluate.bench import load_walker, triangulate
from experiments.evaluate.interval_sets import Drawn, Options
from experiments.models import groups
from experiments.models.detections import detections_of, load_detections
from experiments.rendered.compare import nearest
from jaxpose import model as released
from jaxpose.app.commands.clips import keypoints_of
from jaxpose.app.commands.values import VideoFile
from jaxpose.base import Camera
from jaxpose.datasets.mocap import data_root
from jaxpose.examples.detections import Detections
from jaxpose.geometry.camera import normalise, project
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.io.calibration import read_calibration
from jaxpose.io.keypoints import Keypoints, read_keypoints
from jaxpose.tasks.lift import lift
from jaxpose.tasks.lift_video import lift_video

_FPS = 60.0  # of the videos
_DETECTORS = ("full", "lite", "mean")
_ROWS = {"full": False, "lite": False, "mean": False, "mean, told": True}
_LIMBS = [H36M_17.joints.index(joint) for joint in blazepose.LIMBS]
# In truths and hypotheses, as no triangulation has a spine: angles of hips and shoulders are about a straight trunk.
_COMPOSED = {
    "hip": ("left_hip", "right_hip"),
    "thorax": ("left_shoulder", "right_shoulder"),
    "spine": ("hip", "thorax"),
}
_PLANE = jnp.asarray(groups.PINHOLE)


def detected(model: released.Model, options: Options) -> Iterator[tuple[str, Drawn]]:
    """Hypotheses of each set and detector, by the name of their row."""
    makers = {"walker": walker, "two people": two_people, "rendered": rendered}
    for name, make in makers.items():
        absent = model.spec.network.window or not Path(options.rendered).is_dir()
        if (name == "rendered" and absent) or not options.wants(name):
            continue
        film = make(options)
        joints = np.asarray(film.seen.x_cam)
        joints = np.where(np.isfinite(joints), joints, composed(joints))
        exact = project(_PLANE, jnp.asarray(np.nan_to_num(joints, nan=1.0)))
        known = (film.seen.confidence[:, 0] > 0) & np.isfinite(joints).all(-1)
        yield f"{name}, exact 2D", _drawn(model, options, film, exact, known.astype(jnp.float32))
        for row, is_told in _ROWS.items():
            if is_told and model.spec.network.window:
                continue
            i = _DETECTORS.index(row.split(",")[0])
            yield (
                f"{name}, {row}",
                _drawn(model, options, film, film.seen.xy[:, i], film.seen.confidence[:, i], is_told),
            )


class Film(NamedTuple):
    """What detectors read; of each row the person, for intervals over people, the track and its frame, all [N]."""

    seen: Detections
    person: np.ndarray
    track: np.ndarray
    frame: np.ndarray
    fps: float


def _drawn(
    model: released.Model, options: Options, film: Film, xy: jax.Array, confidence: jax.Array, is_told: bool = False
) -> Drawn:
    """Hypotheses of keypoints xy [N, 17, 2] on the plane, about the root; figures are of the limbs."""
    key, camera, num = jax.random.key(options.seed), Camera(_PLANE), options.hypotheses
    every = slice(None, None, options.stride)
    if model.spec.network.window:
        at: dict[str, Any] = {"person": film.track, "frame": film.frame, "fps": film.fps}
        given = np.asarray(xy), np.asarray(confidence)
        result = lift_video(key, model, *given, camera=camera, num_hypotheses=num, **at).of_rows(every)
    else:
        told = film.seen.evidence[every] if is_told else None
        result = lift(key, model, xy[every], confidence[every], evidence=told, camera=camera, num_hypotheses=num)
    x_cam, person = film.seen.x_cam[every], film.person[every]
    truth, samples = composed(np.asarray(x_cam)), composed(np.asarray(result.samples))
    uv = np.asarray(project(_PLANE, x_cam))[:, _LIMBS]
    crop = 1.2 / 256 * np.nanmax(np.ptp(uv, 1), -1)[:, None, None]
    is_read = np.asarray(confidence[every])[:, _LIMBS, None] > 0
    error = np.where(is_read, (np.asarray(xy[every])[:, _LIMBS] - uv) / crop, np.nan)
    for who in np.unique(person):  # the calibration's, which moves the whole person
        error[person == who] -= np.nanmedian(error[person == who], (0, 1))
    counted = np.isfinite(truth).all(-1) & np.isin(np.arange(17), _LIMBS)
    samples, truth = (x - x[..., :1, :] for x in (samples, truth))
    error = np.linalg.norm(error, axis=-1)
    return Drawn(samples, truth, np.asarray(result.radius_90), person, counted, error_px=error)


def composed(x: np.ndarray) -> np.ndarray:
    """Poses [..., 17, 3] whose trunk is made of hips and shoulders."""
    x = x.copy()
    for joint, parts in _COMPOSED.items():
        at = [H36M_17.joints.index(part) for part in parts]
        x[..., H36M_17.joints.index(joint), :] = x[..., at, :].mean(-2)
    return x


def rendered(options: Options) -> Film:
    """The frames that are left out of training, as those of one person."""
    seen = load_detections(options.rendered, _DETECTORS, "val")[0]
    row = np.arange(len(seen.xy))
    return Film(seen, 0 * row, row, 0 * row, _FPS)


def walker(options: Options) -> Film:
    """The walker in four cameras, each of which is a person."""
    parts = []
    for number, R in enumerate(load_walker().R_cam_world):
        views = [blazepose.view_of(number, blazepose.Options(detector=f"blazepose-{name}", cache=options.cache))
                 for name in ("full", "lite")]  # fmt: skip
        parts.append(_of_pair([view.keypoints for view in views], views[0].camera, views[0].reference, R))
    return _joined(parts, [np.arange(len(part.xy)) for part in parts], _FPS)


def two_people(options: Options) -> Film:
    """Two people in two cameras; a person of a camera is a person."""
    names, cameras, *_ = read_calibration(data_root() / "video" / "two_people" / "calib.qca.txt")
    cameras = cameras[:2]
    films = [_tracks(name, options) for name in names[:2]]
    shared = functools.reduce(np.intersect1d, [track[0].frame for film in films for track in film])
    films = [[[_rows(kp, np.isin(kp.frame, shared)) for kp in track] for track in film] for film in films]
    same = min(itertools.permutations(range(2)), key=lambda order: _world(films, cameras, order)[1])
    world, _ = _world(films, cameras, same)
    parts, frames = [], []
    for (c, film), person in itertools.product(enumerate(films), range(2)):
        frames.append(film[person][0].frame)
        R, t = np.asarray(cameras[c].R_cam_world), np.asarray(cameras[c].t_cam)
        parts.append(_of_pair(film[(person, same[person])[c]], cameras[c], world[person] @ R.T + t, R))
    return _joined(parts, frames, _FPS)


def _tracks(name: str, options: Options) -> list[list[Keypoints]]:
    """What full and lite read of both people of a camera, in the frames in which both networks read them."""
    video, pair = data_root() / "video" / "two_people" / f"{name}.mp4", list[Keypoints]()
    for network in ("full", "lite"):
        folder = Path(options.cache) / f"two-{network}"
        folder.mkdir(parents=True, exist_ok=True)
        for _ in keypoints_of(video, VideoFile(detector=f"blazepose-{network}", people=2), folder, name):
            pass
        pair.append(read_keypoints(folder / f"{name}_keypoints.npz"))
    full, lite = pair
    tracks = []
    for person in (0, 1):
        rows = np.flatnonzero(full.person == person)
        both = np.array([(i, j) for i in rows if (j := nearest(full, int(i), lite)) >= 0])
        tracks.append([_rows(full, both[:, 0]), _rows(lite, both[:, 1])])
    return tracks


def _rows(kp: Keypoints, rows: np.ndarray) -> Keypoints:
    return kp._replace(xy=kp.xy[rows], confidence=kp.confidence[rows], frame=kp.frame[rows], person=kp.person[rows])


def _world(
    films: list[list[list[Keypoints]]], cameras: tuple[Camera, ...], order: tuple[int, ...]
) -> tuple[list[np.ndarray], float]:
    """Limbs [F, 12, 3] of each person of the first camera, who is person `order` of the second; and the residual."""
    at = [films[0][0][0].skeleton.joints.index(joint) for joint in blazepose.LIMBS]
    R, t = (
        np.stack([np.asarray(x) for x in each])
        for each in zip(*[(c.R_cam_world, c.t_cam) for c in cameras], strict=True)
    )
    points, away = [], []
    for person, other in enumerate(order):
        pairs = films[0][person], films[1][other]
        xy = [np.mean([kp.xy[:, at] for kp in pair], 0) for pair in pairs]
        plane = np.stack(
            [normalise(c.intrinsics, jnp.asarray(x), c.distortion) for c, x in zip(cameras, xy, strict=True)], 1
        )
        world = triangulate(plane, np.ones(plane.shape[:3]), R, t)
        x_cam = np.einsum("cik,fjk->fcji", R, world) + t[None, :, None]
        points.append(world)
        away.append(np.linalg.norm(x_cam[..., :2] / x_cam[..., 2:] - plane, axis=-1))
    return points, float(np.median(away))


def _of_pair(pair: list[Keypoints], camera: Camera, limbs: np.ndarray, R_cam_world: np.ndarray) -> Detections:
    """Detections of what full and lite read of one person in one camera; limbs: truth [F, 12, 3], camera axes."""
    joints = np.full((len(limbs), 17, 3), np.nan)
    joints[:, _LIMBS] = limbs
    data = {"joints": joints, "intrinsics": np.tile(groups.PINHOLE, (len(joints), 1))}
    data["R_cam_world"] = np.broadcast_to(R_cam_world, (len(joints), 3, 3))
    for name, kp in zip(("full", "lite"), pair, strict=True):
        data[f"{name}.xy"] = np.asarray(normalise(camera.intrinsics, jnp.asarray(kp.xy), camera.distortion))
        data[f"{name}.visibility"] = kp.confidence
    return detections_of(data, _DETECTORS, dict.fromkeys(_DETECTORS, np.ones(len(joints), bool)))


def _joined(parts: list[Detections], frames: list[np.ndarray], fps: float) -> Film:
    person = np.repeat(np.arange(len(parts)), [len(part.xy) for part in parts])
    seen = Detections(*(jnp.concatenate(x) for x in zip(*parts, strict=True)))
    return Film(seen, person, person, np.concatenate(frames), fps)
