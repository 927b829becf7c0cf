"""`jaxpose generate` with a prior over joint rotations: body poses, and the bodies they are."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from jaxpose.commands import bodies
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.model import Model
from jaxpose.tasks.rotations import generate_rotations

jitted_generate_rotations = jax.jit(
    generate_rotations, static_argnames=("num", "num_steps", "sampler", "temperature", "chunk")
)


def run(args: argparse.Namespace, out: Path, name: str, model: Model) -> Iterator[str]:
    """Draw body poses and write them."""
    body = bodies.load_body_of(args)
    started = time.time()
    drawn = jitted_generate_rotations(
        jax.random.key(args.seed),
        model,
        args.num,
        num_steps=args.steps,
        sampler=args.sampler,
        temperature=args.temperature,
    )
    body_pose = np.asarray(drawn)
    seconds = time.time() - started
    yield f"drew {args.num} body poses, {args.num / seconds:,.0f} poses/s"
    still = np.zeros((args.num, 3), np.float32)
    joints = bodies.joints_of(body, body_pose, still, still)
    tag = f"{bodies.FRAME_TAGS['y']}; pelvis at the origin, facing z"
    arrays = {
        "body_pose": body_pose,
        "samples": joints,
        "frame": np.arange(args.num),
        "joints": np.array(SMPL_22.joints),
        "body_joints": np.array(bodies.BODY_JOINTS),
        "up": "y",
        "unit": "m",
        "frame_tag": tag,
    }
    summary = {
        **bodies.record(None, model, args, seconds),
        "sampler": args.sampler,
        "num_poses": args.num,
        "temperature": args.temperature,
        "frame_tag": tag,
        "poses_per_second": round(args.num / seconds, 1),
    }
    names = [f"pose {i}" for i in range(args.num)]
    shown = bodies.Shown(
        body_pose[None],
        still[None],
        still[None],
        None,
        names,
        source="poses out of nothing, not a motion",
        note="out of nothing",
    )
    yield from bodies.write(out, name, arrays, summary, shown, body, args)
