"""One run of the lifting command: read keypoints, settle the camera, lift in blocks, write the results.

Everything that had to be assumed (camera, scale, trust in the detector) is said in the summary.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.data.keypoints import Keypoints, read_keypoints, visible_rows
from jaxpose.data.tracking import link
from jaxpose.geometry.camera import check_intrinsics, intrinsics_from_fov
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import SKELETONS, Skeleton, get_skeleton
from jaxpose.model import Model, describe, load
from jaxpose.tasks.lift import Lifted, jitted_lift
from jaxpose.viz import contact_sheet, interactive_html

FRAME_TAG = "camera axes: x right, y down, z forward; metres relative to the root joint"
_MIN_VISIBLE = 4
DEFAULT_FOV_DEG = 55.0  # along the longer side: between a phone's main camera (65-70) and a camcorder (40-50)
_BLOCK = 64  # detections lifted at once
_SURE_QUANTILE = 0.95


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the command's flags say; see `jaxpose lift --help`."""

    model: str = "lift17"
    file_format: str | None = None
    skeleton: str | None = None
    intrinsics: np.ndarray | None = None
    camera_name: str | None = None
    fov_deg: float | None = None
    image_size: np.ndarray | None = None
    num_hypotheses: int = 200
    num_steps: int | None = None
    height: float | None = None
    seed: int = 0
    track: bool = False
    min_confidence: float = 0.1
    pictures: bool = True


class Input(NamedTuple):
    """Detections [N] in the model's joint set, with the camera they are taken to be seen by, and in what trust."""

    xy: np.ndarray
    confidence: np.ndarray
    intrinsics: np.ndarray
    source: Keypoints
    camera: str
    num_dropped: int


def run(path: Path, out: Path, settings: Settings) -> Iterator[str]:
    """Lift the detections of `path` and write NAME.npz, .json, .png and .html to `out`; yields lines of progress.

    ValueError names a file or flag that cannot be used. Each file appears whole or not at all.
    """
    _check(settings)
    model = load(settings.model)
    data = prepare(path, model.skeleton, settings)
    yield f"{path}: {len(data.xy)} detections of {data.source.skeleton.name}; {data.camera}"
    if data.num_dropped:
        yield f"left out {data.num_dropped} detections with fewer than {_MIN_VISIBLE} visible joints"

    started = time.time()
    blocks = []
    for done, block in lift_blocks(model, data, settings):
        blocks.append(block)
        rate = done * settings.num_hypotheses / (time.time() - started)
        left = (len(data.xy) - done) * settings.num_hypotheses / rate
        yield f"lifted {done}/{len(data.xy)}, {rate:,.0f} poses/s, {left:.0f} s left"
    axes = Lifted(samples=1, root=1, mean=0, covariance=0, weights=1)  # type: ignore[arg-type]
    lifted = jax.tree.map(lambda axis, *parts: np.concatenate(parts, axis), axes, *blocks)

    out.mkdir(parents=True, exist_ok=True)
    name = path.stem if path.is_file() else path.name
    scale = f"a body height of {settings.height} m" if settings.height else model.spec.scale
    summary = _summary(path, data, lifted, model, settings, scale, time.time() - started)
    for file in _write(out, name, data, lifted, model, summary, settings.pictures):
        yield f"wrote {file}"


def prepare(path: Path, target: Skeleton, settings: Settings) -> Input:
    """Read detections and bring them to the joint set `target`, hiding what is not to be trusted."""
    given, file_format = settings.skeleton, settings.file_format
    if file_format in SKELETONS:
        if given not in (None, file_format):
            raise ValueError(f"--format {file_format} and --skeleton {given} are two joint sets; needed one")
        given, file_format = file_format, None
    skeleton = get_skeleton(given) if given else None
    kp = read_keypoints(path, skeleton=skeleton, format=file_format, camera=settings.camera_name)
    if settings.track:
        kp = link(kp, threshold=settings.min_confidence)
    confidence = np.where(kp.confidence >= settings.min_confidence, kp.confidence, 0)
    converted = convert_joints(jnp.asarray(kp.xy), jnp.asarray(rescaled(confidence)), kp.skeleton, target)
    xy, confidence = jax.device_get(converted)
    rows = visible_rows(kp._replace(xy=xy, confidence=confidence), 0.0, _MIN_VISIBLE)
    if not rows.any():
        most = int((confidence > 0).sum(-1).max())
        raise ValueError(
            f"{path}: no detection has {_MIN_VISIBLE} visible joints of {target.name} with confidence of "
            f"{settings.min_confidence} or more; the best has {most}"
        )
    intrinsics, camera = settle_camera(kp, settings)
    per_row = np.broadcast_to(intrinsics, (len(xy), 4))
    return Input(xy[rows], confidence[rows], per_row[rows], _select(kp, rows), camera, int((~rows).sum()))


def rescaled(confidence: np.ndarray) -> np.ndarray:
    """Confidences [N, J] over their 95th percentile, at most 1: detectors differ in what they call sure."""
    seen = confidence[confidence > 0]
    return np.minimum(confidence / np.quantile(seen, _SURE_QUANTILE), 1) if len(seen) else confidence


