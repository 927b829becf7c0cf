"""The two stages of a DiffPose model, for `experiments.train`: `stage` "encoder", then "diffusion" on top of it.

    encoder     |e|^2 + w |de|^2 of the state's error e, de its change from frame to frame, w = `velocity_weight`
    diffusion   denoising of r = (h - mu) / s under a component of H_K (jaxpose/tasks/diffpose.py); encoder fixed

`config.loss.start` says where the component comes from. With `components` M of 1 or more it is drawn by its weight from
the mixture of M Gaussians that EM fits to `samples` draws of H_K (`initial_distribution`), as the paper has it; u and v
are those of heatmaps (`config.heatmaps`, or the mixtures of the folder), or without any of the detector's confidences.
With 0 it is the encoder's one Gaussian, now and then a narrower one beside it, or none: `random_component`.

The export of the first stage is a model without a denoiser. `config.train.init` names it for the second stage; for the
encoder of video it names the frame encoder, which is corrected. Where there is an `init`, its statistics are kept; of a
whole model (`diffpose17`), the denoiser goes on, and encoder, start and sampler stay. `config.train.denoiser` names a
whole model whose denoiser goes on with the encoder of `init`, whose start is measured anew.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.models.detections import load_detections
from experiments.models.initial import brief, check_same
from experiments.models.job import Job, load_bodies, validation, with_statistics
from experiments.models.own_views import own_views
from experiments.models.training import show
from jaxpose import model as released
from jaxpose.base import Array, Example, Key
from jaxpose.conditioning import MaskRates
from jaxpose.diffusion.losses import denoising_loss, log_snr_times, next_state
from jaxpose.diffusion.mixture import Mixture
from jaxpose.evaluation import metrics
from jaxpose.evaluation.protocols import LiftingBench, load_lifting_bench, load_video_bench
from jaxpose.examples.clips import ClipExample, clip_example, make_clips
from jaxpose.examples.detections import SeenClips, mixed_clip
from jaxpose.examples.heatmaps import HeatmapRates
from jaxpose.examples.rates import ViewRates
from jaxpose.networks.diffpose import DEPTH_BINS, DiffPose
from jaxpose.networks.graph import GraFormer, GraphDenoiser
from jaxpose.networks.mixste import MixSTE
from jaxpose.originals.datasets.h36m import load_frames, load_mixtures
from jaxpose.originals.examples.filmed import film, filmed_example
from jaxpose.spaces.person import Statistics, decode_pose, encode_keypoints
from jaxpose.tasks import diffpose
from jaxpose.training.step import TrainState

_FARTHEST = 8.0  # of r in standard deviations: a hidden outlier is no reason for a loss of hundreds
_STRIDE = 9  # frames of a clip are much alike
_BLOCKS = 40  # in which the start is measured
_HYPOTHESES = 20  # whose mean is validated


def diffpose_job(config: ConfigDict) -> Job:
    """The run of the stage that `config.stage` names; ValueError where `config.train.init` lacks what it stands on."""
    if config.stage not in ("encoder", "diffusion"):
        raise ValueError(f"config.stage: got {config.stage!r}, must be one of 'encoder', 'diffusion'")
    return (_encoder_job if config.stage == "encoder" else _diffusion_job)(config)


def _encoder_job(config: ConfigDict) -> Job:
    spec = make_spec(config)
    network = make_network(config)
    init = load_init(config.train.init, network, ("frame",) if network.frame and network.video else ())
    data, example, statistics = _load_data_for(config, init)
    params = released.init_params(jax.random.key(config.seed), spec)["params"]
    if network.video is not None:
        params["video"]["head"] = jax.tree.map(lambda x: config.train.head_scale * x, params["video"]["head"])
    if init is not None:
        params |= {part: v for part, v in init.params["params"].items() if part in params}

    def export(params: Any) -> released.Model:
        return released.Model(params, statistics, spec)

    loss = make_encoder_loss(network, config.loss)
    evaluators = make_evaluators(network, export, config.data)
    return Job(spec, {"params": params}, statistics, data, example, loss, evaluators, export)


def _diffusion_job(config: ConfigDict) -> Job:
    spec = make_spec(config)
    network = make_network(config)
    encoders = tuple(part for part in ("frame", "video") if getattr(network, part) is not None)
    init = load_init(config.train.init, network, encoders)
    assert init is not None, "an encoder is needed"
    initial = init if init.spec.network == network else None  # a whole model, or the export of stage "encoder"
    if initial is not None:
        check_same(config.train.init, init.spec, spec, ("skeleton", "context", "process", "process_args", "target"))
        spec = dataclasses.replace(init.spec, name=spec.name)
    data, example, statistics = _load_data_for(config, init)
    fixed = {"params": {part: init.params["params"][part] for part in encoders}}
    if initial is not None:
        fixed["start"] = initial.params["start"]
        params = {"params": {"denoiser": initial.params["params"]["denoiser"]}}
    else:
        fixed["start"] = measure_start(network, fixed, data, example, config.loss.start_poses)
        first = released.load(config.train.denoiser).params if config.train.get("denoiser") else init.params
        fresh = released.init_params(jax.random.key(config.seed), spec)["params"]
        params = {"params": {"denoiser": first["params"].get("denoiser", fresh["denoiser"])}}

    def export(params: Any) -> released.Model:
        return released.Model(
            {"params": {**fixed["params"], **params["params"]}, "start": fixed["start"]}, statistics, spec
        )

    loss = make_diffusion_loss(network, released.Model(fixed, statistics, spec), config.loss)
    evaluators = make_evaluators(network, export, config.data)
    return Job(spec, params, statistics, data, example, loss, evaluators, export, initial)


def make_network(config: ConfigDict) -> DiffPose:
    """The network that `config.network` names, part by part; a denoiser is shown the context of `context_of`."""
    parts = config.network
    frame = GraFormer(**parts.frame) if parts.frame else None
    video = MixSTE(**parts.video) if parts.video else None
    encoder = frame if video is None else video
    if encoder is None:
        raise ValueError("config.network: needed a 'frame' or a 'video' encoder, got none")
    if not parts.denoiser:
        return DiffPose(frame, video, symmetric=parts.get("symmetric", False))
    denoiser, width = GraphDenoiser(**parts.denoiser), encoder.width + 13
    return DiffPose(frame, video, denoiser, width, parts.get("symmetric", False))


def make_spec(config: ConfigDict) -> released.Spec:
    """What the exported model says of itself; that of the encoder stage has no denoiser."""
    if (config.stage == "diffusion") != bool(config.network.denoiser):
        raise ValueError("config.network.denoiser: needed in stage 'diffusion', and None in stage 'encoder'")
    return released.Spec(
        name=config.name,
        network=make_network(config),
        process=config.process.name,
        process_args=tuple(config.process.args),
        target="edm",
        **config.sampler,
    )


def load_init(path: str, network: DiffPose, needed: tuple[str, ...]) -> released.Model | None:
    """The model to start from, with the parts that are `needed`; None where there is no path and no need.

    ValueError names the file and the part that is missing or is another than the config's.
    """
    if not path:
        if needed:
            raise ValueError(
                f"config.train.init: got none; needed the export of stage 'encoder', with its {' and '.join(needed)}"
            )
        return None
    model = released.load(path)
    released.require(model, f"config.train.init {path}", "joints")
    for part in ("frame", "video", "denoiser"):
        here, there = getattr(network, part), getattr(model.spec.network, part, None)
        if there is None and part in needed:
            raise ValueError(f"{path}: has no {part} encoder; needed {brief(here)}")
        if here is not None and there is not None and here != there:
            raise ValueError(f"{path}: its {part} is {brief(there)}; config.network.{part} is {brief(here)}")
    return model


def load_data(config: ConfigDict) -> tuple[Any, Any, Statistics]:
    """Clips that `config.data` names, how an example is drawn, and the codec's numbers.

    kind "mocap": motion capture seen by virtual cameras; "frames": a folder made by `jaxpose prepare`.
    """
    masks, data = MaskRates(**config.masks), config.data
    num_frames = config.network.video.num_frames if config.network.video else 1
    kind = data.get("kind", "mocap")
    if kind == "frames":
        filmed = film(load_frames(data.folder), load_mixtures(data.folder))
        print(f"{len(filmed.first)} frames of {data.folder}")
        example = functools.partial(filmed_example, masks=masks, num_frames=num_frames, flip=data.flip)
        return filmed, example, filmed.statistics
    if kind != "mocap":
        raise ValueError(f"config.data.kind: got {kind!r}, must be one of 'mocap', 'frames'")
    bodies, mocap = load_bodies(config)
    view, rates = ViewRates(**config.view), HeatmapRates(**config.heatmaps)
    example = functools.partial(
        clip_example, view=view, masks=masks, num_frames=num_frames, heatmaps=rates if any(rates) else None
    )
    clips = make_clips(bodies, mocap)
    if folder := data.get("detections", ""):
        seen = SeenClips(clips, *load_detections(folder, data.detectors))
        print(f"{len(seen.detections.xy):,} frames of {folder}, read by {', '.join(data.detectors)}")
        how = {"view": view, "masks": masks, "share": data.detected, "num_frames": num_frames}
        return seen, functools.partial(mixed_clip, **how), bodies.statistics
    return clips, example, bodies.statistics


def _load_data_for(config: ConfigDict, init: released.Model | None) -> tuple[Any, Any, Statistics]:
    """`load_data`, in the state's units of the model that training goes on from."""
    data, example, statistics = load_data(config)
    if init is None:
        return data, example, statistics
    return with_statistics(data, init.statistics), example, init.statistics


