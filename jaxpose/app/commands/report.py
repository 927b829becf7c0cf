"""The result of a command, and the one place where it becomes files.

NAME.npz         arrays; NAME.json: what was done
NAME.png, .html  pictures (`pictures.py`); of a denoising NAME_path.html
NAME_motion.npz  of bodies: the best one as a motion, y up, as `io.motion.read_motion` reads it

`exports.py` writes the files for other programs. Each file appears whole or not at all.
"""

import dataclasses
import functools
import glob
import json
from collections.abc import Callable, Generator, Iterator, Mapping
from importlib.metadata import version
from os.path import realpath
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from jaxpose.app.commands import exports, models, pictures
from jaxpose.app.commands.blocks import Spent
from jaxpose.app.commands.options import Score
from jaxpose.app.commands.pictures import Bodies, Picture
from jaxpose.app.commands.values import CalibrationFile, Output, Sampling, refuse
from jaxpose.base import ROW_AXIS
from jaxpose.files import ASSETS, as_json, write_json, write_npz
from jaxpose.geometry.axes import to_camera
from jaxpose.geometry.body import Body
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io import tracks
from jaxpose.io.smpl_motion import Motion, save_amass, save_motion
from jaxpose.io.track_files import write_tracks
from jaxpose.model import DEFAULT_MODEL, Model, describe
from jaxpose.tasks.samplers import sampler_of
from jaxpose.tasks.verdict import verdict_of

_WRITTEN = (".npz", ".json", ".bvh", ".glb", ".trc", ".c3d", ".csv", ".obj")
_FILES = (*_WRITTEN, ".png", ".html")
# Arrays whose contract allows NaN: for joints that are missing, hidden or not seen, and cameras that see nothing;
# for what is over time, at moments that have no others near.
_MAY_LACK = ("observed", "error", "error_px", "median", "interval_50", "interval_90")
_LONGEST = 150  # bytes of a result's name; a file adds a person, a take, a suffix and, as a draft, a number


class Outcome(NamedTuple):
    """The result of a command: `num` poses by a model in a time.

    arrays: of NAME.npz, None left out. summary: of NAME.json, beside what every command has there. shown: what is drawn
    and written for other programs; None: only the page that `page` makes, where there is one. doubts: about the poses
    (`tasks/verdict.py`), to which their typicality is added.
    """

    model: Model | None
    spent: Spent
    num: int
    arrays: dict[str, Any]
    summary: dict[str, Any]
    shown: Picture | Bodies | None = None
    page: Callable[[], Any] | None = None
    doubts: Mapping[str, np.ndarray] = MappingProxyType({})


Work = Callable[[Any, str], Generator[str, None, Outcome]]


def command(name: str, default: str = "{}") -> Callable[[Work], Callable[[Any], Iterator[str]]]:
    """Makes a command of a function of its options and the name of its result, which returns an `Outcome`.

    default: the name of the result, with the first source's name in the place of {}.
    """

    def wrap(work: Work) -> Callable[[Any], Iterator[str]]:
        @functools.wraps(work)
        def run(options: Any) -> Iterator[str]:
            given = getattr(options, "input", None)
            if given is not None:
                named = tuple(map(_bundled, given)) if isinstance(given, tuple) else _bundled(given)
                options = dataclasses.replace(options, input=named)
            for group in vars(options).values():
                if isinstance(group, CalibrationFile) and group.calibration is None:
                    refuse(group, "means nothing without --calibration", "calibration_unit")
            output, sources = getattr(options, "output", options), getattr(options, "input", ())
            sources = (options.first, options.second) if hasattr(options, "first") else sources
            sources = sources if isinstance(sources, tuple) else (sources,)
            names = (x.name if default == "{}" and x.is_dir() else x.stem for x in sources[:1])
            stem = _result(output, name, default.format(*names), *sources)
            made = yield from work(options, stem)
            summary = _record(name, sources, made, getattr(output, "seed", None)) | made.summary
            yield from _write(output, stem, made._replace(summary=summary))

        return run

    return wrap


def _bundled(path: Path) -> Path:
    """The path of an input, which may be the name of what comes with the package (walker, demo_clip)."""
    bundled = ASSETS / f"{path}.npz"
    return bundled if path.name == str(path) and not path.exists() and bundled.is_file() else path


