"""Motion of one SMPL-style body: read from the files people have, resampled, checked, saved.

    .bvh, .amc with .asf     other skeletons, brought to SMPL's by retarget.py
    .npz of AMASS            `*_poses.npz` (SMPL-H), `*_stageii.npz` (SMPL-X); fragments (`pose_body`, `root_orient`)
    .npz of `save_motion`    the same keys, with the world's up axis and the pelvis' position
    .npy, .npz of one array  [F, width] or [F, joints, 3]; the width tells what it holds (`WIDTHS`)

What all share: root 3 numbers, then the 21 body joints in SMPL's order (SMPL_22.joints[1:]); what follows (SMPL's two
hand joints, jaw, eyes, fingers) is not read. Pickled members of AMASS's files are never opened.

Up axis. AMASS has z up; a Motion has y up, so (x, y, z) becomes (x, z, -y), and the root's rotation R becomes A R.

Position. A Motion has the position of the pelvis joint. AMASS's `trans` moves the body model, whose pelvis lies at J_0
of the rest pose, and its root turns about that joint: pelvis = trans + J_0, before the change of axes. J_0 belongs to
the body model (with SMPL-X about (0, -0.35, 0.01) m, with SMPL-H (0, -0.22, 0.03) m), so give it as `pelvis`; without
it positions are off by that constant, in AMASS's axes nearly horizontal.

Sources: spec/dposer.md 3; AMASS (Mahmood et al. 2019); files of both releases.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxpose.files import write_npz
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.io.arrays import load_arrays
from jaxpose.io.asf_amc import asf_beside

JOINTS = SMPL_22.joints[1:]
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
# A rotation is said by one turn at most. Real AMASS files go a little beyond it (6.9 rad; spec/dposer.md 3), and are
# taken up to two; degrees are far beyond both.
MAX_ANGLE, MAX_ANGLE_AMASS = 2 * np.pi, 4 * np.pi
_RATES = ("mocap_frame_rate", "mocap_framerate", "fps")
_KEYS = ("poses", "pose_body", "root_orient", "trans", "transl", "betas", "up", *_RATES)


class Motion(NamedTuple):
    """One person's motion; world frame y up (what plain arrays hold is taken as it is).

    body_pose: [F, 21, 3] float32 axis-angle radians, local, SMPL's order. global_orient: [F, 3] of the root.
    transl: [F, 3] metres, position of the pelvis joint (module docstring; zeros where the source has none).
    fps: frames per second. betas: [B] shape coefficients, or None. source: what was read, and what was assumed.
    """

    body_pose: np.ndarray
    global_orient: np.ndarray
    transl: np.ndarray
    fps: float
    betas: np.ndarray | None = None
    source: str = ""


def read_motion(
    path: str | os.PathLike[str],
    *,
    asf: str | os.PathLike[str] | None = None,
    fps: float | None = None,
    up: Literal["y", "z"] | None = None,
    pelvis: Sequence[float] | np.ndarray | None = None,
    missing: Literal["error", "drop", "keep"] = "error",
) -> Motion:
    """The motion in a file, told by its suffix and keys (module docstring).

    asf: the skeleton of an .amc file; by default the .asf beside it. fps: for files that do not say
    (30 assumed, 120 of .amc). up: of an .npz or .npy that does not say (AMASS's keys: z; plain arrays: y). pelvis: [3]
    metres, J_0 of the body model, for AMASS's `trans`. missing: frames with NaN or infinity are an error, dropped
    and counted in `source`, or kept: NaN then marks a missing rotation. ValueError names the file, and the frame or key
    that is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix in (".bvh", ".amc"):
        return check_motion(_other_skeleton(path, asf, fps), path, missing)
    if suffix not in (".npy", ".npz"):
        raise ValueError(f"{path}: no motion known by {suffix!r}; legal are .npz, .npy, .bvh and .amc")
    arrays = _load(path)
    try:
        motion = _plain(arrays, fps, up) if isinstance(arrays, np.ndarray) else _amass(arrays, fps, up, pelvis)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return check_motion(motion, path, missing, MAX_ANGLE if isinstance(arrays, np.ndarray) else MAX_ANGLE_AMASS)


def check_motion(
    motion: Motion,
    name: str | os.PathLike[str],
    missing: Literal["error", "drop", "keep"] = "error",
    max_angle: float = MAX_ANGLE,
) -> Motion:
    """The motion, without its frames of NaN if `missing` is "drop"; ValueError, opening with `name`, where it is wrong.

    Wrong are: no frames, a frame rate that is not positive, NaN, and rotations beyond `max_angle` radians.
    """
    if missing not in ("error", "drop", "keep"):
        raise ValueError(f"missing: got {missing!r}, legal are 'error', 'drop' and 'keep'")
    if not len(motion.body_pose):
        raise ValueError(f"{name}: holds no frames; needed at least one")
    if not (np.isfinite(motion.fps) and motion.fps > 0):
        raise ValueError(f"{name}: {motion.fps} frames per second; needed more than 0")
    arrays = (motion.body_pose, motion.global_orient, motion.transl)
    whole = np.all([np.isfinite(a).reshape(len(a), -1).all(1) for a in arrays], axis=0)
    if not whole.all() and missing != "keep":
        frames = np.flatnonzero(~whole)
        if missing == "error":
            said = f"{len(frames)} frames hold NaN or infinity, the first {frames[0]}"
            raise ValueError(f"{name}: {said}; mend them, or have such frames dropped (missing 'drop')")
        if len(frames) == len(whole):
            raise ValueError(f"{name}: all {len(frames)} frames hold NaN or infinity; needed one that does not")
        motion = take_frames(motion, np.flatnonzero(whole))
        motion = motion._replace(source=f"{motion.source}; dropped {len(frames)} frames of NaN".lstrip("; "))
    rotations = np.concatenate([motion.global_orient[:, None], motion.body_pose], axis=1)
    angle = np.nan_to_num(np.linalg.norm(rotations, axis=-1))
    if angle.max() > max_angle + 1e-4:  # rounding in a file
        frame, joint = np.unravel_index(angle.argmax(), angle.shape)
        said = f"frame {frame}, joint {SMPL_22.joints[joint]!r}: a rotation by {angle[frame, joint]:.1f} rad"
        raise ValueError(f"{name}: {said}; legal are {max_angle:.4g} at most: are these degrees?")
    return motion


def save_motion(path: str | os.PathLike[str], motion: Motion) -> None:
    """Write a motion as .npz with AMASS's names where they mean the same: `pose_body`, `root_orient`, `betas`.

    `transl` is the pelvis' position (AMASS's `trans` is another thing, and absent), `up` says "y".
    """
    arrays: dict[str, np.ndarray] = {
        "pose_body": motion.body_pose.reshape(-1, 63).astype(np.float32),
        "root_orient": np.asarray(motion.global_orient, np.float32),
        "transl": np.asarray(motion.transl, np.float32),
        "mocap_frame_rate": np.array(motion.fps),
        "up": np.array("y"),
        "source": np.array(motion.source),
    }
    shape: dict[str, np.ndarray] = {} if motion.betas is None else {"betas": np.asarray(motion.betas, np.float32)}
    write_npz(path, arrays | shape)


def take_frames(motion: Motion, frames: np.ndarray | slice) -> Motion:
    """The motion of some frames, in their order; the frame rate is not changed."""
    return motion._replace(
        body_pose=motion.body_pose[frames], global_orient=motion.global_orient[frames], transl=motion.transl[frames]
    )


def resample(motion: Motion, fps: float, *, method: Literal["slerp", "nearest"] = "slerp") -> Motion:
    """The motion at `fps` frames per second, from its first frame on.

    Where the old rate is a multiple of the new one, every k-th frame as it is. Else rotations run along the shorter arc
    at constant speed, with vectors of at most half a turn, and positions along a line; or the nearest frame is taken.
    """
    if not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be more than 0 frames per second, got {fps}")
    if method not in ("slerp", "nearest"):
        raise ValueError(f"method: got {method!r}, legal are 'slerp' and 'nearest'")
    step = motion.fps / fps
    if abs(step - round(step)) < 1e-3 and round(step) >= 1:
        return take_frames(motion, slice(None, None, round(step)))._replace(fps=fps)
    last = len(motion.body_pose) - 1
    at = np.arange(int(np.floor(last / step + 1e-6)) + 1) * step
    if method == "nearest":
        return take_frames(motion, np.minimum(np.rint(at).astype(int), last))._replace(fps=fps)
    before = np.minimum(at.astype(int), last)
    after, share = np.minimum(before + 1, last), (at - before)[:, None]
    transl = (1 - share) * motion.transl[before] + share * motion.transl[after]
    return motion._replace(
        body_pose=_slerp(motion.body_pose[before], motion.body_pose[after], share[..., None]),
        global_orient=_slerp(motion.global_orient[before], motion.global_orient[after], share),
        transl=transl.astype(np.float32),
        fps=fps,
    )


def _other_skeleton(path: Path, asf: str | os.PathLike[str] | None, fps: float | None) -> Motion:
    from jaxpose.io.retarget import motion_from_amc, motion_from_bvh  # which import Motion

    if path.suffix.lower() == ".bvh":
        return motion_from_bvh(path)
    skeleton = asf_beside(path) if asf is None else asf
    return motion_from_amc(path, skeleton) if fps is None else motion_from_amc(path, skeleton, fps=fps)


def _load(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """One array alone, or those of AMASS's that are read; other members of the file stay closed."""
    arrays = load_arrays(path)
    if "poses" in arrays or "pose_body" in arrays:
        twice = "poses" if "pose_body" in arrays else ""  # SMPL-X files hold both: the short one is enough
        return {key: arrays[key] for key in _KEYS if key in arrays and key != twice}
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise ValueError(f"{path}: holds {', '.join(arrays)}; needed 'poses' or 'pose_body', or one array alone")


def _amass(z: dict[str, np.ndarray], fps: float | None, up: str | None, pelvis: Any) -> Motion:
    if "poses" in z:
        root, body, said = _split(z["poses"])
    else:
        root, body, said = _split(z["pose_body"])
        if "root_orient" in z:
            root = np.asarray(z["root_orient"], np.float32).reshape(-1, 3)
        if len(root) != len(body):
            raise ValueError(f"'root_orient' has {len(root)} frames, 'pose_body' {len(body)}; needed as many")
    notes = [said]
    rate = next((float(z[key]) for key in _RATES if key in z), fps)
    if rate is None:
        rate = _assume_fps(notes)
    up = _checked_up(str(z["up"]) if "up" in z else up or "z")
    transl, in_pelvis = _positions(z, len(body), pelvis)
    if not in_pelvis:
        notes.append("positions are those of the model's origin, not of the pelvis")
    if up == "z":
        root, transl = _y_up(root, transl)
        notes.append("turned from z up to y up")
    betas = np.asarray(z["betas"], np.float32).reshape(-1) if "betas" in z else None
    return Motion(body, root, transl, rate, betas, "; ".join(notes))


def _positions(z: dict[str, np.ndarray], num: int, pelvis: Any) -> tuple[np.ndarray, bool]:
    """Positions [F, 3], and whether they are the pelvis'."""
    key = next((key for key in ("transl", "trans") if key in z), None)
    if key is None:
        return np.zeros((num, 3), np.float32), True
    value = np.asarray(z[key], np.float32)
    if value.shape != (num, 3):
        raise ValueError(f"{key!r} is of shape {value.shape}; needed {(num, 3)}, as many as poses")
    if key == "transl" or pelvis is None:
        return value, key == "transl"
    return value + np.asarray(pelvis, np.float32).reshape(3), True


def _plain(array: np.ndarray, fps: float | None, up: str | None) -> Motion:
    root, body, said = _split(array)
    notes = [said]
    rate = _assume_fps(notes) if fps is None else fps
    if _checked_up(up or "y") == "z":
        root, _ = _y_up(root, np.zeros_like(root))
        notes.append("turned from z up to y up")
    return Motion(body, root, np.zeros_like(root), rate, None, "; ".join(notes))


def _checked_up(up: str) -> str:
    if up not in ("y", "z"):
        raise ValueError(f"up: got {up!r}, legal are 'y' and 'z'")
    return up


def _assume_fps(notes: list[str]) -> float:
    notes.append(f"assumed {ASSUMED_FPS:g} frames per second, the file does not say")
    return ASSUMED_FPS


def _split(array: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Root [F, 3] and body [F, 21, 3] of an array [F, width], [F, joints, 3] or [width], and what it was taken for."""
    shape = array.shape
    if array.ndim == 3 and shape[-1] == 3:
        array = array.reshape(len(array), -1)
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[1] not in WIDTHS or array.dtype.kind not in "fiu":
        legal = "; ".join(f"{width} ({said})" for width, (said, _) in WIDTHS.items())
        raise ValueError(f"an array of {array.dtype} {shape}; legal are numbers [F, width] with width {legal}")
    said, has_root = WIDTHS[array.shape[1]]
    values = array.astype(np.float32)
    root = values[:, :3] if has_root else np.zeros((len(values), 3), np.float32)
    body = values[:, 3 * has_root :][:, :63].reshape(-1, 21, 3)
    return root, body, f"rotations of {said}" + ("" if has_root else "; no root, so upright")


def _y_up(root: np.ndarray, transl: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A quarter turn about x: z up to y up."""
    quarter = np.array([1.0, -1.0, 0.0, 0.0]) / np.sqrt(2)
    turned = _vector(_product(quarter, _quaternion(root)))
    return turned.astype(np.float32), np.stack([transl[:, 0], transl[:, 2], -transl[:, 1]], axis=-1)


def _slerp(start: np.ndarray, end: np.ndarray, share: np.ndarray) -> np.ndarray:
    first = _quaternion(start)
    step = _vector(_product(first * (1, -1, -1, -1), _quaternion(end)))
    return _vector(_product(first, _quaternion(share * step))).astype(np.float32)


# Quaternions wxyz in numpy and float64: JAX would compile anew for every number of frames.
def _quaternion(vector: np.ndarray) -> np.ndarray:
    vector = np.asarray(vector, np.float64)
    half = np.linalg.norm(vector, axis=-1, keepdims=True) / 2
    return np.concatenate([np.cos(half), np.sinc(half / np.pi) / 2 * vector], axis=-1)


def _product(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    (a, u), (b, v) = (p[..., :1], p[..., 1:]), (q[..., :1], q[..., 1:])
    real = a * b - (u * v).sum(-1, keepdims=True)
    return np.concatenate([real, a * v + b * u + np.cross(u, v)], axis=-1)


def _vector(q: np.ndarray) -> np.ndarray:
    """The rotation vector of at most half a turn."""
    q = np.where(q[..., :1] < 0, -q, q)
    sine = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    return q[..., 1:] * np.where(sine > 1e-12, 2 * np.arctan2(sine, q[..., :1]) / np.maximum(sine, 1e-12), 2.0)
