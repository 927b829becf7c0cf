"""BlazePose on the walker's four videos: our poses from its 2D keypoints, beside its own 3D landmarks.

    python -m experiments.evaluate blazepose --model=pose17 [--detector=blazepose-full]

Of every camera on its own: the person's 12 limb joints (shoulders to wrists, hips to ankles) against a triangulation
of the *other three* cameras, from the OpenPose detections of walker_4cam.npz, so that reference and input share neither
detector nor camera. The reference itself is good to 1 to 2 cm. The file's detections of frame f - 1 are those of the
video's frame f: so the two detectors agree best in the image, in each camera (12 to 18 px in the median, unshifted 13
to 19); two videos of 1080 pixels width are the 1088 of the calibration, resized.

PA-MPJPE is after Procrustes alignment; MPJPE is relative to the middle of the hips. Differences to BlazePose's
landmarks have 95 % intervals by paired bootstrap over stretches of 10 frames of a camera. ECE and the share within the
90 % radius are of root-relative joints.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench, harness
from experiments.evaluate.harness import Item, Row, Table, compared
from experiments.options import option
from jaxpose import model as released
from jaxpose.app.commands.clips import keypoints_of
from jaxpose.app.commands.values import VideoFile
from jaxpose.app.detect.clip import files_of
from jaxpose.base import Camera
from jaxpose.datasets.mocap import data_root
from jaxpose.evaluation import aggregate, metrics
from jaxpose.evaluation.calibration import ece
from jaxpose.geometry.camera import intrinsics_from_fov, normalise
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import COCO_17
from jaxpose.io.arrays import load_arrays
from jaxpose.io.keypoints import DEFAULT_FOV_DEG, Keypoints, read_keypoints, rescaled
from jaxpose.tasks.lift import lift

LIMBS = tuple(j for j in COCO_17.joints if j.split("_")[-1] in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"))
_STRETCH = 10  # frames that the bootstrap draws together
_LATE = 1  # frames by which the file's detections are behind the videos
_LEAST_SURE = 0.3  # confidence that a detection needs to count in the triangulation


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    detector: str = option("blazepose-full", "The detector, as `jaxpose lift --detector` has it.")
    hypotheses: int = option(200, "Hypotheses per frame.", low=2)
    cache: str = option("runs/evaluate/blazepose", "Folder in which the detections are kept.")


class Seen(NamedTuple):
    """One camera: keypoints of the video, landmarks [F, 12, 3] m of the detector, and the reference [F, 12, 3] m.

    All in camera axes; reference NaN where fewer than two other cameras see a joint.
    """

    name: str
    keypoints: Keypoints
    landmarks: np.ndarray
    reference: np.ndarray
    camera: Camera


def blazepose(model: released.Model, options: Options) -> Iterator[Item]:
    """Rows of each camera, and of all."""
    views = [view_of(number, options) for number in range(4)]
    told = "the person is the only one; the reference is made of the other three cameras"
    columns: dict[str, harness.Column] = {
        **{"PA mm": "pa_mm:.1f", "MPJPE mm": "mpjpe_mm:.1f", "best of H": "best_mm:.1f", "ECE": "ece:.3f"},
        **{"in 90 %": "within_90:.3f", "PA less landmarks": interval},
    }
    tuned = f"{bench.tuned(model)}; nothing on this walker"
    yield Table(f"walker's videos, {options.detector}, {len(views[0].reference)} frames a camera", told, tuned, columns)
    whole: dict[str, list[np.ndarray]] = {}
    for view in views:
        for name, values, found in rows_of(model, view, options):
            whole[name] = [*whole.get(name, []), found]
            yield Row(f"{view.name}, {name}", values)
    stretches = np.concatenate([100 * c + np.arange(len(v.reference)) // _STRETCH for c, v in enumerate(views)])
    base = np.concatenate(whole["landmarks"])
    for name, errors in whole.items():
        mine = np.concatenate(errors)
        row = {"pa_mm": float(mine.mean())}
        yield Row(f"all, {name}", row if name == "landmarks" else row | compared(options.seed, mine, base, stretches))


def interval(values: dict[str, Any]) -> str:
    """The difference with its interval, as it is printed."""
    gap = values.get("difference")
    return "" if gap is None else "{:+.1f} ({:+.1f} to {:+.1f})".format(*gap)


def view_of(number: int, options: Options) -> Seen:
    """What the detector finds in the video of camera `number`, and the reference without that camera."""
    film = bench.load_walker()
    video = data_root() / "video" / "walker" / f"{film.name[number]}.mp4"
    folder = Path(options.cache) / options.detector
    folder.mkdir(parents=True, exist_ok=True)
    run = keypoints_of(video, VideoFile(detector=options.detector, people=1), folder, video.stem)
    for line in run:
        print(line, flush=True)
    files = files_of(folder, video.stem)
    keypoints = read_keypoints(files.keypoints)
    assert keypoints.image_size is not None, "detections of a video have its size"
    size = film.size[number]
    keypoints = keypoints._replace(xy=keypoints.xy * np.float32(size / keypoints.image_size), image_size=tuple(size))
    z = load_arrays(files.landmarks)
    order = [z["joints"].astype(str).tolist().index(joint) for joint in LIMBS]
    landmarks = z["joints3d"][:, order]
    if not np.array_equal(keypoints.frame, np.arange(len(film.keypoints))):
        raise ValueError(f"{video}: the detector left out frames; needed a person in each of {len(film.keypoints)}")
    world = triangulated(film, [c for c in range(4) if c != number])[:-_LATE]
    rows = {name: getattr(keypoints, name)[_LATE:] for name in ("xy", "confidence", "frame", "person", "image")}
    keypoints, landmarks = keypoints._replace(**rows), landmarks[_LATE:]
    R, t = film.R_cam_world[number], film.t_cam[number]
    camera = Camera(jnp.asarray(film.intrinsics[number]), jnp.asarray(film.distortion[number]))
    return Seen(film.name[number], keypoints, landmarks, world @ R.T + t, camera)


def triangulated(film: bench.Walker, cameras: list[int]) -> np.ndarray:
    """The limb joints [F, 12, 3] m in the world that some cameras' detections meet at, NaN where fewer than two see.

    Least squares by weight; one step more weighs a camera by its residual (Geman-McClure, 10 px).
    """
    limbs = [COCO_17.joints.index(joint) for joint in LIMBS]
    kp = film.keypoints[:, cameras][:, :, limbs]
    intrinsics, distortion = (jnp.asarray(x[None, cameras], jnp.float32) for x in (film.intrinsics, film.distortion))
    seen = np.isfinite(kp).all(-1) & (np.nan_to_num(kp[..., 2]) >= _LEAST_SURE)
    plane = np.asarray(normalise(intrinsics, jnp.asarray(np.nan_to_num(kp[..., :2]), jnp.float32), distortion))
    R, t = film.R_cam_world[cameras], film.t_cam[cameras]
    sure = weight = np.where(seen, np.nan_to_num(kp[..., 2]), 0.0)
    for _ in range(2):
        world = bench.triangulate(plane, weight, R, t)
        x_cam = np.einsum("cik,fjk->fcji", R, world) + t[None, :, None]
        away = np.linalg.norm(x_cam[..., :2] - plane * x_cam[..., 2:], axis=-1)
        away_px = away / np.maximum(x_cam[..., 2], 0.1) * film.intrinsics[cameras][None, :, None, 0]
        weight = np.where(seen.sum(1, keepdims=True) >= 2, sure / (1 + (away_px / 10) ** 2) ** 2, 0.0)
    return world


def rows_of(model: released.Model, view: Seen, options: Options) -> Iterator[tuple[str, dict[str, Any], np.ndarray]]:
    """The detector's landmarks, and our poses with the camera known and with an assumed field of view."""
    truth, known = view.reference, np.isfinite(view.reference).all(-1)
    stretches = np.arange(len(truth)) // _STRETCH
    base = aligned_mm(view.landmarks, truth, known)
    values = {"pa_mm": float(base.mean()), "mpjpe_mm": rooted_mm(view.landmarks, truth, known)}
    yield "landmarks", values, base
    assert view.keypoints.image_size is not None, "set above"
    width, height = view.keypoints.image_size
    cameras = {
        "K known": view.camera,
        "K assumed": Camera(jnp.asarray(intrinsics_from_fov(width, height, np.radians(DEFAULT_FOV_DEG)))),
    }
    for camera_name, camera in cameras.items():
        samples, poses, radius = lifted(model, view.keypoints, camera, options)
        for how, pose in poses.items():
            errors = aligned_mm(pose, truth, known)
            row: dict[str, Any] = {"pa_mm": float(errors.mean()), "mpjpe_mm": rooted_mm(pose, truth, known)}
            row |= compared(options.seed, errors, base, stretches)
            if how == "mean":
                each = np.stack([aligned_mm(sample, truth, known) for sample in samples])
                row |= {"best_mm": float(each.min(0).mean())} | calibration(samples, pose, radius, truth, known)
            yield f"{how}, {camera_name}", row, errors


