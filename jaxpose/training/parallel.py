"""Data-parallel training: many steps per dispatch, the batch divided over all devices of all processes, in two forms.

    "sharding"  jax.jit over a mesh, with a jax.shard_map of the gradient alone; the default
    "pmap"      jax.pmap, in maintenance mode in JAX, so named in this file only; one process, the state replicated

Each device works on its share of every batch, and gradients are averaged over `AXIS`. The state is replicated or, in
the first form, sharded: every large array is divided over the devices, gathered whole for the gradient in the type of
its layers, and updated by parts, to which the mean gradient is scattered (Rajbhandari et al., ZeRO, SC 2020). Both
forms take and return the state without a leading device axis.

One program serves every number of steps up to `max_steps`, so a dispatch may be as short as time asks for.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxpose.base import Array
from jaxpose.training.step import Data, Metrics, Step, TrainState, key_of
from jaxpose.training.streaming import Feed, Gathered, Stream, with_row

AXIS = "batch"
Mode: TypeAlias = Literal["sharding", "pmap"]
Tree = TypeVar("Tree")
_WORTH_DIVIDING = 4096  # numbers of an array


class Runner(NamedTuple):
    """How a run is computed.

    place(state), put(data): on the devices, as the others take them. lower(state, data): the program that `run` runs,
    of arrays or of shapes with a sharding. compile(state, data): what the first `run` would.
    run(state, data, num_steps): the state then, and metrics [num_steps] in numpy; donates the state: the one passed in
    is invalid afterwards. local(tree): arrays of `state` whole, on the first device of this process. batch_size: of a
    step, on all devices together.
    """

    place: Callable
    put: Callable
    lower: Callable[[TrainState, Data], Any]
    compile: Callable[[TrainState, Data], None]
    run: Callable[[TrainState, Data, int], tuple[TrainState, Metrics]]
    local: Callable
    max_steps: int
    batch_size: int


def make_runner(
    build_step: Callable[..., Step],
    *,
    mode: Mode = "sharding",
    devices: Sequence[jax.Device] | None = None,
    shard_state: bool = False,
    max_steps: int = 100,
) -> Runner:
    """Runner over `devices` (by default all of all processes) for the step that `build_step(num_shards=...)` makes.

    `build_step` is `functools.partial(make_step, example_fn, loss_fn, tx, batch_size=..., ema_decay=...)`.
    """
    devices = list(jax.devices() if devices is None else devices)
    step = build_step(num_shards=len(devices))
    batch_size = len(devices) * step.share
    mesh = Mesh(np.array(devices), (AXIS,))
    forms = {"sharding": _sharded, "pmap": _pmapped}
    if mode not in forms:
        raise ValueError(f"mode must be one of {tuple(forms)}, got {mode!r}")
    if mode == "pmap" and (shard_state or jax.process_count() > 1):
        raise ValueError("mode 'pmap' has one process and a replicated state; needed mode 'sharding'")
    replicated = NamedSharding(mesh, PartitionSpec())
    whole = jax.jit(lambda tree: tree, out_shardings=replicated)
    program: Any = None

    def place(state: Tree) -> Tree:
        return jax.tree.map(lambda x: _placed(x, divided(x, mesh) if shard_state else replicated), state)

    def put(data: Data) -> Data:
        if isinstance(data, Stream):
            resident = jax.tree.map(lambda x: _placed(x, replicated), data.resident)
            return Feed(data, resident, mesh, AXIS, batch_size, max_steps)
        return jax.tree.map(lambda x: _placed(x, replicated), data)

    def given(state: TrainState, data: Data, num_steps: int) -> Data:
        return data.take(state.key, int(state.step), num_steps) if isinstance(data, Feed) else data

    def lower(state: TrainState, data: Data) -> Any:
        return forms[mode](step, mesh, max_steps, state).lower(state, given(state, data, 0), np.int32(0))

    def compile(state: TrainState, data: Data) -> None:
        nonlocal program
        program = program or lower(state, data).compile()

    def run(state: TrainState, data: Data, num_steps: int) -> tuple[TrainState, Metrics]:
        compile(state, data)
        state, metrics = program(state, given(state, data, num_steps), np.int32(num_steps))
        return state, jax.tree.map(lambda values: np.asarray(values)[:num_steps], metrics)

    def local(tree: Tree) -> Tree:
        first = jax.local_devices()[0]
        return jax.tree.map(lambda x: jax.device_put(_on_host(x), first), whole(tree) if shard_state else tree)

    return Runner(place, put, lower, compile, run, local, max_steps, batch_size)


def _sharded(step: Step, mesh: Mesh, max_steps: int, state: TrainState) -> Any:
    """The program (state, data, number of steps) -> (state, metrics [max_steps])."""
    everywhere, by_device = PartitionSpec(), PartitionSpec(AXIS)
    shardings = jax.tree.map(lambda x: x.sharding, state)
    divisions = jax.tree.map(lambda sharding: sharding.spec, shardings.params)

    def body(state: TrainState, data: Data) -> tuple[TrainState, Metrics]:
        specs = Gathered(everywhere, by_device) if isinstance(data, Gathered) else everywhere
        # check_vma off: with it, the gradient of replicated weights is summed over the devices, unlike pmap's
        mean = jax.shard_map(
            functools.partial(_mean_gradient, step, divisions),
            mesh=mesh,
            in_specs=(everywhere, everywhere, specs),
            out_specs=(divisions, everywhere),
            check_vma=False,
        )
        state, metrics = step.update(state, *mean(step.weights(state.params), key_of(state), data))
        held = jax.lax.with_sharding_constraint
        return jax.tree.map(lambda x, sharding: x if is_key(x) else held(x, sharding), state, shardings), metrics

    return jax.jit(
        functools.partial(_steps, body, max_steps),
        donate_argnums=0,
        out_shardings=(shardings, NamedSharding(mesh, everywhere)),
    )


def _pmapped(step: Step, mesh: Mesh, max_steps: int, state: TrainState) -> Any:
    """As `_sharded`, but called with devices that each run the whole step."""

    def on_device(device: Array, state: TrainState, data: Data, num_steps: Array) -> tuple[TrainState, Metrics]:
        def body(state: TrainState, data: Data) -> tuple[TrainState, Metrics]:
            whole = jax.tree.map(lambda _: PartitionSpec(), state.params)
            return step.update(state, *_mean_gradient(step, whole, state.params, key_of(state), data))

        return _steps(body, max_steps, state, data, num_steps)

    # pmap wants one mapped argument, so each device gets its number; out_axes=None returns the replicated state once
    devices = list(mesh.devices.flat)
    mapped = jax.pmap(on_device, AXIS, in_axes=(0, None, None, None), out_axes=None, devices=devices, donate_argnums=1)
    return _Numbered(mapped, np.arange(mesh.size))


class _Numbered(NamedTuple):
    """A pmapped function with its first argument; lowered and compiled as functions of jax.jit are."""

    function: Any
    numbers: np.ndarray

    def lower(self, *args: Any) -> Any:
        return _Numbered(self.function.lower(self.numbers, *args), self.numbers)

    def compile(self) -> Any:
        return functools.partial(self.function.compile(), self.numbers)


def _mean_gradient(step: Step, divisions: Any, params: Any, key: Any, data: Data) -> tuple[Any, Metrics]:
    """Of all devices' shares; inside a map over AXIS. divisions: specs of the gradient's arrays, as `divided` makes."""
    first = step.share * jax.lax.axis_index(AXIS)
    gradient, metrics = step.gradient(params, key, first, data)
    return jax.tree.map(_mean, gradient, divisions), jax.lax.pmean(metrics, AXIS)


def _mean(x: Array, division: PartitionSpec) -> Array:
    """The mean over the devices, whole or, of a divided array, this device's part: half of the traffic."""
    if not len(division):
        return jax.lax.pmean(x, AXIS)
    part = jax.lax.psum_scatter(x, AXIS, scatter_dimension=len(division) - 1, tiled=True)
    return part / jax.lax.axis_size(AXIS)


