"""What `jaxpose fuse` does: files of several calibrated cameras, the posterior of each moment, and the results."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Key
from jaxpose.commands import bodies, results, views
from jaxpose.commands.detections import rescaled
from jaxpose.commands.fuse import METHODS
from jaxpose.commands.points import skeleton_of
from jaxpose.commands.views import Views
from jaxpose.geometry.axes import to_camera
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.model import Model
from jaxpose.tasks import observations
from jaxpose.tasks.draw import check_person_codec, spread
from jaxpose.tasks.posterior import NUM_STEPS, fitted, posterior, prior_of

_VERTICAL = {"z": (0.0, 0.0, 1.0), "y": (0.0, 1.0, 0.0), "-y": (0.0, -1.0, 0.0)}
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


def fuse(args: argparse.Namespace) -> Iterator[str]:
    """Read, fuse and write."""

    paths, out = [Path(p) for p in args.input], Path(args.out)
    _check_flags(args)
    for path in paths:
        results.check_out(out, path)
    model = results.load_joint_model(args)
    check_person_codec(model, "fuse")
    seen, said = read_seen(paths, model, args)
    yield from said
    noise = np.median(seen.noise_px[seen.confidence > 0])
    yield f"noise of a keypoint taken as {noise:.1f} px in the median"
    covariance, up = _covariance(jax.random.key(args.seed), model), seen.views.up

    def draw(key: Key, rows: np.ndarray, return_path: bool) -> Fused:
        xy, confidence, noise_px = (jnp.asarray(x[rows]) for x in seen[:3])
        cameras = jax.tree.map(lambda x: x[0], tuple(seen.views.cameras))
        return fuse_rows(
            key,
            model,
            covariance,
            xy,
            noise_px,
            confidence,
            *cameras,
            up=up,
            num_hypotheses=args.hypotheses,
            num_steps=args.steps,
            method=args.method,
        )

    drawn = yield from results.in_blocks(draw, len(seen.xy), args)
    yield from _write(out, paths, model, seen, drawn, args)


@jax.jit
def _covariance(key: Key, model: Model) -> Array:
    """Of the states that the model draws where it is told nothing."""

    covariance = fitted(key, prior_of(model)).covariance
    assert covariance is not None
    return covariance


@functools.partial(jax.jit, static_argnames=("up", "num_hypotheses", "num_steps", "method"))
def fuse_rows(
    key: Key,
    model: Model,
    covariance: Array,
    uv_px: Array,
    noise_px: Array,
    confidence: Array,
    intrinsics: Array,
    R_cam_world: Array,
    t_cam: Array,
    distortion: Array | None,
    *,
    up: str,
    num_hypotheses: int,
    num_steps: int | None,
    method: str,
) -> Fused:
    """Draw from the posterior of each of N moments in turn; cameras [C, ...] are those of all."""

    prior = prior_of(model)._replace(covariance=covariance)

    def one(row: tuple[Array, ...]) -> tuple[Array, Array]:
        index, uv, noise, sure = row
        view = observations.sight(uv, noise, sure, intrinsics, R_cam_world, t_cam, distortion, up=_VERTICAL[up])
        drawn = posterior(
            jax.random.fold_in(key, index),
            prior,
            *observations.together(observations.seen_by(view)),
            method=method,
            num_hypotheses=num_hypotheses,
            num_steps=num_steps,
        )
        return observations.to_world(view, drawn.samples), _error_px(view, drawn.samples.mean(0))

    def _error_px(view: observations.Sight, x: Array) -> Array:
        away = jnp.linalg.norm(observations.cameras(view)(x) - view.uv_px, axis=-1)
        weight = jnp.where(jnp.isfinite(away), 1 / jnp.square(view.noise_px), 0)
        return (weight * jnp.where(weight > 0, away, 0)).sum(-1) / weight.sum(-1)

    world, error_px = jax.lax.map(one, (jnp.arange(len(uv_px)), uv_px, noise_px, confidence))
    world = jnp.moveaxis(world, 0, 1)
    samples = world - world[:, :, :1]
    return Fused(samples, world[:, :, 0], *spread(samples), error_px)


def read_seen(paths: list[Path], model: Model, args: argparse.Namespace) -> tuple[Seen, list[str]]:
    """The moments of one file, or of several with a camera or more each, matched by frame; and lines of what was read.

    ValueError names the file that has no calibrated cameras, another vertical, or that is left without a moment.
    """

    if len(paths) > 1 and args.cameras is not None:
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
        part = views.several(path, args)
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
            f"{args.min_confidence} or more"
        )
    if not enough.all():
        said.append(f"left out {(~enough).sum()} frames with fewer than {_LEAST} joints in every camera")
    rows = {k: getattr(whole, k)[enough] for k in ("xy", "confidence", "frame", "person")}
    whole = whole._replace(**rows)
    if args.noise_px is None:
        noise = observations.keypoint_noise_px(jnp.asarray(whole.xy), jnp.asarray(whole.confidence))
    else:
        noise = observations.confidence_noise(jnp.asarray(whole.confidence), args.noise_px)
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


def _check_flags(args: argparse.Namespace) -> None:
    if args.method not in METHODS:
        raise ValueError(f"--method: got {args.method!r}; legal are {', '.join(METHODS)}")
    if args.noise_px is not None and not 0.1 <= args.noise_px <= 1000:
        raise ValueError(f"--noise-px: needed pixels from 0.1 to 1000, got {args.noise_px:g}")
    if not 0 <= args.min_confidence <= 1:
        raise ValueError(f"--min-confidence: needed 0 to 1, got {args.min_confidence}")


def _write(
    out: Path, paths: list[Path], model: Model, seen: Seen, drawn: dict[str, np.ndarray], args: argparse.Namespace
) -> Iterator[str]:
    """Write the fused poses: numbers in the cameras' world, pictures as a level camera sees them."""

    rows, num, skeleton = seen.views, len(seen.xy), model.skeleton
    seconds, error = float(drawn.pop("seconds")), drawn["error_px"]
    tag = f"{bodies.FRAME_TAGS[rows.up]}; samples relative to the root joint"
    record = results.record(paths[0], model, args, num * args.hypotheses, seconds)
    summary: dict[str, Any] = {
        **{k: v for k, v in record.items() if k != "sampler"},
        **{"input": [str(p) for p in paths], "method": args.method, "network_calls": args.steps or NUM_STEPS},
        **{"num_poses": num, "num_hypotheses": args.hypotheses, "num_cameras": seen.xy.shape[1]},
        **{"frame_tag": tag, "scale": "the cameras' calibration", "read": list(rows.said)},
        "error_px_camera": np.nanmean(error, 0).round(2).tolist(),
        "spread_mm": results.spread_mm(drawn["covariance"], skeleton),
    }
    named = {k: np.asarray(v[0]) for k, v in rows.cameras._asdict().items() if v is not None}
    arrays = {
        **drawn,
        **named,
        **{"keypoints": seen.xy, "confidence": seen.confidence, "noise_px": seen.noise_px},
        **{"frame": rows.frame, "person": rows.person, "joints": np.array(skeleton.joints)},
        **{"up": np.array(rows.up), "unit": np.array("m"), "frame_tag": np.array(tag)},
        **({} if rows.fps is None else {"fps": np.array(rows.fps)}),
    }
    yield f"keypoints met within {np.nanmedian(error):.1f} px in the median of frames and cameras"
    layers = {
        "mean": to_camera(drawn["mean"], rows.up),
        "keypoints": np.where(seen.confidence[:, 0, :, None] > 0, seen.xy[:, 0], np.nan),
        "confidence": seen.confidence[:, 0],
    }
    labels = [f"frame {frame}" for frame in rows.frame]
    note = f"{seen.xy.shape[1]} cameras, metres from their calibration; keypoints of the first"
    samples = to_camera(drawn["samples"], rows.up)
    picture = results.Picture(samples, skeleton, labels, note, layers, rows.fps)
    yield from results.write(out, f"{results.name_of(paths[0])}_fused", arrays, summary, picture, args)
