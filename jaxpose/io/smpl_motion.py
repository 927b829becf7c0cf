"""Motion of one SMPL-style body: the type, its checks, resampling and file.

World frame y up; a Motion has the position of the pelvis joint, not of the body model's origin.
"""

from typing import NamedTuple

import numpy as np

from jaxpose.files import FilePath, write_npz
from jaxpose.geometry.axes import turn
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.geometry.windows import between
from jaxpose.io.arrays import as_rate
from jaxpose.io.take import Take, rotation_matrices, rotation_vectors, world


class Motion(NamedTuple):
    """One person's motion; world frame y up (plain arrays are not turned).

    body_pose: [F, 21, 3] float32 axis-angle radians, local, SMPL's order. global_orient: [F, 3] of the root.
    transl: [F, 3] metres, position of the pelvis joint (io/motion.py; zeros where the source has none).
    fps: frames per second. betas: [B] shape coefficients, or None. source: what was read and assumed, in words.
    """

    body_pose: np.ndarray
    global_orient: np.ndarray
    transl: np.ndarray
    fps: float
    betas: np.ndarray | None = None
    source: str = ""


def bones_of(rest: np.ndarray) -> np.ndarray:
    """Bones [22, 3] from each joint's parent of a skeleton that rests at [22, 3]; the root's is 0."""
    return np.asarray(rest[:22], np.float64) - np.asarray(rest, np.float64)[np.maximum(SMPL_22.parents, 0)]


def posed(bones: np.ndarray, vectors: np.ndarray, pelvis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joints [F, 22, 3] and world rotations [F, 22, 3, 3] of a skeleton with bones [22, 3] from each joint's parent.

    vectors: [F, 22, 3] rad, the root's first; pelvis: [F, 3], its position.
    """
    places = np.repeat(bones[None], len(pelvis), 0)
    places[:, 0] = pelvis
    return world(Take(SMPL_22.joints, SMPL_22.parents, bones, rotation_matrices(vectors), places, 1.0))


def check_motion(motion: Motion, name: FilePath, *, gaps: bool = False, max_turns: int = 1) -> Motion:
    """The motion itself; ValueError, opening with `name`, for faults.

    Faults are: no frames, a frame rate that is not positive, NaN unless `gaps` may be there, and rotations by more than
    `max_turns`. Files of AMASS exceed one turn slightly (6.9 rad; spec/dposer.md 3), angles in degrees exceed two.
    """
    if not len(motion.body_pose):
        raise ValueError(f"{name}: holds no frames; needed at least one")
    as_rate(name, "the frame rate", motion.fps)
    if motion.betas is not None and not np.isfinite(motion.betas).all():
        raise ValueError(f"{name}: betas hold NaN or infinity; needed finite numbers")
    arrays = (motion.body_pose, motion.global_orient, motion.transl)
    whole = np.all([np.isfinite(a).reshape(len(a), -1).all(1) for a in arrays], axis=0)
    if not whole.all() and not gaps:
        frames = np.flatnonzero(~whole)
        fault = f"{len(frames)} frames hold NaN or infinity, the first {frames[0]}"
        raise ValueError(f"{name}: {fault}; needed finite numbers: correct or leave out such frames")
    rotations = np.concatenate([motion.global_orient[:, None], motion.body_pose], axis=1)
    angle = np.nan_to_num(np.linalg.norm(rotations, axis=-1))
    max_angle = 2 * np.pi * max_turns
    if angle.max() > max_angle + 1e-4:  # rounding in a file
        frame, joint = np.unravel_index(angle.argmax(), angle.shape)
        fault = f"frame {frame}, joint {SMPL_22.joints[joint]!r}: a rotation by {angle[frame, joint]:.1f} rad"
        raise ValueError(f"{name}: {fault}; must be at most {max_angle:.4g}: are these degrees?")
    return motion


def save_motion(path: FilePath, motion: Motion) -> None:
    """Write a motion as .npz with AMASS's names, but the pelvis' position as `transl`, and `up` "y"."""
    floats = {"pose_body": motion.body_pose.reshape(-1, 63), "root_orient": motion.global_orient}
    arrays = {k: np.asarray(value, np.float32) for k, value in (floats | {"transl": motion.transl}).items()}
    arrays |= {"mocap_frame_rate": np.array(motion.fps), "up": np.array("y"), "source": np.array(motion.source)}
    write_npz(path, arrays | ({} if motion.betas is None else {"betas": np.asarray(motion.betas, np.float32)}))


def save_amass(path: FilePath, motion: Motion, pelvis: np.ndarray, *, shape: bool = True) -> None:
    """Write a motion as AMASS's `*_poses.npz` of SMPL-H: z up, `trans` of the model's origin, hands flat.

    pelvis: [3] metres, J_0 of the body at rest. shape: the betas are SMPL's; else they are written as 0.
    """
    A, num = turn("y", "z"), len(motion.transl)
    root = rotation_vectors(A @ rotation_matrices(motion.global_orient))
    poses = np.concatenate([root, motion.body_pose.reshape(num, 63), np.zeros((num, 90))], 1)
    betas = np.zeros(16)
    if shape and motion.betas is not None:
        betas[: len(motion.betas)] = motion.betas[:16]
    floats = {"poses": poses, "trans": motion.transl @ A.T - pelvis, "betas": betas, "dmpls": np.zeros((num, 8))}
    rates = dict.fromkeys(("mocap_frame_rate", "mocap_framerate"), np.array(float(motion.fps)))  # both releases' names
    write_npz(path, {"gender": np.array("neutral"), **rates, **{k: np.asarray(v, float) for k, v in floats.items()}})


def take_frames(motion: Motion, frames: np.ndarray | slice) -> Motion:
    """The motion of some frames, in the given order; the frame rate is unchanged."""
    return motion._replace(
        body_pose=motion.body_pose[frames], global_orient=motion.global_orient[frames], transl=motion.transl[frames]
    )


def resample(motion: Motion, fps: float) -> Motion:
    """The motion at `fps` frames per second, from its first frame on.

    Where the old rate is a multiple of the new one, every k-th frame is taken. Else rotations are interpolated
    spherically (slerp), with vectors of at most half a turn, and positions linearly.
    """
    step = motion.fps / as_rate("resample", "fps", fps)
    if abs(step - round(step)) < 1e-3 and round(step) >= 1:
        return take_frames(motion, slice(None, None, round(step)))._replace(fps=fps)
    last = len(motion.body_pose) - 1
    return motion_at(motion, np.arange(int(np.floor(last / step + 1e-6)) + 1) * step)._replace(fps=fps)


def motion_at(motion: Motion, at: np.ndarray) -> Motion:
    """The motion at frames `at` [G], between them interpolated: rotations spherically, positions linearly."""
    last = len(motion.body_pose) - 1
    before = np.minimum(at.astype(int), last)
    after, share = np.minimum(before + 1, last), (at - before)[:, None]
    return motion._replace(
        body_pose=_slerp(motion.body_pose[before], motion.body_pose[after], share[..., None]),
        global_orient=_slerp(motion.global_orient[before], motion.global_orient[after], share),
        transl=between(motion.transl, at).astype(np.float32),
    )


def _slerp(start: np.ndarray, end: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Rotation vectors [..., 3] between `start` and `end` along the shorter arc."""
    first = rotation_matrices(start)
    step = rotation_vectors(np.swapaxes(first, -1, -2) @ rotation_matrices(end))
    return rotation_vectors(first @ rotation_matrices(share * step)).astype(np.float32)
