"""The model that a training goes on from (`config.train.init`), and what of it stays.

Weights have a meaning in the state space that they were trained in. So a run with an `init` keeps its network, process,
target, joint set and statistics (the mean, unit and spread of states; of a prior, its normaliser) and its sampler,
whatever the new data's are: before the first step the model is the one that it was. With `config.train.statistics` of
"data" the statistics are those of the new data instead.

Recalibration and typicality hold for the weights that they were measured on. They stay where no step was taken. After
one they are left out, since training changes the spread of the hypotheses and the density of poses:
`python -m experiments.models.recalibrate` fits the recalibration of the new weights.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from jaxpose import model as released

# Of a specification: what gives weights their meaning. The rest (name, sampler) may differ.
_FIXED = ("network", "skeleton", "codec", "process", "process_args", "target", "times", "indices")


def load_initial(init: str, spec: released.Spec) -> released.Model | None:
    """The model that `config.train.init` names, under the name of `spec`; None where it names none.

    Where `spec` has a wider context, what is new starts with weights of 0. ValueError names what of its specification
    is other than in `spec`, and both values.
    """
    if not init:
        return None
    model = released.load(init)
    if getattr(spec.network, "num_frames", None) and model.spec.network.window is None:
        return _inflated(model, spec)
    check_same(init, model.spec, spec, _FIXED)
    if model.spec.context > spec.context:
        check_same(init, model.spec, spec, ("context",))
    own = dataclasses.replace(model.spec, name=spec.name, context=spec.context)
    return dataclasses.replace(model, spec=own, params=widened(model.params, own))


def _inflated(model: released.Model, spec: released.Spec) -> released.Model:
    """A model of single poses as one of windows, whose frames do not know of each other yet."""
    own = dataclasses.replace(model.spec, network=spec.network, name=spec.name, context=spec.context)
    fresh = flatten_dict(released.init_params(jax.random.key(0), own))
    params = widened(unflatten_dict(fresh | flatten_dict(model.params)), own)
    return dataclasses.replace(model, spec=own, params=params)


def part_of(params: Any, ending: str) -> tuple[Any, Callable[[Any], Any]]:
    """The parameters below modules whose name has the ending, and what puts the others back beside them."""
    whole = flatten_dict(params)
    part = {path: v for path, v in whole.items() if any(name.endswith(ending) for name in path)}
    if not part:
        raise ValueError(f"config.train.only: no module's name ends with {ending!r}")
    return unflatten_dict(part), lambda trained: unflatten_dict(whole | flatten_dict(trained))


def widened(params: Any, spec: released.Spec) -> Any:
    """Weights of a network that is told more than before: 0 for what is new, so that it changes nothing."""
    needed = jax.eval_shape(lambda: released.init_params(jax.random.key(0), spec))
    return jax.tree.map(
        lambda old, new: jnp.pad(old, [(0, n - o) for o, n in zip(old.shape, new.shape, strict=True)]), params, needed
    )


def keeps_statistics(config: ConfigDict) -> bool:
    """Whether the statistics of the initial model stay, or are measured again on the run's data.

    ValueError where `config.train.statistics` is neither "init" nor "data".
    """
    found = config.train.get("statistics", "init")
    if found not in ("init", "data"):
        raise ValueError(f"config.train.statistics: got {found!r}, must be one of 'init', 'data'")
    return found == "init"


def check_same(init: str, there: released.Spec, here: released.Spec, fields: tuple[str, ...]) -> None:
    """ValueError where a field of the initial model's specification is other than of the config's."""
    for field in fields:
        found, needed = getattr(there, field), getattr(here, field)
        if found != needed:
            raise ValueError(
                f"config.train.init: {field} of {init} is {brief(found)}, of the config {brief(needed)}; weights go on "
                f"only under the same: change the config, or leave init out to train anew"
            )


def with_calibration(model: released.Model, initial: released.Model | None, steps: int) -> released.Model:
    """The model of a run of `steps` in all; where that is 0, with the recalibration and typicality of the initial."""
    if initial is None or steps:
        return model
    return dataclasses.replace(model, recalibration=initial.recalibration, typicality=initial.typicality)


def brief(value: Any) -> str:
    """A value in one line, a network too."""
    return " ".join(repr(value).replace("# attributes", "").split())
