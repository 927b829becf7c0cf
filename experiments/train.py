"""Train a model: read top to bottom.

    python -m experiments.train --config=experiments/configs/pose17.py --workdir=runs/pose17 \
        [--config.train.steps=30000] [--export=jaxpose/assets/pose17.safetensors]

Kill it at any moment and call it again with the same workdir: it goes on, to the same weights. `config.json` (with
commit and devices), `metrics.jsonl`, TensorBoard events and checkpoints lie in the workdir.

A config with a `stage` is of DiffPose (experiments/diffpose_training.py): its second stage reads the export of the
first. One with `kind` "prior" is of a prior over rotations (experiments/prior_training.py), "distill" of a
few-step model (experiments/distill_training.py).
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from experiments.diffpose_training import diffpose_job
from experiments.distill_training import distill_job
from experiments.job import Job, load_bodies
from experiments.prior_training import prior_job
from jaxpose import model as released
from jaxpose.base import Array, Example, Key
from jaxpose.conditioning import MaskRates
from jaxpose.datasets.h36m import load_frames
from jaxpose.datasets.mocap import data_root
from jaxpose.diffusion.losses import denoising_loss, log_snr_times, uniform_times
from jaxpose.evaluation.protocols import LiftingBench, lifting_row, load_lifting_bench
from jaxpose.examples.gfpose import gfpose_example, on_device
from jaxpose.examples.views import ViewRates, pose_example
from jaxpose.files import write_json
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.spaces.image_depth import STATISTICS as IMAGE_DEPTH
from jaxpose.spaces.person import Statistics
from jaxpose.tasks.lift import jitted_lift
from jaxpose.training import checkpoint
from jaxpose.training.loop import fit
from jaxpose.training.optimizer import make_optimizer
from jaxpose.training.parallel import make_runner
from jaxpose.training.step import TrainState, init_state, make_step

CONFIG = config_flags.DEFINE_config_file("config", None, "A file of experiments/configs.", lock_config=True)
WORKDIR: flags.FlagHolder = flags.DEFINE_string("workdir", None, "Where checkpoints, metrics and config.json go.")
EXPORT = flags.DEFINE_string("export", None, "Write the averaged weights to this .safetensors file at the end.")


def main(argv: list[str]) -> None:
    del argv
    logging.set_verbosity(logging.WARNING)  # orbax tells of every file it touches
    config, workdir = CONFIG.value, Path(WORKDIR.value)
    train = config.train

    # Model, data on the device, loss; what is random about an example (camera, detector, masks) is drawn in the step.
    job = make_job(config)
    tx = make_optimizer(
        train.learning_rate,
        warmup_steps=min(train.warmup_steps, train.steps),
        total_steps=train.steps,
        schedule=train.schedule,
        weight_decay=train.weight_decay,
        clip_norm=train.clip_norm,
    )

    # The run: the same for one device or many, pmap or sharding, and after any interruption.
    devices = jax.devices()[: train.num_devices or None]
    build = functools.partial(
        make_step,
        job.example,
        job.loss,
        tx,
        batch_size=train.batch_size,
        ema_decay=train.ema_decay,
        accumulate=train.accumulate,
        compute_dtype=None if train.dtype == "float32" else jnp.dtype(train.dtype),
    )
    meta = {
        "config": json.loads(config.to_json_best_effort()),
        "seed": config.seed,
        "commit": checkpoint.git_commit(),
        "devices": [str(d) for d in devices],
    }
    write_json(workdir / "config.json", meta)
    state = fit(
        init_state(jax.random.key(config.seed), job.params, tx),
        make_runner(build, mode=train.mode, devices=devices),
        job.data,
        workdir=workdir,
        total_steps=train.steps,
        batch_size=train.batch_size,
        steps_per_dispatch=train.steps_per_dispatch,
        log_every=train.log_every,
        checkpoint_every=train.checkpoint_every,
        eval_every=train.eval_every,
        evaluators=job.evaluators,
        meta=meta,
    )
    if EXPORT.value:
        released.save(
            EXPORT.value, job.export(state.ema_params), dtype=jnp.dtype(train.get("export_dtype", "bfloat16"))
        )
        print(f"wrote {EXPORT.value}")


def make_job(config: ConfigDict) -> Job:
    """The run that a config describes, by its kind."""
    if config.get("kind") == "prior":
        return prior_job(config)
    if config.get("kind") == "distill":
        return distill_job(config, make_evaluators)
    return diffpose_job(config) if "stage" in config else score_job(config)


def score_job(config: ConfigDict) -> Job:
    """One network under a process: the released `pose17`, or GFPose as it was trained."""
    source, init = load_data(config), config.train.init
    spec = released.Spec(
        name=config.name,
        network=ScoreMLP(**config.network),
        process=config.process.name,
        process_args=tuple(config.process.args),
        target=config.loss.target,
        codec=config.get("codec", "person"),
        context=config.get("context", 17),
        **config.sampler,
    )
    return Job(
        spec=spec,
        params=released.load(init).params if init else released.init_params(jax.random.key(config.seed), spec),
        statistics=source.statistics,
        data=source.data,
        example=source.example,
        loss=make_loss(spec, config.loss, source.statistics.spread),
        evaluators=make_evaluators(spec, source.statistics),
        export=lambda params: released.Model(params, source.statistics, spec),
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
        raise ValueError(f"config.data.kind: got {kind!r}, legal are 'mocap' and 'h36m'")
    bodies, _ = load_bodies(config)
    example = functools.partial(pose_example, view=ViewRates(**config.view), masks=masks)
    return Source(bodies, example, bodies.statistics)


def make_loss(spec: released.Spec, config: ConfigDict, spread: Any = 1.0) -> Any:
    """Loss of one example: the mean over `num_draws` noise levels, which share the condition's features."""
    sde = spec.sde()
    uniform = config.get("times", "log_snr") == "uniform"
    times = uniform_times(sde, config.t_min) if uniform else log_snr_times(sde)

    def loss(params: Any, key: Key, example: Example) -> tuple[Array, dict[str, Array]]:
        def draw(key: Key) -> tuple[Array, dict[str, Array]]:
            noise_key, dropout_key = jax.random.split(key)

            def apply(x: Array, t: Array, cond: Any) -> Any:
                return spec.network.apply(params, x, t, cond, train=True, rngs={"dropout": dropout_key})

            return denoising_loss(
                noise_key,
                apply,
                sde,
                example,
                target=spec.target,
                weighting=config.weighting,
                spread=spread,
                times=times,
            )

        losses, metrics = jax.vmap(draw)(jax.random.split(key, config.num_draws))
        return losses.mean(), jax.tree.map(jnp.mean, metrics)

    return loss


