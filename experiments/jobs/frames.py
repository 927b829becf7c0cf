"""Which frames a training draws from: the shared data, or a folder of the user's own with some of the shared data."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from ml_collections import ConfigDict

from jaxpose.datasets.mocap import Mocap, Rotations, data_root, joined
from jaxpose.files import FilePath

T = TypeVar("T", Mocap, Rotations)


def training_frames(
    data: ConfigDict, load: Callable[[FilePath], T], weigh: Callable[[T], np.ndarray]
) -> tuple[T, np.ndarray]:
    """The frames of the training subjects that `config.data` names, and the probability [N] of each.

    data: `folder` of `jaxpose prepare mocap` (of rotations also `prepare amass`), or "" for JAXPOSE_DATA; `rehearsal`:
    with a folder, the share of examples that come from JAXPOSE_DATA all the same, so that a model goes on seeing other
    people and poses. load: frames of the training subjects below a root. weigh: probabilities [N] of frames. ValueError
    for a share outside [0, 1), and one without a folder.
    """
    if not 0 <= data.rehearsal < 1 or (data.rehearsal and not data.folder):
        raise ValueError(
            f"config.data.rehearsal: needed a share in [0, 1), above 0 only with config.data.folder, got "
            f"{data.rehearsal} with folder {data.folder!r}"
        )
    frames = load(data.folder or data_root())
    if not data.rehearsal:
        return frames, weigh(frames)
    old = load(data_root())
    weights = (1 - data.rehearsal) * weigh(frames), data.rehearsal * weigh(old)
    return joined(frames, old), np.concatenate(weights)
