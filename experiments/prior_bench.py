"""What the evaluations of a prior over rotations share: validation poses and motions, a skeleton, rows of tables."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose import model as released
from jaxpose.base import Array
from jaxpose.datasets.mocap import data_root
from jaxpose.files import write_json
from jaxpose.geometry.body import Body, full_rotations, skeleton_body
from jaxpose.geometry.kinematics import forward_kinematics
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.training.checkpoint import git_commit


class Poses(NamedTuple):
    """The benchmark's frames: body_pose [N, 21, 3], rotation and place of the root [N, 3], cameras, sequence's name."""

    body_pose: np.ndarray
    global_orient: np.ndarray
    transl: np.ndarray
    intrinsics: np.ndarray
    R_cam_world: np.ndarray
    t_cam: np.ndarray
    sequence: np.ndarray


class Clips(NamedTuple):
    """The benchmark's motions: joints [N, F, 22, 3] m, unit_noise alike, name [N]."""

    joints: np.ndarray
    unit_noise: np.ndarray
    name: np.ndarray


def load_poses(stride: int) -> Poses:
    """Every `stride`-th frame of val_frames.npz, with the rotation of its root from the motion capture."""
    with _bench("val_frames.npz") as z:
        name, frame = z["name"][::stride], z["frame"][::stride]
        pose = z["body_pose"][::stride].reshape(-1, 21, 3)
        cameras = [z[k][::stride] for k in ("intrinsics", "R", "t")]
    where: dict[str, tuple[np.ndarray, np.ndarray, int]] = {}
    for file in ("cmu", "hdm05"):
        with np.load(data_root() / "mocap" / f"{file}.npz", allow_pickle=False) as z:
            orient, transl = z["global_orient"] * z["rot_scale"], z["transl"] * z["pos_scale"]
            for sequence, subject, start in zip(z["seq_name"], z["seq_subject"], z["seq_start"], strict=True):
                where[f"{subject}/{sequence}"] = orient, transl, int(start)
    rows = [(*where[n][:2], where[n][2] + int(f)) for n, f in zip(name, frame, strict=True)]
    orients = np.stack([orient[row] for orient, _, row in rows]).astype(np.float32)
    places = np.stack([transl[row] for _, transl, row in rows]).astype(np.float32)
    return Poses(pose, orients, places, cameras[0], cameras[1], cameras[2], name)


def load_clips(stride: int) -> Clips:
    """Every `stride`-th clip of val_motion.npz."""
    with _bench("val_motion.npz") as z:
        return Clips(*(z[k][::stride] for k in ("joints22", "unit_noise", "name")))


def generic_body() -> Body:
    """The skeleton on which the benchmark's joints were made, without a mesh."""
    skeletons = json.loads((data_root() / "mocap" / "skeletons.json").read_text())
    offsets = jnp.asarray(skeletons["smpl22_generic"]["offsets_m"], jnp.float32)
    still = jnp.broadcast_to(jnp.eye(3), (22, 3, 3))
    return skeleton_body(forward_kinematics(still, offsets, SMPL_22.parents)[0])


@jax.jit
def joints_of(body: Body, body_pose: Array) -> Array:
    """Joints [..., 22, 3] metres of body poses [..., 21, 3], root at the origin and unrotated."""
    return body.shape().pose(full_rotations(body, body_pose)).joints[..., :22, :]


def timed(run: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """The result of run(*args), compiled first, and its seconds."""
    compiled = jax.jit(run).lower(*args).compile()
    started = time.perf_counter()
    return jax.block_until_ready(compiled(*args)), time.perf_counter() - started


def show(setting: str, row: dict[str, float], **cost: float) -> dict[str, Any]:
    """Print a row's figures and give it back with its setting and cost."""
    numbers = ", ".join(f"{k} {v:.4g}" for k, v in (row | cost).items())
    print(f"{setting}: {numbers}", flush=True)
    return {"setting": setting, **row, **cost}


def write_rows(out: str, file: str, model: released.Model, seed: int, rows: list[dict[str, Any]]) -> None:
    """The rows with what they were made by."""
    record = {"model": released.describe(model), "device": jax.devices()[0].device_kind, "seed": seed}
    write_json(Path(out) / file, record | {"commit": git_commit(), "rows": rows})
    print(f"wrote {Path(out) / file}")


def _bench(file: str) -> Any:
    path = data_root().parent / "bench" / file
    if not path.is_file():
        raise ValueError(f"{path}: no such file; it lies beside the folder that JAXPOSE_DATA names")
    return np.load(path, allow_pickle=False)
