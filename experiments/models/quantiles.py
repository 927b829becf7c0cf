"""Quantiles of the denoising error of training poses, into a copy of the model's file: what typicality compares with.

    python -m experiments.models.quantiles --model=pose17 --out=pose17.safetensors
    python -m experiments.models.quantiles --model=prior21 --out=prior21.safetensors

The poses are those of training subjects, drawn as in training: balanced categories, mirrored by half, seen by virtual
cameras. Fresh ones of another seed are judged by the quantiles: 1 % of them must lie below the first percentile.
"""

import dataclasses
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate.score import in_blocks, training_poses
from experiments.options import option, run
from jaxpose import model as released
from jaxpose.tasks.typicality import denoising_error, out_of_distribution, typicality

_LEVELS = (0.01, 0.05, 0.5, 0.95, 0.99)  # printed
_FRESH = 0.2  # as many poses more, to check


@dataclasses.dataclass(frozen=True)
class Options:
    model: str = option("pose17", "A bundled model's name or a .safetensors file.")
    out: str = option(None, "The .safetensors file to write.", required=True)
    poses: int = option(20_000, "Training poses that the quantiles are of.", low=100)
    quantiles: int = option(201, "How many, from 0 to 1.", low=101, high=1001)
    seed: int = option(0, "Of all random numbers.")


def main(options: Options) -> None:
    """Write the copy."""
    if Path(options.out).suffix != ".safetensors" or not Path(options.out).parent.is_dir():
        raise ValueError(f"--out: got {options.out}, must be a .safetensors file in a folder that exists")
    model, started = released.load(options.model), time.perf_counter()
    poses = training_poses(model, options.poses, options.seed)
    errors = in_blocks(jax.jit(lambda x, _: denoising_error(model, x)), poses)
    shown = ", ".join(f"quantile_{100 * q:g} {np.quantile(errors, q):.4g}" for q in _LEVELS)
    print(f"{len(poses)} training poses: {shown}, seconds {time.perf_counter() - started:.4g}")
    levels = np.quantile(errors.astype(np.float64), np.linspace(0, 1, options.quantiles)).astype(np.float32)
    model = dataclasses.replace(model, typicality=jnp.asarray(levels))
    fresh = training_poses(model, max(1, int(_FRESH * options.poses)), options.seed + 1)
    percentile = in_blocks(jax.jit(lambda x, _: typicality(model, x)), fresh)
    outside = float(np.mean(out_of_distribution(percentile)))
    print(f"{len(fresh)} fresh training poses: median {np.median(percentile):.4g}, out of distribution {outside:.4g}")
    released.save(options.out, model, dtype=None)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    run("quantiles", main, Options, __doc__)