def make_encoder_loss(network: DiffPose, config: ConfigDict) -> Any:
    """Loss of one clip [F, ...]; a frame encoder takes the frames one by one. config: has `velocity_weight`."""

    def loss(params: Any, key: Key, example: ClipExample) -> tuple[Array, dict[str, Array]]:
        if network.video is not None and network.frame is not None:
            # the part of single frames stays as it is
            frozen = jax.lax.stop_gradient(params["params"]["frame"])
            params = {**params, "params": {**params["params"], "frame": frozen}}
        seen = diffpose.encoder_input(example.cond)
        pose, _ = network.apply(params, seen, train=True, method="encode", rngs={"dropout": key})
        error = pose - example.x0
        value = jnp.square(error).sum((-1, -2)).mean()
        if len(error) > 1:
            value = value + config.velocity_weight * jnp.square(jnp.diff(error, axis=0)).sum((-1, -2)).mean()
        rooted = error - error[:, :1]
        return value, {"mpjpe_mm": 250 * jnp.linalg.norm(rooted, axis=-1).mean()}  # the state's unit is 0.25 m

    return loss


def make_diffusion_loss(network: DiffPose, fixed: released.Model, config: ConfigDict) -> Any:
    """Loss of one clip: denoising at `num_draws` levels in `num_shown` of its frames.

    fixed: a model of the encoder's parameters and its "start". config: has num_draws, num_shown, no_features (the share
    of draws without f_ST), start (above), next_of (K: the error of h_{k-1} of K steps; 0: of h_0, weighted as "edm")
    and times ("all", or "end": one call from H_K is all that is learned).
    """
    sde = fixed.spec.sde()
    if config.times not in ("all", "end"):
        raise ValueError(f"config.loss.times: got {config.times!r}, must be one of 'all', 'end'")
    every = log_snr_times(sde)
    times = every if config.times == "all" else lambda _: jnp.asarray(sde.t_max)
    weighting = next_state(config.next_of) if config.next_of else "edm"
    draw_of = _components(network, fixed, config.start)

    def loss(params: Any, key: Key, example: ClipExample) -> tuple[Array, dict[str, Array]]:
        encoded = diffpose.encode(network, fixed.params, example.cond)
        truth = jnp.concatenate([example.xy, example.x0], -1)
        pick_key, fit_key, key = jax.random.split(key, 3)
        shown = jax.random.choice(pick_key, len(truth), (min(config.num_shown, len(truth)),), replace=False)
        encoded, truth, peaks = jax.tree.map(lambda x: x[shown], (encoded, truth, example.peaks))
        component_of = draw_of(fit_key, encoded, peaks)

        def draw(key: Key) -> tuple[Array, dict[str, Array]]:
            component_key, drop_key, noise_key = jax.random.split(key, 3)
            component = component_of(component_key)
            with_features = jax.random.bernoulli(drop_key, 1 - config.no_features)
            context = diffpose.context_of(encoded, component, features=with_features)
            r = jnp.clip((truth - component.mean) / component.std, -_FARTHEST, _FARTHEST)

            def apply(x: Array, t: Array, cond: Any) -> Any:
                return network.apply(params, x, t, context, train=True, method="denoise")

            value, metrics = denoising_loss(
                noise_key, apply, sde, Example(r, example.cond), target="edm", weighting=weighting, times=times
            )
            return value / len(shown), metrics

        losses, metrics = jax.vmap(draw)(jax.random.split(key, config.num_draws))
        return losses.mean(), jax.tree.map(jnp.mean, metrics)

    return loss


