"""The files of a result: NAME.npz (arrays), NAME.json (what was done), and of joints NAME.png, .html and _path.html.

`bodies.py` is its counterpart for bodies; `exports.py` writes the files for other programs. Each file appears whole or
not at all.
"""

import glob
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxpose.app.commands import exports, tracks, typical
from jaxpose.app.commands.blocks import AXIS, Spent
from jaxpose.app.commands.models import load_body
from jaxpose.app.commands.option_groups import Output
from jaxpose.app.commands.options import Score
from jaxpose.files import as_json, write_json, write_npz
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.model import Model, describe
from jaxpose.tasks.samplers import Sampler

_WRITTEN = (".npz", ".json", ".bvh", ".glb", ".trc", ".c3d", ".csv", ".obj")
_FILES = (*_WRITTEN, ".png", ".html")
# Arrays whose contract allows NaN: for joints that are missing, hidden or not seen, and cameras that see nothing.
_MAY_LACK = ("observed", "error", "error_px")
_LONGEST = 150  # bytes of a result's name; a file adds a person, a take, a suffix and, as a draft, a number


class Picture(NamedTuple):
    """What is drawn: samples [H, N, J, 3] metres, camera axes, about a place near the root of each of the N poses.

    layers: what viz shows beside them (its `Layers`); path: [T+1, H, N', J, 3] of the first N' <= N poses, or None;
    frame, person: [N], where the poses are of frames, not people side by side; root: [N, 3] metres, camera axes, where
    each pose stands; image_size: of the picture that keypoints lie in; film: [N] JPEGs of it (viz/film.py) or None.
    floor: metres below the origin that roots stand about, where it is known.
    """

    samples: np.ndarray
    skeleton: Skeleton
    labels: list[str]
    note: str
    layers: dict[str, Any]
    fps: float | None = None
    path: np.ndarray | None = None
    frame: np.ndarray | None = None
    person: np.ndarray | None = None
    root: np.ndarray | None = None
    image_size: tuple[int, int] | None = None
    film: list[bytes | None] | None = None
    floor: float | None = None


def result(output: Output | Score, command: str, default: str | None, *sources: Path) -> str:
    """The name of a result's files: --name, else `default`, else that of the first source.

    ValueError where it is no name of files, and where files of this name in --out are folders, a source or another
    result: of another command, or of other sources.
    """
    out, found = output.out, output.name or default or _stem(sources[0])
    if Path(found).name != found or found == "..":
        raise ValueError(f"--name: got {found!r}; needed a name of files, without a folder")
    if not found.isprintable() or len(found.encode()) > _LONGEST:
        raise ValueError(f"--name: got {found[:50]!r}; needed printable characters, at most {_LONGEST} bytes of them")
    if taken := [path for path in out.glob(f"{glob.escape(found)}*") if not path.is_file() and path.suffix in _FILES]:
        raise ValueError(f"--out: {taken[0]} is no file, and would be in the way; needed another --out or --name")
    if any((out / f"{found}{suffix}").resolve() == path.resolve() for path in sources for suffix in _WRITTEN):
        raise ValueError(
            f"--out: {found} in {out} is an input and would be overwritten; needed another --out or --name"
        )
    before = _command_of(out / f"{found}.json")
    if before not in (None, (command, _paths(sources))):
        was = " ".join((before[0], *before[1]))
        raise ValueError(f"--out: {out / found}.json is the result of `{was}`; needed another --out or --name")
    return found


def _stem(source: Path) -> str:
    return source.name if source.is_dir() else source.stem


def _paths(sources: tuple[Path, ...]) -> tuple[str, ...]:
    return tuple(str(path.absolute()) for path in sources)


def _command_of(summary: Path) -> tuple[str, tuple[str, ...]] | None:
    """The command and sources of an earlier result; None where there is none."""
    try:
        said = json.loads(summary.read_text(encoding="utf-8"))
        found = said.get("input", [])
        return str(said["command"]), (found,) if isinstance(found, str) else tuple(map(str, found))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def record(
    command: str,
    sources: Path | tuple[Path, ...],
    model: Model | None,
    spent: Spent,
    num: int,
    *,
    seed: int | None = None,
) -> dict[str, Any]:
    """What every summary says: input, model, seed, version and speed; `num` poses were made in all."""
    about = None if model is None else describe(model)
    said: dict[str, Any] = {"command": command, "model": about, "jaxpose": version("jaxpose")}
    paths = _paths(sources if isinstance(sources, tuple) else (sources,))
    said |= {"input": paths[0] if len(paths) == 1 else paths} if paths else {}
    said |= {} if seed is None else {"seed": seed}
    speed = {"compile_seconds": round(spent.compiling, 3), "poses_per_second": round(spent.rate(num), 1)}
    return {**said, "seconds": round(spent.seconds, 3), **speed}


def sampled(model: Model, sampler: Sampler) -> dict[str, Any]:
    """What a summary says of the sampler."""
    return {"network_calls": sampler.network_calls(model), "sampler": sampler.name}


def rows(frame: np.ndarray, person: np.ndarray | None, fps: float | None) -> dict[str, Any]:
    """Arrays that say which frame and person each row is, and how fast frames follow each other where it is known."""
    return {"frame": frame, "person": person, "fps": fps}


