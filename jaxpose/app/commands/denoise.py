"""`jaxpose denoise INPUT --out DIR`: noisy 3D joints in, clean poses out.

With a prior over joint rotations: a motion of noisy 3D joints or rotations in, a moving body out. Frames that the file
skips are filled. Positions are smoothed with the weight of the task at 30 frames a second; at another rate f it is
(f / 30)^3 times that, which holds the same accelerations back as much. Joints of SMPL (smpl22) are fitted by bones of
their own lengths; --body takes that body's, --shape fits its shape too.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.app.commands import blocks, bodies, exports, models, poses, report
from jaxpose.app.commands.detections import joint_set
from jaxpose.app.commands.options import Denoise
from jaxpose.app.commands.report import Outcome
from jaxpose.base import Key
from jaxpose.fitting import motion as motion_task
from jaxpose.fitting.engine import EVERYTHING, POSE_AND_PLACE
from jaxpose.fitting.motion import MotionSettings, estimate_noise, skeleton_of
from jaxpose.fitting.terms import Settings
from jaxpose.geometry.axes import to_camera
from jaxpose.geometry.body import Body
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.geometry.windows import rows_of_people, timeline
from jaxpose.io import kind_of
from jaxpose.io.motion import PartialMotion, read_rotations
from jaxpose.io.poses3d import BodyPoints, Poses3D, read_body_points
from jaxpose.model import scored
from jaxpose.tasks import denoise as task
from jaxpose.tasks.blocks import Block
from jaxpose.tasks.samplers import sampler_of

_HYPOTHESES = 50
_RATE = 30.0  # frames a second, of the settings of the task on motions
_LEAST_FRAMES = 5


@report.command("denoise")
def denoise(options: Denoise, _: str) -> Generator[str, None, Outcome]:
    """Read and denoise; lines and the summary name the noise that was given or estimated."""
    path, output, noise = options.input, options.output, options.noise
    model = scored(models.load_model(options, "denoise"))
    if models.is_prior(model):
        return (yield from _denoise_motion(options, bodies.dposer(model)))
    num_hypotheses = options.num_hypotheses or _HYPOTHESES
    exports.check(output.exports, num_hypotheses)
    instead = "denoise needs all joints, `jaxpose complete --noise METRES` takes what is there"
    data = yield from poses.read_whole(path, model.skeleton, options.axes, options.skeleton, instead, options.fps)
    posed, spent = yield from poses.draw(task.denoise, options, model, data, noise, num_hypotheses)
    noise_mm = 1000 * posed["noise"][:, 0].astype(np.float64)
    source = (
        f"noise {'estimated' if noise is None else 'given'}: {np.median(noise_mm):.0f} mm per coordinate"
        f"{f' in the median, {noise_mm.min():.0f} to {noise_mm.max():.0f}' if noise is None else ''}"
    )
    yield source
    more: dict[str, Any] = {"noise_mm": noise_mm.round(1).tolist()}
    calls = sampler_of(options.sampling.sampler, options.sampling.steps).network_calls(model)
    more["network_calls"] = calls + (task.estimate_calls(model) if noise is None else 0)
    return poses.outcome(options, model, spent, data, posed, source, **more)


class _Person(NamedTuple):
    """A person's clip, its noise in metres per coordinate, the body that is fitted to it, and the fit's settings."""

    number: int
    clip: BodyPoints
    noise: float
    figure: Body
    settings: Settings


def _denoise_motion(options: Denoise, fitting: bodies.Fitting) -> Generator[str, None, Outcome]:
    path, output = options.input, options.output
    body = exports.body_of(output.exports)
    targets, points = _targets(path, body, options)
    fps = float(options.fps or targets.source.fps or _RATE)
    source = "given" if options.fps else "of the file" if targets.source.fps else "assumed"
    if not 1 <= fps <= 1000:
        raise ValueError(f"{path}: {fps:g} frames per second; needed 1 to 1000 (--fps)")
    num_people = len(np.unique(targets.source.person))
    yield f"{path}: {len(targets.xyz)} frames at {fps:g}/s ({source}), {num_people} people; {points}"
    own_bones = targets.points == "smpl22" and options.output.exports.body is None and not options.shape
    people = yield from _people(options, targets, body, fps, own_bones=own_bones)
    xyz = np.concatenate([person.clip.xyz for person in people])
    frame, who = (np.concatenate([getattr(p.clip.source, name) for p in people]) for name in ("frame", "person"))
    whole = targets._replace(xyz=xyz, source=targets.source._replace(frame=frame, person=who, fps=fps))
    free = EVERYTHING if options.shape else POSE_AND_PLACE

    def work(key: Key, block: Block, _: bool) -> dict[str, Any]:
        person, observed = people[block.index], xyz[block.rows]
        given: dict[str, Any] = {"start_pose": fitting.start_pose, "free": free, "settings": person.settings}
        given |= {"noise": jnp.float32(person.noise)}
        towards = (jnp.asarray(observed)[None], targets.points, fitting.prior)
        rows = bodies.as_rows(motion_task.denoise_motion(key, person.figure, *towards, **given))
        return {**rows, "error": bodies.point_error(person.figure, rows, targets.points, observed)}

    clip_rows = (np.flatnonzero(who == person.number) for person in people)
    groups = (Block(place, rows, np.arange(len(rows))) for place, rows in enumerate(clip_rows))
    rows, spent = yield from blocks.gather(work, groups, len(xyz), seed=output.seed, what="fitted")
    how = "given" if options.noise else "estimated"
    summary = {
        **{"prior": "dposer", "shape_fitted": options.shape, "noise_source": how, "fps": fps, "fps_source": source},
        "noise_mm": {str(person.number): round(1000 * person.noise, 2) for person in people},
        **{"own_bones": own_bones, "points": points},
    }
    rests = {person.number: np.asarray(person.figure.joint_template[:22]) for person in people}
    shown: dict[str, Any] = {"rest": rests if own_bones else None}
    return (yield from bodies.fitted_to_points(fitting.model, spent, body, whole, rows, summary, path.name, **shown))


def _people(
    options: Denoise, targets: BodyPoints, body: Body, fps: float, *, own_bones: bool
) -> Generator[str, None, list[_Person]]:
    """The people of a file; own_bones: each has a skeleton of their own bones. Yields a line about each one's noise."""
    usual = bodies.with_method(MotionSettings(), options.method)
    people = []
    for number, rows in rows_of_people(targets.source.person, targets.source.frame):
        clip = _clip(targets, rows)
        noise = options.noise or _noise(options.input, clip)
        figure = skeleton_of(jnp.asarray(clip.xyz), body.joint_template[:22], noise) if own_bones else body
        # numbers of frames count at fps, of which a clip may have every second one
        step = clip.source.frame[1] - clip.source.frame[0] if len(clip.xyz) > 1 else 1
        smooth = usual.weights.smooth * float(fps / step / _RATE) ** 3
        settings = usual._replace(weights=usual.weights._replace(smooth=smooth))
        people.append(_Person(number, clip, noise, figure, settings))
        filled = len(clip.xyz) - len(rows)
        more = f", {filled} frames filled" if filled else ""
        how = "given" if options.noise else "estimated"
        yield f"person {number}: noise {how}: {1000 * noise:.1f} mm per coordinate{more}"
    return people


