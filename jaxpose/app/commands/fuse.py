"""`jaxpose fuse FILE.npz [FILE.npz ...] --out DIR`: one person in several calibrated cameras in, many 3D poses out.

Each moment is a posterior: the model's law of poses, known to nothing, times how well a pose fits the keypoints of all
cameras at once (`tasks/observations.py`, `tasks/posterior.py`); errors that cameras share are added to its draws
(`tasks/systematic.py`). One camera is legal too, and leaves the depth open.
"""

import functools
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.app.commands import blocks, calibrated, clips, detections, exports, models, report
from jaxpose.app.commands.blocks import Block
from jaxpose.app.commands.options import Fuse
from jaxpose.base import Array, Camera, Key
from jaxpose.geometry.axes import FRAME_TAGS, covariance_to_camera, to_camera, vertical
from jaxpose.geometry.body_joints import joint_set_of
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.io.multiview import MultiView
from jaxpose.model import Model, require, scored
from jaxpose.tasks import observations, systematic
from jaxpose.tasks.draw import spread
from jaxpose.tasks.methods import METHODS, Method
from jaxpose.tasks.posterior import posterior
from jaxpose.tasks.priors import Prior, fitted, prior_of

_LEAST = 4  # joints that some camera must see, as for `jaxpose lift`
STEPS = 25  # chosen on the walker: in four cameras and in one, error and spread are those of 50 steps within 3 %
# Degrees of freedom of Student's t, of 1, 3 and none chosen on the walker: every fifth frame of its videos by BlazePose
# is 68, 52 and 91 mm from the triangulation, and of OpenPose's keypoints 21, 18 and 11.
_DEGREES = 3.0
_SHARED = 1 << 30  # folded into the run's key, beyond any number of a block: of the errors that all moments share
_MOMENTS = 8  # worked on at once: a line of progress every few seconds


