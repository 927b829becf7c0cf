"""Rendered frames as detectors read them (`experiments.rendered`): the folder of `config.data.detections`.

Keypoints go the way of `jaxpose lift`: landmarks below its least confidence are hidden, confidences are relative to
what the detector calls sure, joints are those of the model. The evidence on a joint is how far apart the networks full
and lite read it.
"""

import jax.numpy as jnp
import numpy as np

from experiments.rendered import shards
from jaxpose.examples.detections import Detections, Runs
from jaxpose.geometry.camera import normalise
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import H36M_17, MEDIAPIPE_33
from jaxpose.io.keypoints import rescaled
from jaxpose.tasks.lift import LEAST_JOINTS

_LEAST = 0.1  # confidence of a landmark, of `--min-confidence`
_MEAN = "mean"  # of the points and visibilities of full and lite


def load_detections(folder: str, detectors: tuple[str, ...], split: str = "train") -> tuple[Detections, Runs]:
    """The frames of a split of the shards in which full and lite read the person, and which follow each other.

    detectors: networks of the shards, or "mean". One that did not read the person in a frame has what full read there.
    ValueError without any frame.
    """
    data = shards.load(folder, split)
    there = {name: shards.readings(data, name).rows for name in {"full", "lite", *detectors} - {_MEAN}}
    kept = there[_MEAN] = np.intersect1d(there["full"], there["lite"])
    read = {name: np.isin(kept, rows) for name, rows in there.items()}
    data = {name: values[kept] for name, values in data.items()}
    found = detections_of(data, detectors, read)
    rows = np.flatnonzero(((found.confidence > 0).sum(-1) >= LEAST_JOINTS).all(1))
    if not len(rows):
        raise ValueError(f"config.data.detections: {folder} has no frame that {', '.join(detectors)} read")
    return Detections(*(x[rows] for x in found)), _runs(data["clip"][rows], data["seconds"][rows])


def _runs(clip: np.ndarray, seconds: np.ndarray) -> Runs:
    """Runs of one clip [N] at equal distances of seconds [N]."""
    step = np.diff(np.round(30 * seconds))
    follows = clip[1:] == clip[:-1]
    begins = np.r_[True, ~follows | np.r_[False, follows[:-1] & (step[1:] != step[:-1])]]
    first = np.maximum.accumulate(np.where(begins, np.arange(len(clip)), 0))
    last = np.r_[np.flatnonzero(begins)[1:], len(clip)][np.cumsum(begins) - 1] - 1
    return Runs(*(jnp.asarray(x) for x in (first, last, np.where(last > first, np.r_[step, 1][first], 1))))


def detections_of(data: dict[str, np.ndarray], detectors: tuple[str, ...], read: dict[str, np.ndarray]) -> Detections:
    """Detections of arrays as a shard has them; read: by detector, the rows [N] where it read the person.

    Joints may be NaN where they are not known.
    """
    data = data | {f"{_MEAN}.{of}": (data[f"full.{of}"] + data[f"lite.{of}"]) / 2 for of in ("xy", "visibility")}
    full = _joints(data, "full")
    joints = np.stack([np.where(read[name][:, None, None], _joints(data, name), full) for name in detectors], 1)
    apart = np.linalg.norm(data["full.xy"] - data["lite.xy"], axis=-1, keepdims=True)
    evidence, _ = convert_joints(jnp.asarray(apart), jnp.ones(apart.shape[:2]), MEDIAPIPE_33, H36M_17)
    K, joints_cam, up = (jnp.asarray(x) for x in (data["intrinsics"], data["joints"], data["R_cam_world"][..., 1]))
    focal = jnp.sqrt(K[:, 0] * K[:, 1])[:, None, None]
    plane = normalise(K[:, None], jnp.asarray(joints[..., :2]))
    return Detections(plane, jnp.asarray(joints[..., 2]), evidence / focal, joints_cam, up)


def _joints(data: dict[str, np.ndarray], name: str) -> np.ndarray:
    """What a detector read: joints of H36M_17 [N, 17, 3], x and y in px and the confidence; 0 where not seen."""
    visibility = data[f"{name}.visibility"].astype(np.float32)
    sure = rescaled(np.where(visibility >= _LEAST, visibility, 0))
    points = jnp.asarray(data[f"{name}.xy"])
    xy, confidence = convert_joints(points, jnp.asarray(sure), MEDIAPIPE_33, H36M_17)
    return np.concatenate([xy, confidence[..., None]], -1)
