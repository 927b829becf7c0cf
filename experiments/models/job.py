"""What `experiments.train` runs: a model under training, its data and loss, and what is made of it at the end."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import logging
from ml_collections import ConfigDict

from experiments.evaluate.bench import bench_path
from experiments.models.frames import training_frames
from jaxpose import model as released
from jaxpose.base import Array, Example, Key
from jaxpose.datasets.mocap import Mocap, load_mocap
from jaxpose.diffusion import SDE
from jaxpose.diffusion.losses import denoising_loss
from jaxpose.examples.bodies import Bodies, as_rows
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import make_bodies
from jaxpose.spaces.person import Statistics
from jaxpose.training.loop import Evaluator
from jaxpose.training.step import Data, ExampleFn, LossFn, Params


class Job(NamedTuple):
    """All that tells one kind of training from another.

    spec, statistics: of the model at the end. params: what is trained, which need not be all of it. data, example,
    loss: as `training.step.make_step` takes them. export: the whole model of trained (averaged) `params`. initial: the
    model that training goes on from, where the result is of the same kind (initial.py).
    """

    spec: released.Spec
    params: Params
    statistics: Statistics
    data: Data
    example: ExampleFn
    loss: LossFn
    evaluators: Mapping[str, Evaluator]
    export: Callable[[Any], released.Model]
    initial: released.Model | None = None


def level_loss(spec: released.Spec, sde: SDE, times: Any, weighting: str, spread: Any) -> LossFn:
    """(params, key, example) -> loss and metrics of denoising one example at one level of `times`."""

    def loss(params: Params, key: Key, example: Example) -> tuple[Array, dict[str, Array]]:
        noise_key, dropout_key = jax.random.split(key)

        def apply(x: Array, t: Array, cond: Any) -> Any:
            return spec.network.apply(params, x, t, spec.filled(cond), train=True, rngs={"dropout": dropout_key})

        how = {"target": spec.target, "weighting": weighting, "spread": spread, "times": times}
        return denoising_loss(noise_key, apply, sde, example, **how)

    return loss


def validation(name: str) -> Path | None:
    """A file of the benchmark, on straight limbs where there is one; None, with a warning, where it is absent."""
    path = bench_path(name)
    if not path.is_file():
        logging.warning("%s is absent: training goes on without validation", path)
        return None
    return path


def with_statistics(data: Any, statistics: Statistics) -> Any:
    """The same data, whose examples are states of other statistics."""
    for inner in ("resident", "bodies", "clips"):
        if hasattr(data, inner):
            return data._replace(**{inner: with_statistics(getattr(data, inner), statistics)})
    return data._replace(statistics=statistics) if hasattr(data, "statistics") else data


def drawn_anew(view: ViewRates) -> bool:
    """Whether bodies are drawn as other people, with other limbs or turned, which needs their rotations."""
    return view.people > 0 or view.recombine > 0 or view.turn > 0


def load_bodies(config: ConfigDict) -> tuple[Bodies, Mocap]:
    """The training subjects' motion capture that `config.data` names, on the device and as it was read."""
    if config.data.get("stream", ""):
        raise ValueError("config.data.stream: for single frames, motions and rotations; this kind needs memory")
    view = ViewRates(**config.view)
    load = functools.partial(load_mocap, rotations=drawn_anew(view))
    mocap, weights = training_frames(config.data, config.seed, load)
    bodies = make_bodies(mocap.joints, weights, view, mocap.rotations, mocap.subject[mocap.sequence])
    print(f"{len(mocap.joints)} frames of {len(mocap.name)} sequences, {mocap.joints.nbytes >> 20} MB")
    return as_rows(bodies), mocap
