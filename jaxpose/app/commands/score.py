"""`jaxpose score INPUT --out DIR`: 3D poses in, how likely and how typical each of them is out."""

import functools
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.app import viz
from jaxpose.app.commands import blocks, detections, models, poses, report
from jaxpose.app.commands.blocks import Spent
from jaxpose.app.commands.options import Score
from jaxpose.app.commands.pictures import labels
from jaxpose.app.commands.report import Outcome
from jaxpose.app.commands.values import refuse
from jaxpose.base import LEAST_PERCENTILE, Array, Key
from jaxpose.io import kind_of
from jaxpose.io.motion import PartialMotion, read_rotations
from jaxpose.io.poses3d import Poses3D
from jaxpose.model import DEFAULT_MODEL, Model, scored
from jaxpose.spaces.person import encode_keypoints
from jaxpose.tasks import score as task
from jaxpose.tasks.blocks import Block, even
from jaxpose.tasks.rotations import check_body_pose

_BLOCK = 128  # poses between lines of progress
_SHOWN = 5  # of the least typical poses
_VIEWS = 4

Density = Callable[..., Array]  # rows, num_steps -> nats


class _Read(NamedTuple):
    """N poses of a file, the unit of their density, lines about them, densities by name, and joints."""

    pose: np.ndarray
    frame: np.ndarray
    person: np.ndarray
    unit: str
    lines: list[str]
    densities: dict[str, Density]
    observed: poses.Observed | None = None


@report.command("score")
def score(options: Score, name: str) -> Generator[str, None, Outcome]:
    """Read and score; lines and the summary name the unit and the axes of the numbers."""
    path = options.input
    of_rotations = kind_of(path, (PartialMotion, Poses3D)) is PartialMotion
    model = scored(models.load_model(options, "score", models.DEFAULT_PRIOR if of_rotations else DEFAULT_MODEL))
    if options.keypoints is None:
        refuse(options.camera, "is for --keypoints")
    if models.is_prior(model):
        read = _read_rotations(model, options)
    else:
        read = yield from _read_joints(model, options)
    yield from read.lines
    num, steps = len(read.frame), options.steps or task.NUM_STEPS

    def work(_: Key, block: Block, __: bool) -> dict[str, Array]:
        return {kind: density(block.rows, num_steps=steps) for kind, density in read.densities.items()}

    scores, spent = yield from blocks.gather(work, even(num, _BLOCK), num, what="log density of")
    return (yield from _outcome(options, name, model, read, scores, spent))


def _read_rotations(model: Model, options: Score) -> _Read:
    path = options.input
    motion, _ = read_rotations(path, fps=options.fps, up=options.axes.up)
    check_body_pose(motion.body_pose)
    num = len(motion.body_pose)
    angles = representation.unit if (representation := model.spec.space.representation) else ""
    lines = [f"{path}: {num} body poses at {motion.fps:g} frames/s; {motion.source}; the root's rotation is not judged"]
    densities: dict[str, Density] = {
        "log_density": lambda rows, **how: task.log_density(model, motion.body_pose[rows], **how)
    }
    return _Read(motion.body_pose, np.arange(num), np.zeros(num, np.int64), angles, lines, densities)


def _read_joints(model: Model, options: Score) -> Generator[str, None, _Read]:
    path = options.input
    instead = "score needs all joints, `jaxpose complete` fills them"
    data = yield from poses.read_whole(path, model.skeleton, options.axes, options.skeleton, instead)
    views = options.views or (1 if data.source.up == "-y" else _VIEWS)
    sides = "as the camera sees them" if views == 1 else f"the mean density over {views} sides"
    joints = jnp.asarray(data.joints)
    densities: dict[str, Density] = {
        "log_density": lambda rows, **how: task.log_density_all_round(model, joints[rows], num_views=views, **how)
    }
    lines = [f"density of joints about their middle, {sides}"]
    if options.keypoints is not None:
        line, cond_of = _keypoints(options.keypoints, model, data, options)
        lines.append(line)
        given = lambda rows, **how: task.log_density(model, joints[rows], *cond_of(rows), **how)  # noqa: E731
        densities["log_density_given_keypoints"] = given
    return _Read(data.joints, data.source.frame, data.source.person, "metres", lines, densities, data)


