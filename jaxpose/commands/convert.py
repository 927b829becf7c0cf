"""`jaxpose convert gfpose | diffpose | dposer FILE --out FILE.safetensors`: original checkpoints as models here."""

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
    diffpose = systems.add_parser("diffpose", help="DiffPose's *.pth, GraFormer's of 17 joints, MixSTE's *.bin")
    diffpose.add_argument("files", nargs="+", metavar="FILE", help="a denoiser, an encoder of frames or video, or both")
    diffpose.add_argument("--out", required=True, metavar="FILE.safetensors", help="the model file to write")
    diffpose.add_argument(
        "--weights", default="raw", help="raw, which DiffPose evaluates (default), or ema, the averaged ones"
    )
    diffpose.add_argument(
        "--schedule", help="released evaluation to follow: cpn (default), gt, or video (default with MixSTE)"
    )
    diffpose.set_defaults(run=run_diffpose)
    dposer = systems.add_parser("dposer", help="DPoser's *.pth, and *.ckpt of its body, DPoser-X's too")
    dposer.add_argument("file", metavar="FILE", help="the checkpoint, as PyTorch or Lightning saved it")
    dposer.add_argument("--out", required=True, metavar="FILE.safetensors", help="the model file to write")
    dposer.add_argument(
        "--normalizer",
        metavar="FILE.pt",
        help="statistics of the training poses, that came with the checkpoint: axis_normalize2.pt or the like",
    )
    dposer.add_argument(
        "--identity-normalizer", action="store_true", help="none: states are the normalised numbers themselves"
    )
    dposer.add_argument(
        "--weights", default="ema", help="ema, the averaged ones that DPoser evaluates (default), or raw"
    )
    dposer.set_defaults(run=run_dposer)


def run_gfpose(args: argparse.Namespace) -> Iterator[str]:
    """Convert a checkpoint of GFPose."""
    from jaxpose.convert.gfpose import convert_gfpose

    return convert_gfpose(args.file, args.out, weights=args.weights)


def run_diffpose(args: argparse.Namespace) -> Iterator[str]:
    """Convert one or two checkpoints of DiffPose to one model."""
    from jaxpose.convert.diffpose import convert_diffpose

    return convert_diffpose(args.files, args.out, weights=args.weights, schedule=args.schedule)


def run_dposer(args: argparse.Namespace) -> Iterator[str]:
    """Convert a checkpoint of DPoser."""
    from jaxpose.convert.dposer import convert_dposer

    return convert_dposer(
        args.file, args.out, normaliser=args.normalizer, weights=args.weights, identity=args.identity_normalizer
    )
