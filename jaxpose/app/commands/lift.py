"""`jaxpose lift INPUT --out DIR`: 2D keypoints in, many 3D poses in metres out; `complete` on 2D keypoints shares it.

Detections are worked on in blocks, or by person and window where the model is one of video (`video.py`); by
`tasks.lift`, or by its own recipe where the model is DiffPose's own checkpoint: one pose for each detection. Those know
no camera but the image's size, no confidence and no missing joint. Their poses are in metres of the people they were
trained on; where the root stands is then found as for other models.
"""

import functools
from collections.abc import Generator, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.app.commands import blocks, clips, detections, exports, models, report, video
from jaxpose.app.commands import world as worlds
from jaxpose.app.commands.blocks import Block, Drawn, Spent
from jaxpose.app.commands.detections import Detections
from jaxpose.app.commands.options import Lift
from jaxpose.base import Array, Camera, Hypotheses, Key
from jaxpose.diffusion.mixture import Mixture
from jaxpose.evaluation import aggregate
from jaxpose.geometry.axes import covariance_to_camera, to_camera
from jaxpose.geometry.camera import denormalise_screen, project
from jaxpose.geometry.joint_sets import joint_map
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io.heatmap_files import BLOCK, Heatmaps, intensities
from jaxpose.model import Model, require, scored
from jaxpose.originals.datasets.prepare_gmm import COMPONENTS, SAMPLES, fit_block
from jaxpose.originals.recipes.diffpose import lift_official
from jaxpose.runtime.kept import kept
from jaxpose.spaces.person import place
from jaxpose.tasks import lift as task
from jaxpose.tasks.draw import spread
from jaxpose.tasks.lift import stature
from jaxpose.tasks.motions import is_motion
from jaxpose.tasks.samplers import sampler_of
from jaxpose.tasks.score import lifted_log_density
from jaxpose.tasks.smooth import smooth
from jaxpose.tasks.world import World

_HEATMAPS = 2**31 - 2  # of the key of their fits: no block and no person has this number
_PROBES = 2**31 - 3  # of the key of likelihoods
_MOTIONS = 2**31 - 4  # of the key of motions
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


def lift(options: Lift) -> Iterator[str]:
    """Read, lift and write; what was assumed of the camera and of scale is said and stands in the summary."""
    path, output = options.input, options.output
    name = report.result(output, "lift", None, path)
    exports.check(output.exports, options.hypotheses, mesh=exports.NO_MESH)
    model = models.load_joint_model(output, "lift")
    worlds.check(options.world, model)
    _check(model, options)
    seen = yield from clips.keypoints_of(path, options.video, output.out, name)
    kind: dict[str, Any] = {
        "fps": options.fps,
        "whole": "screen" in model.capabilities,
        "video": options.smooth or model.spec.network.window is not None,
    }
    data = detections.read_detections(seen, model.skeleton, options.keypoints, options.skeleton, **kind)
    yield from detections.describe(seen, data)
    lifted, spent = yield from lift_all(model, data, options)
    if options.smooth:
        lifted |= yield from _smoothed(data, lifted, output.seed)
    lifted |= one_pose(model, data, lifted, options.aggregate, output.seed)
    said = report.record("lift", path, model, spent, len(data.xy) * len(lifted["samples"]), seed=output.seed)
    world = None
    if options.world.axes == "world":
        world = worlds.find(data, lifted, model.skeleton, options.world)
        yield from world.said
    yield from write(options, name, model, data, lifted, said | {"aggregate": options.aggregate}, world=world)


def _check(model: Model, options: Lift) -> None:
    """ValueError naming the flag that means nothing to the model."""
    for name in ("components", "depth"):
        if getattr(options, name) is not None:
            require(model, f"--{name}", "context")
    if options.smooth and (model.spec.network.window is not None or "screen" in model.capabilities):
        raise ValueError(f"--smooth: is for the hypotheses of single frames, which {model.spec.name!r} does not draw")
    if options.aggregate == "likelihood":
        require(scored(model), "--aggregate likelihood", "joints", "score")
        if options.height:
            raise ValueError("--aggregate: likelihood is of poses of the model's own size; leave out --height")


