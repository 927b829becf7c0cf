"""`jaxpose denoise INPUT --out DIR`: noisy 3D joints in, clean poses out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from jaxpose.commands import arguments

_HYPOTHESES = 50
_ROTATIONS = ("fps", "shape", "body", "bvh", "glb", "obj")


def add_parser(commands: arguments.Subparsers) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "denoise",
        help="noisy 3D joints in, clean poses out",
        description="Reads 3D joints (.npz, .npy, .csv, .json), none of them missing, and writes samples of the clean "
        "poses (.npz), a summary (.json), a contact sheet (.png) and an interactive scene (.html). With a prior over "
        "joint rotations (prior21) the poses are the frames of a motion, joints may be missing, a file of rotations "
        "will do, and the result is one moving body for each person, y up.",
    )
    parser.add_argument("input", metavar="INPUT", help="file of 3D joints, or of joint rotations")
    parser.add_argument(
        "--noise", type=float, metavar="METRES", help="per coordinate; else estimated for each pose, and said"
    )
    arguments.add_points_flag(parser)
    arguments.add_pose_flags(parser)
    arguments.add_hypotheses_flag(parser, None, "50")
    arguments.add_output_flags(parser)
    motion = parser.add_argument_group("models of joint rotations")
    motion.add_argument("--fps", type=float, metavar="N", help="frames per second (of the file, else 30)")
    motion.add_argument("--shape", action="store_true", help="fit the body's shape too, for people of other sizes")
    arguments.add_body_flags(motion)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Read, denoise and write; the noise that was given or found is said and stands in the summary."""
    import jax.numpy as jnp
    import numpy as np

    from jaxpose.base import Key
    from jaxpose.commands import bodies, poses, results
    from jaxpose.tasks.denoise import estimate_calls, jitted_denoise
    from jaxpose.tasks.draw import Posed, network_calls

    path, out = Path(args.input), Path(args.out)
    noise = arguments.noise(args, exact=False)
    results.check_out(out, path)
    model = results.load_model(args)
    if bodies.is_prior(model):
        from jaxpose.commands import denoise_motion

        arguments.refuse(args, ("hypotheses", "steps", "path", "sampler"), "is for models of joint positions")
        args.prior = "dposer"
        yield from denoise_motion.run(args, path, out, model)
        return
    arguments.refuse(args, _ROTATIONS, "is for a prior over joint rotations, such as prior21")
    args.hypotheses = args.hypotheses or _HYPOTHESES
    data = poses.read_observed(path, model.skeleton, args)
    broken = np.flatnonzero(~np.isfinite(data.joints).all((1, 2)))
    if broken.size:
        lacks = poses.missing_per_joint(data.joints[broken[:1]], model.skeleton)
        raise ValueError(
            f"{path}: {poses.label(data.source, broken[0])} lacks {', '.join(lacks)}; denoise needs all joints, "
            "`jaxpose complete --noise METRES` takes what is there"
        )
    yield from poses.describe(path, data)

    def draw(key: Key, rows: np.ndarray, return_path: bool) -> Posed:
        return jitted_denoise(
            key,
            model,
            jnp.asarray(data.joints[rows]),
            noise=None if noise is None else jnp.float32(noise),
            num_hypotheses=args.hypotheses,
            num_steps=args.steps,
            sampler=args.sampler,
            return_path=return_path,
        )

    posed = yield from results.in_blocks(draw, len(data.joints), args)
    found = 1000 * posed["noise"][:, 0].astype(np.float64)
    source = (
        f"noise {'estimated' if args.noise is None else 'given'}: {np.median(found):.0f} mm per coordinate"
        f"{f' in the median, {found.min():.0f} to {found.max():.0f}' if args.noise is None else ''}"
    )
    yield source
    calls = network_calls(model, args.sampler, args.steps) + (estimate_calls(model) if args.noise is None else 0)
    said = {"noise_source": source, "noise_mm": found.round(1).tolist(), "network_calls": calls}
    yield from poses.write(out, path, model, data, posed, args, said)
