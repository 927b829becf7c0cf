"""`jaxpose fuse FILE.npz [FILE.npz ...] --out DIR`: one person in several calibrated cameras in, many 3D poses out."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.app.commands import blocks, clips, detections, exports, models, report
from jaxpose.app.commands.blocks import Spent
from jaxpose.app.commands.options import Fuse
from jaxpose.app.commands.pictures import Picture
from jaxpose.app.commands.report import Outcome
from jaxpose.app.commands.values import refuse
from jaxpose.geometry.axes import FRAME_TAGS
from jaxpose.geometry.body_joints import joint_set_of
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.io.keypoints import rescaled
from jaxpose.io.multiview import MultiView, merged
from jaxpose.model import Model
from jaxpose.tasks import observations
from jaxpose.tasks.blocks import Drawn
from jaxpose.tasks.fuse import Views, fusing, method_of, views_of

_LEAST = 4  # joints that some camera must see, as for `jaxpose lift`


@report.command("fuse", "{}_fused")
def fuse(options: Fuse, _: str) -> Generator[str, None, Outcome]:
    """Read and fuse."""
    paths, output, num_hypotheses = options.input, options.output, options.num_hypotheses
    exports.check(output.exports, num_hypotheses)
    model = models.load_model(options, "fuse", needs=("joints", "score"))
    detections.check_calibration(paths, options.file, options.cameras)
    files = yield from clips.keypoints_of_all(paths, options.video, output.out)
    views_px, read = read_seen(files, model, options)
    yield from read
    assumed: dict[str, Any] = {"up": views_px.up, "noise_px": options.noise_px, "offset": options.offset}
    views = views_of(model, views_px.xy, views_px.confidence, views_px.camera, **assumed)
    noise, errors = views.noise_px, views.errors
    yield f"noise of a keypoint taken as {np.median(noise[views_px.confidence > 0]):.1f} px in the median"
    yield (
        f"errors alike in all cameras {1000 * errors.joint.min():.0f} to {1000 * errors.joint.max():.0f} mm by joint, "
        f"of a whole camera {1000 * errors.camera:.0f} mm"
    )
    robust, num = files != paths if options.robust is None else options.robust, len(views_px.xy)
    method = method_of(options.method, options.steps, robust=robust)
    drawing = fusing(
        jax.random.key(output.seed),
        model,
        views,
        method,
        num_hypotheses=num_hypotheses,
        watch=lambda block: blocks.check_memory(block, num, num_hypotheses),
    )
    drawn, spent = yield from blocks.progress(drawing, num, num_hypotheses=num_hypotheses)
    yield f"keypoints met within {np.nanmedian(drawn['error_px']):.1f} px in the median of frames and cameras"
    how: dict[str, Any] = {"read": read[:1], "method": options.method, "robust": robust, "num_poses": num}
    how |= {"network_calls": method.num_steps, "num_hypotheses": num_hypotheses}
    return _outcome(model, spent, views_px, views, drawn, how)


def _outcome(model: Model, spent: Spent, data: MultiView, views: Views, drawn: Drawn, how: dict[str, Any]) -> Outcome:
    """Arrays, summary and picture of fused poses; how: the first entries of the summary."""
    skeleton, errors, num = model.skeleton, views.errors, len(data.xy)
    tag = f"{FRAME_TAGS[data.up]}; samples relative to the root joint"
    summary = {
        **{**how, "num_cameras": data.xy.shape[1], "frame_tag": tag, "scale": "the cameras' calibration"},
        "error_px_camera": report.rounded(np.nanmean(drawn["error_px"], 0), 2),
        "systematic": {
            "joint_mm": dict(zip(skeleton.joints, (1000 * errors.joint).round(1).tolist(), strict=True)),
            "camera_mm": round(1000 * errors.camera, 1),
            "camera_freedom": errors.freedom,
            "noise_factor": round(errors.noise_factor, 2),
        },
        "spread_mm": report.spread_mm(drawn["covariance"], skeleton),
    }
    arrays = {
        **{**drawn, **data.camera._asdict(), "keypoints": data.xy, "confidence": data.confidence},
        **{"noise_px": views.noise_px, "frame": data.frame, "person": data.person, "fps": data.fps},
        **report.axes(skeleton.joints, data.up, tag),
    }
    note = f"{data.xy.shape[1]} cameras, metres from their calibration; keypoints of the first"
    return Outcome(model, spent, num * len(drawn["samples"]), arrays, summary, Picture(skeleton, note))


def read_seen(paths: tuple[Path, ...], model: Model, options: Fuse) -> tuple[MultiView, list[str]]:
    """The moments of one file, or of several with a camera or more each, matched by frame, in the model's joints.

    Also lines of what was read, the first of the first file. ValueError names the file that has no calibrated cameras,
    another vertical, or that is left without a moment.
    """
    if len(paths) > 1 and options.file.calibration is None:
        refuse(options, f"is for one file of several cameras, got {len(paths)} files", "cameras")
    parts, read = detections.read_views(paths, options, options.file, options.min_confidence)
    for number, part in enumerate(parts):
        source, sure = joint_set_of(part.points), jnp.asarray(rescaled(part.confidence))
        xy, confidence = jax.device_get(convert_joints(jnp.asarray(part.xy), sure, source, model.skeleton))
        confidence = confidence * observations.measured_joints(source, model.skeleton)
        parts[number] = part._replace(xy=xy, confidence=confidence)
    whole = merged(parts)
    enough = (whole.confidence > 0).sum(-1).max(1) >= _LEAST
    if not enough.any():
        raise ValueError(
            f"{paths[0]}: no frame has {_LEAST} joints of {model.skeleton.name} in any camera with confidence of "
            f"{options.min_confidence} or more"
        )
    if not enough.all():
        read.append(f"left out {(~enough).sum()} frames with fewer than {_LEAST} joints in every camera")
    return whole.taken(enough), read
