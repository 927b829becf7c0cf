"""Motion capture to train on: 17 joint positions, or body rotations for a prior, of many sequences in one array.

    shared data     <root>/mocap/{cmu,hdm05}.npz, 30 fps: `joints17` or `body_pose` as int16 times a scale; splits.json
    prepare mocap   <root>/mocap of the same form (prepare_mocap.py); its splits.json names its files under "files"
    prepare amass   <folder>/{train,valid,test}.npz (amass.py), rotations alone

World frame: metres, y up, floor near y = 0. See the README beside the files for fields and licences. Files that say by
how much their skeletons bend straight limbs (`seq_knee_bend`, `seq_elbow_bend`) are corrected (straight.py).
"""

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from jaxpose.datasets.straight import Bends, straight_joints, straight_rotations
from jaxpose.files import FilePath
from jaxpose.io.arrays import Arrays, Source, as_int, load_arrays

_SAME_SPLIT = {"val": "valid", "valid": "val"}  # names of the validation split in our mocap and in AMASS
_KEYS = ("seq_start", "seq_length", "seq_subject", "seq_category", "seq_name")
EVALUATION_ONLY = "uiprmd"  # the file of another laboratory; README of the shared data: nothing may be trained on it
_OUT_OF_DATABASE = "out_of_database"  # the split of its subjects


class Mocap(NamedTuple):
    """Frames of many sequences.

    joints: [N, 17, 3] float32 metres, H36M_17 order. sequence: [N] index of each frame's sequence.
    subject, category, name: one string per sequence. rotations: [N, 22, 3] float32 axis-angle radians of SMPL's body,
    the pelvis in the world first; None where they were not asked for.
    """

    joints: np.ndarray
    sequence: np.ndarray
    subject: np.ndarray
    category: np.ndarray
    name: np.ndarray
    rotations: np.ndarray | None = None


class Rotations(NamedTuple):
    """Frames of many sequences, as in `Mocap`; body_pose: [N, 21, 3] float32 axis-angle radians, SMPL's order."""

    body_pose: np.ndarray
    sequence: np.ndarray
    subject: np.ndarray
    category: np.ndarray
    name: np.ndarray


T = TypeVar("T", Mocap, Rotations)
_OF_SEQUENCES = ("subject", "category", "name")


def data_root() -> Path:
    """The folder of the shared data: the environment variable JAXPOSE_DATA, or ../shared/data."""
    return Path(os.environ.get("JAXPOSE_DATA", "../shared/data"))


def load_mocap(
    root: FilePath,
    split: str,
    files: tuple[str, ...] = ("cmu", "hdm05"),
    *,
    drop: tuple[str, ...] = (),
    rotations: bool = False,
    straight: bool = True,
) -> Mocap:
    """The frames of every subject of `split` in `root`/mocap/{files}.npz, or a ValueError.

    split: "train" or "val"; "train+train_more" is both, where there is the second. files: of the shared data only; a
    folder of `jaxpose prepare mocap` says itself which it has. drop: subjects of a file left out, as "cmu/cmu14".
    straight: with knees and elbows corrected (straight.py), else as captured.
    """
    folder = Path(root) / "mocap"
    of = functools.partial(load_sequences, folder, split, files, drop=drop, straight=straight)
    found = Mocap(*of("joints17", "pos_scale"))
    if not rotations:
        return found
    turned = np.concatenate([of("global_orient", "rot_scale")[0], of("body_pose", "rot_scale")[0]], -1)
    return found._replace(rotations=turned.reshape(-1, 22, 3))


