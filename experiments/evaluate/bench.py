"""The fixed data that evaluations read: validation frames and motions, the filmed walker, and what was tuned on them.

`shared/bench/README.md` and `shared/data/README.md` tell the files' fields. Validation subjects are cmu06, cmu08, cmu94
and hdm_dg, which no released model is trained on.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose import model as released
from jaxpose.base import Array, Camera
from jaxpose.datasets.mocap import data_root
from jaxpose.evaluation.protocols import LiftingBench, load_lifting_bench
from jaxpose.examples.detectors import CROP, OUTLIER_STD_PX
from jaxpose.geometry.body import Body, full_rotations, skeleton_body
from jaxpose.geometry.camera import intrinsics_from_fov
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.rotations import forward_kinematics
from jaxpose.geometry.skeleton import COCO_17, H36M_17, SMPL_22
from jaxpose.io.arrays import load_arrays
from jaxpose.io.keypoints import DEFAULT_FOV_DEG, read_keypoints, rescaled

NO_DEPTH = "root depth is not given"
# What was chosen on the validation subjects, by model (jaxpose/assets/*.md)
_STRAIGHT = (
    "the weight of straight knees in training and the mirror image after a look at val_frames and out_frames; one "
    "noise and the low-pass filter of a clip after a look at val_video and UI-PRMD"
)
_TUNED = {
    "pose17": "mask rates, loss and number of steps of pose17 on these validation people (docs/generalisation.md); "
    + _STRAIGHT,
    "pose17_fast": "augmentation and mask rates of pose17, where pose17_fast starts, on these validation people; "
    + _STRAIGHT,
    "motion17": "network, number of steps and the factors of motion17 on these clips; its radius is fitted "
    "on other views of these people among others",
    "diffpose17": "the sampler (number of steps, churn) of diffpose17 on validation subjects",
    "diffpose17_video": "the sampler (number of steps, churn) of diffpose17_video on validation subjects",
    "prior21_fast": "the noise of the last call and the spread on these validation poses; prior21, where it "
    "starts, on these people",
    "prior21": "prior21, its sampler and the weights of the fits on these validation subjects",
}


class Poses(NamedTuple):
    """The benchmark's frames: body_pose [N, 21, 3], rotation and place of the root [N, 3], cameras, sequence's name."""

    body_pose: np.ndarray
    global_orient: np.ndarray
    transl: np.ndarray
    intrinsics: np.ndarray
    R_cam_world: np.ndarray
    t_cam: np.ndarray
    sequence: np.ndarray


class Motions(NamedTuple):
    """The benchmark's motions: joints [N, F, 22, 3] m, unit_noise alike, name [N]."""

    joints: np.ndarray
    unit_noise: np.ndarray
    name: np.ndarray


class Walker(NamedTuple):
    """A person in C cameras: keypoints [F, C, 17, 3] (px, px, confidence; NaN: none) of COCO's joints.

    points3d: [F, 17, 3] m, world; a triangulation from the same detections, good to 1-2 cm. Cameras: intrinsics [C, 4]
    px, distortion [C, 5] (OpenCV's), R_cam_world [C, 3, 3], t_cam [C, 3] m. name: [C]. size: [C, 2] px.
    residual_px: [F, C, 17], the distance of a detection from the projected triangulation. fps: frames a second of the
    file.
    """

    keypoints: np.ndarray
    points3d: np.ndarray
    intrinsics: np.ndarray
    distortion: np.ndarray
    R_cam_world: np.ndarray
    t_cam: np.ndarray
    name: tuple[str, ...]
    size: np.ndarray
    residual_px: np.ndarray
    fps: float

    def detections(self) -> tuple[Array, Array, Camera]:
        """One item of a fit: keypoints [1, C, F, 17, 2] px, confidence [1, C, F, 17], 0 where none; cameras [1, C]."""
        keypoints = np.moveaxis(self.keypoints, 1, 0)[None]
        seen = np.where(np.isfinite(keypoints).all(-1), np.nan_to_num(keypoints[..., 2]), 0)
        intrinsics, distortion, R, t = (jnp.asarray(x[None], jnp.float32) for x in self[2:6])
        return jnp.asarray(np.nan_to_num(keypoints[..., :2])), jnp.asarray(seen), Camera(intrinsics, distortion, R, t)


class WalkerView(NamedTuple):
    """One camera's detections in the model's joints: keypoints [F, 17, 2] px, confidence, intrinsics [F, 4], frame [F].

    truth: [F, S, 3] m, world, of the S joints that COCO and the model both name; joints: [S] of them in the model.
    """

    keypoints: Array
    confidence: Array
    intrinsics: np.ndarray
    frame: np.ndarray
    truth: np.ndarray
    joints: np.ndarray


