"""Body rotations of many sequences, to train a prior: of the shared motion capture, or prepared from AMASS.

    shared data   <root>/mocap/{cmu,hdm05}.npz, `body_pose` int16 times `rot_scale`; subjects of splits.json (mocap.py)
    prepared      <folder>/{train,valid,test}.npz of `jaxpose prepare amass` (amass.py)

Frames of all sequences are concatenated. `mocap.balanced_weights` works with these as with joint positions.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxpose.datasets.mocap import load_sequences
from jaxpose.io.arrays import load_arrays

_PREPARED_KEYS = ("body_pose", "sequence", "subject", "category", "name")
_SAME_SPLIT = {"val": "valid", "valid": "val"}  # names of the validation split in our mocap and in AMASS


class Rotations(NamedTuple):
    """Frames of many sequences.

    body_pose: [N, 21, 3] float32 axis-angle radians, SMPL's order. sequence: [N] index of each frame's sequence.
    subject, category, name: one string per sequence.
    """

    body_pose: np.ndarray
    sequence: np.ndarray
    subject: np.ndarray
    category: np.ndarray
    name: np.ndarray


def load_rotations(root: str | os.PathLike[str], split: str, files: tuple[str, ...] = ("cmu", "hdm05")) -> Rotations:
    """The frames of `split` in the shared data below `root`, or in a folder that `jaxpose prepare amass` made.

    split: "train", "val" (or "valid") or "test". files: of the shared data only. ValueError where a file is missing,
    damaged or lacks a key, and for an absent split.
    """
    root = Path(root)
    if (root / "mocap" / "splits.json").is_file():
        loaded = load_sequences(root / "mocap", split, files, "body_pose", "rot_scale", _SAME_SPLIT)
        return Rotations(loaded[0].reshape(-1, 21, 3), *loaded[1:])
    prepared = {path.stem: path for path in sorted(root.glob("*.npz"))}
    name = split if split in prepared else _SAME_SPLIT.get(split, split)
    if name not in prepared:
        needed = "mocap/splits.json (shared data), or <split>.npz of `jaxpose prepare amass`"
        raise ValueError(f"{root}: no split {split!r}; found {sorted(prepared) or 'neither'}, needed {needed}")
    arrays = load_arrays(prepared[name], *_PREPARED_KEYS)
    return Rotations(*(arrays[key] for key in _PREPARED_KEYS))
