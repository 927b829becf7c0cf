"""`jaxpose fuse FILE.npz [FILE.npz ...] --out DIR`: one person in several calibrated cameras in, many 3D poses out.

Each moment is a posterior: the model's law of poses, known to nothing, times how well a pose fits the keypoints of all
cameras at once (`tasks/observations.py`, `tasks/posterior.py`). One camera is legal too, and leaves the depth open.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Camera, Key
from jaxpose.commands import blocks, models, report, views
from jaxpose.commands.blocks import Block, Drawn
from jaxpose.commands.detections import rescaled
from jaxpose.commands.options import Fuse
from jaxpose.commands.points import skeleton_of
from jaxpose.commands.views import Views
from jaxpose.geometry.axes import FRAME_TAGS, to_camera, vertical
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.model import Model, require
from jaxpose.tasks import observations
from jaxpose.tasks.draw import spread
from jaxpose.tasks.methods import METHODS, Method
from jaxpose.tasks.posterior import posterior
from jaxpose.tasks.priors import Prior, fitted, prior_of

_LEAST = 4  # joints that some camera must see, as for `jaxpose lift`


class Seen(NamedTuple):
    """N moments in C cameras, in the model's joints.

    xy [N, C, J, 2] px, confidence, noise_px [N, C, J]; views: the files' own rows, with the cameras, which all share.
    """

    xy: np.ndarray
    confidence: np.ndarray
    noise_px: np.ndarray
    views: Views


class Fused(NamedTuple):
    """Many 3D poses of each of N moments, in the world of the cameras, metres.

    samples [H, N, J, 3] relative to the root joint, root [H, N, 3]; mean [N, J, 3], covariance [N, J, 3, 3], radius_90
    [N, J] and weights [H, N] of them; error_px [N, C]: of the mean pose, by trust, NaN where a camera sees none.
    """

    samples: Array
    root: Array
    mean: Array
    covariance: Array
    radius_90: Array
    weights: Array
    error_px: Array


def fuse(options: Fuse) -> Iterator[str]:
    """Read, fuse and write."""
    paths, output, each = options.input, options.output, options.hypotheses
    report.check_out(output.out, *paths)
    model = models.load_joint_model(output.model, "fuse")
    require(model, "fuse", "joints", "score")
    seen, said = read_seen(paths, model, options)
    yield from said
    noise = np.median(seen.noise_px[seen.confidence > 0])
    yield f"noise of a keypoint taken as {noise:.1f} px in the median"
    prior = fitted(jax.random.key(output.seed), prior_of(model))
    method = METHODS[options.method](*(() if options.steps is None else (options.steps,)))
    cameras, up = jax.tree.map(lambda x: x[0], seen.views.cameras), seen.views.up

    def work(key: Key, block: Block, return_path: bool) -> Fused:
        xy, confidence, noise_px = (jnp.asarray(x[block.rows]) for x in seen[:3])
        return _fuse_rows(key, prior, xy, noise_px, confidence, cameras, up=up, num_hypotheses=each, method=method)

    num = len(seen.xy)
    drawn, spent = yield from blocks.gather(work, blocks.even(num, doubling=True), num, seed=output.seed, each=each)
    record = report.record("fuse", None, model, spent, num * each, seed=output.seed)
    yield from _write(options, model, seen, drawn, record | {"network_calls": method.num_steps})


@functools.partial(jax.jit, static_argnames=("up", "num_hypotheses", "method"))
def _fuse_rows(
    key: Key,
    prior: Prior,
    uv_px: Array,
    noise_px: Array,
    confidence: Array,
    cameras: Camera,
    *,
    up: str,
    num_hypotheses: int,
    method: Method,
) -> Fused:
    """Draw from the posterior of each of N moments in turn; cameras [C, ...] are those of all."""
    above = tuple(vertical(up).tolist())

    def one(row: tuple[Array, ...]) -> tuple[Array, Array]:
        index, uv, noise, sure = row
        view = observations.sight(
            uv, noise, sure, cameras.intrinsics, cameras.R_cam_world, cameras.t_cam, cameras.distortion, up=above
        )
        seen, key_of = observations.seen_by(view), jax.random.fold_in(key, index)
        drawn = posterior(key_of, prior, seen, method=method, num_hypotheses=num_hypotheses)
        return observations.to_world(view, drawn.samples), _error_px(view, drawn.samples.mean(0))

    def _error_px(view: observations.Sight, x: Array) -> Array:
        away = jnp.linalg.norm(observations.cameras(view)(x) - view.uv_px, axis=-1)
        weight = jnp.where(jnp.isfinite(away), 1 / jnp.square(view.noise_px), 0)
        return (weight * jnp.where(weight > 0, away, 0)).sum(-1) / weight.sum(-1)

    world, error_px = jax.lax.map(one, (jnp.arange(len(uv_px)), uv_px, noise_px, confidence))
    world = jnp.moveaxis(world, 0, 1)
    samples = world - world[:, :, :1]
    return Fused(samples, world[:, :, 0], *spread(samples), error_px)


def read_seen(paths: tuple[Path, ...], model: Model, options: Fuse) -> tuple[Seen, list[str]]:
    """The moments of one file, or of several with a camera or more each, matched by frame; and lines of what was read.

    ValueError names the file that has no calibrated cameras, another vertical, or that is left without a moment.
    """

    if len(paths) > 1 and options.cameras is not None:
        raise ValueError(f"--cameras: is for one file of several cameras, got {len(paths)} files")
    parts: list[Views] = []
    said: list[str] = []
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{path}: no such file")
        if not views.holds_cameras(path):
            raise ValueError(
                f"{path}: needed an .npz of calibrated cameras, with keypoints [F, C, K, 2 or 3], K, R and t"
            )
        part = views.several(path, options, options.min_confidence)
        if parts and part.up != parts[0].up:
            raise ValueError(f"{path}: world {part.up} up, and {paths[0]} {parts[0].up} up; needed one (--up)")
        source = skeleton_of(part.points)
        assert source is not None
        sure = jnp.asarray(rescaled(part.confidence))
        xy, confidence = jax.device_get(convert_joints(jnp.asarray(part.xy), sure, source, model.skeleton))
        confidence = confidence * observations.measured_joints(source, model.skeleton)
        parts.append(part._replace(xy=xy, confidence=confidence))
        said += part.said
    whole = _merged(parts)
    enough = (whole.confidence > 0).sum(-1).max(1) >= _LEAST
    if not enough.any():
        raise ValueError(
            f"{paths[0]}: no frame has {_LEAST} joints of {model.skeleton.name} in any camera with confidence of "
            f"{options.min_confidence} or more"
        )
    if not enough.all():
        said.append(f"left out {(~enough).sum()} frames with fewer than {_LEAST} joints in every camera")
    rows = {k: getattr(whole, k)[enough] for k in ("xy", "confidence", "frame", "person")}
    whole = whole._replace(**rows)
    if options.noise_px is None:
        noise = observations.keypoint_noise_px(jnp.asarray(whole.xy), jnp.asarray(whole.confidence))
    else:
        noise = observations.confidence_noise(jnp.asarray(whole.confidence), options.noise_px)
    return Seen(whole.xy, whole.confidence, np.asarray(noise), whole), said


def _merged(parts: list[Views]) -> Views:
    """Files of a camera or more each as one, over all frames that any of them has; unseen where a file lacks one."""
    if len(parts) == 1:
        return parts[0]
    frames = np.unique(np.concatenate([p.frame for p in parts]))

    def spread_out(part: Views, value: np.ndarray) -> np.ndarray:
        out = np.zeros((len(frames), *value.shape[1:]), value.dtype)
        out[np.searchsorted(frames, part.frame)] = value
        return out

    xy, confidence = (
        np.concatenate([spread_out(p, getattr(p, name)) for p in parts], 1) for name in ("xy", "confidence")
    )
    bent = any(p.cameras.distortion is not None for p in parts)
    cameras = [
        p.cameras._replace(distortion=jnp.zeros((1, p.xy.shape[1], 5)))
        if bent and p.cameras.distortion is None
        else p.cameras
        for p in parts
    ]
    joined = jax.tree.map(lambda *x: jnp.concatenate(x, 1), *cameras)
    return parts[0]._replace(
        xy=xy, confidence=confidence, cameras=joined, frame=frames, person=np.zeros(len(frames), np.int64)
    )


def _write(options: Fuse, model: Model, seen: Seen, drawn: Drawn, record: dict[str, Any]) -> Iterator[str]:
    """Write the fused poses: numbers in the cameras' world, pictures as a level camera sees them."""
    rows, skeleton, error = seen.views, model.skeleton, drawn["error_px"]
    tag = f"{FRAME_TAGS[rows.up]}; samples relative to the root joint"
    summary = {
        **{**record, "input": [str(p) for p in options.input], "method": options.method},
        "num_poses": len(seen.xy),
        **{"num_hypotheses": options.hypotheses, "num_cameras": seen.xy.shape[1]},
        **{"frame_tag": tag, "scale": "the cameras' calibration", "read": list(rows.said)},
        "error_px_camera": np.nanmean(error, 0).round(2).tolist(),
        "spread_mm": report.spread_mm(drawn["covariance"], skeleton),
    }
    arrays = {
        **drawn,
        **{k: np.asarray(v[0]) for k, v in rows.cameras._asdict().items() if v is not None},
        **{"keypoints": seen.xy, "confidence": seen.confidence, "noise_px": seen.noise_px},
        **report.rows(rows.frame, rows.person, rows.fps),
        **report.axes(skeleton.joints, rows.up, tag),
    }
    yield f"keypoints met within {np.nanmedian(error):.1f} px in the median of frames and cameras"
    layers = {
        "mean": to_camera(drawn["mean"], rows.up),
        "keypoints": np.where(seen.confidence[:, 0, :, None] > 0, seen.xy[:, 0], np.nan),
        "confidence": seen.confidence[:, 0],
    }
    titles = [f"frame {frame}" for frame in rows.frame]
    note = f"{seen.xy.shape[1]} cameras, metres from their calibration; keypoints of the first"
    samples = to_camera(drawn["samples"], rows.up)
    picture = report.Picture(samples, skeleton, titles, note, layers, rows.fps)
    yield from report.write(options.output, f"{report.name_of(options.input[0])}_fused", arrays, summary, picture)
