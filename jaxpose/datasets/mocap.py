"""Motion capture in the compact form of `shared/data/mocap`: 17 joint positions and SMPL-style rotations at 30 fps.

World frame: metres, y up, floor near y = 0. Sequences are concatenated along the frame axis. See the README beside
the files for fields and licences.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from jaxpose.io.arrays import load_arrays

_KEYS = ("joints17", "pos_scale", "seq_start", "seq_length", "seq_subject", "seq_category", "seq_name")


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
    folder = Path(root) / "mocap"
    if not (folder / "splits.json").is_file():
        raise ValueError(f"{folder}: no splits.json there; needed the mocap folder of JAXPOSE_DATA")
    splits = json.loads((folder / "splits.json").read_text())
    if split not in splits:
        raise ValueError(f"split: got {split!r}, legal are {sorted(splits)}")
    parts = [_load_file(folder / f"{name}.npz", set(splits[split])) for name in files]
    offsets = np.cumsum([0] + [len(p.subject) for p in parts[:-1]])
    return Mocap(
        np.concatenate([p.joints for p in parts]),
        np.concatenate([p.sequence + o for p, o in zip(parts, offsets, strict=True)]),
        *(np.concatenate([getattr(p, f) for p in parts]) for f in ("subject", "category", "name")),
    )


def balanced_weights(mocap: Categorised, power: float = 0.5) -> np.ndarray:
    """Sampling probability of each frame [N]: categories by their number of frames to `power`, frames alike in one.

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
    """Whole sequences, drawn at random by `seed`, that hold about `share` of the frames; they keep their order.

    Of one random order of the sequences, as many as come nearest to share in (0, 1] of the frames, at least one. So at
    one seed the sequences of a smaller share are among those of a larger one.
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


def _load_file(path: Path, subjects: set[str]) -> Mocap:
    z = load_arrays(path, *_KEYS)
    joints, start, length = z["joints17"], z["seq_start"], z["seq_length"]
    kept = np.flatnonzero(np.isin(z["seq_subject"], sorted(subjects)))
    frames = [joints[:0], *(joints[start[i] : start[i] + length[i]] for i in kept)]
    sequence = np.repeat(np.arange(len(kept)), length[kept])
    labels = [z[k][kept] for k in ("seq_subject", "seq_category", "seq_name")]
    return Mocap(np.concatenate(frames).astype(np.float32) * np.float32(z["pos_scale"]), sequence, *labels)
