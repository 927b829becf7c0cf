"""Conversion of AMASS to one file of body rotations for each split (`jaxpose prepare amass`); mocap.py reads it.

    <root>/<subset>/<subject>/<sequence>_poses.npz      SMPL-H release
    <root>/<subset>/<subject>/<sequence>_stageii.npz    SMPL-X release

Splits are DPoser's: VPoser's (Pavlakos et al. 2019) with BMLmovi (spec/dposer.md 3). Subsets go by several names
(`MoSh`, `Mosh`, `MPI_mosh`), compared without case and underscores.

Frames, of the N of a sequence, always of its middle 80 % (recordings open and close in a T-pose):

    published    int(0.3 * 0.8 * N) frames drawn without replacement: fast recordings count more
    otherwise    every k-th frame, k = the recording's rate over `fps`, rounded: sequences count by their duration

Every sequence is read once. The authors' script reads the files of the k-th of n subsets n - k + 1 times, each time
with new draws (spec/dposer.md 10.1); this is not reproduced. Draws depend on seed and sequence alone.

Written: <out>/<split>.npz with body_pose [N, 21, 3] and global_orient [N, 3] (y up) float32 radians, sequence and frame
[N] int32, betas [S, 10] float32, name, subject, category (the subset), fps (the recording's) [S]; <out>/<split>.json
with the selection, the counts and the files that were left out.
"""

import zlib
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxpose.files import FilePath, write_json, write_npz
from jaxpose.io.motion import Motion, read_motion, take_frames

SPLITS = {
    "train": (
        *("CMU", "PosePrior", "TotalCapture", "Eyes_Japan_Dataset", "KIT"),
        *("BMLrub", "BMLmovi", "EKUT", "TCDHands", "ACCAD"),
    ),
    "valid": ("HumanEva", "HDM05", "SFU", "MoSh"),
    "test": ("Transitions", "SSM"),
}
# Names of folders in the older release, without case and underscores.
_ALIASES = {
    **{"mpimosh": "mosh", "mpihdm05": "hdm05", "mpilimits": "poseprior", "biomotionlabntroje": "bmlrub"},
    **{"tcdhandmocap": "tcdhands", "transitionsmocap": "transitions", "ssmsynced": "ssm"},
    **{"eyesjapan": "eyesjapandataset"},
}
_ENDINGS = ("_stageii.npz", "_poses.npz")
_NEEDED = f"<subset>/<subject>/*{' or *'.join(_ENDINGS)}"
_NUM_BETAS = 10
_LINE_EVERY = 500  # files between lines about the progress


class Sequence(NamedTuple):
    """A file of AMASS: its subset (as `SPLITS` has it, where it does), subject and name."""

    path: Path
    subset: str
    subject: str
    name: str


def find_sequences(root: FilePath, subsets: tuple[str, ...]) -> dict[str, list[Sequence]]:
    """The sequences of each subset below `root`, in the order of their paths; empty for a subset that is absent.

    Subsets may be given by any of their names; the result has those of `SPLITS`. A sequence in both releases is listed
    once, as SMPL-X. ValueError where `root` is not a folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise ValueError(f"{root}: not a folder; needed the one that holds AMASS's subsets")
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    known = {_key(name): name for names in SPLITS.values() for name in names}
    sequences = {}
    for subset in (known.get(_key(name), name) for name in subsets):
        paths = [path for folder in folders if _key(folder.name) == _key(subset) for path in folder.glob("*/*")]
        by_name: dict[tuple[str, str], Sequence] = {}
        for ending in _ENDINGS:
            for path in sorted(path for path in paths if path.name.endswith(ending)):
                subject, stem = path.parent.name, path.name.removesuffix(ending)
                by_name.setdefault((subject, stem), Sequence(path, subset, subject, stem))
        sequences[subset] = [by_name[key] for key in sorted(by_name)]
    return sequences


def published_selection(num: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of DPoser's frames of a sequence of `num`, rising: 24 % drawn from its middle 80 %."""
    first, last = int(0.1 * num), int(0.9 * num)
    wanted = min(int(0.3 * 0.8 * num), last - first)
    return np.sort(rng.choice(np.arange(first, last), wanted, replace=False))


def regular_selection(num: int, rate: float, fps: float) -> np.ndarray:
    """Indices of every k-th frame of the middle 80 % of `num`, k = rate / fps rounded, at least 1."""
    return np.arange(int(0.1 * num), int(0.9 * num), max(1, round(rate / fps)))


