"""From detections to lifted poses and their files; `lift` and `complete` on 2D keypoints share it."""

from __future__ import annotations

import argparse
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxpose.base import Key
from jaxpose.commands import results
from jaxpose.commands.detections import Detections
from jaxpose.geometry.camera import project
from jaxpose.model import Model
from jaxpose.tasks.lift import Lifted, jitted_lift

FRAME_TAG = "camera axes: x right, y down, z forward; metres relative to the root joint"


def lift_all(model: Model, data: Detections, args: argparse.Namespace) -> Generator[str, None, results.Drawn]:
    """Lift all detections, block by block."""

    def draw(key: Key, rows: np.ndarray, return_path: bool) -> Lifted:
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
            return_path=return_path,
        )

    return results.in_blocks(draw, len(data.xy), args)


def completed_keypoints(data: Detections, lifted: results.Drawn) -> np.ndarray:
    """Keypoints [H, N, J, 2] px: those observed as they are, the others where the camera sees each sample's joint."""
    placed = jnp.asarray(lifted["samples"] + lifted["root"][:, :, None])
    seen = np.asarray(project(jnp.asarray(data.intrinsics, jnp.float32), placed))
    return np.where((data.confidence > 0)[..., None], data.xy, seen)


def write(
    out: Path, path: Path, model: Model, data: Detections, lifted: results.Drawn, args: argparse.Namespace,
    completed: np.ndarray | None = None, said: dict[str, Any] | None = None,
) -> Iterator[str]:  # fmt: skip
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
    layers: dict[str, Any] = {"keypoints": visible, "confidence": data.confidence, "mean": lifted["mean"]}
    if completed is not None:
        layers |= {"observed": data.confidence > 0, "reprojected": completed}
    labels = [f"frame {f}, person {p}" for f, p in zip(kp.frame, kp.person, strict=True)]
    note = f"metres from {scale}; {data.camera}"
    picture = results.Picture(lifted["samples"], model.skeleton, labels, note, layers, kp.fps, path_states)
    yield from results.write(out, results.name_of(path), arrays, summary, picture, args)