def _steps(
    body: Callable[[TrainState, Data], tuple[TrainState, Metrics]],
    max_steps: int,
    state: TrainState,
    data: Data,
    num_steps: Array,
) -> tuple[TrainState, Metrics]:
    """`num_steps` <= max_steps steps; metrics [max_steps], of which so many are written."""

    def one(n: Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
        state, rows = carry
        state, metrics = body(state, with_row(data, n))
        return state, {name: rows[name].at[n].set(value) for name, value in metrics.items()}

    shapes = jax.eval_shape(lambda state: body(state, with_row(data, jnp.int32(0)))[1], state)
    rows = {name: jnp.zeros((max_steps, *leaf.shape), leaf.dtype) for name, leaf in shapes.items()}
    return jax.lax.fori_loop(0, num_steps, one, (state, rows))


def _placed(x: Any, sharding: NamedSharding) -> Any:
    """A global array of what every process has whole."""
    if jax.process_count() == 1:
        return jax.device_put(x, sharding)
    if is_key(x):
        return jax.random.wrap_key_data(_placed(jax.random.key_data(x), sharding), impl=jax.random.key_impl(x))
    host = np.asarray(x)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def _on_host(x: Any) -> Any:
    if is_key(x):
        return jax.random.wrap_key_data(jnp.asarray(np.asarray(jax.random.key_data(x))), impl=jax.random.key_impl(x))
    return np.asarray(x)


def is_key(x: Any) -> bool:
    """Whether an array holds typed keys."""
    return isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


def divided(x: Any, mesh: Mesh) -> NamedSharding:
    """Along the longest axis that the devices divide; small arrays and those without such an axis are replicated."""
    axes = [axis for axis, size in enumerate(np.shape(x)) if size % mesh.size == 0]
    if is_key(x) or np.size(x) < _WORTH_DIVIDING or not axes:
        return NamedSharding(mesh, PartitionSpec())
    longest = max(axes, key=lambda axis: np.shape(x)[axis])
    return NamedSharding(mesh, PartitionSpec(*[None] * longest, AXIS))