def lift_all(model: Model, data: Detections, options: Lift) -> Generator[str, None, tuple[Drawn, Spent]]:
    """Lift all detections, block by block, or person by person where the model is one of video."""
    each, num, length = options.hypotheses, len(data.xy), model.spec.network.window
    sampling, seed, work = options.sampling, options.output.seed, None
    if "screen" in model.capabilities:
        each, work = 1, _lifting_by_recipe(model, data, options)
        yield f"DiffPose's own checkpoint: one pose each, relative to the root, {model.spec.scale}"
    mixture, components = None, options.components or 1
    if (data.heatmaps or data.mixture) is not None and "context" not in model.capabilities:
        yield "heatmaps: the peaks and how high they are; only DiffPose models use the rest"
    elif data.mixture is not None:
        mixture, components = data.mixture, options.components or data.mixture.weight.shape[-1]
        yield f"mixtures of {data.mixture.weight.shape[-1]} Gaussians of the file, {num} frames"
    elif data.heatmaps is not None:
        components = options.components or COMPONENTS
        key = jax.random.fold_in(jax.random.key(seed), _HEATMAPS)
        mixture = mixture_px(key, data.heatmaps, model.skeleton, components)
        yield f"heatmaps: mixtures of {components} Gaussians fitted to the maps of {num} frames"
    sampler = sampler_of(sampling.sampler, sampling.steps)
    up = worlds.upward(data, options.world) if "vertical" in model.capabilities else None
    if up is not None:
        yield f"the model is told the vertical: up is ({', '.join(f'{x:.2f}' for x in up)}) in camera axes"

    how = {"sampler": sampler, "num_components": components, "depth": options.depth or "encoder"}
    run = kept(task.lift, "return_path", num_hypotheses=each, **how)

    def lift_block(key: Key, block: Block, return_path: bool) -> Any:
        xy, confidence, intrinsics = data.observed(block.rows)
        given: dict[str, Any] = {"camera": Camera(intrinsics), "height": options.height, "return_path": return_path}
        given["windows"] = video.device_windows(block)
        given["up"] = up
        given["keypoint_mixture"] = None if mixture is None else Mixture(*(jnp.asarray(x[block.rows]) for x in mixture))
        return run(key, model, xy, confidence, **given)

    before: Any = None  # the motions that the last block drew

    def lift_track(key: Key, block: Block, return_path: bool) -> Any:
        nonlocal before
        track = block.track
        assert track is not None
        xy, confidence, intrinsics = data.observed(track.rows)
        past = before[:, -track.held :] if track.held else None
        sure = confidence * track.seen[:, None]
        given = {"camera": Camera(intrinsics), "height": options.height, "up": up, "past": past}
        found = run(key, model, xy, sure, return_path=return_path, **given)
        before = found.samples[:, : track.count]
        return video.drawn_between(found, track)

    groups = blocks.even(num, doubling=True)
    if length is not None and is_motion(model):
        clock = video.timing(data.source)
        yield f"model of motions, {length} frames at a time: {clock.said}"
        work, groups = lift_track, video.tracks(data.source.person, clock, length)
    elif length is not None:
        clock = video.timing(data.source)
        yield f"video model, windows of {length} frames: {clock.said}"
        groups = video.groups(data.source.person, clock, length)
    states = sampler.network_calls(model) + 1 if sampling.path else 0
    return (yield from blocks.gather(work or lift_block, groups, num, seed=seed, each=each, states=states))


