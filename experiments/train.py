"""Train a model: read top to bottom.

    python -m experiments.train --config=pose17 --workdir=runs/pose17 \
        [--config.train.steps=30000] [--export=jaxpose/assets/pose17.safetensors]

Kill it at any moment and call it again with the same workdir: it goes on, to the same weights. `config.json` (with
commit and devices), `metrics.jsonl`, TensorBoard events and checkpoints lie in the workdir, which may be in storage
(gs://...). A run goes on with the configuration that it was begun with; `--allow_config_change=train.steps,data` names
what may change. Several hosts: experiments/launch.py.

A config with a `stage` is of DiffPose (experiments/models/diffpose17/job.py): its second stage reads the export of the
first. One with `kind` "prior" is of a prior over rotations (experiments/models/prior21/job.py), "distill" of a
few-step model (experiments/models/distill.py), "diffpose_h36m" of DiffPose as it was released
(experiments/models/diffpose_h36m/job.py).
"""

import difflib
import functools
import json
import math
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags, logging
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict, config_flags

from experiments import launch, options
from experiments.models.curves import draw_curves
from experiments.models.diffpose17.job import diffpose_job
from experiments.models.diffpose_h36m.job import diffpose_h36m_job
from experiments.models.distill import distill_job
from experiments.models.initial import with_calibration
from experiments.models.job import Job
from experiments.models.prior21.job import prior_job
from experiments.models.score import score_job
from jaxpose import model as released
from jaxpose.files import write_json
from jaxpose.runtime.program_cache import use_compilation_cache
from jaxpose.training import checkpoint, processes
from jaxpose.training.loop import fit
from jaxpose.training.parallel import make_runner
from jaxpose.training.run_folder import check_config, locked
from jaxpose.training.step import init_state, make_optimizer, make_schedule, make_step

CONFIG = config_flags.DEFINE_config_file("config", None, "A model of experiments/models, or a file.", lock_config=True)
WORKDIR: flags.FlagHolder = flags.DEFINE_string("workdir", None, "Where checkpoints, metrics and config.json go.")
EXPORT = flags.DEFINE_string("export", None, "Write the averaged weights to this .safetensors file at the end.")
EXPORT_NOW = flags.DEFINE_bool(
    "export_now", False, "Take no step: --export has the averaged weights of the newest checkpoint of a stopped run."
)
MAY_CHANGE = flags.DEFINE_list(
    "allow_config_change", [], "Settings, or groups of them, that may differ from those the run was begun with."
)
launch.define(flags.FLAGS)

_LEAST_VALIDATIONS = 5

# Settings that change no result but the last bits of its numbers, or only how often it is told.
_FREE = tuple(
    f"train.{name}"
    for name in (
        *("mode", "num_devices", "shard_state", "steps_per_dispatch", "accumulate"),
        *("log_every", "checkpoint_every", "eval_every"),
    )
)


def main(argv: list[str]) -> None:
    del argv
    logging.set_verbosity(logging.WARNING)  # orbax tells of every file it touches
    use_compilation_cache()  # a run that was interrupted goes on sooner
    launch.start("train", flags.FLAGS)
    if EXPORT_NOW.value and not EXPORT.value:
        raise ValueError("--export_now: needed the file, --export=FILE.safetensors")
    model = train(CONFIG.value, WORKDIR.value, may_change=MAY_CHANGE.value, is_over=EXPORT_NOW.value)
    if EXPORT.value and processes.is_first():
        dtype = jnp.dtype(CONFIG.value.train.get("export_dtype", "bfloat16"))
        released.save(EXPORT.value, model, dtype=dtype)
        print(f"wrote {EXPORT.value}")


def train(
    config: ConfigDict,
    workdir: str | Path,
    *,
    validate: bool = True,
    may_change: Sequence[str] = (),
    is_over: bool = False,
) -> released.Model:
    """The model that a config's run ends with; the run is in `workdir`, and goes on where it was interrupted.

    may_change: names of settings ("train.steps"), or of groups ("data"). is_over: the model of the newest checkpoint,
    without a further step. ValueError where other settings differ from those that the run was begun with.
    """
    with locked(workdir):
        return _train(config, processes.folder(workdir), validate, may_change, is_over)


