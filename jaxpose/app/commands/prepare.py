"""`jaxpose export`, `jaxpose prepare gmm | body | amass | motion`: files for other programs, published files as ours.

The other conversions are functions of the library (`file_options.COMMANDS`).
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from jaxpose.app import export as exporting
from jaxpose.app.commands import blocks
from jaxpose.app.commands import file_options as kinds
from jaxpose.app.commands.values import refuse, refuse_for
from jaxpose.app.to_onnx import few_steps
from jaxpose.datasets.amass import prepare_amass
from jaxpose.geometry.skeleton import get_skeleton
from jaxpose.io.anny_body import anny_body
from jaxpose.io.arrays import Source
from jaxpose.io.body_files import save_body
from jaxpose.io.motion import read_motion, save_motion
from jaxpose.model import DEFAULT_MODEL, load
from jaxpose.originals.datasets.prepare_gmm import gmm_of_detections, gmm_of_heatmaps, gmm_of_keypoints
from jaxpose.tasks.samplers import sampler_of

# The source that is given -> what converts it; its arguments are the options that mean something to it.
_GMM: dict[str, Callable[..., Iterator[str]]] = {
    "detections": gmm_of_detections,
    "keypoints": gmm_of_keypoints,
    "heatmaps": gmm_of_heatmaps,
}
_MOTION = (".bvh", ".amc", ".npz", ".npy")
# Option -> the files that it means something to; others would be ignored in silence.
_MEANING = {"asf": (".amc",), "fps": _MOTION[1:], "joint_map": _MOTION[:2], "unit_m": _MOTION[:2]}


def export(options: kinds.Export) -> Iterator[str]:
    """Trace a task ahead of time and write it; lines about its inputs and outputs."""
    out = options.out
    yield from _export_onnx(options) if options.format == "onnx" else _export_jax(options)
    yield f"wrote {out}, {out.stat().st_size / 1e6:.1f} MB"


def _export_jax(options: kinds.Export) -> Iterator[str]:
    refuse(options, "means nothing to --format jax, whose keypoints are in the model's joint set", "skeleton")
    model, sampler = load(options.model or DEFAULT_MODEL), sampler_of(options.sampler, options.steps)
    where: dict[str, Any] = {"batch": options.batch, "platforms": options.platforms}
    program = exporting.export_task(model, options.task, num=options.num_hypotheses or 200, sampler=sampler, **where)
    exporting.write(options.out, program)
    header = program.header
    for side in ("inputs", "outputs"):
        for entry in header[side]:
            yield f"{side[:-1]}: {entry['name']} {entry['shape']}, {entry['unit']}"
    yield f"frame: {header['frame']}"
    yield f"{header['network_calls']} network calls; for {', '.join(header['platforms'])}"


def _export_onnx(options: kinds.Export) -> Iterator[str]:
    if options.task != "lift":
        raise ValueError(f"--task: --format onnx writes lift alone, got {options.task!r}")
    why = "means nothing to --format onnx; few-step models have their own sampler"
    refuse(options, why, "platforms", "steps", "sampler")
    model, skeleton = load(options.model or DEFAULT_MODEL), options.skeleton and get_skeleton(options.skeleton)
    num, batch = options.num_hypotheses or few_steps.HYPOTHESES, options.batch or 1
    blocks.check("--hypotheses", num * batch, num * batch)  # it is run, to be compared
    exported = few_steps.export_lift(model, num=num, batch=batch, skeleton=skeleton or model.skeleton)
    for side, sizes in (("input", exported.inputs), ("output", exported.outputs)):
        for name, size in sizes.items():
            yield f"{side}: {name} {list(size)}, {few_steps.UNITS[name]}"
    yield f"frame: {exported.metadata['frame']}"
    yield f"{model.spec.num_calls} network calls; weights: {exported.metadata['licence']}"
    worst, frames = few_steps.difference_mm(exported, model)
    yield f"largest difference to JAX: {worst:.4f} mm, {frames} frames of the bundled clip"
    few_steps.write(options.out, exported)


def body(options: kinds.PrepareBody) -> Iterator[str]:
    """Write the default body in the layout of SMPL's files; a line about its contents."""
    made = anny_body(options.kind)
    save_body(options.out, made)
    yield (
        f"wrote {options.out}: {made.kind}, {made.v_template.shape[0]} vertices, {len(made.faces)} faces, "
        f"{len(made.parents)} joints, {made.shapedirs.shape[-1]} betas"
    )


