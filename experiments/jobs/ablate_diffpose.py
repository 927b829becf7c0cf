"""DiffPose's ablations: short runs of its diffusion that differ in one thing, on detections and on doubtful heatmaps.

    python -m experiments.jobs.ablate_diffpose --workdir=runs/ablate_diffpose [--steps=3000] [--row="one pass"]

All rows stand on the encoder of `diffpose17` and are trained on the same examples, a part of them with joints in doubt
(`examples.heatmaps`); a row starts from the H_K that it was trained from. Trained and scored:

    one Gaussian          M = 1, fitted to the heatmaps
    mixture, M = 2        the paper's process: a component for each sample, of what the heatmaps are
    residual              the released recipe: about one jittered Gaussian of the peaks
    standard Gaussian     nothing is known of h_K
    without f_ST          of the mixture
    loss on h_{k-1}       K = 50
    one pass              h_0 from H_K in one call
    equal compute         one pass of a network as deep as the calls of the sampler together, a tenth of the steps

and of the mixture by its sampling: M fitted by EM, x, y, z of an ensemble, N and K. 20 samples, errors of their mean in
mm; detections have no heatmaps, and start from one Gaussian. "ratio" is over the encoder alone, "doubtful ratio" over
"one Gaussian" on the frames with a doubtful joint, each with the interval of a paired bootstrap over sequences. A row
is kept when it is done: a second call goes on. Short runs of one seed.
"""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.configs import diffpose17
from experiments.evaluate import diffpose as evaluate
from experiments.evaluate.diffpose import Clips, Setting
from experiments.options import option, run
from experiments.train import train
from jaxpose import model as released
from jaxpose.base import Array
from jaxpose.diffusion.sde import SDE
from jaxpose.diffusion.solvers import one_step
from jaxpose.evaluation import calibration, metrics
from jaxpose.evaluation.bootstrap import paired_bootstrap
from jaxpose.files import write_json
from jaxpose.tasks.samplers import Run, Sampler
from jaxpose.training.checkpoint import git_commit

_BASE = "one Gaussian"
_CALLS = 9  # of the sampler of diffpose17.py: 8 steps and a last one


class Row(NamedTuple):
    """What differs: the config, the sampling of doubtful heatmaps, and of a sampling row whose weights it uses."""

    config: dict[str, Any]
    setting: Setting
    weights: str | None = None


def _from_mixture(components: int, depth: str = "encoder") -> Row:
    told = {"loss.start.components": components, "loss.start.depth": depth}
    return Row(told, Setting(components=components, depth=depth, heatmaps=True))


def _in_one_call(_: Sampler, __: Any, sde: SDE) -> Run:
    """x0 as the network gives it at the process' end."""
    return Run(one_step(lambda key, x, t, s, predict: predict(x, t).x0), jnp.array([sde.t_max, sde.t_min]), False)


