"""Pickles of strangers, read without running anything of theirs.

A pickle may name any importable object and call it. `Unpickler` knows a closed table of names (by default those of
numpy arrays and scalars), and everything else raises. The numpy names are mapped to functions of our own, which
build arrays of numbers and strings from plain bytes and nothing else.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_NUMBERS_AND_STRINGS = "biufcSU"


class _Dtype:
    """numpy.dtype while a pickle describes it: a format, then a state with the byte order."""

    def __init__(self, code: Any, align: Any = False, copy: Any = True):
        self.dtype = np.dtype(code) if isinstance(code, str) else None
        if self.dtype is None or self.dtype.kind not in _NUMBERS_AND_STRINGS:
            raise pickle.UnpicklingError(f"arrays of {code!r} are not read; legal are numbers and strings")

    def __setstate__(self, state: Any) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])  # type: ignore[union-attr]


class _Array:
    """numpy.ndarray while a pickle describes it: empty, then a state (version, shape, dtype, Fortran order, bytes)."""

    value: np.ndarray

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, raw = state
        if isinstance(raw, str):
            raw = raw.encode("latin1")  # Python 2
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
            raise pickle.UnpicklingError("an array without plain bytes is not read")
        flat = np.frombuffer(raw, dtype.dtype)
        self.value = flat.reshape(shape, order="F" if is_fortran else "C")


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    return _Array()


def _scalar(dtype: Any, raw: Any = b"") -> Any:
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    return np.frombuffer(raw, dtype.dtype)[0]


def _frombuffer(raw: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    """numpy's form of pickle protocol 5."""
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", bytes(raw)))
    return array


def _encode(text: str, encoding: str) -> bytes:
    """_codecs.encode: how protocol 2 writes bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in {encoding!r} are not read; legal is latin1")
    return text.encode("latin1")


NUMPY: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
}


class Unpickler(pickle.Unpickler):
    """An unpickler that knows `names` (module, name) -> function, and nothing else."""

    def __init__(self, file: Any, names: Mapping[tuple[str, str], Callable[..., Any]] = NUMPY, **kwargs: Any):
        super().__init__(file, **kwargs)
        self._names = names

    def find_class(self, module: str, name: str) -> Any:
        """The function of `names`; UnpicklingError for all others."""
        if (module, name) not in self._names:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed")
        return self._names[module, name]


def arrays_of(tree: Any) -> Any:
    """A tree of dicts, lists and tuples with every array in its final form."""
    if isinstance(tree, _Array):
        return tree.value
    if isinstance(tree, dict):
        return {arrays_of(k): arrays_of(v) for k, v in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(arrays_of(v) for v in tree)
    return tree


def load_pickle(path: Path, names: Mapping[tuple[str, str], Callable[..., Any]] = NUMPY) -> Any:
    """The content of a pickle file of plain values and arrays; ValueError, naming the file, for anything else."""
    try:
        with open(path, "rb") as file:
            return arrays_of(Unpickler(file, names, encoding="latin1").load())
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except RecursionError as error:
        raise ValueError(f"{path}: nested too deeply to be read") from error
    except (pickle.UnpicklingError, EOFError, MemoryError, OSError) as error:
        raise ValueError(f"{path}: not a readable pickle ({error or type(error).__name__})") from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, UnicodeError, OverflowError) as error:
        raise ValueError(f"{path}: a damaged pickle ({error})") from error