def _result(output: Output | Score, command: str, default: str, *sources: Path) -> str:
    """The name of a result's files: --name, else `default`.

    ValueError where it is no name of files, and where files of this name in --out are folders, a source or another
    result: of another command, or of other sources.
    """
    out, name = output.out, output.name or default
    if Path(name).name != name or name == "..":
        raise ValueError(f"--name: got {name!r}; needed a name of files, without a folder")
    if not name.isprintable() or len(name.encode()) > _LONGEST:
        got = "--name: got" if output.name else "--name: needed here, since the input's name cannot be the result's:"
        raise ValueError(f"{got} {name[:50]!r}; a name is printable characters, at most {_LONGEST} bytes of them")
    if taken := [path for path in out.glob(f"{glob.escape(name)}*") if not path.is_file() and path.suffix in _FILES]:
        raise ValueError(f"--out: {taken[0]} is no file, and would be in the way; needed another --out or --name")
    if any(realpath(out / f"{name}{suffix}") == realpath(path) for path in sources for suffix in _WRITTEN):
        raise ValueError(f"--out: {name} in {out} is an input and would be overwritten; needed another --out or --name")
    before = _command_of(out / f"{name}.json")
    if before not in (None, (command, _paths(sources))):
        was = " ".join((before[0], *before[1]))
        raise ValueError(f"--out: {out / name}.json is the result of `{was}`; needed another --out or --name")
    return name


def _paths(sources: tuple[Path, ...]) -> tuple[str, ...]:
    return tuple(str(path.absolute()) for path in sources)


def _command_of(summary: Path) -> tuple[str, tuple[str, ...]] | None:
    """The command and sources of an earlier result; None where there is none."""
    try:
        earlier = json.loads(summary.read_text(encoding="utf-8"))
        sources = earlier.get("input", [])
        return str(earlier["command"]), (sources,) if isinstance(sources, str) else tuple(map(str, sources))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _record(command: str, sources: tuple[Path, ...], made: Outcome, seed: int | None) -> dict[str, Any]:
    """The entries of every summary: input, model, seed, version and speed."""
    about, paths = made.model and describe(made.model), _paths(sources)
    entries: dict[str, Any] = {"command": command, "model": about, "jaxpose": version("jaxpose")}
    entries |= {"input": paths[0] if len(paths) == 1 else paths} if paths else {}
    entries |= {} if seed is None else {"seed": seed}
    speed = {"compile_seconds": round(made.spent.compiling, 3), "poses_per_second": round(made.spent.rate(made.num), 1)}
    return {**entries, "seconds": round(made.spent.seconds, 3), **speed}


def sampled(model: Model, sampling: Sampling) -> dict[str, Any]:
    """Entries of a summary about the sampler that the flags name."""
    sampler = sampler_of(sampling.sampler, sampling.steps)
    return {"network_calls": sampler.network_calls(model), "sampler": sampler.name}


def axes(joints: tuple[str, ...], up: str, tag: str) -> dict[str, Any]:
    """Arrays about the coordinates: names of joints, axes, unit."""
    return {"joints": joints, "up": up, "unit": "m", "frame_tag": tag}


def spread_mm(covariance: np.ndarray, skeleton: Skeleton) -> dict[str, float]:
    """The root of the trace of each joint's covariance [N, J, 3, 3], averaged over N; millimetres."""
    spread = 1000 * np.sqrt(np.trace(covariance.astype(np.float64), axis1=-2, axis2=-1))
    return dict(zip(skeleton.joints, spread.mean(0).round(1).tolist(), strict=True))


def rounded(values: np.ndarray, digits: int) -> list[float | None]:
    """Numbers for a summary; None, which JSON has, instead of NaN."""
    return [round(float(x), digits) if np.isfinite(x) else None for x in values]


def _write(output: Output | Score, name: str, made: Outcome) -> Iterator[str]:
    """Write the numbers, how typical the poses are among them, then what the flags ask for."""
    out, arrays, summary, shown = output.out, made.arrays, made.summary, made.shown
    _check_finite(arrays)
    if shown is None or isinstance(output, Score):
        yield from write_numbers(out, name, arrays, summary)
        if made.page is not None:
            yield f"wrote {made.page().write(out / f'{name}.html')}"
        return
    arrays, summary, verdict = _judged(made)
    moving, wanted = None, output.exports
    if exports.formats(wanted):
        moving = yield from _moving(output, arrays, shown)
        summary = summary | {"exports": moving[0].said}
    if isinstance(shown, Bodies):
        yield from write_numbers(out, name, arrays, summary | {"body": str(wanted.body or "anny")})
        motion = _motion(shown)
        save_motion(out / f"{name}_motion.npz", motion)
        yield f"wrote {out / name}_motion.npz"
        if wanted.amass:  # the numbers of a shape are AMASS's where it is SMPL's
            rest = np.asarray(shown.body.shape(motion.betas).joints)[0]  # type: ignore[arg-type]  # arrays of numpy
            save_amass(out / f"{name}_amass.npz", motion, rest, shape=wanted.body is not None)
            more = "" if wanted.body else "; betas are 0, as the body is not SMPL's (--body FILE)"
            yield f"wrote {out / name}_amass.npz{more}"
    else:
        yield from write_numbers(out, name, arrays, summary)
    if moving is not None:
        yield from exports.lines(moving[0])
        for path in write_tracks(exports.formats(wanted), out, name, *moving):
            yield f"wrote {path}"
    if isinstance(shown, Bodies):
        yield from pictures.draw_bodies(output, name, shown)
    else:
        note = f"{verdict}; {shown.note}" if verdict else shown.note
        yield from pictures.draw_joints(output, name, arrays, shown._replace(note=note))
    if verdict:
        yield f"verdict: {verdict}"