def _train(
    config: ConfigDict, folder: Path, validate: bool, may_change: Sequence[str], is_over: bool
) -> released.Model:
    train, record = config.train, json.loads(config.to_json_best_effort())
    begun = checkpoint.latest(folder)
    if begun is not None:
        check_config(begun[1].get("config", {}), record, (*_FREE, *may_change), folder)
        if processes.is_first():
            print(f"{folder}: goes on from step {begun[1]['step']} of {train.steps}")
            if begun[1].get("commit") != checkpoint.git_commit():
                print(f"{folder}: begun with commit {begun[1].get('commit')}, goes on with {checkpoint.git_commit()}")
    elif is_over:
        raise ValueError(f"--export_now: {folder} has no checkpoint")

    # Model, data on the device, loss; what is random about an example (camera, detector, masks) is drawn in the step.
    job = make_job(config)
    schedule = {name: train[name] for name in ("schedule", "decay", "decay_every")}
    warmup = min(train.warmup_steps, train.steps)
    rate = make_schedule(train.learning_rate, warmup_steps=warmup, total_steps=train.steps, **schedule)
    tx = make_optimizer(rate, weight_decay=train.weight_decay, clip_norm=train.clip_norm)

    # The run: the same for one device or many, pmap or sharding, and after any interruption.
    devices = jax.devices()[: train.num_devices or None]
    build = functools.partial(
        make_step,
        job.example,
        job.loss,
        tx,
        batch_size=train.batch_size,
        ema_decay=train.ema_decay,
        ema_warmup=train.ema_warmup,
        accumulate=train.accumulate,
        compute_dtype=None if train.dtype == "float32" else jnp.dtype(train.dtype),
    )
    meta = {
        "config": record,
        "seed": config.seed,
        "commit": checkpoint.git_commit(),
        "devices": [str(d) for d in devices],
    }
    state = init_state(jax.random.key(config.seed), job.params, tx)
    if is_over and (restored := checkpoint.restore_latest(folder, like=state)):
        return with_calibration(job.export(restored[0].ema_params), job.initial, int(restored[0].step))
    if processes.is_first():
        write_json(folder / "config.json", meta)
    evaluators = job.evaluators if validate else {}
    if job.initial is not None and train.steps and begun is None:
        for evaluate in evaluators.values():
            print("before training: ", end="")
            evaluate(state)
    try:
        state = fit(
            state,
            make_runner(
                build,
                mode=train.mode,
                devices=devices,
                shard_state=train.shard_state,
                max_steps=train.steps_per_dispatch,
            ),
            job.data,
            workdir=folder,
            total_steps=train.steps,
            log_every=train.log_every,
            checkpoint_every=train.checkpoint_every,
            eval_every=min(train.eval_every or train.steps, max(1, train.steps // _LEAST_VALIDATIONS)),
            evaluators=evaluators,
            meta=meta,
        )
    finally:
        if processes.is_first():
            draw_curves(folder)
    return with_calibration(job.export(state.ema_params), job.initial, int(state.step))


def make_job(config: ConfigDict) -> Job:
    """The run that a config describes, by its kind."""
    if config.get("kind") == "prior":
        return prior_job(config)
    if config.get("kind") == "distill":
        return distill_job(config)
    if config.get("kind") == "diffpose_h36m":
        return diffpose_h36m_job(config)
    return diffpose_job(config) if "stage" in config else score_job(config)


def _parse(argv: list[str]) -> list[str]:
    """The program's name; flags that are not legal, and a config that cannot be read, leave with code 2 (absl: 1)."""
    try:
        rest = flags.FLAGS(options.with_config_file(argv))
        if len(rest) > 1:
            raise ValueError(f"got {rest[1]!r}, which is no flag; --help lists them")
        check_numbers(CONFIG.value.to_dict())
        return rest
    except (AttributeError, KeyError) as error:
        message = nearest_entry(argv) or f"--config: no such entry, or a wrong config: {error}"
    except (flags.Error, ValueError, OSError, SyntaxError, TypeError) as error:
        message = (
            str(error).strip().splitlines()[-1].strip()
        )  # ml_collections puts the traceback of the config before it
    print(f"train: {message}", file=sys.stderr)
    sys.exit(2)


def nearest_entry(argv: Sequence[str]) -> str | None:
    """What to say of a flag --config.NAME that the config does not have; None where there is no such flag."""
    words = options.with_config_file(argv)
    path, _, recipe = next(w.removeprefix("--config=") for w in words if w.startswith("--config=")).partition(":")
    get_config = runpy.run_path(path)["get_config"]
    names = [".".join(key) for key in flatten_dict((get_config(recipe) if recipe else get_config()).to_dict())]
    for word in words:
        prefix, _, name = word.lstrip("-").partition("=")[0].partition(".")
        if prefix == "config" and name and name not in names:
            near = difflib.get_close_matches(name, names, 1, 0.0)[0]
            return f"--config.{name}: no such entry; the nearest is --config.{near}"
    return None


def check_numbers(config: dict[str, Any], name: str = "--config") -> None:
    """ValueError naming an entry that no run can hold: a seed of more than 32 bits, a count that is no number of 53."""
    for key, value in config.items():
        place = f"{name}.{key}"
        most = 2**32 - 1 if key == "seed" else 2**53
        if isinstance(value, dict):
            check_numbers(value, place)
        elif isinstance(value, int) and not (0 if key == "seed" else -most) <= value <= most:
            raise ValueError(f"{place}: got a number of {value.bit_length()} bits; must be at most {most:,}")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{place}: got {value}; needed a finite number")


def run() -> None:
    """What ends a run is one line: code 2 where a user can mend it."""
    flags.mark_flags_as_required(["config", "workdir"])
    with processes.as_one("train"):
        app.run(main, flags_parser=_parse)


if __name__ == "__main__":
    run()
