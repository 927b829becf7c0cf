"""Motion cut into pieces of equal length, as DPoser's motion denoising is evaluated on HumanEva.

Pieces follow each other without overlap at the file's own rate, and what is left at the end is dropped.
`<sequence>_batch###.npz` holds `pose_body` [L, 63] and `root_orient` [L, 3], as the authors' files do, and what else
`save_motion` writes (spec/dposer.md 3).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from jaxpose.datasets.h36m import check_new
from jaxpose.io.motion import Motion, read_motion, save_motion, take_frames

_SUFFIXES = (".npz", ".npy", ".bvh", ".amc")


def fragments(motion: Motion, length: int = 60) -> list[Motion]:
    """The pieces of `length` frames, in their order; none where the motion is shorter."""
    if length < 1:
        raise ValueError(f"length must be a positive number of frames, got {length}")
    count = len(motion.body_pose) // length
    return [take_frames(motion, slice(i * length, (i + 1) * length)) for i in range(count)]


def prepare_fragments(
    sources: list[str] | list[Path], out: str | os.PathLike[str], *, length: int = 60
) -> Iterator[str]:
    """Write the fragments of files, and of all files of motion in folders, below `out`; yields lines.

    Folders inside a given folder are kept, so that sequences of one name do not meet. ValueError names a file that is
    wrong, and an `out` that is there.
    """
    target = check_new(out)
    if length < 1:
        raise ValueError(f"length must be a positive number of frames, got {length}")
    files = [pair for source in sources for pair in _files(Path(source))]
    names = [name.with_suffix("") for _, name in files]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice.name}: two of the files have this name; give the folder above them instead")
    total, draft = 0, target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        for path, name in files:
            motion = read_motion(path)
            pieces = fragments(motion, length)
            (draft / name.parent).mkdir(parents=True, exist_ok=True)
            for index, piece in enumerate(pieces):
                save_motion(draft / name.parent / f"{name.stem}_batch{index:03d}.npz", piece)
            total += len(pieces)
            rest = len(motion.body_pose) - length * len(pieces)
            yield f"{path}: {len(pieces)} fragments of {length} frames, {rest} frames dropped"
        os.replace(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    yield f"wrote {target}: {total} fragments of {len(files)} files"


def _files(source: Path) -> list[tuple[Path, Path]]:
    """Files of motion, each with its place below the folder that was given."""
    if source.is_file():
        return [(source, Path(source.name))]
    if not source.is_dir():
        raise ValueError(f"{source}: no such file or folder")
    found = sorted(p for p in source.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
    # a subject's shape stands beside AMASS's sequences: shape.npz, neutral_stagei.npz
    found = [p for p in found if not p.name.endswith(("shape.npz", "_stagei.npz"))]
    if not found:
        raise ValueError(f"{source}: no files of motion in it; legal are {', '.join(_SUFFIXES)}")
    return [(path, path.relative_to(source)) for path in found]