def _judged(made: Outcome) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Arrays and summary with the typicality of the poses and the verdict, and the verdict in words, "" without one.

    The one pose of each row is judged: that of --aggregate, else the mean of the hypotheses, else the pose itself.
    Poses of any model are judged by one network of known score, `pose17` for its 17 joints, in the axes of a level
    camera, and `prior21` for rotations of bodies.
    """
    arrays, shown = made.arrays, made.shown
    if isinstance(shown, Bodies):
        judge, pose = models.bundled(models.DEFAULT_PRIOR), arrays.get("mean", shown.body_pose[0])
    else:
        judge, pose = models.bundled(DEFAULT_MODEL), next(arrays[n] for n in ("pose", "mean", "samples") if n in arrays)
        pose = to_camera(np.asarray(pose), str(arrays["up"]))
    added, about_typicality, _ = models.judged(judge, pose, arrays)
    doubts = dict(made.doubts)
    doubts |= {"typicality": added["out_of_distribution"]} if added else {}
    arrays, summary = arrays | added, made.summary | about_typicality
    if not doubts:
        return arrays, summary, ""
    judgement = verdict_of(doubts)
    counts = {name: int(rows.sum()) for name, rows in judgement.doubts.items()}
    about = {"verdict": judgement.verdict, "reliable": judgement.reliable, "poses_in_doubt": counts}
    return arrays | {"doubtful": judgement.doubtful}, summary | {"verdict": about}, judgement.verdict


def _moving(
    output: Output, arrays: dict[str, Any], shown: Picture | Bodies
) -> Generator[str, None, tuple[tracks.Clip, Body]]:
    wanted, takes = output.exports, output.exports.takes or 0
    if isinstance(shown, Bodies):
        poses = (shown.body_pose, shown.global_orient, shown.pelvis)
        still = shown.fps is None and "fps" not in arrays
        shape: dict[str, Any] = {"betas": shown.betas, "rests": shown.rest, "still": still}
        return tracks.of_bodies(shown.body, *poses, arrays, takes, **shape), shown.body
    clip, body = tracks.of_joints(arrays, takes, output.seed), models.load_body(wanted.body)
    return ((yield from exports.with_rotations(clip, body)) if wanted.bvh or wanted.glb else clip), body


def _motion(shown: Bodies) -> Motion:
    """The best body; with its shape where it is one for all frames."""
    betas = None if shown.betas is None else np.asarray(shown.betas)
    shape = betas if betas is None or betas.ndim == 1 else betas[0] if (betas == betas[0]).all() else None
    still = (shown.body_pose[0], shown.global_orient[0], shown.pelvis[0])
    return Motion(*still, shown.fps or 30.0, shape, shown.source)


def write_numbers(out: Path, name: str, arrays: dict[str, Any], summary: dict[str, Any]) -> Iterator[str]:
    """Write NAME.npz, of arrays that are not None, and NAME.json, into a folder that is made where absent."""
    arrays = {key: np.asarray(value) for key, value in arrays.items() if value is not None}
    _check_finite(arrays)
    as_json(summary, out / f"{name}.json")
    out.mkdir(parents=True, exist_ok=True)
    write_npz(out / f"{name}.npz", arrays)
    yield f"wrote {out / name}.npz"
    write_json(out / f"{name}.json", summary)
    yield f"wrote {out / name}.json"


def _check_finite(arrays: dict[str, Any]) -> None:
    """ValueError naming the first array of a result with NaN or infinity that is not one of `_MAY_LACK`, and where."""
    frame, person = arrays.get("frame"), arrays.get("person")
    num = -1 if frame is None else len(frame)
    for name, value in arrays.items():
        value = np.asarray(value)
        if value.dtype.kind not in "fc":
            continue
        bad = np.isinf(value) if name in _MAY_LACK else ~np.isfinite(value)
        if not bad.any():
            continue
        axis = next((a for a in (ROW_AXIS.get(name, 0), 0, 1) if a < value.ndim and value.shape[a] == num), None)
        where = ""
        if axis is not None:
            row = int(np.argmax(np.moveaxis(bad, axis, 0).reshape(num, -1).any(1)))
            where = f" at {pictures.labels(np.asarray(frame), person)[row]}"
        raise ValueError(
            f"{name} of the result is NaN or infinite{where}; nothing is written. Needed an input (keypoints, joints, "
            "camera) and a model whose numbers are not out of all proportion"
        )
