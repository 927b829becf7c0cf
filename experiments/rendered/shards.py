"""Shards of rendered people as training and evaluation read them."""

from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.geometry.camera import normalise, project
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import H36M_17, MEDIAPIPE_33
from jaxpose.io.arrays import load_arrays

EVIDENCE = ("visibility", "peak", "second", "spread", "disagreement", "mirrored", "movement")
_LOST = 0.12  # of the crop's side: a reading whose median joint is farther from the truth is of somebody else
LIMBS = [j for j, name in enumerate(MEDIAPIPE_33.joints) if name in H36M_17.joints]
SAME = [H36M_17.joints.index(MEDIAPIPE_33.joints[j]) for j in LIMBS]


class Readings(NamedTuple):
    """A network's readings of N frames, as a lifter's examples; joints of H36M_17, units of the plane z = 1.

    xy [N, 17, 2], confidence [N, 17] (visibility; 0: not read), evidence [N, 17, E] in the order of EVIDENCE (NaN: not
    there; disagreements, movement and spread in px of the 256 crop), crop_px [N] (a pixel of the crop on the plane),
    joints [N, 17, 3] metres before the camera, error_px [N, 12, 2] of the limbs in px of the crop, limbs [12] in
    H36M_17, and rows [N] of the shards' arrays.
    """

    xy: Array
    confidence: Array
    evidence: Array
    crop_px: np.ndarray
    joints: np.ndarray
    error_px: np.ndarray
    limbs: list[int]
    rows: np.ndarray


def load(folder: Path | str, split: str, most: int | None = None) -> dict[str, np.ndarray]:
    """The first `most` shards of a split, each array [N, ...]; ValueError where there is none."""
    paths = sorted((Path(folder) / split).glob("*.npz"))[:most]
    if not paths:
        raise ValueError(f"{Path(folder) / split}: no shard; make some with python -m experiments.rendered produce")
    shards = [load_arrays(path) for path in paths]
    return {name: np.concatenate([shard[name] for shard in shards]) for name in shards[0]}


def truth_px(data: dict[str, np.ndarray]) -> np.ndarray:
    """The 17 joints [N, 17, 2] in pixels of the image."""
    return np.asarray(project(jnp.asarray(data["intrinsics"]), jnp.asarray(data["joints"])))


def readings(data: dict[str, np.ndarray], network: str = "full", *, lost: bool = False) -> Readings:
    """What `network` reads: of frames where it says that somebody is there, and (unless `lost`) reads this person."""
    side = data[f"{network}.crop"][:, 2].astype(np.float64)
    pixel = side / 256
    error = (data[f"{network}.xy"][:, LIMBS] - truth_px(data)[:, SAME]) / pixel[:, None, None]
    there = data[f"{network}.presence"] >= 0.5
    ours = np.median(np.linalg.norm(np.nan_to_num(error, nan=1e6), axis=-1), -1) < 256 * _LOST
    rows = np.flatnonzero(there & (ours | lost))
    given = evidence(data, network)[rows]
    xy = np.concatenate([data[f"{network}.xy"][rows], given], -1)
    known = np.isfinite(given)
    xy = np.concatenate([np.nan_to_num(xy), known], -1)
    confidence = jnp.asarray(data[f"{network}.visibility"][rows], jnp.float32)
    joints, sure = convert_joints(jnp.asarray(xy), jnp.maximum(confidence, 1e-3), MEDIAPIPE_33, H36M_17)
    num = len(EVIDENCE)
    K = jnp.asarray(data["intrinsics"][rows])
    told = jnp.where(joints[..., 2 + num :] > 0.999, joints[..., 2 : 2 + num], jnp.nan)
    crop_px = pixel[rows] / data["intrinsics"][rows, 0]
    plane = jnp.where(sure[..., None] > 0, normalise(K, joints[..., :2]), 0.0)
    return Readings(plane, sure, told, crop_px, data["joints"][rows], error[rows], SAME, rows)


def evidence(data: dict[str, np.ndarray], network: str) -> np.ndarray:
    """What says how sure a reading is, [N, 33, E]; NaN where it is not there."""
    pixel = data[f"{network}.crop"][:, 2:3].astype(np.float64) / 256
    away = lambda a, b: np.linalg.norm(a - b, axis=-1) / pixel  # noqa: E731
    xy = data[f"{network}.xy"]
    second = data["lite.xy" if network != "lite" else "full.xy"]
    before = np.full_like(xy, np.nan)
    follows = data["clip"][1:] == data["clip"][:-1]
    before[1:][follows] = xy[:-1][follows]
    columns = [data[f"{network}.{name}"] for name in EVIDENCE[:4]]
    columns += [away(xy, second), away(xy, data["mirrored.xy"]), away(xy, before)]
    return np.stack([np.asarray(column, np.float32) for column in columns], -1)
