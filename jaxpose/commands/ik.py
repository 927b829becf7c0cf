"""`jaxpose ik INPUT --out DIR`: 3D points of bodies, some of them missing, in; whole bodies out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jaxpose.commands import arguments

if TYPE_CHECKING:  # loading it takes seconds
    from jaxpose.base import Key
    from jaxpose.commands.fitting import Rows


def add_parser(commands: arguments.Subparsers) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "ik",
        help="3D markers or end effectors in, bodies out (inverse kinematics)",
        description="Reads 3D points (.npz, .npy, .csv, .json; NaN where missing) and writes bodies whose points agree "
        "with them and whose other joints are likely under the prior, each frame for itself. World axes, y up.",
    )
    parser.add_argument("input", metavar="INPUT", help="file of 3D points")
    arguments.add_points_flag(parser)
    parser.add_argument("--only", metavar="NAMES", help="points to use, by commas: left_wrist,right_wrist,nose; or all")
    parser.add_argument(
        "--noise", type=float, default=0.01, metavar="M", help="of the points, metres per coordinate (0.01)"
    )
    arguments.add_pose_flags(parser)
    arguments.add_prior_flag(parser)
    parser.add_argument("--shape", action="store_true", help="fit the body's shape too, for people of other sizes")
    arguments.add_hypotheses_flag(parser, 1)
    arguments.add_body_flags(parser)
    arguments.add_fit_output_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Read, fit and write."""
    import jax.numpy as jnp
    import numpy as np

    from jaxpose.commands import bodies, fitted_bodies, fitting, points, results

    path, out = Path(args.input), Path(args.out)
    noise = arguments.noise(args, exact=True)
    results.check_out(out, path)
    model = fitted_bodies.model_of(args)
    body = bodies.load_body_of(args)
    targets = points.read_targets(path, body, args, args.only)
    points.check_enough(path, targets)
    yield f"{path}: {len(targets.xyz)} poses, {targets.said}; noise taken as {1000 * args.noise:g} mm"

    def draw(key: Key, rows: np.ndarray, return_path: bool) -> Rows:
        return fitting.ik_rows(
            key,
            body,
            model,
            jnp.asarray(targets.xyz[rows])[:, None],
            jnp.float32(noise),
            points=targets.points,
            prior=args.prior,
            num_hypotheses=args.hypotheses,
            shape=args.shape,
        )

    rows = yield from results.in_blocks(draw, len(targets.xyz), args)
    rows = fitted_bodies.best_first(rows)
    error = fitted_bodies.point_error(body, rows, targets)
    yield fitted_bodies.say_error(error)
    said = {"noise_m": args.noise, "only": args.only, "num_hypotheses": args.hypotheses}
    yield from fitted_bodies.write_fit_3d(out, path, model, body, targets, rows, error, args, said)
