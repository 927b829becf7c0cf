"""`jaxpose convert gfpose FILE --out FILE.safetensors`: checkpoints of the original systems as models of this one."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from jaxpose.commands import arguments


def add_parser(commands: arguments.Subparsers) -> None:
    """Add the command, with one of its own for each system, to the parser."""
    parser = commands.add_parser("convert", help="a checkpoint of an original system in, a model file out")
    systems = parser.add_subparsers(dest="system", required=True)
    gfpose = systems.add_parser("gfpose", help="GFPose's checkpoint_*.pth")
    gfpose.add_argument("file", metavar="FILE", help="the checkpoint, as PyTorch saved it")
    gfpose.add_argument("--out", required=True, metavar="FILE.safetensors", help="the model file to write")
    gfpose.add_argument(
        "--weights", default="ema", help="ema, the averaged ones that GFPose evaluates (default), or raw"
    )
    gfpose.set_defaults(run=run_gfpose)


def run_gfpose(args: argparse.Namespace) -> Iterator[str]:
    """Convert a checkpoint of GFPose."""
    from jaxpose.convert import convert_gfpose

    return convert_gfpose(args.file, args.out, weights=args.weights)
