"""`jaxpose lift INPUT --out DIR`: 2D keypoints in, many 3D poses in metres out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from jaxpose.commands import arguments

_AGGREGATES = (*("reprojection", "likelihood"), *("mean", "median", "geometric_median", "medoid", "mode", "pose_mode"))


def add_parser(commands: arguments.Subparsers) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "lift",
        help="2D keypoints in, many 3D poses in metres out",
        description="Reads COCO, OpenPose, MMPose/RTMPose and AlphaPose JSON (a file or a folder), .npz, .npy and "
        ".csv of keypoints, .npz and .npy of heatmaps, and writes "
        "samples (.npz), a summary (.json), a contact sheet (.png) and an interactive scene (.html).",
    )
    parser.add_argument("input", metavar="INPUT", help="file or folder of 2D keypoints, or file of heatmaps")
    arguments.add_skeleton_flag(parser)
    arguments.add_keypoint_flags(parser)
    arguments.add_hypotheses_flag(parser, 200)
    arguments.add_start_flags(parser)
    parser.add_argument(
        "--aggregate",
        choices=_AGGREGATES,
        default="reprojection",
        help="the one pose that pictures show of many hypotheses, written as `pose` and `pose_root`: the mean "
        "weighted by agreement with the keypoints (default) or by likelihood (slow), or an aggregate without weights",
    )
    arguments.add_output_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Read, lift and write; what was assumed of the camera and of scale is said and stands in the summary."""
    from jaxpose.commands import detections, lifting, results

    path, out = Path(args.input), Path(args.out)
    detections.check_flags(args)
    results.check_out(out, path)
    model = results.load_joint_model(args)
    start = lifting.Start(args.components, args.depth)
    lifting.check_start(model, start)
    lifting.check_aggregate(model, args)
    data = detections.read_detections(
        path, model.skeleton, args, whole=lifting.is_official(model), video=lifting.window_length(model) is not None
    )
    yield from detections.describe(path, data)
    lifted = yield from lifting.lift_all(model, data, args, start)
    lifted |= lifting.one_pose(model, data, lifted, args)
    yield from lifting.write(out, path, model, data, lifted, args, said={"aggregate": args.aggregate})
