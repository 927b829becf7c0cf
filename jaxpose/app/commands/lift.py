"""`jaxpose lift INPUT --out DIR`: 2D keypoints in, many 3D poses in metres out; `complete` on 2D keypoints shares it.

Detections are lifted by `tasks.lift_video`, or by its own recipe where the model is DiffPose's own checkpoint: one pose
for each detection. Those know no camera but the image's size, no confidence and no missing joint. Their poses are in
metres of the people they were trained on; where the root stands is then found as for other models.
"""

import functools
from collections.abc import Generator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.app.commands import blocks, calibration, clips, detections, exports, models, report
from jaxpose.app.commands import world as worlds
from jaxpose.app.commands.blocks import Spent
from jaxpose.app.commands.detections import Detections
from jaxpose.app.commands.options import Lift
from jaxpose.app.commands.pictures import Picture
from jaxpose.app.commands.report import Outcome
from jaxpose.app.commands.values import refuse
from jaxpose.base import Array, Camera, Hypotheses, Key
from jaxpose.diffusion.mixture import Mixture
from jaxpose.evaluation import aggregate
from jaxpose.geometry.camera import denormalise_screen, project
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io.heatmap_files import Heatmaps
from jaxpose.model import Model, require, scored
from jaxpose.originals.datasets.prepare_gmm import COMPONENTS, fit_heatmaps
from jaxpose.originals.recipes.diffpose import lift_official
from jaxpose.spaces.person import place
from jaxpose.tasks.blocks import Block, Drawn, even, result_of
from jaxpose.tasks.draw import spread
from jaxpose.tasks.lift import stature
from jaxpose.tasks.lift_video import blocks_for, cutoff_of, lifting, timing
from jaxpose.tasks.samplers import sampler_of
from jaxpose.tasks.score import lifted_log_density
from jaxpose.tasks.verdict import doubtful_sides
from jaxpose.tasks.verdict import summary as summary_of
from jaxpose.tasks.world import World

_HEATMAPS = 2**31 - 2  # of the key of their fits: no block and no person has this number
_PROBES = 2**31 - 3  # of the key of likelihoods
# What pictures call the pose that --aggregate makes of the hypotheses.
_POSE_NAMES = {
    "reprojection": "mean weighted by agreement with the keypoints",
    "likelihood": "mean weighted by likelihood",
    "median": "median of each coordinate",
    "geometric_median": "geometric median",
    "medoid": "medoid: the hypothesis nearest to the others",
    "mode": "mode of each joint",
    "pose_mode": "mode of whole poses",
    "mean": "mean of the hypotheses",
}
FRAME_TAG = "camera axes: x right, y down, z forward; metres relative to the root joint"


@report.command("lift")
def lift(options: Lift, name: str) -> Generator[str, None, Outcome]:
    """Read and lift; lines and the summary name what was assumed of the camera and of scale."""
    output = options.output
    exports.check(output.exports, options.num_hypotheses)
    model = models.load_model(options, "lift")
    worlds.check(options.world)
    _check(model, options)
    detections.check_calibration([options.input], options.keypoints)
    still = options.world.camera_path is None
    file = yield from clips.keypoints_of(options.input, options.video, output.out, name, still)
    kind: dict[str, Any] = {"fps": options.fps, "span": clips.span_of([options.input], options.video)}
    kind |= {"whole": _by_recipe_alone(model), "video": model.spec.network.window is not None}
    data = detections.read_detections(file, model.skeleton, options.keypoints, options.skeleton, **kind)
    yield from data.lines
    data = yield from worlds.on_path(data, options.world)
    lifted, spent = yield from lift_all(model, data, options)
    if options.smooth:
        yield "--smooth has no effect any more: each hypothesis of a person is one motion, filtered by --cutoff"
    lifted |= calibration.applied(options.calibrated, lifted, model.skeleton)
    lifted |= one_pose(model, data, lifted, options.aggregate, output.seed)
    world = yield from worlds.followed(data, lifted, model.skeleton, options.world, output.seed)
    return outcome(options, model, spent, data, lifted, {"aggregate": options.aggregate}, world=world)