def _noise(path: Path, clip: BodyPoints) -> float:
    """The noise per coordinate of a clip, metres; ValueError where there is too little to tell."""
    level = float(estimate_noise(jnp.asarray(clip.xyz)[None])[0]) if len(clip.xyz) >= _LEAST_FRAMES else np.nan
    if not np.isfinite(level):
        raise ValueError(
            f"{path}: person {clip.source.person[0]}: noise is estimated from joints that are seen in "
            f"{_LEAST_FRAMES} frames in a row, and none is; give --noise METRES"
        )
    return level


def _targets(path: Path, body: Body, options: Denoise) -> tuple[BodyPoints, str]:
    """The file's points, or the joints of this body in a file of rotations; and what they are, in words."""
    up, unit = options.axes.up, options.axes.unit
    if kind_of(path, (PartialMotion, Poses3D)) is Poses3D:
        targets = read_body_points(path, body, skeleton=joint_set(options.skeleton), up=up, unit=unit)
        return targets, bodies.say_points(targets)
    if options.skeleton is not None or unit is not None:
        raise ValueError(f"--skeleton, --unit: are for 3D joints, and {path} holds rotations")
    motion, _ = read_rotations(path, fps=options.fps, up=up)
    xyz = bodies.joints_of(body, motion.body_pose, motion.global_orient, motion.transl)
    num = len(xyz)
    source = Poses3D(to_camera(xyz, "y"), SMPL_22, np.arange(num), np.zeros(num, np.int64), motion.fps, "y")
    return BodyPoints(xyz, "smpl22", source, len(SMPL_22.joints)), f"joints of this body by {motion.source}"


def _clip(targets: BodyPoints, rows: np.ndarray) -> BodyPoints:
    """One person's rows in order, NaN for frames that are skipped: frames step by the largest common step."""
    frame, person = targets.source.frame[rows], targets.source.person[rows[0]]
    number, step, _ = timeline(frame)
    if len(np.unique(number)) != len(number):
        raise ValueError(f"person {person} is twice in one frame; needed a person number for each of them")
    xyz = np.full((number[-1] + 1, *targets.xyz.shape[1:]), np.nan, np.float32)
    xyz[number] = targets.xyz[rows]
    frame = frame[0] + step * np.arange(len(xyz))
    return targets._replace(xyz=xyz, source=targets.source._replace(frame=frame, person=np.full(len(xyz), person)))
