"""Which frames a training draws from: the shared data, or a folder of the user's own with some of the shared data."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from ml_collections import ConfigDict

from jaxpose.datasets.mocap import Mocap, Rotations, balanced_weights, data_root, joined

T = TypeVar("T", Mocap, Rotations)


def training_frames(data: ConfigDict, load: Callable[..., T]) -> tuple[T, np.ndarray]:
    """The frames of the training subjects that `config.data` names, and the probability [N] of each.

    data: `folder` of `jaxpose prepare mocap` (of rotations also `prepare amass`); "" for the `files` of JAXPOSE_DATA.
    `rehearsal`: with a folder, the share of examples that come from the `files` of JAXPOSE_DATA all the same, so that a
    model goes on seeing other people and poses. `category_power`: of `balanced_weights`. load: `load_mocap` or
    `load_rotations`. ValueError for a share outside [0, 1), and one without a folder.
    """
    if not 0 <= data.rehearsal < 1 or (data.rehearsal and not data.folder):
        raise ValueError(
            f"config.data.rehearsal: needed a share in [0, 1), above 0 only with config.data.folder, got "
            f"{data.rehearsal} with folder {data.folder!r}"
        )
    files = tuple(data.files)
    frames = load(data.folder or data_root(), "train", files)
    weights = balanced_weights(frames, data.category_power)
    if not data.rehearsal:
        return frames, weights
    old = load(data_root(), "train", files)
    old_weights = data.rehearsal * balanced_weights(old, data.category_power)
    return joined(frames, old), np.concatenate([(1 - data.rehearsal) * weights, old_weights])
