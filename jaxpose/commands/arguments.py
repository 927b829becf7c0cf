"""Flags that several commands share, and the reading of their values."""

from __future__ import annotations

import argparse
from typing import Any

Subparsers = Any  # argparse's own class of them is private


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """Where results go, the model and how it is sampled."""
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results; made where absent")
    parser.add_argument("--model", help="a bundled model's name or a .safetensors file")
    parser.add_argument("--steps", type=positive, metavar="T", help="solver steps (what validation chose)")
    parser.add_argument(
        "--sampler",
        default="posterior",
        metavar="NAME",
        help="posterior draws plausible poses (default), probability_flow draws them without noise on the way, "
        "mean_flow seeks their mean: one hypothesis is enough",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the one key all randomness flows from (0)")
    parser.add_argument("--no-pictures", action="store_true", help="write numbers only (.npz and .json)")
    parser.add_argument(
        "--path", action="store_true", help="write NAME_path.html too: how noise becomes poses, step by step"
    )


def add_hypotheses_flag(parser: argparse.ArgumentParser, default: int | None, said: str = "") -> None:
    """How many poses are drawn of each observation; said: the default in words, where the model chooses it."""
    parser.add_argument(
        "--hypotheses",
        type=positive,
        default=default,
        metavar="H",
        help=f"3D poses per observation ({said or default})",
    )


def add_skeleton_flag(parser: argparse.ArgumentParser) -> None:
    """The joint set of the input."""
    parser.add_argument("--skeleton", help="joint set of the input: h36m17, coco17, body25, halpe26, ...")


def add_points_flag(parser: argparse.ArgumentParser) -> None:
    """The joint set of the input, by the names of sets of body points too."""
    parser.add_argument(
        "--points",
        "--skeleton",
        dest="skeleton",
        metavar="SET",
        help="joint set of the input: smpl22, smpl24, coco17, openpose25, h36m17, ... (told by its names or number)",
    )


def add_prior_flag(parser: argparse.ArgumentParser) -> None:
    """What makes poses likely in a fit."""
    parser.add_argument(
        "--prior", default="dposer", metavar="NAME", help="dposer, the diffusion model (default), l2 or none"
    )


def add_body_flags(parser: argparse._ActionsContainer) -> None:
    """The body model, and files of bodies for other programs."""
    parser.add_argument(
        "--body", metavar="FILE", help="SMPL, SMPL-H or SMPL-X file, .npz or .pkl (default: a licence-free body)"
    )
    parser.add_argument("--bvh", action="store_true", help="write the (best) motion as .bvh too")
    parser.add_argument("--glb", action="store_true", help="write it as .glb too, a skinned mesh that moves")
    parser.add_argument("--obj", action="store_true", help="write up to 20 meshes, evenly spaced, as .obj too")


def add_fit_output_flags(parser: argparse.ArgumentParser) -> None:
    """Where bodies go, and the prior."""
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results; made where absent")
    parser.add_argument("--model", help="a prior over joint rotations: a bundled one's name or a .safetensors file")
    parser.add_argument("--seed", type=int, default=0, help="of the one key all randomness flows from (0)")
    parser.add_argument("--no-pictures", action="store_true", help="write no .png and no .html")
    parser.set_defaults(path=False)


def refuse(args: argparse.Namespace, flags: tuple[str, ...], why: str) -> None:
    """ValueError naming the first of the flags that was given; `why` says what they are for."""
    for flag in flags:
        if getattr(args, flag) not in (None, False, "posterior"):  # the default of --sampler
            raise ValueError(f"--{flag.replace('_', '-')}: {why}")


def add_keypoint_flags(parser: argparse._ActionsContainer, *, height: bool = True) -> None:
    """How a file of 2D keypoints is to be read, and which camera saw them; `detections` settles them."""
    parser.add_argument("--format", help="file format or joint set, where it cannot be told from the file")
    parser.add_argument(
        "--camera", "--intrinsics", metavar="FX,FY,CX,CY", help="intrinsics in pixels, the same for all images"
    )
    parser.add_argument("--camera-name", metavar="NAME", help="which camera of a file that holds several")
    parser.add_argument("--fov", type=float, metavar="DEG", help="field of view along the longer side, degrees")
    parser.add_argument("--image-size", metavar="W,H", help="pixels; needed for a field of view if the file has none")
    if height:
        parser.add_argument(
            "--height", type=float, metavar="M", help="body height in metres; else the model's knowledge"
        )
    else:
        parser.set_defaults(height=None)
    parser.add_argument("--track", action="store_true", help="link people over frames: ids that last through a clip")
    parser.add_argument("--min-confidence", type=float, default=0.1, metavar="C", help="joints below are hidden (0.1)")


def add_start_flags(parser: argparse.ArgumentParser) -> None:
    """What a DiffPose model starts from."""
    parser.add_argument(
        "--components",
        type=positive,
        metavar="M",
        help="DiffPose: Gaussians a joint that its samples start from (1, of heatmaps 5)",
    )
    parser.add_argument(
        "--depth",
        choices=("encoder", "histogram"),
        help="DiffPose: where the start's x, y, z come from, its encoder (default) or the training poses, blindly",
    )


def add_pose_flags(parser: argparse.ArgumentParser) -> None:
    """How a file of 3D joints is to be read."""
    parser.add_argument(
        "--up", metavar="AXIS", help="the file's axis that points up: --up=-y (camera axes, default), y or z"
    )
    parser.add_argument("--unit", metavar="UNIT", help="of the file's coordinates: m (default) or mm")


def positive(text: str) -> int:
    """A flag's whole number of 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"needed a positive number, got {text}")
    return value


def noise(args: argparse.Namespace, *, exact: bool) -> float | None:
    """The flag --noise in metres, or None where it was not given; `exact`: 0 is legal."""
    value: float | None = args.noise
    if value is None or (0 < value <= 0.5) or (exact and value == 0):
        return value
    raise ValueError(f"--noise: needed metres {'from 0' if exact else 'above 0'} to 0.5, got {value:g}")
