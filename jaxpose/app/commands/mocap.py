"""`jaxpose prepare mocap`: files of motion capture in, the folder that training reads out (datasets/prepare_mocap.py).

rotations    .bvh, .amc with .asf    joints of the file's own skeleton, rotations by io/retarget.py
             .npz, .npy of AMASS     joints of the body that --body names, else of a mean adult
positions    .c3d, .trc, .csv, .json, .npz, .npy of 3D joints   rotations by fitting/joint_angles.py; joints that the
                                     file lacks (spine, top of the head) are those of the fitted skeleton

Solving for rotations takes most of the time. Its results lie in a hidden folder beside the new one until that is
written, so that an interrupted command goes on where it was.
"""

import hashlib
import re
import shutil
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxpose.app.commands.file_options import PrepareMocap
from jaxpose.app.commands.models import rotation_moments
from jaxpose.app.commands.prepare import read_joint_map
from jaxpose.app.commands.values import refuse_for
from jaxpose.datasets.prepare_mocap import (
    Labels,
    Piece,
    Recorded,
    at_rate,
    limb_bends,
    limb_lines,
    measure_limbs,
    on_floor,
    pieces,
    split,
    write_mocap,
)
from jaxpose.files import write_npz
from jaxpose.fitting.joint_angles import points_of
from jaxpose.fitting.recorded import GENERIC_REST, recorded_positions
from jaxpose.geometry.body import Body
from jaxpose.geometry.skeleton import H36M_17, get_skeleton
from jaxpose.io import PartialMotion, Poses3D, kind_of
from jaxpose.io.arrays import load_arrays
from jaxpose.io.body_files import load_body
from jaxpose.io.motion import Motion, motion_files, read_motion
from jaxpose.io.poses3d import read_poses3d
from jaxpose.io.retarget import read_retargeted
from jaxpose.io.smpl_motion import check_motion
from jaxpose.originals.datasets.h36m import check_new, new_folder
from jaxpose.reading import reading

_ARRAYS, _TEXTS, _MARKERS = (".npz", ".npy"), (".csv", ".json"), (".c3d", ".trc")
SUFFIXES = (".bvh", ".amc", *_ARRAYS, *_MARKERS, *_TEXTS)
# Option -> the files that it means something to.
_MEANING = {"asf": (".amc",), "unit_m": (".bvh", ".amc"), "joint_map": (".bvh", ".amc"), "body": _ARRAYS}
_MEANING |= {"source_fps": (".amc", *_ARRAYS, *_TEXTS)}
_MEANING |= dict.fromkeys(("skeleton", "up", "unit"), (*_ARRAYS, *_TEXTS, *_MARKERS))
_SECONDS = 5.0  # between lines about the progress
# Asked for each file, and again for each person in it.
_Reading = Generator[str, None, list[tuple[int, Recorded]]]


def mocap(options: PrepareMocap) -> Iterator[str]:
    """Convert all files, name those that cannot be read, and write the folder; exit code 1 where one was left out."""
    check_new(options.out)
    pattern = None if options.pattern is None else _pattern(options.pattern)
    files = [(path, _labels(below, path, options, pattern)) for path, below in motion_files(options.sources, SUFFIXES)]
    refuse_for(options, _MEANING, {path.suffix.lower() for path, _ in files})
    _check_val(options.val or (), [labels for _, labels in files])
    body = None if options.body is None else load_body(options.body)
    joint_map = None if options.joint_map is None else read_joint_map(options.joint_map)
    done = list[Piece]()
    left_out, started, last_line = 0, time.monotonic(), time.monotonic()
    for index, (path, labels) in enumerate(files, 1):
        try:
            with reading(path, "file of motion"):
                people = yield from _read(path, options, body, joint_map)
                for person, recorded in people:
                    suffix = f"_person{person}" if len(people) > 1 else ""
                    own = labels._replace(name=labels.name + suffix, subject=labels.subject + suffix)
                    yield from _add(done, own, recorded, options, path)
        except ValueError as error:
            left_out += 1
            yield f"left out: {error}"
        if time.monotonic() - last_line > _SECONDS:
            last_line, spent = time.monotonic(), time.monotonic() - started
            yield f"read {index}/{len(files)} files, {spent * (len(files) - index) / index:.0f} s left"
    if not done:
        raise ValueError(f"none of {len(files)} files gave a sequence")
    splits, limbs = split(done, options.val or ()), measure_limbs(done, options.fps)
    yield from limb_lines(limbs, corrected=options.straight_limbs)
    with new_folder(options.out) as draft:
        write_mocap(draft, done, options.fps, splits, limb_bends(done, limbs) if options.straight_limbs else {})
    shutil.rmtree(_parts(options.out), ignore_errors=True)
    frames, subjects = sum(len(p.recorded.joints) for p in done), {p.labels.subject for p in done}
    yield (
        f"wrote {options.out}: {frames} frames, {frames / options.fps / 60:.1f} minutes, of {len(done)} sequences, "
        f"{len(subjects)} subjects; validation: {', '.join(splits['val']) or 'none, which --val names'}"
    )
    if left_out:
        yield f"{left_out} of {len(files)} files were left out"
        raise SystemExit(1)


