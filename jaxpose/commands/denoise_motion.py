"""`jaxpose denoise` with a prior over joint rotations: a motion of noisy 3D joints or rotations in, a moving body out.

Frames that the file skips are filled. Positions are smoothed with the weight of the task at 30 frames a second; at
another rate f it is (f / 30)^3 times that, which holds the same accelerations back as much. Joints of SMPL (smpl22) are
fitted by bones of their own lengths; --body takes that body's, --shape fits its shape too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Key
from jaxpose.commands import arguments, bodies, fitted_bodies, fitting, motions, points
from jaxpose.commands.points import Targets
from jaxpose.fitting.motion import MotionSettings, estimate_noise, skeleton_of
from jaxpose.geometry.axes import to_camera
from jaxpose.geometry.body import Body
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.io.poses3d import Poses3D
from jaxpose.model import Model

_RATE = 30.0  # frames a second, of the task's settings
_LEAST_FRAMES = 5


def run(args: argparse.Namespace, path: Path, out: Path, model: Model) -> Iterator[str]:
    """Read, denoise and write."""
    noise = arguments.noise(args, exact=False)
    body = bodies.load_body_of(args)
    targets = _targets(path, body, args)
    fps = args.fps or targets.source.fps
    said = "given" if args.fps else "of the file" if fps else "assumed"
    fps = float(fps or _RATE)
    if not 1 <= fps <= 1000:
        raise ValueError(f"--fps: needed frames per second from 1 to 1000, got {fps:g}")
    people = np.unique(targets.source.person)
    yield f"{path}: {len(targets.xyz)} frames at {fps:g}/s ({said}), {len(people)} people; {targets.said}"
    weights = MotionSettings().weights
    settings = MotionSettings(weights=weights._replace(smooth=weights.smooth * (fps / _RATE) ** 3))
    own_bones = targets.points == "smpl22" and args.body is None and not args.shape
    done, started = [], time.time()
    for place, person in enumerate(people):
        key = jax.random.fold_in(jax.random.key(args.seed), place)
        done.append(_denoised(key, path, body, model, _clip(targets, person), noise, settings, own_bones, args))
        clip, filled = done[-1].clip, len(done[-1].clip.xyz) - int((targets.source.person == person).sum())
        rate = sum(len(d.clip.xyz) for d in done) / (time.time() - started)
        how = "estimated" if noise is None else "given"
        more = f", {filled} frames filled" if filled else ""
        yield f"person {person}: noise {how}: {1000 * done[-1].noise:.1f} mm per coordinate{more}; {rate:.1f} frames/s"
    merged = {name: np.concatenate([d.rows[name] for d in done], 1) for name in done[0].rows}
    merged["seconds"] = np.array(time.time() - started)
    frame, who = (np.concatenate([getattr(d.clip.source, k) for d in done]) for k in ("frame", "person"))
    whole = targets._replace(
        xyz=np.concatenate([d.clip.xyz for d in done]), source=clip.source._replace(frame=frame, person=who)
    )
    error = np.concatenate([d.error for d in done])
    yield fitted_bodies.say_error(error)
    levels = {str(p): round(1000 * d.noise, 2) for p, d in zip(people, done, strict=True)}
    notes = {"noise_source": how, "noise_mm": levels, "fps": fps, "fps_source": said, "own_bones": own_bones}
    yield from fitted_bodies.write_fit_3d(
        out, path, model, body, whole, merged, error, args, notes, fps, done[0].rest if len(done) == 1 else None
    )


class _Denoised(NamedTuple):
    """One person: the clip, fitted rows, noise in metres, errors, and rest joints [22, 3] where they are its own."""

    clip: Targets
    rows: dict[str, np.ndarray]
    noise: float
    error: np.ndarray
    rest: np.ndarray | None


def _denoised(
    key: Key,
    path: Path,
    body: Body,
    model: Model,
    clip: Targets,
    noise: float | None,
    settings: MotionSettings,
    own_bones: bool,
    args: argparse.Namespace,
) -> _Denoised:
    """Estimate noise where it is not given, and fit."""
    xyz = jnp.asarray(clip.xyz)[None]
    level = noise
    if level is None:
        level = float(estimate_noise(xyz)[0]) if len(clip.xyz) >= _LEAST_FRAMES else np.nan
        if not np.isfinite(level):
            raise ValueError(
                f"{path}: person {clip.source.person[0]}: noise is estimated from joints that are seen in "
                f"{_LEAST_FRAMES} frames in a row, and none is; give --noise METRES"
            )
    fitted = skeleton_of(xyz[0], body.joint_template[:22], level) if own_bones else body
    found = fitting.denoise_rows(
        key,
        fitted,
        model,
        xyz,
        jnp.float32(level),
        points=clip.points,
        prior=args.prior,
        shape=args.shape,
        settings=settings,
    )
    rows = {name: value for name, value in jax.device_get(found)._asdict().items() if value is not None}
    error = fitted_bodies.point_error(fitted, rows, clip)
    return _Denoised(clip, rows, level, error, np.asarray(fitted.joint_template[:22]) if own_bones else None)


def _targets(path: Path, body: Body, args: argparse.Namespace) -> Targets:
    """The file's points, or the joints of this body in a file of rotations."""
    if not motions.holds_rotations(path):
        return points.read_targets(path, body, args)
    if args.skeleton is not None or args.unit is not None:
        raise ValueError(f"--skeleton, --unit: are for 3D joints, and {path} holds rotations")
    motion, _ = motions.read_rotations(path, fps=args.fps, up=args.up)
    xyz = bodies.joints_of(body, motion.body_pose, motion.global_orient, motion.transl)
    num = len(xyz)
    source = Poses3D(to_camera(xyz, "y"), SMPL_22, np.arange(num), np.zeros(num, np.int64), motion.fps, "y")
    return Targets(xyz, "smpl22", source, f"joints of this body by {motion.source}")


def _clip(targets: Targets, person: int) -> Targets:
    """One person's frames in their order, NaN for those that are skipped: frames step by the largest common step."""
    rows = np.flatnonzero(targets.source.person == person)
    rows = rows[np.argsort(targets.source.frame[rows], kind="stable")]
    frame = targets.source.frame[rows]
    step = int(np.gcd.reduce(frame - frame[0])) or 1
    number = (frame - frame[0]) // step
    if len(np.unique(number)) != len(number):
        raise ValueError(f"person {person} is twice in one frame; needed a person number for each of them")
    xyz = np.full((number[-1] + 1, *targets.xyz.shape[1:]), np.nan, np.float32)
    xyz[number] = targets.xyz[rows]
    source = targets.source._replace(
        frame=frame[0] + step * np.arange(len(xyz)), person=np.full(len(xyz), person, np.int64)
    )
    return targets._replace(xyz=xyz, source=source)