def _by_recipe_alone(model: Model) -> bool:
    """Whether DiffPose's own recipe lifts with the model."""
    return "screen" in model.capabilities


def _check(model: Model, options: Lift) -> None:
    likelihood = options.aggregate == "likelihood"
    gravity_alone = options.world.axes == "camera" and options.world.gravity is not None
    asked: dict[str, tuple[Any, ...]] = {  # whether each is, and what it needs of the model
        "model (priors are for `jaxpose fit`)": (models.is_prior(model), "joints"),
        "components": (options.components is not None, "context"),
        "depth": (options.depth is not None, "context"),
        "aggregate likelihood": (likelihood, "joints", "score"),
        "gravity without --axes world": (gravity_alone, "vertical"),
    }
    for flag, (given, *needed) in asked.items():
        if given:
            require(model, f"--{flag}", *needed)
    if likelihood and options.height:
        raise ValueError("--aggregate: likelihood is of poses of the model's own size; leave out --height")


def lift_all(model: Model, data: Detections, options: Lift) -> Generator[str, None, tuple[Drawn, Spent]]:
    """Lift all detections; yields what is assumed, and lines of progress."""
    if _by_recipe_alone(model):
        return (yield from _by_recipe(model, data, options))
    sampling, num = options.sampling, len(data.xy)
    mixture, components = yield from _mixture(model, data, options)
    sampler = sampler_of(sampling.sampler, sampling.steps)
    up = worlds.upward(data, options.world) if "vertical" in model.capabilities else None
    if up is not None:
        words = ", ".join(f"{x:.2f}" for x in np.atleast_2d(up)[0])
        yield f"the model is told the vertical: up is ({words}) in camera axes{' of the first row' * (up.ndim - 1)}"
    yield from _rate(model, data)
    if cutoff := cutoff_of(model, data.source.frame, data.source.fps, options.cutoff):
        yield f"poses have a low-pass filter of {cutoff:g} Hz over time (--cutoff 0: none)"
    states = sampler.network_calls(model) + 1 if sampling.path else 0
    drawing = lifting(
        jax.random.key(options.output.seed),
        model,
        data.seen,
        num_hypotheses=options.num_hypotheses,
        sampler=sampler,
        height=options.height,
        cutoff=cutoff,
        up=up,
        keypoint_mixture=mixture,
        num_components=components,
        depth=options.depth or "encoder",
        path=sampling.path,
        watch=lambda block: blocks.check_memory(block, num, options.num_hypotheses, states),
    )
    return (yield from blocks.progress(drawing, num, num_hypotheses=options.num_hypotheses))


def _rate(model: Model, data: Detections) -> Generator[str, None, None]:
    """A line about the frame rate, of models of video and of motions."""
    length = model.spec.network.window
    if length is not None:
        yield f"model of windows of {length} frames: {timing(data.source.frame, data.source.fps).said}"


def _mixture(model: Model, data: Detections, options: Lift) -> Generator[str, None, tuple[Mixture | None, int]]:
    """Mixtures of places of each keypoint, of heatmaps or of the file, and the number of components; with a line."""
    components, num = options.components or 1, len(data.xy)
    if (data.heatmaps or data.mixture) is not None and "context" not in model.capabilities:
        yield "heatmaps: the peaks and how high they are; only DiffPose models use the rest"
        return None, components
    if data.mixture is not None:
        of_file = data.mixture.weight.shape[-1]
        yield f"mixtures of {of_file} Gaussians of the file, {num} frames"
        return data.mixture, options.components or of_file
    if data.heatmaps is None:
        return None, components
    components = options.components or COMPONENTS
    key = jax.random.fold_in(jax.random.key(options.output.seed), _HEATMAPS)
    mixture = mixture_px(key, data.heatmaps, model.skeleton, components)
    yield f"heatmaps: mixtures of {components} Gaussians fitted to the maps of {num} frames"
    return mixture, components