_TWO = _from_mixture(2)  # what the simulated heatmaps are: nothing is left to fit
_PASS = {"loss.times": "end"}
_ONCE = _TWO.setting._replace(sampler=Sampler("one call", _in_one_call))
_MIXTURE = "mixture, M = 2"
ROWS = {
    _BASE: _from_mixture(1),
    _MIXTURE: _TWO,
    "residual": Row({}, Setting()),
    "standard Gaussian": _from_mixture(1, "standard"),
    "without f_ST": Row({**_TWO.config, "loss.no_features": 1.0}, _TWO.setting._replace(features=False)),
    "loss on h_{k-1}": Row({**_TWO.config, "loss.next_of": 50}, _TWO.setting),
    "one pass": Row({**_TWO.config, **_PASS}, _ONCE),
    "equal compute": Row({**_TWO.config, **_PASS, "network.denoiser.depth": 4 * _CALLS}, _ONCE),
    **{f"sampled M = {m}": Row({}, _TWO.setting._replace(components=m), _MIXTURE) for m in (1, 3, 5)},
    "sampled ensemble": Row({}, _TWO.setting._replace(depth="ensemble"), _MIXTURE),
    **{f"N = {n}": Row({}, _TWO.setting._replace(samples=n), _MIXTURE) for n in (1, 2, 5, 10, 50)},
    **{f"K = {k}": Row({}, _TWO.setting._replace(steps=k), _MIXTURE) for k in (1, 2, 4, 25)},
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Of the ablations."""

    workdir: str = option("runs/ablate_diffpose", "Where the runs, their weights and table.json go.")
    steps: int = option(3000, "Steps of each row.", low=1)
    stride: int = option(2, "Every n-th validation pose only.", low=1)
    hypotheses: int = option(20, "Samples of a pose.", low=2)
    seed: int = option(0, "Of the scores.")
    row: tuple[str, ...] = option((), "Only the rows of these names; give the flag once for each.", split=False)


def main(options: Options) -> None:
    """Train and score the rows that are missing; print the table."""
    if unknown := set(options.row) - set(ROWS):
        raise ValueError(f"--row: got {sorted(unknown)}, legal are {', '.join(ROWS)}")
    out = Path(options.workdir)
    out.mkdir(parents=True, exist_ok=True)
    encoder = out / "encoder.safetensors"
    if not encoder.is_file():
        released.save(encoder, encoder_of(released.load("diffpose17")), dtype=None)
    clips = evaluate.frame_clips(None, options.stride)
    doubtful = evaluate.ambiguous(clips, options.seed)
    chosen = [name for name in ROWS if not options.row or name in options.row]
    table, told = {}, {"steps": options.steps, "stride": options.stride, "hypotheses": options.hypotheses}
    for name in [_BASE, *(n for n in chosen if n != _BASE)]:
        done = out / f"{name}.json"
        if not done.is_file():
            model = _model(out, encoder, name, options.steps)
            write_json(done, {**told, **dict(score(model, ROWS[name].setting, clips, doubtful, options, out, name))})
        table[name] = json.loads(done.read_bytes())
        if any(table[name][k] != v for k, v in told.items()):
            raise ValueError(f"{done}: was made with other options; needed {told}, or a new --workdir")
        print(name, *(f"{k} {_shown(v)}" for k, v in table[name].items() if k not in told), sep=" | ", flush=True)
    write_json(out / "table.json", {"rows": table, "commit": git_commit()})


def encoder_of(model: released.Model) -> released.Model:
    """The encoder of a DiffPose model as a model of its own."""
    network = model.spec.network.clone(denoiser=None, context_width=0)
    params = {"params": {"frame": model.params["params"]["frame"]}}
    return released.Model(params, model.statistics, dataclasses.replace(model.spec, network=network, name="encoder"))


def config_of(row: Row, init: Path, steps: int) -> ConfigDict:
    """The config of one row."""
    config = diffpose17.get_config("diffusion")
    config.heatmaps.update(evaluate.RATES._asdict())
    config.train.update({"steps": steps, "init": str(init), "eval_every": 0})
    for name, value in row.config.items():
        *groups, last = name.split(".")
        part = config
        for group in groups:
            part = part[group]
        part[last] = value
    if row.config.get("network.denoiser.depth"):
        config.train.steps = max(1, steps // 10)
    return config


def score(
    model: released.Model, setting: Setting, clips: Clips, doubtful: Clips, options: Options, out: Path, name: str
) -> Iterator[tuple[str, Any]]:
    """Figures on detections and on doubtful heatmaps; errors there lie beside the row, for the ratios to its base."""
    how = evaluate.Options(hypotheses=options.hypotheses, seed=options.seed)
    plain, _ = evaluate.draw(model, clips, setting._replace(heatmaps=False, components=1), how)
    error = evaluate.joint_errors(plain.mean(0), clips)
    base = evaluate.joint_errors(evaluate.encoder_poses(model, clips), clips)
    change = paired_bootstrap(options.seed, error, base, groups=clips.group)
    yield "mean_mm", float(error.mean())
    yield "ratio", [change.ratio, change.ratio_low, change.ratio_high]
    yield "ece", _ece(plain, clips)
    drawn, _ = evaluate.draw(model, doubtful, setting, how)
    error = evaluate.joint_errors(drawn.mean(0), doubtful)
    np.save(out / f"{name}.npy", error)
    change = paired_bootstrap(options.seed, error, np.load(out / f"{_BASE}.npy"), groups=doubtful.group)
    each = metrics.mpjpe(drawn[:, 0], metrics.align_root(doubtful.truth[0]))
    yield "doubtful_mm", float(error.mean())
    yield "doubtful_ratio", [change.ratio, change.ratio_low, change.ratio_high]
    yield "doubtful_best_mm", 1000 * float(metrics.best_of(each).mean())
    yield "doubtful_ece", _ece(drawn, doubtful)


def _ece(samples: Array, clips: Clips) -> float | None:
    if len(samples) < 2:
        return None
    return float(calibration.ece(samples[:, 0], metrics.align_root(jnp.asarray(clips.truth[0]))).ece)


def _model(out: Path, encoder: Path, name: str, steps: int) -> released.Model:
    """The model of one row, from its file or from a new run."""
    row = ROWS[name]
    path = out / f"{row.weights or name}.safetensors"
    if not path.is_file():
        config = config_of(ROWS[row.weights or name], encoder, steps)
        print(f"training {row.weights or name}", flush=True)
        released.save(path, train(config, out / path.stem, validate=False), dtype=config.train.export_dtype)
    return released.load(path)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "{:.3f} ({:.3f} to {:.3f})".format(*value)
    return "" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    run("ablate_diffpose", main, Options, __doc__)