def settle_camera(kp: Keypoints, settings: Settings) -> tuple[np.ndarray, str]:
    """Intrinsics [4] or [N, 4], and in words where they come from: flag, file, or an assumed field of view."""
    if settings.intrinsics is not None:
        if settings.fov_deg is not None:
            raise ValueError("--camera and --fov: needed one of them, got both")
        return check_intrinsics(settings.intrinsics, "--camera"), "camera given"
    if kp.intrinsics is not None and settings.fov_deg is None:
        return check_intrinsics(kp.intrinsics, "intrinsics"), "camera from the file"
    fov = DEFAULT_FOV_DEG if settings.fov_deg is None else settings.fov_deg
    size, origin = settings.image_size if settings.image_size is not None else kp.image_size, "image"
    if size is None:
        size, origin = kp.xy[kp.confidence > 0].max(0), "smallest image that holds the keypoints,"
    width, height = float(size[0]), float(size[1])
    how = "given" if settings.fov_deg is not None else "assumed (no camera known)"
    intrinsics = intrinsics_from_fov(width, height, np.radians(fov))
    return intrinsics, f"field of view of {fov:g} degrees {how}, {origin} {width:.0f} x {height:.0f}"


def lift_blocks(model: Model, data: Input, settings: Settings) -> Iterator[tuple[int, Lifted]]:
    """(detections done, their result) block by block; all blocks have one size, so that one program serves all."""
    num = len(data.xy)
    size = min(_BLOCK, 1 << (num - 1).bit_length())
    key = jax.random.key(settings.seed)
    for index, start in enumerate(range(0, num, size)):
        rows = np.minimum(np.arange(start, start + size), num - 1)
        lifted = jitted_lift(
            jax.random.fold_in(key, index),
            model,
            jnp.asarray(data.xy[rows], jnp.float32),
            jnp.asarray(data.confidence[rows], jnp.float32),
            intrinsics=jnp.asarray(data.intrinsics[rows], jnp.float32),
            num_hypotheses=settings.num_hypotheses,
            num_steps=settings.num_steps,
            height=settings.height,
        )
        samples, root, mean, covariance, weights = jax.device_get(lifted)
        kept = min(size, num - start)
        yield (
            start + kept,
            Lifted(samples[:, :kept], root[:, :kept], mean[:kept], covariance[:kept], weights[:, :kept]),
        )


def _check(settings: Settings) -> None:
    if settings.height is not None and not 0.3 < settings.height < 3:
        raise ValueError(f"--height: needed metres between 0.3 and 3, got {settings.height}")
    if settings.fov_deg is not None and not 0 < settings.fov_deg < 180:
        raise ValueError(f"--fov: needed degrees between 0 and 180, got {settings.fov_deg}")
    if settings.image_size is not None and not (settings.image_size > 0).all():
        raise ValueError(f"--image-size: needed positive pixels, got {settings.image_size}")
    if not 0 <= settings.min_confidence <= 1:
        raise ValueError(f"--min-confidence: needed 0 to 1, got {settings.min_confidence}")


def _select(kp: Keypoints, rows: np.ndarray) -> Keypoints:
    image = tuple(np.array(kp.image, object)[rows]) if len(kp.image) == len(rows) else kp.image
    return kp._replace(
        xy=kp.xy[rows],
        confidence=kp.confidence[rows],
        frame=kp.frame[rows],
        person=kp.person[rows],
        image=image,
    )


def _summary(
    path: Path, data: Input, lifted: Lifted, model: Model, settings: Settings, scale: str, seconds: float
) -> dict[str, Any]:
    spread_mm = 1000 * np.sqrt(np.trace(lifted.covariance, axis1=-2, axis2=-1))
    num = len(data.xy)
    return {
        "input": str(path),
        "num_detections": num,
        "num_dropped": data.num_dropped,
        "num_hidden_joints": int((data.confidence == 0).sum()),
        "model": describe(model),
        "num_hypotheses": settings.num_hypotheses,
        "network_calls": (settings.num_steps or model.spec.num_steps) + 1,
        "seed": settings.seed,
        "jaxpose": version("jaxpose"),
        "frame_tag": FRAME_TAG,
        "scale": scale,
        "camera": data.camera,
        "spread_mm": dict(zip(model.skeleton.joints, spread_mm.mean(0).round(1).tolist(), strict=True)),
        "seconds": round(seconds, 3),
        "poses_per_second": round(num * settings.num_hypotheses / seconds, 1),
    }


def _write(
    out: Path, name: str, data: Input, lifted: Lifted, model: Model, summary: dict[str, Any], pictures: bool
) -> Iterator[Path]:
    kp, path = data.source, out / f"{name}.npz"
    arrays = {
        **lifted._asdict(),
        "keypoints": data.xy,
        "confidence": data.confidence,
        "intrinsics": data.intrinsics,
        "frame": kp.frame,
        "person": kp.person,
        "image": np.array(kp.image, np.str_),
        "joints": np.array(model.skeleton.joints),
        "frame_tag": np.array(FRAME_TAG),
        "scale": np.array(summary["scale"]),
    }
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "wb") as file:
        np.savez(file, **arrays)
    os.replace(temporary, path)
    yield path
    path = out / f"{name}.json"
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(summary, indent=2) + "\n")
    os.replace(temporary, path)
    yield path
    if not pictures:
        return
    labels = [f"frame {f}, person {p}" for f, p in zip(kp.frame, kp.person, strict=True)]
    note = f"metres from {summary['scale']}; {summary['camera']}"
    visible = np.where(data.confidence[..., None] > 0, data.xy, np.nan)  # what is hidden is not drawn
    common: dict[str, Any] = {
        "keypoints": visible, "confidence": data.confidence, "mean": lifted.mean, "note": note
    }  # fmt: skip
    yield contact_sheet(out / f"{name}.png", lifted.samples, model.skeleton, titles=labels, **common)
    yield interactive_html(
        out / f"{name}.html", lifted.samples, model.skeleton, labels=labels, fps=kp.fps, title=name, **common
    )
