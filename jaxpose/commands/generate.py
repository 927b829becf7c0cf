"""`jaxpose generate --num N --out DIR`: poses out of nothing."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from jaxpose.commands import arguments

_NAME = "generated"


def add_parser(commands: arguments.Subparsers) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "generate",
        help="3D poses out of nothing",
        description="Draws poses of the kind the model was trained on and writes them (generated.npz, `samples` "
        "[N, J, 3] metres relative to the root, as a level camera sees them), a summary and pictures. With a prior "
        "over joint rotations (prior21): `body_pose` [N, 21, 3] radians, and the bodies they are, y up.",
    )
    parser.add_argument("--num", type=arguments.positive, required=True, metavar="N", help="how many poses")
    parser.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        metavar="T",
        help="1 draws what the model takes for the law of poses (default); below, likelier and less varied ones",
    )
    arguments.add_output_flags(parser)
    arguments.add_body_flags(parser.add_argument_group("models of joint rotations"))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Draw and write."""
    import time

    import jax
    import numpy as np

    from jaxpose.commands import bodies, results
    from jaxpose.tasks.generate import NUM_STEPS, jitted_generate

    if not 0 <= args.temperature <= 2:
        raise ValueError(f"--temperature: needed a number from 0 to 2, got {args.temperature}")
    out = Path(args.out)
    results.check_out(out)
    model = results.load_model(args)
    if bodies.is_prior(model):
        from jaxpose.commands import generate_rotations

        arguments.refuse(args, ("path",), "is for models of joint positions")
        yield from generate_rotations.run(args, out, _NAME, model)
        return
    arguments.refuse(args, ("body", "bvh", "glb", "obj"), "is for a prior over joint rotations, such as prior21")
    if not model.spec.times:  # a few-step model has its own
        args.steps = args.steps or NUM_STEPS
    started = time.time()
    drawn = np.asarray(
        jitted_generate(
            jax.random.key(args.seed),
            model,
            args.num,
            num_steps=args.steps,
            sampler=args.sampler,
            temperature=args.temperature,
            return_path=args.path,
        )
    )
    seconds = time.time() - started
    samples = drawn[-1] if args.path else drawn
    yield f"drew {args.num} poses, {args.num / seconds:,.0f} poses/s"
    tag = "camera axes: x right, y down, z forward; metres relative to the root joint"
    arrays = {
        "samples": samples,
        "frame": np.arange(args.num),
        "joints": np.array(model.skeleton.joints),
        "up": np.array("-y"),
        "unit": np.array("m"),
        "frame_tag": np.array(tag),
    }
    summary = {
        **results.record(None, model, args, args.num, seconds),
        "num_poses": args.num,
        "temperature": args.temperature,
        "frame_tag": tag,
        "scale": model.spec.scale,
    }
    labels = [f"pose {i}" for i in range(args.num)]
    path = drawn[:, None] if args.path else None
    picture = results.Picture(samples[None], model.skeleton, labels, "out of nothing", {}, path=path, one_motion=False)
    yield from results.write(out, _NAME, arrays, summary, picture, args)
