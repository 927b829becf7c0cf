"""`jaxpose prepare motion`: BVH, ASF/AMC and AMASS files as .npz of SMPL's joint rotations, one for each file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxpose.commands import arguments

# Suffix -> the flags that mean something to it; others would be ignored in silence.
_FLAGS = {
    ".bvh": ("unit_m", "joint_map"),
    ".amc": ("asf", "unit_m", "joint_map", "fps"),
    ".npz": ("fps",),
    ".npy": ("fps",),
}


def add_parser(kinds: arguments.Subparsers) -> None:
    """Add the kind `motion` to the parser of `jaxpose prepare`."""
    motion = kinds.add_parser("motion", help="BVH, ASF/AMC or AMASS files as SMPL's joint rotations (.npz)")
    motion.add_argument("files", nargs="+", metavar="FILE", help=".bvh, .amc, .npz or .npy")
    motion.add_argument("--out", required=True, metavar="FOLDER", help="the folder to write to; made where absent")
    motion.add_argument("--asf", metavar="FILE", help="the skeleton of .amc files (the .asf beside each)")
    motion.add_argument(
        "--unit-m", type=float, metavar="M", help="metres of one unit of length of .bvh and .amc (from the legs)"
    )
    motion.add_argument(
        "--fps", type=float, metavar="N", help="frames per second of files that do not say (.amc 120, others 30)"
    )
    motion.add_argument(
        "--joint-map", metavar="JSON", help='for other skeletons: {"LeftLeg": "left_knee", ...}, theirs to SMPL\'s'
    )
    motion.set_defaults(run=run)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Convert each file, and say what was assumed."""
    from jaxpose.io.motion import save_motion

    paths = [Path(file) for file in args.files]
    given = {name: getattr(args, name) for name in ("asf", "unit_m", "joint_map", "fps")}
    given = {name: value for name, value in given.items() if value is not None}
    _check(paths, given)
    if "joint_map" in given:
        given["joint_map"] = _joint_map(given["joint_map"])
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for path in paths:
        motion = _read(path, given)
        target = out / f"{path.stem}.npz"
        save_motion(target, motion)
        yield f"{target}: {len(motion.body_pose)} frames at {motion.fps:.4g} per second; {motion.source}"


def _check(paths: list[Path], given: dict[str, Any]) -> None:
    """Told before the work, not after."""
    for path in paths:
        legal = _FLAGS.get(path.suffix.lower())
        if legal is None or not path.is_file():
            raise ValueError(f"{path}: needed a file that exists, legal are {', '.join(_FLAGS)}")
    for name in given:
        if not any(name in _FLAGS[path.suffix.lower()] for path in paths):
            legal_for = ", ".join(suffix for suffix, flags in _FLAGS.items() if name in flags)
            raise ValueError(f"--{name.replace('_', '-')}: means nothing to these files; it is for {legal_for}")
    stems = [path.stem for path in paths]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice}: two files of this name would be written to one; convert them apart")


def _joint_map(path: str) -> dict[str, str]:
    try:
        found = json.loads(Path(path).read_text())
    except ValueError as error:
        raise ValueError(f"{path}: needed JSON, {error}") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError(f"{path}: needed an object of joint names, the file's to SMPL's")
    return found


def _read(path: Path, given: dict[str, Any]) -> Any:
    from jaxpose.io.asf_amc import asf_beside
    from jaxpose.io.motion import read_motion
    from jaxpose.io.retarget import motion_from_amc, motion_from_bvh

    own = {name: value for name, value in given.items() if name in _FLAGS[path.suffix.lower()]}
    match path.suffix.lower():
        case ".bvh":
            return motion_from_bvh(path, **own)
        case ".amc":
            asf = own.pop("asf", None) or asf_beside(path)
            return motion_from_amc(path, asf, **own)
        case _:
            return read_motion(path, **own)
