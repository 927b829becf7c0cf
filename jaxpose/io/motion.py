"""Files of the motion of one SMPL-style body (smpl_motion.py).

    .bvh, .amc with .asf     other skeletons, brought to SMPL's by retarget.py
    .npz of AMASS            `*_poses.npz` (SMPL-H), `*_stageii.npz` (SMPL-X); fragments (`pose_body`, `root_orient`)
    .npz of `save_motion`    the same keys, with the world's up axis and the pelvis' position
    .npy, .npz of one array  [F, width] or [F, joints, 3]; the width determines the joints (`WIDTHS`)

Common to all: root 3 numbers, then the 21 body joints in SMPL's order (SMPL_22.joints[1:]); joints after these (SMPL's
two hand joints, jaw, eyes, fingers) are not read. Pickled members of AMASS's files are not opened.

Up axis. AMASS has z up; a Motion has y up, so (x, y, z) becomes (x, z, -y), and the root's rotation R becomes A R.

Position. A Motion has the position of the pelvis joint. AMASS's `trans` moves the body model, whose pelvis is at J_0
of the rest pose, and its root turns about that joint: pelvis = trans + J_0, before the change of axes. J_0 belongs to
the body model (with SMPL-X about (0, -0.35, 0.01) m, with SMPL-H (0, -0.22, 0.03) m), so give it as `pelvis`; without
it positions have that constant offset, nearly horizontal in AMASS's axes.

Sources: spec/dposer.md 3; AMASS (Mahmood et al. 2019); files of both releases.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxpose.files import FilePath
from jaxpose.geometry.axes import turn
from jaxpose.io.arrays import Source, as_float, as_rate, source_of
from jaxpose.io.retarget import read_retargeted
from jaxpose.io.smpl_motion import Motion, check_motion, resample, save_motion, take_frames
from jaxpose.io.take import rotation_matrices, rotation_vectors
from jaxpose.reading import reader

__all__ = ["Motion", "check_motion", "read_motion", "read_rotations", "resample", "save_motion", "take_frames"]

# Numbers a frame -> what they are, and whether the root's rotation leads.
WIDTHS: Mapping[int, tuple[str, bool]] = {
    63: ("21 body joints", False),
    66: ("root and 21 body joints", True),
    69: ("SMPL's 23 joints without the root", False),
    72: ("SMPL's root and 23 joints", True),
    156: ("SMPL-H's 52 joints", True),
    165: ("SMPL-X's 55 joints", True),
}
ASSUMED_FPS = 30.0
_RATES = ("mocap_frame_rate", "mocap_framerate", "fps")
_KEYS = ("poses", "pose_body", "root_orient", "trans", "transl", "betas", "up", *_RATES)


class PartialMotion(NamedTuple):
    """A motion whose unknown rotations are 0, and the mask known [F, 21] of the others."""

    motion: Motion
    known: np.ndarray


def motion_files(sources: Iterable[FilePath], suffixes: Sequence[str]) -> list[tuple[Path, Path]]:
    """The sources that are files, and all files with these suffixes in folders, each with its path below its folder.

    AMASS's files of shapes are left out. ValueError for a source without any, and for two files of one name.
    """
    files: list[tuple[Path, Path]] = []
    for source in map(Path, sources):
        if not source.exists():
            raise ValueError(f"{source}: no such file or folder")
        paths = sorted(p for p in source.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
        paths = [p for p in paths if not p.name.endswith(("shape.npz", "_stagei.npz"))]
        files += [(source, Path(source.name))] if source.is_file() else [(p, p.relative_to(source)) for p in paths]
        if not paths and not source.is_file():
            raise ValueError(f"{source}: no files of motion in it; needed one of {', '.join(suffixes)}")
    for name, count in Counter(below.with_suffix("") for _, below in files).items():
        if count > 1:
            raise ValueError(f"{name}: two of the files have this name; give the folder above them instead")
    return files


@reader("file of motion")
def read_motion(
    path: FilePath,
    *,
    asf: FilePath | None = None,
    fps: float | None = None,
    up: Literal["y", "z"] | None = None,
    pelvis: Sequence[float] | np.ndarray | None = None,
    gaps: bool = False,
    **retargeting: Any,
) -> Motion:
    """The motion in a file, whose format is detected by suffix and keys (module docstring).

    asf: the skeleton of an .amc file; by default the .asf beside it. fps: for files without a frame rate
    (default 30, 120 of .amc). up: of an .npz or .npy without one (default z with AMASS's keys, y for plain arrays).
    pelvis: [3] metres, J_0 of the body model, for AMASS's `trans`. gaps: NaN and infinity stay; otherwise they are an
    error. retargeting: as of `retarget`, of .bvh and .amc. ValueError names the file, and the frame or key with the
    fault.
    """
    source = source_of(path)
    path, max_turns = source.path, 1
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    match source.suffix:
        case ".bvh" | ".amc":
            motion = read_retargeted(path, asf=asf, fps=fps, **retargeting).motion
        case ".npy" | ".npz":
            arrays = _load(source)
            motion, max_turns = _motion(path, arrays, fps, up, pelvis), 1 if "" in arrays else 2
        case suffix:
            raise ValueError(f"{path}: no motion known by {suffix!r}; must be .npz, .npy, .bvh or .amc")
    return check_motion(motion, path, gaps=gaps, max_turns=max_turns)


@reader("file of motion")
def read_rotations(
    path: FilePath, *, asf: FilePath | None = None, fps: float | None = None, up: str | None = None, gaps: bool = False
) -> PartialMotion:
    """The motion in a file, with rotations of at most one turn, and which rotations are known.

    gaps: NaN marks a missing joint; otherwise NaN is an error. AMASS's rotations by a little more than a turn
    are brought within one; others are a ValueError (degrees?). Where the root is NaN it takes its value in the nearest
    frame that has one. Other arguments and errors as of `read_motion`.
    """
    motion = read_motion(path, asf=asf, fps=fps, up=up, gaps=gaps)  # type: ignore[arg-type]  # checked there
    known = np.isfinite(motion.body_pose).all(-1)
    root, transl = _nearest(motion.global_orient), _nearest(motion.transl)
    body = np.where(known[..., None], motion.body_pose, 0)
    motion = motion._replace(body_pose=_within_a_turn(body), global_orient=_within_a_turn(root), transl=transl)
    return PartialMotion(motion, known)


def holds_rotations(source: Source) -> bool:
    """Whether a file is one of joint rotations by its suffix, its keys, or the width of its only array [F, width]."""
    if source.suffix not in (".npz", ".npy"):
        return source.suffix in (".bvh", ".amc")
    arrays = source.arrays
    if "poses" in arrays or "pose_body" in arrays or len(arrays) != 1:
        return "poses" in arrays or "pose_body" in arrays
    only = next(iter(arrays.values()))
    return only.ndim == 2 and only.shape[1] in WIDTHS


def _load(source: Source) -> dict[str, np.ndarray]:
    """The only array of a file, under "", or those of AMASS's keys that are needed; other members are not opened."""
    arrays = source.arrays
    if "poses" in arrays or "pose_body" in arrays:
        twice = "poses" if "pose_body" in arrays else ""  # SMPL-X files hold both: the short one is enough
        return {key: arrays[key] for key in _KEYS if key in arrays and key != twice}
    if len(arrays) == 1:
        return {"": next(iter(arrays.values()))}
    raise ValueError(f"{source}: holds {', '.join(arrays)}; needed 'poses' or 'pose_body', or one array alone")


def _motion(path: FilePath, z: dict[str, np.ndarray], fps: float | None, up: str | None, pelvis: Any) -> Motion:
    root, body, meaning = _split(next(z[key] for key in ("poses", "pose_body", "") if key in z))
    num = len(body)
    if "root_orient" in z and "poses" not in z:
        root = np.asarray(z["root_orient"], np.float32).reshape(-1, 3)
    if len(root) != num:
        raise ValueError(f"'root_orient' has {len(root)} frames, 'pose_body' {num}; needed as many")
    notes = [meaning]
    rate = next((as_rate(path, key, z[key]) for key in _RATES if key in z), fps)
    if rate is None:
        rate = ASSUMED_FPS
        notes.append(f"assumed {rate:g} frames per second, the file does not say")
    up = str(z["up"]) if "up" in z else up or ("y" if "" in z else "z")
    if up not in ("y", "z"):
        raise ValueError(f"up: got {up!r}, must be 'y' or 'z'")
    key = next((key for key in ("transl", "trans") if key in z), "")  # of the pelvis, of the model's origin
    transl = as_float(path, repr(key), z[key], (num, 3)) if key else np.zeros((num, 3))
    transl = transl.astype(np.float32)
    if key == "trans" and pelvis is not None:
        transl = transl + np.asarray(pelvis, np.float32).reshape(3)
    elif key == "trans":
        notes.append("positions are those of the model's origin, not of the pelvis")
    if up == "z":
        A = turn("z", "y")
        root = rotation_vectors(A @ rotation_matrices(root)).astype(np.float32)
        transl = (transl @ A.T).astype(np.float32)
        notes.append("turned from z up to y up")
    betas = np.asarray(z["betas"], np.float32).reshape(-1) if "betas" in z else None
    return Motion(body, root, transl, rate, betas, "; ".join(notes))


def _split(array: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Root [F, 3] and body [F, 21, 3] of an array [F, width], [F, joints, 3] or [width], and its joints in words."""
    shape = array.shape
    if array.ndim == 3 and shape[-1] == 3:
        array = array.reshape(len(array), -1)
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[1] not in WIDTHS or array.dtype.kind not in "fiu":
        legal = "; ".join(f"{width} ({meaning})" for width, (meaning, _) in WIDTHS.items())
        raise ValueError(f"an array of {array.dtype} {shape}; must be numbers [F, width] with width {legal}")
    meaning, has_root = WIDTHS[array.shape[1]]
    values = array.astype(np.float32)
    root = values[:, :3] if has_root else np.zeros((len(values), 3), np.float32)
    body = values[:, 3 * has_root :][:, :63].reshape(-1, 21, 3)
    return root, body, f"rotations of {meaning}" + ("" if has_root else "; no root, so upright")


def _within_a_turn(v: np.ndarray) -> np.ndarray:
    angle, turn = np.linalg.norm(v, axis=-1, keepdims=True), 2 * np.pi
    return np.where(angle > turn, v * (angle - turn) / np.maximum(angle, 1), v).astype(np.float32)


def _nearest(values: np.ndarray) -> np.ndarray:
    """Values [F, 3], those of frames that are not finite taken from the nearest that is; 0 where none is."""
    good = np.flatnonzero(np.isfinite(values).all(-1))
    if not good.size:
        return np.zeros_like(values)
    # halfway between two the earlier counts
    nearest = np.searchsorted((good[1:] + good[:-1]) / 2, np.arange(len(values)), side="left")
    return values[good[nearest]]
