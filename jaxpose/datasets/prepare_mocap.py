"""Motion capture of the user as files that training reads (`jaxpose prepare mocap`); mocap.py reads them.

Written: <out>/mocap/mocap.npz with the fields of shared/data/mocap (its README), and splits.json:

    joints17 [N, 17, 3], transl [N, 3] int16 times pos_scale (0.0005 m); body_pose [N, 63], global_orient [N, 3] int16
    times rot_scale (0.0001 rad); fps; seq_start, seq_length, seq_name, seq_subject, seq_action, seq_category,
    seq_source, seq_skeleton, seq_feet_neutral [S]; with corrected limbs seq_knee_bend, seq_elbow_bend [S] degrees

World: y up, metres, the floor at y = 0; the first frame of a sequence is over x = z = 0. A take is cut into
sequences `name#k` where frames are missing or broken: where a joint moves faster than 15 m/s, and where a person goes
farther from the start than the integers reach.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxpose.datasets.straight import ELBOW, KNEE, bends, lowest_tenth, median_of
from jaxpose.files import write_json, write_npz
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.geometry.windows import between
from jaxpose.io.smpl_motion import Motion, resample, take_frames
from jaxpose.io.take import rotation_matrices, rotation_vectors

FILE = "mocap"
POS_SCALE, ROT_SCALE = 0.0005, 0.0001  # metres, radians
_REACH = 32767 * POS_SCALE
FASTEST = 15.0  # metres per second: of the shared data no joint exceeds 14 (salsa, karate); broken tracking jumps
_SHORTEST = 10  # frames of a sequence
_ANKLE = 0.08  # metres above the floor, of an adult: shared/data/README.md
_STANDS = 5  # percentile of the lower ankle's height at which it stands on the floor
_FLOOR_WITHIN = 0.25  # metres: a file whose feet come so near to y = 0 has its floor there
_ANKLES = [H36M_17.joints.index(f"{side}_ankle") for side in ("left", "right")]


class Recorded(NamedTuple):
    """A person's take: `motion`, and joints [F, 17, 3] metres (H36M_17), y up, NaN where a frame is missing.

    source: kind of file. own_bones: the joints have the person's own bone lengths, not those of a mean adult.
    """

    motion: Motion
    joints: np.ndarray
    source: str
    own_bones: bool = True


class Labels(NamedTuple):
    """Labels of a take: name, subject, action, and the coarse class by which training balances."""

    name: str
    subject: str
    action: str
    category: str


class Piece(NamedTuple):
    """A sequence of whole frames."""

    labels: Labels
    recorded: Recorded


def at_rate(recorded: Recorded, fps: float) -> Recorded:
    """The take at `fps`: every k-th frame where that is possible, else interpolated; between a missing frame and the
    next, frames are missing."""
    motion = resample(recorded.motion, fps)
    at = np.minimum(np.arange(len(motion.body_pose)) * recorded.motion.fps / fps, len(recorded.joints) - 1)
    at = np.where(abs(at - at.round()) < 1e-3, at.round(), at)
    return recorded._replace(motion=motion, joints=between(recorded.joints, at))


def on_floor(recorded: Recorded, floor: str) -> tuple[Recorded, float]:
    """The take with its floor at y = 0, and the metres by which it was raised.

    floor: "file", as it is; "feet", where the lower ankle stands; "auto": at the feet where bones are a mean adult's,
    or feet and y = 0 are more than 0.25 m apart.
    """
    low = np.nanpercentile(recorded.joints[:, _ANKLES, 1].min(-1), _STANDS) - _ANKLE
    if floor == "file" or (floor == "auto" and recorded.own_bones and abs(low) <= _FLOOR_WITHIN):
        return recorded, 0.0
    lift = np.array([0, -low, 0], np.float32)
    motion = recorded.motion._replace(transl=recorded.motion.transl + lift)
    return recorded._replace(motion=motion, joints=recorded.joints + lift), -float(low)


def pieces(labels: Labels, recorded: Recorded, fastest: float = FASTEST) -> tuple[list[Piece], int]:
    """The sequences of a take, and the number of frames in none of them; fastest: largest speed of a joint, m/s."""
    whole = np.isfinite(recorded.joints).all((1, 2))
    step = np.linalg.norm(np.diff(recorded.joints, axis=0), axis=-1).max(-1, initial=0) * recorded.motion.fps
    broken = np.append(True, ~(step <= fastest) | ~whole[1:] | ~whole[:-1])  # NaN is broken too
    cuts: list[tuple[int, int]] = []
    start = 0
    for f in range(1, len(whole) + 1):
        away = f < len(whole) and np.abs(recorded.joints[f] - recorded.joints[start, :1] * (1, 0, 1)).max() >= _REACH
        if f == len(whole) or broken[f] or away:
            if whole[start] and f - start >= _SHORTEST:
                cuts.append((start, f))
            start = f
    result = []
    for k, (first, end) in enumerate(cuts):
        origin = recorded.joints[first, 0] * (1, 0, 1)
        motion = take_frames(recorded.motion, slice(first, end))
        motion = motion._replace(transl=motion.transl - origin)
        piece = recorded._replace(motion=motion, joints=recorded.joints[first:end] - origin)
        name = labels.name if len(cuts) == 1 else f"{labels.name}#{k}"
        result.append(Piece(labels._replace(name=name), piece))
    return result, len(whole) - sum(end - first for first, end in cuts)


def measure_limbs(pieces: Sequence[Piece], fps: float) -> dict[str, dict[str, dict[str, float]]]:
    """Degrees by which each limb is bent where it is straight: source -> subject -> "knee", "elbow" (straight.py)."""
    joints: dict[str, dict[str, list[np.ndarray]]] = {}
    for piece in pieces:
        people = joints.setdefault(piece.recorded.source, {})
        people.setdefault(piece.labels.subject, []).append(piece.recorded.joints)
    return {of: {who: lowest_tenth(x, fps) for who, x in people.items()} for of, people in joints.items()}


def limb_lines(measures: Mapping[str, Mapping[str, Mapping[str, float]]], *, corrected: bool) -> Iterator[str]:
    """A line for each person, and one for each limb that the skeletons of a source bend."""

    def degrees(value: float) -> str:
        return f"{value:.0f} degrees" if np.isfinite(value) else "too few frames to say"

    for source, people in measures.items():
        for who, of in people.items():
            measured = f"of loaded knees {degrees(of['knee'])}, of elbows of hanging arms {degrees(of['elbow'])}"
            yield f"{who} ({source}): lowest tenth of the flexion {measured}"
        for limb in (KNEE, ELBOW):
            median = median_of({who: of[limb.name] for who, of in people.items()})
            if median > limb.most:
                done = "taken off" if corrected else "--straight-limbs takes it off"
                yield (
                    f"{source}: {limb.name}s of straight limbs are bent by {median:.0f} degrees, where joint centres "
                    f"give at most {limb.most:.0f}: {done}"
                )


def limb_bends(
    pieces: Sequence[Piece], measures: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> dict[str, np.ndarray]:
    """`seq_knee_bend` and `seq_elbow_bend` [S] of the sequences, degrees."""
    arrays = {}
    for limb in (KNEE, ELBOW):
        of = {source: {who: m[limb.name] for who, m in people.items()} for source, people in measures.items()}
        taken = {source: bends(people, limb) for source, people in of.items()}
        values = [taken[piece.recorded.source][piece.labels.subject] for piece in pieces]
        arrays[f"seq_{limb.name}_bend"] = np.array(values, np.float32)
    return arrays


def write_mocap(
    folder: Path,
    pieces: Sequence[Piece],
    fps: float,
    splits: Mapping[str, Sequence[str]],
    limbs: Mapping[str, np.ndarray] = {},
) -> None:
    """Write <folder>/mocap/mocap.npz and splits.json; limbs: of `limb_bends`, which loaders take off."""
    length = np.array([len(piece.recorded.joints) for piece in pieces], np.int32)
    frames: dict[str, list[np.ndarray]] = {"joints17": [], "body_pose": [], "global_orient": [], "transl": []}
    for piece in pieces:
        motion = piece.recorded.motion
        # vectors of at most half a turn, which the integers hold
        body, root = (rotation_vectors(rotation_matrices(v)) for v in (motion.body_pose, motion.global_orient))
        frames["joints17"].append(_integers(piece.recorded.joints, POS_SCALE))
        frames["body_pose"].append(_integers(body.reshape(-1, 63), ROT_SCALE))
        frames["global_orient"].append(_integers(root, ROT_SCALE))
        frames["transl"].append(_integers(motion.transl, POS_SCALE))
    arrays = {name: np.concatenate(parts) for name, parts in frames.items()}
    scalars = {"pos_scale": POS_SCALE, "rot_scale": ROT_SCALE, "fps": fps}
    arrays |= {name: np.array(value, np.float32) for name, value in scalars.items()}
    arrays |= {"seq_start": (np.cumsum(length) - length).astype(np.int32), "seq_length": length}
    arrays |= {f"seq_{key}": np.array([getattr(p.labels, key) for p in pieces]) for key in Labels._fields}
    arrays["seq_source"] = np.array([piece.recorded.source for piece in pieces])
    arrays["seq_skeleton"] = np.array(["subject" if piece.recorded.own_bones else "mean" for piece in pieces])
    arrays |= {"seq_feet_neutral": np.full(len(pieces), ""), **limbs}
    (folder / FILE).mkdir()
    write_npz(folder / FILE / f"{FILE}.npz", arrays, compress=True)
    write_json(folder / FILE / "splits.json", {**splits, "files": [FILE]})


def split(pieces: Sequence[Piece], val: Sequence[str]) -> dict[str, list[str]]:
    """Subjects and sequences of "train" and "val": `val` names subjects, or takes of subjects that train otherwise.

    ValueError for a name that nothing has, and where nothing is left to train on.
    """
    takes = [piece.labels.name.partition("#")[0] for piece in pieces]
    subjects = list(dict.fromkeys(piece.labels.subject for piece in pieces))
    if unknown := [name for name in val if name not in subjects and name not in takes]:
        raise ValueError(f"--val: got {unknown[0]!r}; must be subjects, {', '.join(subjects)}, or names of takes")
    held = {p.labels.name for p, take in zip(pieces, takes, strict=True) if take in val}
    train: list[str] = []
    for subject in (s for s in subjects if s not in val):
        names = [piece.labels.name for piece in pieces if piece.labels.subject == subject]
        train += [name for name in names if name not in held] if held & set(names) else [subject]
    if not train:
        raise ValueError(f"--val: {', '.join(val)} are all there is; needed something to train on")
    return {"train": train, "val": [s for s in subjects if s in val] + sorted(held)}


def _integers(values: np.ndarray, scale: float) -> np.ndarray:
    return np.clip(np.round(values / scale), -32767, 32767).astype(np.int16)