def amass(options: kinds.PrepareAmass) -> Iterator[str]:
    """Convert the subsets of one split; exit code 1 where a file was left out."""
    given: dict[str, Any] = {"subsets": options.subsets, "seed": options.seed, "published": options.published_selection}
    if options.published_selection:
        refuse(options, "means nothing to --published-selection, which draws frames at any rate", "fps")
    given |= {} if options.fps is None else {"fps": options.fps}
    left_out = yield from prepare_amass(options.root, options.split, options.out, **given)
    if left_out:
        yield f"{left_out} files were left out"
        raise SystemExit(1)


def gmm(options: kinds.PrepareGmm) -> Iterator[str]:
    """Convert the one source that was given to the mixtures of Gaussians that DiffPose starts from."""
    sources = [name for name in _GMM if getattr(options, name) is not None]
    if len(sources) != 1:
        raise ValueError(f"--detections, --keypoints, --heatmaps: needed one of them, got {len(sources)}")
    source = sources[0]
    legal = [*inspect.signature(_GMM[source]).parameters][2:]
    given = _given(options, {entry.name for entry in fields(options)} - {*_GMM, "out"})
    for name in given:
        if name not in legal:
            flags = ", ".join(f"--{flag.replace('_', '-')}" for flag in legal)
            raise ValueError(f"--{name}: means nothing to --{source}, which takes {flags}")
    if "skeleton" in given:
        given["skeleton"] = get_skeleton(given["skeleton"])
    return _GMM[source](getattr(options, source), options.out, **given)


def motion(options: kinds.PrepareMotion) -> Iterator[str]:
    """Convert BVH, ASF/AMC and AMASS files to .npz of SMPL's joint rotations; lines about what was assumed."""
    for path in options.files:
        if path.suffix.lower() not in _MOTION or not path.is_file():
            raise ValueError(f"{path}: needed a file that exists, of one of {', '.join(_MOTION)}")
    refuse_for(options, _MEANING, {path.suffix.lower() for path in options.files})
    names = _names(options.files)
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{twice[0]}: two files of this name would be written to one; convert them apart")
    given = _given(options, set(_MEANING))
    if "joint_map" in given:
        given["joint_map"] = read_joint_map(given["joint_map"])
    for path, name in zip(options.files, names, strict=True):
        suffix = path.suffix.lower()
        moved = read_motion(path, **{k: value for k, value in given.items() if suffix in _MEANING[k]})
        options.out.mkdir(parents=True, exist_ok=True)
        target = options.out / f"{name}.npz"
        save_motion(target, moved)
        yield f"{target}: {len(moved.body_pose)} frames at {moved.fps:.4g} per second; {moved.source}"


def _given(options: Any, names: set[str]) -> dict[str, Any]:
    values = {entry.name: getattr(options, entry.name) for entry in fields(options) if entry.name in names}
    return {name: values[name] for name in sorted(values) if values[name] is not None}


def _names(paths: tuple[Path, ...]) -> list[str]:
    """The stems of the files; where some are equal, with the format: walk_bvh, walk_amc."""
    stems = [path.stem for path in paths]
    return [f"{s}_{p.suffix[1:].lower()}" if stems.count(s) > 1 else s for s, p in zip(stems, paths, strict=True)]


def read_joint_map(path: Path) -> dict[str, str]:
    """Joint names of a JSON file, the skeleton's to SMPL's; ValueError names the file otherwise."""
    names = Source(path).json
    if not isinstance(names, dict) or not all(isinstance(value, str) for value in names.values()):
        raise ValueError(f"{path}: needed an object of joint names, the file's to SMPL's")
    return names
