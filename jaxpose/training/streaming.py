"""Training data on disk: the rows that a batch needs are read while the batch before it is computed.

    rows of example i in step n = Stream.rows(key_in, resident)      key_in as in step.py, a function of (key, n, i)

Which rows an example has depends on its number in the global batch alone, so the drawn batch is the same for any number
of processes, and a run resumes by its step. Each process computes and reads the rows of its own devices' examples only.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxpose.base import Array, Key


class Stream(NamedTuple):
    """A data set of which a step sees a few rows.

    resident: pytree of arrays on every device. rows: (key, resident) -> numbers [K] of the rows of one example.
    read: (rows [n, K]) -> pytree of numpy arrays [n, K, ...]. An example function gets `Gathered(resident, rows)` with
    the K rows of its example.
    """

    resident: Any
    rows: Callable[[Key, Any], Array]
    read: Callable[[np.ndarray], Any]


class Gathered(NamedTuple):
    """What the examples of a step are made of: `resident`, and arrays of rows, whose leading axes count examples."""

    resident: Any
    rows: Any


def with_row(data: Any, n: Any) -> Any:
    """The data with row n of what was gathered, if it was."""
    return Gathered(data.resident, jax.tree.map(lambda x: x[n], data.rows)) if isinstance(data, Gathered) else data


class Feed:
    """An open stream: reads the steps of a dispatch, and the next ones ahead."""

    def __init__(self, stream: Stream, resident: Any, mesh: Mesh, axis: str, batch_size: int, max_steps: int):
        self._stream, self._resident, self._max_steps = stream, resident, max_steps
        self._sharding = NamedSharding(mesh, PartitionSpec(None, axis))
        places: Any = self._sharding.addressable_devices_indices_map((max_steps, batch_size)).values()
        parts = sorted({part.indices(batch_size)[:2] for _, part in places})
        self._index = np.concatenate([np.arange(*part) for part in parts])
        self._batch_size = batch_size
        self._on_host = jax.local_devices(backend="cpu")[0]
        self._host_resident = jax.device_put(stream.resident, self._on_host)

        def rows(key: Key, index: Array, resident: Any) -> Array:
            # as step.py: the key of an example's data
            return jax.vmap(lambda i: stream.rows(jax.random.split(jax.random.fold_in(key, i))[0], resident))(index)

        self._rows = jax.jit(rows)
        self._pool = ThreadPoolExecutor(1, "reader")  # one: the drawing of rows uses all cores by itself
        self._ahead: dict[int, Future[Any]] = {}

    def take(self, key: Key, step: int, num: int) -> Gathered:
        """The data of the steps step .. step + num - 1, on the devices; the first axis has `max_steps` entries."""
        key = jax.device_put(jax.random.wrap_key_data(jnp.asarray(np.asarray(jax.random.key_data(key)))), self._on_host)
        parts = [self._soon(key, n) for n in range(step, step + max(num, 1))]
        found = [part.result() for part in parts]
        for n in range(step, step + num):
            del self._ahead[n]
        for n in range(step + num, step + 2 * num):
            self._soon(key, n)
        return Gathered(self._resident, jax.tree.map(lambda *x: self._place(x), *found))

    def _soon(self, key: Key, step: int) -> Future[Any]:
        if step not in self._ahead:
            self._ahead[step] = self._pool.submit(self._read, key, step)
        return self._ahead[step]

    def _read(self, key: Key, step: int) -> Any:
        with jax.default_device(self._on_host):
            rows = self._rows(jax.random.fold_in(key, step), jnp.asarray(self._index), self._host_resident)
        return self._stream.read(np.asarray(rows))

    def _place(self, steps: tuple[np.ndarray, ...]) -> Array:
        shape = (self._max_steps, self._batch_size, *steps[0].shape[1:])

        def part(index: Any) -> np.ndarray:
            low, high, _ = index[1].indices(self._batch_size)
            own = slice(np.searchsorted(self._index, low), np.searchsorted(self._index, high - 1) + 1)
            filled = np.zeros((self._max_steps, high - low, *shape[2:]), steps[0].dtype)
            for n, values in enumerate(steps):
                filled[n] = values[own]
            return filled

        return jax.make_array_from_callback(shape, self._sharding, part)