def _keypoints(
    file: Path, model: Model, data: poses.Observed, options: Score
) -> tuple[str, Callable[[np.ndarray], tuple[Any, Any]]]:
    """A line about the detections, and rows of poses -> condition and view, by frame and person."""
    path = options.input
    if data.source.up != "-y":
        raise ValueError(
            f"--keypoints: need poses in the axes of the camera that saw them (--up=-y), and those of {path} are "
            f"{data.source.up} up"
        )
    # --skeleton is of the 3D joints; the joint set of 2D arrays without names is said by --format
    detected = detections.read_detections(file, model.skeleton, options.camera)
    place = {key: row for row, key in enumerate(zip(detected.source.frame, detected.source.person, strict=True))}
    keys = list(zip(data.source.frame, data.source.person, strict=True))
    if lost := [row for row, key in enumerate(keys) if key not in place]:
        lacking = labels(data.source.frame, data.source.person)[lost[0]]
        raise ValueError(
            f"--keypoints: {file} has no detection of {lacking} of {path}; found "
            f"{len(place)} of frames {detected.source.frame.min()} to {detected.source.frame.max()}"
        )
    where = np.array([place[key] for key in keys])

    def cond_of(rows: np.ndarray) -> tuple[Any, Any]:
        xy, confidence, camera = detected.seen.observed(where[rows])
        return encode_keypoints(camera.intrinsics, xy, confidence)

    return f"{file}: {len(detected.xy)} detections of {detected.source.skeleton.name}; {detected.camera}", cond_of


def _outcome(
    options: Score, name: str, model: Model, read: _Read, scores: dict[str, np.ndarray], spent: Spent
) -> Generator[str, None, Outcome]:
    density = scores["log_density"]
    arrays = {"frame": read.frame, "person": read.person, **scores}
    low, middle, high = np.quantile(density, (0.05, 0.5, 0.95))
    yield f"log density, nats of {read.unit}: median {middle:.1f}, 90 % in {low:.1f} to {high:.1f}"
    least = LEAST_PERCENTILE if options.least is None else options.least
    judged, typical, line = models.judged(model, read.pose, arrays, least)
    arrays |= judged
    yield line or f"no typicality: {model.spec.name!r} has no quantiles of training poses"
    order = np.argsort(density)[:_SHOWN]
    words = [f"{d:.1f}" for d in density]
    if judged:
        words = [f"{word} (typicality {p:.1f})" for word, p in zip(words, arrays["typicality"], strict=True)]
    people = labels(read.frame, read.person)
    yield "least likely: " + "; ".join(f"{people[row]} {words[row]}" for row in order)
    summary = {
        **{"density_of": f"nats of {read.unit}", "num_steps": options.steps or task.NUM_STEPS, "noise": task.LEVEL},
        **{"said": read.lines, "num_poses": len(density), "median_log_density": round(float(middle), 3)},
        **typical,
        "poses": [
            {key: round(v, 3) if isinstance(v := value[row].item(), float) else v for key, value in arrays.items()}
            for row in range(len(density))
        ],
    }
    page = None if read.observed is None else functools.partial(_page, read.observed, model, arrays, name)
    return Outcome(model, spent, len(density), arrays, summary, page=page)


def _page(observed: poses.Observed, model: Model, arrays: dict[str, np.ndarray], title: str) -> Any:
    """The poses over time, each with its density, those out of distribution marked."""
    root, source = observed.joints[:, :1], observed.source
    words = [f"{density:.0f} nats" for density in arrays["log_density"]]
    if "typicality" in arrays:
        words = [f"{word}, typicality {p:.1f}" for word, p in zip(words, arrays["typicality"], strict=True)]
    shown: dict[str, Any] = {name: getattr(source, name) for name in ("frame", "person", "fps", "up")}
    shown |= {"root": root[:, 0], "labels": words, "unusual": arrays.get("out_of_distribution"), "mean_name": "pose"}
    return viz.motion_page((observed.joints - root)[None], model.skeleton, title=title, max_hypotheses=1, **shown)