def fuse(options: Fuse) -> Iterator[str]:
    """Read, fuse and write."""
    paths, output, each = options.input, options.output, options.hypotheses
    name = report.result(output, "fuse", f"{paths[0].stem}_fused", *paths)
    exports.check(output.exports, each, mesh=exports.NO_MESH)
    model = scored(models.load_joint_model(output, "fuse"))
    require(model, "fuse", "joints", "score")
    files = yield from clips.keypoints_of_all(paths, options.video, output.out)
    seen, noise, said = read_seen(files, model, options)
    yield from said
    errors = _errors(seen, noise, model, options)
    noise = noise * np.float32(errors.noise_factor)
    yield f"noise of a keypoint taken as {np.median(noise[seen.confidence > 0]):.1f} px in the median"
    yield (
        f"errors alike in all cameras {1000 * errors.joint.min():.0f} to {1000 * errors.joint.max():.0f} mm by joint, "
        f"of a whole camera {1000 * errors.camera:.0f} mm"
    )
    prior = fitted(jax.random.key(output.seed), prior_of(model))
    robust = files != paths if options.robust is None else options.robust
    method = METHODS[options.method](options.steps or STEPS, robust=_DEGREES if robust else None)
    shared = systematic.draw(
        jax.random.fold_in(jax.random.key(output.seed), _SHARED),
        errors,
        model.skeleton,
        num_cameras=seen.xy.shape[1],
        num_hypotheses=each,
    )

    def work(key: Key, block: Block, _: bool) -> dict[str, Array]:
        given = (jnp.asarray(x[block.rows]) for x in (seen.xy, noise, seen.confidence))
        return fuse_rows(key, prior, *given, seen.camera, shared, up=seen.up, num_hypotheses=each, method=method)

    num = len(seen.xy)
    drawn, spent = yield from blocks.gather(work, blocks.even(num, _MOMENTS), num, seed=output.seed, each=each)
    skeleton, error = model.skeleton, drawn["error_px"]
    tag = f"{FRAME_TAGS[seen.up]}; samples relative to the root joint"
    summary = {
        **report.record("fuse", paths, model, spent, num * each, seed=output.seed),
        **{"read": said[:1], "method": options.method, "robust": robust, "num_poses": num},
        **{"network_calls": method.num_steps, "num_hypotheses": each, "num_cameras": seen.xy.shape[1]},
        **{"frame_tag": tag, "scale": "the cameras' calibration"},
        "error_px_camera": report.rounded(np.nanmean(error, 0), 2),
        "systematic": {
            "joint_mm": dict(zip(skeleton.joints, (1000 * errors.joint).round(1).tolist(), strict=True)),
            "camera_mm": round(1000 * errors.camera, 1),
            "camera_freedom": errors.freedom,
            "noise_factor": round(errors.noise_factor, 2),
        },
        "spread_mm": report.spread_mm(drawn["covariance"], skeleton),
    }
    arrays = {
        **{**drawn, **seen.camera._asdict(), "keypoints": seen.xy, "confidence": seen.confidence, "noise_px": noise},
        **report.rows(seen.frame, np.zeros(num, np.int64), seen.fps),
        **report.axes(skeleton.joints, seen.up, tag),
    }
    yield f"keypoints met within {np.nanmedian(error):.1f} px in the median of frames and cameras"
    layers = {
        "mean": to_camera(drawn["mean"], seen.up),
        "keypoints": np.where(seen.confidence[:, 0, :, None] > 0, seen.xy[:, 0], np.nan),
        "confidence": seen.confidence[:, 0],
        **{"up": seen.up, "covariance": covariance_to_camera(drawn["covariance"], seen.up)},
        "radius_90": drawn["radius_90"],
    }
    titles = [f"frame {frame}" for frame in seen.frame]
    note = f"{seen.xy.shape[1]} cameras, metres from their calibration; keypoints of the first"
    picture = report.Picture(
        *(to_camera(drawn["samples"], seen.up), skeleton, titles, note, layers, seen.fps, None, seen.frame),
        root=to_camera(drawn["root"].mean(0), seen.up),
    )
    yield from report.write(output, name, arrays, summary, picture)


@functools.partial(jax.jit, static_argnames=("up", "num_hypotheses", "method"))
def fuse_rows(
    key: Key,
    prior: Prior,
    uv_px: Array,
    noise_px: Array,
    confidence: Array,
    cameras: Camera,
    shared: systematic.Drawn | None,
    *,
    up: str,
    num_hypotheses: int,
    method: Method,
) -> dict[str, Array]:
    """Draw from the posterior of each of N moments in turn; cameras [C, ...] and the shared errors are those of all.

    shared: None takes the errors of all keypoints as independent, and the place of each pose as known.

    samples [H, N, J, 3] relative to the root joint, root [H, N, 3]; mean [N, J, 3], covariance [N, J, 3, 3], radius_90
    [N, J] and weights [H, N] of them, in the world of the cameras, metres; error_px [N, C]: of the mean pose, by trust,
    NaN where a camera sees none.
    """
    above = tuple(vertical(up).tolist())

    def one(row: tuple[Array, ...]) -> tuple[Array, Array]:
        index, uv, noise, sure = row
        placed = (cameras.intrinsics, cameras.R_cam_world, cameras.t_cam, cameras.distortion)
        view = observations.sight(uv, noise, sure, *placed, up=above)
        seen, key_of = observations.seen_by(view), jax.random.fold_in(key, index)
        drawn = posterior(key_of, prior, seen, method=method, num_hypotheses=num_hypotheses)
        world = observations.to_world(view, drawn.samples)
        if shared is not None:
            world = systematic.moved(jax.random.fold_in(key_of, 1), view, world, shared)
        return world, _error_px(view, drawn.samples.mean(0))

    def _error_px(view: observations.Sight, x: Array) -> Array:
        away = jnp.linalg.norm(observations.cameras(view)(x) - view.uv_px, axis=-1)
        weight = jnp.where(jnp.isfinite(away), 1 / jnp.square(view.noise_px), 0)
        return (weight * jnp.where(weight > 0, away, 0)).sum(-1) / weight.sum(-1)

    world, error_px = jax.lax.map(one, (jnp.arange(len(uv_px)), uv_px, noise_px, confidence))
    world = jnp.moveaxis(world, 0, 1)
    samples = world - world[:, :, :1]
    summary = dict(zip(("mean", "covariance", "radius_90", "weights"), spread(samples), strict=True))
    return {"samples": samples, "root": world[:, :, 0], **summary, "error_px": error_px}


