"""`jaxpose prepare h36m | videopose3d | 3dhp | gmm | body | amass | fragments | motion`: published files as ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from jaxpose.commands import file_options as kinds

# Source -> the options that mean something to it; others would be ignored in silence.
_GMM = {
    "detections": ("components", "sigma", "image_size"),
    "keypoints": ("components", "sigma", "image_size", "skeleton", "format"),
    "heatmaps": ("components", "samples", "seed", "image_size", "skeleton", "missing"),
}
# Suffix -> likewise.
_MOTION = {
    ".bvh": ("unit_m", "joint_map"),
    ".amc": ("asf", "unit_m", "joint_map", "fps"),
    ".npz": ("fps",),
    ".npy": ("fps",),
}


def h36m(options: kinds.PrepareH36m) -> Iterator[str]:
    """Convert one split of the pickles that GFPose reads."""
    from jaxpose.datasets.h36m_pickle import prepare_pickles

    return prepare_pickles(options.poses, options.detections, options.split, options.out)


def videopose3d(options: kinds.PrepareVideopose3d) -> Iterator[str]:
    """Convert subjects of the archives that VideoPose3D reads."""
    from jaxpose.datasets.videopose3d import prepare_videopose3d

    return prepare_videopose3d(options.poses, options.detections, list(options.subjects), options.out)


def mpi3dhp(options: kinds.Prepare3dhp) -> Iterator[str]:
    """Convert one of the archives that P-STMO reads."""
    from jaxpose.datasets.mpi3dhp import prepare_3dhp

    return prepare_3dhp(options.poses, options.split, options.out)


def body(options: kinds.PrepareBody) -> Iterator[str]:
    """Write the licence-free body in the layout of SMPL's files, and say what is in it."""
    from jaxpose.io.body_files import save_body
    from jaxpose.io.capsule_body import capsule_body

    made = capsule_body(options.kind)
    save_body(options.out, made)
    yield (
        f"wrote {options.out}: {made.kind}, {made.v_template.shape[0]} vertices, {len(made.faces)} faces, "
        f"{len(made.parents)} joints, {made.shapedirs.shape[-1]} betas"
    )


def amass(options: kinds.PrepareAmass) -> Iterator[str]:
    """Convert the subsets of one split."""
    from jaxpose.datasets.amass import prepare_amass

    if options.published_selection and options.fps is not None:
        raise ValueError("--fps: means nothing to --published-selection, which draws frames at any rate")
    return prepare_amass(
        options.root,
        options.split,
        options.out,
        subsets=options.subsets,
        fps=30.0 if options.fps is None else options.fps,
        seed=options.seed,
        published=options.published_selection,
    )


def fragments(options: kinds.PrepareFragments) -> Iterator[str]:
    """Cut files of motion."""
    from jaxpose.datasets.fragments import prepare_fragments

    return prepare_fragments(list(options.files), options.out, length=options.length)


def gmm(options: kinds.PrepareGmm) -> Iterator[str]:
    """Convert the one source that was given to the mixtures of Gaussians that DiffPose starts from."""
    from jaxpose.datasets import prepare_gmm
    from jaxpose.geometry.skeleton import get_skeleton

    sources = [name for name in _GMM if getattr(options, name) is not None]
    if len(sources) != 1:
        raise ValueError(f"--detections, --keypoints, --heatmaps: needed one of them, got {len(sources)}")
    source = sources[0]
    given = _given(options, {name for names in _GMM.values() for name in names})
    for name in given:
        if name not in _GMM[source]:
            flags = ", ".join(f"--{flag.replace('_', '-')}" for flag in _GMM[source])
            raise ValueError(f"--{name}: means nothing to --{source}; legal are {flags}")
    if "skeleton" in given:
        given["skeleton"] = get_skeleton(given["skeleton"])
    convert: Any = {
        "detections": prepare_gmm.gmm_of_detections,
        "keypoints": prepare_gmm.gmm_of_keypoints,
        "heatmaps": prepare_gmm.gmm_of_heatmaps,
    }[source]
    return convert(getattr(options, source), options.out, **given)


def motion(options: kinds.PrepareMotion) -> Iterator[str]:
    """Convert BVH, ASF/AMC and AMASS files to .npz of SMPL's joint rotations, one for each; say what was assumed."""
    from jaxpose.io.motion import save_motion

    given = _given(options, {"asf", "unit_m", "joint_map", "fps"})
    _check_motion(options.files, given)
    if "joint_map" in given:
        given["joint_map"] = _joint_map(given["joint_map"])
    options.out.mkdir(parents=True, exist_ok=True)
    for path in options.files:
        found = _read_motion(path, given)
        target = options.out / f"{path.stem}.npz"
        save_motion(target, found)
        yield f"{target}: {len(found.body_pose)} frames at {found.fps:.4g} per second; {found.source}"


def _given(options: Any, names: set[str]) -> dict[str, Any]:
    """Options of these names that were given, in the order of their names."""
    values = {entry.name: getattr(options, entry.name) for entry in fields(options) if entry.name in names}
    return {name: values[name] for name in sorted(values) if values[name] is not None}


def _check_motion(paths: tuple[Path, ...], given: dict[str, Any]) -> None:
    """ValueError for a file or an option without meaning, before the work."""
    for path in paths:
        legal = _MOTION.get(path.suffix.lower())
        if legal is None or not path.is_file():
            raise ValueError(f"{path}: needed a file that exists, legal are {', '.join(_MOTION)}")
    for name in given:
        if not any(name in _MOTION[path.suffix.lower()] for path in paths):
            legal_for = ", ".join(suffix for suffix, names in _MOTION.items() if name in names)
            raise ValueError(f"--{name.replace('_', '-')}: means nothing to these files; it is for {legal_for}")
    stems = [path.stem for path in paths]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice}: two files of this name would be written to one; convert them apart")


def _joint_map(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: needed JSON, {error}") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError(f"{path}: needed an object of joint names, the file's to SMPL's")
    return found


def _read_motion(path: Path, given: dict[str, Any]) -> Any:
    from jaxpose.io.asf_amc import asf_beside
    from jaxpose.io.motion import read_motion
    from jaxpose.io.retarget import motion_from_amc, motion_from_bvh

    suffix = path.suffix.lower()
    own = {name: value for name, value in given.items() if name in _MOTION[suffix]}
    if suffix == ".bvh":
        return motion_from_bvh(path, **own)
    if suffix == ".amc":
        return motion_from_amc(path, own.pop("asf", None) or asf_beside(path), **own)
    return read_motion(path, **own)
