"""Body rotations of many sequences, to train a prior from: the shared motion capture, or a folder prepared from AMASS.

    shared data   <root>/mocap/{cmu,hdm05}.npz, `body_pose` int16 times `rot_scale`; subjects of splits.json (mocap.py)
    prepared      <folder>/{train,valid,test}.npz of `jaxpose prepare amass` (amass.py)

Frames of all sequences are concatenated. `mocap.balanced_weights` serves these as it serves joint positions.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxpose.io.arrays import load_arrays

_MOCAP_KEYS = ("body_pose", "rot_scale", "seq_start", "seq_length", "seq_subject", "seq_category", "seq_name")
_PREPARED_KEYS = ("body_pose", "sequence", "subject", "category", "name")
SAME_SPLIT = {"val": "valid", "valid": "val"}  # our mocap and AMASS name one part differently


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
    damaged or lacks a key, and for a split that is not there.
    """
    root = Path(root)
    if (root / "mocap" / "splits.json").is_file():
        return _load_mocap(root / "mocap", split, files)
    prepared = {path.stem: path for path in sorted(root.glob("*.npz"))}
    name = split if split in prepared else SAME_SPLIT.get(split, split)
    if name not in prepared:
        needed = "mocap/splits.json (shared data), or <split>.npz of `jaxpose prepare amass`"
        raise ValueError(f"{root}: no split {split!r}; found {sorted(prepared) or 'neither'}, needed {needed}")
    arrays = load_arrays(prepared[name], *_PREPARED_KEYS)
    return Rotations(*(arrays[key] for key in _PREPARED_KEYS))


def _load_mocap(folder: Path, split: str, files: tuple[str, ...]) -> Rotations:
    splits = json.loads((folder / "splits.json").read_text())
    name = split if split in splits else SAME_SPLIT.get(split, split)
    if name not in splits:
        raise ValueError(f"split: got {split!r}, legal are {sorted(splits)}")
    if not files:
        raise ValueError("files: got none; legal are names of .npz files in mocap, as 'cmu' and 'hdm05'")
    parts = [_load_file(folder / f"{file}.npz", splits[name]) for file in files]
    first = np.cumsum([0] + [len(part.name) for part in parts[:-1]])
    return Rotations(
        np.concatenate([part.body_pose for part in parts]),
        np.concatenate([part.sequence + start for part, start in zip(parts, first, strict=True)]),
        *(np.concatenate([getattr(part, f) for part in parts]) for f in ("subject", "category", "name")),
    )


def _load_file(path: Path, subjects: list[str]) -> Rotations:
    arrays = load_arrays(path, *_MOCAP_KEYS)
    pose, scale, start, length, subject, category, name = (arrays[key] for key in _MOCAP_KEYS)
    kept = np.flatnonzero(np.isin(subject, subjects))
    frames = [pose[start[i] : start[i] + length[i]] for i in kept]
    stacked = np.concatenate([pose[:0], *frames]).astype(np.float32) * np.float32(scale)
    sequence = np.repeat(np.arange(len(kept)), length[kept])
    return Rotations(stacked.reshape(-1, 21, 3), sequence, subject[kept], category[kept], name[kept])