def read_seen(paths: tuple[Path, ...], model: Model, options: Fuse) -> tuple[MultiView, np.ndarray, list[str]]:
    """The moments of one file, or of several with a camera or more each, matched by frame, in the model's joints.

    Also the noise [F, C, J] px of the keypoints, and lines of what was read, the first of the first file. ValueError
    names the file that has no calibrated cameras, another vertical, or that is left without a moment.
    """
    parts: list[MultiView] = []
    said: list[str] = []
    if options.file.calibration is not None:
        part, said = detections.read_calibrated(paths, options, options.file, options.min_confidence)
        parts.append(_in_joints(part, model))
    elif len(paths) > 1 and options.cameras is not None:
        raise ValueError(f"--cameras: is for one file of several cameras, got {len(paths)} files")
    for path in paths if options.file.calibration is None else ():
        if not path.is_file():
            raise ValueError(f"{path}: no such file")
        if not detections.holds_cameras(path):
            needed = "keypoints [F, C, K, 2 or 3], K, R and t"
            raise ValueError(f"{path}: needed an .npz of calibrated cameras, with {needed}, or --calibration FILE")
        part, line = detections.read_cameras(path, options, options.min_confidence)
        if parts and part.up != parts[0].up:
            raise ValueError(f"{path}: world {part.up} up, and {paths[0]} {parts[0].up} up; needed one (--up)")
        parts.append(_in_joints(part, model))
        said.append(line)
    whole = calibrated.merged(parts)
    enough = (whole.confidence > 0).sum(-1).max(1) >= _LEAST
    if not enough.any():
        raise ValueError(
            f"{paths[0]}: no frame has {_LEAST} joints of {model.skeleton.name} in any camera with confidence of "
            f"{options.min_confidence} or more"
        )
    if not enough.all():
        said.append(f"left out {(~enough).sum()} frames with fewer than {_LEAST} joints in every camera")
    whole = whole._replace(**{name: getattr(whole, name)[enough] for name in ("xy", "confidence", "frame")})
    xy, sure = jnp.asarray(whole.xy), jnp.asarray(whole.confidence)
    if options.noise_px is None:
        return whole, np.asarray(observations.keypoint_noise_px(xy, sure)), said
    return whole, np.asarray(observations.confidence_noise(sure, options.noise_px)), said


def _errors(seen: MultiView, noise: np.ndarray, model: Model, options: Fuse) -> systematic.Systematic:
    """What is taken for the errors that cameras share; a noise that was given stays as it is."""
    usual = systematic.joint_offsets(model.skeleton)
    joint = usual if options.offset is None else np.full(len(usual), options.offset)
    errors = systematic.estimate(seen.xy, noise, seen.confidence, seen.camera, joint)
    return errors if options.noise_px is None else errors._replace(noise_factor=1.0)


def _in_joints(part: MultiView, model: Model) -> MultiView:
    """Keypoints of the model's joints, as sure as they deserve."""
    source = joint_set_of(part.points)
    sure = jnp.asarray(detections.rescaled(part.confidence))
    xy, confidence = jax.device_get(convert_joints(jnp.asarray(part.xy), sure, source, model.skeleton))
    return part._replace(xy=xy, confidence=confidence * observations.measured_joints(source, model.skeleton))
