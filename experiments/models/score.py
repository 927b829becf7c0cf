"""Training of one network under a process, for `experiments.train`: `pose17`, or GFPose as it was trained."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.models import stored
from experiments.models.detections import load_detections
from experiments.models.initial import keeps_statistics, load_initial, part_of
from experiments.models.job import Job, level_loss, load_bodies, validation, with_statistics
from experiments.models.motion17.validation import motion_evaluators
from experiments.models.own_views import own_views
from experiments.models.training import show
from jaxpose import model as released
from jaxpose.base import Array, Camera, Example, Key
from jaxpose.conditioning import MaskRates
from jaxpose.diffusion.losses import log_snr_times, uniform_times
from jaxpose.evaluation.protocols import LiftingBench, lifting_row, load_lifting_bench
from jaxpose.examples.clips import make_clips
from jaxpose.examples.detections import Seen, mixed_example
from jaxpose.examples.motions import motion_example
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import pose_example
from jaxpose.networks.fields import from_fields
from jaxpose.originals.datasets.h36m import load_frames
from jaxpose.originals.examples.filmed import gfpose_example, on_device
from jaxpose.spaces.image_depth import STATISTICS as IMAGE_DEPTH
from jaxpose.spaces.person import Statistics
from jaxpose.tasks.lift import lift
from jaxpose.training.step import TrainState


def spec_of(config: ConfigDict) -> released.Spec:
    """What the model is that a config of one network under a process trains."""
    return released.Spec(
        name=config.name,
        network=from_fields(dict(config.network)),  # "kind": of another than ScoreMLP that is registered
        process=config.process.name,
        process_args=tuple(config.process.args),
        target=config.loss.target,
        codec=config.get("codec", "person"),
        context=config.get("context", 17),
        **config.sampler,
    )


def score_job(config: ConfigDict) -> Job:
    """One network under a process: the released `pose17`, or GFPose as it was trained."""
    spec = spec_of(config)
    initial, source = load_initial(config.train.init, spec), load_data(config)
    if initial is not None:
        spec = initial.spec
        if keeps_statistics(config):
            data = with_statistics(source.data, initial.statistics)
            source = source._replace(data=data, statistics=initial.statistics)
    params = released.init_params(jax.random.key(config.seed), spec) if initial is None else initial.params
    only = config.train.get("only", "")
    params, whole = part_of(params, only)
    if only and not config.train.init.endswith(".safetensors"):
        spec = dataclasses.replace(spec, base=config.train.init)  # what stays need not be written again
    loss = make_loss(spec, config.loss, source.statistics.spread)

    def export(trained: Any) -> released.Model:
        return released.Model(whole(trained), source.statistics, spec)

    return Job(
        spec=spec,
        params=params,
        statistics=source.statistics,
        data=source.data,
        example=source.example,
        loss=lambda trained, key, example: loss(whole(trained), key, example),
        evaluators=make_evaluators(spec, export, config.data),
        export=export,
        initial=initial,
    )


class Source(NamedTuple):
    """Arrays on the device, how one example is drawn from them, and the codec's numbers."""

    data: Any
    example: Callable[[Key, Any], Example]
    statistics: Statistics


def load_data(config: ConfigDict) -> Source:
    """The training data that `config.data` names: bodies of motion capture, or prepared frames of Human3.6M."""
    masks, data = MaskRates(**config.masks), config.data
    kind = data.get("kind", "mocap")
    if kind == "h36m":
        frames = on_device(load_frames(data.folder))
        print(f"{len(frames.image)} frames of {data.folder}")
        example = functools.partial(gfpose_example, masks=masks, flip=data.flip, use_truth=data.use_truth)
        return Source(frames, example, IMAGE_DEPTH)
    if kind != "mocap":
        raise ValueError(f"config.data.kind: got {kind!r}, must be one of 'mocap', 'h36m'")
    if data.get("stream", ""):
        return from_disk(config, masks)
    bodies, mocap = load_bodies(config)
    if num_frames := config.get("network", {}).get("num_frames"):
        example = functools.partial(
            motion_example, view=ViewRates(**config.view), masks=masks, num_frames=num_frames, gap=config.gap
        )
        return Source(make_clips(bodies, mocap), example, bodies.statistics)
    view = ViewRates(**config.view)
    if folder := data.get("detections", ""):
        seen = Seen(bodies, load_detections(folder, data.detectors)[0])
        print(f"{len(seen.detections.xy):,} frames of {folder}, read by {', '.join(data.detectors)}")
        example = functools.partial(mixed_example, view=view, masks=masks, share=data.detected)
        return Source(seen, example, bodies.statistics)
    return Source(bodies, functools.partial(pose_example, view=view, masks=masks), bodies.statistics)


def from_disk(config: ConfigDict, masks: MaskRates) -> Source:
    """Frames or motions of a folder of shards."""
    shards, resident = stored.open_bodies(config.data.stream, ViewRates(**config.view))
    print(f"{len(shards):,} frames of {len(resident.takes.length):,} sequences in {config.data.stream}")
    view, num_frames = ViewRates(**config.view), config.network.get("num_frames")
    if num_frames:
        stream, example = stored.motions_on_disk(shards, resident, view, masks, num_frames, gap=config.gap)
    else:
        stream, example = stored.frames_on_disk(shards, resident, view, masks)
    return Source(stream, example, resident.bodies.statistics)


def make_loss(spec: released.Spec, config: ConfigDict, spread: Any = 1.0) -> Any:
    """Loss of one example: the mean over `num_draws` noise levels, which share the condition's features."""
    sde = spec.sde()
    uniform = config.get("times", "log_snr") == "uniform"
    times = uniform_times(sde, config.t_min) if uniform else log_snr_times(sde)

    at_one_level = level_loss(spec, sde, times, config.weighting, spread)

    def loss(params: Any, key: Key, example: Example) -> tuple[Array, dict[str, Array]]:
        keys = jax.random.split(key, config.num_draws)
        losses, metrics = jax.vmap(lambda k: at_one_level(params, k, example))(keys)
        losses = losses / (1 if spec.network.window is None else spec.network.window)
        return losses.mean(), jax.tree.map(jnp.mean, metrics)

    return loss


def make_evaluators(spec: released.Spec, export: Callable[[Any], released.Model], data: ConfigDict) -> dict[str, Any]:
    """The row of the folder's or the benchmark's validation poses, 50 hypotheses; none where there are none.

    export: the model of the parameters that are trained.
    """
    if spec.network.window is not None:
        return motion_evaluators(spec, export)
    if "joints" not in spec.capabilities:
        return {}  # GFPose's protocol needs its own files: experiments.evaluate gfpose
    bench = own_views(data.folder) if data.folder else _benchmark()
    if bench is None:
        return {}

    def validate(state: TrainState) -> dict[str, float]:
        model = export(state.ema_params)
        camera = Camera(jnp.asarray(bench.intrinsics))
        seen = jnp.asarray(bench.keypoints), jnp.asarray(bench.confidence)
        lifted = lift(jax.random.key(0), model, *seen, camera=camera, num_hypotheses=50)
        row = lifting_row(lifted.samples, bench.joints_cam, bench.category)
        shown = {k: v for k, v in row.items() if isinstance(v, float)}
        show(shown)
        return shown

    return {"val": validate}


def _benchmark() -> LiftingBench | None:
    """Every fourth validation pose of the benchmark."""
    path = validation("val_frames.npz")
    return None if path is None else LiftingBench(*(x[::4] for x in load_lifting_bench(path)))
