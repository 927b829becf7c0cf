"""Fine-tuning on one person whom no released model has seen: error on their other takes, and on other people.

    python -m experiments.jobs.personal --out=runs/personal [--subject=hdm_dg] [--learning_rate=3e-4] [--rehearsal=0.3]

The subject is one of validation in shared/data. Every second of their takes, in the order of names, is trained on by
experiments/configs/finetune.py; the rest and the benchmark's poses of the other validation subjects are lifted before
and after, from simulated detections, 50 hypotheses. Prints the mean error, the best hypothesis and the calibration.
"""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.configs import finetune
from experiments.evaluate.bench import bench_file
from experiments.jobs.own_views import own_views
from experiments.options import option, run
from experiments.train import train
from jaxpose.base import Camera
from jaxpose.datasets.mocap import data_root
from jaxpose.evaluation.protocols import LiftingBench, lifting_row, load_lifting_bench
from jaxpose.files import write_json, write_npz
from jaxpose.io.arrays import load_arrays
from jaxpose.model import Model, load, save
from jaxpose.tasks.lift import lift

FIGURES = ("mean_mm", "best_of_50_mm", "ece")
_STRIDE = 6  # every sixth pose of the others


@dataclasses.dataclass(frozen=True)
class Options:
    """Of the run; what is not given is as in finetune.py."""

    out: str = option("", "Folder for the run, its data and the model; made where absent.", required=True)
    subject: str = option("hdm_dg", "A validation subject of shared/data/mocap/splits.json.")
    model: str = option("pose17", "pose17 or pose17_fast.", legal=("pose17", "pose17_fast"))
    steps: int | None = option(None, "Of training.", low=1)
    learning_rate: float | None = option(None, "Of training.")
    rehearsal: float | None = option(None, "Share of examples of the data that the model was trained on.")


def main(options: Options) -> None:
    """Train, print and write the figures."""
    figures(options)


def figures(options: Options) -> dict[str, dict[str, float]]:
    """Train, print a line for before and after, and return the figures of "own" and "others" in both."""
    out = Path(options.out)
    folder = make_person(out / f"data_{options.subject}", options.subject)
    config = finetune.get_config(options.model)
    config.data.folder = str(folder)
    for group, name in ((config.train, "steps"), (config.train, "learning_rate"), (config.data, "rehearsal")):
        if getattr(options, name) is not None:
            group[name] = getattr(options, name)
    own, others = own_views(folder), _others(options.subject)
    assert own is not None, "every second take"
    save(out / "model.safetensors", train(config, out / "run", validate=False))
    found: dict[str, dict[str, float]] = {}
    for when, model in (("before", load(options.model)), ("after", load(out / "model.safetensors"))):
        for whose, bench in (("own", own), ("others", others)):
            found[f"{whose} {when}"] = _row(model, bench)
            shown = ", ".join(f"{k} {v:.4g}" for k, v in found[f"{whose} {when}"].items())
            print(f"{options.subject}, {whose} {when}: {shown}", flush=True)
    write_json(out / "figures.json", {**dataclasses.asdict(options), **found})
    return found


def make_person(folder: Path, subject: str) -> Path:
    """A folder as of `jaxpose prepare mocap`: the subject's takes, every second one for validation."""
    legal = json.loads((data_root() / "mocap" / "splits.json").read_text(encoding="utf-8"))["val"]
    if subject not in legal:
        raise ValueError(f"--subject: got {subject!r}; legal are those no released model was trained on: {legal}")
    source = data_root() / "mocap" / ("hdm05.npz" if subject.startswith("hdm_") else "cmu.npz")
    (folder / "mocap").mkdir(parents=True, exist_ok=True)
    z = load_arrays(source)
    kept = np.flatnonzero(z["seq_subject"] == subject)
    kept = kept[np.argsort(z["seq_name"][kept])]
    write_npz(folder / "mocap" / "one.npz", {k: v[kept] if k.startswith("seq_") else v for k, v in z.items()})
    names = z["seq_name"][kept].tolist()
    write_json(folder / "mocap" / "splits.json", {"train": names[::2], "val": names[1::2], "files": ["one"]})
    return folder


def _others(subject: str) -> LiftingBench:
    bench = load_lifting_bench(bench_file("val_frames.npz"))
    z = load_arrays(bench_file("val_frames.npz"))
    rows = np.flatnonzero([not str(name).startswith(subject) for name in z["name"]])
    return LiftingBench(*(x[rows[::_STRIDE]] for x in bench))


def _row(model: Model, bench: LiftingBench) -> dict[str, float]:
    """Without the recalibration, which the tuned model lacks."""
    model = dataclasses.replace(model, recalibration={})
    seen = jnp.asarray(bench.keypoints), jnp.asarray(bench.confidence)
    camera = Camera(jnp.asarray(bench.intrinsics))
    lifted = lift(jax.random.key(0), model, *seen, camera=camera, num_hypotheses=50)
    row = lifting_row(lifted.samples, bench.joints_cam, bench.category)
    return {name: row[name] for name in FIGURES}


if __name__ == "__main__":
    run("personal", main, Options, __doc__)