def _by_recipe(model: Model, data: Detections, options: Lift) -> Generator[str, None, tuple[Drawn, Spent]]:
    """Lift by DiffPose's own recipe. ValueError for a flag or input that the model cannot take."""
    name = model.spec.name
    refuse(options.sampling, f"means nothing to {name!r}, DiffPose's own checkpoint with its own few steps")
    refuse(options, f"means nothing to {name!r}", "cutoff")
    hidden = np.argwhere(data.confidence == 0)
    if len(hidden):
        row, joint = hidden[0]
        lacks = f"frame {data.source.frame[row]} lacks {model.skeleton.joints[joint]}"
        raise ValueError(f"{name!r}, DiffPose's own checkpoint, needs every joint, and {lacks}")
    if data.image_size is None:
        raise ValueError(f"--image-size: {name!r} needs the image's WIDTH,HEIGHT, and the file has none")
    size = tuple(float(x) for x in data.image_size)
    yield f"DiffPose's own checkpoint: one pose each, relative to the root, {model.spec.scale}"
    yield from _mixture(model, data, options)

    def work(_: Key, block: Block, __: bool) -> Hypotheses:
        windows = None if block.windows is None else tuple(map(jnp.asarray, block.windows))
        xy, confidence, camera = data.seen.observed(block.rows)
        return _lift_by_recipe(model, xy, confidence, camera.intrinsics, *size, options.height, windows)

    yield from _rate(model, data)
    parts = blocks_for(model, data.source.frame, data.source.person, data.source.fps)
    return (yield from blocks.gather(work, parts, len(data.xy), seed=options.output.seed))


@jax.jit
def _lift_by_recipe(
    model: Model,
    xy: Array,
    confidence: Array,
    intrinsics: Array,
    width: Array,
    height: Array,
    body_height: Array | None,
    windows: tuple[Array, Array] | None,
) -> Hypotheses:
    if windows is None:
        poses = lift_official(model, xy, (width, height))
    else:
        index, counted = windows
        of_windows = lift_official(model, xy[index], (width, height), flip=True)  # as the released evaluation
        row = jnp.where(counted, index, len(xy))  # what does not count is dropped
        poses = jnp.zeros((*xy.shape[:-1], 3)).at[row].set(of_windows, mode="drop")
    samples = poses[None]
    if body_height is not None:
        samples = samples * (body_height / stature(samples, model))[..., None, None]
    return Hypotheses(samples, *spread(samples), place(intrinsics, xy, confidence, samples))


def mixture_px(key: Key, data: Heatmaps, target: Skeleton, num_components: int) -> Mixture:
    """Mixtures of the joints of `target` in pixels, weight [N, J, M], of heatmaps, as of `fit_heatmaps`."""
    parts = [mixture for _, mixture in fit_heatmaps(key, data, target, num_components)]
    fitted = jax.tree.map(lambda *x: jnp.concatenate(x), *parts)
    width, height = data.image_size
    return Mixture(fitted.weight, denormalise_screen(fitted.mean, width, height), fitted.std * (width / 2))


def one_pose(model: Model, data: Detections, lifted: Drawn, how: str, seed: int) -> Drawn:
    """`pose` [N, J, 3] and `pose_root` [N, 3], metres, that --aggregate makes of the hypotheses.

    The root is that of the same aggregate of all hypotheses where they stand in the camera frame.
    """
    key = jax.random.fold_in(jax.random.key(seed), _PROBES)
    judge = scored(model) if how == "likelihood" else model  # here, as a program that is kept must not hold its weights

    def work(_: Key, block: Block, __: bool) -> dict[str, Array]:  # whose probes are drawn for a block of one size
        samples, root = lifted["samples"][:, block.rows], lifted["root"][:, block.rows]
        xy, confidence, camera = data.seen.observed(block.rows)
        return _aggregate(key, judge, samples, root, xy, confidence, camera.intrinsics, how=how)

    drawn: Drawn = result_of(blocks.gather(work, even(len(data.xy)), len(data.xy)))[0]
    return drawn


