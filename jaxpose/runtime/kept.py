"""Programs of commands kept as they were compiled, so that the next process neither traces nor compiles them.

    entry = length, header, executable      header = JSON: the kind of the result, and which of its parts are there
    key   = the task with its settings, structure, shapes and types of the arguments, and what a trace depends on:
            this package's source, JAX's configuration, XLA_FLAGS, the device and the number of processors

JAX's own cache is asked with the traced program, and tracing takes longer than reading one. An executable is what XLA
serialises: there is no pickle, and nothing in an entry names what to import. Entries are in the folder of
`program_cache`, which is the user's alone, under a sum of their names and bytes. The sum tells damage and is no
signature: who can write to that folder can run code as its user, as with JAX's cache. Where anything is not as
expected, the task takes its ordinary way: it is traced and compiled.
"""

import dataclasses
import functools
import hashlib
import json
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxpose.base import Bodies, Hypotheses
from jaxpose.runtime.program_cache import ProgramCache, in_use

_LENGTH_BYTES = 4
_DONE = b"done"
_COMPILED = "/jax/core/compile/backend_compile_duration"  # as JAX calls it where its own cache gives a program
_RESULTS: dict[str, Any] = {kind.__name__: kind for kind in (Hypotheses, Bodies)}
_PACKAGES = ("flax", "jaxlie", "numpy", "optax")  # what a trace runs through; JAX and this package are in every key


class _Untold(Exception):
    """Of what has no name that another process gives it too."""


class _Program(NamedTuple):
    """An executable of XLA, the kind of its result (of _RESULTS, or "tuple" or "array"), and which parts it has."""

    executable: Any
    kind: str
    has: list[bool]

    def __call__(self, leaves: list[Any]) -> Any:
        found = self.executable.execute_sharded(leaves).disassemble_into_single_device_arrays()
        arrays = iter(found)
        parts = [next(arrays)[0] if there else None for there in self.has]
        if self.kind in _RESULTS:
            return _RESULTS[self.kind](*parts)
        return tuple(parts) if self.kind == "tuple" else parts[0]


def kept(function: Callable[..., Any], *static: str, **settings: Any) -> Callable[..., Any]:
    """The compiled program of `function` under its settings; where a command keeps programs, kept for later processes.

    Compiled for the very sizes that it is called with: nothing is filled up. For a process of few sizes, as a command.
    static: names of arguments that are hashable values. The result of `function` is an array, a tuple of arrays or a
    named tuple of `base`. What has no name in another process (a function inside a function), arguments inside a
    transformation and devices other than one CPU take the ordinary way; the numbers are the same.
    """
    run = functools.partial(function, **settings)
    ordinary = jax.jit(run, static_argnames=static)
    programs: dict[str, _Program] = {}

    def call(*args: Any, **named: Any) -> Any:
        chosen = {name: named[name] for name in static if name in named}
        leaves, tree = jax.tree.flatten((args, {name: x for name, x in named.items() if name not in static}))
        cache = in_use()
        if cache is None or not _on_the_cpu(leaves):
            return ordinary(*args, **named)
        values = [jax.random.key_data(x) if _is_key(x) else jax.device_put(x) for x in leaves]
        kinds = [_kind(x) for x in leaves], [_kind(x) for x in values]
        try:
            name = json.dumps([_told((function, settings, chosen)), _told_tree(tree), kinds, _surroundings()])
        except _Untold:
            return ordinary(*args, **named)
        if name in programs:
            return programs[name](values)
        for is_new in (False, True):
            entry = _made(cache, functools.partial(run, **chosen), tree, leaves, values) if is_new else cache.get(name)
            program = None if entry is None else _loaded(entry)
            if entry is None or program is None:
                continue
            try:
                result = jax.block_until_ready(program(values))
            except Exception:  # what is wrong with the arguments is told by the ordinary way
                continue
            programs[name] = program
            if is_new:
                cache.put(name, entry)
            return result
        return ordinary(*args, **named)

    return call


def once(check: Callable[[], None], *about: Any) -> None:
    """Call `check`, which raises or does nothing, but where an earlier process has, of the same values `about`."""
    cache = in_use()
    if cache is None:
        check()
        return
    name = json.dumps(["once", _told(about), _surroundings()])
    if cache.get(name) != _DONE:
        check()
        cache.put(name, _DONE)


