"""A few-step model or a model of motions on new weights of its base, which it starts from when it is trained again.

    python -m experiments.models.rebase --model=pose17_fast --base=runs/pose17.safetensors --out=runs/start.safetensors

The weights that both have move as the base's did: w + (new - old). What is new in the base's context has rows of zeros.
The recalibration is left out, since it holds for the weights that it was fitted on. A model of motions goes on from the
result; a few-step model does so by `--config.train.init`, with the new weights under the base's name.
"""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from experiments.models.initial import widened
from experiments.options import option, run
from jaxpose import model as released


@dataclasses.dataclass(frozen=True)
class Options:
    """Of the exchange."""

    model: str = option(None, "A model that holds a base, by its name or file.", required=True)
    base: str = option(None, "The .safetensors file of the base's new weights.", required=True)
    out: str = option(None, "The .safetensors file to write.", required=True)


def rebased(model: released.Model, base: released.Model) -> released.Model:
    """`model` on another base; ValueError where it has none, or one of another network."""
    if model.base is None:
        raise ValueError(f"--model: {model.spec.name} holds no base")
    if model.base.spec.network != base.spec.network:
        raise ValueError(f"--base: {base.spec.name} is of another network than the base of {model.spec.name}")
    more = base.spec.context - model.base.spec.context
    spec = dataclasses.replace(model.spec, context=model.spec.context + more)
    params, old, new = (flatten_dict(p) for p in (widened(model.params, spec), model.base.params, base.params))
    old = flatten_dict(widened(unflatten_dict(old), base.spec))
    moved = {path: w + (new[path] - old[path]) if path in new else w for path, w in params.items()}
    return dataclasses.replace(
        model, spec=spec, params=unflatten_dict(moved), statistics=base.statistics, base=base, recalibration={}
    )


def main(options: Options) -> None:
    """Write the model."""
    if Path(options.out).suffix != ".safetensors":
        raise ValueError(f"--out: got {options.out}, must be a .safetensors file")
    model = rebased(released.load(options.model), released.load(options.base))
    released.save(options.out, model, dtype=jnp.float32)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    run("rebase", main, Options, __doc__)
