"""Rendered frames as detectors read them (`experiments.rendered`): the folder of `config.data.detections`.

Keypoints go the way of `jaxpose lift`: landmarks below its least confidence are hidden, confidences are relative to
what the detector calls sure, joints are those of the model.
"""

from functools import reduce

import jax.numpy as jnp
import numpy as np

from experiments.rendered import shards
from jaxpose.examples.detections import Detections
from jaxpose.geometry.camera import normalise
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import H36M_17, MEDIAPIPE_33
from jaxpose.io.assumed import rescaled
from jaxpose.tasks.lift import LEAST_JOINTS

_LEAST = 0.1  # confidence of a landmark, of `--min-confidence`


def load_detections(folder: str, detectors: tuple[str, ...], split: str = "train") -> Detections:
    """The frames of a split of the shards in which all of these networks read the person; ValueError without any."""
    data = shards.load(folder, split)
    kept = reduce(np.intersect1d, (shards.readings(data, name).rows for name in detectors))
    xy_px = np.stack([data[f"{name}.xy"][kept] for name in detectors], 1)
    visibility = np.stack([data[f"{name}.visibility"][kept] for name in detectors], 1).astype(np.float32)
    trusted = np.where(visibility >= _LEAST, visibility, 0)
    sure = np.stack([rescaled(trusted[:, i]) for i in range(len(detectors))], 1) if len(kept) else trusted
    xy, confidence = convert_joints(jnp.asarray(xy_px), jnp.asarray(sure), MEDIAPIPE_33, H36M_17)
    rows = np.flatnonzero(((np.asarray(confidence) > 0).sum(-1) >= LEAST_JOINTS).all(1))
    if not len(rows):
        raise ValueError(f"config.data.detections: {folder} has no frame that {', '.join(detectors)} read")
    plane = normalise(jnp.asarray(data["intrinsics"][kept])[:, None], xy)
    joints_cam, up = (jnp.asarray(x[kept], jnp.float32) for x in (data["joints"], data["R_cam_world"][..., 1]))
    return Detections(*(x[rows] for x in (plane, confidence, joints_cam, up)))
