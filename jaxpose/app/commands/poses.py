"""3D joints as the commands take them, in the model's joint set, and what becomes of them in the file's own axes."""

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.app.commands import blocks, report, video
from jaxpose.app.commands.blocks import Block, Drawn
from jaxpose.app.commands.option_groups import Axes, Output
from jaxpose.app.commands.options import Complete, Denoise
from jaxpose.base import Hypotheses, Key
from jaxpose.geometry.axes import INPUT_TAGS, covariance_from_camera, from_camera
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import Skeleton, get_skeleton
from jaxpose.io.poses3d import Poses3D, read_poses3d
from jaxpose.model import Model
from jaxpose.runtime.kept import kept
from jaxpose.tasks.motions import is_motion
from jaxpose.tasks.samplers import sampler_of


class Observed(NamedTuple):
    """N poses in the model's joint set: joints [N, J, 3] metres, camera axes, NaN where missing or hidden.

    source: the same rows as the file has them.
    """

    joints: np.ndarray
    source: Poses3D
    num_dropped: int


def read_observed(
    path: Path,
    target: Skeleton,
    axes: Axes,
    skeleton: str | None = None,
    hide: Callable[[int], np.ndarray] | None = None,
    fps: float | None = None,
) -> Observed:
    """The 3D joints of a file in the joint set `target`; poses of which nothing is left are left out.

    skeleton: the joint set of the file, where it is told. hide: number of poses -> [N, J] bool, joints to be hidden.
    fps: frames per second, where the file does not say.
    ValueError where no pose is left.
    """
    given = get_skeleton(skeleton) if skeleton else None
    poses = read_poses3d(path, skeleton=given, up=axes.up, unit=axes.unit)
    seen = jnp.asarray(np.isfinite(poses.joints).all(-1), jnp.float32)
    converted = convert_joints(jnp.asarray(poses.joints), seen, poses.skeleton, target)
    joints, known = jax.device_get(converted)
    hidden = np.zeros(known.shape, bool) if hide is None else hide(len(known))
    joints = np.where(((known > 0) & ~hidden)[..., None], joints, np.nan).astype(np.float32)
    rows = np.isfinite(joints).any((1, 2))
    if not rows.any():
        why = "--hide hides all that is there" if (known > 0).any() else f"none is of {target.name}"
        raise ValueError(f"{path}: no pose has an observed joint left: {why} (`jaxpose generate` draws from nothing)")
    kept = poses._replace(
        fps=poses.fps or fps, joints=poses.joints[rows], frame=poses.frame[rows], person=poses.person[rows]
    )
    return Observed(joints[rows], kept, int((~rows).sum()))


def describe(path: Path, data: Observed) -> Iterator[str]:
    """Lines that say what was read, assumed and left out."""
    source = data.source
    axes = f"{source.up} up ({source.axes})"
    yield f"{path}: {len(data.joints)} 3D poses of {source.skeleton.name}, in {source.unit}, {axes}"
    if source.ignored:
        yield f"markers that are no joints, left out: {', '.join(source.ignored)}"
    if data.num_dropped:
        yield f"left out {data.num_dropped} poses without an observed joint"


def read_whole(
    path: Path, target: Skeleton, axes: Axes, skeleton: str | None, instead: str, fps: float | None = None
) -> Generator[str, None, Observed]:
    """As `read_observed`, and lines about it; ValueError names the first pose that lacks joints, and says `instead`."""
    data = read_observed(path, target, axes, skeleton, fps=fps)
    broken = np.flatnonzero(~np.isfinite(data.joints).all((1, 2)))
    if broken.size:
        lacks = missing_per_joint(data.joints[broken[:1]], target)
        raise ValueError(f"{path}: {label(data.source, broken[0])} lacks {', '.join(lacks)}; {instead}")
    yield from describe(path, data)
    return data