def _smoothed(data: Detections, lifted: Drawn, seed: int) -> Generator[str, None, Drawn]:
    """Fields of the hypotheses joined to motions, person by person."""
    source = data.source
    seconds = (source.frame - source.frame.min()) / (source.fps or video.TRAINED_FPS)
    key = jax.random.fold_in(jax.random.key(seed), _MOTIONS)
    yield f"hypotheses joined to motions: {video.timing(source).said}"
    found: Drawn = {name: np.array(lifted[name]) for name in ("samples", "mean", "root", "path") if name in lifted}
    for who in np.unique(source.person):
        rows = np.flatnonzero(source.person == who)
        rows = rows[np.argsort(seconds[rows], kind="stable")]
        own = {name: jnp.asarray(np.take(x, rows, blocks.AXIS.get(name, 0))) for name, x in lifted.items()}
        one = smooth(jax.random.fold_in(key, int(who)), Hypotheses(**own), seconds[rows])._asdict()
        for name, whole in found.items():
            np.moveaxis(whole, blocks.AXIS.get(name, 0), 0)[rows] = np.moveaxis(one[name], blocks.AXIS.get(name, 0), 0)
    return found


def _lifting_by_recipe(model: Model, data: Detections, options: Lift) -> Any:
    """What lifts a block, for `blocks.gather`. ValueError for a flag or input that the model cannot take."""
    name, sampling = model.spec.name, options.sampling
    given = {"steps": sampling.steps, "path": sampling.path, "sampler": sampling.sampler != "posterior"}
    flag = next((flag for flag, value in given.items() if value), None)
    if flag:
        raise ValueError(f"--{flag}: means nothing to {name!r}, DiffPose's own checkpoint with its own few steps")
    hidden = np.argwhere(data.confidence == 0)
    if len(hidden):
        row, joint = hidden[0]
        found = f"frame {data.source.frame[row]} lacks {model.skeleton.joints[joint]}"
        raise ValueError(f"{name!r}, DiffPose's own checkpoint, needs every joint, and {found}")
    if data.image_size is None:
        raise ValueError(f"--image-size: {name!r} needs the image's WIDTH,HEIGHT, and the file has none")
    size = tuple(float(x) for x in data.image_size)
    return lambda key, block, return_path: _lift_by_recipe(
        model, *data.observed(block.rows), *size, options.height, video.device_windows(block)
    )


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
    """Mixtures of the joints of `target` in pixels, weight [N, J, M], of heatmaps; the heaviest component first.

    They are fitted by EM to points drawn from the maps. Joints that the file lacks are made of its own.
    """
    num, (width, height) = len(data.maps), data.image_size
    weights = joint_map(data.skeleton, target)[0]

    def work(_: Key, block: Block, __: bool) -> Mixture:
        keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.asarray(block.rows))
        maps, box = intensities(data, block.rows), data.box[block.rows]
        return fit_block(keys, maps, box, weights, width, height, SAMPLES, num_components)

    found = Mixture(**blocks.silently(blocks.gather(work, blocks.even(num, BLOCK), num)))  # type: ignore[arg-type]  # numpy
    mean_px = denormalise_screen(jnp.asarray(found.mean), width, height)
    return Mixture(jnp.asarray(found.weight), mean_px, jnp.asarray(found.std) * (width / 2))


def one_pose(model: Model, data: Detections, lifted: Drawn, how: str, seed: int) -> Drawn:
    """`pose` [N, J, 3] and `pose_root` [N, 3], metres, that --aggregate makes of the hypotheses.

    The root is that of the same aggregate of all hypotheses where they stand in the camera frame.
    """
    key = blocks.folded_key(seed, _PROBES)
    judge = scored(model) if how == "likelihood" else model  # here, as a program that is kept must not hold its weights

    def work(_: Key, block: Block, __: bool) -> dict[str, Array]:
        samples, root = lifted["samples"][:, block.rows], lifted["root"][:, block.rows]
        pose, pose_root = _aggregate(key, judge, samples, root, *data.observed(block.rows), how=how)
        return {"pose": pose, "pose_root": pose_root}

    return blocks.silently(blocks.gather(work, blocks.even(len(data.xy)), len(data.xy)))


def _aggregated(
    key: Key, model: Model, samples: Array, root: Array, xy: Array, confidence: Array, intrinsics: Array, *, how: str
) -> tuple[Array, Array]:
    weights = None
    if how == "reprojection":
        weights = aggregate.reprojection_weights(samples, xy, confidence, intrinsics)
    elif how == "likelihood":
        weights = aggregate.likelihood_weights(
            lifted_log_density(key, model, samples, xy, confidence, intrinsics=intrinsics)
        )
    one = aggregate.mean if weights is not None else getattr(aggregate, how)
    return one(samples, weights), one(samples + root[:, :, None], weights)[:, 0]


