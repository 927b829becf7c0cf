"""Rendered frames as detectors read them (`experiments.rendered`): the folder of `config.data.detections`.

Keypoints go the way of `jaxpose lift`: landmarks below its least confidence are hidden, confidences are relative to
what the detector calls sure, joints are those of the model.
"""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxpose.app.commands.detections import MIN_VISIBLE
from jaxpose.examples.detections import Detections
from jaxpose.geometry.camera import normalise
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import H36M_17, MEDIAPIPE_33
from jaxpose.io.arrays import load_arrays
from jaxpose.io.assumed import rescaled

_LEAST, _PRESENT = 0.1, 0.5  # confidence of a landmark, of `--min-confidence`; a network's flag of a person


def load_detections(folder: str, detectors: tuple[str, ...]) -> Detections:
    """The frames of the shards in a folder in which all of these networks saw the person; ValueError where none is."""
    shards = [_of_shard(path, detectors) for path in sorted(Path(folder).glob("*.npz"))]
    if not sum(len(x.xy) for x in shards):
        raise ValueError(f"config.data.detections: {folder} has no frame that {', '.join(detectors)} read")
    return Detections(*(jnp.asarray(np.concatenate(x), jnp.float32) for x in zip(*shards, strict=True)))


def _of_shard(path: Path, detectors: tuple[str, ...]) -> Detections:
    z = load_arrays(path)
    xy_px = np.stack([z[f"{name}.xy"] for name in detectors], 1)
    visibility = np.stack([z[f"{name}.visibility"] for name in detectors], 1).astype(np.float32)
    present = np.stack([z[f"{name}.presence"] for name in detectors], 1) >= _PRESENT  # of one that was not run NaN
    trusted = np.where(visibility >= _LEAST, visibility, 0) * present[..., None]
    sure = np.stack([rescaled(trusted[:, i]) for i in range(len(detectors))], 1)
    xy, confidence = convert_joints(jnp.nan_to_num(xy_px), jnp.asarray(sure), MEDIAPIPE_33, H36M_17)
    rows = ((confidence > 0).sum(-1) >= MIN_VISIBLE).all(1)
    plane = normalise(jnp.asarray(z["intrinsics"])[:, None], xy)
    joints_cam, up = jnp.asarray(z["joints"]), jnp.asarray(z["R_cam_world"][..., 1])
    return Detections(*(x[rows] for x in (plane, confidence, joints_cam, up)))