def load_rotations(
    root: FilePath,
    split: str,
    files: tuple[str, ...] = ("cmu", "hdm05"),
    *,
    drop: tuple[str, ...] = (),
    straight: bool = True,
) -> Rotations:
    """The frames of `split` in the shared data below `root`, or in a folder of `jaxpose prepare mocap` or `amass`.

    split: "train", "val" (or "valid") or "test". files, drop, straight: as in `load_mocap`, of the shared data only.
    ValueError names what is missing.
    """
    root = Path(root)
    if (root / "mocap" / "splits.json").is_file():
        load = functools.partial(load_sequences, aliases=_SAME_SPLIT, drop=drop, straight=straight)
        loaded = load(root / "mocap", split, files, "body_pose", "rot_scale")
        return Rotations(loaded[0].reshape(-1, 21, 3), *loaded[1:])
    prepared = {path.stem: path for path in sorted(root.glob("*.npz"))}
    name = split if split in prepared else _SAME_SPLIT.get(split, split)
    if name not in prepared:
        needed = "mocap/splits.json (shared data), or <split>.npz of `jaxpose prepare amass`"
        raise ValueError(f"{root}: no split {split!r}; found {sorted(prepared) or 'neither'}, needed {needed}")
    arrays = load_arrays(prepared[name], *Rotations._fields)
    found = Rotations(*(arrays[key] for key in Rotations._fields))
    num = len(found.body_pose) if found.body_pose.ndim else 0
    sequences = len(found.name) if found.name.ndim else 0
    fits = found.body_pose.shape == (num, 21, 3) and found.body_pose.dtype.kind == "f" and num > 0
    fits &= found.sequence.shape == (num,) and all(getattr(found, key).shape == (sequences,) for key in _OF_SEQUENCES)
    if not fits or not 0 <= as_int(prepared[name], "sequence", found.sequence).max() < sequences:
        shapes = ", ".join(f"{key} {list(value.shape)}" for key, value in found._asdict().items())
        raise ValueError(f"{prepared[name]}: {shapes}; needed [N, 21, 3], [N] and one of each sequence")
    if not np.isfinite(found.body_pose).all():
        raise ValueError(f"{prepared[name]}: body_pose holds NaN or infinity; needed finite angles")
    return found