def make_evaluators(spec: released.Spec, statistics: Statistics) -> dict[str, Any]:
    """The benchmark's row on every fourth validation pose, 50 hypotheses; none where the benchmark is absent."""
    path = data_root().parent / "bench" / "val_frames.npz"
    if spec.codec != "person":
        return {}  # GFPose's protocol needs its own files: experiments/evaluate_gfpose.py
    if not path.is_file():
        logging.warning("%s is absent: training goes on without validation", path)
        return {}
    bench = LiftingBench(*(x[::4] for x in load_lifting_bench(path)))

    def validate(state: TrainState) -> dict[str, float]:
        model = released.Model(state.ema_params, statistics, spec)
        lifted = jitted_lift(
            jax.random.key(0),
            model,
            jnp.asarray(bench.keypoints),
            jnp.asarray(bench.confidence),
            intrinsics=jnp.asarray(bench.intrinsics),
            num_hypotheses=50,
        )
        row = lifting_row(lifted.samples, bench.joints_cam, bench.category)
        shown = {k: v for k, v in row.items() if isinstance(v, float)}
        print("validation:", ", ".join(f"{k} {v:.3g}" for k, v in shown.items()))
        return shown

    return {"val": validate}


def run() -> None:
    """Errors that a user can mend leave with code 2 and one line."""
    flags.mark_flags_as_required(["config", "workdir"])
    try:
        app.run(main)
    except ValueError as error:
        print(f"train: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    run()
