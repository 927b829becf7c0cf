"""`jaxpose fuse FILE.npz [FILE.npz ...] --out DIR`: one person in several calibrated cameras in, many 3D poses out.

Each moment is a posterior: the model's law of poses, known to nothing, times how well a pose fits the keypoints of all
cameras at once (`tasks/observations.py`, `tasks/posterior.py`). One camera is legal too, and leaves the depth open.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from jaxpose.commands import arguments

METHODS = ("pseudo_inverse", "dps")
_HYPOTHESES = 100


def add_parser(commands: arguments.Subparsers) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "fuse",
        help="2D keypoints of several calibrated cameras in, many 3D poses in their world out",
        description="Reads .npz of one person in calibrated cameras (keypoints [F, C, K, 3], K, R, t, dist), one file "
        "of all cameras or a file for each, and writes samples (.npz), a summary (.json), a contact sheet (.png) and "
        "an interactive scene (.html).",
    )
    parser.add_argument("input", metavar="FILE", nargs="+", help=".npz of keypoints and calibrated cameras")
    arguments.add_points_flag(parser)
    parser.add_argument("--cameras", metavar="0,1", help="which cameras of a file of several; by number or name (all)")
    parser.add_argument("--up", metavar="AXIS", help="the world's vertical: z (default), y or -y")
    parser.add_argument("--min-confidence", type=float, default=0.1, metavar="C", help="joints below are hidden (0.1)")
    parser.add_argument(
        "--noise-px",
        type=float,
        metavar="PX",
        help="of a sure keypoint's coordinates; unsure ones have more (1.2 in 100 of the person's size in each image)",
    )
    arguments.add_hypotheses_flag(parser, _HYPOTHESES)
    parser.add_argument(
        "--method", default="pseudo_inverse", metavar="NAME", help=f"how the law is drawn from: {', '.join(METHODS)}"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results; made where absent")
    parser.add_argument("--model", help="a bundled model's name or a .safetensors file")
    parser.add_argument("--steps", type=arguments.positive, metavar="T", help="solver steps (50)")
    parser.add_argument("--seed", type=int, default=0, help="of the one key all randomness flows from (0)")
    parser.add_argument("--no-pictures", action="store_true", help="write numbers only (.npz and .json)")
    # of readers and writers shared with commands that have these flags
    parser.set_defaults(run=run, path=False, sampler="posterior", camera=None, fov=None, camera_name=None, format=None)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Read, fuse and write."""
    from jaxpose.commands import fusing

    return fusing.fuse(args)
