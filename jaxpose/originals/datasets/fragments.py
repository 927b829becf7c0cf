"""Motion cut into fragments of equal length, as in DPoser's evaluation of motion denoising on HumanEva.

Fragments do not overlap and keep the file's frame rate; a shorter rest at the end is dropped.
`<sequence>_batch###.npz` holds `pose_body` [L, 63] and `root_orient` [L, 3], as the authors' files do, and the
other keys of `save_motion` (spec/dposer.md 3).
"""

from collections.abc import Iterator
from pathlib import Path

from jaxpose.files import FilePath
from jaxpose.io.motion import Motion, motion_files, read_motion, save_motion, take_frames
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
    files = motion_files(sources, _SUFFIXES)
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
