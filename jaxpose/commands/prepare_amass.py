"""`jaxpose prepare amass` and `fragments`: AMASS as rotations to train from, and motion cut into short pieces."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from jaxpose.commands import arguments


def add_parser(kinds: arguments.Subparsers) -> None:
    """Add the kinds `amass` and `fragments` to the parser of `jaxpose prepare`."""
    amass = kinds.add_parser("amass", help="AMASS (SMPL-H or SMPL-X) as body rotations to train from")
    amass.add_argument("--root", required=True, metavar="DIR", help="the folder that holds AMASS's subsets")
    amass.add_argument("--split", required=True, help="train, valid or test: DPoser's shares of the subsets")
    amass.add_argument("--subsets", metavar="A,B", help="other subsets than the split's, by commas")
    amass.add_argument("--fps", type=float, help="about this many frames a second of motion (30)")
    amass.add_argument("--seed", type=int, default=0, help="of the frames drawn by --published-selection (0)")
    amass.add_argument(
        "--published-selection",
        action="store_true",
        help="24 %% of the frames at random, as published: recordings of 120 fps count 4 times those of 30",
    )
    amass.add_argument("--out", required=True, metavar="FOLDER", help="<split>.npz and .json go there")
    amass.set_defaults(run=run_amass)
    pieces = kinds.add_parser("fragments", help="motion as pieces of equal length, to denoise")
    pieces.add_argument("files", nargs="+", metavar="FILE", help=".npz, .npy, .bvh, .amc, or a folder of them")
    pieces.add_argument("--length", type=arguments.positive, default=60, metavar="F", help="frames each (60)")
    pieces.add_argument("--out", required=True, metavar="FOLDER", help="the folder to make")
    pieces.set_defaults(run=run_fragments)


def run_amass(args: argparse.Namespace) -> Iterator[str]:
    """Convert the subsets of one split."""
    from jaxpose.datasets.amass import prepare_amass

    if args.published_selection and args.fps is not None:
        raise ValueError("--fps: means nothing to --published-selection, which draws frames at any rate")
    subsets = None if args.subsets is None else tuple(name.strip() for name in args.subsets.split(","))
    return prepare_amass(
        args.root,
        args.split,
        args.out,
        subsets=subsets,
        fps=30.0 if args.fps is None else args.fps,
        seed=args.seed,
        published=args.published_selection,
    )


def run_fragments(args: argparse.Namespace) -> Iterator[str]:
    """Cut files of motion."""
    from jaxpose.datasets.fragments import prepare_fragments

    return prepare_fragments(args.files, args.out, length=args.length)
