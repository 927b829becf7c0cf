"""Weights as the tensors of a file: their names, types and digest.

Three types: float32, bfloat16, and int8, in which a matrix w [in, out] is stored as whole numbers q and a factor for
each column, and all else as bfloat16:

    w = q s,   s = max |w| / 127, rounded to bfloat16

Where a model was made from another, its base, w is what it differs by. That is less than the weights are (of
`pose17_fast` a tenth), and so is the error. What is read from an int8 file is stored again as the same numbers.
"""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array

TYPES = ("float32", "bfloat16", "int8")
_MOST = 127
_FACTORS = "factors/"  # before the name of a matrix: its columns' factors
_CHANGES = "changes/"  # before the name of a matrix: what it differs by from the base's

_NOTHING: Mapping[str, Array] = MappingProxyType({})


def flatten(params: Any) -> dict[str, Array]:
    """Weights by their path, such as "pre/kernel"."""
    return flax.traverse_util.flatten_dict(params, sep="/")


def digest_of(weights: Mapping[str, Array]) -> str:
    """SHA-256 of names and values."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + np.asarray(weights[name], "<f4").tobytes())
    return digest.hexdigest()


def type_of(weights: Mapping[str, Array], base: Mapping[str, Array] = _NOTHING) -> str:
    """The smallest of TYPES that keeps all weights as they are."""

    def kept(dtype: str) -> bool:
        again = from_tensors(to_tensors(weights, dtype, base), base)
        return all((np.asarray(again[k]) == np.asarray(v)).all() for k, v in weights.items())

    return next((dtype for dtype in TYPES[::-1] if kept(dtype)), TYPES[0])


def to_tensors(weights: Mapping[str, Array], dtype: Any, base: Mapping[str, Array] = _NOTHING) -> dict[str, Array]:
    """Tensors of weights by their path; dtype: one of TYPES, else ValueError. base: weights of the base."""
    name = jnp.dtype(dtype).name
    if name not in TYPES:
        raise ValueError(f"dtype: got {name!r}; must be one of {', '.join(TYPES)}")
    if name != "int8":
        return {k: jnp.asarray(v, name) for k, v in weights.items()}
    tensors: dict[str, Array] = {}
    for path, value in weights.items():
        w = np.asarray(value, np.float32)
        if w.ndim != 2 or not w.size:
            tensors[path] = jnp.asarray(w, jnp.bfloat16)
            continue
        if path in base and base[path].shape == w.shape:
            w, path = w - np.asarray(base[path]), _CHANGES + path
        factor = jnp.asarray(np.abs(w).max(0) / _MOST, jnp.bfloat16)
        s = np.asarray(factor, np.float32)
        q = np.rint(np.divide(w, s, out=np.zeros_like(w), where=s > 0))
        tensors[path] = jnp.asarray(np.clip(q, -_MOST, _MOST), jnp.int8)
        tensors[_FACTORS + path] = factor
    return tensors


def from_tensors(tensors: Mapping[str, Any], base: Mapping[str, Array] = _NOTHING) -> dict[str, Array]:
    """Weights by their path, float32; ValueError for factors of no matrix, and for changes of what the base has not."""
    values = {k: np.asarray(v, np.float32) for k, v in tensors.items()}
    factors = {k.removeprefix(_FACTORS): values.pop(k) for k in tensors if k.startswith(_FACTORS)}
    for path, factor in factors.items():
        width = values[path].shape[1:] if path in values else None
        if width != factor.shape or len(factor.shape) != 1:
            raise ValueError(f"{_FACTORS}{path} of shape {factor.shape}; needed the columns of a matrix, {width}")
        values[path] = values[path] * factor
    for path in [k for k in values if k.startswith(_CHANGES)]:
        change, path = values.pop(path), path.removeprefix(_CHANGES)
        if path not in base or base[path].shape != change.shape:
            raise ValueError(f"{_CHANGES}{path} of shape {change.shape}; the base has no such matrix")
        values[path] = np.asarray(base[path], np.float32) + change
    return {k: jax.device_put(v) for k, v in values.items()}
