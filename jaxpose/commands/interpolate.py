"""`jaxpose interpolate A B --out DIR`: two body poses in, a path of plausible poses between them out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from jaxpose.commands import arguments


def add_parser(commands: arguments.Subparsers) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "interpolate",
        help="two body poses in, a motion between them through the prior's latent space out",
        description="Reads a frame of each of two files of joint rotations (AMASS .npz, .bvh, .amc, arrays) and writes "
        "the motion between them. The root's rotation goes the shorter way, its position along a line.",
    )
    parser.add_argument("first", metavar="A", help="file of the first pose")
    parser.add_argument("second", metavar="B", help="file of the last pose; may be the same")
    parser.add_argument("--frame-a", type=int, default=0, metavar="F", help="which frame of A (0); -1 is the last")
    parser.add_argument("--frame-b", type=int, default=0, metavar="F", help="which frame of B (0)")
    parser.add_argument("--num", type=int, default=60, metavar="N", help="poses, both ends included (60)")
    parser.add_argument("--fps", type=float, default=30.0, metavar="N", help="frames per second of the result (30)")
    arguments.add_body_flags(parser)
    arguments.add_fit_output_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Read, carry over and write."""
    import time

    import jax
    import numpy as np

    from jaxpose.commands import bodies, motions, results
    from jaxpose.io.motion import Motion, resample
    from jaxpose.tasks.rotations import interpolate_rotations

    out, paths = Path(args.out), (Path(args.first), Path(args.second))
    if args.num < 2:
        raise ValueError(f"--num: needed 2 or more, for both ends, got {args.num}")
    if not 0 < args.fps <= 1000:
        raise ValueError(f"--fps: needed frames per second up to 1000, got {args.fps:g}")
    for path in paths:
        results.check_out(out, path)
    model = bodies.load_prior(args)
    body = bodies.load_body_of(args)
    ends = []
    for path, flag, frame in zip(paths, ("--frame-a", "--frame-b"), (args.frame_a, args.frame_b), strict=True):
        motion, _ = motions.read_rotations(path)
        num = len(motion.body_pose)
        if not -num <= frame < num:
            raise ValueError(f"{flag}: got {frame}; {path} has frames 0 to {num - 1}")
        ends.append((motion.body_pose[frame], motion.global_orient[frame], motion.transl[frame]))
        yield f"{path}: frame {frame % num} of {num}; {motion.source}"
    pose, root, pelvis = (np.stack(pair) for pair in zip(*ends, strict=True))
    started = time.time()
    path_fn = jax.jit(interpolate_rotations, static_argnames=("num",))
    body_pose = np.array(path_fn(model, pose[0], pose[1], num=args.num))
    off = np.degrees(max(np.linalg.norm(body_pose[i] - pose[i], axis=-1).max() for i in (0, -1)))
    seconds = time.time() - started
    yield f"{args.num} poses; the path meets its ends within {off:.2g} degrees"
    still = Motion(np.zeros((2, 21, 3), np.float32), root, pelvis, 1.0)
    moved = resample(still, args.num - 1.0)  # the two ends are one second apart: N - 1 steps
    tag = bodies.FRAME_TAGS["y"]
    arrays = {
        "body_pose": body_pose,
        "global_orient": moved.global_orient,
        "pelvis": moved.transl,
        "joints3d": bodies.joints_of(body, body_pose, moved.global_orient, moved.transl),
        "joints": np.array(("pelvis", *bodies.BODY_JOINTS)),
        **{"frame": np.arange(args.num), "fps": args.fps, "up": "y", "unit": "m", "frame_tag": tag},
    }
    summary = {
        **bodies.record(None, model, args, seconds),
        **{"inputs": [str(path) for path in paths], "frames": [args.frame_a, args.frame_b], "num_poses": args.num},
        **{"ends_met_within_degrees": round(float(off), 4), "frame_tag": tag},
    }
    shown = bodies.Shown(
        body_pose[None],
        moved.global_orient[None],
        moved.transl[None],
        None,
        [""] * args.num,
        args.fps,
        f"from {paths[0].name} to {paths[1].name}",
        "latent path",
    )
    yield from bodies.write(out, "interpolated", arrays, summary, shown, body, args)
