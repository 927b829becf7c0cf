"""From detections to lifted poses and their files; `lift` and `complete` on 2D keypoints share it.

How the detections are worked on depends on the model: in blocks (`results.in_blocks`), or, where it is one of video, by
person and window (`video.in_groups`); by `tasks.lift`, or where it is DiffPose's own checkpoint, by its own recipe.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Key
from jaxpose.commands import results, video
from jaxpose.commands.detections import Detections
from jaxpose.commands.heatmaps import DEFAULT_COMPONENTS, mixture_px
from jaxpose.commands.official import OFFICIAL_RECORD, official_draw
from jaxpose.diffusion.mixture import Mixture
from jaxpose.evaluation import aggregate
from jaxpose.geometry.camera import project
from jaxpose.geometry.windows import Windows
from jaxpose.model import Model
from jaxpose.networks.diffpose import DiffPose
from jaxpose.tasks.lift import Lifted, jitted_lift
from jaxpose.tasks.likelihood import lifted_log_density

_HEATMAPS = 2**31 - 2  # of the key of their fits: no block and no person has this number
_PROBES = 2**31 - 3  # of the key of likelihoods
_AT_ONCE = 64  # detections aggregated at once
FRAME_TAG = "camera axes: x right, y down, z forward; metres relative to the root joint"


class Start(NamedTuple):
    """What the flags say of a DiffPose model's start, None where they do not."""

    components: int | None = None
    depth: str | None = None


_NO_FLAGS = Start()


def is_official(model: Model) -> bool:
    """Whether a model is DiffPose's own checkpoint: deterministic, by screen coordinates of all joints."""
    return model.spec.codec == "screen"


def window_length(model: Model) -> int | None:
    """Frames that a model of video sees together; None for a model of single frames."""
    network = model.spec.network
    return network.video.num_frames if isinstance(network, DiffPose) and network.video is not None else None


def check_start(model: Model, start: Start) -> None:
    """ValueError naming the flag that means nothing to the model."""
    diffpose = isinstance(model.spec.network, DiffPose) and not is_official(model)
    for name, value in start._asdict().items():
        if value is not None and not diffpose:
            raise ValueError(f"--{name}: is for DiffPose models with a context, got {model.spec.name!r}")


def lift_all(
    model: Model, data: Detections, args: argparse.Namespace, start: Start = _NO_FLAGS
) -> Generator[str, None, results.Drawn]:
    """Lift all detections, block by block, or person by person where the model is one of video."""
    length = window_length(model)
    if is_official(model):
        draw = yield from official_draw(model, data, args)
    else:
        draw = yield from _draw(model, data, args, start)
    if length is None:
        return (yield from results.in_blocks(draw, len(data.xy), args))
    clock = video.timing(data.source)
    yield f"video model, windows of {length} frames: {clock.said}"
    return (yield from video.in_groups(draw, data.source.person, clock, length, args))


def _draw(model: Model, data: Detections, args: argparse.Namespace, start: Start) -> Generator[str, None, video.Draw]:
    """What lifts some rows with `tasks.lift`; lines about heatmaps."""
    mixture, components, depth = None, start.components or 1, start.depth or "encoder"
    if data.heatmaps is not None and not isinstance(model.spec.network, DiffPose):
        yield "heatmaps: the peaks and how high they are; only DiffPose models use the rest"
    elif data.heatmaps is not None:
        components = start.components or DEFAULT_COMPONENTS
        key = jax.random.fold_in(jax.random.key(args.seed), _HEATMAPS)
        mixture = mixture_px(key, data.heatmaps, model.skeleton, components)
        yield f"heatmaps: mixtures of {components} Gaussians fitted to the maps of {len(data.xy)} frames"

    def draw(key: Key, rows: np.ndarray, return_path: bool, windows: Windows | None = None) -> Lifted:
        xy, confidence, intrinsics = (
            jnp.asarray(x[rows], jnp.float32) for x in (data.xy, data.confidence, data.intrinsics)
        )
        return jitted_lift(
            key,
            model,
            xy,
            confidence,
            intrinsics=intrinsics,
            num_hypotheses=args.hypotheses,
            num_steps=args.steps,
            height=args.height,
            sampler=args.sampler,
            windows=None if windows is None else (jnp.asarray(windows.index), jnp.asarray(windows.counted)),
            keypoint_mixture=None if mixture is None else Mixture(*(jnp.asarray(x[rows]) for x in mixture)),
            num_components=components,
            depth=depth,
            return_path=return_path,
        )

    return draw


def check_aggregate(model: Model, args: argparse.Namespace) -> None:
    """ValueError where --aggregate=likelihood has no density to go by."""
    if args.aggregate != "likelihood":
        return
    if isinstance(model.spec.network, DiffPose) or is_official(model):
        raise ValueError(f"--aggregate: likelihood is for models such as pose17, got {model.spec.name!r}")
    if args.height:
        raise ValueError("--aggregate: likelihood is of poses of the model's own size; leave out --height")


