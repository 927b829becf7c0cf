"""Reader of the motion capture files in `shared/data/mocap`: 17 joint positions and SMPL rotations at 30 fps.

World frame: metres, y up, floor near y = 0. Sequences are concatenated along the frame axis. See the README beside
the files for fields and licences.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from jaxpose.io.arrays import load_arrays

_KEYS = ("seq_start", "seq_length", "seq_subject", "seq_category", "seq_name")


class Categorised(Protocol):
    """Frames of sequences that have categories: `Mocap`, or the rotations of rotations.py."""

    @property
    def sequence(self) -> np.ndarray: ...
    @property
    def category(self) -> np.ndarray: ...


class Mocap(NamedTuple):
    """Frames of many sequences.

    joints: [N, 17, 3] float32 metres, H36M_17 order. sequence: [N] index of each frame's sequence.
    subject, category, name: one string per sequence.
    """

    joints: np.ndarray
    sequence: np.ndarray
    subject: np.ndarray
    category: np.ndarray
    name: np.ndarray


def data_root() -> Path:
    """The folder of the shared data: the environment variable JAXPOSE_DATA, or ../shared/data."""
    return Path(os.environ.get("JAXPOSE_DATA", "../shared/data"))


def load_mocap(root: str | os.PathLike[str], split: str, files: tuple[str, ...] = ("cmu", "hdm05")) -> Mocap:
    """The frames of every subject of `split` ("train" or "val") in `root`/mocap/{files}.npz.

    Raises ValueError where a file is missing, lacks a key, or the split is unknown.
    """
    return Mocap(*load_sequences(Path(root) / "mocap", split, files, "joints17", "pos_scale"))


def load_sequences(
    folder: Path, split: str, files: tuple[str, ...], field: str, scale: str, aliases: Mapping[str, str] = {}
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Frames [N, ...] float32, `field` times `scale`; their sequence [N]; subject, category and name of each sequence.

    aliases: further names of splits. ValueError as in `load_mocap`.
    """
    if not (folder / "splits.json").is_file():
        raise ValueError(f"{folder}: no splits.json there; needed the mocap folder of JAXPOSE_DATA")
    splits = json.loads((folder / "splits.json").read_text())
    name = split if split in splits else aliases.get(split, split)
    if name not in splits:
        raise ValueError(f"split: got {split!r}, legal are {sorted(splits)}")
    if not files:
        raise ValueError("files: got none; legal are names of .npz files in mocap, as 'cmu' and 'hdm05'")
    frames, sequence, labels, count = [], [], [], 0
    for file in files:
        z = load_arrays(folder / f"{file}.npz", field, scale, *_KEYS)
        values, start, length = z[field], z["seq_start"], z["seq_length"]
        kept = np.flatnonzero(np.isin(z["seq_subject"], splits[name]))
        own = np.concatenate([values[:0], *(values[start[i] : start[i] + length[i]] for i in kept)])
        frames.append(own.astype(np.float32) * np.float32(z[scale]))
        sequence.append(np.repeat(count + np.arange(len(kept)), length[kept]))
        labels.append([z[key][kept] for key in ("seq_subject", "seq_category", "seq_name")])
        count += len(kept)
    subject, category, names = (np.concatenate(of) for of in zip(*labels, strict=True))
    return np.concatenate(frames), np.concatenate(sequence), subject, category, names


def balanced_weights(mocap: Categorised, power: float = 0.5) -> np.ndarray:
    """Sampling probability of each frame [N]: categories by their number of frames to `power`, uniform in each.

    power 1 samples frames uniformly, 0 makes all categories equally likely.
    """
    if not 0 <= power <= 1:
        raise ValueError(f"power must be in [0, 1], got {power}")
    _, category = np.unique(mocap.category, return_inverse=True)
    frame_category = category[mocap.sequence]
    count = np.bincount(frame_category)
    weight = count[frame_category] ** (power - 1.0)
    return weight / weight.sum()


def take_share(mocap: Mocap, share: float, seed: int) -> Mocap:
    """Whole sequences, drawn at random by `seed`, with about `share` of the frames, in their order.

    The sequences are put in a random order, and the first of them are taken whose frames come nearest to `share` in
    (0, 1], at least one. For one seed, a smaller share is a subset of a larger one.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    num_frames = np.bincount(mocap.sequence, minlength=len(mocap.name))
    order = np.random.default_rng(seed).permutation(len(num_frames))
    gap = np.abs(np.cumsum(num_frames[order]) - share * num_frames.sum())
    kept = np.sort(order[: 1 + np.argmin(gap)])
    frames = np.isin(mocap.sequence, kept)
    sequence = np.searchsorted(kept, mocap.sequence[frames])
    return Mocap(mocap.joints[frames], sequence, mocap.subject[kept], mocap.category[kept], mocap.name[kept])
