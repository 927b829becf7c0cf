"""Quantiles of the log density of training poses, into a copy of the model's file: what `jaxpose score` compares with.

    python -m experiments.jobs.quantiles --model=pose17 --out=pose17.safetensors

The poses are those of training subjects, drawn as in training: balanced categories, mirrored by half, seen by virtual
cameras, not resized or spliced.
"""

import dataclasses
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from experiments.evaluate.score import in_blocks, scorer, training_poses
from experiments.options import option, run
from jaxpose import model as released
from jaxpose.tasks import score

_LEVELS = (0.01, 0.05, 0.5, 0.95, 0.99)  # printed


@dataclasses.dataclass(frozen=True)
class Options:
    """Of the quantiles."""

    model: str = option("pose17", "A bundled model's name or a .safetensors file.")
    out: str = option(None, "The .safetensors file to write.", required=True)
    steps: int = option(score.NUM_STEPS, "Intervals of the log-SNR.", low=1)
    poses: int = option(2000, "Training poses that the quantiles are of.", low=100)
    quantiles: int = option(201, "How many, from 0 to 1.", low=101, high=1001)
    seed: int = option(0, "Of all random numbers.")


def main(options: Options) -> None:
    """Write the copy."""
    if Path(options.out).suffix != ".safetensors" or not Path(options.out).parent.is_dir():
        raise ValueError(f"--out: got {options.out}; legal is a .safetensors file in a folder that exists")
    model, started = released.load(options.model), time.perf_counter()
    poses = training_poses(model, options.poses, options.seed)
    found = in_blocks(scorer(model, options.steps), poses)
    shown = ", ".join(f"quantile_{100 * q:g} {np.quantile(found, q):.4g}" for q in _LEVELS)
    print(f"{len(poses)} training poses: {shown}, seconds {time.perf_counter() - started:.4g}")
    levels = np.quantile(found.astype(np.float64), np.linspace(0, 1, options.quantiles)).astype(np.float32)
    released.save(options.out, dataclasses.replace(model, typicality=jnp.asarray(levels)))
    print(f"wrote {options.out}")


if __name__ == "__main__":
    run("quantiles", main, Options, __doc__)