def one_pose(model: Model, data: Detections, lifted: results.Drawn, args: argparse.Namespace) -> results.Drawn:
    """`pose` [N, J, 3] and `pose_root` [N, 3], metres, that --aggregate makes of the hypotheses.

    The root is that of the same aggregate of all hypotheses where they stand in the camera frame.
    """
    key = jax.random.fold_in(jax.random.key(args.seed), _PROBES)
    num, poses, roots = len(data.xy), [], []
    for start in range(0, num, _AT_ONCE):
        rows = np.minimum(np.arange(start, start + min(_AT_ONCE, num)), num - 1)  # of one shape: one program
        observed = (jnp.asarray(x[rows], jnp.float32) for x in (data.xy, data.confidence, data.intrinsics))
        pose, root = _aggregated(
            key, model, lifted["samples"][:, rows], lifted["root"][:, rows], *observed, how=args.aggregate
        )
        poses.append(np.asarray(pose)[: num - start])
        roots.append(np.asarray(root)[: num - start])
    return {"pose": np.concatenate(poses), "pose_root": np.concatenate(roots)}


@functools.partial(jax.jit, static_argnames="how")
def _aggregated(
    key: Key, model: Model, samples: Array, root: Array, xy: Array, confidence: Array, intrinsics: Array, *, how: str
) -> tuple[Array, Array]:
    weights = None
    if how == "reprojection":
        weights = aggregate.reprojection_weights(samples, xy, confidence, intrinsics)
    elif how == "likelihood":
        weights = aggregate.likelihood_weights(
            lifted_log_density(key, model, samples, xy, confidence, intrinsics=intrinsics)
        )
    one = aggregate.mean if weights is not None else getattr(aggregate, how)
    return one(samples, weights), one(samples + root[:, :, None], weights)[:, 0]


def completed_keypoints(data: Detections, lifted: results.Drawn) -> np.ndarray:
    """Keypoints [H, N, J, 2] px: those observed as they are, the others where the camera sees each sample's joint."""
    placed = jnp.asarray(lifted["samples"] + lifted["root"][:, :, None])
    seen = np.asarray(project(jnp.asarray(data.intrinsics, jnp.float32), placed))
    return np.where((data.confidence > 0)[..., None], data.xy, seen)


def write(
    out: Path,
    path: Path,
    model: Model,
    data: Detections,
    lifted: results.Drawn,
    args: argparse.Namespace,
    completed: np.ndarray | None = None,
    said: dict[str, Any] | None = None,
) -> Iterator[str]:
    """Write what lifting gave; completed: the `completed_keypoints`, if asked for; said: more of the summary."""
    kp, joints = data.source, model.skeleton.joints
    scale = f"a body height of {args.height} m" if args.height else model.spec.scale
    seconds, path_states = float(lifted.pop("seconds")), lifted.pop("path", None)
    summary = {
        **results.record(path, model, args, len(data.xy) * args.hypotheses, seconds),
        "num_detections": len(data.xy),
        "num_dropped": data.num_dropped,
        "num_hidden_joints": int((data.confidence == 0).sum()),
        "num_hypotheses": args.hypotheses,
        "frame_tag": FRAME_TAG,
        "scale": scale,
        "camera": data.camera,
        "spread_mm": results.spread_mm(lifted["covariance"], model.skeleton),
        **(OFFICIAL_RECORD | {"network_calls": len(model.spec.indices)} if is_official(model) else {}),
        **(said or {}),
    }
    arrays = {
        **lifted,
        "keypoints": data.xy,
        "confidence": data.confidence,
        "intrinsics": data.intrinsics,
        "frame": kp.frame,
        "person": kp.person,
        "image": np.array(kp.image, np.str_),
        "joints": np.array(joints),
        "frame_tag": np.array(FRAME_TAG),
        "scale": np.array(scale),
        **({} if completed is None else {"keypoints_completed": completed}),
    }
    visible = np.where(data.confidence[..., None] > 0, data.xy, np.nan)  # what is hidden is not drawn
    layers: dict[str, Any] = {"keypoints": visible, "confidence": data.confidence}
    layers["mean"] = lifted.get("pose", lifted["mean"])
    if completed is not None:
        layers |= {"observed": data.confidence > 0, "reprojected": completed}
    labels = [f"frame {f}, person {p}" for f, p in zip(kp.frame, kp.person, strict=True)]
    note = f"metres from {scale}; {data.camera}"
    picture = results.Picture(lifted["samples"], model.skeleton, labels, note, layers, kp.fps, path_states)
    yield from results.write(out, results.name_of(path), arrays, summary, picture, args)