def tuned(model: released.Model) -> str:
    """What was chosen on the validation subjects for this model."""
    return _TUNED.get(model.spec.name, f"unknown for {model.spec.name}, which is not a released model")


def bench_path(name: str) -> Path:
    """Where a file of the benchmark lies: in the folder that the environment variable JAXPOSE_BENCH names.

    By default beside JAXPOSE_DATA: the one on straight limbs, which replaces that of its name (its README).
    """
    if chosen := os.environ.get("JAXPOSE_BENCH"):
        return Path(chosen) / name
    folder = data_root().parent / "bench"
    straight = folder / "straight" / name
    return straight if straight.is_file() else folder / name


def bench_file(name: str) -> Path:
    """A file of the benchmark; ValueError where it is absent."""
    return _present(bench_path(name), "JAXPOSE_BENCH names its folder, or JAXPOSE_DATA one beside it")


def load_frames(stride: int, path: str | None = None) -> LiftingBench:
    """Every `stride`-th frame of val_frames.npz, or of a file like it."""
    return LiftingBench(*(x[::stride] for x in load_lifting_bench(path or bench_file("val_frames.npz"))))


def on_device(bench: LiftingBench) -> tuple[Array, Array, Array, Array]:
    """Keypoints [N, 17, 2], confidence [N, 17], intrinsics [N, 4] and joints [N, 17, 3] as float32."""
    keypoints, confidence, intrinsics, joints = (
        jnp.asarray(x, jnp.float32) for x in (bench.keypoints, bench.confidence, bench.intrinsics, bench.joints_cam)
    )
    return keypoints, confidence, intrinsics, joints


def lifting_inputs(bench: LiftingBench) -> list[tuple[Any, Any, np.ndarray]]:
    """(keypoints, confidence, intrinsics): detected; through COCO's joints; exact 2D; detected, camera unknown."""
    sure = np.ones_like(bench.confidence)
    no_camera = np.tile(intrinsics_from_fov(1000, 1000, np.radians(DEFAULT_FOV_DEG)), (len(sure), 1))
    through_coco = (jnp.asarray(bench.keypoints), jnp.asarray(bench.confidence))
    for source, target in ((H36M_17, COCO_17), (COCO_17, H36M_17)):
        through_coco = convert_joints(*through_coco, source, target)
    return [
        (bench.keypoints, bench.confidence, bench.intrinsics),
        (*through_coco, bench.intrinsics),
        (bench.keypoints_true, sure, bench.intrinsics),
        (bench.keypoints, bench.confidence, no_camera),
    ]


def load_poses(stride: int) -> Poses:
    """Every `stride`-th frame of val_frames.npz, with the rotation of its root from the motion capture."""
    z = load_arrays(bench_file("val_frames.npz"))
    name, frame = z["name"][::stride], z["frame"][::stride]
    pose = z["body_pose"][::stride].reshape(-1, 21, 3)
    cameras = [z[k][::stride] for k in ("intrinsics", "R", "t")]
    where: dict[str, tuple[np.ndarray, np.ndarray, int]] = {}
    for file in ("cmu", "hdm05"):
        z = load_arrays(data_root() / "mocap" / f"{file}.npz")
        orient, transl = z["global_orient"] * z["rot_scale"], z["transl"] * z["pos_scale"]
        for sequence, subject, start in zip(z["seq_name"], z["seq_subject"], z["seq_start"], strict=True):
            where[f"{subject}/{sequence}"] = orient, transl, int(start)
    rows = [(*where[n][:2], where[n][2] + int(f)) for n, f in zip(name, frame, strict=True)]
    orients = np.stack([orient[row] for orient, _, row in rows]).astype(np.float32)
    places = np.stack([transl[row] for _, transl, row in rows]).astype(np.float32)
    return Poses(pose, orients, places, cameras[0], cameras[1], cameras[2], name)


def load_motions(stride: int) -> Motions:
    """Every `stride`-th clip of val_motion.npz."""
    z = load_arrays(bench_file("val_motion.npz"))
    return Motions(*(z[k][::stride] for k in ("joints22", "unit_noise", "name")))


def load_walker(stride: int = 1) -> Walker:
    """Every `stride`-th frame of walker_4cam.npz."""
    z = load_arrays(_walker_file())
    K, distortion = z["K"], np.pad(z["dist"], ((0, 0), (0, 1)))
    intrinsics = np.stack([K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]], -1)
    names, cameras = tuple(str(c) for c in z["camera"]), (intrinsics, distortion, z["R"], z["t"])
    keypoints, points3d, residual = (z[k][::stride] for k in ("keypoints", "points3d", "residual_px"))
    return Walker(keypoints, points3d, *cameras, names, z["size"], residual, float(z["fps"]))


