"""The protocol for generalisation: train without a group of people or movements, score on that group.

    python -m experiments.jobs.leave_out                                                   the released recipe and 0.7's
    python -m experiments.jobs.leave_out --recipes=0.7,people,turn --groups=databases      ingredients, one by one
    python -m experiments.jobs.leave_out --recipes=released --people=4,12,0 --groups=databases    of how many people

Groups are those of experiments/groups.py, recipes those of RECIPES. Every recipe trains the same smaller network for
the same number of steps from fresh weights, and is scored on poses of the group's training people as they were
captured, seen by the benchmark's cameras (3 to 7 m, about level) and its detector; K known, root depth not. Nobody of
the validation subjects is used. A finished row is a JSON file in --out, with the model beside it (`jobs/recalibrate.py
--leave_out` compares ways of recalibration on them), and is not run again.

Intervals: 95 %, bootstrap over subjects, of the ratio of a recipe's error to that of 0.7's on the same poses.
"""

import dataclasses
import itertools
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments import groups
from experiments.configs import pose17
from experiments.groups import Seen
from experiments.options import option, run
from experiments.train import train
from jaxpose import model as released
from jaxpose.base import Camera
from jaxpose.datasets.mocap import data_root, load_mocap, take_sequences
from jaxpose.evaluation.metrics import align_root, mpjpe
from jaxpose.evaluation.protocols import lifting_row
from jaxpose.files import write_json
from jaxpose.tasks.lift import lift
from jaxpose.training.checkpoint import git_commit

_DRAWS = 2000  # of the bootstrap
# Fields of the released recipe that each ingredient takes from it; the rest is as in 0.7.
_INGREDIENTS: dict[str, tuple[str, ...]] = {
    "data": ("data",),
    "people": ("view.people",),
    "recombine": ("view.recombine",),
    "turn": ("view.turn", "view.free", "view.told", "context"),
    "detector": (
        "view.rough",
        "view.swap",
        "view.occlude",
        "view.truncate",
        "view.vague",
        "view.blazepose",
        "view.coco",
    ),
}
RECIPES = ("0.7", *_INGREDIENTS, "released")


@dataclasses.dataclass(frozen=True)
class Options:
    """Of the protocol."""

    out: str = option("runs/leave_out", "Folder of the rows.")
    groups: tuple[str, ...] = option(groups.GROUPS, "What is left out.", legal=groups.GROUPS)
    recipes: tuple[str, ...] = option(("0.7", "released"), "What is trained.", legal=RECIPES)
    people: tuple[int, ...] = option((0,), "Training people, a row for each number; 0: all.", low=0)
    hidden: int = option(256, "Width of the network.", low=32)
    steps: int = option(4000, "Of each training.", low=1)
    batch: int = option(384, "Examples of a step.", low=1)
    poses: int = option(1000, "Scored poses of a group.", low=10)
    hypotheses: int = option(50, "Poses for each detection.", low=10)
    seed: int = option(0, "Of the one key.")


def main(options: Options) -> None:
    """Train and score what is not there yet, and print the table."""
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    for name in options.groups:
        scored = scored_poses(name, options.poses, options.seed)
        for recipe, num in itertools.product(options.recipes, options.people):
            path = out / (f"{name}_{recipe}_{num}_people.json" if num else f"{name}_{recipe}.json")
            if not path.is_file():
                write_json(path, trained_row(name, recipe, num, scored, options, path))
            print(f"{path.stem}: mean {json.loads(path.read_bytes())['mean_mm']:.1f} mm", flush=True)
    for name in options.groups:
        print("\n".join(["", *table_lines(out, name)]))


def recipe_config(recipe: str) -> ConfigDict:
    """The config of pose17 with the ingredients of `recipe`."""
    config, wanted = pose17.get_config("0.7"), pose17.get_config()
    if recipe == "released":
        return wanted
    with config.unlocked():
        for field in _INGREDIENTS.get(recipe, ()):
            where, _, key = field.rpartition(".")
            if where:
                config[where][key] = wanted[where][key]
            else:
                config[key] = wanted[key]
        if config.view.people or config.view.turn:  # in place of splicing about the vertical
            config.view.recombine = config.view.splice
    return config


