"""The mean of the weights of two models of one network, such as of a model before and after a training on other data.

    python -m experiments.models.average --model=pose17 --other=runs/pose17.safetensors --out=runs/mean.safetensors

Where one was trained from the other, the mean is often better than both on data that neither training has (Wortsman et
al., "Robust fine-tuning of zero-shot models", CVPR 2022). Where one has the wider context, the other has rows of zeros
there. Recalibration and typicality are left out.
"""

import dataclasses
from pathlib import Path

import jax

from experiments.models.initial import widened
from experiments.options import option, run
from jaxpose import model as released


@dataclasses.dataclass(frozen=True)
class Options:
    """Of the mean."""

    model: str = option(None, "A model, by its name or file.", required=True)
    other: str = option(None, "The .safetensors file of the other, whose specification the result has.", required=True)
    share: float = option(0.5, "Weight of the other.", low=0, high=1)
    out: str = option(None, "The .safetensors file to write.", required=True)


def averaged(model: released.Model, other: released.Model, share: float) -> released.Model:
    """(1 - share) times the weights of `model` plus `share` times those of `other`; ValueError for other networks."""
    if model.spec.network != other.spec.network or model.spec.context > other.spec.context:
        raise ValueError(
            f"--other: {other.spec.name} must be of the network of {model.spec.name}, with at least its context"
        )
    first = widened(model.params, other.spec)
    params = jax.tree.map(lambda a, b: a + share * (b - a), first, other.params)
    return dataclasses.replace(other, params=params, recalibration={}, typicality=other.typicality[:0])


def main(options: Options) -> None:
    """Write the model."""
    if Path(options.out).suffix != ".safetensors":
        raise ValueError(f"--out: got {options.out}, must be a .safetensors file")
    model = averaged(released.load(options.model), released.load(options.other), options.share)
    released.save(options.out, model)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    run("average", main, Options, __doc__)
