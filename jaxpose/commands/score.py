"""`jaxpose score INPUT --out DIR`: 3D poses in, how likely and how typical each of them is out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxpose.commands import arguments

if TYPE_CHECKING:  # loading them takes seconds
    import numpy as np

    from jaxpose.base import Array
    from jaxpose.model import Model

_BLOCK = 128  # poses between lines of progress
_SHOWN = 5  # of the least typical poses
_VIEWS = 4
_ONLY_JOINTS = ("skeleton", "unit", "keypoints", "views")
_ONLY_KEYPOINTS = ("format", "camera", "camera_name", "fov", "image_size", "track")


class _Read(NamedTuple):
    """N poses of a file, the unit that their density is of, and densities by name, each a function of rows."""

    frame: np.ndarray
    person: np.ndarray
    unit: str
    said: list[str]
    densities: dict[str, Callable[[Array], Array]]


def add_parser(commands: arguments.Subparsers) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "score",
        help="3D poses in, log density and typicality of each out",
        description="Reads 3D joints (.npz, .npy, .csv, .json), none of them missing, or joint rotations (AMASS .npz, "
        ".bvh, .amc, arrays), and writes the exact log density of each pose under the model, its percentile among "
        "training poses, and whether it lies out of distribution (.npz, .json).",
    )
    parser.add_argument("input", metavar="INPUT", help="file of 3D joints, or of joint rotations")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results; made where absent")
    parser.add_argument("--model", help="a bundled model's name or a .safetensors file (pose17; of rotations prior21)")
    parser.add_argument(
        "--keypoints",
        metavar="FILE",
        help="2D keypoints of the same frames and people: the log density given them is written too",
    )
    parser.add_argument(
        "--least", type=float, metavar="P", help="percentile below which a pose is called out of distribution (1)"
    )
    parser.add_argument("--steps", type=arguments.positive, metavar="T", help="intervals of the noise level")
    parser.add_argument(
        "--views",
        type=arguments.positive,
        metavar="V",
        help=f"sides from which poses without a camera are seen; the mean density counts ({_VIEWS}; of camera axes 1)",
    )
    parser.add_argument("--fps", type=float, metavar="N", help="frames per second of rotations that do not say")
    arguments.add_skeleton_flag(parser)
    arguments.add_pose_flags(parser)
    arguments.add_keypoint_flags(parser.add_argument_group("2D keypoints"), height=False)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Read, score and write; what the numbers are of is said and stands in the summary."""
    import time

    from jaxpose.commands import bodies, motions, results
    from jaxpose.model import DEFAULT_MODEL, load

    path, out = Path(args.input), Path(args.out)
    if args.least is not None and not 0 <= args.least <= 100:
        raise ValueError(f"--least: needed a percentile from 0 to 100, got {args.least:g}")
    results.check_out(out, path)
    model = load(args.model or (bodies.DEFAULT_PRIOR if motions.holds_rotations(path) else DEFAULT_MODEL))
    if args.keypoints is None:
        arguments.refuse(args, _ONLY_KEYPOINTS, "is for --keypoints")
    if bodies.is_prior(model):
        arguments.refuse(args, _ONLY_JOINTS, "is for models of joint positions")
        read = _read_rotations(path, model, args)
    else:
        arguments.refuse(args, ("fps",), "is for a prior over joint rotations, such as prior21")
        read = yield from _read_joints(path, model, args)
    yield from read.said
    started, found = time.time(), {}
    for name, density in read.densities.items():
        found[name] = yield from _in_blocks(name, density, len(read.frame))
    yield from _write(out, path, model, read, found, time.time() - started, args)


def _read_rotations(path: Path, model: Model, args: argparse.Namespace) -> _Read:
    import jax.numpy as jnp
    import numpy as np

    from jaxpose.commands import motions
    from jaxpose.tasks.rotations import check_body_pose

    motion, _ = motions.read_rotations(path, fps=args.fps, up=args.up)
    check_body_pose(motion.body_pose)
    num = len(motion.body_pose)
    angles = "radians of axis-angle" if model.spec.codec == "axis_angle" else "entries of rotation matrices"
    said = [f"{path}: {num} body poses at {motion.fps:g} frames/s; {motion.source}; the root's rotation is not judged"]
    density = _density(model, args, lambda rows: (jnp.asarray(motion.body_pose[rows]),))
    return _Read(np.arange(num), np.zeros(num, np.int64), angles, said, {"log_density": density})


def _read_joints(path: Path, model: Model, args: argparse.Namespace) -> Generator[str, None, _Read]:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxpose.commands import poses
    from jaxpose.tasks import score

    data = poses.read_observed(path, model.skeleton, args)
    broken = np.flatnonzero(~np.isfinite(data.joints).all((1, 2)))
    if broken.size:
        lacks = poses.missing_per_joint(data.joints[broken[:1]], model.skeleton)
        raise ValueError(
            f"{path}: {poses.label(data.source, broken[0])} lacks {', '.join(lacks)}; score needs all joints, "
            "`jaxpose complete` fills them"
        )
    yield from poses.describe(path, data)
    views = args.views or (1 if data.source.up == "-y" else _VIEWS)
    sides = "as the camera sees them" if views == 1 else f"the mean density over {views} sides"
    steps = args.steps or score.NUM_STEPS

    def all_round(joints: Array) -> Array:
        return score.log_density_all_round(model, joints, num_views=views, num_steps=steps)

    jitted = jax.jit(all_round)
    densities = {"log_density": lambda rows: jitted(jnp.asarray(data.joints[rows]))}
    said = [f"density of joints about their middle, {sides}"]
    if args.keypoints is not None:
        line, cond_of = _keypoints(Path(args.keypoints), path, model, data, args)
        said.append(line)
        densities["log_density_given_keypoints"] = _density(
            model, args, lambda rows: (jnp.asarray(data.joints[rows]), *cond_of(rows))
        )
    return _Read(data.source.frame, data.source.person, "metres", said, densities)


