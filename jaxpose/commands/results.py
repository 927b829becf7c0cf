"""What the commands share that draw poses: the model, poses block by block, the record of a run, and its files."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Generator, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxpose.base import Key
from jaxpose.files import write_json, write_npz
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.model import DEFAULT_MODEL, Model, describe, load
from jaxpose.spaces.rotations import REPRESENTATIONS
from jaxpose.tasks.draw import network_calls

Drawn = dict[str, np.ndarray]  # the fields of a task's result
_BLOCK = 64  # observations worked on at once
# Of the observations; 0 of other fields.
AXIS = {"samples": 1, "root": 1, "weights": 1, "path": 2}
AXIS |= dict.fromkeys(("body_pose", "global_orient", "transl", "betas", "joints", "energy"), 1)


class Picture(NamedTuple):
    """What is drawn: samples [H, N, J, 3] metres, camera axes, about a place near the root of each of the N poses.

    layers: what viz shows beside them (its `Layers`); path: [T+1, H, N', J, 3] of the first N' <= N poses, or None;
    one_motion: the N poses are frames, shown one at a time, not people side by side.
    """

    samples: np.ndarray
    skeleton: Skeleton
    labels: list[str]
    note: str
    layers: dict[str, Any]
    fps: float | None = None
    path: np.ndarray | None = None
    one_motion: bool = True


def load_model(args: argparse.Namespace) -> Model:
    """The model that the flag --model names."""
    return load(args.model or DEFAULT_MODEL)


def load_joint_model(args: argparse.Namespace) -> Model:
    """The model of --model; ValueError where it is a prior over joint rotations."""
    model = load_model(args)
    if model.spec.codec in REPRESENTATIONS:
        raise ValueError(
            f"--model: {model.spec.name!r} is a prior over joint rotations; `jaxpose {args.command}` needs a model of "
            f"joint positions, such as {DEFAULT_MODEL!r} (`jaxpose fit` takes 2D keypoints and such a prior)"
        )
    return model


def name_of(source: Path) -> str:
    """The name of the results of a file or folder."""
    return source.name if source.is_dir() else source.stem


def check_out(out: Path, source: Path | None = None) -> None:
    """ValueError where --out is no folder, or where a result would take the place of the input."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out: {out} is a file; needed a folder")
    if source is None or not source.is_file() or source.parent.resolve() != out.resolve():
        return
    if source.suffix in (".npz", ".json"):
        raise ValueError(f"--out: {source.name} lies in {out} and would be overwritten; needed another folder")


def in_blocks(
    draw: Callable[[Key, np.ndarray, bool], Any], num: int, args: argparse.Namespace
) -> Generator[str, None, Drawn]:
    """What `draw` makes of `num` observations, in blocks of one size, so that one program serves all.

    draw: (key, rows [B] of the observations, whether to return the path) -> Lifted or Posed. The last block is filled
    with its last row. The path is of the first block, where --path asks for it. Yields lines of progress.
    """
    size, key = min(_BLOCK, 1 << (num - 1).bit_length()), jax.random.key(args.seed)
    started, blocks = time.time(), []
    for index, start in enumerate(range(0, num, size)):
        rows, kept = np.minimum(np.arange(start, start + size), num - 1), min(size, num - start)
        drawn = draw(jax.random.fold_in(key, index), rows, args.path and index == 0)._asdict()
        drawn = jax.device_get({name: value for name, value in drawn.items() if value is not None})
        blocks.append({name: _take(value, name, kept) for name, value in drawn.items()})
        rate = (start + kept) * args.hypotheses / (time.time() - started)
        left = (num - start - kept) * args.hypotheses / rate
        yield f"drew {start + kept}/{num}, {rate:,.0f} poses/s, {left:.0f} s left"
    merged = {name: np.concatenate([b[name] for b in blocks], AXIS.get(name, 0)) for name in blocks[-1]}
    return blocks[0] | merged | {"seconds": np.array(time.time() - started)}


def record(source: Path | None, model: Model, args: argparse.Namespace, num: int, seconds: float) -> dict[str, Any]:
    """What every summary says: input, model, settings, versions and speed; `num` poses were drawn in all."""
    return {
        **({} if source is None else {"input": str(source)}),
        "command": args.command,
        "model": describe(model),
        "network_calls": network_calls(model, args.sampler, args.steps),
        "sampler": args.sampler,
        "seed": args.seed,
        "jaxpose": version("jaxpose"),
        "seconds": round(seconds, 3),
        "poses_per_second": round(num / seconds, 1),
    }


def spread_mm(covariance: np.ndarray, skeleton: Skeleton) -> dict[str, float]:
    """Of each joint, the root of the trace of its covariance [N, J, 3, 3], averaged over N; millimetres."""
    spread = 1000 * np.sqrt(np.trace(covariance.astype(np.float64), axis1=-2, axis2=-1))
    return dict(zip(skeleton.joints, spread.mean(0).round(1).tolist(), strict=True))


def write(
    out: Path, name: str, arrays: Drawn, summary: dict[str, Any], picture: Picture, args: argparse.Namespace
) -> Iterator[str]:
    """Write NAME.npz and .json, then the pictures that the flags ask for; each appears whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    write_npz(out / f"{name}.npz", arrays)
    yield f"wrote {out / name}.npz"
    write_json(out / f"{name}.json", summary)
    yield f"wrote {out / name}.json"
    if not args.no_pictures:
        yield from _draw(out, name, picture)
    if picture.path is not None:
        from jaxpose.viz import path_html

        labels = picture.labels[: picture.path.shape[2]]
        file = path_html(out / f"{name}_path.html", picture.path, picture.skeleton, labels=labels, title=name)
        yield f"wrote {file}"


def _draw(out: Path, name: str, picture: Picture) -> Iterator[str]:
    from jaxpose.viz import contact_sheet, grid_html, interactive_html

    poses, page = (picture.samples, picture.skeleton), out / f"{name}.html"
    common: dict[str, Any] = {"note": picture.note, **picture.layers}
    yield f"wrote {contact_sheet(out / f'{name}.png', *poses, titles=picture.labels, **common)}"
    common |= {"labels": picture.labels, "title": name}
    if picture.one_motion:
        yield f"wrote {interactive_html(page, *poses, fps=picture.fps, **common)}"
    else:
        yield f"wrote {grid_html(page, *poses, **common)}"


def _take(value: np.ndarray, name: str, num: int) -> np.ndarray:
    return value[(slice(None),) * AXIS.get(name, 0) + (slice(num),)]
