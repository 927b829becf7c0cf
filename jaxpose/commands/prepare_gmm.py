"""`jaxpose prepare gmm`: 2D detections or heatmaps as the mixtures of Gaussians that DiffPose starts from."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from jaxpose.commands import arguments

# Source -> the flags that mean something to it; others would be ignored in silence.
_FLAGS = {
    "detections": ("components", "sigma", "image_size"),
    "keypoints": ("components", "sigma", "image_size", "skeleton", "format"),
    "heatmaps": ("components", "samples", "seed", "image_size", "skeleton", "missing"),
}


def add_parser(kinds: arguments.Subparsers) -> None:
    """Add the kind `gmm` to the parser of `jaxpose prepare`."""
    gmm = kinds.add_parser("gmm", help="2D detections or heatmaps as DiffPose's *_gmm.npz")
    source = gmm.add_mutually_exclusive_group(required=True)
    source.add_argument("--detections", metavar="NPZ", help="VideoPose3D's data_2d_*.npz")
    source.add_argument("--keypoints", metavar="FILE", help="a file or folder of keypoints, as `lift` takes")
    source.add_argument("--heatmaps", metavar="FILE", help=".npz or .npy of heatmaps [N, J, h, w]: fitted by EM")
    gmm.add_argument("--out", required=True, metavar="NPZ", help="the file to write")
    gmm.add_argument(
        "--components", type=arguments.positive, metavar="M", help="Gaussians a joint (1, 2 with confidences, 5)"
    )
    gmm.add_argument("--sigma", type=float, metavar="S", help="deviation of a detection; the image is 2 wide (0.01)")
    gmm.add_argument("--samples", type=arguments.positive, metavar="N", help="points drawn from each heatmap (1000)")
    gmm.add_argument("--seed", type=int, help="of the points drawn from heatmaps (0)")
    gmm.add_argument("--missing", choices=("error", "hide"), help="a heatmap of zeros: an error (default), or anywhere")
    gmm.add_argument("--image-size", type=_size, metavar="W,H", help="pixels, where the file does not say")
    gmm.add_argument("--format", help="file format of --keypoints, where it cannot be told from the file")
    arguments.add_skeleton_flag(gmm)
    gmm.set_defaults(run=run)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Convert the one source that was given."""
    from jaxpose.datasets.prepare_gmm import gmm_of_detections, gmm_of_heatmaps, gmm_of_keypoints
    from jaxpose.geometry.skeleton import get_skeleton

    functions: dict[str, Any] = {
        "detections": gmm_of_detections,
        "keypoints": gmm_of_keypoints,
        "heatmaps": gmm_of_heatmaps,
    }
    source = next(name for name in functions if getattr(args, name) is not None)
    names = {name for flags in _FLAGS.values() for name in flags}
    given = {name: getattr(args, name) for name in sorted(names) if getattr(args, name) is not None}
    for name in given:
        if name not in _FLAGS[source]:
            flags = ", ".join(f"--{flag.replace('_', '-')}" for flag in _FLAGS[source])
            raise ValueError(f"--{name}: means nothing to --{source}; legal are {flags}")
    if "skeleton" in given:
        given["skeleton"] = get_skeleton(given["skeleton"])
    return functions[source](getattr(args, source), args.out, **given)


def _size(text: str) -> tuple[int, int]:
    width, comma, height = text.partition(",")
    if not (comma and width.strip().isdigit() and height.strip().isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"needed WIDTH,HEIGHT in whole pixels, got {text!r}")
    return int(width), int(height)