def trained_row(name: str, recipe: str, num: int, scored: Seen, options: Options, path: Path) -> dict[str, Any]:
    """One training without the group, on `num` people (0: all), and its figures on the group."""
    config = recipe_config(recipe)
    config.data.num_people = num
    config.data.leave_out = name
    config.seed = options.seed
    config.network.hidden = options.hidden
    config.train.update({"steps": options.steps, "batch_size": options.batch, "init": "", "checkpoint_every": 0})
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        model = train(config, Path(folder), validate=False)
    seconds = time.monotonic() - started
    row = score(model, scored, options)
    released.save(path.with_suffix(".safetensors"), model)
    said = {
        "group": name,
        "recipe": recipe,
        "people": num,
        "seconds": seconds,
        "commit": git_commit(),
        "options": dataclasses.asdict(options),
    }
    return said | row


def scored_poses(name: str, num: int, seed: int) -> Seen:
    """Poses of the group's sequences as captured, categories and subjects balanced, seen as the benchmark sees."""
    mocap = load_mocap(data_root(), pose17.DATA["split"], pose17.DATA["files"], drop=pose17.DATA["drop"])
    mocap = take_sequences(mocap, groups.left_out(mocap, name))
    return groups.see(mocap, groups.BENCH, num, seed)


def score(model: released.Model, scored: Seen, options: Options) -> dict[str, Any]:
    """Figures of the group."""
    samples = []
    for start in range(0, len(scored.tilt), 250):
        part = slice(start, start + 250)
        seen = jnp.asarray(scored.keypoints[part]), jnp.asarray(scored.confidence[part])
        key = jax.random.fold_in(jax.random.key(options.seed), start)
        how: dict[str, Any] = {"camera": Camera(jnp.asarray(groups.PINHOLE)), "num_hypotheses": options.hypotheses}
        samples.append(np.asarray(lift(key, model, *seen, **how).samples))
    found = np.concatenate(samples, 1)
    row: dict[str, Any] = {
        k: v for k, v in lifting_row(found, scored.joints_cam, scored.category).items() if isinstance(v, float)
    }
    error = 1000 * np.asarray(mpjpe(jnp.asarray(found.mean(0)), align_root(jnp.asarray(scored.joints_cam))))
    upright, tilted = scored.tilt < 20, scored.tilt > 45
    row |= {
        "upright_mm": float(error[upright].mean()),
        "tilted_mm": float(error[tilted].mean()) if tilted.any() else None,
    }
    row |= {"num_tilted": int(tilted.sum()), "subjects": len(np.unique(scored.subject))}
    return row | {"error_mm": error.tolist(), "subject": scored.subject.tolist()}


def table_lines(out: Path, name: str) -> list[str]:
    """A line for each finished recipe of a group."""
    rows = [json.loads(path.read_bytes()) for path in sorted(out.glob(f"{name}_*.json"))]
    first = next((r for r in rows if r["recipe"] == "0.7" and not r.get("people")), None)
    lines = [f"{name} | mean | against 0.7 (95 %) | best of H | P-MPJPE | ECE | 90 % radius holds | tilt < 20 | > 45"]
    for row in sorted(rows, key=lambda r: (RECIPES.index(r["recipe"]), r.get("people") or np.inf)):
        people = f", {row['people']} people" if row.get("people") else ""
        against = "" if first is None or row is first else _ratio(row, first)
        best = next(v for k, v in row.items() if k.startswith("best_of_") and not k.endswith("_10_mm"))
        tilted = "" if row["tilted_mm"] is None else f"{row['tilted_mm']:.1f} ({row['num_tilted']})"
        lines.append(
            f"{row['recipe']}{people} | {row['mean_mm']:.1f} | {against} | {best:.1f} | {row['p_mean_mm']:.1f} | "
            f"{row['ece']:.3f} | {row['radius_coverage_90']:.2f} | {row['upright_mm']:.1f} | {tilted}"
        )
    return lines


def _ratio(row: dict[str, Any], first: dict[str, Any]) -> str:
    subject, labels = np.unique(row["subject"], return_inverse=True)
    count = np.bincount(labels)
    ours, theirs = (np.bincount(labels, np.array(r["error_mm"])) / count for r in (row, first))
    drawn = np.random.default_rng(0).integers(0, len(subject), (_DRAWS, len(subject)))
    sums = [(x * count)[drawn].sum(-1) for x in (ours, theirs)]
    low, high = np.percentile(sums[0] / sums[1], (2.5, 97.5))
    return (
        f"{np.sum(row['error_mm']) / np.sum(first['error_mm']):.3f} ({low:.3f} to {high:.3f}, {len(subject)} subjects)"
    )


if __name__ == "__main__":
    run("leave_out", main, Options, __doc__)