def label(poses: Poses3D, row: int) -> str:
    """A pose of a file in words."""
    return f"frame {poses.frame[row]}, person {poses.person[row]}"


def missing_per_joint(joints: np.ndarray, skeleton: Skeleton) -> dict[str, int]:
    """In how many of the poses [N, J, D] each joint is missing (not finite), of those that are in any."""
    counts = (~np.isfinite(joints).all(-1)).sum(0).tolist()
    return {name: count for name, count in zip(skeleton.joints, counts, strict=True) if count}


def draw(
    task: Callable[..., Hypotheses],
    options: Complete | Denoise,
    model: Model,
    data: Observed,
    noise: float | None,
    default_hypotheses: int,
) -> Generator[str, None, tuple[Drawn, dict[str, Any]]]:
    """What `task` makes of the observed joints with --hypotheses or so many, and entries of the summary."""
    sampling, seed, num = options.sampling, options.output.seed, len(data.joints)
    each, sampler = options.hypotheses or default_hypotheses, sampler_of(sampling.sampler, sampling.steps)
    run = kept(task, "return_path", num_hypotheses=each, sampler=sampler)

    def work(key: Key, block: Block, return_path: bool) -> Any:
        joints, track = data.joints[block.rows], block.track
        if track is not None:
            joints = np.where(track.seen[:, None, None], data.joints[track.rows], np.nan)
        found = run(key, model, jnp.asarray(joints), noise=noise, return_path=return_path)
        return found if track is None else video.drawn_between(found, track)

    groups = blocks.even(num, doubling=True)
    if is_motion(model):
        clock = video.timing(data.source)
        yield f"model of motions: {clock.said}"
        groups = video.tracks(data.source.person, clock, model.spec.network.window or 0, most=np.inf)
    states = sampler.network_calls(model) + 1 if sampling.path else 0
    drawn, spent = yield from blocks.gather(work, groups, num, seed=seed, each=each, states=states)
    said = report.record(task.__name__, options.input, model, spent, num * each, seed=seed)
    return drawn, said | report.sampled(model, sampler)


def write(
    output: Output, name: str, model: Model, data: Observed, posed: Drawn, note: str, said: dict[str, Any]
) -> Iterator[str]:
    """Write what a task made of 3D joints; said: entries of the summary; note: what stands below the pictures."""
    source, up = data.source, data.source.up
    tag = f"axes: {INPUT_TAGS[up]}; metres; about the origin of the input"
    summary = {
        **{**said, "num_poses": len(data.joints), "num_dropped": data.num_dropped},
        **{"num_hypotheses": len(posed["samples"]), "frame_tag": tag, "noise_source": note},
        **{"input_joints": source.skeleton.name, "input_unit": source.unit, "input_up": up},
        "spread_mm": report.spread_mm(posed["covariance"], model.skeleton),
    }
    arrays = {
        **{name: from_camera(posed[name], up) for name in ("samples", "mean")},
        "covariance": covariance_from_camera(posed["covariance"], up),
        **{name: posed[name] for name in ("radius_90", "weights", "noise")},
        "observed": from_camera(data.joints, up),
        **report.rows(source.frame, source.person, source.fps),
        **report.axes(model.skeleton.joints, up, tag),
    }
    # pictures are about the mean root, one place for all samples of a pose: what was observed stays in place
    centre, states = posed["mean"][:, :1], posed.get("path")
    layers: dict[str, Any] = {"mean": posed["mean"] - centre, "given": data.joints - centre, "up": up}
    layers |= {name: posed[name] for name in ("covariance", "radius_90")}
    path_states = None if states is None else states - centre[: states.shape[2]]
    titles = report.labels(source.frame, source.person)
    picture = report.Picture(
        *(posed["samples"] - centre, model.skeleton, titles, note, layers, source.fps, path_states),
        frame=source.frame,
        person=source.person,
        root=centre[:, 0],
    )
    yield from report.write(output, name, arrays, summary, picture)