def _add(
    done: list[Piece], labels: Labels, recorded: Recorded, options: PrepareMocap, path: Path
) -> Generator[str, None, None]:
    recorded, raised = on_floor(recorded, options.floor)
    whole, lost = pieces(labels, recorded, options.fastest)
    if not whole:
        raise ValueError(f"{path}: no 10 whole frames in a row at {options.fps:g} per second")
    done += whole
    notes = [recorded.motion.source, f"raised by {raised:.2f} m onto the floor" if raised else ""]
    notes.append(f"{lost} frames missing or broken, {len(whole)} pieces" if lost or len(whole) > 1 else "")
    kept = sum(len(piece.recorded.joints) for piece in whole)
    yield f"{labels.name}: {kept} frames, {labels.subject}, {labels.category}; {'; '.join(filter(None, notes))}"


def _labels(path: Path, whole: Path, options: PrepareMocap, pattern: re.Pattern[str] | None) -> Labels:
    """Labels by the folders below the one that was given: a/b/take.bvh is of subject a/b and category a."""
    folders = path.parts[:-1]
    subject, category = "/".join(folders) or whole.absolute().parent.name, folders[0] if len(folders) > 1 else "motion"
    if pattern is not None:
        match = pattern.search(path.as_posix())
        if match is None:
            raise ValueError(f"--pattern: {options.pattern!r} is not found in {path.as_posix()!r}")
        groups = match.groupdict()
        subject, category = groups.get("subject") or subject, groups.get("category") or category
    name = path.as_posix().removesuffix(path.suffix)
    return Labels(name, options.subject or subject, path.stem.replace("_", " "), options.category or category)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ValueError(f"--pattern: {text!r} is no regular expression ({error})") from None
    if not {"subject", "category"} & set(pattern.groupindex):
        raise ValueError(f"--pattern: {text!r} has neither group; needed (?P<subject>...) or (?P<category>...)")
    return pattern


def _check_val(val: tuple[str, ...], labels: list[Labels]) -> None:
    """Before the work; people of one file get their numbers later."""
    subjects = sorted({one.subject for one in labels})
    legal = {*subjects, *(one.name for one in labels)}
    for name in val:
        if name not in legal and re.sub(r"_person-?\d+$", "", name) not in legal:
            raise ValueError(f"--val: got {name!r}; must be one of the subjects {', '.join(subjects)}, or a take")


def _read(path: Path, o: PrepareMocap, body: Body | None, joint_map: dict[str, str] | None) -> _Reading:
    """People of a file, with their numbers, at the wanted rate; yields progress."""
    suffix = path.suffix.lower()
    if suffix in (".bvh", ".amc"):
        given: dict[str, Any] = {"asf": o.asf, "fps": o.source_fps, "unit_m": o.unit_m, "joint_map": joint_map}
        motion, joints = read_retargeted(path, **given)
        return [(0, at_rate(Recorded(check_motion(motion, path), joints, suffix[1:]), o.fps))]
    if kind_of(path, (PartialMotion, Poses3D)) is PartialMotion:
        return [(0, _smpl(path, o, body))]
    poses = read_poses3d(path, skeleton=None if o.skeleton is None else get_skeleton(o.skeleton), up=o.up, unit=o.unit)
    result = []
    for person in sorted(set(poses.person.tolist())):
        part = _part(path, o, person)
        if not part.is_file():
            rates: dict[str, Any] = {"source_fps": o.source_fps, "seconds": _SECONDS}
            recorded = yield from recorded_positions(path, poses, person, o.fps, rotation_moments(), **rates)
            _keep(part, recorded)
        result.append((person, _kept(part)))
    return result


def _part(path: Path, o: PrepareMocap, person: int) -> Path:
    """The file that keeps a solved motion, named by the source as it is now and the options that change it."""
    now = path.stat()
    file = str(path.absolute()), now.st_mtime_ns, now.st_size, person
    made_of = repr((*file, o.skeleton, o.up, o.unit, o.source_fps, o.fps))
    return _parts(o.out) / f"{hashlib.sha256(made_of.encode()).hexdigest()[:32]}.npz"


def _smpl(path: Path, o: PrepareMocap, body: Body | None) -> Recorded:
    up: Any = o.up
    motion, rest = read_motion(path, fps=o.source_fps, up=up), GENERIC_REST
    if body is not None:
        betas = None if motion.betas is None else jnp.asarray(motion.betas)
        rest = np.asarray(body.shape(betas).joints)[:22]
        motion = read_motion(path, fps=o.source_fps, up=up, pelvis=rest[0])
    joints = points_of(rest - rest[0], motion.body_pose, motion.global_orient, motion.transl, H36M_17.joints)
    own_shape = body is not None and motion.betas is not None
    return at_rate(Recorded(motion, joints.astype(np.float32), "smpl", own_shape), o.fps)


def _parts(out: Path) -> Path:
    return out.absolute().with_name(f".{out.name}.parts")


def _keep(part: Path, recorded: Recorded) -> None:
    part.parent.mkdir(parents=True, exist_ok=True)
    motion = recorded.motion
    others = {"source": np.array(motion.source), "fps": np.array(motion.fps)}
    write_npz(part, {"joints": recorded.joints, **{k: getattr(motion, k) for k in _SHAPES}, **others})


def _kept(part: Path) -> Recorded:
    z = load_arrays(part, "joints", *_SHAPES, "fps", "source")
    motion = Motion(**{k: z[k] for k in _SHAPES}, fps=float(z["fps"]), source=str(z["source"]))
    return Recorded(motion, z["joints"], "positions")


_SHAPES = {"body_pose": (21, 3), "global_orient": (3,), "transl": (3,)}
