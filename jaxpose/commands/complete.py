"""`jaxpose complete INPUT --out DIR`: poses with missing joints in, many whole poses out.

3D joints go to tasks.complete, 2D keypoints to tasks.lift. Names of --hide are joints of the model.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jaxpose.commands import arguments

if TYPE_CHECKING:  # loading them takes seconds
    from jaxpose.base import Key
    from jaxpose.commands.hiding import Hide
    from jaxpose.model import Model
    from jaxpose.tasks.draw import Posed

_ONLY_2D = ("format", "camera", "camera_name", "fov", "image_size", "height")
_ONLY_3D = ("noise", "up", "unit")
_ONLY_JOINTS = (*_ONLY_2D, "noise", "unit", "skeleton", "track", "path", "sampler")
_ONLY_ROTATIONS = ("method", "fps", "body", "bvh", "glb", "obj")


def add_parser(commands: arguments.Subparsers) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "complete",
        help="3D joints or 2D keypoints, some missing, in; many whole 3D poses out",
        description="Reads 3D joints (.npz, .npy, .csv, .json; NaN, null or confidence 0 where missing) or the 2D "
        "keypoints that `jaxpose lift` reads, and writes whole poses as it does. With a prior over joint rotations "
        "(prior21) the input is of rotations: AMASS .npz, .bvh, .amc, or arrays [F, 63, 66, 69, 72, 156 or 165], NaN "
        "where missing.",
    )
    parser.add_argument(
        "input", metavar="INPUT", help="file of 3D joints or of rotations, or file or folder of 2D keypoints"
    )
    parser.add_argument(
        "--hide",
        metavar="WHAT",
        help="hide more: joints (left_knee), parts (left_leg, right_leg, left_arm, right_arm, trunk) and random:K, K "
        "of knees, ankles, elbows and wrists drawn for each pose; separated by commas. Of rotations: joints, parts, "
        "legs, arms, hands, left_body, right_body",
    )
    parser.add_argument("--noise", type=float, metavar="M", help="of the 3D joints, metres per coordinate (0: exact)")
    arguments.add_skeleton_flag(parser)
    arguments.add_pose_flags(parser)
    arguments.add_hypotheses_flag(parser, None, "200; of rotations 10")
    arguments.add_output_flags(parser)
    arguments.add_keypoint_flags(parser.add_argument_group("2D keypoints"))
    rotations = parser.add_argument_group("models of joint rotations")
    rotations.add_argument("--method", metavar="NAME", help="dposer (default), replace, dps or mcg")
    rotations.add_argument("--fps", type=float, metavar="N", help="frames per second of files that do not say")
    arguments.add_body_flags(rotations)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Read, hide, complete and write; what was hidden or assumed is said and stands in the summary."""
    from jaxpose.commands import bodies, hiding, results
    from jaxpose.io.poses3d_files import holds_poses3d

    path, out = Path(args.input), Path(args.out)
    model = results.load_model(args)
    if bodies.is_prior(model):
        from jaxpose.commands import complete_rotations

        arguments.refuse(args, _ONLY_JOINTS, "is for models of joint positions")
        results.check_out(out, path)
        args.hypotheses = args.hypotheses or 10
        yield from complete_rotations.run(args, path, out, model)
        return
    arguments.refuse(args, _ONLY_ROTATIONS, "is for a prior over joint rotations, such as prior21")
    args.hypotheses = args.hypotheses or 200
    in_3d = holds_poses3d(path)
    for flag in _ONLY_2D if in_3d else _ONLY_3D:
        if getattr(args, flag) is not None:
            found, needed = ("3D joints", "2D keypoints") if in_3d else ("2D keypoints", "3D joints")
            raise ValueError(f"--{flag.replace('_', '-')}: is for {needed}, and {path} holds {found}")
    results.check_out(out, path)
    hide = hiding.parse_hide(args.hide, model.skeleton)
    yield from (_complete_3d if in_3d else _complete_2d)(path, out, model, hide, args)


def _complete_3d(path: Path, out: Path, model: Model, hide: Hide, args: argparse.Namespace) -> Iterator[str]:
    import jax.numpy as jnp
    import numpy as np

    from jaxpose.commands import poses, results
    from jaxpose.tasks.complete import jitted_complete

    noise = arguments.noise(args, exact=True) or 0.0
    data = poses.read_observed(path, model.skeleton, args, lambda num: hide.mask(args.seed, num))
    missing = poses.missing_per_joint(data.joints, model.skeleton)
    if not missing:
        raise ValueError(
            f"{path}: nothing to complete, every joint is there; --hide hides some, `jaxpose denoise` cleans noisy ones"
        )
    yield from poses.describe(path, data)
    yield f"missing or hidden: {', '.join(f'{name} {count}' for name, count in missing.items())}"

    def draw(key: Key, rows: np.ndarray, return_path: bool) -> Posed:
        return jitted_complete(
            key,
            model,
            jnp.asarray(data.joints[rows]),
            noise=jnp.float32(noise),
            num_hypotheses=args.hypotheses,
            num_steps=args.steps,
            sampler=args.sampler,
            return_path=return_path,
        )

    posed = yield from results.in_blocks(draw, len(data.joints), args)
    source = f"noise of the observed joints taken as {1000 * noise:g} mm" if noise else "observed joints exact"
    said = {"hide": args.hide, "missing_joints": missing, "noise_source": source}
    yield from poses.write(out, path, model, data, posed, args, said)


def _complete_2d(path: Path, out: Path, model: Model, hide: Hide, args: argparse.Namespace) -> Iterator[str]:
    import numpy as np

    from jaxpose.commands import detections, lifting, poses

    detections.check_flags(args)
    data = detections.read_detections(path, model.skeleton, args, lambda num: hide.mask(args.seed, num))
    yield from detections.describe(path, data)
    visible = np.where(data.confidence[..., None] > 0, data.xy, np.nan)
    missing = poses.missing_per_joint(visible, model.skeleton)
    said = ", ".join(f"{name} {count}" for name, count in missing.items())
    yield f"missing or hidden: {said or 'nothing, so this is what `jaxpose lift` does'}"
    lifted = yield from lifting.lift_all(model, data, args)
    completed = lifting.completed_keypoints(data, lifted)
    notes = {"hide": args.hide, "missing_joints": missing}
    yield from lifting.write(out, path, model, data, lifted, args, completed, notes)
