"""3D joints as the commands take them, in the model's joint set, and what becomes of them in the file's own axes."""

import functools
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.app.commands import blocks, report
from jaxpose.app.commands.blocks import Spent
from jaxpose.app.commands.options import Complete, Denoise
from jaxpose.app.commands.pictures import Picture, labels
from jaxpose.app.commands.report import Outcome
from jaxpose.app.commands.values import Axes
from jaxpose.base import Hypotheses, Key
from jaxpose.geometry.axes import INPUT_TAGS, covariance_from_camera, from_camera
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import Skeleton, get_skeleton
from jaxpose.io.poses3d import Poses3D, read_poses3d
from jaxpose.model import Model
from jaxpose.tasks.blocks import Block, Drawn
from jaxpose.tasks.lift_video import blocks_for, drawn_between, timing
from jaxpose.tasks.samplers import sampler_of


class Observed(NamedTuple):
    """N poses in the model's joint set: joints [N, J, 3] metres, camera axes, NaN where missing or hidden.

    source: the same rows as the file has them. lines: about what was read, assumed and left out.
    """

    joints: np.ndarray
    source: Poses3D
    num_dropped: int
    lines: list[str]


def read_observed(
    path: Path,
    target: Skeleton,
    axes: Axes,
    skeleton: str | None = None,
    hide: Callable[[int], np.ndarray] | None = None,
    fps: float | None = None,
) -> Observed:
    """The 3D joints of a file in the joint set `target`; poses of which nothing is left are left out.

    skeleton: the joint set of the file, where it is given. hide: number of poses -> [N, J] bool, joints to be hidden.
    fps: frames per second, where the file does not say.
    ValueError where no pose is left.
    """
    given = get_skeleton(skeleton) if skeleton else None
    poses = read_poses3d(path, skeleton=given, up=axes.up, unit=axes.unit)
    finite = jnp.asarray(np.isfinite(poses.joints).all(-1), jnp.float32)
    converted = convert_joints(jnp.asarray(poses.joints), finite, poses.skeleton, target)
    joints, known = jax.device_get(converted)
    hidden = np.zeros(known.shape, bool) if hide is None else hide(len(known))
    joints = np.where(((known > 0) & ~hidden)[..., None], joints, np.nan).astype(np.float32)
    rows = np.isfinite(joints).any((1, 2))
    if not rows.any():
        why = "--hide hides all that is there" if (known > 0).any() else f"none is of {target.name}"
        raise ValueError(f"{path}: no pose has an observed joint left: {why} (`jaxpose generate` draws from nothing)")
    poses = poses._replace(
        fps=poses.fps or fps, joints=poses.joints[rows], frame=poses.frame[rows], person=poses.person[rows]
    )
    num, dropped, axes_said = int(rows.sum()), int((~rows).sum()), f"{poses.up} up ({poses.axes})"
    lines = [f"{path}: {num} 3D poses of {poses.skeleton.name}, in {poses.unit}, {axes_said}"]
    lines += [f"markers that are no joints, left out: {', '.join(poses.ignored)}"] if poses.ignored else []
    lines += [f"left out {dropped} poses without an observed joint"] if dropped else []
    return Observed(joints[rows], poses, dropped, lines)


def read_whole(
    path: Path, target: Skeleton, axes: Axes, skeleton: str | None, instead: str, fps: float | None = None
) -> Generator[str, None, Observed]:
    """The joints of `read_observed`, with lines; ValueError names the first pose that lacks joints, and `instead`."""
    data = read_observed(path, target, axes, skeleton, fps=fps)
    broken = np.flatnonzero(~np.isfinite(data.joints).all((1, 2)))
    if broken.size:
        lacks = missing_per_joint(data.joints[broken[:1]], target)
        raise ValueError(
            f"{path}: {labels(data.source.frame, data.source.person)[broken[0]]} lacks {', '.join(lacks)}; {instead}"
        )
    yield from data.lines
    return data


def missing_per_joint(joints: np.ndarray, skeleton: Skeleton) -> dict[str, int]:
    """Numbers of poses [N, J, D] in which joints are missing (not finite), of joints that are in any."""
    counts = (~np.isfinite(joints).all(-1)).sum(0).tolist()
    return {name: count for name, count in zip(skeleton.joints, counts, strict=True) if count}


def draw(
    task: Callable[..., Hypotheses],
    options: Complete | Denoise,
    model: Model,
    data: Observed,
    noise: float | None,
    num_hypotheses: int,
) -> Generator[str, None, tuple[Drawn, Spent]]:
    """The result of `task` on the observed joints, and the time that it took; yields lines of progress."""
    sampling, source = options.sampling, data.source
    sampler = sampler_of(sampling.sampler, sampling.steps)
    run = functools.partial(task, num_hypotheses=num_hypotheses, sampler=sampler)

    def work(key: Key, block: Block, return_path: bool) -> Any:
        joints, track = data.joints[block.rows], block.track
        if track is not None:
            joints = np.where(track.seen[:, None, None], data.joints[track.rows], np.nan)
        result = run(key, model, jnp.asarray(joints), noise=noise, return_path=return_path)
        return result if track is None else drawn_between(result, track)

    if model.spec.network.window is not None:
        yield f"model of motions: {timing(source.frame, source.fps).said}"
    parts = blocks_for(model, source.frame, source.person, source.fps, most=np.inf)
    states = sampler.network_calls(model) + 1 if sampling.path else 0
    how: dict[str, Any] = {"seed": options.output.seed, "num_hypotheses": num_hypotheses, "states": states}
    return (yield from blocks.gather(work, parts, len(data.joints), **how))


def outcome(
    options: Complete | Denoise, model: Model, spent: Spent, data: Observed, posed: Drawn, note: str, **more: Any
) -> Outcome:
    """The outcome of 3D joints in the file's axes; note: below the pictures; more: entries of the summary."""
    source, up, num = data.source, data.source.up, len(data.joints)
    tag = f"axes: {INPUT_TAGS[up]}; metres; about the origin of the input"
    summary = {
        **report.sampled(model, options.sampling),
        **{**more, "num_poses": num, "num_dropped": data.num_dropped},
        **{"num_hypotheses": len(posed["samples"]), "frame_tag": tag, "noise_source": note},
        **{"input_joints": source.skeleton.name, "input_unit": source.unit, "input_up": up},
        "spread_mm": report.spread_mm(posed["covariance"], model.skeleton),
    }
    arrays = {
        **{name: from_camera(posed[name], up) for name in ("samples", "mean")},
        "covariance": covariance_from_camera(posed["covariance"], up),
        **{name: posed[name] for name in ("radius_90", "weights", "noise")},
        "observed": from_camera(data.joints, up),
        **{"frame": source.frame, "person": source.person, "fps": source.fps},
        **report.axes(model.skeleton.joints, up, tag),
    }
    path = posed.get("path")
    path = None if path is None else path - posed["mean"][: path.shape[2], :1]
    made = num * len(posed["samples"])
    return Outcome(model, spent, made, arrays, summary, Picture(model.skeleton, note, path=path))
