"""`jaxpose prepare h36m`, `videopose3d` and `3dhp`: poses as a folder to train from; `gmm`; `amass`, `fragments`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from jaxpose.commands import arguments, prepare_amass, prepare_body, prepare_gmm, prepare_motion


def add_parser(commands: arguments.Subparsers) -> None:
    """Add the command, with one of its own for each kind of file, to the parser."""
    parser = commands.add_parser(
        "prepare", help="published files of Human3.6M or MPI-INF-3DHP in, a folder to train from out"
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    h36m = kinds.add_parser("h36m", help="GFPose's pickles: h36m_train.pkl or h36m_test.pkl")
    h36m.add_argument("--poses", required=True, metavar="PKL", help="h36m_train.pkl or h36m_test.pkl")
    h36m.add_argument("--detections", metavar="PKL", help="h36m_sh_dt_ft.pkl; else true projections are taken")
    h36m.add_argument("--split", required=True, help="train or test: the part of the detections it belongs to")
    h36m.set_defaults(run=run_h36m)
    video = kinds.add_parser("videopose3d", help="VideoPose3D's archives: data_3d_h36m.npz")
    video.add_argument("--poses", required=True, metavar="NPZ", help="data_3d_h36m.npz")
    video.add_argument("--detections", metavar="NPZ", help="data_2d_h36m_*.npz; else true projections are taken")
    video.add_argument("--subjects", required=True, metavar="S9,S11", help="which subjects, by commas")
    video.set_defaults(run=run_videopose3d)
    mpi = kinds.add_parser("3dhp", help="P-STMO's archives of MPI-INF-3DHP: data_train_3dhp.npz")
    mpi.add_argument("--poses", required=True, metavar="NPZ", help="data_train_3dhp.npz or data_test_3dhp.npz")
    mpi.add_argument("--split", required=True, help="train or test: which of the two it is")
    mpi.set_defaults(run=run_3dhp)
    for kind in (h36m, video, mpi):
        kind.add_argument("--out", required=True, metavar="FOLDER", help="the folder to make")
    prepare_gmm.add_parser(kinds)
    prepare_body.add_parser(kinds)
    prepare_amass.add_parser(kinds)
    prepare_motion.add_parser(kinds)


def run_h36m(args: argparse.Namespace) -> Iterator[str]:
    """Convert one split of the pickles that GFPose reads."""
    from jaxpose.datasets.h36m_pickle import prepare_pickles

    return prepare_pickles(args.poses, args.detections, args.split, args.out)


def run_videopose3d(args: argparse.Namespace) -> Iterator[str]:
    """Convert subjects of the archives that VideoPose3D reads."""
    from jaxpose.datasets.videopose3d import prepare_videopose3d

    return prepare_videopose3d(args.poses, args.detections, args.subjects.split(","), args.out)


def run_3dhp(args: argparse.Namespace) -> Iterator[str]:
    """Convert one of the archives that P-STMO reads."""
    from jaxpose.datasets.mpi3dhp import prepare_3dhp

    return prepare_3dhp(args.poses, args.split, args.out)