def axes(joints: tuple[str, ...], up: str, tag: str) -> dict[str, Any]:
    """Arrays that say what coordinates are of and in: joint names, axes, metres."""
    return {"joints": joints, "up": up, "unit": "m", "frame_tag": tag}


def labels(frame: np.ndarray, person: np.ndarray, more: Any = None) -> list[str]:
    """A title for each row."""
    said = [""] * len(frame) if more is None else more
    return [f"frame {f}, person {p}{m}" for f, p, m in zip(frame, person, said, strict=True)]


def spread_mm(covariance: np.ndarray, skeleton: Skeleton) -> dict[str, float]:
    """Of each joint, the root of the trace of its covariance [N, J, 3, 3], averaged over N; millimetres."""
    spread = 1000 * np.sqrt(np.trace(covariance.astype(np.float64), axis1=-2, axis2=-1))
    return dict(zip(skeleton.joints, spread.mean(0).round(1).tolist(), strict=True))


def check_finite(arrays: dict[str, Any]) -> None:
    """ValueError naming the first array of a result with NaN or infinity that is not one of `_MAY_LACK`, and where."""
    frame, person = (np.asarray(arrays[key]) if arrays.get(key) is not None else None for key in ("frame", "person"))
    for name, value in arrays.items():
        value = np.asarray(value)
        if value.dtype.kind not in "fc":
            continue
        bad = np.isinf(value) if name in _MAY_LACK else ~np.isfinite(value)
        if not bad.any():
            continue
        num = -1 if frame is None else len(frame)
        axis = next((a for a in (AXIS.get(name, 0), 0, 1) if a < value.ndim and value.shape[a] == num), None)
        where = ""
        if axis is not None and frame is not None:
            row = int(np.argmax(np.moveaxis(bad, axis, 0).reshape(num, -1).any(1)))
            where = f" at frame {frame[row]}" + ("" if person is None else f", person {person[row]}")
        raise ValueError(
            f"{name} of the result is NaN or infinite{where}; nothing is written. Needed an input (keypoints, joints, "
            "camera) and a model whose numbers are not out of all proportion"
        )


def rounded(values: np.ndarray, digits: int) -> list[float | None]:
    """Numbers for a summary; None, which JSON has, instead of NaN."""
    return [round(float(x), digits) if np.isfinite(x) else None for x in values]


def write_numbers(out: Path, name: str, arrays: dict[str, Any], summary: dict[str, Any]) -> Iterator[str]:
    """Write NAME.npz, of arrays that are not None, and NAME.json, into a folder that is made where absent.

    ValueError, before anything is written, where they are not finite.
    """
    arrays = {key: np.asarray(value) for key, value in arrays.items() if value is not None}
    check_finite(arrays)
    as_json(summary, out / f"{name}.json")
    out.mkdir(parents=True, exist_ok=True)
    write_npz(out / f"{name}.npz", arrays)
    yield f"wrote {out / name}.npz"
    write_json(out / f"{name}.json", summary)
    yield f"wrote {out / name}.json"


def write(
    output: Output, name: str, arrays: dict[str, Any], summary: dict[str, Any], picture: Picture
) -> Iterator[str]:
    """Write the numbers, how typical the poses are among them, then the pictures that the flags ask for."""
    out, wanted, clip = output.out, output.exports, None
    check_finite(arrays)
    judged = typical.of_joints(arrays)
    yield from judged.said
    arrays, summary = arrays | judged.arrays, summary | judged.summary
    if exports.any_of(wanted):
        clip = tracks.of_joints(arrays, wanted.takes or 0, output.seed)
        body = load_body(wanted.body)
        clip = (yield from exports.with_rotations(clip, body)) if wanted.bvh or wanted.glb else clip
        summary = summary | {"exports": clip.said}
    yield from write_numbers(out, name, arrays, summary)
    if clip is not None:
        yield from exports.lines(clip)
        yield from exports.write(wanted, out, name, clip, body)
    if output.no_pictures and picture.path is None:
        return
    from jaxpose.app import viz

    poses = (picture.samples, picture.skeleton)
    if not output.no_pictures:
        shown: dict[str, Any] = {"note": picture.note, **picture.layers}
        yield f"wrote {viz.contact_sheet(out / f'{name}.png', *poses, titles=picture.labels, **shown)}"
        yield f"wrote {_page(picture, name, shown, arrays.get('out_of_distribution')).write(out / f'{name}.html')}"
    if picture.path is not None:
        file, first = out / f"{name}_path.html", picture.labels[: picture.path.shape[2]]
        yield f"wrote {viz.path_page(picture.path, picture.skeleton, labels=first, title=name).write(file)}"


def _page(picture: Picture, title: str, shown: dict[str, Any], unusual: np.ndarray | None) -> Any:
    """The page of a picture: frames over time, those of unusual [N] poses marked, or people side by side."""
    from jaxpose.app import viz

    if picture.frame is None:
        return viz.grid_page(picture.samples, picture.skeleton, labels=picture.labels, title=title, **shown)
    place = {name: getattr(picture, name) for name in ("frame", "person", "root", "fps", "image_size", "film", "floor")}
    marked = unusual if unusual is not None and unusual.any() else None
    return viz.motion_page(picture.samples, picture.skeleton, title=title, unusual=marked, **place, **shown)