def load_sequences(
    folder: Path,
    split: str,
    files: tuple[str, ...],
    field: str,
    scale: str,
    *,
    aliases: Mapping[str, str] = {},
    drop: tuple[str, ...] = (),
    straight: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Frames [N, ...] float32, `field` times `scale`, and as in `Mocap`; aliases: further names of splits.

    ValueError where something of `EVALUATION_ONLY` is asked for with a training split.
    """
    wanted, files = _wanted(folder, split, files, aliases)
    frames, sequence, labels, count = [], [], [], 0
    for file in files:
        z = load_arrays(folder / f"{file}.npz", field, scale, *_KEYS)
        chosen = [label for label in wanted if f"{file}/{label}" not in drop]
        kept = np.flatnonzero(np.isin(z["seq_subject"], chosen) | np.isin(z["seq_name"], chosen))
        frames.append(_straight_frames(z, kept, field, scale) if straight else _frames(z, kept, field, scale))
        sequence.append(np.repeat(count + np.arange(len(kept)), z["seq_length"][kept]))
        labels.append([z[key][kept] for key in ("seq_subject", "seq_category", "seq_name")])
        count += len(kept)
    if not count:
        raise ValueError(
            f"{folder}: no sequence of split {split!r} in {', '.join(files)}; its subjects are {sorted(wanted)}"
        )
    subject, category, names = (np.concatenate(of) for of in zip(*labels, strict=True))
    return np.concatenate(frames), np.concatenate(sequence), subject, category, names


def _wanted(
    folder: Path, split: str, files: tuple[str, ...], aliases: Mapping[str, str]
) -> tuple[set[str], tuple[str, ...]]:
    """The subjects and sequences of a split, and the files that have them."""
    if not (folder / "splits.json").is_file():
        raise ValueError(f"{folder}: no splits.json there; needed the mocap folder of JAXPOSE_DATA")
    splits = Source(folder / "splits.json").json
    if not isinstance(splits, dict) or not all(isinstance(names, list) for names in splits.values()):
        raise ValueError(f"{folder / 'splits.json'}: needed an object of lists of names")
    files = tuple(splits.pop("files", files))
    parts = [name if name in splits else aliases.get(name, name) for name in split.split("+")]
    if parts[0] not in splits:
        raise ValueError(f"split: got {parts[0]!r}; must be one of {sorted(splits)}")
    wanted = {label for name in parts for label in splits.get(name, ())}
    held = [EVALUATION_ONLY] if EVALUATION_ONLY in files else sorted(wanted & set(splits.get(_OUT_OF_DATABASE, ())))
    if held and any(name.startswith("train") for name in parts):
        raise ValueError(f"{folder}: {held[0]} is for evaluation only; nothing may be trained on it (split {split!r})")
    if not files:
        raise ValueError("files: got none; must be names of .npz files in mocap, as 'cmu' and 'hdm05'")
    return wanted, files


def _frames(z: Arrays, kept: np.ndarray, field: str, scale: str) -> np.ndarray:
    """The frames [N, ...] float32 of the sequences `kept`: `field` times `scale`."""
    values, start, length = z[field], z["seq_start"], z["seq_length"]
    taken = np.concatenate([values[:0], *(values[start[i] : start[i] + length[i]] for i in kept)])
    return taken.astype(np.float32) * np.float32(z[scale])


def _straight_frames(z: Arrays, kept: np.ndarray, field: str, scale: str) -> np.ndarray:
    of_frames = np.repeat(kept, z["seq_length"][kept])
    named = ("seq_knee_bend", "seq_elbow_bend")
    bends = Bends(*(z[name][of_frames] if name in z else np.zeros(len(of_frames)) for name in named))
    if field not in ("joints17", "body_pose") or not max(bends.knee.max(initial=0), bends.elbow.max(initial=0)):
        return _frames(z, kept, field, scale)
    z.having("joints17", "pos_scale")
    joints = _frames(z, kept, "joints17", "pos_scale")
    if field == "joints17":
        return straight_joints(joints, bends)
    z.having("global_orient")
    turned = np.concatenate([_frames(z, kept, name, scale) for name in ("global_orient", "body_pose")], -1)
    return straight_rotations(turned.reshape(-1, 22, 3), joints, bends)[:, 1:].reshape(-1, 63)


def joined(first: T, second: T) -> T:
    """The frames and sequences of `first`, then those of `second`; of what both have."""
    second = second._replace(sequence=second.sequence + len(first.name))
    pairs = {name: (values, getattr(second, name)) for name, values in first._asdict().items()}
    known: dict[str, Any] = {
        name: None if any(x is None for x in pair) else np.concatenate(pair) for name, pair in pairs.items()
    }
    return first._replace(**known)


def balanced_weights(
    mocap: Mocap | Rotations, power: float = 0.5, subject_power: float = 1.0, factors: Mapping[str, float] = {}
) -> np.ndarray:
    """Sampling probability of each frame [N]: categories by their frames to `power`, 1: uniform, 0: alike.

    Within a category subjects count by their frames to `subject_power`. factors: on the weight of a category.
    """
    for name, value in (("power", power), ("subject_power", subject_power)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {value}")
    categories, category = np.unique(mocap.category, return_inverse=True)
    frame_category = category[mocap.sequence]
    count = np.bincount(frame_category)
    pair = np.unique(
        np.stack([category, np.unique(mocap.subject, return_inverse=True)[1]], -1), axis=0, return_inverse=True
    )[1]
    frame_pair = pair.reshape(-1)[mocap.sequence]
    weight = np.bincount(frame_pair)[frame_pair] ** (subject_power - 1.0)
    weight *= count[frame_category] ** float(power) / np.bincount(frame_category, weight)[frame_category]
    weight *= np.array([factors.get(str(name), 1.0) for name in categories])[frame_category]
    return weight / weight.sum()


def take_sequences(mocap: T, kept: np.ndarray) -> T:
    """The sequences with kept [S] (bool), in their order."""
    rows = np.flatnonzero(kept)
    frames = np.isin(mocap.sequence, rows)
    fields = {k: v for k, v in mocap._asdict().items() if v is not None}
    taken = {k: v[rows] if k in _OF_SEQUENCES else v[frames] for k, v in fields.items()}
    return mocap._replace(**taken | {"sequence": np.searchsorted(rows, taken["sequence"])})


def take_share(mocap: T, share: float, seed: int) -> T:
    """Whole sequences, drawn at random by `seed`, with about `share` of the frames, in their order.

    The sequences are put in a random order, and the first of them are taken whose frames come nearest to `share` in
    (0, 1], at least one. For one seed, a smaller share is a subset of a larger one.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    num_frames = np.bincount(mocap.sequence, minlength=len(mocap.name))
    order = np.random.default_rng(seed).permutation(len(num_frames))
    gap = np.abs(np.cumsum(num_frames[order]) - share * num_frames.sum())
    return take_sequences(mocap, np.isin(np.arange(len(order)), order[: 1 + np.argmin(gap)]))