def _components(
    network: DiffPose, fixed: released.Model, start: Any
) -> Callable[[Key, diffpose.Encoded, Mixture | None], Callable[[Key], diffpose.Component]]:
    """How a draw's component of H_K is drawn, of what the encoder and the heatmaps say of the frames shown."""
    population = jnp.asarray(fixed.statistics.spread)

    def jittered(_: Key, encoded: diffpose.Encoded, __: Mixture | None) -> Callable[[Key], diffpose.Component]:
        known = diffpose.one_gaussian(encoded, fixed.params["start"]["residual"])
        return lambda key: diffpose.random_component(key, known, population)

    def fitted(key: Key, encoded: diffpose.Encoded, peaks: Mixture | None) -> Callable[[Key], diffpose.Component]:
        how = {"num_components": start.components, "depth": start.depth, "num_samples": start.samples}
        mixture = diffpose.initial_distribution(key, fixed, encoded, keypoints=peaks, **how)
        mixture = jax.lax.stop_gradient(mixture)
        return lambda key: diffpose.draw_start(key, mixture, encoded.pose.shape[-2], shared=network.video is not None)

    return fitted if start.components else jittered


def measure_start(network: DiffPose, params: Any, data: Any, example: Any, num_poses: int = 20_000) -> dict[str, Array]:
    """The encoder's residual and histograms of depth, over some `num_poses` poses of training examples.

    residual: [J, 3] root mean square error, state units. depth: [J, DEPTH_BINS] shares over DEPTH_RANGE. The same in
    every run on the same data.
    """

    def one(key: Key, params: Any, data: Any) -> tuple[Array, Array]:
        seen = example(key, data)
        return (diffpose.encode(network, params, seen.cond).pose - seen.x0)[::_STRIDE], seen.x0[::_STRIDE]

    frames = 1 if network.video is None else network.video.num_frames
    per_block = max(1, num_poses * _STRIDE // (frames + _STRIDE) // _BLOCKS)
    keys = jax.random.split(jax.random.key(1), _BLOCKS * per_block).reshape(_BLOCKS, per_block)
    run = jax.jit(jax.vmap(one, (0, None, None)))
    blocks = [run(block, params, data) for block in keys]
    joints = blocks[0][0].shape[-2:]
    error, x0 = (np.concatenate(v).reshape(-1, *joints) for v in zip(*blocks, strict=True))
    depth = np.stack([np.histogram(x0[:, j, 2], DEPTH_BINS, diffpose.DEPTH_RANGE)[0] for j in range(joints[0])])
    return {
        "residual": jnp.asarray(np.sqrt(np.square(error).mean(0)), jnp.float32),
        "depth": jnp.asarray(depth / depth.sum(1, keepdims=True), jnp.float32),
    }


def make_evaluators(network: DiffPose, export: Any, data: ConfigDict) -> dict[str, Any]:
    """Errors on poses of the folder's validation subjects, or every fourth pose or clip of the benchmark; or none.

    export: makes the model of a state's parameters. Models of video are validated on the benchmark's clips alone.
    """
    is_video = network.video is not None
    if data.kind == "mocap" and data.folder and not is_video:
        own = own_views(data.folder)
        clips = None if own is None else [_as_clip(own, 1)]
    else:
        clips = _load_bench(is_video=is_video)
    if clips is None:
        return {}

    @jax.jit
    def errors(model: released.Model, *clip: Array) -> dict[str, Array]:
        keypoints, confidence, intrinsics, truth = clip
        cond, view = encode_keypoints(intrinsics, keypoints, confidence)

        def error_mm(states: Array) -> Array:
            pose = decode_pose(model.statistics, view, states)
            return 1000 * metrics.mpjpe(pose, metrics.align_root(truth)).mean()

        row = {"encoder_mm": error_mm(diffpose.encode_rows(model, cond).pose)}
        if network.denoiser is None:
            return row
        states = diffpose.draw_poses(jax.random.key(0), model, cond, num_hypotheses=_HYPOTHESES)
        return row | {f"mean_of_{_HYPOTHESES}_mm": error_mm(states.mean(0))}

    def validate(state: TrainState) -> dict[str, float]:
        model = export(state.ema_params)
        rows = [errors(model, *clip) for clip in clips]
        row = {name: float(np.mean([r[name] for r in rows])) for name in rows[0]}
        if network.denoiser is not None:
            row["ratio"] = row[f"mean_of_{_HYPOTHESES}_mm"] / row["encoder_mm"]
        show(row)
        return row

    return {"val": validate}


def _load_bench(*, is_video: bool) -> list[tuple[Array, ...]] | None:
    """Clips of keypoints [F, J, 2], confidence, intrinsics [F, 4], truth [F, J, 3]; all single poses are one clip."""
    path = validation("val_video.npz" if is_video else "val_frames.npz")
    if path is None:
        return None
    if not is_video:
        return [_as_clip(load_lifting_bench(path), 4)]
    video = load_video_bench(path)
    intrinsics = np.broadcast_to(video.intrinsics[:, None], (*video.keypoints.shape[:2], 4))
    rows = zip(video.keypoints, video.confidence, intrinsics, video.joints_cam, strict=True)
    return [tuple(jnp.asarray(x) for x in row) for row in list(rows)[::4]]


def _as_clip(poses: LiftingBench, stride: int) -> tuple[Array, ...]:
    arrays = poses.keypoints, poses.confidence, poses.intrinsics, poses.joints_cam
    return tuple(jnp.asarray(x[::stride]) for x in arrays)
