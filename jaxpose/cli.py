"""The `jaxpose` command. `jaxpose lift INPUT --out DIR` turns a file of 2D keypoints into many 3D poses.

Errors that a user can mend leave with code 2 and one line that names the file or the flag.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script."""
    args = _parser().parse_args(argv)
    use_compilation_cache()
    try:
        args.run(args)
    except (ValueError, OSError) as error:
        print(f"jaxpose {args.command}: {error}", file=sys.stderr)
        sys.exit(2)


def lift_command(args: argparse.Namespace) -> None:
    """Read, lift and write; what it did and assumed is printed and stands in the summary."""
    from jaxpose import lifting_run

    started = time.time()
    settings = lifting_run.Settings(
        model=args.model,
        file_format=args.format,
        skeleton=args.skeleton,
        intrinsics=_numbers("--camera", args.camera, 4, "fx,fy,cx,cy in pixels"),
        camera_name=args.camera_name,
        fov_deg=args.fov,
        image_size=_numbers("--image-size", args.image_size, 2, "WIDTH,HEIGHT in pixels"),
        num_hypotheses=args.hypotheses,
        num_steps=args.steps,
        height=args.height,
        seed=args.seed,
        track=args.track,
        min_confidence=args.min_confidence,
        pictures=not args.no_pictures,
    )
    for line in lifting_run.run(Path(args.input), Path(args.out), settings):
        print(line, flush=True)
    print(f"done in {time.time() - started:.1f} s")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jaxpose", description="Probabilistic 3D human pose.")
    commands = parser.add_subparsers(dest="command", required=True)
    lift = commands.add_parser(
        "lift",
        help="2D keypoints in, many 3D poses in metres out",
        description="Reads COCO, OpenPose, MMPose/RTMPose and AlphaPose JSON (a file or a folder), .npz, .npy and "
        ".csv, and writes samples (.npz), a summary (.json), a contact sheet (.png) and an interactive scene (.html).",
    )
    lift.add_argument("input", metavar="INPUT", help="file or folder of 2D keypoints")
    lift.add_argument("--out", required=True, metavar="DIR", help="folder for the results; made where absent")
    lift.add_argument(
        "--model", default="lift17", help="a bundled model's name or a .safetensors file (lift17)"
    )
    lift.add_argument("--format", help="file format or joint set, where it cannot be told from the file")
    lift.add_argument("--skeleton", help="joint set of the keypoints: h36m17, coco17, body25, halpe26, ...")
    lift.add_argument("--camera", metavar="FX,FY,CX,CY", help="intrinsics in pixels, the same for all images")
    lift.add_argument("--camera-name", metavar="NAME", help="which camera of a file that holds several")
    lift.add_argument("--fov", type=float, metavar="DEG", help="field of view along the longer side, degrees")
    lift.add_argument(
        "--image-size", metavar="W,H", help="pixels; needed for a field of view if the file has none"
    )
    lift.add_argument(
        "--hypotheses", type=_positive, default=200, metavar="H", help="3D poses per detection (200)"
    )
    lift.add_argument("--steps", type=_positive, metavar="T", help="solver steps (what validation chose)")
    lift.add_argument(
        "--height", type=float, metavar="M", help="body height in metres; else the model's knowledge"
    )
    lift.add_argument("--seed", type=int, default=0, help="of the one key all randomness flows from (0)")
    lift.add_argument(
        "--track", action="store_true", help="link people over frames: ids that last through a clip"
    )
    lift.add_argument(
        "--min-confidence", type=float, default=0.1, metavar="C", help="joints below are hidden (0.1)"
    )
    lift.add_argument("--no-pictures", action="store_true", help="write numbers only (.npz and .json)")
    lift.set_defaults(run=lift_command)
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"needed a positive number, got {text}")
    return value


def _numbers(flag: str, text: str | None, count: int, meaning: str) -> np.ndarray | None:
    if text is None:
        return None
    try:
        values = np.array([float(v) for v in text.split(",")])
    except ValueError:
        raise ValueError(f"{flag}: needed {meaning}, got {text!r}") from None
    if len(values) != count or not np.isfinite(values).all():
        raise ValueError(f"{flag}: needed {count} numbers, {meaning}, got {text!r}")
    return values


def use_compilation_cache() -> None:
    """Compiled programs are kept in the user's cache folder, unless JAX is told where."""
    import jax

    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(root / "jaxpose" / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


if __name__ == "__main__":
    main()