def lifted(
    model: released.Model, kp: Keypoints, camera: Camera, options: Options
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Samples [H, F, 12, 3], the poses [F, 12, 3] by how they are made of them, and radius_90 [F, 12]; metres."""
    sure = jnp.asarray(rescaled(np.where(kp.confidence >= 0.1, kp.confidence, 0)))
    xy, confidence = convert_joints(jnp.asarray(kp.xy), sure, kp.skeleton, model.skeleton)
    drawn = lift(jax.random.key(options.seed), model, xy, confidence, camera=camera, num_hypotheses=options.hypotheses)
    weights = aggregate.reprojection_weights(drawn.samples, xy, confidence, camera.intrinsics)
    limbs = np.array([model.skeleton.joints.index(joint) for joint in LIMBS])
    poses = {"mean": drawn.mean, "reprojection": aggregate.mean(drawn.samples, weights)}
    samples = np.asarray(drawn.samples)[:, :, limbs]
    return (
        samples,
        {how: np.asarray(pose)[:, limbs] for how, pose in poses.items()},
        np.asarray(drawn.radius_90)[:, limbs],
    )


def aligned_mm(poses: np.ndarray, truth: np.ndarray, known: np.ndarray) -> np.ndarray:
    """PA-MPJPE [F] mm over the joints that are known."""
    filled = np.where(known[..., None], truth, poses)
    error = metrics.p_mpjpe(jnp.asarray(poses), jnp.asarray(filled, jnp.float32), jnp.asarray(known, jnp.float32))
    return 1000 * np.asarray(error, np.float64)


def rooted_mm(poses: np.ndarray, truth: np.ndarray, known: np.ndarray) -> float:
    """Mean joint error, relative to the middle of the hips, mm, over the joints that are known."""
    away = np.linalg.norm(from_hips(poses) - from_hips(truth), axis=-1)
    return 1000 * float(away[known & np.isfinite(away)].mean())


def from_hips(poses: np.ndarray) -> np.ndarray:
    """Joints [..., 12, 3] about the middle of the hips."""
    hips = [LIMBS.index(side) for side in ("left_hip", "right_hip")]
    return poses - poses[..., hips, :].mean(-2, keepdims=True)


def calibration(
    samples: np.ndarray, mean: np.ndarray, radius: np.ndarray, truth: np.ndarray, known: np.ndarray
) -> dict[str, float]:
    """ECE, and the share of truths within the 90 % radius, of joints about the hips."""
    goal = from_hips(truth)
    rows = known.all(-1) & np.isfinite(goal).all((1, 2))
    curve = ece(jnp.asarray(from_hips(samples)[:, rows]), jnp.asarray(goal[rows], jnp.float32), root=None)
    away = np.linalg.norm(from_hips(mean) - goal, axis=-1)[rows]
    return {"ece": float(curve.ece), "within_90": float((away <= radius[rows]).mean())}