def _loaded(entry: bytes) -> _Program | None:
    """The program of an entry; None where JAX, of another make, cannot load it."""
    started = time.perf_counter()
    try:
        from jax._src.lib import _jax

        start = _LENGTH_BYTES + int.from_bytes(entry[:_LENGTH_BYTES], "little")
        header, device = json.loads(entry[_LENGTH_BYTES:start]), jax.local_devices()[0]
        devices = _jax.DeviceList((device,))
        found = _Program(device.client.deserialize_executable(entry[start:], executable_devices=devices), **header)
    except Exception:
        return None
    jax.monitoring.record_event_duration_secs(_COMPILED, time.perf_counter() - started)
    return found


def _made(
    cache: ProgramCache, function: Callable[..., Any], tree: Any, leaves: list[Any], values: list[Any]
) -> bytes | None:
    """The entry of a program that is compiled here; None where it is none that can be kept."""
    about: dict[str, Any] = {}
    keys = [str(jax.random.key_impl(x)) if _is_key(x) else None for x in leaves]

    def flat(*values: Any) -> list[Any]:
        given = (jax.random.wrap_key_data(x, impl=key) if key else x for key, x in zip(keys, values, strict=True))
        args, named = jax.tree.unflatten(tree, given)
        result = function(*args, **named)
        kind = type(result).__name__ if isinstance(result, tuple) else "array"
        parts = result if isinstance(result, tuple) else (result,)
        if not (kind in ("array", "tuple") or type(result) is _RESULTS.get(kind)) or not jax.tree_util.all_leaves(
            [part for part in parts if part is not None]
        ):
            raise _Untold
        about.update(kind=kind, has=[part is not None for part in parts])
        return [part for part in parts if part is not None]

    try:
        with cache.unseen():  # what JAX reads from it is whole in this process, and not once more serialised
            compiled = jax.jit(flat, keep_unused=True).lower(*values).compile()
        program: Any = compiled.runtime_executable()
        executable: bytes = program.serialize()
    except _Untold:
        return None
    except (AttributeError, jax.errors.JaxRuntimeError):  # JAX of another make, or a program that calls Python
        return None
    header = json.dumps(about).encode()
    return len(header).to_bytes(_LENGTH_BYTES, "little") + header + executable


def _on_the_cpu(leaves: list[Any]) -> bool:
    """Whether all arguments are values that one CPU, the default device, has or gets."""
    if jax.default_backend() != "cpu":
        return False
    device = {jax.local_devices()[0]}
    numbers = (np.ndarray, np.generic, bool, int, float)
    return all(x.devices() == device if _is_array(x) else isinstance(x, numbers) for x in leaves)


def _is_array(x: Any) -> bool:
    return isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)


def _is_key(x: Any) -> bool:
    return isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


def _kind(x: Any) -> str:
    return f"{getattr(x, 'dtype', type(x).__name__)} {np.shape(x)} {getattr(x, 'weak_type', '')}"


def _told(value: Any) -> Any:
    """A value as JSON that is the same in every process; _Untold where it has none."""
    if value is None or isinstance(value, bool | int | str):
        return [type(value).__name__, value]
    if isinstance(value, float | np.generic | np.dtype):
        return [type(value).__name__, repr(value)]
    if isinstance(value, type | FunctionType):
        place = f"{value.__module__}.{value.__qualname__}"
        if "<" in place or "__main__" in place:
            raise _Untold
        return ["name", place]
    if isinstance(value, functools.partial):
        return ["partial", type(value).__name__, _told((value.func, value.args, value.keywords))]
    if isinstance(value, tuple | list):
        return [_told(type(value)), *(_told(x) for x in value)]
    if isinstance(value, dict):
        return ["dict", *([_told(k), _told(x)] for k, x in value.items())]
    if dataclasses.is_dataclass(value):
        return [_told(type(value)), *([f.name, _told(getattr(value, f.name))] for f in dataclasses.fields(value))]
    raise _Untold


def _told_tree(tree: Any) -> Any:
    """The structure of arguments, as `_told`."""
    node = tree.node_data()
    return (
        "leaf" if node is None else [_told(node[0]), _told(node[1]), *(_told_tree(child) for child in tree.children())]
    )


@functools.cache
def _surroundings() -> str:
    """Sum of what else a program depends on."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    device, cores = jax.local_devices()[0], getattr(os, "sched_getaffinity", lambda _: ())(0)
    about: list[Any] = [(name, version(name)) for name in _PACKAGES]
    about += sorted(jax.config.values.items())
    about += [device.platform, device.device_kind, device.client.platform_version, jax.device_count()]
    about += [os.environ.get("XLA_FLAGS"), os.environ.get("NPROC"), os.cpu_count(), len(cores)]
    found.update("\n".join(map(str, about)).encode())
    return found.hexdigest()
