"""`jaxpose fit INPUT --out DIR`: 2D keypoints of one or several cameras in, bodies out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from jaxpose.commands import arguments


def add_parser(commands: arguments.Subparsers) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "fit",
        help="2D keypoints in, bodies out (pose, shape and place by optimisation)",
        description="Reads the 2D keypoints that `jaxpose lift` reads, or an .npz of several calibrated cameras "
        "(keypoints [F, C, K, 3], K, R, t, dist), and fits body models: each detection for itself, or with --as-clip "
        "each person as one moving body of one shape.",
    )
    parser.add_argument("input", metavar="INPUT", help="file or folder of 2D keypoints")
    arguments.add_points_flag(parser)
    arguments.add_keypoint_flags(parser, height=False)
    parser.add_argument("--cameras", metavar="0,1", help="which cameras of a file of several; by number or name (all)")
    parser.add_argument("--up", metavar="AXIS", help="the world's vertical of several cameras: z (default), y or -y")
    parser.add_argument(
        "--noise-px", type=float, metavar="PX", help="of a keypoint's coordinates (1 in 100 of the person's size)"
    )
    parser.add_argument("--as-clip", action="store_true", help="the frames of a person are one motion")
    parser.add_argument(
        "--smooth", type=float, metavar="W", help="of clips: weight of smoothness at 30 frames/s, 1/m^2 (600)"
    )
    parser.add_argument(
        "--start", metavar="NPZ", help="go on from body_pose, global_orient, transl, betas, row by row, in camera axes"
    )
    arguments.add_prior_flag(parser)
    arguments.add_body_flags(parser)
    arguments.add_fit_output_flags(parser)
    parser.set_defaults(run=run, hypotheses=1)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Read, fit and write."""
    from jaxpose.commands import bodies, detections, fit_run, fitted_bodies, results, views

    path, out = Path(args.input), Path(args.out)
    detections.check_flags(args)
    if args.noise_px is not None and not 0.1 <= args.noise_px <= 1000:
        raise ValueError(f"--noise-px: needed pixels from 0.1 to 1000, got {args.noise_px:g}")
    if args.smooth is not None and not (args.as_clip and args.smooth >= 0):
        raise ValueError(f"--smooth: needed --as-clip and a weight of 0 or more, got {args.smooth:g}")
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    results.check_out(out, path)
    model = fitted_bodies.model_of(args)
    body = bodies.load_body_of(args)
    seen = views.read_views(path, body, args)
    yield from seen.said
    start = None if args.start is None else fit_run.read_start(Path(args.start), len(seen.xy), body)
    rows = yield from (fit_run.fit_clips if args.as_clip else fit_run.fit_frames)(body, model, seen, start, args)
    yield from fit_run.write(out, path, model, body, seen, rows, args)