def _keypoints(
    file: Path, path: Path, model: Model, data: Any, args: argparse.Namespace
) -> tuple[str, Callable[[Array], tuple[Any, Any]]]:
    """A line about the detections, and rows of poses -> condition and view, by frame and person."""
    import jax.numpy as jnp
    import numpy as np

    from jaxpose.commands import detections, poses
    from jaxpose.spaces.person import encode_keypoints

    if data.source.up != "-y":
        raise ValueError(
            f"--keypoints: need poses in the axes of the camera that saw them (--up=-y), and those of {path} are "
            f"{data.source.up} up"
        )
    if not file.exists():
        raise ValueError(f"--keypoints: {file}: no such file")
    detections.check_flags(args)
    # --skeleton is of the 3D joints; the joint set of 2D arrays without names is said by --format
    found = detections.read_detections(file, model.skeleton, argparse.Namespace(**vars(args) | {"skeleton": None}))
    place = {key: row for row, key in enumerate(zip(found.source.frame, found.source.person, strict=True))}
    keys = list(zip(data.source.frame, data.source.person, strict=True))
    if lost := [row for row, key in enumerate(keys) if key not in place]:
        raise ValueError(
            f"--keypoints: {file} has no detection of {poses.label(data.source, lost[0])} of {path}; found "
            f"{len(place)} of frames {found.source.frame.min()} to {found.source.frame.max()}"
        )
    where = np.array([place[key] for key in keys])

    def cond_of(rows: Array) -> tuple[Any, Any]:
        chosen = (x[where[rows]] for x in (found.intrinsics, found.xy, found.confidence))
        return encode_keypoints(*(jnp.asarray(x, jnp.float32) for x in chosen))

    return f"{file}: {len(found.xy)} detections of {found.source.skeleton.name}; {found.camera}", cond_of


def _density(model: Model, args: argparse.Namespace, inputs: Callable[[Any], tuple[Any, ...]]) -> Any:
    """Rows -> log densities of what `inputs` makes of them: pose, and condition and view where there are."""
    import jax

    from jaxpose.tasks import score

    run = jax.jit(lambda *given: score.log_density(model, *given, num_steps=args.steps or score.NUM_STEPS))
    return lambda rows: run(*inputs(rows))


def _in_blocks(name: str, density: Callable[[Any], Array], num: int) -> Generator[str, None, np.ndarray]:
    """Densities of all poses, in blocks of one size, so that one program serves all; lines of progress."""
    import time

    import numpy as np

    size, started, done = min(_BLOCK, num), time.time(), []
    for start in range(0, num, size):
        rows = np.minimum(np.arange(start, start + size), num - 1)
        done.append(np.asarray(density(rows))[: num - start])
        count = min(start + size, num)
        yield f"{name} of {count}/{num} poses, {count / (time.time() - started):,.1f} poses/s"
    return np.concatenate(done)


def _write(
    out: Path,
    path: Path,
    model: Model,
    read: _Read,
    found: dict[str, np.ndarray],
    seconds: float,
    args: argparse.Namespace,
) -> Iterator[str]:
    from importlib.metadata import version

    import numpy as np

    from jaxpose.commands import results
    from jaxpose.files import write_json, write_npz
    from jaxpose.model import describe
    from jaxpose.tasks import score

    density = found["log_density"]
    arrays = {"frame": read.frame, "person": read.person, **found}
    low, middle, high = np.quantile(density, (0.05, 0.5, 0.95))
    said = f"log density, nats of {read.unit}: median {middle:.1f}, 90 % in {low:.1f} to {high:.1f}"
    least = score.LEAST_PERCENTILE if args.least is None else args.least
    if model.typicality.size:
        percentile = np.asarray(score.typicality(model, density))
        outside = np.asarray(score.out_of_distribution(percentile, least))
        arrays |= {"percentile": percentile, "out_of_distribution": outside}
        yield f"{said}; median percentile {np.median(percentile):.1f}"
        yield f"out of distribution (below percentile {least:g} of training poses): {outside.sum()} of {len(outside)}"
    else:
        yield f"{said}; no percentiles: {model.spec.name!r} has no quantiles of training poses"
    order = np.argsort(density)[:_SHOWN]
    yield "least typical: " + "; ".join(_told(arrays, row) for row in order)
    out.mkdir(parents=True, exist_ok=True)
    name = results.name_of(path)
    write_npz(out / f"{name}.npz", arrays)
    yield f"wrote {out / name}.npz"
    summary = {
        **{"input": str(path), "command": args.command, "model": describe(model), "jaxpose": version("jaxpose")},
        **{"density_of": f"nats of {read.unit}", "num_steps": args.steps or score.NUM_STEPS, "noise": score.LEVEL},
        **{"said": read.said, "num_poses": len(density), "median_log_density": round(float(middle), 3)},
        **{"least_percentile": least, "seconds": round(seconds, 3)},
        "poses_per_second": round(len(density) / seconds, 1),
        "poses": [
            {key: round(v, 3) if isinstance(v := value[row].item(), float) else v for key, value in arrays.items()}
            for row in range(len(density))
        ],
    }
    write_json(out / f"{name}.json", summary)
    yield f"wrote {out / name}.json"


def _told(arrays: dict[str, np.ndarray], row: int) -> str:
    place = f"frame {arrays['frame'][row]}, person {arrays['person'][row]} {arrays['log_density'][row]:.1f}"
    return place + (f" (percentile {arrays['percentile'][row]:.1f})" if "percentile" in arrays else "")
