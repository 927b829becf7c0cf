"""Data-parallel training: many steps per dispatch, the batch divided over all devices, in two equivalent forms.

    "pmap"      jax.pmap, in maintenance mode in JAX, so named in this file only
    "sharding"  jax.jit of a jax.shard_map over a mesh, with the same results; the default

State and data set are replicated; each device works on its share of every batch, and gradients are averaged over
`AXIS`. Both forms take and return the state as ordinary (replicated) arrays, without a leading device axis.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxpose.training.step import Data, Metrics, StepFn, TrainState

AXIS = "batch"
Mode: TypeAlias = Literal["pmap", "sharding"]
Tree = TypeVar("Tree")


class Runner(NamedTuple):
    """place(tree): a copy on every device. run(state, data, num_steps): the state then, metrics [num_steps].

    `run` donates the state: the one passed in is invalid afterwards. Each new num_steps compiles once.
    """

    place: Callable
    run: Callable[[TrainState, Data, int], tuple[TrainState, Metrics]]


def make_runner(
    build_step: Callable[..., StepFn], *, mode: Mode = "sharding", devices: Sequence[jax.Device] | None = None
) -> Runner:
    """Runner over `devices` (by default all) for the step that `build_step(axis=..., num_shards=...)` makes.

    `build_step` is `functools.partial(make_step, example_fn, loss_fn, tx, batch_size=..., ema_decay=...)`.
    """
    devices = list(jax.devices() if devices is None else devices)
    step = build_step(axis=AXIS, num_shards=len(devices))
    mesh = Mesh(np.array(devices), (AXIS,))
    forms = {"pmap": _pmap, "sharding": _shard_map}
    if mode not in forms:
        raise ValueError(f"mode must be one of {tuple(forms)}, got {mode!r}")

    @functools.cache
    def compiled(num_steps: int) -> StepFn:
        def steps(state: TrainState, data: Data) -> tuple[TrainState, Metrics]:
            return jax.lax.scan(lambda s, _: step(s, data), state, None, length=num_steps)

        return forms[mode](steps, mesh)

    def run(state: TrainState, data: Data, num_steps: int) -> tuple[TrainState, Metrics]:
        return compiled(num_steps)(state, data)

    def place(tree: Tree) -> Tree:
        return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))

    return Runner(place, run)


def _pmap(steps: StepFn, mesh: Mesh) -> StepFn:
    # pmap wants one mapped argument, so each device gets its number; out_axes=None returns the replicated state once
    def on_device(device: jax.Array, state: TrainState, data: Data) -> tuple[TrainState, Metrics]:
        return steps(state, data)

    mapped = jax.pmap(
        on_device, AXIS, in_axes=(0, None, None), out_axes=None, devices=list(mesh.devices.flat), donate_argnums=1
    )
    return functools.partial(mapped, np.arange(mesh.size))


def _shard_map(steps: StepFn, mesh: Mesh) -> StepFn:
    # check_vma off: with it, the gradient of replicated weights is summed over the devices, unlike pmap's
    spec = PartitionSpec()
    mapped = jax.shard_map(steps, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    return jax.jit(mapped, donate_argnums=0)