def prepare_amass(
    root: FilePath,
    split: str,
    out: FilePath,
    *,
    subsets: tuple[str, ...] | None = None,
    fps: float = 30.0,
    seed: int = 0,
    published: bool = False,
) -> Generator[str, None, int]:
    """Write `out`/{split}.npz and .json from AMASS below `root`; yields lines, returns how many files were left out.

    subsets: other than those of `SPLITS`. A file that cannot be read is left out, and named in the lines and the .json.
    Memory: the frames kept twice, 0.5 kB each. ValueError where nothing is found, or the split file exists.
    """
    target = _check(split, out, fps)
    by_subset = find_sequences(root, SPLITS[split] if subsets is None else subsets)
    absent = [subset for subset, sequences in by_subset.items() if not sequences]
    if absent and (subsets is not None or len(absent) == len(by_subset)):
        there = sorted(path.name for path in Path(root).iterdir() if path.is_dir())
        raise ValueError(f"{root}: no sequences of {', '.join(absent)}; needed {_NEEDED}; folders are {there}")
    if absent:
        yield f"{root}: nothing of {', '.join(absent)}, also of the split {split!r}"
    rows, left_out, counts = list[_Rows](), dict[str, str](), dict[str, dict[str, int]]()
    for subset, sequences in ((s, listed) for s, listed in by_subset.items() if listed):
        kept = yield from _read(sequences, left_out, None if published else fps, seed)
        counts[subset] = {"sequences": len(kept), "frames": sum(len(row.frame) for row in kept)}
        yield f"{subset}: {len(sequences)} sequences, {counts[subset]['frames']} frames kept"
        rows += kept
    if not rows:
        raise ValueError(f"{root}: none of {len(left_out)} files gave a frame; {next(iter(left_out.values()))}")
    target.parent.mkdir(exist_ok=True)
    write_npz(target, _arrays(rows))
    rule = {"rule": "24 % of the middle 80 %", "seed": seed} if published else {"rule": "every k-th", "fps": fps}
    counts = {subset: count for subset, count in counts.items() if count["sequences"]}
    record = {"split": split, "selection": rule, "subsets": counts, "absent": absent, "left_out": left_out}
    write_json(target.with_suffix(".json"), record)
    yield f"wrote {target}: {sum(len(row.frame) for row in rows)} frames of {len(rows)} sequences"
    return len(left_out)


class _Rows(NamedTuple):
    """The selected frames of a sequence: their indices in the file, and their motion."""

    sequence: Sequence
    frame: np.ndarray
    motion: Motion


def _read(
    sequences: list[Sequence], left_out: dict[str, str], fps: float | None, seed: int
) -> Generator[str, None, list[_Rows]]:
    """The selected frames of each sequence; the error of one that cannot be read goes to `left_out`."""
    rows = []
    for number, sequence in enumerate(sequences, 1):
        try:
            rows.append(_select(sequence, fps, seed))
        except ValueError as error:
            left_out[str(sequence.path)] = str(error)
            yield f"left out: {error}"
        if number % _LINE_EVERY == 0:
            yield f"{sequence.subset}: read {number}/{len(sequences)}"
    return rows


def _select(sequence: Sequence, fps: float | None, seed: int) -> _Rows:
    motion = read_motion(sequence.path)
    num = len(motion.body_pose)
    if fps is None:
        name = f"{sequence.subset}/{sequence.subject}/{sequence.name}"
        frames = published_selection(num, np.random.default_rng([seed, zlib.crc32(name.encode())]))
    else:
        frames = regular_selection(num, motion.fps, fps)
    if not len(frames):
        raise ValueError(f"{sequence.path}: {num} frames, too few for one to be kept")
    return _Rows(sequence, frames, take_frames(motion, frames))


def _arrays(rows: list[_Rows]) -> dict[str, np.ndarray]:
    betas = np.zeros((len(rows), _NUM_BETAS), np.float32)
    for row, target in zip(rows, betas, strict=True):
        known = row.motion.betas if row.motion.betas is not None else target[:0]
        target[: len(known)] = known[:_NUM_BETAS]
    return {
        "body_pose": np.concatenate([row.motion.body_pose for row in rows]),
        "global_orient": np.concatenate([row.motion.global_orient for row in rows]),
        "sequence": np.repeat(np.arange(len(rows), dtype=np.int32), [len(row.frame) for row in rows]),
        "frame": np.concatenate([row.frame for row in rows]).astype(np.int32),
        "betas": betas,
        "name": np.array([row.sequence.name for row in rows]),
        "subject": np.array([f"{row.sequence.subset}/{row.sequence.subject}" for row in rows]),
        "category": np.array([row.sequence.subset for row in rows]),
        "fps": np.array([row.motion.fps for row in rows]),
    }


def _check(split: str, out: FilePath, fps: float) -> Path:
    if split not in SPLITS:
        raise ValueError(f"split: got {split!r}, must be one of {', '.join(SPLITS)}")
    if not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be more than 0 frames per second, got {fps}")
    folder = Path(out)
    if not folder.parent.is_dir() or (folder.exists() and not folder.is_dir()):
        raise ValueError(f"{folder}: must be a folder, or a new one in a folder that exists")
    if (folder / f"{split}.npz").exists():
        raise ValueError(f"{folder / split}.npz: exists already; remove it first, or name another folder")
    return folder / f"{split}.npz"


def _key(name: str) -> str:
    plain = "".join(c for c in name.lower() if c.isalnum())
    return _ALIASES.get(plain, plain)
