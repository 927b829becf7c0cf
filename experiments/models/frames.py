"""Which frames a training draws from: the shared data, or a folder of the user's own with some of the shared data."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from ml_collections import ConfigDict

from experiments.models import groups
from jaxpose.datasets.mocap import Mocap, Rotations, balanced_weights, data_root, joined, take_sequences, take_share
from jaxpose.datasets.straight import flexion
from jaxpose.files import FilePath

_STRAIGHT = 15.0  # degrees of flexion
T = TypeVar("T", Mocap, Rotations)


def training_frames(data: ConfigDict, seed: int, load: Callable[..., T]) -> tuple[T, np.ndarray]:
    """The frames of the training subjects that `config.data` names, and the probability [N] of each.

    data: `folder` of `jaxpose prepare mocap` (of rotations also `prepare amass`), or "" for JAXPOSE_DATA; `rehearsal`:
    with a folder, the share of examples that come from JAXPOSE_DATA all the same, so that a model goes on seeing other
    people and poses; `num_people`: of whom there are frames, 0 for all; `straight`: False for limbs as captured;
    `straight_knee_factor`, `straight_elbow_factor`: on the weight of poses with such a straight limb. load:
    `load_mocap` or `load_rotations`. seed: of `take_share` and `some_people`. ValueError for a rehearsal outside
    [0, 1), one without a folder, more people than there are, or a split that is not for training.
    """
    if not 0 <= data.rehearsal < 1 or (data.rehearsal and not data.folder):
        raise ValueError(
            f"config.data.rehearsal: needed a share in [0, 1), above 0 only with config.data.folder, got "
            f"{data.rehearsal} with folder {data.folder!r}"
        )
    frames = _taken(data, seed, load, data.folder or data_root())
    if not data.rehearsal:
        return frames, weigh(data, frames)
    old = _taken(data, seed, load, data_root())
    weights = (1 - data.rehearsal) * weigh(data, frames), data.rehearsal * weigh(data, old)
    return joined(frames, old), np.concatenate(weights)


def _taken(data: ConfigDict, seed: int, load: Callable[..., T], root: FilePath) -> T:
    split, straight = data.get("split", "train"), data.get("straight", True)
    if not all(name.startswith("train") for name in split.split("+")):
        raise ValueError(f"config.data.split: got {split!r}, must be splits for training, joined by +, as 'train'")
    if root == data.folder:  # a folder of one's own is whole, and has no subject twice
        frames = load(root, "train", tuple(data.files), straight=straight)
    else:
        frames = load(root, split, tuple(data.files), drop=tuple(data.get("drop", ())), straight=straight)
    if left_out := data.get("leave_out", ""):
        frames = take_sequences(frames, ~groups.left_out(frames, left_out))
    if num := data.get("num_people", 0):
        frames = take_sequences(frames, groups.some_people(frames, num, seed))
    share = data.get("share", 1.0)
    return take_share(frames, share, seed) if share < 1 else frames


def weigh(data: ConfigDict, frames: Mocap | Rotations) -> np.ndarray:
    """The probability [N] of each frame, by what `config.data` says of categories, subjects and straight limbs."""
    weights = balanced(data, frames) * pose_factors(data, frames)
    return weights / weights.sum()


def balanced(data: ConfigDict, frames: Mocap | Rotations) -> np.ndarray:
    """The probability [N] of each frame by its category and subject, equal for all of a sequence."""
    factors = dict(data.get("category_factors", {}))
    return balanced_weights(frames, data.category_power, data.get("subject_power", 1.0), factors)


def pose_factors(data: ConfigDict, frames: Mocap | Rotations) -> np.ndarray:
    """The product of `straight_knee_factor` where a knee is straight and `straight_elbow_factor`, else 1: [N]."""
    factors = np.ones(len(frames.sequence))
    if not isinstance(frames, Mocap):
        return factors
    for joint in ("knee", "elbow"):
        factors[flexion(frames.joints, joint).min(-1) < _STRAIGHT] *= data.get(f"straight_{joint}_factor", 1.0)
    return factors
