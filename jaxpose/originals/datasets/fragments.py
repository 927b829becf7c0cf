"""Motion cut into fragments of equal length, as in DPoser's evaluation of motion denoising on HumanEva.

Fragments do not overlap and keep the file's frame rate; a shorter rest at the end is dropped.
`<sequence>_batch###.npz` holds `pose_body` [L, 63] and `root_orient` [L, 3], as the authors' files do, and the
other keys of `save_motion` (spec/dposer.md 3).
"""

from collections.abc import Iterator
from pathlib import Path

from jaxpose.files import FilePath
from jaxpose.io.motion import Motion, read_motion, save_motion, take_frames
from jaxpose.originals.datasets.h36m import check_new, new_folder

_SUFFIXES = (".npz", ".npy", ".bvh", ".amc")


def fragments(motion: Motion, length: int = 60) -> list[Motion]:
    """The fragments of `length` frames, in order; none where the motion is shorter."""
    if length < 1:
        raise ValueError(f"length must be a positive number of frames, got {length}")
    count = len(motion.body_pose) // length
    return [take_frames(motion, slice(i * length, (i + 1) * length)) for i in range(count)]


def prepare_fragments(sources: list[str] | list[Path], out: FilePath, *, length: int = 60) -> Iterator[str]:
    """Write the fragments of files, and of all files of motion in folders, below the new folder `out`; yields lines.

    The structure of folders is kept, so that sequences of the same name stay apart.
    """
    target = check_new(out)
    if length < 1:
        raise ValueError(f"length must be a positive number of frames, got {length}")
    files = [pair for source in sources for pair in _files(Path(source))]
    names = [name.with_suffix("") for _, name in files]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice.name}: two of the files have this name; give the folder above them instead")
    total = 0
    with new_folder(target) as draft:
        for path, name in files:
            motion = read_motion(path)
            pieces = fragments(motion, length)
            (draft / name.parent).mkdir(parents=True, exist_ok=True)
            for index, piece in enumerate(pieces):
                save_motion(draft / name.parent / f"{name.stem}_batch{index:03d}.npz", piece)
            total += len(pieces)
            rest = len(motion.body_pose) - length * len(pieces)
            yield f"{path}: {len(pieces)} fragments of {length} frames, {rest} frames dropped"
    yield f"wrote {target}: {total} fragments of {len(files)} files"


def _files(source: Path) -> list[tuple[Path, Path]]:
    """Motion files, each with its path relative to the given folder."""
    if source.is_file():
        return [(source, Path(source.name))]
    if not source.is_dir():
        raise ValueError(f"{source}: no such file or folder")
    files = sorted(p for p in source.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
    # AMASS has the subject's shape beside the sequences: shape.npz, neutral_stagei.npz
    files = [p for p in files if not p.name.endswith(("shape.npz", "_stagei.npz"))]
    if not files:
        raise ValueError(f"{source}: no files of motion in it; must be one of {', '.join(_SUFFIXES)}")
    return [(path, path.relative_to(source)) for path in files]