_aggregate = kept(_aggregated, "how")


def completed_keypoints(data: Detections, lifted: Drawn) -> np.ndarray:
    """Keypoints [H, N, J, 2] px: those observed as they are, the others where the camera sees each sample's joint."""
    placed = jnp.asarray(lifted["samples"] + lifted["root"][:, :, None])
    seen = np.asarray(project(jnp.asarray(data.intrinsics, jnp.float32), placed))
    return np.where((data.confidence > 0)[..., None], data.xy, seen)


def write(
    options: Lift,
    name: str,
    model: Model,
    data: Detections,
    lifted: Drawn,
    said: dict[str, Any],
    completed: np.ndarray | None = None,
    world: World | None = None,
) -> Iterator[str]:
    """Write what lifting gave; said: entries of the summary; completed: the `completed_keypoints`, if asked for.

    world: where results are wanted in its axes. Pictures are in those of a level camera, then.
    """
    tag, shown, standing = FRAME_TAG, lifted, {}
    if world is not None:
        tag, lifted = worlds.FRAME_TAG, worlds.turned(lifted, world)
        said, standing = said | {"world": worlds.summary(world)}, worlds.arrays(lifted, world)
        shown = lifted | {part: to_camera(lifted[part], "y") for part in ("samples", "mean", "pose")}
        shown |= {"covariance": covariance_to_camera(lifted["covariance"], "y")}
        shown |= {"pose_root": to_camera(world.root_world.astype(np.float32), "y")}
    sampling, height, kp = options.sampling, options.height, data.source
    scale = f"a body height of {height} m" if height else model.spec.scale
    path_states = lifted.pop("path", None)
    if path_states is not None and world is not None:
        path_states = to_camera(path_states @ world.R_world_camera.T, "y")
    if "screen" in model.capabilities:
        drawn: dict[str, Any] = {"network_calls": len(model.spec.indices), "sampler": "none"}
    else:
        drawn = report.sampled(model, sampler_of(sampling.sampler, sampling.steps))
    summary = {
        **{**said, **drawn, "num_detections": len(data.xy), "num_dropped": data.num_dropped},
        **{"num_hidden_joints": int((data.confidence == 0).sum()), "num_hypotheses": len(lifted["samples"])},
        **{"frame_tag": tag, "scale": scale, "camera": data.camera},
        "spread_mm": report.spread_mm(lifted["covariance"], model.skeleton),
    }
    arrays = {
        **{**lifted, "keypoints": data.xy, "confidence": data.confidence, "intrinsics": data.intrinsics},
        **{**report.rows(kp.frame, kp.person, kp.fps), "image": np.array(kp.image, np.str_)},
        **report.axes(model.skeleton.joints, "-y", tag),
        **{"scale": scale, "image_size": data.image_size, "keypoints_completed": completed, **standing},
    }
    layers: dict[str, Any] = {"keypoints": data.visible, "confidence": data.confidence, "mean": shown["mean"]}
    layers |= {part: shown[part] for part in ("covariance", "radius_90")}
    if "pose" in shown:
        layers |= {"mean": shown["pose"], "mean_name": _POSE_NAMES[options.aggregate]}
    if completed is not None:
        layers |= {"observed": data.confidence > 0, "reprojected": completed}
    if world is not None:
        layers |= {"up": "y"}
    note, titles = f"metres from {scale}; {data.camera}", report.labels(kp.frame, kp.person)
    picture = report.Picture(
        *(shown["samples"], model.skeleton, titles, note, layers, kp.fps, path_states, kp.frame, kp.person),
        root=shown.get("pose_root", shown["root"].mean(0)),
        image_size=data.image_size,
        film=None if options.output.no_pictures else clips.film(options.input, kp.frame),
        floor=None if world is None else 0.0,
    )
    yield from report.write(options.output, name, arrays, summary, picture)
