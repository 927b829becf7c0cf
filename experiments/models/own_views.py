"""Validation of a training on the user's own motion capture: its validation subjects, seen by simulated cameras."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from jaxpose.base import Array, Key
from jaxpose.datasets.mocap import Mocap, Rotations, load_mocap
from jaxpose.evaluation.protocols import LiftingBench
from jaxpose.examples.detectors import detect
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import PINHOLE, before_camera, draw_camera
from jaxpose.files import FilePath
from jaxpose.geometry.camera import project

T = TypeVar("T", Mocap, Rotations)
_NUM = 400  # poses, evenly spaced over the frames


def own_frames(folder: FilePath, load: Callable[..., T]) -> tuple[T, np.ndarray] | None:
    """The validation subjects' frames in `folder` and some rows of them; None, with a warning, where it has none."""
    try:
        frames = load(folder, "val")
    except ValueError as error:
        logging.warning("training goes on without validation: %s", error)
        return None
    return frames, np.unique(np.linspace(0, len(frames.sequence) - 1, _NUM).astype(int))


def own_views(folder: FilePath) -> LiftingBench | None:
    """The validation poses of `folder` as training's virtual cameras and detector see them, without augmentation.

    Keypoints are in the plane z = 1 (intrinsics 1, 1, 0, 0), the same in every run.
    """
    if (frames := own_frames(folder, load_mocap)) is None:
        return None
    mocap, rows = frames
    keys = jax.random.split(jax.random.key(0), len(rows))
    xy_true, xy, confidence, x_cam = map(np.asarray, _seen(keys, jnp.asarray(mocap.joints[rows])))
    intrinsics = np.tile(PINHOLE, (len(rows), 1))
    return LiftingBench(xy, xy_true, confidence, intrinsics, x_cam, mocap.category[mocap.sequence[rows]])


@jax.jit
@jax.vmap
def _seen(key: Key, joints: Array) -> tuple[Array, Array, Array, Array]:
    rates = ViewRates()
    camera_key, detect_key = jax.random.split(key)
    x_cam = before_camera(*draw_camera(camera_key, joints, rates), joints)
    xy = project(jnp.asarray(PINHOLE), x_cam)
    return xy, *detect(detect_key, xy, rates), x_cam