def walker_view(walker: Walker, camera: str) -> WalkerView:
    """What one camera sees, as `jaxpose lift` reads it; walker: with all its frames."""
    kp = read_keypoints(_walker_file(), camera=camera)
    shared = [j for j in kp.skeleton.joints if j in H36M_17.joints]
    sure = jnp.asarray(rescaled(np.where(kp.confidence >= 0.1, kp.confidence, 0)))
    keypoints, confidence = convert_joints(jnp.asarray(kp.xy), sure, kp.skeleton, H36M_17)
    truth = walker.points3d[:, [kp.skeleton.joints.index(j) for j in shared]]
    ours = np.array([H36M_17.joints.index(j) for j in shared])
    assert kp.intrinsics is not None, "the walker's file has its cameras"
    return WalkerView(keypoints, confidence, kp.intrinsics, kp.frame, truth, ours)


def triangulate(plane: np.ndarray, weight: np.ndarray, R: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Points [F, J, 3] m in the world by weighted linear least squares, NaN where fewer than two cameras have a weight.

    Each detection (a, b) [F, C, J, 2] on the plane z = 1 asks (R_x - a R_z) X = a t_z - t_x, and so for y.
    weight: [F, C, J]. R: [C, 3, 3], t: [C, 3] of world to camera.
    """
    rows = R[:, None, :2] - plane[..., None] * R[:, None, 2:]  # [F, C, J, 2, 3]
    asked = plane * t[:, None, 2:] - t[:, None, :2]
    A = np.einsum("fcj,fcjei,fcjek->fjik", weight, rows, rows)
    b = np.einsum("fcj,fcjei,fcje->fji", weight, rows, asked)
    enough = ((weight > 0).sum(1) >= 2)[..., None]
    points = np.linalg.solve(np.where(enough[..., None], A, np.eye(3)), b[..., None])[..., 0]
    return np.where(enough, points, np.nan)


def detector_errors(rng: np.random.Generator, table: np.ndarray, noise: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Errors like noise [..., J, 2] in pixels of the person's crop, by a table of `examples.detectors`."""
    error = scale * (table[:, :2] + table[:, 2:4] * noise)
    outlier = rng.random(noise.shape[:-1]) > table[:, 4]
    return np.where(outlier[..., None], OUTLIER_STD_PX * rng.normal(size=noise.shape), error)


def one_part_of_each(
    rng: np.random.Generator, parts: Mapping[str, tuple[int, ...]], num: int, joints: int
) -> np.ndarray:
    """Mask [num, joints] of a random part of the body in each row."""
    mask, groups = np.zeros((num, joints), bool), list(parts.values())
    for row, part in enumerate(rng.integers(0, len(groups), num)):
        mask[row, list(groups[part])] = True
    return mask


def crop_pixel(uv: np.ndarray) -> np.ndarray:
    """Image pixels [..., 1, 1] of a pixel of the crop of keypoints [..., J, 2]."""
    return CROP * (uv.max(-2) - uv.min(-2)).max(-1)[..., None, None] / 256


def blocks(num: int, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Rows of each block of at most `size` of `num`, and how many of them count.

    All blocks have one size, the last filled up with the last row, so that one program serves all.
    """
    size = min(max(1, size), num)
    for first in range(0, num, size):
        yield np.minimum(np.arange(first, first + size), num - 1), min(size, num - first)


def tell_progress(done: int, total: int, started: float) -> None:
    """Print how many frames are done, and the minutes left at this pace since `started` (time.monotonic)."""
    left = (time.monotonic() - started) / done * (total - done)
    print(f"{done}/{total} frames, {left / 60:.1f} min left", flush=True)


def generic_body() -> Body:
    """The skeleton on which the benchmark's joints were made, without a mesh."""
    skeletons = json.loads((data_root() / "mocap" / "skeletons.json").read_text(encoding="utf-8"))
    offsets = jnp.asarray(skeletons["smpl22_generic"]["offsets_m"], jnp.float32)
    still = jnp.broadcast_to(jnp.eye(3), (22, 3, 3))
    return skeleton_body(forward_kinematics(still, offsets, SMPL_22.parents)[0])


@jax.jit
def joints_of(body: Body, body_pose: Array) -> Array:
    """Joints [..., 22, 3] metres of body poses [..., 21, 3], root at the origin and unrotated."""
    return body.shape().pose(full_rotations(body, body_pose)).joints[..., :22, :]


def _walker_file() -> Path:
    return _present(data_root() / "keypoints2d" / "walker_4cam.npz", "set JAXPOSE_DATA")


def _present(path: Path, hint: str) -> Path:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; {hint}")
    return path