@functools.partial(jax.jit, static_argnames="how")
def _aggregate(
    key: Key, model: Model, samples: Array, root: Array, xy: Array, confidence: Array, intrinsics: Array, *, how: str
) -> dict[str, Array]:
    weights = None
    if how == "reprojection":
        weights = aggregate.reprojection_weights(samples, xy, confidence, intrinsics)
    elif how == "likelihood":
        density = lifted_log_density(key, model, samples, xy, confidence, intrinsics=intrinsics)
        weights = aggregate.likelihood_weights(density)
    one = aggregate.mean if weights is not None else getattr(aggregate, how)
    return {"pose": one(samples, weights), "pose_root": one(samples + root[:, :, None], weights)[:, 0]}


def completed_keypoints(data: Detections, lifted: Drawn) -> np.ndarray:
    """Keypoints [H, N, J, 2] px: those observed as they are, the others where the camera sees each sample's joint."""
    projected = project(np.asarray(data.intrinsics, np.float32), lifted["samples"] + lifted["root"][:, :, None])
    return np.where((data.confidence > 0)[..., None], data.xy, projected)


def outcome(
    options: Lift,
    model: Model,
    spent: Spent,
    data: Detections,
    lifted: Drawn,
    more: dict[str, Any],
    completed: np.ndarray | None = None,
    world: World | None = None,
) -> Outcome:
    """The outcome of lifting; more: entries of the summary; completed: the `completed_keypoints`, if asked for.

    world: of a motion, whose root it smooths. Pictures of its axes are in those of a level camera.
    """
    tag, num, kp = FRAME_TAG, len(lifted["samples"]), data.source
    doubts = _doubts(data, lifted, worlds.upward(data, options.world))
    lifted, standing, about = worlds.placed(lifted, world, options.world)
    tag, more = (worlds.FRAME_TAG, {**more, "world": about}) if about else (tag, more)
    path = lifted.pop("path", None)
    scale = f"a body height of {options.height} m" if options.height else model.spec.scale
    summary = {
        **{**more, **_sampled(options, model, data), "num_detections": len(data.xy), "num_dropped": data.num_dropped},
        **{"num_hidden_joints": int((data.confidence == 0).sum()), "num_hypotheses": num},
        **{"frame_tag": tag, "scale": scale, "camera": data.camera},
        "spread_mm": report.spread_mm(lifted["covariance"], model.skeleton),
    }
    arrays = {
        **{**lifted, "keypoints": data.xy, "confidence": data.confidence, "intrinsics": data.intrinsics},
        **{"frame": kp.frame, "person": kp.person, "fps": kp.fps, "seconds": kp.seconds},
        "image": np.array(kp.image, np.str_),
        **report.axes(model.skeleton.joints, "-y", tag),
        **{"scale": scale, "image_size": data.image_size, "keypoints_completed": completed, **standing},
    }
    film = None if options.output.no_pictures else clips.film(options.input, kp.frame)
    shown: dict[str, Any] = {"path": path, "film": film, "floor": 0.0 if about else None}
    picture = Picture(model.skeleton, f"metres from {scale}; {data.camera}", _POSE_NAMES[options.aggregate], **shown)
    return Outcome(model, spent, len(data.xy) * num, arrays, summary, picture, doubts=doubts)


def _sampled(options: Lift, model: Model, data: Detections) -> dict[str, Any]:
    """Entries of the summary about how the poses were drawn and filtered."""
    if _by_recipe_alone(model):
        return {"network_calls": len(model.spec.indices), "sampler": "none"}
    hertz = cutoff_of(model, data.source.frame, data.source.fps, options.cutoff)
    return report.sampled(model, options.sampling) | {"cutoff_hz": hertz}


def _doubts(data: Detections, lifted: Drawn, up: np.ndarray | None) -> dict[str, np.ndarray]:
    """Doubts about poses in camera axes; the sides are told by all the joints of the file."""
    fields: dict[str, Any] = {name: value for name, value in lifted.items() if name in Hypotheses._fields}
    detected: dict[str, Any] = {"keypoints": data.xy, "confidence": data.confidence, "camera": Camera(data.intrinsics)}
    detected |= {} if up is None else {"up": up}
    doubts = summary_of(Hypotheses(**fields), **detected).doubts
    return doubts | {"sides": doubtful_sides(data.source.xy, data.source.confidence, data.source.skeleton)}
