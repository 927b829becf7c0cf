"""Motion capture to train on: 17 joint positions, or body rotations for a prior, of many sequences in one array.

    shared data     <root>/mocap/{cmu,hdm05}.npz, 30 fps: `joints17` or `body_pose` as int16 times a scale; splits.json
    prepare mocap   <root>/mocap of the same form (prepare_mocap.py); its splits.json names its files under "files"
    prepare amass   <folder>/{train,valid,test}.npz (amass.py), rotations alone

World frame: metres, y up, floor near y = 0. See the README beside the files for fields and licences.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from jaxpose.files import FilePath
from jaxpose.io.arrays import load_arrays

_SAME_SPLIT = {"val": "valid", "valid": "val"}  # names of the validation split in our mocap and in AMASS
_KEYS = ("seq_start", "seq_length", "seq_subject", "seq_category", "seq_name")


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


class Rotations(NamedTuple):
    """Frames of many sequences, as in `Mocap`; body_pose: [N, 21, 3] float32 axis-angle radians, SMPL's order."""

    body_pose: np.ndarray
    sequence: np.ndarray
    subject: np.ndarray
    category: np.ndarray
    name: np.ndarray


T = TypeVar("T", Mocap, Rotations)


def data_root() -> Path:
    """The folder of the shared data: the environment variable JAXPOSE_DATA, or ../shared/data."""
    return Path(os.environ.get("JAXPOSE_DATA", "../shared/data"))


def load_mocap(root: FilePath, split: str, files: tuple[str, ...] = ("cmu", "hdm05")) -> Mocap:
    """The frames of every subject of `split` ("train" or "val") in `root`/mocap/{files}.npz, or a ValueError.

    files: of the shared data only; a folder of `jaxpose prepare mocap` says itself which it has.
    """
    return Mocap(*load_sequences(Path(root) / "mocap", split, files, "joints17", "pos_scale"))


def load_rotations(root: FilePath, split: str, files: tuple[str, ...] = ("cmu", "hdm05")) -> Rotations:
    """The frames of `split` in the shared data below `root`, or in a folder of `jaxpose prepare mocap` or `amass`.

    split: "train", "val" (or "valid") or "test". files: of the shared data only. ValueError names what is missing.
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
    arrays = load_arrays(prepared[name], *Rotations._fields)
    return Rotations(*(arrays[key] for key in Rotations._fields))


def load_sequences(
    folder: Path, split: str, files: tuple[str, ...], field: str, scale: str, aliases: Mapping[str, str] = {}
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Frames [N, ...] float32, `field` times `scale`, and as in `Mocap`; aliases: further names of splits."""
    if not (folder / "splits.json").is_file():
        raise ValueError(f"{folder}: no splits.json there; needed the mocap folder of JAXPOSE_DATA")
    splits = json.loads((folder / "splits.json").read_text())
    files = tuple(splits.pop("files", files))
    name = split if split in splits else aliases.get(split, split)
    if name not in splits:
        raise ValueError(f"split: got {split!r}, legal are {sorted(splits)}")
    if not files:
        raise ValueError("files: got none; legal are names of .npz files in mocap, as 'cmu' and 'hdm05'")
    frames, sequence, labels, count = [], [], [], 0
    for file in files:
        z = load_arrays(folder / f"{file}.npz", field, scale, *_KEYS)
        values, start, length = z[field], z["seq_start"], z["seq_length"]
        kept = np.flatnonzero(np.isin(z["seq_subject"], splits[name]) | np.isin(z["seq_name"], splits[name]))
        own = np.concatenate([values[:0], *(values[start[i] : start[i] + length[i]] for i in kept)])
        frames.append(own.astype(np.float32) * np.float32(z[scale]))
        sequence.append(np.repeat(count + np.arange(len(kept)), length[kept]))
        labels.append([z[key][kept] for key in ("seq_subject", "seq_category", "seq_name")])
        count += len(kept)
    if not count:
        raise ValueError(
            f"{folder}: no sequence of split {split!r} in {', '.join(files)}; its subjects are {splits[name]}"
        )
    subject, category, names = (np.concatenate(of) for of in zip(*labels, strict=True))
    return np.concatenate(frames), np.concatenate(sequence), subject, category, names


def joined(first: T, second: T) -> T:
    """The frames and sequences of `first`, then those of `second`."""
    second = second._replace(sequence=second.sequence + len(first.name))
    return type(first)(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))


def balanced_weights(mocap: Mocap | Rotations, power: float = 0.5) -> np.ndarray:
    """Sampling probability of each frame [N]: categories by their frames to `power`, 1: uniform, 0: alike."""
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
